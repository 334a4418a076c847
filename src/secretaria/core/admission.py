"""May this event be counted? The rules that the shape of an event cannot express; pure, the clock is an argument."""

from dataclasses import dataclass

from secretaria.core.event import CORRECTED, RECORDED, UsageEvent

PAST_MAX_US = 35 * 86_400 * 1_000_000
FUTURE_MAX_US = 5 * 60 * 1_000_000
BACKFILL_PAST_MAX_US = 10 * 366 * 86_400 * 1_000_000
SPEC_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one item of a batch is not counted. `index` is its place in the batch, `id` what it called itself."""

    index: int
    id: str | None
    code: str
    message: str


Refusal = tuple[str, str]


def refuse_content(event: UsageEvent) -> Refusal | None:
    """Return (code, message) when the event's content cannot be counted, else None."""
    data = event.data
    if event.type == RECORDED:
        if data.direction is None:
            return "missing_field", "data.direction is required: inbound or outbound"
        if data.corrects is not None:
            return "unexpected_field", "data.corrects belongs to events of type usage.corrected"
        if not (data.messages or data.tokens_input or data.tokens_output or data.response_ms):
            return "nothing_used", "at least one quantity must be above 0"
    elif event.type == CORRECTED:
        if data.corrects is None:
            return "missing_field", "data.corrects {source, id} is required: it names the event to correct"
        if data.wamid is not None or data.account_id is not None or data.template_id is not None:
            return "unexpected_field", "a correction replaces quantities only; it keeps the original's dimensions"
        if data.reservation_id is not None:
            return "unexpected_field", "a correction settles no reservation: what it gives back is free by itself"
    else:
        return "unknown_type", f"type must be {RECORDED} or {CORRECTED}"
    if event.specversion != SPEC_VERSION:
        return "unsupported_specversion", 'specversion must be "1.0"'
    if data.wamid is not None and (data.messages or 0) > 1:
        return "implausible_quantity", "a wamid is one message: data.messages must be 0 or 1"
    return None


@dataclass(frozen=True, slots=True)
class Window:
    """The instants that are admitted, in epoch microseconds, both ends included."""

    oldest_us: int
    latest_us: int
    backfill: bool

    @classmethod
    def around(cls, now_us: int, *, backfill: bool) -> "Window":
        """Return the window of this moment: 35 days back (ten years with a backfill scope) and 5 minutes ahead."""
        past_us = BACKFILL_PAST_MAX_US if backfill else PAST_MAX_US
        return cls(now_us - past_us, now_us + FUTURE_MAX_US, backfill)

    def refuse(self, occurred_us: int) -> Refusal | None:
        """Return (code, message) when the instant lies outside, else None."""
        if self.oldest_us <= occurred_us <= self.latest_us:
            return None
        if occurred_us > self.latest_us:
            return "timestamp_in_future", "time lies more than 5 minutes ahead of this server's clock"
        if self.backfill:
            return "timestamp_too_old", "time lies more than 10 years back"
        return "timestamp_too_old", "time lies more than 35 days back; the scope usage:backfill allows more"


def refuse_text(event: UsageEvent) -> Refusal | None:
    """Return (code, message) when an identifier or text holds what must not be stored, else None.

    Identifiers are printable ASCII without spaces, so that two ids that look alike are alike. Other texts may hold
    any letter but no control, surrogate or text-direction character.
    """
    data = event.data
    identifiers = {"id": event.id, "source": event.source, "data.wamid": data.wamid}
    if data.corrects is not None:
        identifiers |= {"data.corrects.id": data.corrects.id, "data.corrects.source": data.corrects.source}
    for name, text in identifiers.items():
        if text is not None and not is_identifier(text):
            return "invalid_identifier", f"{name} must be printable ASCII without spaces"
    texts = {"data.category": data.category, "data.model": data.model, "data.cost_center": data.cost_center}
    for name, text in texts.items():
        if text is not None and not is_plain_text(text):
            return "invalid_text", f"{name} holds a control or text-direction character"
    if data.country is not None and not (data.country.isascii() and data.country.isupper() and data.country.isalpha()):
        return "invalid_country", "data.country must be an ISO 3166-1 alpha-2 code such as BR"
    return None


def is_identifier(text: str) -> bool:
    """Tell whether the text is printable ASCII without spaces."""
    return text.isascii() and text.isprintable() and " " not in text


def is_plain_text(text: str) -> bool:
    """Tell whether the text is free of control, surrogate, private and text-direction characters and not blank."""
    return text.isprintable() and not text.isspace()
