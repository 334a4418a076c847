"""How a company stands this month, by the same rating and the same limits as its summary: what the list is made of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.limit import LimitState, percent
from secretaria.core.limit import state as limit_state
from secretaria.core.period import Period, day_end, day_start, local_day, month_of
from secretaria.core.plan import LimitMetric, PlanLimits
from secretaria.core.price import PriceBook
from secretaria.core.rating import Rating, rate
from secretaria.services.figures import Totals, local_time, total
from secretaria.services.period_view import Comparison, earlier_period
from secretaria.store import companies, plans, prices, usage_reads
from secretaria.store import standings as store
from secretaria.store.companies import Company
from secretaria.store.database import Connection
from secretaria.store.standings import UNKNOWN_ORDER, Compared, Spans, Standing
from secretaria.store.usage_reads import DayUsage

DAYS_DRAWN: Final = 14
IDLE_DAYS: Final = 3
"""An active company that used nothing today and on the two days before is one that no data comes from."""

ORDER_CURRENCY: Final = "BRL"
CRITICAL, WARNING, NO_DATA, NOT_PRICED, REST = range(5)
_ACTIVE: Final = "active"
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_ZERO: Final = Decimal(0)


async def compute(connection: Connection, company_ids: Sequence[int], *, now: datetime) -> list[Standing]:
    """Return how these companies stand, all as of the connection's one snapshot; those that are gone are left out."""
    found = await companies.read_some(connection, company_ids)
    if not found:
        return []
    todays = {of.company_id: local_day(of.schedule, now) for of in found}
    periods = {company_id: _looked_at(today) for company_id, today in todays.items()}
    books = await prices.read_books(
        connection,
        {of.company_id: of.currency for of in found},
        start=min(period.start for period in periods.values()),
        end=max(period.end for period in periods.values()),
    )
    by_account = [company_id for company_id, book in books.items() if book.needs_whole_months]
    usage = await usage_reads.read_days_each(connection, periods, by_account=by_account)
    limits = await plans.read_in_force(connection, todays)
    spans = await store.read_spans(connection, list(todays))
    return [
        _Reading(
            of, todays[of.company_id], now, books[of.company_id], usage.get(of.company_id, []),
            limits.get(of.company_id), spans.get(of.company_id),
        ).standing()
        for of in found
    ]  # fmt: skip


