"""The panel's pages: the start, one company; and how all pages join the application."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Path, Request
from fastapi.responses import RedirectResponse, Response

from secretaria.core.errors import NotFound
from secretaria.services.analytics import HistoryPeriod
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.auth import application_of
from secretaria.web.panel import (
    account_pages,
    alert_pages,
    analytics_page,
    events,
    explain_page,
    export_routes,
    first_run_page,
    overview_page,
    plan_view,
    problems,
    session,
    settings_tabs,
)
from secretaria.web.panel.account_pages import accounts_count
from secretaria.web.panel.alert_watch import AlertWatch
from secretaria.web.panel.figures import COST_CHART, DAYS_SHOWN, MESSAGES_CHART, watermark
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import (
    SharedReadings,
    company_cards,
    company_days,
    has_begun,
    unset_prices,
)
from secretaria.web.panel.person import person_of, visitor_of, zone_sentence
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import STATIC_PATH, asset_response, locale_of, page

CompanyId = Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]

_pages = APIRouter(route_class=PanelRoute, include_in_schema=False)


@_pages.get("/")
async def start(request: Request) -> Response:
    """Lead operators to their companies and members to their only one."""
    caller, _ = await person_of(request)
    return RedirectResponse("/empresas" if caller.is_operator else f"/empresas/{caller.company_id}", 303)


@_pages.get("/empresas/{company_id}")
async def company(request: Request, company_id: CompanyId) -> Response:
    """Show one company; another's answers as one that does not exist."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    now = application.clock()
    summary = await application.analytics.summary(caller, company_id, now)
    history = await application.analytics.history(caller, company_id, HistoryPeriod.WEEK, now)
    show = Format(locale, summary.company.timezone)
    begun = await has_begun(application, caller, summary)
    cards = company_cards(summary, show, unset=unset_prices(application.settings, caller), begun=begun)
    days = company_days(history, show)
    mark = watermark(now, now, show, texts(locale))
    values = {
        "company": summary.company,
        "zone": zone_sentence(summary.company, show, now),
        "accounts": await accounts_count(application, caller, company_id),
        "texts": cards.texts | days.texts | mark.texts,
        "marks": cards.marks | days.marks,
        "charts": {"custo": COST_CHART, "mensagens": MESSAGES_CHART},
        "days": [f"d{number}" for number in range(DAYS_SHOWN)],
        "scope": urlencode({"escopo": "empresa", "empresa": company_id}),
        "plan": plan_view.shape(summary.plan_month, show, texts(locale)),
    }
    return page(request, "company.html", values, locale=locale, visitor=visitor_of(caller, user))


@_pages.get(STATIC_PATH + "/{name}")
async def static_file(name: str) -> Response:
    """Serve a file under the name that holds its hash."""
    response = asset_response(name)
    if response is None:
        raise NotFound("there is nothing here")
    return response


def install(app: FastAPI) -> None:
    """Add the panel to the application: its pages, its streams, and its look for addresses that do not exist."""
    app.state.live_readings = SharedReadings()
    # Asked for at each reading: whoever only lists the routes has no application behind them.
    app.state.alert_watch = AlertWatch(lambda seen: app.state.application.alert_pages.news(seen))  # noqa: PLW0108
    routers = (
        overview_page.router, first_run_page.router, account_pages.router, alert_pages.router, analytics_page.router,
        explain_page.router, *settings_tabs.ROUTERS, session.router, session.probes,
    )  # fmt: skip
    # First: /empresas/exportar.csv is no company.
    for part in (export_routes.router, _pages, *routers, events.router):
        app.include_router(part)
    problems.install(app)
