"""Every sentence of the panel exists in English, and no English sentence is left over or broken."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from secretaria.web.panel import i18n

PANEL = Path(i18n.__file__).parent
CATALOGUE = PANEL / "locales/en/LC_MESSAGES/messages.po"
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
OPTIONS = {"**.html": {"trim_blocks": "true", "lstrip_blocks": "true"}}
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def extracted() -> Catalog:
    catalogue = Catalog()
    for filename, line, message, _comments, context in extract_from_dir(PANEL, METHODS, OPTIONS):
        catalogue.add(message, locations=[(filename, line)], context=context)
    return catalogue


def english() -> Catalog:
    return read_po(BytesIO(CATALOGUE.read_bytes()), locale="en")


def sentences(catalogue: Catalog) -> set[str | tuple[str, ...]]:
    return {message.id if isinstance(message.id, str) else tuple(message.id) for message in catalogue if message.id}


def test_english_has_every_sentence_of_templates_and_python() -> None:
    assert sentences(extracted()) - sentences(english()) == set()


def test_english_keeps_no_sentence_that_is_gone() -> None:
    assert sentences(english()) - sentences(extracted()) == set()


def test_english_translates_everything_with_the_same_placeholders() -> None:
    for message in english():
        if not message.id:
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        assert all(strings), ids
        assert not message.fuzzy, ids
        for text in strings:
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(ids[-1])), ids


def test_portuguese_takes_the_singular_for_none_and_one() -> None:
    portuguese = i18n.texts("pt-BR")
    assert [portuguese.ngettext("dia", "dias", number) for number in (0, 1, 2)] == ["dia", "dia", "dias"]


def test_english_takes_the_singular_for_one_only() -> None:
    texts = i18n.texts("en")
    one, many = "%(quantidade)s mensagem", "%(quantidade)s mensagens"
    found = [texts.ngettext(one, many, number) for number in (0, 1, 2)]
    assert found == ["%(quantidade)s messages", "%(quantidade)s message", "%(quantidade)s messages"]


@pytest.mark.parametrize(
    ("cookie", "header", "expected"),
    [
        (None, None, "pt-BR"),
        ("en", "pt-BR", "en"),
        ("pt-BR", "en", "pt-BR"),
        ("de", "en-GB,en;q=0.9", "en"),
        (None, "de-DE,de;q=0.9,en;q=0.5,pt;q=0.4", "en"),
        (None, "pt-PT", "pt-BR"),
        (None, "fr", "pt-BR"),
        (None, ",;;=,\x00", "pt-BR"),
        (None, "x" * 100_000, "pt-BR"),
    ],
)
def test_the_choice_comes_first_then_the_browser_then_portuguese(
    cookie: str | None, header: str | None, expected: str
) -> None:
    assert i18n.chosen_locale(cookie, header) == expected
