"""Which charts a report has: cost large, then messages, tokens and response time side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from secretaria.core.period import week_of
from secretaria.reports.chart import Plot, Series, line_chart, stacked_chart
from secretaria.reports.format import Format, rounded
from secretaria.reports.labels import Labels
from secretaria.reports.report import Day, UsageReport, merged

WIDTH_PT: Final = 493.2
SMALL_WIDTH_PT: Final = 157.0
_ONE, _TENTH, _CENT = Decimal(1), Decimal("0.1"), Decimal("0.01")
TENTHS_BELOW_S: Final = 9
"""From here on a tick may be written in whole seconds."""

HEIGHT_PT: Final = 122.0
SMALL_HEIGHT_PT: Final = 98.0
DAYS_MAX: Final = 62
"""With more days than this a column is a week."""


@dataclass(frozen=True, slots=True)
class _Drawing:
    report: UsageReport
    buckets: Sequence[Day]
    by: str
    show: Format
    say: Labels

    def chart(self, title: str, svg: str, total: str, largest: str) -> dict[str, str]:
        days = self.buckets
        alt = self.say(
            "chart alt", title=title, total=total, largest=largest,
            start=self.show.day_full(days[0].day), end=self.show.day_full(self.report.days[-1].day),
        )  # fmt: skip
        return {"title": title, "svg": svg, "alt": alt}

    def plot(self, written: Callable[[Decimal], str], *, small: bool = True, unit: Decimal = _ONE) -> Plot:
        days = self.buckets
        return Plot(
            [self.show.day(day.day) for day in days],
            written,
            SMALL_WIDTH_PT if small else WIDTH_PT,
            SMALL_HEIGHT_PT if small else HEIGHT_PT,
            unfinished=days[-1].unfinished,
            unit=unit,
        )


def chart_sections(report: UsageReport, show: Format, say: Labels) -> list[dict[str, Any]]:
    """Return the charts of a report, in rows; a single day has none."""
    if len(report.days) < 2:
        return []
    weekly = len(report.days) > DAYS_MAX
    drawing = _Drawing(report, _weeks(report.days) if weekly else report.days, "week" if weekly else "day", show, say)
    small = [_messages(drawing), _tokens(drawing), _response(drawing)]
    note = say("hatched") if report.days[-1].unfinished else ""
    return [{"kind": "charts", "large": _cost(drawing), "small": small, "note": note}]


def _weeks(days: Sequence[Day]) -> list[Day]:
    """Return a bucket for each week, Monday to Sunday, cut to the period."""
    weeks: dict[date, list[Day]] = {}
    for day in days:
        weeks.setdefault(week_of(day.day).start, []).append(day)
    return [Day(some[0].day, merged(of.sums for of in some), some[-1].unfinished) for some in weeks.values()]


def _largest(days: Sequence[Day], value: Callable[[Day], Decimal | None], written: Callable[[Decimal], str]) -> str:
    return written(max((value(day) or Decimal(0) for day in days), default=Decimal(0)))


def _cost(of: _Drawing) -> dict[str, str]:
    days, currency, title = of.buckets, of.report.owner.currency, of.say(f"cost by {of.by}")

    def written(amount: Decimal) -> str:
        return of.show.money_axis(rounded(amount, 2) if amount < 1000 else amount, currency)

    plot = of.plot(written, small=False, unit=_CENT)
    svg = stacked_chart(plot, [Series(title, [day.sums.cost for day in days])])
    total = of.show.cost(of.report.total.cost, currency, lower_bound=of.report.total.lower_bound, full=True)
    return of.chart(title, svg, total, _largest(days, lambda day: day.sums.cost, written))


def _messages(of: _Drawing) -> dict[str, str]:
    days, title = of.buckets, of.say(f"messages by {of.by}")
    series = [
        Series(of.say("sent"), [Decimal(day.sums.messages_outbound) for day in days]),
        Series(of.say("received"), [Decimal(day.sums.messages_inbound) for day in days]),
    ]
    svg = stacked_chart(of.plot(of.show.compact), series)
    largest = _largest(days, lambda day: Decimal(day.sums.messages), of.show.number)
    return of.chart(title, svg, of.show.number(of.report.total.messages), largest)


def _tokens(of: _Drawing) -> dict[str, str]:
    days, title = of.buckets, of.say(f"tokens by {of.by}")
    series = [
        Series(of.say("input"), [Decimal(day.sums.tokens_input) for day in days]),
        Series(of.say("output"), [Decimal(day.sums.tokens_output) for day in days]),
    ]
    svg = stacked_chart(of.plot(of.show.compact), series)
    largest = _largest(days, lambda day: Decimal(day.sums.tokens), of.show.number)
    return of.chart(title, svg, of.show.number(of.report.total.tokens), largest)


def _response(of: _Drawing) -> dict[str, str]:
    days, title = of.buckets, of.say(f"response by {of.by}")
    values = [_seconds(day) for day in days]

    def written(seconds: Decimal) -> str:
        return of.show.duration(seconds * 1000)

    known = [value for value in values if value is not None]
    svg = line_chart(of.plot(written, unit=_TENTH if max(known, default=_ONE) < TENTHS_BELOW_S else _ONE), values)
    total = of.report.total
    mean = of.show.duration(Decimal(total.response_ms) / total.response_count if total.response_count else None)
    return of.chart(title, svg, mean, written(max(known)) if known else mean)


def _seconds(day: Day) -> Decimal | None:
    sums = day.sums
    return Decimal(sums.response_ms) / sums.response_count / 1000 if sums.response_count > 0 else None
