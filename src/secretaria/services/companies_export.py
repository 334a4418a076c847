"""The days of all companies, read and written page by page: memory holds one page, whatever the number of companies."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.core.period import Period, day_of, local_day
from secretaria.core.price import PriceBook
from secretaria.core.rating import Charge, Rating
from secretaria.reports import csv
from secretaria.reports.csv import CompanyDay, Dialect
from secretaria.reports.report import Day, Sums, exact
from secretaria.reports.xlsx import ROWS_MAX, CompaniesWorkbook
from secretaria.services.figures import Totals, rated_from, rated_once, total
from secretaria.services.scope import operator_transaction
from secretaria.store import companies, prices, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.usage_reads import DayUsage

COMPANY_DAYS_PER_PAGE: Final = 6_000
COMPANIES_PER_PAGE_MAX: Final = 100
PAGES_MAX: Final = 1_000_000
PIECE_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024

Page = list[CompanyDay]


async def pages(database: Database, caller: Caller, period: Period, now: datetime) -> AsyncIterator[Page]:
    """Yield the days of some companies at a time, by id; each page is a snapshot of its own."""
    limit = min(max(COMPANY_DAYS_PER_PAGE // (period.end - period.start).days, 1), COMPANIES_PER_PAGE_MAX)
    after = 0
    for _ in range(PAGES_MAX):
        async with operator_transaction(database, caller, snapshot=True) as connection:
            some = await companies.read_page(connection, after=after, limit=limit)
            reading = await _read(connection, some, period, now)
        # Rating a page takes a tenth of a second: in a thread it holds up nobody's request.
        rows = await asyncio.to_thread(_rows, reading)
        if rows:
            yield rows
        if len(some) < limit:
            return
        after = some[-1].company_id


async def lines(found: AsyncIterator[Page], dialect: Dialect) -> AsyncIterator[bytes]:
    """Yield the CSV of pages: the line of names first, with the first page's lines."""
    before = csv.header(dialect, companies=True)
    async for rows in found:
        yield before + csv.companies_lines(rows, dialect)
        before = b""
    if before:
        yield before


async def workbook(found: AsyncIterator[Page], locale: str, now: datetime) -> AsyncIterator[bytes]:
    """Write the workbook of pages, then yield it in pieces. Raises InvalidInput (export_too_large)."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES_MAX) as file:
        book = CompaniesWorkbook(file, locale, now.replace(microsecond=0))
        count = 0
        async for rows in found:
            count += len(rows)
            if count > ROWS_MAX:
                raise InvalidInput(
                    f"a workbook has at most {ROWS_MAX} rows; ask for a CSV, or for fewer days",
                    code="export_too_large",
                    pointer="format",
                )
            await asyncio.to_thread(book.add, rows)
        await asyncio.to_thread(book.close)
        while piece := file.read(PIECE_BYTES):
            yield piece


@dataclass(frozen=True, slots=True)
class _Reading:
    """Some companies with what their days are made of; begun and today by company."""

    some: Sequence[Company]
    begun: Mapping[int, Period]
    today: Mapping[int, date]
    books: Mapping[int, PriceBook]
    usage: Mapping[int, Sequence[DayUsage]]


async def _read(connection: Connection, some: Sequence[Company], period: Period, now: datetime) -> _Reading:
    today = {company.company_id: local_day(company.schedule, now) for company in some}
    begun = {company_id: _begun(day, period) for company_id, day in today.items()}
    books = await prices.read_books(
        connection, {company.company_id: company.currency for company in some}, start=period.start, end=period.end
    )
    needed = {
        company_id: Period(rated_from(books[company_id], part.start), part.end) for company_id, part in begun.items()
    }
    by_account = [company_id for company_id, book in books.items() if book.needs_whole_months]
    usage = await usage_reads.read_days_each(connection, needed, by_account=by_account)
    return _Reading(some, begun, today, books, usage)


def _rows(of: _Reading) -> Page:
    rows: Page = []
    for company in of.some:
        company_id = company.company_id
        for day, totals in _daily(of.usage.get(company_id, ()), of.books[company_id], of.begun[company_id]):
            unfinished = day >= of.today[company_id]
            rows.append(CompanyDay(company_id, company.name, company.currency, Day(day, _sums(totals), unfinished)))
    return rows


def _begun(today: date, period: Period) -> Period:
    return Period(period.start, max(min(period.end, today + timedelta(days=1)), period.start))


def _daily(usage: Sequence[DayUsage], book: PriceBook, period: Period) -> list[tuple[date, Totals]]:
    rated = rated_once(usage, book)
    by_day: dict[date, list[DayUsage]] = defaultdict(list)
    charges: dict[date, list[Charge]] = defaultdict(list)
    for of in usage:
        by_day[of.line.day].append(of)
    for charge in rated.charges if rated else ():
        charges[charge.day].append(charge)
    found = []
    for day in period.days():
        whole = Rating(book.currency, tuple(charges[day])) if rated else None
        found.append((day, total(by_day[day], book, day_of(day), whole=whole)))
    return found


def _sums(of: Totals) -> Sums:
    rating = of.rating
    nothing_priced = bool(rating.charges) and all(charge.amount is None for charge in rating.charges)
    return Sums(
        of.messages_inbound,
        of.messages_outbound,
        of.tokens_input,
        of.tokens_output,
        of.response_ms,
        of.response_count,
        None if nothing_priced else exact(rating.total),
        rating.not_priced.messages,
        rating.not_priced.tokens,
    )
