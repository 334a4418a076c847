"""An explanation in words: ready strings for the page and the dialog, rounded so that lines add up to the total."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from secretaria.core import money
from secretaria.core.event import Direction
from secretaria.core.period import DAY_FIRST
from secretaria.core.price import Metric
from secretaria.reports.labels import Labels
from secretaria.services.explain import ExplainedLine, Explanation, MissingLine
from secretaria.services.figures import RateUsed
from secretaria.services.message_counting import SOURCE as WHATSAPP_SOURCE
from secretaria.services.period_figures import Dimension, PriceUsed
from secretaria.store.period_events import EventRow
from secretaria.web.panel.analytics_query import PageQuery
from secretaria.web.panel.analytics_words import dimension_name, range_name, value_name
from secretaria.web.panel.format import NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

WAMID_CHARS_SHOWN: Final = 6
_THOUSANDS_OF_A_MILLION: Final = 1_000


def explained(
    found: Explanation, query: PageQuery, show: Format, texts: Texts, *, is_operator: bool
) -> dict[str, Any]:
    """Return what the template prints."""
    partial = bool(found.missing)
    return {
        "subject": " · ".join(_subject(found, query, show, texts)),
        "as_of": show.moment(found.as_of),
        "total": show.cost(found.total_shown, found.currency, lower_bound=partial, full=True),
        "exact": UNKNOWN if found.total is None else show.exact(found.total, found.currency),
        "partial": partial,
        "lines": [_line(of, found, show, texts) for of in found.lines],
        "missing": [_missing(of, show, texts) for of in found.missing],
        "events": [_event(row, show, texts) for row in found.events],
        "can_set_prices": is_operator,
    }


def _subject(found: Explanation, query: PageQuery, show: Format, texts: Texts) -> list[str]:
    parts = [f"{dimension_name(of, texts)}: {value_name(of, value, texts)}" for of, value in query.narrowed.items()]
    return [*parts, range_name(found.begun, show)]


def _use_name(of: ExplainedLine | MissingLine, texts: Texts) -> str:
    """Return what was priced: Marketing · enviadas · BR, or Tokens · gpt-4o."""
    parts = []
    if of.metric == Metric.TOKENS:
        parts.append(texts.gettext("Tokens"))
    if of.category:
        parts.append(value_name(Dimension.CATEGORY, of.category, texts))
    elif of.metric == Metric.MESSAGES:
        parts.append(texts.gettext("Mensagens"))
    received = of.direction == Direction.INBOUND
    parts.append(texts.gettext("recebidas") if received else texts.gettext("enviadas"))
    return " · ".join([*parts, *(value for value in (of.market, of.model) if value)])


def _quantity(of: ExplainedLine | MissingLine, show: Format, texts: Texts) -> str:
    if of.metric == Metric.TOKENS:
        sentence = texts.ngettext("%(quantidade)s token", "%(quantidade)s tokens", of.quantity)
    else:
        sentence = texts.ngettext("%(quantidade)s mensagem", "%(quantidade)s mensagens", of.quantity)
    return sentence % {"quantidade": show.number(of.quantity)}


def _unit_price(amount: Decimal, per: int, currency: str, show: Format) -> str:
    """Return R$ 0,0350 for a message, US$ 2,50 por 1 mi for tokens that are priced by the thousand."""
    if per == 1:
        return show.message_price(amount, currency)
    return show.million_price(money.product(amount, _THOUSANDS_OF_A_MILLION), currency)


def _line(of: ExplainedLine, found: Explanation, show: Format, texts: Texts) -> dict[str, Any]:
    _ = texts.gettext
    tiny = of.amount != 0 and of.shown == 0
    cut = of.converted_price
    return {
        "name": _use_name(of, texts),
        "quantity": _quantity(of, show, texts),
        "price": _("Grátis") if of.unit_price == 0 else _unit_price(of.unit_price, of.per, of.price_currency, show),
        "since": ""
        if of.effective_from < DAY_FIRST
        else _("desde %(data)s") % {"data": show.day_full(of.effective_from)},
        "source": Labels(show.locale).source(of.price_source),
        "rate": _rate(of, show, texts),
        "rates": [_rate_part(part, found.currency, show, texts) for part in of.parts] if len(of.parts) > 1 else [],
        "cut": ""
        if cut is None
        else _("preço convertido cortado em centavos: %(preco)s")
        % {"preco": _unit_price(cut, of.per, found.currency, show)},
        "amount": show.cost(of.amount if tiny else of.shown, found.currency, full=True),
        "exact": show.exact(of.amount, found.currency),
    }


def _rate(of: ExplainedLine, show: Format, texts: Texts) -> str:
    """Return the exchange rate of a line; of several their mean, weighted by what each converted."""
    rates = [part.rate for part in of.parts if part.rate is not None]
    if not rates:
        return texts.gettext("sem conversão")
    if len(of.parts) == 1:
        return _named(rates[0], show)
    before = sum((Fraction(part.unit_price) * part.quantity for part in of.parts), Fraction(0)) / of.per
    mean = Fraction(of.amount) / before if before else Fraction(Decimal(rates[-1].rate))
    return texts.gettext("%(cotacao)s (média ponderada)") % {"cotacao": show.number(mean, 4)}


def _named(rate: RateUsed, show: Format) -> str:
    return f"{_plain(Decimal(rate.rate), show)} ({Labels(show.locale).source(rate.source)})"


def _plain(rate: Decimal, show: Format) -> str:
    """Return a rate with four decimals, or with as many as it has."""
    decimals = -int(rate.normalize().as_tuple().exponent)
    return show.number(rate, max(decimals, 4))


def _rate_part(part: PriceUsed, currency: str, show: Format, texts: Texts) -> str:
    """Return one exchange rate's share of a line: 120 × 5,0108 (PTAX 2026-11-19, desde 20/11/2026) = R$ 57,12."""
    amount = show.exact(part.amount, currency)
    if part.rate is None:
        return f"{show.number(part.quantity)} = {amount}"
    since = texts.gettext("desde %(data)s") % {"data": show.day_full(part.rate.effective_from)}
    rate = f"{_plain(Decimal(part.rate.rate), show)} ({part.rate.source}, {since})"
    return f"{show.number(part.quantity)}{NBSP}× {rate} = {amount}"


