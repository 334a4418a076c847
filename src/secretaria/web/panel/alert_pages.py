"""Alerts as lists, of one company or of all, and the button that acknowledges; everything asked is in the address."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.crossing import AlertLevel
from secretaria.core.period import local_day
from secretaria.services.alert_pages import AlertPage
from secretaria.services.figures import company_figures
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.store.alert_pages import Wanted
from secretaria.web.auth import application_of, require_same_origin
from secretaria.web.panel.account_pages import accounts_count
from secretaria.web.panel.alert_words import level_name, list_rows
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import BACK_CHARS_MAX, locale_of, own_path, page

EVERY: Final = "todos"
LEVELS: Final = {"aviso": AlertLevel.WARNING, "critico": AlertLevel.CRITICAL}
WORD_CHARS_MAX: Final = 20
DELIVERIES_PATH: Final = "/alertas/entregas"

CompanyId = Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]
Word = Annotated[str, Query(max_length=WORD_CHARS_MAX)]
Before = Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)]

router = APIRouter(route_class=PanelRoute, include_in_schema=False)


@router.get("/alertas")
async def alerts_of_all(
    request: Request,
    estado: Word = "",
    nivel: Word = "",
    empresa: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
    antes: Before = 0,
) -> Response:
    """List the alerts of all companies, or of one of them; a member goes to its own."""
    caller, user = await person_of(request)
    asked = _Asked("/alertas", estado, nivel, empresa)
    if not caller.is_operator:
        return RedirectResponse(_Asked(f"/empresas/{caller.company_id}/alertas", estado, nivel).url(), 303)
    locale = locale_of(request, user.locale)
    found = await application_of(request).alert_pages.page(caller, asked.wanted(empresa or None, antes))
    values = {**_list_values(found, asked, antes, locale), "company": None, "deliveries_url": deliveries_url(empresa)}
    return page(request, "alerts.html", values, locale=locale, visitor=visitor_of(caller, user))


@router.get("/empresas/{company_id}/alertas")
async def alerts_of_company(
    request: Request, company_id: CompanyId, estado: Word = "", nivel: Word = "", antes: Before = 0
) -> Response:
    """List a company's alerts; another's answers as one that does not exist."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    now, asked = application.clock(), _Asked(f"/empresas/{company_id}/alertas", estado, nivel)
    found = await application.alert_pages.page(caller, asked.wanted(company_id, antes))
    company = await application.companies.get(caller, company_id)
    figures = company_figures(company, local_day(company.schedule, now))
    show = Format(locale, figures.timezone)
    values = {
        **_list_values(found, asked, antes, locale),
        "company": figures,
        "deliveries_url": deliveries_url(company_id),
        "zone": zone_sentence(figures, show, now),
        "accounts": await accounts_count(application, caller, company_id),
        "texts": watermark(now, now, show, texts(locale)).texts,
        "scope": urlencode({"escopo": "alertas", "empresa": company_id}),
    }
    return page(request, "alerts.html", values, locale=locale, visitor=visitor_of(caller, user))


@router.post("/empresas/{company_id}/alertas/{alert_id}/reconhecer")
async def acknowledge(
    request: Request,
    company_id: CompanyId,
    alert_id: Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)],
    voltar: Annotated[str, Form(max_length=BACK_CHARS_MAX)] = "",
) -> Response:
    """Note who has seen an alert and go back; the first to do so stays, so that twice is once."""
    application = application_of(request)
    require_same_origin(request.scope, application.settings)
    caller, _ = await person_of(request)
    await application.alerts.acknowledge(caller, company_id, alert_id, application.clock())
    back = own_path(voltar)
    return RedirectResponse(f"/empresas/{company_id}/alertas" if back == "/" else back, 303)


class _Asked:
    """What an address asks for: which tab, which level, of operators which company; what is unknown asks nothing."""

    def __init__(self, path: str, state: str, level: str, company_id: int = 0) -> None:
        self.path = path
        self.every = state == EVERY
        self.level = level if level in LEVELS else ""
        self.company_id = company_id

    def wanted(self, company_id: int | None, before: int) -> Wanted:
        """Return the same for the service."""
        return Wanted(company_id, not self.every, LEVELS.get(self.level), before or None)

    def url(self, **changed: str | int) -> str:
        """Return this address with other choices; a page further on is asked for anew."""
        asked = {"estado": EVERY if self.every else "", "nivel": self.level, "empresa": self.company_id} | changed
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"{self.path}?{query}" if query else self.path


def deliveries_url(company_id: int) -> str:
    """Return the log of a company's deliveries; 0: of the operator's own endpoints."""
    return f"{DELIVERIES_PATH}?{urlencode({'empresa': company_id})}" if company_id else DELIVERIES_PATH


def _list_values(found: AlertPage, asked: _Asked, before: int, locale: str) -> dict[str, Any]:
    sentences = texts(locale)
    _ = sentences.gettext
    return {
        "rows": list_rows(found, locale),
        "asked": asked,
        "levels": [("", _("todos")), *((name, level_name(of, sentences)) for name, of in LEVELS.items())],
        "offered": found.offered,
        "clear_url": asked.path + (f"?estado={EVERY}" if asked.every else ""),
        "first_url": asked.url() if before else "",
        "next_url": asked.url(antes=found.next_before) if found.next_before else "",
    }
