"""What decides whether companies may send: status, limits of the local day, what was used and what is held."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from secretaria.core.crossing import Used
from secretaria.core.entitlement import NOTHING, SUSPENDED, Decision, Quantities, decide
from secretaria.core.period import Period, ZoneSchedule, day_end, day_start, local_day, month_of
from secretaria.core.plan import PlanLimits
from secretaria.core.rating import rate
from secretaria.store import alerts, companies, plans, prices, reservations, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection
from secretaria.store.reservations import Held

_NO_USE = (0, 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """One company's facts at a version of its head. They hold in [valid_from, valid_until) unless the version moves:
    then the local day ends, with its plan and perhaps its month, or the first reservation expires.
    """

    company_id: int
    version: int
    status: str
    currency: str
    schedule: ZoneSchedule
    period: Period
    limits: PlanLimits | None
    used: Used
    held: Held
    valid_from: datetime
    valid_until: datetime

    def decision(self, wanted: Quantities = NOTHING) -> Decision:
        """Decide by these facts."""
        return decide(
            suspended=self.status == SUSPENDED,
            limits=self.limits,
            used=self.used,
            reserved=self.held.quantities,
            wanted=wanted,
        )


async def read_facts(connection: Connection, company_ids: Collection[int], now: datetime) -> dict[int, Facts]:
    """Return the facts of these companies; those that are not there are left out.

    The caller's transaction is one snapshot, or holds the companies' heads.
    """
    found = {company.company_id: company for company in await companies.read_some(connection, list(company_ids))}
    if not found:
        return {}
    days = {company_id: local_day(company.schedule, now) for company_id, company in found.items()}
    periods = {company_id: month_of(day) for company_id, day in days.items()}
    in_force = await plans.read_in_force(connection, days)
    limits = {company_id: _held_against(plan, found[company_id]) for company_id, plan in in_force.items()}
    counters = await alerts.read_counters(connection, [(of, period.start) for of, period in periods.items()])
    held = await reservations.read_held(connection, list(found), now)
    limited = {of: periods[of] for of, plan in limits.items() if plan.cost is not None}
    costs = await _read_costs(connection, limited, found) if limited else {}
    return {
        company_id: _facts(
            company,
            days[company_id],
            limits.get(company_id),
            Used(*counters.get((company_id, periods[company_id].start), _NO_USE), costs.get(company_id)),
            held.get(company_id, Held()),
        )
        for company_id, company in found.items()
    }


def _held_against(plan: PlanLimits, company: Company) -> PlanLimits:
    """Return the limits without one on cost in a currency that is not the company's: it holds nothing."""
    return plan if plan.cost is None or plan.currency == company.currency else replace(plan, cost=None)


async def _read_costs(
    connection: Connection, periods: Mapping[int, Period], of: Mapping[int, Company]
) -> dict[int, Decimal]:
    """Return what each company's month costs so far, exactly: its daily sums, rated."""
    books = await prices.read_books(
        connection,
        {company_id: of[company_id].currency for company_id in periods},
        start=min(period.start for period in periods.values()),
        end=max(period.end for period in periods.values()),
    )
    by_account = [company_id for company_id, book in books.items() if book.needs_whole_months]
    usage = await usage_reads.read_days_each(connection, periods, by_account=by_account)
    return {
        company_id: rate([day.line for day in usage.get(company_id, ())], books[company_id]).total
        for company_id in periods
    }


def _facts(company: Company, day: date, limits: PlanLimits | None, used: Used, held: Held) -> Facts:
    ends_at = day_end(company.schedule, day)
    return Facts(
        company.company_id,
        company.version,
        company.status,
        company.currency,
        company.schedule,
        month_of(day),
        limits,
        used,
        held,
        day_start(company.schedule, day),
        min(ends_at, held.expires_first_at or ends_at),
    )
