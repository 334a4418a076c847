"""One WhatsApp message as its reports tell it: a state that no order and no repeat of them can change; pure.

Every field of MessageState is a minimum or a maximum over what was reported, so that applying reports is commutative,
associative and idempotent. What a message counts for is decided from the state alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions, normal_category

UNKNOWN_CATEGORY: Final = "OTHER"
RESPONSE_WITHIN: Final = timedelta(hours=24)
"""An inbound message older than this is no longer waited for: Meta's customer service window."""


class Status(StrEnum):
    """Meta's words for what became of a message; received is ours, for an inbound one."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    RECEIVED = "received"


# A failure is no rank: Meta may report a delivery after it (several devices), and the delivery holds.
RANKS: Final = {Status.SENT: 1, Status.DELIVERED: 2, Status.READ: 3, Status.PLAYED: 4, Status.RECEIVED: 2}
DELIVERED_RANK: Final = RANKS[Status.DELIVERED]


@dataclass(frozen=True, slots=True)
class Pricing:
    """Meta's pricing object: category and type in lower case; type None where it was not sent."""

    category: str | None
    type: str | None


@dataclass(frozen=True, slots=True)
class Contact:
    """The end customer as we keep him: a keyed hash of the phone and its last four digits."""

    phone_hmac: str
    phone_last4: str


@dataclass(frozen=True, slots=True)
class MessageUpdate:
    """One report about one message. `at` is an aware UTC instant; what a report does not know is None."""

    wamid: str
    direction: Direction
    status: Status
    at: datetime
    account_id: int | None = None
    phone_number_id: str | None = None
    pricing: Pricing | None = None
    template_id: int | None = None
    category: str | None = None
    country: str | None = None
    contact: Contact | None = None


PricingRank = tuple[int, str, str]
"""(rank of the status that carried it, category, type): the greatest holds."""


@dataclass(frozen=True, slots=True)
class MessageState:
    """What all reports of one message come to.

    rank is that of the furthest status, 0 before any; first_at the earliest time reported, which decides the day.
    pricing is the one carried by the furthest status; category is what the sender said, where no template says it.
    """

    direction: Direction
    first_at: datetime
    rank: int = 0
    failed: bool = False
    pricing: PricingRank | None = None
    account_id: int | None = None
    template_id: int | None = None
    category: str | None = None
    country: str | None = None
    contact: tuple[str, str] | None = None

    @property
    def counts(self) -> bool:
        """Tell whether it is a message today: sent and not failed, or delivered whatever was said after."""
        return self.rank >= DELIVERED_RANK or (self.rank > 0 and not self.failed)

    @property
    def is_confirmed(self) -> bool:
        """Tell whether it was delivered; until then what it costs is estimated."""
        return self.rank >= DELIVERED_RANK

    @property
    def pricing_category(self) -> str | None:
        """Meta's category as it was sent."""
        return None if self.pricing is None else self.pricing[1] or None

    @property
    def pricing_type(self) -> str | None:
        """Meta's pricing type as it was sent."""
        return None if self.pricing is None else self.pricing[2] or None


def apply(state: MessageState | None, update: MessageUpdate) -> MessageState:
    """Return the state with one more report. Any order, and any repeats, of the same reports end in the same state.

    sent at 10:00 and failed at 10:01 is void; delivered at 10:02, whenever it arrives, makes it count again, at 10:00.
    """
    return merge(state, _state_of(update))


def _state_of(update: MessageUpdate) -> MessageState:
    rank = RANKS.get(update.status, 0)
    pricing = update.pricing
    contact = update.contact
    return MessageState(
        direction=update.direction,
        first_at=update.at,
        rank=rank,
        failed=update.status is Status.FAILED,
        pricing=None if pricing is None else (rank, pricing.category or "", pricing.type or ""),
        account_id=update.account_id,
        template_id=update.template_id,
        category=update.category,
        country=update.country,
        contact=None if contact is None else (contact.phone_hmac, contact.phone_last4),
    )


