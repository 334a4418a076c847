"""Closes each company's local days and weeks into analytics_reports; late usage makes a new revision (law 4).

Every day since the first use or the company's creation gets a row, an empty or skipped one too (Pacific/Apia
2011-12-30 lasted no time): days and weeks with a report tile the calendar. A report names the prices and rates it
used and stays as it was; a price set for the first time shows in summary and history, not in what is closed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import psycopg
import structlog

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.errors import NotFound, Unavailable
from secretaria.core.period import Period, local_day, next_day_start
from secretaria.core.price import PriceBook
from secretaria.core.rating import Charge, Rating
from secretaria.services.figures import rated_from, rated_once, total
from secretaria.services.scope import COMPANY_ID_MAX, company_not_found
from secretaria.settings import Settings
from secretaria.store import companies, prices, rate_cards, reports, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.reports import DuePeriod, Progress, Report
from secretaria.store.usage_reads import DayUsage

COMPANIES_MAX: Final = 500
PERIODS_PER_TRANSACTION_MAX: Final = 64
TRANSACTIONS_PER_COMPANY_MAX: Final = 200
REVISION_INTERVAL: Final = timedelta(hours=1)
"""At most one new revision of a period in this time; a company that only moved is looked at as often."""

UNAVAILABLE_MAX: Final = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClosedReports:
    """What a pass wrote: companies looked at, first reports, later revisions, companies that failed (logged).

    more: the pass ended at its limit; another one goes on.
    """

    companies: int = 0
    reports: int = 0
    revisions: int = 0
    failed: int = 0
    more: bool = False

    def __add__(self, other: "ClosedReports") -> "ClosedReports":
        return ClosedReports(
            self.companies + other.companies,
            self.reports + other.reports,
            self.revisions + other.revisions,
            self.failed + other.failed,
            self.more or other.more,
        )


class ReportService:
    """Closes what is due. Any number of workers may do it at once: each company is closed by one at a time."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def close_due(self, now: datetime, *, companies_max: int = COMPANIES_MAX) -> ClosedReports:
        """Close what is due of up to companies_max companies; one that fails is logged and does not stop the rest.

        Raises Unavailable when the database is away: UNAVAILABLE_MAX companies in a row could not be reached.
        """
        async with transaction(self._database.operator) as connection:
            due = await reports.read_due_companies(
                connection, now=now, recheck_before=now - REVISION_INTERVAL, limit=companies_max
            )
        closed = ClosedReports(more=len(due) == companies_max)
        unavailable = 0
        for company_id in due:
            try:
                closed += await self._close_company(company_id, now, wait=False)
                unavailable = 0
            except NotFound:
                continue  # removed since it was found due
            except (psycopg.Error, ArithmeticError, ValueError, Unavailable) as error:
                _log.exception("close_failed", company_id=company_id)
                closed += ClosedReports(companies=1, failed=1)
                unavailable += isinstance(error, Unavailable)
                if unavailable >= UNAVAILABLE_MAX:
                    raise
        return closed

    async def close(self, caller: Caller, company_id: int, now: datetime) -> ClosedReports:
        """Close what is due of one company, waiting for whoever is at it. Raises NotFound, NotAllowed, Unavailable."""
        caller.require_operator()
        if not 0 < company_id <= COMPANY_ID_MAX:
            raise company_not_found()
        return await self._close_company(company_id, now, wait=True)

    async def _close_company(self, company_id: int, now: datetime, *, wait: bool) -> ClosedReports:
        """Close a company's due periods, some in each transaction, until none is left."""
        closed = ClosedReports(companies=1)
        for _ in range(TRANSACTIONS_PER_COMPANY_MAX):
            async with transaction(self._database.operator) as connection:
                written = await _close_some(connection, company_id, now, wait=wait)
            if written is None:
                return closed
            closed += written
            if not written.more:
                return ClosedReports(closed.companies, closed.reports, closed.revisions)
        return closed


async def _close_some(connection: Connection, company_id: int, now: datetime, *, wait: bool) -> ClosedReports | None:
    """Close up to PERIODS_PER_TRANSACTION_MAX periods; None when another closer is at this company.

    1. The progress row is locked: whoever comes second sees all that the first has committed.
    2. The version is read before what is due, so that nothing up to it is missed.
    3. Usage and the version a report names are read by one statement.
    4. Progress moves to the version of step 2 once nothing is left; while a revision has to wait it stays.
    """
    company = await companies.read(connection, company_id)
    if company is None:
        raise company_not_found()
    progress = await reports.lock_progress(connection, company_id, wait=wait, now=now)
    if progress is None:
        return None
    company = await companies.read(connection, company_id) or company
    due, waiting = await _read_due(connection, company, progress, now)
    some = due[:PERIODS_PER_TRANSACTION_MAX]
    if some:
        rows = await _rate(connection, company, some)
        await reports.insert(connection, company_id, rows, now=now)
    more = len(due) > len(some)
    if not more:
        reached = Progress(next_day_start(company.schedule, now), progress.head_version if waiting else company.version)
        await reports.save_progress(connection, company_id, reached, now=now)
    revisions = sum(period.revision > 1 for period in some)
    return ClosedReports(reports=len(some) - revisions, revisions=revisions, more=more)


