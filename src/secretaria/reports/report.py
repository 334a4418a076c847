"""What a report of one company says, as plain figures: services fill it, the writers of this folder print it.

The verification code is a hash of it, so that two documents with one code say the same.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import msgspec

from secretaria.core import money
from secretaria.core.period import Period, month_of, week_of

CODE_CHARS: Final = 20
CODE_GROUP_CHARS: Final = 5
_SCHEMA: Final = 1
"""Part of what is hashed: raised when the same figures come to be written another way."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Quantities and their cost: None when nothing of what was used has a price. not_priced is what the cost lacks."""

    messages_inbound: int
    messages_outbound: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    cost: Decimal | None
    not_priced_messages: int
    not_priced_tokens: int

    @property
    def messages(self) -> int:
        """Both directions."""
        return self.messages_inbound + self.messages_outbound

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.tokens_input + self.tokens_output

    @property
    def lower_bound(self) -> bool:
        """True when something has no price: the true cost is at least the cost."""
        return bool(self.not_priced_messages or self.not_priced_tokens)

    @property
    def avg_response_ms(self) -> int | float | None:
        """The sum over the count, as the API gives it."""
        if self.response_count <= 0:
            return None
        whole, rest = divmod(self.response_ms, self.response_count)
        return self.response_ms / self.response_count if rest else whole


def merged(parts: Iterable[Sums]) -> Sums:
    """Return the sum of parts; its cost is None where none of them has one."""
    some = list(parts)
    costs = [of.cost for of in some if of.cost is not None]
    return Sums(
        sum(of.messages_inbound for of in some),
        sum(of.messages_outbound for of in some),
        sum(of.tokens_input for of in some),
        sum(of.tokens_output for of in some),
        sum(of.response_ms for of in some),
        sum(of.response_count for of in some),
        money.total(costs) if costs or not some else None,
        sum(of.not_priced_messages for of in some),
        sum(of.not_priced_tokens for of in some),
    )


@dataclass(frozen=True, slots=True)
class Day:
    """One local day; unfinished: it was still running."""

    day: date
    sums: Sums
    unfinished: bool


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the total by one dimension; key None: used without saying which."""

    key: str | None
    label: str | None
    sums: Sums


@dataclass(frozen=True, slots=True)
class PriceLine:
    """What was charged at one price; unit_price None: there is none. rate: to the company's currency."""

    metric: str
    category: str | None
    market: str | None
    model: str | None
    direction: str | None
    quantity: int
    unit_price: Decimal | None
    per: int
    currency: str | None
    source: str | None
    effective_from: date | None
    rate: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class RateLine:
    """An exchange rate that converted a part of the cost; stale: nothing newer was heard of in time."""

    base: str
    quote: str
    rate: Decimal
    effective_from: date
    source: str
    stale: bool


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of one of the plan's limits the report's month has used."""

    metric: str
    limit: Decimal
    used: Decimal
    percent: Decimal
    state: str


@dataclass(frozen=True, slots=True)
class AlertLine:
    """A crossing of the period. limit and percent are None for what has no price."""

    fired_at: datetime
    kind: str
    metric: str
    threshold: int
    level: str
    used: Decimal
    limit: Decimal | None
    percent: Decimal | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan in force and its limits."""

    name: str
    limits: tuple[LimitUse, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose report it is; timezone is the one that decides the days."""

    company_id: int
    name: str
    legal_name: str | None
    tax_id: str | None
    timezone: str
    currency: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """A company's period: days up to today, oldest first; breakdowns by dimension, each adding up to the total."""

    owner: Owner
    period: Period
    total: Sums
    days: tuple[Day, ...]
    breakdowns: Mapping[str, tuple[Share, ...]]
    prices: tuple[PriceLine, ...]
    rates: tuple[RateLine, ...]
    plan: Plan | None
    alerts: tuple[AlertLine, ...]

    @property
    def unfinished(self) -> bool:
        """True while a day of the period is still to end."""
        last = self.days[-1] if self.days else None
        return last is None or last.unfinished or last.day < self.period.days()[-1]

    @property
    def partial(self) -> bool:
        """True when the figures can still grow, or a part of them has no price."""
        return self.unfinished or self.total.lower_bound

    @property
    def is_month(self) -> bool:
        """True for a calendar month."""
        return self.period == month_of(self.period.start)

    @property
    def is_week(self) -> bool:
        """True for a week from Monday to Sunday."""
        return self.period == week_of(self.period.start)


@dataclass(frozen=True, slots=True)
class Imprint:
    """What a document says about itself: as_of is when its figures were first written down, on the company's clock."""

    code: str
    as_of: datetime
    verify_url: str
    revision: int | None = None


def canonical(report: UsageReport) -> bytes:
    """Return the report as JSON that is the same for the same figures: what the code is a hash of."""
    return msgspec.json.encode({"schema": _SCHEMA, "report": report}, order="deterministic")


def restored(content: bytes) -> UsageReport:
    """Return the report out of its canonical JSON."""
    return msgspec.json.decode(content, type=_Canonical).report


class _Canonical(msgspec.Struct):
    schema: int
    report: UsageReport


def code_of(content: bytes) -> str:
    """Return the code of a canonical report: 100 bits of its SHA-256, in base 32."""
    return base64.b32encode(hashlib.sha256(content).digest()).decode()[:CODE_CHARS]


def grouped(code: str) -> str:
    """Return a code as people read it: ABCDE-FGHIJ-KLMNO-PQRST."""
    return "-".join(code[start : start + CODE_GROUP_CHARS] for start in range(0, len(code), CODE_GROUP_CHARS))


def exact(amount: Decimal) -> Decimal:
    """Return the amount written one way: equal amounts are equal texts."""
    return Decimal(money.exact_text(amount))