def _missing(of: MissingLine, show: Format, texts: Texts) -> dict[str, str]:
    _ = texts.gettext
    if of.lacks == "price":
        reason = _("Nenhum preço vale para este uso.")
    else:
        reason = _("Falta a cotação para converter %(moeda)s.") % {"moeda": of.price_currency or UNKNOWN}
    return {"name": _use_name(of, texts), "quantity": _quantity(of, show, texts), "reason": reason}


def _event(row: EventRow, show: Format, texts: Texts) -> dict[str, str]:
    """Return one event. Of a phone only the last digits are kept, of a text nothing."""
    _ = texts.gettext
    parts: Sequence[str] = [
        value_name(Dimension.CATEGORY, row.category, texts) if row.category else "",
        row.model or "",
    ]
    tokens = row.tokens_input + row.tokens_output
    return {
        "at": f"{show.day(row.occurred_at.date())} {row.occurred_at:%H:%M:%S}",
        "id": f"…{row.wamid[-WAMID_CHARS_SHOWN:]}" if row.wamid else row.event_id,
        "source": "WhatsApp" if row.source == WHATSAPP_SOURCE else row.source,
        "phone": f"****-{row.phone_last4}" if row.phone_last4 else UNKNOWN,
        "use": " · ".join(part for part in parts if part) or UNKNOWN,
        "direction": _("recebida") if row.direction == Direction.INBOUND else _("enviada"),
        "messages": show.number(row.messages),
        "tokens": show.number(tokens),
        "note": _("correção") if row.is_correction else "",
    }
