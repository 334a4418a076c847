"""Decides about alerts in the transaction that moved usage, prices or plans, after the heads are locked.

Ingest asks for the periods whose counters say so (store/events.add_sums); whatever changes a price, a card, a rate or
a plan asks for its companies; the sweeper asks for all in turn and finds nothing. One function answers them all.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria import failpoint
from secretaria.core import limit as limits_of
from secretaria.core.crossing import AlertKind, AlertLevel, Decision, Line, OpenAlert, Used, next_line
from secretaria.core.crossing import decide as decide_lines
from secretaria.core.period import Period, local_day, month_of
from secretaria.core.plan import LimitMetric, PlanLimits
from secretaria.core.price import Metric, PriceBook
from secretaria.core.rating import Rating, rate
from secretaria.services import deliveries
from secretaria.services.deliveries import News
from secretaria.store import alerts as store
from secretaria.store import companies, plans, prices, usage_reads
from secretaria.store.alerts import Alert, NewAlert, PeriodKey, Watch
from secretaria.store.companies import Company
from secretaria.store.database import Connection

DECIDED_AT_ONCE_MAX: Final = 100
"""Companies decided in the transaction of a change of settings; beyond that the sweeper decides within a minute."""

_ZERO: Final = Decimal(0)
_EVENT_TYPES: Final = {
    AlertLevel.WARNING: "usage.limit.warning",
    AlertLevel.CRITICAL: "usage.limit.critical",
}


@dataclass(frozen=True, slots=True)
class _Standing:
    """One company's period as it stands when it is decided."""

    company: Company
    period: Period
    today: date
    limits: PlanLimits | None
    used: Used
    alerts: list[Alert]
    rating: Rating | None
    book: PriceBook | None


async def decide(
    connection: Connection, due: Mapping[PeriodKey, bool], *, now: datetime, exact: bool = False
) -> list[Alert]:
    """Fire and resolve what these periods call for, and note when they have to be looked at again.

    due is {(company_id, month's first day): may_resolve}; what is marked undecided may be resolved whoever comes
    first, as a change of settings left it so. With exact the cost is rated also where no limit is held against it,
    which is how what has no price is found. The heads are locked. Returns the alerts that fired.
    """
    fired: list[Alert] = []
    undecided = await store.read_marked(connection, due)
    for keys in _rounds(due):
        resolving = {key for key in keys if due[key] or key in undecided}
        standings = await _read(connection, keys, now=now, exact=exact, resolving=resolving)
        decisions = {key: _decision(of, may_resolve=key in resolving) for key, of in standings.items()}
        failpoint.reach("crossing.decided")
        fired += await _write(connection, standings, decisions, now=now)
        watches = {key: _watch(of, may_resolve=key in resolving) for key, of in standings.items()}
        await store.set_watches(connection, watches)
    return fired


async def settings_changed(connection: Connection, company_ids: Collection[int], *, now: datetime) -> list[Alert]:
    """Decide again after a change of prices, cards, rates or plans; the heads are locked.

    What was fired may be resolved. Of more than DECIDED_AT_ONCE_MAX companies each is decided at its next usage, or
    by the sweeper.
    """
    if not company_ids:
        return []
    # Zones are at most 14 hours ahead of UTC: the month before the local one is among these.
    since = month_of(month_of((now + timedelta(days=1)).date()).start - timedelta(days=1)).start
    keys = await store.set_undecided(connection, sorted(company_ids), since=since)
    if len(company_ids) > DECIDED_AT_ONCE_MAX:
        return []
    return await decide(connection, dict.fromkeys(keys, True), now=now, exact=True)


