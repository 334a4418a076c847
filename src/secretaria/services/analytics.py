"""The read side: summary, history and the overview of companies, each from one snapshot of the daily sums."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import InvalidInput
from secretaria.core.period import Period, day_of, local_day, month_of, week_of
from secretaria.core.price import PriceBook
from secretaria.core.rating import rate
from secretaria.services.figures import (
    AlertFigures,
    History,
    Overview,
    OverviewRow,
    Summary,
    block,
    company_figures,
    interval,
    local_time,
    point,
    rated_from,
    rated_once,
)
from secretaria.services.plan_usage import read_plan_usage
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.settings import Settings
from secretaria.store import alerts, companies, prices, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.heads import read_versions
from secretaria.store.usage_reads import DayUsage

DAY_POINTS: Final = 7
WEEK_POINTS: Final = 8
OVERVIEW_COMPANIES_MAX: Final = 100
VERSIONS_COMPANIES_MAX: Final = 10_000
SUMMARY_ALERTS_MAX: Final = 20


class HistoryPeriod(StrEnum):
    """How far a history looks back: week is seven days, month is eight weeks."""

    WEEK = "week"
    MONTH = "month"


class AnalyticsReads:
    """Figures of companies. Each answer for one company is one snapshot and carries the version it was read at."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def summary(self, caller: Caller, company_id: int, now: datetime) -> Summary:
        """Return the local month so far, today and this week. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await _read_company(connection, company_id)
            today = local_day(company.schedule, now)
            month, week = month_of(today), week_of(today)
            whole = Period(min(month.start, week.start), max(month.end, week.end))
            usage, book = await _read_usage(connection, company, whole)
            # Rated once for all blocks and limits; a day's charges are the same in each.
            rated = rate([day.line for day in usage], book)
            plan = await read_plan_usage(connection, company, now=now, usage=usage, book=book, whole=rated)
            newest = await alerts.read_recent(connection, company_id, limit=SUMMARY_ALERTS_MAX, since=month.start)
        schedule = company.schedule
        return Summary(
            company=company_figures(company, today),
            as_of=local_time(schedule, now),
            period=interval(schedule, month),
            current=block(usage, book, schedule, month, whole=rated),
            daily=block(usage, book, schedule, day_of(today), whole=rated),
            weekly=block(usage, book, schedule, week, whole=rated),
            plan=plan,
            alerts=[msgspec.convert(alerts.as_json(alert), AlertFigures) for alert in newest],
            version=company.version,
        )

    async def history(self, caller: Caller, company_id: int, period: str, now: datetime) -> History:
        """Return the last 7 days (period "week") or 8 weeks ("month"), oldest first, the last one unfinished.

        Raises InvalidInput (unknown_period), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        if period not in set(HistoryPeriod):
            raise InvalidInput("period is week or month", code="unknown_period", pointer="period")
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await _read_company(connection, company_id)
            today = local_day(company.schedule, now)
            periods = history_periods(HistoryPeriod(period), today)
            whole = Period(periods[0].start, periods[-1].end)
            usage, book = await _read_usage(connection, company, whole)
        schedule, rated = company.schedule, rated_once(usage, book)
        return History(
            company=company_figures(company, today),
            as_of=local_time(schedule, now),
            period=interval(schedule, whole),
            granularity="day" if period == HistoryPeriod.WEEK else "week",
            currency=company.currency,
            points=[point(usage, book, schedule, of, whole=rated) for of in periods],
            version=company.version,
        )

    async def overview(
        self, caller: Caller, now: datetime, limit: int = OVERVIEW_COMPANIES_MAX, after: int = 0, search: str = ""
    ) -> Overview:
        """Return a page of companies with their today, by id; a member's page is its own company.

        With search only companies whose name holds it, whatever the case and accents.

        Only one company's figures are a snapshot elsewhere; here the whole page is. limit is held to 1 to
        OVERVIEW_COMPANIES_MAX.
        """
        caller.require_scope(Scope.ANALYTICS_READ)
        limit = min(max(limit, 1), OVERVIEW_COMPANIES_MAX)
        if not caller.is_operator:
            async with company_transaction(self._database, caller, caller.company_id, snapshot=True) as connection:
                page = [await _read_company(connection, caller.company_id)] if caller.company_id > after else []
                return Overview(now, await _overview_rows(connection, page, now), None)
        async with operator_transaction(self._database, caller, snapshot=True) as connection:
            page = await companies.read_page(connection, after=after, limit=limit + 1, search=search)
            rows = await _overview_rows(connection, page[:limit], now)
        return Overview(now, rows, page[limit - 1].company_id if len(page) > limit else None)

    async def has_usage(self, caller: Caller, company_id: int) -> bool:
        """Tell whether anything was ever counted for the company. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await usage_reads.has_usage(connection, company_id)

    async def versions(self, company_ids: Collection[int]) -> dict[int, int]:
        """Return the version of each company that exists; callers have been let through to them before."""
        if len(company_ids) > VERSIONS_COMPANIES_MAX:
            raise ValueError(f"at most {VERSIONS_COMPANIES_MAX} companies at once")
        async with transaction(self._database.operator) as connection:
            return await read_versions(connection, list(company_ids))


def history_periods(period: HistoryPeriod, today: date) -> list[Period]:
    """Return the days or weeks of a history, oldest first; the last holds today."""
    if period == HistoryPeriod.WEEK:
        return [day_of(today - timedelta(days=back)) for back in reversed(range(DAY_POINTS))]
    return [week_of(today - timedelta(weeks=back)) for back in reversed(range(WEEK_POINTS))]


async def _read_company(connection: Connection, company_id: int) -> Company:
    company = await companies.read(connection, company_id)
    if company is None:
        raise company_not_found()
    return company


async def _read_usage(connection: Connection, company: Company, period: Period) -> tuple[list[DayUsage], PriceBook]:
    start, end = period.start, period.end
    books = await prices.read_books(connection, {company.company_id: company.currency}, start=start, end=end)
    book = books[company.company_id]
    usage = await usage_reads.read_days(
        connection,
        company.company_id,
        start=rated_from(book, start),
        end=end,
        by_account=book.needs_whole_months,
    )
    return usage, book


async def _overview_rows(connection: Connection, page: list[Company], now: datetime) -> list[OverviewRow]:
    if not page:
        return []
    todays = {company.company_id: local_day(company.schedule, now) for company in page}
    start, end = min(todays.values()), max(todays.values()) + timedelta(days=1)
    books = await prices.read_books(
        connection, {company.company_id: company.currency for company in page}, start=start, end=end
    )
    needed = {
        company_id: Period(rated_from(books[company_id], today), today + timedelta(days=1))
        for company_id, today in todays.items()
    }
    by_account = [company_id for company_id, book in books.items() if book.needs_whole_months]
    usage = await usage_reads.read_days_each(connection, needed, by_account=by_account)
    rows = []
    for company in page:
        company_id, today = company.company_id, todays[company.company_id]
        figures = block(usage.get(company_id, ()), books[company_id], company.schedule, day_of(today))
        rows.append(OverviewRow(company_figures(company, today), figures, company.version))
    return rows
