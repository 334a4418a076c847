"""Exports of figures: CSV, XLSX and PDF of one company; CSV and XLSX of all of them, page by page, for operators."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import InvalidInput, TooManyAttempts
from secretaria.core.period import DEFAULT_TIMEZONE, Period, ZoneSchedule, local_day
from secretaria.reports import csv
from secretaria.reports.pdf import render_pdf
from secretaria.reports.report import canonical
from secretaria.reports.xlsx import write_xlsx
from secretaria.services import companies_export
from secretaria.services.export_wanted import MEDIA_TYPES, ExportFormat, Wanted, file_name
from secretaria.services.period_figures import PeriodReads, read_company
from secretaria.services.report_figures import days_of, keep_code, read_report
from secretaria.services.scope import company_transaction
from secretaria.settings import Settings
from secretaria.store import report_files
from secretaria.store.database import Database, transaction

EXPORTS_AT_ONCE_MAX: Final = 2
"""Of one company, and of all companies together."""

RENDERS_AT_ONCE_MAX: Final = 2
RETRY_AFTER_S: Final = 5
_ALL: Final = 0
_CODE_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file to hand out: its bytes, or the pieces of one that is made while it is sent."""

    name: str
    media_type: str
    content: bytes | AsyncIterator[bytes]


class ExportService:
    """Makes files. As many at once of a company as EXPORTS_AT_ONCE_MAX, and one more is asked to come again."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._running: Counter[int] = Counter()
        self._renders = asyncio.Semaphore(RENDERS_AT_ONCE_MAX)

    async def company_file(self, caller: Caller, company_id: int, wanted: Wanted, now: datetime) -> ExportFile:
        """Return one company's export. Raises InvalidInput (as Wanted), TooManyAttempts, NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            company = await read_company(connection, company_id)
        period = wanted.period(local_day(company.schedule, now))
        with self._place(company_id):
            content = await self._written(caller, company_id, period, wanted, now)
        name = file_name(company.name, period, wanted.file_format)
        return ExportFile(name, MEDIA_TYPES[wanted.file_format], content)

    async def _written(self, caller: Caller, company_id: int, period: Period, wanted: Wanted, now: datetime) -> bytes:
        if wanted.file_format == ExportFormat.CSV:
            figures = await PeriodReads(self._database).read(caller, company_id, period, now, dimensions=())
            lines = csv.company_lines(days_of(figures), figures.currency, wanted.dialect)
            return csv.header(wanted.dialect) + lines
        report, as_of = await read_report(self._database, caller, company_id, period, now)
        async with company_transaction(self._database, caller, company_id) as connection:
            imprint = await keep_code(connection, report, canonical(report), as_of, self._settings.public_url)
        async with self._renders:
            if wanted.file_format == ExportFormat.PDF:
                return await asyncio.to_thread(render_pdf, report, imprint, wanted.locale)
            file = io.BytesIO()
            await asyncio.to_thread(write_xlsx, file, report, imprint, wanted.locale)
            return file.getvalue()

    async def companies_file(self, caller: Caller, wanted: Wanted, now: datetime) -> ExportFile:
        """Return an export of all companies, for operators; a CSV is made while it is sent.

        Raises InvalidInput (also unknown_format for PDF, export_too_large), TooManyAttempts and NotAllowed.
        """
        caller.require_operator()
        caller.require_scope(Scope.ANALYTICS_READ)
        if wanted.file_format == ExportFormat.PDF:
            raise InvalidInput("a PDF is of one company", code="unknown_format", pointer="format")
        period = wanted.period(local_day(ZoneSchedule.single(DEFAULT_TIMEZONE), now))
        name = file_name("companies" if wanted.locale == "en" else "empresas", period, wanted.file_format)
        pages = companies_export.pages(self._database, caller, period, now)
        if wanted.file_format == ExportFormat.XLSX:
            with self._place(_ALL):
                made = companies_export.workbook(pages, wanted.locale, now)
                first = await anext(made)
            return ExportFile(name, MEDIA_TYPES[wanted.file_format], _after(first, made))
        self._require_place(_ALL)
        lines = companies_export.lines(pages, wanted.dialect)
        return ExportFile(name, MEDIA_TYPES[wanted.file_format], self._placed(_after(await anext(lines), lines)))

    async def verify(self, code: str) -> Period | None:
        """Return the period a code was printed for, whoever asks; None for one that stands on no report of ours."""
        plain = code.replace("-", "").upper()
        if len(code) > _CODE_CHARS_MAX or not plain.isascii() or not plain.isalnum():
            return None
        async with transaction(self._database.door) as connection:
            return await report_files.find_code(connection, plain)

    def _require_place(self, company_id: int) -> None:
        if self._running[company_id] >= EXPORTS_AT_ONCE_MAX:
            raise TooManyAttempts(
                f"{EXPORTS_AT_ONCE_MAX} exports are being made already", retry_after_s=RETRY_AFTER_S
            )

    @contextmanager
    def _place(self, company_id: int) -> Iterator[None]:
        self._require_place(company_id)
        self._running[company_id] += 1
        try:
            yield
        finally:
            self._running[company_id] -= 1
            if not self._running[company_id]:
                del self._running[company_id]

    async def _placed(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with self._place(_ALL):
            async for piece in pieces:
                yield piece


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give back the first piece, which was made to see that the rest can be."""
    yield first
    async for piece in rest:
        yield piece
