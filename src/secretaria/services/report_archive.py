"""The archive: weekly and monthly PDFs, frozen once their days are closed; late usage makes a new revision.

A document is made once in Portuguese; whoever reads it in English first freezes that one too, of the same figures.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import psycopg
import structlog

from secretaria.core import money
from secretaria.core.access import PROCESS, Caller, Scope
from secretaria.core.delivery import EventType
from secretaria.core.errors import InvalidInput, NotFound, Unavailable
from secretaria.core.period import Period, local_day, month_of, week_of
from secretaria.outbound.mail import Attachment
from secretaria.reports.pdf import render_pdf
from secretaria.reports.report import Sums, UsageReport, canonical, code_of, restored
from secretaria.services.deliveries import News, enqueue
from secretaria.services.export_wanted import DEFAULT_LOCALE, ExportFormat, file_name
from secretaria.services.period_figures import read_company
from secretaria.services.report_figures import imprint_of, keep_code, read_report
from secretaria.services.scope import company_transaction
from secretaria.settings import Settings
from secretaria.store import report_files
from secretaria.store.database import Database, transaction
from secretaria.store.report_files import FileKind, NewFile, Progress, ReportFile

COMPANIES_PER_PASS_MAX: Final = 50
FILES_SHOWN_MAX: Final = 100
ARCHIVED_BACK: Final = timedelta(days=35)
"""Periods that ended longer ago when the archive first sees them are made on demand, not kept: usage comes as late."""

REVISION_INTERVAL: Final = timedelta(days=1)
NEWS_BACK: Final = timedelta(days=7)
"""Word of a document goes out while its period is news; an archive filled later tells nobody."""

UNAVAILABLE_MAX: Final = 3
_EVENT_TYPES: Final = {FileKind.WEEK: EventType.WEEKLY_REPORT, FileKind.MONTH: EventType.MONTHLY_REPORT}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Archived:
    """What a pass did: companies looked at, documents made, companies that failed (logged). more: another goes on."""

    companies: int = 0
    files: int = 0
    failed: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A frozen document and its bytes."""

    file: ReportFile
    name: str
    content: bytes


