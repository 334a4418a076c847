"""CloudEvents 1.0 over HTTP (structured, batched, binary) to usage events; pure.

Two readers, one result: a fast one that takes only what is provably clean, and a strict one that names what is wrong.
Anything the fast reader doubts goes to the strict one, so the strict one alone decides what is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from secretaria.core.admission import Rejection, refuse_text
from secretaria.core.errors import InvalidInput, Malformed, TooLarge, UnsupportedFormat
from secretaria.core.event import BATCH_EVENTS_MAX, UsageEvent
from secretaria.inbound.strict_json import load, media_type_of, refuse_strings

BODY_BYTES_MAX = 1024 * 1024
ATTRIBUTE_NAME_CHARS_MAX = 64

_BATCH = "application/cloudevents-batch+json"
_SINGLE = "application/cloudevents+json"
_JSON = "application/json"
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]+", re.ASCII)
_KNOWN_ATTRIBUTES = frozenset(UsageEvent.__struct_fields__)
_LONG_FRACTION = re.compile(rb"\.\d{7}")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

_batch_decoder = msgspec.json.Decoder(list[UsageEvent])
_single_decoder = msgspec.json.Decoder(UsageEvent)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body held: (index, event) of the readable items, rejections of the rest, and the number of items."""

    events: list[tuple[int, UsageEvent]]
    rejected: list[Rejection]
    count: int


def parse(headers: Mapping[str, str], body: bytes) -> Parsed:
    """Return the events of one request; header names are lower case.

    Raises Malformed (cannot be parsed), UnsupportedFormat (media type, charset, content encoding), TooLarge (more
    than BATCH_EVENTS_MAX events), InvalidInput (an empty batch, too many properties).
    """
    media_type = media_type_of(headers)
    if "ce-specversion" in headers or "ce-id" in headers:
        return _parse_binary(headers, media_type, body)
    if media_type not in (_BATCH, _SINGLE, _JSON):
        raise UnsupportedFormat(f"Content-Type must be {_JSON}, {_SINGLE} or {_BATCH}, in UTF-8")
    events = _read_fast(body)
    if events is not None and _count_fits(len(events)):
        return Parsed(list(enumerate(events)), [], len(events))
    return _read_strictly(body)


def _count_fits(count: int) -> bool:
    if count == 0:
        raise InvalidInput("the batch is empty", code="empty_batch")
    if count > BATCH_EVENTS_MAX:
        raise TooLarge(f"a batch holds at most {BATCH_EVENTS_MAX} events", code="too_many_events")
    return True


# --- the fast reader -------------------------------------------------------------------------------------------------


def _read_fast(body: bytes) -> list[UsageEvent] | None:
    """Return the events when the body is provably clean, else None.

    Without backslashes no string can hold a control character or an escaped quote; ASCII leaves nothing to check in
    texts but spaces. A key sent twice or not known would be lost in decoding, so the decoded events are encoded
    again and must show as many keys as were sent. -00:00 and more than six decimals of a second are for the strict
    reader, which refuses the one and cuts the other.
    """
    if not body.isascii() or b"\\" in body or b"\x7f" in body or b"-00:00" in body or _LONG_FRACTION.search(body):
        return None
    try:
        events = _batch_decoder.decode(body) if body[:1] == b"[" else [_single_decoder.decode(body)]
    except (msgspec.MsgspecError, RecursionError):
        return None
    if body.count(b'":') != _encoder.encode(events).count(b'":'):
        return None
    for event in events:
        if " " in event.id or " " in event.source or event.data.country or event.data.wamid or event.data.corrects:
            return _without_refused_text(events)
    return events


def _without_refused_text(events: list[UsageEvent]) -> list[UsageEvent] | None:
    return None if any(refuse_text(event) for event in events) else events


# --- the strict reader -----------------------------------------------------------------------------------------------


def _read_strictly(body: bytes) -> Parsed:
    value = load(body)
    if isinstance(value, list):
        _count_fits(len(value))
        return _convert_all(value)
    if not isinstance(value, dict):
        raise Malformed("the body must be a CloudEvent object or an array of them", code="expected_object")
    return _convert_all([value])


