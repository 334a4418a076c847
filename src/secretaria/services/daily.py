"""One month of a company day by day, from one snapshot: what `secretaria report` writes."""

import re
from dataclasses import dataclass
from datetime import date, datetime

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import InvalidInput
from secretaria.core.period import DAY_FIRST, DAY_LAST, Period, day_of, local_day, month_of
from secretaria.services.figures import Totals, rated_once, total
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import companies, prices, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Database

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class DailyReport:
    """A company's month: one (day, totals) for every local day that has begun, oldest first."""

    company: Company
    month: Period
    days: list[tuple[date, Totals]]


def parse_month(text: str) -> Period:
    """Return the month of a text such as 2026-11; raises InvalidInput (unknown_period)."""
    match = _MONTH.fullmatch(text)
    first = date(int(match[1]), int(match[2]), 1) if match and match[1] != "0000" else None
    if first is None or not DAY_FIRST <= first <= DAY_LAST.replace(day=1):
        raise InvalidInput("a period is a month, written like 2026-11", code="unknown_period", pointer="period")
    return month_of(first)


async def daily_report(
    database: Database, caller: Caller, company_id: int, *, month: Period | None, now: datetime
) -> DailyReport:
    """Return the month's days up to today; the current local month without one.

    Raises InvalidInput (future_period) where the month has not begun for the company, NotFound, NotAllowed.
    """
    caller.require_company(company_id)
    caller.require_scope(Scope.ANALYTICS_READ)
    async with company_transaction(database, caller, company_id, snapshot=True) as connection:
        company = await companies.read(connection, company_id)
        if company is None:
            raise company_not_found()
        today = local_day(company.schedule, now)
        month = month or month_of(today)
        if month.start > today:
            raise InvalidInput(f"{month.start:%Y-%m} has not begun yet", code="future_period", pointer="period")
        books = await prices.read_books(connection, {company_id: company.currency}, start=month.start, end=month.end)
        book = books[company_id]
        usage = await usage_reads.read_days(
            connection, company_id, start=month.start, end=month.end, by_account=book.needs_whole_months
        )
    rated = rated_once(usage, book)
    days = [(day, total(usage, book, day_of(day), whole=rated)) for day in month.days() if day <= today]
    return DailyReport(company, month, days)
