"""Alerts: read by those they are about, acknowledged by whoever takes care of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.services.alerts import PAGE_ALERTS_MAX, alert_not_found
from secretaria.store.alerts import as_json
from secretaria.web.api.routes import ApiRoute, Number, company_asked_for, digits
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/alerts", tags=["Alerts"], route_class=ApiRoute)


class AlertsOut(BaseModel):
    """A page, newest first; next_before is null on the last one."""

    alerts: list[dict[str, Any]]
    next_before: int | None


@router.get("")
async def list_alerts(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    limit: Number = PAGE_ALERTS_MAX,
    before: Number | None = None,
) -> AlertsOut:
    """List a company's alerts, newest first, those below the id `before`."""
    if not 1 <= limit <= PAGE_ALERTS_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_ALERTS_MAX}", code="invalid_limit", pointer="limit")
    page = await application_of(request).alerts.page(
        caller, company_asked_for(caller, company_id), limit=limit, before=before
    )
    return AlertsOut(
        alerts=[as_json(alert) for alert in page], next_before=page[-1].alert_id if len(page) == limit else None
    )


@router.post("/{alert_id}/acknowledge")
async def acknowledge_alert(
    request: Request,
    alert_id: str,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
) -> dict[str, Any]:
    """Note that the caller has seen an alert; the first to do so stays."""
    try:
        number = digits(alert_id)
    except ValueError:
        raise alert_not_found() from None
    application = application_of(request)
    alert = await application.alerts.acknowledge(
        caller, company_asked_for(caller, company_id), number, application.clock()
    )
    return as_json(alert)