def _convert_all(items: list[Any]) -> Parsed:
    events: list[tuple[int, UsageEvent]] = []
    rejected: list[Rejection] = []
    for index, item in enumerate(items):
        outcome = _convert(index, item)
        if isinstance(outcome, Rejection):
            rejected.append(outcome)
        else:
            events.append((index, outcome))
    return Parsed(events, rejected, len(items))


def _convert(index: int, item: Any) -> UsageEvent | Rejection:
    if not isinstance(item, dict):
        return Rejection(index, None, "expected_object", "each item must be a CloudEvent object")
    given = item.get("id")
    event_id = given if isinstance(given, str) and given.isprintable() and len(given) <= 255 else None
    refusal = refuse_strings(item) or _refuse_attribute_names(item)
    if refusal is None:
        try:
            event = msgspec.convert(_with_exact_time(item), UsageEvent)
        except msgspec.ValidationError as error:
            refusal = _explain(str(error))
        except InvalidInput as error:
            refusal = (error.code, error.message)
        else:
            refusal = refuse_text(event)
            if refusal is None:
                return event
    return Rejection(index, event_id, *refusal)


def _refuse_attribute_names(item: dict[str, Any]) -> tuple[str, str] | None:
    for name in item:
        if name not in _KNOWN_ATTRIBUTES and (
            len(name) > ATTRIBUTE_NAME_CHARS_MAX or not _ATTRIBUTE_NAME.fullmatch(name)
        ):
            return "unknown_field", "extension attributes are named with lower-case letters and digits"
    return None


def _with_exact_time(item: dict[str, Any]) -> dict[str, Any]:
    """Cut fractions to microseconds, take 23:59:60 as :59, refuse what RFC 3339 leaves open."""
    value = item.get("time")
    if value is None:
        return item
    if isinstance(value, int) and not isinstance(value, bool):
        hint = "; this looks like milliseconds since 1970" if value > 10**11 else ""
        code = "looks_like_milliseconds" if hint else "invalid_time"
        raise InvalidInput(f"time must be an RFC 3339 text with a zone{hint}", code=code)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[5] == "-00:00":
        raise InvalidInput("time must be RFC 3339 with a zone, such as 2026-11-20T12:00:00-03:00", code="invalid_time")
    day, minute, second, fraction, zone = match.groups()
    second = "59" if second == "60" else second
    return item | {"time": f"{day}T{minute}:{second}{(fraction or '')[:7]}{zone.upper()}"}


_EXPLANATIONS = (
    ("Object contains unknown field", "unknown_field"),
    ("Object missing required field", "missing_field"),
    (">= 0", "negative_quantity"),
    ("<= 1000000000000", "implausible_quantity"),
    ("RFC3339", "invalid_time"),
    ("timezone component", "invalid_time"),
    ("of length", "invalid_length"),
    ("Invalid enum value", "invalid_value"),
    ("Invalid UUID", "invalid_value"),
    ("out of range", "number_out_of_range"),
)


def _explain(message: str) -> tuple[str, str]:
    """Return our stable code for one of msgspec's messages, and the message without its Python type names."""
    if message.startswith("Invalid enum value") and message.endswith("`$.data.direction`"):
        return "invalid_value", "data.direction is inbound or outbound"
    code = next((code for part, code in _EXPLANATIONS if part in message), "invalid_type")
    return code, message.replace("`$.", "`").replace(" | null", "")


# --- binary mode -----------------------------------------------------------------------------------------------------


def _parse_binary(headers: Mapping[str, str], media_type: str | None, body: bytes) -> Parsed:
    """Attributes come as ce- headers, percent-encoded; the body is `data`."""
    if media_type not in (None, _JSON):
        raise UnsupportedFormat(f"in binary mode the body is data, in {_JSON}")
    data = load(body)
    if not isinstance(data, dict):
        raise Malformed("the body must be the event's data, a JSON object", code="expected_object")
    item: dict[str, Any] = {
        name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")
    }
    return _convert_all([item | {"data": data}])
