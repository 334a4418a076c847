"""The first steps of a company: their page, and the button that hides the card on the other tabs."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.services.figures import company_figures
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.auth import application_of, is_https, require_same_origin
from secretaria.web.panel.account_pages import accounts_count
from secretaria.web.panel.figures import watermark
from secretaria.web.panel.first_run_card import GLUE, HIDDEN_COOKIE, hidden, made_card
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import BACK_CHARS_MAX, locale_of, own_path, page

HIDDEN_FOR_S: Final = 30 * 86_400
HIDDEN_MAX: Final = 50

router = APIRouter(route_class=PanelRoute, include_in_schema=False)
CompanyId = Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]


@router.get("/empresas/{company_id}/primeiros-passos")
async def first_run(request: Request, company_id: CompanyId) -> Response:
    """Show the steps of a company with an example that works when pasted."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    now = application.clock()
    company = await application.companies.get(caller, company_id)
    steps = await application.first_run.read(caller, company_id, now)
    show = Format(locale, company.timezone)
    figures = company_figures(company, show.local(now).date())
    values = {
        "company": figures,
        "zone": zone_sentence(figures, show, now),
        "accounts": await accounts_count(application, caller, company_id),
        "texts": watermark(now, now, show, texts(locale)).texts,
        "scope": urlencode({"escopo": "empresa", "empresa": company_id}),
        "first_run": made_card(application, caller, company_id, steps, locale),
    }
    return page(request, "first_run.html", values, locale=locale, visitor=visitor_of(caller, user))


@router.post("/empresas/{company_id}/primeiros-passos/ocultar")
async def hide(
    request: Request, company_id: CompanyId, voltar: Annotated[str, Form(max_length=BACK_CHARS_MAX)] = "/"
) -> Response:
    """Hide the card of a company in this browser for a while; its page stays."""
    application = application_of(request)
    require_same_origin(request.scope, application.settings)
    caller, _ = await person_of(request)
    caller.require_company(company_id)
    kept = [of for of in hidden(request) if of != str(company_id)][: HIDDEN_MAX - 1]
    response = RedirectResponse(own_path(voltar), 303)
    response.set_cookie(
        HIDDEN_COOKIE,
        GLUE.join([str(company_id), *kept]),
        max_age=HIDDEN_FOR_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(application.settings),
    )
    return response
