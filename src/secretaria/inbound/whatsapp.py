"""Meta's webhooks: is the signature right, and what does a scrubbed payload report? Pure; nothing sent here raises.

Meta's payloads grow fields, misspell others and mislabel some (message_template_status_update for a quality change):
what they are is told by their keys, and what is not understood is counted.
"""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from secretaria.core.admission import is_identifier
from secretaria.core.errors import Malformed
from secretaria.core.event import Direction
from secretaria.core.whatsapp import Contact, MessageUpdate, Pricing, Status

SIGNATURE_PREFIX: Final = b"sha256="
WORD_CHARS_MAX: Final = 64
MILLISECONDS_FROM: Final = 10**11
TIME_MAX: Final = 10**14
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OUTBOUND: Final = {status.value: status for status in Status if status is not Status.RECEIVED}
_NO_MESSAGES: Final = frozenset({"system"})
"""Types of an inbound entry that are no message of the customer."""


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """Meta moved a template to another category, or will (is_notice), or rated its quality anew."""

    waba_id: str
    meta_template_id: str
    name: str | None
    language: str | None
    at: datetime
    category: str | None = None
    quality: str | None = None
    is_notice: bool = False


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """Anything else Meta told of an account: limits, tiers, reviews. detail is scrubbed."""

    waba_id: str
    kind: str
    at: datetime
    detail: dict[str, Any]


@dataclass(slots=True)
class Report:
    """What one webhook says. unknown counts what was not understood, by a short name."""

    updates: list[MessageUpdate] = field(default_factory=list)
    templates: list[TemplateChange] = field(default_factory=list)
    events: list[AccountEvent] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def is_signed(body: bytes, signature: bytes | None, app_secret: str) -> bool:
    """Tell whether X-Hub-Signature-256 is that of the raw body, in constant time; any other bytes are just wrong."""
    if signature is None:
        return False
    return hmac.compare_digest(signature, signature_of(body, app_secret))


def signature_of(body: bytes, app_secret: str) -> bytes:
    """Return X-Hub-Signature-256 of a raw body."""
    return SIGNATURE_PREFIX + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest().encode()


