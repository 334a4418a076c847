"""May a company send: the check that bots ask before each message, and reservations for campaigns."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.entitlement import MetricEntitlement, Quantities
from secretaria.core.errors import InvalidInput, NotEntitled, NotFound
from secretaria.core.event import QUANTITY_MAX
from secretaria.core.plan import LimitMetric
from secretaria.services.entitlements import Entitlement
from secretaria.services.reservations import LASTS_DEFAULT, LASTS_MAX, LASTS_MIN
from secretaria.store.reservations import Reservation
from secretaria.web.api.routes import ApiRoute, Body, Number, company_asked_for
from secretaria.web.auth import application_of, caller_of
from secretaria.web.errors import problem_response, request_id_of

router = APIRouter(prefix="/api/entitlements", tags=["Entitlements"], route_class=ApiRoute)

AMOUNT_CHARS_MAX = 30
_SECOND = timedelta(seconds=1)

_encoder = msgspec.json.Encoder()

Amount = int | str | None
"""Quantities are integers, money is text with a dot; null: unlimited."""


class MetricState(msgspec.Struct):
    """One metric of the month; limit, remaining and percent are null where it is unlimited."""

    metric: str
    used: Amount
    limit: Amount
    reserved: int | str
    remaining: Amount
    percent: str | None
    state: str
    allowed: bool


class EntitlementState(msgspec.Struct):
    """Whether the company may send, as of an instant at most a second ago; reason: suspended or limit_reached."""

    company_id: int
    as_of: datetime
    status: str
    allowed: bool
    reason: str | None
    hard: bool
    currency: str
    metrics: list[MetricState]


@router.get("")
async def entitlement(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> Response:
    """Tell whether a company may send, from memory, never older than a second. Scope analytics:read or usage:write.

    company_id may be left out by a company's own credential.
    """
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    found = await application.entitlements.check(caller, company, application.clock())
    return Response(_encoder.encode(_state(found)), media_type="application/json")


def _state(of: Entitlement) -> EntitlementState:
    decision = of.decision
    return EntitlementState(
        of.company_id,
        of.as_of,
        of.status,
        decision.allowed,
        decision.reason,
        decision.hard,
        of.currency,
        [_metric(row) for row in decision.metrics],
    )


def _metric(of: MetricEntitlement) -> MetricState:
    return MetricState(
        of.metric.value,
        None if of.used is None else _amount(of.metric, of.used),
        None if of.limit is None else _amount(of.metric, of.limit),
        _amount(of.metric, of.reserved),
        None if of.remaining is None else _amount(of.metric, of.remaining),
        None if of.percent is None else money.exact_text(of.percent),
        of.state.value,
        of.allowed,
    )


def _amount(metric: LimitMetric, amount: Decimal) -> int | str:
    return money.exact_text(amount) if metric == LimitMetric.COST else int(amount)


class ReserveBody(Body):
    """What to hold, and for how long; cost in the company's currency, as text. id: a UUID of yours, to send again."""

    company_id: int | None = Field(default=None, ge=1, lt=2**63)
    messages: int = Field(default=0, ge=0, le=QUANTITY_MAX)
    tokens: int = Field(default=0, ge=0, le=QUANTITY_MAX)
    cost: str | None = Field(default=None, max_length=AMOUNT_CHARS_MAX)
    expires_in_s: int = Field(default=LASTS_DEFAULT // _SECOND, ge=LASTS_MIN // _SECOND, le=LASTS_MAX // _SECOND)
    id: Annotated[str, StringConstraints(max_length=36)] | None = None


class QuantitiesOut(BaseModel):
    """Messages and tokens as integers, cost as text; null: unlimited."""

    messages: int | None
    tokens: int | None
    cost: str | None


class ReservationOut(BaseModel):
    """A reservation: what it was made for, what is left of it, until when it holds."""

    id: str
    company_id: int
    held: QuantitiesOut
    left: QuantitiesOut
    created_at: datetime
    expires_at: datetime
    released_at: datetime | None

    @classmethod
    def of(cls, reservation: Reservation) -> "ReservationOut":
        """Return what is shown of a reservation."""
        return cls(
            id=str(reservation.reservation_id),
            company_id=reservation.company_id,
            held=_quantities(reservation.held),
            left=_quantities(reservation.left),
            created_at=reservation.created_at,
            expires_at=reservation.expires_at,
            released_at=reservation.released_at,
        )


class ReservedOut(ReservationOut):
    """A reservation, and what remains of the company's limits beside it."""

    remaining: QuantitiesOut
    currency: str


@router.post("/reserve", status_code=201, response_model=ReservedOut)
async def reserve(
    request: Request, body: ReserveBody, caller: Annotated[Caller, Depends(caller_of)]
) -> ReservedOut | Response:
    """Hold a quantity for a campaign before it is sent. Scope usage:write.

    409 limit_reached with what remains, or suspended. Usage that names it in data.reservation_id uses it up.
    """
    application = application_of(request)
    try:
        made = await application.reservations.reserve(
            caller,
            company_asked_for(caller, body.company_id),
            Quantities(body.messages, body.tokens, _cost(body.cost)),
            application.clock(),
            lasts=body.expires_in_s * _SECOND,
            reservation_id=None if body.id is None else _wanted_id(body.id),
        )
    except NotEntitled as error:
        remaining = _remaining(error.remaining).model_dump()
        return problem_response(error, request_id_of(request.scope), remaining=remaining)
    shown = ReservationOut.of(made.reservation).model_dump()
    return ReservedOut(**shown, remaining=_remaining(made.remaining), currency=made.currency)


@router.get("/reservations/{reservation_id}")
async def read_reservation(
    request: Request,
    reservation_id: str,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
) -> ReservationOut:
    """Show a reservation and what is left of it. Scope usage:write."""
    company = company_asked_for(caller, company_id)
    found = await application_of(request).reservations.read(caller, company, _id_in_path(reservation_id))
    return ReservationOut.of(found)


@router.delete("/reservations/{reservation_id}", status_code=204)
async def release_reservation(
    request: Request,
    reservation_id: str,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
) -> Response:
    """Hold no more. Scope usage:write. 204; again is no error."""
    application = application_of(request)
    company = company_asked_for(caller, company_id)
    await application.reservations.release(caller, company, _id_in_path(reservation_id), application.clock())
    return Response(status_code=204)


def _quantities(of: Quantities) -> QuantitiesOut:
    return QuantitiesOut(messages=of.messages, tokens=of.tokens, cost=money.exact_text(of.cost))


def _remaining(of: Mapping[str, Decimal | None]) -> QuantitiesOut:
    messages, tokens, cost = of[LimitMetric.MESSAGES], of[LimitMetric.TOKENS], of[LimitMetric.COST]
    return QuantitiesOut(
        messages=None if messages is None else int(messages),
        tokens=None if tokens is None else int(tokens),
        cost=None if cost is None else money.exact_text(cost),
    )


def _cost(text: str | None) -> Decimal:
    if text is None:
        return Decimal(0)
    try:
        return money.parse_amount(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, code=error.code, pointer="/cost") from None


def _uuid(text: str) -> UUID | None:
    # UUID() itself would take braces, "urn:uuid:" and no dashes: one reservation has one way to be written.
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def _wanted_id(text: str) -> UUID:
    found = _uuid(text)
    if found is None:
        raise InvalidInput("an id is a UUID, written with its dashes", code="invalid_value", pointer="/id")
    return found


def _id_in_path(text: str) -> UUID:
    found = _uuid(text)
    if found is None:
        raise NotFound("no such reservation", code="reservation_not_found")
    return found
