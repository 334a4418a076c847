"""POST /api/usage: CloudEvents in, counted and on disk before the answer leaves. A plain route: no model per event."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from secretaria.core.admission import Rejection
from secretaria.core.event import BATCH_EVENTS_MAX, UsageEvent
from secretaria.inbound.cloudevents import parse
from secretaria.services.ingest import IngestResult
from secretaria.web.auth import application_of, caller_of
from secretaria.web.errors import problem, request_id_of

PATH = "/api/usage"
ALL_IN_CONFLICT = 409
NOTHING_TAKEN = 422

_encoder = msgspec.json.Encoder()


async def usage_route(request: Request) -> Response:
    """Take one event or a batch; see docs/api.md for every answer."""
    caller = await caller_of(request)
    application = application_of(request)
    parsed = parse(_headers(request), await request.body())
    result = await application.ingest.submit(
        caller, parsed.events, now=application.clock(), rejected=parsed.rejected
    )
    if result.accepted + result.duplicates > 0:
        return Response(_encoder.encode(result), media_type="application/json")
    return _nothing_taken(result, request_id_of(request.scope))


def _headers(request: Request) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}


def _nothing_taken(result: IngestResult, request_id: str) -> Response:
    codes = {rejection.code for rejection in result.rejected}
    in_conflict = codes == {"id_conflict"}
    return problem(
        ALL_IN_CONFLICT if in_conflict else NOTHING_TAKEN,
        code=codes.pop() if len(codes) == 1 else "all_rejected",
        detail=_summary(result.rejected),
        request_id=request_id,
        accepted=0,
        duplicates=0,
        rejected=result.rejected,
    )


def _summary(rejected: Sequence[Rejection]) -> str:
    first = rejected[0]
    if len(rejected) == 1:
        return first.message
    return f"none of the {len(rejected)} events was taken; the first: {first.message}"


def openapi_path() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the route's OpenAPI path item and its component schemas: plain routes are not in FastAPI's document."""
    schemas, components = msgspec.json.schema_components(
        [UsageEvent, IngestResult], ref_template="#/components/schemas/{name}"
    )
    event, result = schemas
    batch = {"type": "array", "items": event, "minItems": 1, "maxItems": BATCH_EVENTS_MAX}
    problem_ref = {"application/problem+json": {"schema": {"type": "object"}}}
    answers = {
        "200": {
            "description": "Committed. accepted + duplicates + rejected add up to the batch.",
            "content": {"application/json": {"schema": result}},
        },
        "400": {"description": "The body cannot be parsed.", "content": problem_ref},
        "401": {"description": "No valid API key.", "content": problem_ref},
        "403": {"description": "The key lacks the scope, or an event names another company.", "content": problem_ref},
        "409": {"description": "Every event is an id_conflict.", "content": problem_ref},
        "413": {"description": "More than 1 MiB or 1,000 events.", "content": problem_ref},
        "415": {"description": "Not a media type that is read here.", "content": problem_ref},
        "422": {"description": "Every event was rejected; `rejected` says why.", "content": problem_ref},
        "503": {"description": "Not committed, or unknown: send it again. Retry-After.", "content": problem_ref},
    }
    operation = {
        "summary": "Record usage (CloudEvents 1.0)",
        "operationId": "record_usage",
        "tags": ["usage"],
        "description": (
            "One CloudEvent, or an array of up to 1,000; in binary mode the attributes come as ce- headers and the "
            "body is `data`. Repeating a request is safe: (source, id) counts once, for ever."
        ),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [event, batch]}, "example": _EXAMPLE},
                "application/cloudevents+json": {"schema": event},
                "application/cloudevents-batch+json": {"schema": batch},
            },
        },
        "responses": answers,
        "security": [{"bearer": []}],
    }
    return {"post": operation}, components


_EXAMPLE = {
    "specversion": "1.0",
    "id": "msg-0001",
    "source": "bot-1",
    "type": "usage.recorded",
    "data": {"direction": "outbound", "messages": 1, "tokens_input": 120, "tokens_output": 80, "model": "gpt-4o"},
}
