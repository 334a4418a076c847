"""What a page shows of a company, as ready strings by element id: the page and its live updates print the same ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from secretaria.core.rating import NotPriced
from secretaria.services.figures import HistoryPoint, UsageBlock
from secretaria.web.panel import chart
from secretaria.web.panel.format import BOUND, NBSP, UNKNOWN, Format
from secretaria.web.panel.i18n import Texts

DAYS_SHOWN: Final = 7
LATE_AFTER: Final = timedelta(minutes=5)
SHORT_MONEY_BELOW: Final = 10_000
COST_CHART: Final = chart.layout("custo", DAYS_SHOWN)
MESSAGES_CHART: Final = chart.layout("mensagens", DAYS_SHOWN)
PERIODS: Final = ("hoje", "semana", "mes")
CARDS: Final = ("custo", "recebidas", "enviadas", "tokens-entrada", "tokens-saida", "resposta")
BEGUN: Final = "uso"
"""The element that shows the charts, or until the first event how to send one."""


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """Usage and cost of a company in the local days [start, end).

    cost is None when nothing of what was used has a price; with lower_bound a part of it has none.
    """

    start: date
    end: date
    received: int
    sent: int
    tokens_input: int
    tokens_output: int
    avg_response_ms: Fraction | None
    cost: Decimal | None
    currency: str
    not_priced: NotPriced
    lower_bound: bool

    @classmethod
    def of_block(cls, block: UsageBlock) -> "PeriodUsage":
        """Read a block of the summary."""
        return cls(
            start=block.start.date(),
            end=block.end.date(),
            received=block.messages.inbound,
            sent=block.messages.outbound,
            tokens_input=block.tokens.input,
            tokens_output=block.tokens.output,
            avg_response_ms=None if block.avg_response_ms is None else Fraction(block.avg_response_ms),
            cost=None if block.cost is None else Decimal(block.cost),
            currency=block.currency,
            not_priced=block.not_priced,
            lower_bound=block.lower_bound,
        )

    @classmethod
    def of_point(cls, point: HistoryPoint, currency: str) -> "PeriodUsage":
        """Read a point of a history of days."""
        return cls(
            start=point.date,
            end=point.date + timedelta(days=1),
            received=point.messages_inbound,
            sent=point.messages_outbound,
            tokens_input=point.tokens_input,
            tokens_output=point.tokens_output,
            avg_response_ms=None if point.avg_response_ms is None else Fraction(point.avg_response_ms),
            cost=None if point.cost is None else Decimal(point.cost),
            currency=currency,
            not_priced=point.not_priced,
            lower_bound=point.lower_bound,
        )

    @property
    def messages(self) -> int:
        """Both directions together."""
        return self.received + self.sent

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.tokens_input + self.tokens_output


@dataclass(frozen=True, slots=True)
class View:
    """Strings by element id, attributes by element id, and whether the figures are older than they should be."""

    texts: dict[str, str] = field(default_factory=dict)
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    late: bool = False


def cards(periods: Mapping[str, PeriodUsage], show: Format, texts: Texts) -> View:
    """Return the cards of a company: one row of figures a period (keys: hoje, semana, mes)."""
    view = View()
    for name, usage in periods.items():
        counts = {
            "recebidas": usage.received,
            "enviadas": usage.sent,
            "tokens-entrada": usage.tokens_input,
            "tokens-saida": usage.tokens_output,
        }
        for key, count in counts.items():
            view.texts[f"{name}-{key}"] = show.count(count)
            view.marks[f"{name}-{key}"] = {"title": show.number(count)}
        view.texts[f"{name}-custo"] = show.cost(usage.cost, usage.currency, lower_bound=usage.lower_bound)
        view.texts[f"{name}-resposta"] = show.duration(usage.avg_response_ms)
        view.texts[f"{name}-sem-preco"] = not_priced_chip(usage.not_priced, show, texts)
    view.texts["hoje-periodo"] = show.day_named(periods["hoje"].start)
    view.texts["semana-periodo"] = show.day_range(periods["semana"].start, periods["semana"].end)
    view.texts["mes-periodo"] = show.month(periods["mes"].start)
    return view


def mark_begun(view: View, ids: Iterable[str], *, begun: bool) -> None:
    """Say whether anything was ever received: before the first event these figures are unknown, not zero."""
    view.marks[BEGUN] = {"data-kind": "begun" if begun else "never"}
    if begun:
        return
    for of in ids:
        view.texts[of] = UNKNOWN
        if of in view.marks:
            view.marks[of] = {"title": ""}


def not_priced_chip(missing: NotPriced, show: Format, texts: Texts) -> str:
    """Return "? 312 sem preço", or nothing when everything has a price."""
    if missing.messages:
        return f"?{NBSP}" + texts.gettext("%(quantidade)s sem preço") % {"quantidade": show.count(missing.messages)}
    return f"?{NBSP}" + texts.gettext("tokens sem preço") if missing.tokens else ""


def not_priced_sentence(usage: PeriodUsage, show: Format, texts: Texts, *, unset: Sequence[str] = ()) -> str:
    """Return what is missing in this month's cost and, for whoever can change it, which settings are unset."""
    missing = usage.not_priced
    parts = []
    if missing.messages:
        sentence = texts.ngettext("%(quantidade)s mensagem", "%(quantidade)s mensagens", missing.messages)
        parts.append(sentence % {"quantidade": show.number(missing.messages)})
    if missing.tokens:
        sentence = texts.ngettext("%(quantidade)s token", "%(quantidade)s tokens", missing.tokens)
        parts.append(sentence % {"quantidade": show.number(missing.tokens)})
    if not parts:
        return ""
    joined = texts.gettext(" e ").join(parts)
    sentence = texts.gettext("Sem preço neste mês: %(quantidades)s. O total é parcial.") % {"quantidades": joined}
    if not unset:
        return sentence
    settings = texts.gettext(" e ").join(unset)
    advice = texts.gettext("Defina %(ajustes)s e reinicie o serviço.") % {"ajustes": settings}
    return f"{sentence} {advice}"


