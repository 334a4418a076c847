"""POST /api/messages: messages of systems that keep them already, counted on the path of Meta's webhooks."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from secretaria.core.access import Caller
from secretaria.core.admission import Rejection, is_identifier
from secretaria.core.errors import InvalidInput, TooLarge, UnsupportedFormat
from secretaria.core.event import Direction, Id, Instant, RowId, Text
from secretaria.core.whatsapp import Status
from secretaria.inbound.strict_json import load, media_type_of, refuse_strings
from secretaria.services.messages import BATCH_MESSAGES_MAX, MessagesResult, SentMessage
from secretaria.web.api.routes import ApiRoute, Number, company_asked_for
from secretaria.web.auth import application_of, caller_of
from secretaria.web.errors import problem, request_id_of

router = APIRouter(prefix="/api/messages", tags=["Messages"], route_class=ApiRoute)

NOTHING_TAKEN = 422


class MessageBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One message: wamid or an id of the sender's own; status is sent, or received when inbound, where absent."""

    account_id: RowId
    direction: Direction
    id: Id | None = None
    wamid: Text | None = None
    status: Status | None = None
    sent_at: Instant | None = None
    template_id: RowId | None = None
    category: Text | None = None
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] | None = None


@router.post("")
async def post_messages(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> Response:
    """Count one message (an object) or up to 1,000 (an array) of one company; a repeat changes nothing."""
    company = company_asked_for(caller, company_id)
    if media_type_of(request.headers) != "application/json":
        raise UnsupportedFormat("Content-Type must be application/json, in UTF-8")
    messages, rejected = _parsed(load(await request.body()))
    application = application_of(request)
    result = await application.messages.submit(
        caller, company, messages, now=application.clock(), rejected=rejected
    )
    if result.accepted + result.duplicates:
        return Response(msgspec.json.encode(result), media_type="application/json")
    return _nothing_taken(result, request)


def _parsed(value: Any) -> tuple[list[SentMessage], list[Rejection]]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise InvalidInput("the batch is empty", code="empty_batch")
    if len(items) > BATCH_MESSAGES_MAX:
        raise TooLarge(f"a batch has at most {BATCH_MESSAGES_MAX} messages", code="too_many_messages")
    messages: list[SentMessage] = []
    rejected: list[Rejection] = []
    for index, item in enumerate(items):
        parsed = _message(index, item)
        if isinstance(parsed, SentMessage):
            messages.append(parsed)
        else:
            own = item.get("id") or item.get("wamid") if isinstance(item, dict) else None
            rejected.append(Rejection(index, own if isinstance(own, str) and is_identifier(own) else None, *parsed))
    return messages, rejected


def _explain(message: str) -> str:
    """Return msgspec's message, but for an enum's: what there is instead of what was sent."""
    for name, values in (("direction", Direction), ("status", Status)):
        if message.startswith("Invalid enum value") and message.endswith(f"`$.{name}`"):
            return f"{name} is one of {', '.join(values)}"
    return message.replace("`$.", "`")


def _message(index: int, item: Any) -> SentMessage | tuple[str, str]:
    refusal = refuse_strings(item)
    if refusal is not None:
        return refusal
    if not isinstance(item, dict):
        return "expected_object", "a message is a JSON object"
    if not item.keys() <= set(MessageBody.__struct_fields__):
        return "unknown_field", f"a message has the fields {', '.join(MessageBody.__struct_fields__)}"
    try:
        body = msgspec.convert(item, MessageBody)
    except msgspec.ValidationError as error:
        return "invalid_value", _explain(str(error))
    for name in ("id", "wamid"):
        text = getattr(body, name)
        if text is not None and not is_identifier(text):
            return "invalid_identifier", f"{name} must be printable ASCII without spaces"
    return SentMessage(
        index=index,
        id=body.id,
        wamid=body.wamid,
        account_id=body.account_id,
        direction=body.direction,
        status=body.status,
        sent_at=body.sent_at,
        template_id=body.template_id,
        category=body.category,
        country=body.country,
    )


def _nothing_taken(result: MessagesResult, request: Request) -> Response:
    codes = {rejection.code for rejection in result.rejected}
    return problem(
        NOTHING_TAKEN,
        code=codes.pop() if len(codes) == 1 else "all_rejected",
        detail=result.rejected[0].message,
        request_id=request_id_of(request.scope),
        accepted=0,
        duplicates=0,
        rejected=result.rejected,
    )
