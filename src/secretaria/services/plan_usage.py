"""How near a company is to its plan's limits this month, and when it gets there: the summary and the panel's bars."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from secretaria.core import money
from secretaria.core.forecast import Forecast, forecast
from secretaria.core.limit import percent, state
from secretaria.core.period import Period, local_day, month_of
from secretaria.core.plan import LimitMetric, PlanLimits
from secretaria.core.price import PriceBook
from secretaria.core.rating import Rating, UsageLine, rate_period
from secretaria.services.figures import LimitForecast, LimitUsage, PlanUsage
from secretaria.services.rated_cells import RatedCell
from secretaria.store import plans
from secretaria.store.companies import Company
from secretaria.store.database import Connection
from secretaria.store.usage_reads import DayUsage

_ZERO = Decimal(0)
_ONE_DAY = timedelta(days=1)


async def read_plan_usage(
    connection: Connection,
    company: Company,
    *,
    now: datetime,
    usage: Sequence[DayUsage],
    book: PriceBook,
    whole: Rating | None = None,
) -> PlanUsage | None:
    """Return the plan that holds today with the local month so far against its limits; None without a plan.

    usage holds the month's days at least, and book prices them; whole is their rating where it was made already.
    A limit of the cost in a currency that is not the company's is left out: nothing can be held against it.
    """
    today = local_day(company.schedule, now)
    limits = await _limits_on(connection, company, today)
    if limits is None:
        return None
    month = month_of(today)
    rating = whole.within(month) if whole else rate_period([day.line for day in usage], book, month)
    lines = [day.line for day in usage if day.line.day in month]
    return _held(company, limits, today, lines, _costs_by_day(rating), lower_bound=rating.lower_bound)


async def read_plan_usage_of(
    connection: Connection, company: Company, *, now: datetime, cells: Sequence[RatedCell]
) -> PlanUsage | None:
    """As read_plan_usage, of the cells by day of the month that today is in."""
    today = local_day(company.schedule, now)
    limits = await _limits_on(connection, company, today)
    if limits is None:
        return None
    costs: dict[date, list[Decimal]] = defaultdict(list)
    lower_bound = False
    for of in cells:
        for part in of.parts:
            if part.amount is None:
                lower_bound = True
            else:
                costs[of.cell.line.day].append(part.amount)
    return _held(company, limits, today, [of.cell.line for of in cells], costs, lower_bound=lower_bound)


async def _limits_on(connection: Connection, company: Company, today: date) -> PlanLimits | None:
    return (await plans.read_in_force(connection, {company.company_id: today})).get(company.company_id)


def _held(
    company: Company,
    limits: PlanLimits,
    today: date,
    lines: Sequence[UsageLine],
    costs: Mapping[date, Sequence[Decimal]],
    *,
    lower_bound: bool,
) -> PlanUsage:
    first = _first_complete_day(company, lines, month_of(today))
    complete = Period(min(first, today), today)
    this_month = _Month(limits, _amounts_by_day(lines, costs), complete, lower_bound)
    return PlanUsage(
        id=limits.plan_id,
        name=limits.name,
        currency=limits.currency,
        thresholds=list(limits.thresholds),
        hard=limits.hard,
        effective_from=limits.effective_from,
        limits=[
            this_month.held_against(metric, limit)
            for metric in LimitMetric
            if (limit := limits.limit_of(metric)) is not None
            and (metric != LimitMetric.COST or limits.currency == company.currency)
        ],
    )


@dataclass(frozen=True, slots=True)
class _Month:
    """A month's amounts by day; complete are its days that a forecast goes by, and end where today begins."""

    limits: PlanLimits
    amounts: Mapping[LimitMetric, Mapping[date, Decimal]]
    complete: Period
    lower_bound: bool

    def held_against(self, metric: LimitMetric, limit: Decimal) -> LimitUsage:
        by_day, today = self.amounts[metric], self.complete.end
        used = money.total(by_day.values())
        daily = [(day, by_day.get(day, _ZERO)) for day in self.complete.days()]
        so_far = by_day.get(today, _ZERO)
        coming = forecast(daily, used, limit, today, month_of(today).end, today_so_far=so_far)
        return LimitUsage(
            metric=metric,
            limit=_written(metric, limit),
            used=_written(metric, used),
            percent=money.exact_text(percent(used, limit)),
            state=state(used, limit, self.limits.thresholds),
            lower_bound=metric == LimitMetric.COST and self.lower_bound,
            forecast=_forecast_figures(coming),
        )


def _costs_by_day(rating: Rating) -> dict[date, list[Decimal]]:
    costs: dict[date, list[Decimal]] = defaultdict(list)
    for charge in rating.charges:
        if charge.amount is not None:
            costs[charge.day].append(charge.amount)
    return costs


def _amounts_by_day(
    lines: Sequence[UsageLine], costs: Mapping[date, Sequence[Decimal]]
) -> dict[LimitMetric, Mapping[date, Decimal]]:
    messages: dict[date, int] = defaultdict(int)
    tokens: dict[date, int] = defaultdict(int)
    for line in lines:
        messages[line.day] += line.messages
        tokens[line.day] += line.tokens_input + line.tokens_output
    return {
        LimitMetric.MESSAGES: {day: Decimal(quantity) for day, quantity in messages.items()},
        LimitMetric.TOKENS: {day: Decimal(quantity) for day, quantity in tokens.items()},
        LimitMetric.COST: {day: money.total(amounts) for day, amounts in costs.items()},
    }


def _first_complete_day(company: Company, lines: Sequence[UsageLine], month: Period) -> date:
    """Return from when on a day without usage is a zero, and not a day before the company was here.

    The day it was made is not complete; usage told of earlier days (an import) makes those count as well.
    """
    made = local_day(company.schedule, company.created_at)
    told = min((line.day for line in lines), default=made)
    return max(month.start, told if told < made else made + _ONE_DAY)


def _written(metric: LimitMetric, amount: Decimal) -> int | str:
    return money.exact_text(amount) if metric == LimitMetric.COST else int(amount)


def _forecast_figures(of: Forecast) -> LimitForecast:
    at_end = None if of.percent_at_end is None else money.exact_text(of.percent_at_end)
    return LimitForecast(of.outcome, of.reason, of.earliest, of.likely, of.latest, at_end)