def load(body: bytes) -> dict[str, Any]:
    """Return the webhook's JSON object; raises Malformed for what is none. Doubled keys and NaN are Meta's own risk."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:  # also not UTF-8, and numbers beyond every range
        raise Malformed("the body is not JSON", code="malformed_json") from error
    if not isinstance(value, dict):
        raise Malformed("the body must be a JSON object", code="expected_object")
    return value


def read(body: dict[str, Any], received_at: datetime) -> Report:
    """Return what a scrubbed webhook (whatsapp_scrub.py) reports; received_at stands in for a missing time."""
    report = Report()
    for entry in _objects(body.get("entry")):
        waba_id = _identifier(entry.get("id")) or ""
        at = _instant(entry.get("time")) or received_at
        for change in _objects(entry.get("changes")):
            value = change.get("value")
            kind = _word(change.get("field")) or "none"
            if isinstance(value, dict):
                _read_value(report, waba_id, kind, at, value)
            else:
                report.unknown[f"field:{kind}"] += 1
    if not body.get("entry"):
        report.unknown["no_entry"] += 1
    return report


def _read_value(report: Report, waba_id: str, kind: str, at: datetime, value: dict[str, Any]) -> None:
    metadata = value.get("metadata")
    number = _identifier(metadata.get("phone_number_id")) if isinstance(metadata, dict) else None
    understood = False
    for status in _objects(value.get("statuses")):
        understood = True
        _add(report, _status_update(status, number, at, report.unknown))
    for message in _objects(value.get("messages")):
        understood = True
        _add(report, _inbound_update(message, number, at, report.unknown))
    if echoes := len(list(_objects(value.get("message_echoes")))):
        understood = True
        report.unknown["message_echoes"] += echoes  # written in the phone's app: Meta charges nothing for them
    template = _template_change(waba_id, at, value)
    if template is not None:
        report.templates.append(template)
    elif kind != "messages" or not understood:
        report.events.append(AccountEvent(waba_id, kind, at, value))
        report.unknown[f"field:{kind}"] += 1


def _add(report: Report, update: MessageUpdate | None) -> None:
    if update is not None:
        report.updates.append(update)


def _status_update(
    status: dict[str, Any], number: str | None, at: datetime, unknown: Counter[str]
) -> MessageUpdate | None:
    wamid, word = _identifier(status.get("id")), status.get("status")
    known = _OUTBOUND.get(word.lower()) if isinstance(word, str) else None
    if wamid is None or number is None or known is None:
        unknown["status" if known is not None else f"status:{_word(word) or 'none'}"] += 1
        return None
    contact, country = _contact(status, "recipient_id", "recipient_user_id", "user_id")
    conversation = status.get("conversation")
    origin = conversation.get("origin") if isinstance(conversation, dict) else None
    return MessageUpdate(
        wamid=wamid,
        direction=Direction.OUTBOUND,
        status=known,
        at=_instant(status.get("timestamp")) or at,
        phone_number_id=number,
        pricing=_pricing(status.get("pricing")),
        category=_word(origin.get("type")) if isinstance(origin, dict) else None,
        country=country,
        contact=contact,
    )


def _inbound_update(
    message: dict[str, Any], number: str | None, at: datetime, unknown: Counter[str]
) -> MessageUpdate | None:
    wamid = _identifier(message.get("id"))
    kind = message.get("type")
    if wamid is None or number is None or (isinstance(kind, str) and kind in _NO_MESSAGES):
        unknown[f"message:{_word(kind) or 'none'}"] += 1
        return None
    contact, country = _contact(message, "from", "from_user_id", "user_id")
    return MessageUpdate(
        wamid=wamid,
        direction=Direction.INBOUND,
        status=Status.RECEIVED,
        at=_instant(message.get("timestamp")) or at,
        phone_number_id=number,
        country=country,
        contact=contact,
    )


def _pricing(value: Any) -> Pricing | None:
    """Meta's pricing object. Traffic of before July 2025 has no type: there, billable false says that it is free."""
    if not isinstance(value, dict):
        return None
    category, kind = _word(value.get("category")), _word(value.get("type"))
    if kind is None and value.get("billable") is False:
        kind = "free_customer_service"
    return None if category is None and kind is None else Pricing(category, kind)


def _template_change(waba_id: str, at: datetime, value: dict[str, Any]) -> TemplateChange | None:
    """A notice (correct_category is there) names the present category in new_category: nothing has changed yet."""
    meta_id = value.get("message_template_id")
    category, quality = _word(value.get("new_category")), _word(value.get("new_quality_score"))
    if isinstance(meta_id, bool) or not isinstance(meta_id, str | int) or not (category or quality):
        return None
    return TemplateChange(
        waba_id=waba_id,
        meta_template_id=str(meta_id),
        name=_plain(value.get("message_template_name")),
        language=_plain(value.get("message_template_language")),
        at=at,
        category=category.upper() if category else None,
        quality=quality.upper() if quality else None,
        is_notice="correct_category" in value,
    )


def _contact(value: dict[str, Any], *keys: str) -> tuple[Contact | None, str | None]:
    for key in keys:
        found = value.get(key)
        if isinstance(found, dict) and isinstance(found.get("hmac"), str):
            last4, country = found.get("last4"), found.get("country")
            contact = Contact(found["hmac"], last4 if isinstance(last4, str) else "")
            return contact, country if isinstance(country, str) else None
    return None, None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _identifier(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value and is_identifier(value) else None


def _word(value: Any) -> str | None:
    """Return one of Meta's words in lower case, its hyphens as underscores; None for what is none."""
    if not isinstance(value, str) or not value or len(value) > WORD_CHARS_MAX:
        return None
    word = value.lower().replace("-", "_")
    return word if word.isascii() and word.replace("_", "a").isalnum() else None


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _instant(value: Any) -> datetime | None:
    """Return a time in seconds since 1970, as Meta sends it, as text or number; milliseconds are told by their size."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 14:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < TIME_MAX:
        return None
    seconds = value // 1000 if value >= MILLISECONDS_FROM else value
    return _EPOCH + timedelta(seconds=seconds)
