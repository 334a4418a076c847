"""The panel's downloads, the archive of a company's reports, and the page where anyone checks a report's code."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from secretaria.core.errors import NotFound
from secretaria.core.period import Period
from secretaria.reports.csv import Dialect
from secretaria.reports.report import grouped
from secretaria.services.export_wanted import MEDIA_TYPES, ExportFormat, Wanted
from secretaria.services.report_archive import FILES_SHOWN_MAX
from secretaria.services.report_figures import VERIFY_PATH
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.report_files import FileKind, ReportFile
from secretaria.web.auth import application_of
from secretaria.web.files import disposition, file_response
from secretaria.web.panel.account_pages import accounts_count
from secretaria.web.panel.format import Format
from secretaria.web.panel.person import person_of, visitor_of
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page

DAY_CHARS_MAX: Final = 10
CODE_CHARS_MAX: Final = 64

router = APIRouter(route_class=PanelRoute, include_in_schema=False)

CompanyId = Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]


class Asked(BaseModel):
    """What a link asks for: a month, or the days from `de` to `ate`, both included; `dialeto` is of CSV."""

    mes: str | None = Field(default=None, max_length=DAY_CHARS_MAX)
    de: str | None = Field(default=None, max_length=DAY_CHARS_MAX)
    ate: str | None = Field(default=None, max_length=DAY_CHARS_MAX)
    dialeto: str | None = Field(default=None, max_length=DAY_CHARS_MAX)

    def wanted(self, extension: str, locale: str) -> Wanted:
        """Read it. CSV is written for Excel where the reader's is Portuguese. Raises NotFound, InvalidInput."""
        if extension not in set(ExportFormat):
            raise NotFound("there is nothing here")
        usual = Dialect.EXCEL_PT if locale == "pt-BR" else Dialect.STANDARD
        return Wanted.read(
            extension, span=self.mes, first=self.de, last=self.ate, dialect=self.dialeto or usual, locale=locale
        )


@router.get("/empresas/exportar.{extension}")
async def export_companies(request: Request, extension: str, asked: Annotated[Asked, Query()]) -> Response:
    """Download the days of all companies; a member has no such page."""
    caller, user = await person_of(request)
    if not caller.is_operator or extension == ExportFormat.PDF:
        raise NotFound("there is nothing here")
    application, locale = application_of(request), locale_of(request, user.locale)
    wanted = asked.wanted(extension, locale)
    return file_response(await application.exports.companies_file(caller, wanted, application.clock()))


@router.get("/empresas/{company_id}/exportar.{extension}")
async def export_company(
    request: Request, company_id: CompanyId, extension: str, asked: Annotated[Asked, Query()]
) -> Response:
    """Download a company's days."""
    if extension == ExportFormat.PDF:
        raise NotFound("there is nothing here")
    return await _export(request, company_id, extension, asked)


@router.get("/empresas/{company_id}/relatorio.pdf")
async def export_pdf(request: Request, company_id: CompanyId, asked: Annotated[Asked, Query()]) -> Response:
    """Download a company's report."""
    return await _export(request, company_id, ExportFormat.PDF, asked)


async def _export(request: Request, company_id: int, extension: str, asked: Asked) -> Response:
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    wanted = asked.wanted(extension, locale)
    return file_response(await application.exports.company_file(caller, company_id, wanted, application.clock()))


@router.get("/empresas/{company_id}/arquivo")
async def archive(
    request: Request, company_id: CompanyId, apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0
) -> Response:
    """List a company's weekly and monthly reports, newest first."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    company = await application.companies.get(caller, company_id)
    files = await application.archive.page(caller, company_id, before=apos or None)
    show = Format(locale, company.timezone)
    here = f"/empresas/{company_id}/arquivo"
    values: dict[str, Any] = {
        "company": company,
        "accounts": await accounts_count(application, caller, company_id),
        "rows": [_row(file, show) for file in files],
        "first_url": here if apos else "",
        "next_url": f"{here}?apos={files[-1].file_id}" if len(files) == FILES_SHOWN_MAX else "",
    }
    return page(request, "archive.html", values, locale=locale, visitor=visitor_of(caller, user))


def _row(file: ReportFile, show: Format) -> dict[str, Any]:
    return {
        "id": file.file_id,
        "monthly": file.kind == FileKind.MONTH,
        "period": _period_text(file.period, show, monthly=file.kind == FileKind.MONTH),
        "revision": file.revision,
        "made": show.moment(file.made_at),
        "code": grouped(file.code),
        "code_url": f"{VERIFY_PATH}/{file.code}",
        "size": show.number(-(-file.size // 1024)),
    }


def _period_text(period: Period, show: Format, *, monthly: bool) -> str:
    if monthly:
        return show.month(period.start)
    return f"{show.day_full(period.start)} – {show.day_full(period.days()[-1])}"


@router.get("/empresas/{company_id}/arquivo/{report_id}.pdf")
async def archived(
    request: Request, company_id: CompanyId, report_id: Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]
) -> Response:
    """Download an archived report in the reader's language."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    found = await application.archive.document(
        caller, company_id, report_id, application.clock(), locale=locale
    )
    return Response(found.content, media_type=MEDIA_TYPES[ExportFormat.PDF], headers=disposition(found.name))


@router.get(VERIFY_PATH + "/{code}")
async def verify(request: Request, code: Annotated[str, Path(max_length=CODE_CHARS_MAX)]) -> Response:
    """Tell anyone whether a code stands on a report of ours, and for which days; no amounts, no names."""
    locale = locale_of(request)
    period = await application_of(request).exports.verify(code)
    days = "" if period is None else _period_text(period, Format(locale), monthly=False)
    values = {
        "valid": period is not None,
        "code": grouped(code.replace("-", "").upper()),
        "days": days,
    }
    return page(request, "verify.html", values, locale=locale, status=200 if period is not None else 404)
