"""Endpoints of a company or the operator, and the log of what was delivered to them."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.services.deliveries import PAGE_DELIVERIES_MAX, Log, delivery_not_found, shown_address
from secretaria.services.endpoints import NewSecret, endpoint_not_found
from secretaria.store.deliveries import Attempt, Delivery
from secretaria.store.delivery_endpoints import Endpoint
from secretaria.web.api.routes import ApiRoute, Body, Number, company_asked_for, path_company_id
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/endpoints", tags=["Endpoints"], route_class=ApiRoute)
deliveries = APIRouter(prefix="/api/deliveries", tags=["Endpoints"], route_class=ApiRoute)

TEXT_CHARS_MAX = 2_000
EVENTS_MAX = 20


class EndpointBody(Body):
    """An endpoint to make; company_id 0 is the operator's own, absent the credential's company."""

    company_id: int | None = Field(default=None, ge=0, lt=2**63)
    channel: str = Field(default="webhook", max_length=TEXT_CHARS_MAX)
    address: str = Field(max_length=TEXT_CHARS_MAX)
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)
    events: list[str] | None = Field(default=None, max_length=EVENTS_MAX)
    locale: str = Field(default="pt-BR", max_length=TEXT_CHARS_MAX)


class EndpointChange(Body):
    """What to change: a field left out stays."""

    address: str = Field(default="", max_length=TEXT_CHARS_MAX)
    description: str = Field(default="", max_length=TEXT_CHARS_MAX)
    events: list[str] = Field(default=[], max_length=EVENTS_MAX)
    locale: str = Field(default="", max_length=TEXT_CHARS_MAX)


class SinceBody(Body):
    """From which instant on to deliver again."""

    since: AwareDatetime = Field(strict=False)


class EndpointOut(BaseModel):
    """An endpoint, without its secret; of a URL's query only that there is one. company_id is null for the operator's.

    failing_since is null while it works; held_until is until when it asked for patience.
    """

    id: int
    company_id: int | None
    channel: str
    address: str
    description: str
    events: list[str]
    locale: str
    from_settings: bool
    status: str
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    held_until: datetime | None
    succeeded_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, endpoint: Endpoint) -> "EndpointOut":
        """Return what is shown of an endpoint."""
        return cls(
            id=endpoint.endpoint_id,
            company_id=endpoint.company_id or None,
            channel=endpoint.channel.value,
            address=shown_address(endpoint.address),
            description=endpoint.description,
            events=list(endpoint.events),
            locale=endpoint.locale,
            from_settings=endpoint.from_settings,
            status=endpoint.status.value,
            disabled_at=endpoint.disabled_at,
            disabled_reason=endpoint.disabled_reason and endpoint.disabled_reason.value,
            failing_since=endpoint.failing_since,
            held_until=endpoint.held_until,
            succeeded_at=endpoint.succeeded_at,
            created_at=endpoint.created_at,
        )


class NewEndpointOut(EndpointOut):
    """An endpoint whose secret was just made: shown here and nowhere again; null for an e-mail address."""

    secret: str | None

    @classmethod
    def made(cls, made: NewSecret) -> "NewEndpointOut":
        """Return what is shown this once."""
        return cls(**EndpointOut.of(made.endpoint).model_dump(), secret=made.secret)


class EndpointsOut(BaseModel):
    """Endpoints by id."""

    endpoints: list[EndpointOut]


class DeliveryOut(BaseModel):
    """News for one endpoint. message_id is its webhook-id in all attempts; next_attempt_at is null unless it waits."""

    id: int
    company_id: int | None
    endpoint_id: int
    message_id: str
    type: str
    about_company_id: int | None
    alert_id: int | None
    status: str
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        """Return what is shown of a delivery."""
        return cls(
            id=delivery.delivery_id,
            company_id=delivery.company_id or None,
            endpoint_id=delivery.endpoint_id,
            message_id=delivery.message_id,
            type=delivery.event_type,
            about_company_id=delivery.about_company_id or None,
            alert_id=delivery.alert_id,
            status=delivery.status.value,
            attempts=delivery.attempts,
            next_attempt_at=delivery.next_attempt_at if delivery.status.value == "waiting" else None,
            created_at=delivery.created_at,
            delivered_at=delivery.delivered_at,
        )


class DeliveriesOut(BaseModel):
    """A page, newest first; next_after is null on the last one."""

    deliveries: list[DeliveryOut]
    next_after: int | None


class AttemptOut(BaseModel):
    """One attempt: status_code is null without an HTTP answer, error then says why; answer is how its text began."""

    attempt: int
    at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    answer: str

    @classmethod
    def of(cls, attempt: Attempt) -> "AttemptOut":
        """Return what is shown of an attempt."""
        return cls(
            attempt=attempt.attempt,
            at=attempt.at,
            duration_ms=attempt.duration_ms,
            status_code=attempt.status_code,
            error=attempt.error,
            answer=attempt.answer,
        )


class LogOut(DeliveryOut):
    """A delivery with what is sent and its attempts, oldest first; after many, the newest hundred."""

    body: dict[str, Any]
    log: list[AttemptOut]

    @classmethod
    def shown(cls, log: Log) -> "LogOut":
        """Return what is shown of a delivery's log."""
        return cls(
            **DeliveryOut.of(log.delivery).model_dump(),
            body=msgspec.json.decode(log.delivery.body),
            log=[AttemptOut.of(attempt) for attempt in log.attempts],
        )


class TestDeliveryOut(BaseModel):
    """The delivery that shows how a test went."""

    delivery_id: int


class RedeliveredOut(BaseModel):
    """How many deliveries are under way again."""

    deliveries: int


