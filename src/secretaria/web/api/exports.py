"""Figures as files, and the archive of closed weeks and months."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.services.export_wanted import DEFAULT_LOCALE, MEDIA_TYPES, ExportFormat, Wanted
from secretaria.services.report_archive import FILES_SHOWN_MAX
from secretaria.store.report_files import ReportFile
from secretaria.web.api.routes import ApiRoute, Number, company_asked_for, path_company_id
from secretaria.web.auth import application_of, caller_of
from secretaria.web.files import disposition, file_response

router = APIRouter(tags=["Figures"], route_class=ApiRoute)


class ExportQuery(BaseModel):
    """What to export, and how; from and to are days, both included."""

    company_id: Number | None = None
    format: str = ExportFormat.CSV
    period: str | None = None
    first: str | None = Field(default=None, alias="from")
    last: str | None = Field(default=None, alias="to")
    dialect: str | None = None
    locale: str | None = None


class ReportOut(BaseModel):
    """A document of the archive; period_end does not belong to it. sha256 is of the Portuguese file's bytes."""

    id: int
    company_id: int
    kind: str
    period_start: date
    period_end: date
    revision: int
    code: str
    figures_as_of: datetime
    made_at: datetime
    size: int
    sha256: str

    @classmethod
    def of(cls, file: ReportFile) -> "ReportOut":
        """Return what is told of a document."""
        return cls(
            id=file.file_id,
            company_id=file.company_id,
            kind=file.kind,
            period_start=file.period.start,
            period_end=file.period.end,
            revision=file.revision,
            code=file.code,
            figures_as_of=file.as_of,
            made_at=file.made_at,
            size=file.size,
            sha256=file.sha256.hex(),
        )


class ReportsOut(BaseModel):
    """A page, newest first; next_after is null on the last page."""

    reports: list[ReportOut]
    next_after: int | None


@router.get("/api/analytics/export", response_class=Response)
async def export(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    asked: Annotated[ExportQuery, Query()],
) -> Response:
    """A period as CSV, XLSX or PDF: period month (so far), week or YYYY-MM, or from and to, both days included.

    An operator's credential that names no company gets all of them, as CSV or XLSX. Scope analytics:read.
    """
    application = application_of(request)
    wanted = Wanted.read(
        asked.format, span=asked.period, first=asked.first, last=asked.last, dialect=asked.dialect, locale=asked.locale
    )
    now = application.clock()
    if asked.company_id is None and caller.is_operator:
        return file_response(await application.exports.companies_file(caller, wanted, now))
    company = company_asked_for(caller, asked.company_id)
    return file_response(await application.exports.company_file(caller, company, wanted, now))


@router.get("/api/reports")
async def list_reports(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    after: Number | None = None,
    limit: Number = FILES_SHOWN_MAX,
) -> ReportsOut:
    """The archived weekly and monthly PDFs of a company, newest first. Scope analytics:read."""
    if not 1 <= limit <= FILES_SHOWN_MAX:
        raise InvalidInput(f"a page has 1 to {FILES_SHOWN_MAX} reports", code="invalid_value", pointer="limit")
    company = company_asked_for(caller, company_id)
    files = await application_of(request).archive.page(caller, company, limit=limit, before=after)
    return ReportsOut(
        reports=[ReportOut.of(file) for file in files],
        next_after=files[-1].file_id if len(files) == limit else None,
    )


@router.get("/api/reports/{report_id}", response_class=Response)
async def download_report(
    request: Request,
    report_id: str,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    locale: str | None = None,
) -> Response:
    """An archived PDF, in Portuguese or, with locale=en, in English. Scope analytics:read."""
    application = application_of(request)
    locale = Wanted.read(ExportFormat.PDF, locale=locale or DEFAULT_LOCALE).locale
    company = company_asked_for(caller, company_id)
    found = await application.archive.document(
        caller, company, path_company_id(report_id), application.clock(), locale=locale
    )
    return Response(found.content, media_type=MEDIA_TYPES[ExportFormat.PDF], headers=disposition(found.name))