async def foresee(
    connection: Connection, company_ids: Collection[int], limits: PlanLimits | None, *, now: datetime
) -> dict[int, Decision]:
    """Say what limits would fire and resolve in these companies' months, were they theirs today; nothing is written.

    Companies that used nothing this month are left out. What has no price is not told: limits do not move it.
    """
    found = await companies.read_some(connection, sorted(company_ids))
    keys = [(of.company_id, month_of(local_day(of.schedule, now)).start) for of in found]
    foreseen = {}
    for (company_id, _), of in (await _read(connection, keys, now=now, exact=True)).items():
        held = replace(of, limits=limits, used=replace(of.used, not_priced=None))
        foreseen[company_id] = _decision(held, may_resolve=True)
    return foreseen


def _rounds(due: Iterable[PeriodKey]) -> Iterator[list[PeriodKey]]:
    """Part the periods so that each round has a company at most once: limits are read for one day a company."""
    left = sorted(due)
    while left:
        firsts = {company_id: (company_id, start) for company_id, start in reversed(left)}
        yield sorted(firsts.values())
        left = [key for key in left if firsts[key[0]] != key]


async def _read(
    connection: Connection,
    keys: Collection[PeriodKey],
    *,
    now: datetime,
    exact: bool,
    resolving: Collection[PeriodKey] = (),
) -> dict[PeriodKey, _Standing]:
    """Read what a decision needs, for all periods at once; companies that are gone are left out.

    Where an alert about what has no price may be resolved, the cost is rated too.
    """
    found = {company.company_id: company for company in await companies.read_some(connection, [of for of, _ in keys])}
    periods = {company_id: month_of(start) for company_id, start in keys if company_id in found}
    todays = {company_id: local_day(found[company_id].schedule, now) for company_id in periods}
    last = timedelta(days=1)
    days = {company_id: min(todays[company_id], period.end - last) for company_id, period in periods.items()}
    in_force = await plans.read_in_force(connection, days)
    counters = await store.read_counters(connection, keys)
    standing = await store.read_periods(connection, keys)
    doubted = {key[0] for key in resolving if _is_not_priced(standing[key])}
    rated = [
        of for of in periods if exact or of in doubted or (of in in_force and _holds_cost(in_force[of], found[of]))
    ]
    ratings = await _rate(connection, {of: periods[of] for of in rated}, found) if rated else {}
    result = {}
    for company_id, period in periods.items():
        key = (company_id, period.start)
        if key in counters:
            rating, book = ratings.get(company_id, (None, None))
            used = _used(*counters[key], rating)
            of = found[company_id]
            limits = in_force.get(company_id)
            result[key] = _Standing(of, period, todays[company_id], limits, used, standing[key], rating, book)
    return result


def _is_not_priced(alerts: Iterable[Alert]) -> bool:
    return any(alert.kind == AlertKind.NOT_PRICED and alert.resolved_at is None for alert in alerts)


def _holds_cost(limits: PlanLimits, company: Company) -> bool:
    return limits.cost is not None and limits.currency == company.currency


async def _rate(
    connection: Connection, periods: Mapping[int, Period], of: Mapping[int, Company]
) -> dict[int, tuple[Rating, PriceBook]]:
    books = await prices.read_books(
        connection,
        {company_id: of[company_id].currency for company_id in periods},
        start=min(period.start for period in periods.values()),
        end=max(period.end for period in periods.values()),
    )
    by_account = [company_id for company_id, book in books.items() if book.needs_whole_months]
    usage = await usage_reads.read_days_each(connection, periods, by_account=by_account)
    return {
        company_id: (rate([day.line for day in usage.get(company_id, ())], books[company_id]), books[company_id])
        for company_id in periods
    }


def _used(messages: int, tokens: int, rating: Rating | None) -> Used:
    if rating is None:
        return Used(messages, tokens)
    unknown = {
        LimitMetric.MESSAGES: rating.not_priced.messages,
        LimitMetric.TOKENS: rating.not_priced.tokens,
    }
    return Used(messages, tokens, rating.total, unknown)


def _decision(of: _Standing, *, may_resolve: bool) -> Decision:
    unresolved = [OpenAlert(alert.alert_id, alert.line) for alert in of.alerts if alert.resolved_at is None]
    return decide_lines(of.used, _held(of), unresolved, may_resolve=may_resolve)