def _looked_at(today: date) -> Period:
    """Return the month before today's and the month so far: the comparison and the drawn days lie in them."""
    return Period(month_of(month_of(today).start - _DAY).start, today + _DAY)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of one company."""

    company: Company
    today: date
    now: datetime
    book: PriceBook
    usage: Sequence[DayUsage]
    limits: PlanLimits | None
    spans: Spans | None

    def standing(self) -> Standing:
        """Return how it stands; nothing here is rounded."""
        whole = rate([day.line for day in self.usage], self.book)
        month = self._total(whole, month_of(self.today))
        cost = None if month.cost is None else Decimal(month.cost)
        nearest, metric, worst = self._nearest(month)
        is_idle = self._is_idle()
        order = self._in_order_currency(cost, is_empty=not whole.within(month_of(self.today)).charges)
        attention = _attention(worst, is_idle=is_idle, not_priced=month.rating.lower_bound)
        weight = {CRITICAL: nearest, WARNING: nearest, NO_DATA: _ZERO}.get(attention, order)
        drawn = [self.today - back * _DAY for back in reversed(range(DAYS_DRAWN))]
        costs, messages = self._by_day(whole)
        return Standing(
            company_id=self.company.company_id,
            version=self.company.version,
            as_of=self.now,
            due_at=day_end(self.company.schedule, self.today),
            day=self.today,
            currency=self.company.currency,
            plan_id=None if self.limits is None else self.limits.plan_id,
            plan_name=None if self.limits is None else self.limits.name,
            thresholds=() if self.limits is None else self.limits.thresholds,
            percent=nearest,
            metric=metric,
            state=worst,
            messages_inbound=month.messages_inbound,
            messages_outbound=month.messages_outbound,
            tokens=month.tokens_input + month.tokens_output,
            cost=cost,
            lower_bound=month.rating.lower_bound,
            not_priced_messages=month.rating.not_priced.messages,
            not_priced_tokens=month.rating.not_priced.tokens,
            compared=self._compared(whole),
            daily_costs=tuple(costs.get(day, _ZERO) for day in drawn),
            daily_messages=tuple(messages.get(day, 0) for day in drawn),
            first_day=None if self.spans is None else self.spans.first_day,
            last_use=self._last_use(),
            is_idle=is_idle,
            attention=attention,
            weight=weight or _ZERO,
            cost_order=order,
        )

    def _total(self, whole: Rating, period: Period) -> Totals:
        return total(self.usage, self.book, period, whole=whole)

    def _nearest(self, month: Totals) -> tuple[Decimal | None, LimitMetric | None, LimitState]:
        """Return the highest share among the limits, of what, and the worst state of them all."""
        if self.limits is None:
            return None, None, LimitState.NORMAL
        used = {
            LimitMetric.MESSAGES: Decimal(month.messages_inbound + month.messages_outbound),
            LimitMetric.TOKENS: Decimal(month.tokens_input + month.tokens_output),
            LimitMetric.COST: month.rating.total,
        }
        held = [
            (percent(used[metric], limit), metric, limit_state(used[metric], limit, self.limits.thresholds))
            for metric in LimitMetric
            if (limit := self.limits.limit_of(metric)) is not None
            and (metric != LimitMetric.COST or self.limits.currency == self.company.currency)
        ]
        if not held:
            return None, None, LimitState.NORMAL
        nearest, metric, state = max(held, key=lambda of: of[0])
        return nearest, metric, state

    def _is_idle(self) -> bool:
        if self.company.status != _ACTIVE:
            return False
        return self.spans is None or self.spans.last_day <= self.today - IDLE_DAYS * _DAY

    def _last_use(self) -> datetime | None:
        if self.spans is None:
            return None
        schedule = self.company.schedule
        return local_time(schedule, day_start(schedule, self.spans.last_day) + self.spans.last_hour * _HOUR)

    def _in_order_currency(self, cost: Decimal | None, *, is_empty: bool) -> Decimal:
        if cost is None or is_empty:
            return UNKNOWN_ORDER
        rate = self.book.rate_for(self.company.currency, ORDER_CURRENCY, self.today)
        return cost if rate is None else money.product(cost, rate.rate)

    def _by_day(self, whole: Rating) -> tuple[dict[date, Decimal], dict[date, int]]:
        costs: dict[date, list[Decimal]] = defaultdict(list)
        messages: dict[date, int] = defaultdict(int)
        for charge in whole.charges:
            if charge.amount is not None:
                costs[charge.day].append(charge.amount)
        for of in self.usage:
            messages[of.line.day] += of.line.messages
        return {day: money.total(amounts) for day, amounts in costs.items()}, messages

    def _compared(self, whole: Rating) -> Compared | None:
        """Hold the month's complete days against the same days of the last month; None on the first of a month."""
        ours = Period(month_of(self.today).start, self.today)
        theirs = earlier_period(ours, Comparison.MONTH)
        if theirs is None or self.spans is None:
            return None
        now, before = self._total(whole, ours), self._total(whole, theirs)
        base = before.messages_inbound + before.messages_outbound or before.tokens_input + before.tokens_output
        return Compared(
            start=ours.start,
            end=ours.end,
            before_start=theirs.start,
            before_end=theirs.end,
            cost=None if now.cost is None else Decimal(now.cost),
            cost_before=None if before.cost is None else Decimal(before.cost),
            lower_bound=now.rating.lower_bound,
            lower_bound_before=before.rating.lower_bound,
            base=base,
            is_whole=self.spans.first_day <= theirs.start,
        )


def _attention(state: LimitState, *, is_idle: bool, not_priced: bool) -> int:
    of_state: Mapping[LimitState, int] = {LimitState.CRITICAL: CRITICAL, LimitState.WARNING: WARNING}
    if state in of_state:
        return of_state[state]
    if is_idle:
        return NO_DATA
    return NOT_PRICED if not_priced else REST
