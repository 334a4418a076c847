"""An imported rate card in words: what it changes and when, what was left out, and why a file was not taken."""

import base64
import binascii
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput, TooLarge
from secretaria.core.rate_card import PRODUCT_CARD, CardChoice
from secretaria.services.rate_cards import CardImport
from secretaria.web.panel.format import NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

# Meta's file has a few thousand bytes. What the preview sends back is a third longer, and must fit in one body.
CARD_FILE_BYTES_MAX: Final = 256 * 1024
CARD_FILE_TEXT_CHARS_MAX: Final = 4 * -(-CARD_FILE_BYTES_MAX // 3)

_ROW: Final = re.compile(r"row (\d+) after the header: no prices in (.*)", re.DOTALL)
_COLUMN: Final = re.compile(r"column (.*): no category of ours", re.DOTALL)
_EMPTY: Final = re.compile(r"(.*): empty", re.DOTALL)
_FIELDS: Final = {"invalid_name": "tabela", "card_currency_mismatch": "tabela", "unknown_card": "escolhida"}
_DATE_CODES: Final = frozenset({"effective_date_missing", "effective_date_in_past", "invalid_value"})


def packed(content: bytes) -> str:
    """Return a file as the preview carries it: no character of it grows when a form is sent."""
    return base64.urlsafe_b64encode(content).decode()


def unpacked(text: str) -> bytes:
    """Return the file that a preview carried. Raises InvalidInput (unreadable_file) and TooLarge."""
    try:
        content = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInput("the file did not arrive whole", code="unreadable_file") from None
    return checked(content)


def checked(content: bytes) -> bytes:
    """Return a file that is there and not too long. Raises InvalidInput (empty_file) and TooLarge."""
    if not content:
        raise InvalidInput("no file was chosen", code="empty_file")
    if len(content) > CARD_FILE_BYTES_MAX:
        raise TooLarge(f"a rate card sent from the panel has at most {CARD_FILE_BYTES_MAX} bytes")
    return content


def entered_date(text: str) -> date | None:
    """Return the date of a form, None for an empty one. Raises InvalidInput (invalid_value)."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput("not a date", code="invalid_value") from None


async def form_values(
    application: Application, caller: Caller, company_id: int, show: Format, texts: Texts, *, published: str
) -> dict[str, Any]:
    """Return what the forms show: the cards there are, what is chosen for a day to come, what was just published."""
    now = application.clock()
    names = sorted({version.card for version in await application.rate_cards.versions(caller, now)})
    choices = await application.rate_cards.choices(caller, company_id)
    return {
        "options": [(name, name) for name in names] + [(PRODUCT_CARD, texts.gettext("Tabela do produto"))],
        "planned": _planned(choices, now, show, texts),
        "published": published if published in names else "",
        "kib_max": CARD_FILE_BYTES_MAX // 1024,
        "problem": "", "problem_field": "", "entered": {"tabela": "", "desde": ""},
    }  # fmt: skip


def _planned(choices: list[CardChoice], now: datetime, show: Format, texts: Texts) -> str:
    today = show.local(now).date()
    found = [choice for choice in choices if choice.account_id is None and choice.effective_from > today]
    if not found:
        return ""
    name = texts.gettext("Tabela do produto") if found[-1].card == PRODUCT_CARD else found[-1].card
    return texts.gettext("%(tabela)s vale para esta empresa a partir de %(dia)s.") % {
        "tabela": name, "dia": show.day_full(found[-1].effective_from),
    }  # fmt: skip


def plan_values(plan: CardImport, show: Format, texts: Texts) -> dict[str, Any]:
    """Return what the preview shows of an import."""
    return {
        "card": plan.card,
        "currency": plan.currency,
        "since": show.day_full(plan.effective_from),
        "since_value": plan.effective_from.isoformat(),
        "source": plan.source,
        "free": show.number(plan.free_service_messages),
        "summary": texts.ngettext(
            "%(quantidade)s preço muda", "%(quantidade)s preços mudam", len(plan.changes)
        ) % {"quantidade": show.number(len(plan.changes))},
        "unchanged": texts.ngettext(
            "%(quantidade)s preço fica igual", "%(quantidade)s preços ficam iguais", plan.unchanged
        ) % {"quantidade": show.number(plan.unchanged)},
        "changes": [
            {
                "market": change.market,
                "category": change.category,
                "before": _bands(change.before, plan.currency, show, texts),
                "after": _bands(change.after, plan.currency, show, texts),
            }
            for change in plan.changes
        ],
        "skipped": [_skipped(reason, texts) for reason in plan.skipped],
        "warnings": _warnings(plan, show, texts),
    }  # fmt: skip


def _bands(bands: tuple[tuple[int, Decimal | None], ...], currency: str, show: Format, texts: Texts) -> list[str]:
    found = []
    for above, amount in bands:
        text = texts.gettext("não oferecido") if amount is None else show.message_price(amount, currency)
        if above:
            text = texts.gettext("acima de %(quantidade)s: %(preco)s") % {
                "quantidade": show.number(above), "preco": text,
            }  # fmt: skip
        found.append(text)
    return found or [UNKNOWN]


def _warnings(plan: CardImport, show: Format, texts: Texts) -> list[str]:
    found = []
    if not plan.changes:
        found.append(texts.gettext("Nenhum preço muda com este arquivo."))
    lost = sum(change.loses_tiers for change in plan.changes)
    if lost:
        found.append(
            texts.ngettext(
                "%(quantidade)s preço perde as faixas de volume: o arquivo só tem o preço de lista.",
                "%(quantidade)s preços perdem as faixas de volume: o arquivo só tem os preços de lista.",
                lost,
            ) % {"quantidade": show.number(lost)}
        )  # fmt: skip
    if plan.published_from != plan.effective_from:
        found.append(
            texts.gettext("O arquivo diz valer desde %(dia)s.") % {"dia": show.day_full(plan.published_from)}
        )
    if plan.companies_using:
        found.append(
            texts.ngettext(
                "%(quantidade)s empresa usa esta tabela.",
                "%(quantidade)s empresas usam esta tabela.",
                plan.companies_using,
            ) % {"quantidade": show.number(plan.companies_using)}
        )  # fmt: skip
    return [f"▲{NBSP}{sentence}" for sentence in found]


def _skipped(reason: str, texts: Texts) -> str:
    """Return in the reader's language why something was left out; what is not known here comes as it is."""
    if match := _ROW.fullmatch(reason):
        said = {"numero": match[1], "texto": match[2]}
        return texts.gettext("Linha %(numero)s depois do cabeçalho: sem preços em %(texto)s") % said
    if match := _COLUMN.fullmatch(reason):
        return texts.gettext("Coluna %(nome)s: não é uma categoria nossa") % {"nome": match[1]}
    if match := _EMPTY.fullmatch(reason):
        return texts.gettext("%(preco)s: sem valor") % {"preco": match[1]}
    return reason


def problem_of(error: InvalidInput, texts: Texts) -> tuple[str, str]:
    """Return the field that a refused form is about, and what to do."""
    _ = texts.gettext
    sentences = {
        "empty_file": _("Escolha o arquivo CSV da Meta."),
        "unreadable_file": _("O arquivo não chegou inteiro: envie-o de novo."),
        "too_large": _("O arquivo é grande demais para uma tabela de preços da Meta."),
        "not_a_csv": _("O arquivo não é um CSV em UTF-8: na planilha, salve como “CSV UTF-8”."),
        "volume_tiers_not_supported": _("Este é o arquivo de faixas de volume: envie o de preços de lista."),
        "no_rate_table": _("Não há uma tabela de preços da Meta neste arquivo."),
        "invalid_price": _("Um preço do arquivo não é um número que se possa usar: %(preco)s.")
        % {"preco": error.message.partition(" is no price")[0]},
        "mixed_currencies": _("O arquivo mistura moedas: envie um arquivo por moeda."),
        "unknown_currency": _("A moeda do arquivo não é um código como BRL ou USD."),
        "duplicate_market": _("Um mercado aparece duas vezes no arquivo."),
        "invalid_name": _("O nome da tabela tem só letras sem acento, números, - e _."),
        "card_currency_mismatch": _("A tabela com este nome é em outra moeda."),
        "effective_date_missing": _("O arquivo não diz desde quando vale: informe a data."),
        "effective_date_in_past": _("A tabela está em uso e dias já iniciados mantêm seus preços: escolha outra data."),
        "invalid_value": _("Informe uma data válida."),
        "card_imported": _("Estes preços já estavam publicados. Nada foi alterado."),
        "unknown_card": _("Esta tabela não existe."),
    }
    field = "desde" if error.code in _DATE_CODES else _FIELDS.get(error.code, "arquivo")
    return field, sentences.get(error.code, _("Nada foi alterado."))