def _held(of: _Standing) -> PlanLimits | None:
    """Return the limits; one on cost in a currency that is not (or no longer) the company's holds nothing."""
    if of.limits is None or of.limits.cost is None or _holds_cost(of.limits, of.company):
        return of.limits
    return replace(of.limits, cost=None)


def _watch(of: _Standing, *, may_resolve: bool) -> Watch:
    """Say when this period has to be decided again.

    Where nothing could be resolved the day stays: limits that began since then are the sweeper's to look at.
    """
    limits, book = _held(of), of.book
    holds_cost = limits is not None and limits.cost is not None
    return Watch(
        of.today if may_resolve else None,
        next_line(of.used, limits, LimitMetric.MESSAGES),
        next_line(of.used, limits, LimitMetric.TOKENS),
        next_line(of.used, limits, LimitMetric.COST) if holds_cost else None,
        of.rating.total if of.rating else _ZERO,
        book.cost_of_one_more_max(Metric.MESSAGES) if book else _ZERO,
        book.cost_of_one_more_max(Metric.TOKENS) if book else _ZERO,
    )


async def _write(
    connection: Connection,
    standings: Mapping[PeriodKey, _Standing],
    decisions: Mapping[PeriodKey, Decision],
    *,
    now: datetime,
) -> list[Alert]:
    new = [_new_alert(standings[key], line) for key, decision in decisions.items() for line in decision.fired]
    over = {(key[0], old.alert_id): key for key, decision in decisions.items() for old in decision.resolved}
    ending = [
        (alert, _quantity(of.used, alert.line))
        for of in standings.values()
        for alert in of.alerts
        if (alert.company_id, alert.alert_id) in over
    ]
    fired = await store.insert(connection, new, now=now) if new else []
    failpoint.reach("alert.inserted")
    resolved = await store.resolve(connection, ending, now=now) if ending else []
    names = {of.company.company_id: of.company.name for of in standings.values()}
    news = [_news(alert, names) for alert in fired] + [_news(alert, names) for alert in resolved]
    if news:
        await deliveries.enqueue(connection, news, now=now)
    failpoint.reach("alert.enqueued")
    return fired


def _quantity(used: Used, line: Line) -> Decimal:
    """Return what a line is held against; a line that nothing is known of is not decided about."""
    if line.kind == AlertKind.NOT_PRICED:
        return Decimal((used.not_priced or {}).get(line.metric, 0))
    return used.of(line.metric) or _ZERO


def _new_alert(of: _Standing, line: Line) -> NewAlert:
    """Return an alert; its episode counts the alerts of this very line that the period had before."""
    episodes = Counter(alert.line for alert in of.alerts)
    quantity = _quantity(of.used, line)
    is_limit = line.kind == AlertKind.LIMIT
    return NewAlert(
        of.company.company_id,
        line,
        of.period.start,
        episodes[line] + 1,
        quantity,
        limits_of.percent(quantity, line.limit) if is_limit else None,
        of.company.currency if line.metric == LimitMetric.COST else None,
        of.limits.name if is_limit and of.limits else None,
    )


def _news(alert: Alert, names: Mapping[int, str]) -> News:
    """Return what endpoints are told: the alert, as it fired or as it was resolved."""
    is_over = alert.resolved_at is not None
    if alert.kind == AlertKind.NOT_PRICED:
        event_type = "usage.not_priced.resolved" if is_over else "usage.not_priced"
    else:
        event_type = "usage.limit.resolved" if is_over else _EVENT_TYPES[alert.level]
    key = f"alert_{alert.alert_id}_resolved" if is_over else f"alert_{alert.alert_id}"
    data = {**store.as_json(alert), "company_name": names[alert.company_id]}
    return News(alert.company_id, alert.alert_id, event_type, key, data)
