"""A usage event as received: the CloudEvents envelope and its data, and the hashes that make it count once.

Shapes are msgspec structs so that one decode serves the hot path; what the schema cannot say is in core/admission.py.
"""

from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

import msgspec

BATCH_EVENTS_MAX = 1_000
ID_BYTES_MAX = 255
TEXT_CHARS_MAX = 255
QUANTITY_MAX = 10**12
HASH_VERSION = "01"
RECORDED = "usage.recorded"
CORRECTED = "usage.corrected"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Direction(StrEnum):
    """Towards the end customer or from it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_BYTES_MAX)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
Quantity = Annotated[int, msgspec.Meta(ge=0, le=QUANTITY_MAX)]
RowId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class EventReference(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The identity of the event that a correction replaces."""

    source: Id
    id: Id


class UsageData(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """What was used. Absent and null are the same; quantities count from 0; the order of fields is part of the hash."""

    direction: Direction | None = None
    messages: Quantity | None = None
    tokens_input: Quantity | None = None
    tokens_output: Quantity | None = None
    response_ms: Quantity | None = None
    wamid: Text | None = None
    category: Text | None = None
    account_id: RowId | None = None
    template_id: RowId | None = None
    model: Text | None = None
    cost_center: Text | None = None
    country: Annotated[str, msgspec.Meta(min_length=2, max_length=2)] | None = None
    corrects: EventReference | None = None
    reservation_id: UUID | None = None


class UsageEvent(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """One CloudEvent 1.0. Unknown attributes are extensions and are let through; `time` absent is the receipt."""

    specversion: str
    id: Id
    source: Id
    type: str
    data: UsageData
    time: Instant | None = None
    subject: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None


_encoder = msgspec.json.Encoder()


def identity_of(source: str, event_id: str) -> str:
    """Return the 128-bit identity of (source, id) within a company, as 32 hex digits (a uuid to PostgreSQL).

    Source and id hold no control characters (core/admission.py), so the separator cannot occur in them.
    """
    return blake2b(f"{source}\0{event_id}".encode(), digest_size=16).hexdigest()


def content_hash_of(event: UsageEvent, occurred_us: int | None) -> str:
    """Return, as hex, the version byte and 128 bits over what was sent: type, instant or its absence, known data.

    Never over defaults, subject or extensions: a default that changes later must not turn a repeat into a conflict.
    occurred_us is epoch_us(event.time), None where the sender named no time.
    """
    instant = b"" if occurred_us is None else b"%d" % occurred_us
    content = b"%b\0%b\0%b" % (event.type.encode(), instant, _encoder.encode(event.data))
    return HASH_VERSION + blake2b(content, digest_size=16).hexdigest()


def epoch_us(instant: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC of an aware instant, exactly."""
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
