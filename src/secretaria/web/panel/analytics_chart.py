"""The trend chart as data: values for the canvas and ready strings for people; the table behind it has the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec

from secretaria.core import money
from secretaria.services.period_view import PeriodView
from secretaria.services.rated_cells import Figures
from secretaria.web.panel import chart
from secretaria.web.panel.analytics_query import Metric
from secretaria.web.panel.analytics_words import (
    EVENTS_COMPARED_MIN,
    bucket_label,
    bucket_name,
    change,
    previous_name,
    range_name,
)
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import Texts

COLUMNS_MAX: Final = 62
_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of the chart and line of the table. value is None where nothing is known: a gap, not a zero."""

    label: str
    name: str
    value: Decimal | None
    text: str
    earlier: Decimal | None
    earlier_text: str
    change: str
    state: str


@dataclass(frozen=True, slots=True)
class Trend:
    """A chart: its points, its legend's names and a sentence that says it in words."""

    metric: Metric
    points: tuple[Point, ...]
    is_line: bool
    unfinished: bool
    ours: str
    earlier: str
    sentence: str
    ticks: tuple[tuple[Decimal, str], ...]


def trend(view: PeriodView, metric: Metric, show: Format, texts: Texts) -> Trend:
    """Return the chart of a view."""
    figures = [bucket.figures for bucket in view.buckets]
    earlier: Sequence[Figures | None] = [None] * len(figures) if view.previous is None else view.previous.buckets
    values = [_value(of, metric) for of in figures]
    strings = _strings(figures, values, metric, view, show)
    earlier_values = [None if of is None else _value(of, metric) for of in earlier]
    earlier_strings = _strings(earlier, earlier_values, metric, view, show)
    points = tuple(
        Point(
            bucket_label(bucket, view.wanted.step, show),
            bucket_name(bucket, view.wanted.step, show),
            value, text, earlier_value, earlier_text,
            "" if bucket.unfinished else _change(value, earlier_value, metric, show, texts),
            _state(bucket.figures, metric, texts, unfinished=bucket.unfinished),
        )
        for bucket, value, text, earlier_value, earlier_text in zip(
            view.buckets, values, strings, earlier_values, earlier_strings, strict=True
        )
    )  # fmt: skip
    return Trend(
        metric=metric,
        points=points,
        is_line=metric == Metric.RESPONSE or len(points) > COLUMNS_MAX,
        unfinished=any(bucket.unfinished for bucket in view.buckets),
        ours=range_name(view.begun, show),
        earlier="" if view.previous is None else previous_name(view.previous, show, texts),
        sentence=_sentence(points, view, metric, show, texts),
        ticks=_ticks([value for value in (*values, *earlier_values) if value is not None], metric, view.currency, show),
    )


def _value(of: Figures, metric: Metric) -> Decimal | None:
    if metric == Metric.COST:
        return None if of.lower_bound and not of.cost else of.cost
    if metric == Metric.MESSAGES:
        return Decimal(of.messages)
    if metric == Metric.TOKENS:
        return Decimal(of.tokens)
    mean = of.avg_response_ms
    return None if mean is None else Decimal(of.response_ms) / Decimal(of.response_count)


def _strings(
    figures: Sequence[Figures | None],
    values: Sequence[Decimal | None],
    metric: Metric,
    view: PeriodView,
    show: Format,
) -> list[str]:
    """Return the values as people read them; costs are rounded so that they add up to the total that is shown."""
    if metric == Metric.RESPONSE:
        return ["" if of is None else show.duration(value) for of, value in zip(figures, values, strict=True)]
    if metric != Metric.COST:
        return ["" if of is None else show.number(value or 0) for of, value in zip(figures, values, strict=True)]
    shown = money.largest_remainder([Decimal(0) if of is None else of.cost or Decimal(0) for of in figures])
    return [
        "" if of is None else part_text(of, part, view.currency, show)
        for of, part in zip(figures, shown, strict=True)
    ]


