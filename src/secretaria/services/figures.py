"""The shapes people and programs read (docs/api.md), and the pure sums that fill them from daily usage."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from secretaria.core import money
from secretaria.core.crossing import AlertKind, AlertLevel
from secretaria.core.event import Direction
from secretaria.core.exchange_rate import is_stale_on
from secretaria.core.forecast import ForecastOutcome
from secretaria.core.limit import LimitState
from secretaria.core.period import Period, ZoneSchedule, local_day, month_of
from secretaria.core.plan import LimitMetric
from secretaria.core.price import ExchangeRate, PriceBook
from secretaria.core.rating import NotPriced, Rating, rate
from secretaria.store.companies import Company
from secretaria.store.usage_reads import DayUsage


@dataclass(frozen=True, slots=True)
class CompanyFigures:
    """Whose figures these are; timezone is the one in force at as_of."""

    id: int
    name: str
    status: str
    timezone: str
    currency: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open [start, end): instants written in the company's zone, so that their date is the local date."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """total = inbound + outbound."""

    inbound: int
    outbound: int
    total: int


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """total = input + output."""

    input: int
    output: int
    total: int


@dataclass(frozen=True, slots=True)
class RateUsed:
    """An exchange rate that converted a part of a cost: one unit of base was `rate` of quote from a local day on.

    stale: it was used past its time, because nothing newer was heard of.
    """

    base: str
    quote: str
    rate: str
    effective_from: date
    source: str
    stale: bool


@dataclass(frozen=True, slots=True)
class UsageBlock:
    """What one period added up to.

    avg_response_ms is the sum of all response times over their number, unrounded (null when there is none).
    cost is exact, of what has a price: null when something was used and nothing of it has one. While lower_bound
    is true the cost is at least that, and not_priced counts what is missing.
    """

    start: datetime
    end: datetime
    messages: MessageCounts
    tokens: TokenCounts
    avg_response_ms: int | float | None
    cost: str | None
    currency: str
    not_priced: NotPriced
    lower_bound: bool
    exchange_rates: list[RateUsed]


@dataclass(frozen=True, slots=True)
class LimitForecast:
    """When 100 % is reached at the pace of the month's complete days (core/forecast.py).

    outcome is reached, expected (within the month: earliest to latest, most likely on `likely`), not_expected or
    unknown. Days are local ones, null where not within the month. percent_at_end is what the month is expected to end
    at, null with the reason why not.
    """

    outcome: ForecastOutcome
    reason: str | None
    earliest: date | None
    likely: date | None
    latest: date | None
    percent_at_end: str | None


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """One limit and what is used of it. limit and used are integers, of the cost exact texts in the plan's currency.

    percent is cut to two decimals. While lower_bound is true something has no price, and the cost is at least `used`.
    """

    metric: LimitMetric
    limit: int | str
    used: int | str
    percent: str
    state: LimitState
    lower_bound: bool
    forecast: LimitForecast


@dataclass(frozen=True, slots=True)
class PlanUsage:
    """The plan that holds today, since effective_from, and the month so far against each of its limits."""

    id: int
    name: str
    currency: str
    thresholds: list[int]
    hard: bool
    effective_from: date
    limits: list[LimitUsage]


@dataclass(frozen=True, slots=True)
class AlertFigures:
    """An alert: used passed a threshold of a limit (kind limit), or something has no price (kind not_priced)."""

    id: int
    company_id: int
    kind: AlertKind
    metric: LimitMetric
    threshold: int | None
    level: AlertLevel
    period_start: date
    used: int | str
    limit: int | str | None
    percent: str | None
    currency: str | None
    plan: str | None
    fired_at: datetime
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """GET /api/analytics/summary: this month, today and this week of one company, as of one moment."""

    company: CompanyFigures
    as_of: datetime
    period: Interval
    current: UsageBlock
    daily: UsageBlock
    weekly: UsageBlock
    plan: PlanUsage | None
    alerts: list[AlertFigures]
    version: int

    @property
    def plan_month(self) -> "PlanMonth":
        """What the plan's bars show of it."""
        return PlanMonth(self.period, self.plan, self.alerts)


@dataclass(frozen=True, slots=True)
class PlanMonth:
    """The part of a summary that a plan's bars are made of: the local month, what is used of it, its alerts."""

    period: Interval
    plan: PlanUsage | None
    alerts: list[AlertFigures]


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One day or week. date is the local date it begins on; messages and tokens are totals, their parts beside."""

    date: date
    start: datetime
    end: datetime
    messages: int
    messages_inbound: int
    messages_outbound: int
    tokens: int
    tokens_input: int
    tokens_output: int
    avg_response_ms: int | float | None
    cost: str | None
    not_priced: NotPriced
    lower_bound: bool
    exchange_rates: list[RateUsed]


@dataclass(frozen=True, slots=True)
class History:
    """GET /api/analytics/history: points oldest first, gaps as zeros; the last one is unfinished."""

    company: CompanyFigures
    as_of: datetime
    period: Interval
    granularity: str
    currency: str
    points: list[HistoryPoint]
    version: int


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One company and its today, which is its own local day."""

    company: CompanyFigures
    today: UsageBlock
    version: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of companies by id; next_after is None on the last page."""

    as_of: datetime
    companies: list[OverviewRow]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over usage lines, and their rating."""

    messages_inbound: int
    messages_outbound: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    rating: Rating

    @property
    def avg_response_ms(self) -> int | float | None:
        """The sum over the count, correctly rounded only by the JSON number it becomes; whole when it is whole."""
        if self.response_count <= 0:
            return None
        whole, rest = divmod(self.response_ms, self.response_count)
        return self.response_ms / self.response_count if rest else whole

    @property
    def cost(self) -> str | None:
        """The exact cost of what is priced; None when something was used and nothing of it has a price."""
        charges = self.rating.charges
        if charges and all(charge.amount is None for charge in charges):
            return None
        return money.exact_text(self.rating.total)


