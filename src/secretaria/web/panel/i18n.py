"""Panel texts: msgids are the Portuguese sentences, English comes from the gettext catalogue read at start-up.

No compiled catalogue is kept: the .po file is the only copy, and a test fails when it lacks a msgid.
"""

import io
from collections.abc import Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES: Final = ("pt-BR", "en")
DEFAULT_LOCALE: Final = "pt-BR"
LOCALE_NAMES: Final[Mapping[str, str]] = {"pt-BR": "Português", "en": "English"}
ACCEPT_LANGUAGE_CHARS_MAX: Final = 500
_FOLDER: Final = Path(__file__).parent / "locales"


class Texts:
    """The sentences of one language; `gettext` and `ngettext` are also the names babel extracts by."""

    def __init__(self, locale: str, translations: NullTranslations) -> None:
        self.locale = locale
        self._translations = translations

    def gettext(self, message: str) -> str:
        """Return a sentence in this language; an unknown one comes back in Portuguese."""
        return self._translations.gettext(message)

    def ngettext(self, one: str, many: str, number: int) -> str:
        """Return the sentence for a number: in Portuguese 0 and 1 take the singular."""
        return self._translations.ngettext(one, many, number)


class _Portuguese(NullTranslations):
    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return msgid1 if n in {0, 1} else msgid2


@cache
def texts(locale: str) -> Texts:
    """Return the texts of a language of LOCALES."""
    if locale == DEFAULT_LOCALE:
        return Texts(locale, _Portuguese())
    with (_FOLDER / locale / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=locale)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Texts(locale, GNUTranslations(compiled))


def chosen_locale(cookie: str | None, accept_language: str | None) -> str:
    """Return the reader's choice, else the first language of the browser that we have, else Portuguese."""
    if cookie in LOCALES:
        return str(cookie)
    for part in (accept_language or "")[:ACCEPT_LANGUAGE_CHARS_MAX].split(","):
        language = part.partition(";")[0].strip().lower().split("-")[0]
        if language == "pt":
            return "pt-BR"
        if language == "en":
            return "en"
    return DEFAULT_LOCALE