def _endpoint_id(text: str) -> int:
    try:
        return path_company_id(text)
    except NotFound as error:
        raise endpoint_not_found() from error


def _delivery_id(text: str) -> int:
    try:
        return path_company_id(text)
    except NotFound as error:
        raise delivery_not_found() from error


@router.get("")
async def list_endpoints(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> EndpointsOut:
    """List a company's endpoints by id; company 0 lists the operator's own."""
    company = company_asked_for(caller, company_id)
    found = await application_of(request).delivery_endpoints.list(caller, company)
    return EndpointsOut(endpoints=[EndpointOut.of(endpoint) for endpoint in found])


@router.post("", status_code=201)
async def create_endpoint(
    request: Request, response: Response, body: EndpointBody, caller: Annotated[Caller, Depends(caller_of)]
) -> NewEndpointOut:
    """Make an endpoint and show its secret this once. Scope endpoints:write."""
    application = application_of(request)
    made = await application.delivery_endpoints.create(
        caller, company_asked_for(caller, body.company_id), body.channel, body.address,
        description=body.description, events=body.events, locale=body.locale, now=application.clock(),
    )  # fmt: skip
    response.headers["Location"] = f"/api/endpoints/{made.endpoint.endpoint_id}"
    return NewEndpointOut.made(made)


@router.get("/{endpoint_id}")
async def get_endpoint(
    request: Request, endpoint_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> EndpointOut:
    """Return one endpoint."""
    return EndpointOut.of(await application_of(request).delivery_endpoints.get(caller, _endpoint_id(endpoint_id)))


@router.patch("/{endpoint_id}")
async def change_endpoint(
    request: Request, endpoint_id: str, body: EndpointChange, caller: Annotated[Caller, Depends(caller_of)]
) -> EndpointOut:
    """Change an endpoint. Scope endpoints:write."""
    application = application_of(request)
    change = body.model_dump(include=body.model_fields_set)
    return EndpointOut.of(
        await application.delivery_endpoints.change(caller, _endpoint_id(endpoint_id), change, application.clock())
    )


@router.delete("/{endpoint_id}", status_code=204)
async def remove_endpoint(
    request: Request, endpoint_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> Response:
    """Remove an endpoint; what waited for it is cancelled, its log stays. Scope endpoints:write."""
    application = application_of(request)
    await application.delivery_endpoints.remove(caller, _endpoint_id(endpoint_id), application.clock())
    return Response(status_code=204)


@router.post("/{endpoint_id}/rotate")
async def rotate_secret(
    request: Request, endpoint_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> NewEndpointOut:
    """Give a webhook another secret, shown this once; the old one signs on for 24 hours. Scope endpoints:write."""
    application = application_of(request)
    return NewEndpointOut.made(
        await application.delivery_endpoints.rotate(caller, _endpoint_id(endpoint_id), application.clock())
    )


@router.post("/{endpoint_id}/test", status_code=202)
async def test_endpoint(
    request: Request, endpoint_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> TestDeliveryOut:
    """Send an endpoint a test, tried once; its result is in the delivery's log. Scope endpoints:write."""
    application = application_of(request)
    delivery_id = await application.delivery_endpoints.test(caller, _endpoint_id(endpoint_id), application.clock())
    return TestDeliveryOut(delivery_id=delivery_id)


@router.post("/{endpoint_id}/enable")
async def enable_endpoint(
    request: Request, endpoint_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> EndpointOut:
    """Let a disabled endpoint be tried again and send what waited for it. Scope endpoints:write."""
    application = application_of(request)
    return EndpointOut.of(
        await application.delivery_endpoints.enable(caller, _endpoint_id(endpoint_id), application.clock())
    )


@router.post("/{endpoint_id}/redeliver", status_code=202)
async def redeliver_since(
    request: Request, endpoint_id: str, body: SinceBody, caller: Annotated[Caller, Depends(caller_of)]
) -> RedeliveredOut:
    """Deliver again what was meant for an endpoint since an instant, under the same ids. Scope endpoints:write."""
    application = application_of(request)
    begun = await application.delivery_endpoints.redeliver_since(
        caller, _endpoint_id(endpoint_id), body.since, application.clock()
    )
    return RedeliveredOut(deliveries=begun)


@deliveries.get("")
async def list_deliveries(
    request: Request,
    *,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    endpoint_id: Number | None = None,
    status: str | None = None,
    after: Number | None = None,
    limit: Number = PAGE_DELIVERIES_MAX,
) -> DeliveriesOut:
    """List what was put before a company's endpoints, newest first; company 0 lists the operator's own."""
    if not 1 <= limit <= PAGE_DELIVERIES_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_DELIVERIES_MAX}", code="invalid_limit", pointer="limit")
    page = await application_of(request).deliveries.page(
        caller, company_asked_for(caller, company_id), endpoint_id=endpoint_id, status=status, after=after, limit=limit
    )
    last = page[-1].delivery_id if len(page) == limit else None
    return DeliveriesOut(deliveries=[DeliveryOut.of(delivery) for delivery in page], next_after=last)


@deliveries.get("/{delivery_id}")
async def get_delivery(
    request: Request, delivery_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> LogOut:
    """Return a delivery, what it sends, and its attempts."""
    return LogOut.shown(await application_of(request).deliveries.get(caller, _delivery_id(delivery_id)))


@deliveries.post("/{delivery_id}/redeliver", status_code=202)
async def redeliver(
    request: Request, delivery_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> DeliveryOut:
    """Deliver again under the same id. Scope endpoints:write."""
    application = application_of(request)
    found = await application.deliveries.redeliver(caller, _delivery_id(delivery_id), application.clock())
    return DeliveryOut.of(found)