class ReportArchive:
    """Makes and hands out documents. Any number of workers may make them at once: each is frozen once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    # --- making them ---------------------------------------------------------------------------------------------

    async def keep_due(self, now: datetime, *, companies_max: int = COMPANIES_PER_PASS_MAX) -> Archived:
        """Make the documents of up to companies_max companies; one that fails is logged and does not stop the rest.

        Raises Unavailable when the database is away: UNAVAILABLE_MAX companies in a row could not be reached.
        """
        async with transaction(self._database.operator) as connection:
            due = await report_files.read_due_companies(connection, limit=companies_max)
        files = failed = unavailable = 0
        for company_id in due:
            try:
                files += await self._keep_company(company_id, now)
                unavailable = 0
            except NotFound:
                continue  # removed since it was found due
            except (psycopg.Error, ArithmeticError, ValueError, RuntimeError, InvalidInput, Unavailable) as error:
                _log.exception("archive_failed", company_id=company_id)
                failed += 1
                unavailable += isinstance(error, Unavailable)
                if unavailable >= UNAVAILABLE_MAX:
                    raise
        return Archived(len(due), files, failed, more=len(due) == companies_max)

    async def _keep_company(self, company_id: int, now: datetime) -> int:
        """Make a company's due documents; return how many.

        1. How far the closing and the archive have come is read first, so that nothing closed later is missed.
        2. Each document is frozen in a transaction of its own: a crash in between loses none, and makes none twice.
        3. Progress moves last; while a revision has to wait, the days that ask for it stay ahead of it.
        """
        async with transaction(self._database.operator) as connection:
            company = await read_company(connection, company_id)
            progress = await report_files.read_progress(connection, company_id)
            if progress is None:
                return 0
            today = local_day(company.schedule, now)
            since = month_of(today - ARCHIVED_BACK).start - timedelta(days=31)
            days, newest = await report_files.read_closed_days(
                connection, company_id, above_report_id=progress.through_report_id, since=since
            )
            due = [
                (kind, period)
                for kind, period in _periods(days, today)
                if await report_files.is_closed(connection, company_id, period.end - timedelta(days=1))
            ]
        made = waiting = 0
        for kind, period in due:
            frozen = await self._keep(company_id, kind, period, now)
            made += bool(frozen)
            waiting += frozen is None
        through = progress.through_report_id if waiting else newest
        async with transaction(self._database.operator) as connection:
            await report_files.save_progress(connection, company_id, Progress(progress.checked_at, through))
        return made

    async def _keep(self, company_id: int, kind: FileKind, period: Period, now: datetime) -> bool | None:
        """Freeze a period's document; False when there is nothing new to say, None when a revision has to wait."""
        report, as_of = await read_report(self._database, PROCESS, company_id, period, now)
        if _is_empty(report.total):
            return False
        figures = canonical(report)
        async with transaction(self._database.operator) as connection:
            before = await report_files.read_newest(connection, company_id, kind, period.start, DEFAULT_LOCALE)
            if before is not None and before.code == code_of(figures):
                return False
            if before is not None and now - before.made_at < REVISION_INTERVAL:
                return None
            imprint = await keep_code(connection, report, figures, as_of, self._settings.public_url)
        revision = 1 if before is None else before.revision + 1
        imprint = imprint_of(imprint.code, imprint.as_of, self._settings.public_url, revision=revision)
        content = await asyncio.to_thread(render_pdf, report, imprint, DEFAULT_LOCALE)
        new = NewFile(
            kind, period, revision, DEFAULT_LOCALE, imprint.code, imprint.as_of, hashlib.sha256(content).digest(),
            figures, content,
        )  # fmt: skip
        async with transaction(self._database.operator) as connection:
            file_id = await report_files.insert(connection, company_id, new, now=now)
            if file_id is not None and revision == 1 and now - _ended(period, now) <= NEWS_BACK:
                await enqueue(connection, [_news(report, new, file_id)], now=now)
        return file_id is not None

    # --- handing them out ----------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, company_id: int, *, limit: int = FILES_SHOWN_MAX, before: int | None = None
    ) -> list[ReportFile]:
        """Return a company's documents, newest first, below the id `before`. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        limit = min(max(limit, 1), FILES_SHOWN_MAX)
        async with company_transaction(self._database, caller, company_id) as connection:
            await read_company(connection, company_id)
            return await report_files.read_page(
                connection, company_id, locale=DEFAULT_LOCALE, limit=limit, before=before
            )

    async def document(
        self, caller: Caller, company_id: int, file_id: int, now: datetime, *, locale: str = DEFAULT_LOCALE
    ) -> Document:
        """Return a document in a language. Raises NotFound (also for another company's), NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            company = await read_company(connection, company_id)
            file = await report_files.read(connection, company_id, file_id)
            if file is None:
                raise NotFound("no such report", code="report_not_found")
            found = file if file.locale == locale else await report_files.read_translation(connection, file, locale)
            name = file_name(company.name, file.period, ExportFormat.PDF)
            if found is not None:
                return Document(found, name, await report_files.read_content(connection, company_id, found.file_id))
            figures = await report_files.read_figures(connection, company_id, file_id)
        await self._translate(caller, file, figures, locale, now)
        async with company_transaction(self._database, caller, company_id) as connection:
            found = await report_files.read_translation(connection, file, locale)
            if found is None:
                raise NotFound("no such report", code="report_not_found")
            return Document(found, name, await report_files.read_content(connection, company_id, found.file_id))

    async def _translate(self, caller: Caller, file: ReportFile, figures: bytes, locale: str, now: datetime) -> None:
        """Freeze a document's figures in another language; of two readers at once the first one's stays."""
        imprint = imprint_of(file.code, file.as_of, self._settings.public_url, revision=file.revision)
        content = await asyncio.to_thread(render_pdf, restored(figures), imprint, locale)
        new = NewFile(
            file.kind, file.period, file.revision, locale, file.code, file.as_of, hashlib.sha256(content).digest(),
            figures, content,
        )  # fmt: skip
        async with company_transaction(self._database, caller, file.company_id) as connection:
            await report_files.insert(connection, file.company_id, new, now=now)

    async def attachments(
        self, company_id: int, data: Mapping[str, Any], locale: str, now: datetime
    ) -> Sequence[Attachment]:
        """Return what a mail about a document carries (services/mail.py). Raises InvalidInput, NotFound."""
        file_id = data.get("file_id")
        if not isinstance(file_id, int):
            raise InvalidInput("the news names no document")
        found = await self.document(PROCESS, company_id, file_id, now, locale=locale)
        return (Attachment(found.name, "application/pdf", found.content),)


def _periods(days: Sequence[date], today: date) -> list[tuple[FileKind, Period]]:
    """Return the weeks and months that hold some of the days and ended lately, the earliest first."""
    found = {(FileKind.WEEK, week_of(day)) for day in days} | {(FileKind.MONTH, month_of(day)) for day in days}
    ended = [of for of in found if today - ARCHIVED_BACK <= of[1].end <= today]
    return sorted(ended, key=lambda of: (of[1].end, of[0]))


def _is_empty(sums: Sums) -> bool:
    return not (sums.messages or sums.tokens or sums.response_count)


def _ended(period: Period, now: datetime) -> datetime:
    return datetime(period.end.year, period.end.month, period.end.day, tzinfo=now.tzinfo)


def _news(report: UsageReport, new: NewFile, file_id: int) -> News:
    owner, total = report.owner, report.total
    data = {
        "company_id": owner.company_id,
        "company_name": owner.name,
        "file_id": file_id,
        "kind": new.kind.value,
        "period_start": new.period.start.isoformat(),
        "period_end": new.period.end.isoformat(),
        "revision": new.revision,
        "messages": total.messages,
        "tokens": total.tokens,
        "cost": None if total.cost is None else money.exact_text(total.cost),
        "currency": owner.currency,
        "code": new.code,
    }
    key = f"report_{new.kind.value}_{new.period.start}_{new.revision}"
    return News(owner.company_id, None, _EVENT_TYPES[new.kind], key, data)
