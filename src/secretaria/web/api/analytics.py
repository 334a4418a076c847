"""The figures of one company, as services/analytics.py gives them."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from secretaria.core.access import Caller
from secretaria.web.api.routes import ApiRoute, Number, company_asked_for
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/analytics", tags=["Figures"], route_class=ApiRoute)

# Decimals leave as strings with a dot, exactly; FastAPI's own encoder would make floats of them.
_encoder = msgspec.json.Encoder()


@router.get("/summary")
async def summary(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> Response:
    """This month so far, today and this week, in the company's time zone. Scope analytics:read.

    company_id may be left out by a company's own credential.
    """
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    return _json(await application.analytics.summary(caller, company, application.clock()))


@router.get("/history")
async def history(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    period: str,
    company_id: Number | None = None,
) -> Response:
    """The last 7 days (period week) or 8 weeks (period month), oldest first, gaps as zeros. Scope analytics:read."""
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    return _json(await application.analytics.history(caller, company, period, application.clock()))


def _json(value: object) -> Response:
    return Response(_encoder.encode(value), media_type="application/json")