def days(points: Sequence[PeriodUsage], show: Format, texts: Texts) -> View:
    """Return both charts and the table behind them, for the last DAYS_SHOWN days, oldest first."""
    view = View()
    for number, point in enumerate(points):
        row = f"d{number}"
        view.texts[f"{row}-nome"] = show.day_named(point.start)
        view.texts[f"{row}-mensagens"] = show.number(point.messages)
        view.texts[f"{row}-tokens"] = show.number(point.tokens)
        view.texts[f"{row}-resposta"] = show.duration(point.avg_response_ms)
        view.texts[f"{row}-custo"] = show.cost(point.cost, point.currency, lower_bound=point.lower_bound, full=True)
    currency = points[-1].currency
    _draw(view, COST_CHART, points, [_priced(point) for point in points], show, currency=currency)
    _draw(view, MESSAGES_CHART, points, [Decimal(point.messages) for point in points], show)
    view.texts["custo-frase"] = _cost_sentence(points, show, texts)
    view.texts["mensagens-frase"] = _messages_sentence(points, show, texts)
    return view


def _draw(
    view: View,
    shape: chart.Chart,
    points: Sequence[PeriodUsage],
    values: Sequence[Decimal],
    show: Format,
    *,
    currency: str | None = None,
) -> None:
    """Write ticks, heights and labels of one chart; with a currency its values are money."""
    largest = max(values)
    step = chart.tick_step(largest, whole=currency is None)
    for number, tick in enumerate(shape.ticks):
        value = step * number
        label = show.compact(value) if currency is None else show.money_axis(value, currency)
        view.texts[tick] = label if number == 0 or largest > 0 else ""
    marks = chart.heights(values, step * chart.INTERVALS)
    for column, point, value, mark in zip(shape.columns, points, values, marks, strict=True):
        view.marks[column.id] = mark
        view.marks[f"{column.id}-valor"] = {"y": mark["y"]}
        view.texts[f"{column.id}-valor"] = _label(value, point, show, money=currency is not None)
        view.texts[f"{column.id}-dia"] = show.day(point.start)


def _priced(point: PeriodUsage) -> Decimal:
    return point.cost or Decimal(0)


def _label(value: Decimal, point: PeriodUsage, show: Format, *, money: bool) -> str:
    """Return what stands above a column: short, because the axis carries the unit; nothing above nothing."""
    if not money:
        return show.count(int(value)) if value else ""
    if not value:
        return UNKNOWN if point.lower_bound else ""
    short = show.number(value, 2) if abs(value) < SHORT_MONEY_BELOW else show.compact(value)
    return f"{BOUND}{NBSP}{short}" if point.lower_bound else short


def _cost_sentence(points: Sequence[PeriodUsage], show: Format, texts: Texts) -> str:
    """Name the highest day. No total: days rounded one by one need not add up to it (law 4)."""
    highest = max(points, key=_priced)
    if not _priced(highest):
        missing, none = texts.gettext("Sem preço nos últimos 7 dias."), texts.gettext("Sem custo nos últimos 7 dias.")
        return missing if any(point.lower_bound for point in points) else none
    return texts.gettext("Maior dia: %(dia)s, com %(custo)s.") % {
        "dia": show.day(highest.start),
        "custo": show.cost(highest.cost, highest.currency, lower_bound=highest.lower_bound),
    }


def _messages_sentence(points: Sequence[PeriodUsage], show: Format, texts: Texts) -> str:
    total = sum(point.messages for point in points)
    if not total:
        return texts.gettext("Sem mensagens nos últimos 7 dias.")
    return texts.gettext("%(total)s em 7 dias; maior dia: %(dia)s.") % {
        "total": show.number(total),
        "dia": show.day(max(points, key=lambda point: point.messages).start),
    }


def watermark(complete_until: datetime, now: datetime, show: Format, texts: Texts) -> View:
    """Return up to when the figures are complete; older than LATE_AFTER says so."""
    late = now - complete_until > LATE_AFTER
    sentence = (
        texts.gettext("Dados atrasados: completos até %(hora)s")
        if late
        else texts.gettext("Dados completos até %(hora)s")
    )
    return View({"dados-ate": sentence % {"hora": show.clock(complete_until)}}, {}, late)
