"""The page "De onde vem este número?": a cost as quantity x price x exchange rate, and the events behind it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from secretaria.core.period import local_day
from secretaria.core.price import Metric
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.auth import application_of
from secretaria.web.panel.analytics_query import parse
from secretaria.web.panel.explain_words import explained
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.person import person_of, visitor_of
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import locale_of, page

router = APIRouter(route_class=PanelRoute, include_in_schema=False)

METRICS = {"mensagens": Metric.MESSAGES, "tokens": Metric.TOKENS}


@router.get("/empresas/{company_id}/explicar")
async def explain(request: Request, company_id: Annotated[int, Path(ge=1, le=COMPANY_ID_MAX)]) -> Response:
    """Take a cost apart; frozen, with the moment it is of. `apos` goes on through the events."""
    caller, user = await person_of(request)
    application, locale = application_of(request), locale_of(request, user.locale)
    now, sentences = application.clock(), texts(locale)
    company = await application.companies.get(caller, company_id)
    given = request.query_params
    query = parse(given, local_day(company.schedule, now), sentences)
    found = await application.explain.read(
        caller, company_id, query.period, now, narrowed=query.narrowed,
        metric=METRICS.get(given.get("metrica", "")), after=given.get("apos"),
    )  # fmt: skip
    show = Format(locale, found.company.timezone)
    here = f"/empresas/{company_id}/explicar"
    values: dict[str, Any] = {
        "company": found.company,
        "query": query,
        "back_url": query.url(f"/empresas/{company_id}/analytics", metrica=None),
        "next_url": query.url(here, apos=found.next_after, metrica=given.get("metrica")) if found.next_after else "",
        "first_url": query.url(here, metrica=given.get("metrica")) if given.get("apos") else "",
        **explained(found, query, show, sentences, is_operator=caller.is_operator),
    }
    status = 422 if query.problems else 200
    return page(request, "explain.html", values, locale=locale, visitor=visitor_of(caller, user), status=status)