def rated_once(usage: Iterable[DayUsage], book: PriceBook) -> Rating | None:
    """Return the rating that the totals of several periods are taken from, None where each is rated by itself.

    The usage of a book that needs_whole_months holds the months' earlier days too (rated_from).
    """
    return rate([day.line for day in usage], book) if book.needs_whole_months else None


def total(usage: Iterable[DayUsage], book: PriceBook, period: Period, *, whole: Rating | None = None) -> Totals:
    """Return the sums and the rating of what falls on the period's days; whole is rated_once of all the usage."""
    usage = list(usage)
    whole = whole or rated_once(usage, book)
    found = [day for day in usage if day.line.day in period]
    lines = [day.line for day in found]
    return Totals(
        sum(line.messages for line in lines if line.dimensions.direction == Direction.INBOUND),
        sum(line.messages for line in lines if line.dimensions.direction != Direction.INBOUND),
        sum(line.tokens_input for line in lines),
        sum(line.tokens_output for line in lines),
        sum(day.response_ms for day in found),
        sum(day.response_count for day in found),
        rate(lines, book) if whole is None else whole.within(period),
    )


def rated_from(book: PriceBook, start: date) -> date:
    """Return the first day whose usage decides the cost of `start`: its own, or its month's first."""
    return month_of(start).start if book.needs_whole_months else start


def rates_used(rating: Rating) -> list[RateUsed]:
    """Return the exchange rates that converted something, oldest first; what costs nothing was not converted."""
    used: dict[int, tuple[ExchangeRate, date]] = {}
    for charge in rating.charges:
        rate = charge.rate
        if rate is not None and rate.rate_id and charge.amount:
            last_day = used[rate.rate_id][1] if rate.rate_id in used else charge.day
            used[rate.rate_id] = rate, max(last_day, charge.day)
    by_day = sorted(used.values(), key=lambda pair: (pair[0].effective_from, pair[0].rate_id))
    return [
        RateUsed(
            rate.base,
            rate.quote,
            money.exact_text(rate.rate),
            rate.effective_from,
            rate.source,
            stale=is_stale_on(rate, last_day),
        )
        for rate, last_day in by_day
    ]


def company_figures(company: Company, today: date) -> CompanyFigures:
    """Return whose figures these are, with the zone of the local day `today`."""
    zone = _zone_name(company.schedule, today, including=True)
    return CompanyFigures(company.company_id, company.name, company.status, zone, company.currency)


def local_time(schedule: ZoneSchedule, instant: datetime) -> datetime:
    """Return the instant written in the zone of its local day."""
    return _in_zone(instant, _zone_name(schedule, local_day(schedule, instant), including=True))


def interval(schedule: ZoneSchedule, period: Period) -> Interval:
    """Return a period's instants in local time: 2026-11-01T00:00:00-03:00 to 2026-12-01T00:00:00-03:00.

    A day that a zone change begins still starts at midnight of the old zone, and is written so.
    """
    start, end = period.bounds(schedule)
    return Interval(_written(schedule, start, period.start), _written(schedule, end, period.end))


def _written(schedule: ZoneSchedule, instant: datetime, day: date) -> datetime:
    return _in_zone(instant, _zone_name(schedule, day, including=False))


def _in_zone(instant: datetime, name: str) -> datetime:
    """Return the instant with the offset its zone has then, fixed: Python compares and subtracts two times of one
    ZoneInfo by what the clocks show, so a day of 23 hours would last 24.
    """
    local = instant.astimezone(ZoneInfo(name))
    return local.replace(tzinfo=timezone(local.utcoffset() or timedelta(0)), fold=0)


def _zone_name(schedule: ZoneSchedule, day: date, *, including: bool) -> str:
    """Return the zone that ends a day (including a change on that day) or the one whose midnight begins it."""
    names = [name for changed, name in schedule.rows if changed < day or (including and changed == day)]
    return names[-1] if names else schedule.rows[0][1]


def block(
    usage: Iterable[DayUsage], book: PriceBook, schedule: ZoneSchedule, period: Period, *, whole: Rating | None = None
) -> UsageBlock:
    """Return one period's block of the summary."""
    sums, bounds = total(usage, book, period, whole=whole), interval(schedule, period)
    return UsageBlock(
        bounds.start,
        bounds.end,
        MessageCounts(sums.messages_inbound, sums.messages_outbound, sums.messages_inbound + sums.messages_outbound),
        TokenCounts(sums.tokens_input, sums.tokens_output, sums.tokens_input + sums.tokens_output),
        sums.avg_response_ms,
        sums.cost,
        book.currency,
        sums.rating.not_priced,
        sums.rating.lower_bound,
        rates_used(sums.rating),
    )


def point(
    usage: Iterable[DayUsage], book: PriceBook, schedule: ZoneSchedule, period: Period, *, whole: Rating | None = None
) -> HistoryPoint:
    """Return one period's point of the history."""
    of = block(usage, book, schedule, period, whole=whole)
    return HistoryPoint(
        period.start,
        of.start,
        of.end,
        of.messages.total,
        of.messages.inbound,
        of.messages.outbound,
        of.tokens.total,
        of.tokens.input,
        of.tokens.output,
        of.avg_response_ms,
        of.cost,
        of.not_priced,
        of.lower_bound,
        of.exchange_rates,
    )