async def _read_due(
    connection: Connection, company: Company, progress: Progress, now: datetime
) -> tuple[list[DuePeriod], bool]:
    """Return what is due, one more than a transaction takes being enough, and whether a revision has to wait."""
    today = local_day(company.schedule, now)
    created = local_day(company.schedule, company.created_at)
    first_used = await reports.read_first_day(connection, company.company_id)
    missing = await reports.read_missing(
        connection,
        company.company_id,
        first=min(created, first_used or created),
        today=today,
        limit=PERIODS_PER_TRANSACTION_MAX + 1,
    )
    late, waiting = await reports.read_late(
        connection,
        company.company_id,
        today=today,
        above_version=progress.head_version,
        closed_before=now - REVISION_INTERVAL,
        rerates_months=bool(await rate_cards.read_choices(connection, [company.company_id])),
    )
    return missing + late, waiting


async def _rate(connection: Connection, company: Company, due: Sequence[DuePeriod]) -> list[Report]:
    start = min(period.period.start for period in due)
    end = max(period.period.end for period in due)
    books = await prices.read_books(connection, {company.company_id: company.currency}, start=start, end=end)
    book = books[company.company_id]
    needed = [Period(rated_from(book, period.period.start), period.period.end) for period in due]
    days = sorted({day for period in needed for day in period.days()})
    version, usage = await usage_reads.read_days_at_version(
        connection, company.company_id, days, by_account=book.needs_whole_months
    )
    by_day: dict[date, list[DayUsage]] = {}
    for day in usage:
        by_day.setdefault(day.line.day, []).append(day)
    # Of each month every day up to the last one due is there, so that one rating serves all.
    rated = rated_once(usage, book)
    return [_report(by_day, book, period, version=version, rated=rated) for period in due]


def _report(
    by_day: dict[date, list[DayUsage]], book: PriceBook, due: DuePeriod, *, version: int, rated: Rating | None
) -> Report:
    period = due.period
    sums = total([use for day in period.days() for use in by_day.get(day, ())], book, period, whole=rated)
    rating = sums.rating
    return Report(
        due.kind,
        period,
        due.revision,
        version,
        sums.messages_inbound,
        sums.messages_outbound,
        sums.tokens_input,
        sums.tokens_output,
        sums.response_ms,
        sums.response_count,
        rating.total,
        book.currency,
        {"messages": rating.not_priced.messages, "tokens": rating.not_priced.tokens},
        report_lines(rating.charges),
    )


def report_lines(charges: Iterable[Charge]) -> list[dict[str, Any]]:
    """Return what was rated with which price and rate: charges alike in all but their day are one line.

    Amounts are exact texts; a charge of null is not priced, a rate_id of null no conversion.
    """
    alike: dict[tuple[Any, ...], list[Charge]] = {}
    for charge in charges:
        price_id = (charge.price.price_id, charge.price.card_price_id, charge.price.card) if charge.price else None
        rate_id = charge.rate.rate_id if charge.rate else None
        alike.setdefault((charge.dimensions, charge.metric, price_id, rate_id), []).append(charge)
    return [_line(same) for same in alike.values()]


def _line(same: Sequence[Charge]) -> dict[str, Any]:
    of, price, rate = same[0].dimensions, same[0].price, same[0].rate
    amounts = [charge.amount for charge in same if charge.amount is not None]
    line: dict[str, Any] = {
        "metric": same[0].metric,
        "channel": of.channel,
        "direction": of.direction,
        "category": of.category,
        "market": of.market,
        "model": of.model,
        "quantity": sum(charge.quantity for charge in same),
        "charge": money.exact_text(money.total(amounts)) if amounts else None,
    }
    if price is not None:
        line |= {
            "price_id": price.price_id,
            "card": price.card,
            "amount": money.exact_text(price.amount),
            "per": price.per,
            "currency": price.currency,
            "effective_from": price.effective_from.isoformat(),
        }
    if of.account_id is not None:
        line["account_id"] = of.account_id
    if price is not None and price.card_price_id is not None:
        line |= {"card_price_id": price.card_price_id, "above": price.above}
    if rate is not None:
        line |= {"rate_id": rate.rate_id or None, "rate": money.exact_text(rate.rate)}
    if rate is not None and rate.rate_id:
        line |= {"rate_from": rate.effective_from.isoformat(), "rate_source": rate.source}
    return line