def part_text(of: Figures, shown: Decimal, currency: str, show: Format) -> str:
    """Return a part of a cost, rounded beside its siblings; a part too small to show is not nothing."""
    exact = of.cost
    is_tiny = exact is not None and exact != 0 and shown == 0
    return show.cost(exact if is_tiny or exact is None else shown, currency, lower_bound=of.lower_bound, full=True)


def _change(value: Decimal | None, earlier: Decimal | None, metric: Metric, show: Format, texts: Texts) -> str:
    if value is None or earlier is None or metric == Metric.RESPONSE:
        return ""
    return change(value, earlier, show, texts, base=EVENTS_COMPARED_MIN, cost=metric == Metric.COST)


def _state(of: Figures, metric: Metric, texts: Texts, *, unfinished: bool) -> str:
    _ = texts.gettext
    states = [_("parcial")] if unfinished else []
    if metric == Metric.COST and of.lower_bound:
        states.append(_("há uso sem preço"))
    if metric == Metric.RESPONSE and of.avg_response_ms is None:
        states.append(_("nada foi respondido"))
    return ", ".join(states)


def total_text(view: PeriodView, metric: Metric, show: Format) -> str:
    """Return the period's own value of a metric."""
    total = view.total
    if metric == Metric.COST:
        return show.cost(total.cost, view.currency, lower_bound=total.lower_bound)
    if metric == Metric.RESPONSE:
        return show.duration(_value(total, metric))
    return show.number(total.messages if metric == Metric.MESSAGES else total.tokens)


def _sentence(points: Sequence[Point], view: PeriodView, metric: Metric, show: Format, texts: Texts) -> str:
    _ = texts.gettext
    days = range_name(view.begun, show)
    known = [point for point in points if point.value]
    if not known:
        empty = _("%(dias)s: sem uso.") if view.total.is_empty else _("%(dias)s: nada a mostrar.")
        return empty % {"dias": days}
    highest = max(known, key=lambda point: point.value or 0)
    parts = {
        "dias": days, "total": total_text(view, metric, show), "ponto": highest.name, "valor": highest.text,
    }  # fmt: skip
    return _("%(dias)s: %(total)s; maior valor: %(ponto)s, %(valor)s.") % parts


def _ticks(
    values: Sequence[Decimal], metric: Metric, currency: str, show: Format
) -> tuple[tuple[Decimal, str], ...]:
    """Return five ticks from zero up, in the chart's own unit, with their labels."""
    largest = max(values, default=Decimal(0))
    unit = _MS if metric == Metric.RESPONSE else 1
    step = chart.tick_step(largest / unit, whole=metric in {Metric.MESSAGES, Metric.TOKENS})
    found = []
    for number in range(chart.INTERVALS + 1):
        value = step * number
        if metric == Metric.COST:
            label = show.money_axis(value, currency)
        elif metric == Metric.RESPONSE:
            label = show.duration(Fraction(value) * _MS) if value else f"0{show.duration(0)[1:]}"
        else:
            label = show.compact(value)
        found.append((value * unit, label))
    return tuple(found)


def payload(of: Trend) -> str:
    """Return the chart as the JSON that charts.js draws; it travels as escaped text, so no template needs `safe`."""
    data: dict[str, Any] = {
        "kind": "line" if of.is_line else "bar",
        "gaps": of.metric == Metric.RESPONSE,
        "labels": [point.label for point in of.points],
        "names": [point.name for point in of.points],
        "values": [_number(point.value) for point in of.points],
        "texts": [point.text for point in of.points],
        "earlier": [_number(point.earlier) for point in of.points] if of.earlier else None,
        "earlierTexts": [point.earlier_text for point in of.points],
        "changes": [point.change for point in of.points],
        "states": [point.state for point in of.points],
        "oursName": of.ours,
        "earlierName": of.earlier,
        "unfinished": len(of.points) - 1 if of.unfinished else -1,
        "ticks": [[_number(value), label] for value, label in of.ticks],
    }
    return msgspec.json.encode(data).decode()


def _number(value: Decimal | None) -> float | None:
    """Return a height for the canvas: it decides pixels, never a figure that is read."""
    return None if value is None else float(value)