def merge(one: MessageState | None, other: MessageState) -> MessageState:
    """Return the least state that holds both: the join of a semilattice, field by field."""
    if one is None:
        return other
    return MessageState(
        direction=min(one.direction, other.direction),
        first_at=min(one.first_at, other.first_at),
        rank=max(one.rank, other.rank),
        failed=one.failed or other.failed,
        pricing=_greatest(one.pricing, other.pricing),
        account_id=_greatest(one.account_id, other.account_id),
        template_id=_greatest(one.template_id, other.template_id),
        category=_greatest(one.category, other.category),
        country=_greatest(one.country, other.country),
        contact=_greatest(one.contact, other.contact),
    )


_Known = TypeVar("_Known", int, str, tuple[int, str, str], tuple[str, str])


def _greatest(one: _Known | None, other: _Known | None) -> _Known | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


@dataclass(frozen=True, slots=True)
class DatedCategory:
    """A template's category from an instant on; the first covers all earlier time."""

    effective_at: datetime
    category: str


def category_at(history: Sequence[DatedCategory], at: datetime) -> str | None:
    """Return the category a template had at an instant, None for a template without any.

    UTILITY from January and MARKETING from 5 May 10:00: UTILITY at 09:59:59 and in any year before, MARKETING at 10:00.
    """
    begun = [row for row in history if row.effective_at <= at]
    if begun:
        return max(begun, key=lambda row: row.effective_at).category
    return min(history, key=lambda row: row.effective_at).category if history else None


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a message adds: to which sums, how many messages (0 or 1) and, for an answer, how long it took."""

    dimensions: Dimensions
    messages: int
    response_ms: int | None = None


def contribution(
    state: MessageState, history: Sequence[DatedCategory] = (), *, response_ms: int | None = None
) -> Contribution:
    """Return what the message counts for; history is that of its template's categories.

    The category is Meta's pricing.category, else the template's when it was sent, else what the sender said; a word
    that is none of the four is OTHER, which has no price. Inbound messages have no category.
    """
    category: str | None = None
    if state.direction is Direction.OUTBOUND:
        said = state.pricing_category or category_at(history, state.first_at) or state.category
        category = UNKNOWN_CATEGORY if said is None else normal_category(said) or UNKNOWN_CATEGORY
    return Contribution(
        Dimensions(
            channel=Channel.WHATSAPP,
            direction=state.direction,
            category=category,
            market=state.country,
            account_id=state.account_id,
            template_id=state.template_id,
            pricing_type=state.pricing_type if state.direction is Direction.OUTBOUND else None,
        ),
        messages=1 if state.counts else 0,
        response_ms=response_ms if state.counts else None,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """A message in its conversation, for response times."""

    wamid: str
    direction: Direction
    at: datetime


def response_times(conversation: Iterable[Turn]) -> dict[str, int]:
    """Return {wamid of an answer: milliseconds} of one conversation, whatever the order it is given in.

    The time from the first unanswered inbound message of the last 24 hours to the next outbound one. Inbound at 10:00
    and 10:04, outbound at 10:05 and 10:06: one answer, after 5 minutes. Within one instant a question goes first.
    """
    found: dict[str, int] = {}
    waiting: list[datetime] = []
    for turn in sorted(conversation, key=lambda turn: (turn.at, turn.direction, turn.wamid)):
        if turn.direction is Direction.INBOUND:
            waiting.append(turn.at)
            continue
        oldest = turn.at - RESPONSE_WITHIN
        first = next((at for at in waiting if at >= oldest), None)
        if first is not None:
            found[turn.wamid] = (turn.at - first) // timedelta(milliseconds=1)
        waiting = []
    return found


def with_account(update: MessageUpdate, account_id: int) -> MessageUpdate:
    """Return the update of a known account."""
    return replace(update, account_id=account_id)
