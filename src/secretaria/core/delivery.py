"""Deliveries: what is told, when to try again, when to give up, when an endpoint is disabled.

Pure: services/dispatcher.py makes the attempts and writes what is decided here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

WAITS: Final = (
    timedelta(seconds=5),
    timedelta(seconds=20),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=10),
    timedelta(hours=20),
    timedelta(hours=28),
    timedelta(hours=34),
)
"""Between the attempts of a chain: 97 h 42 min 25 s in all, longer than a weekend and a holiday."""

ATTEMPTS_MAX: Final = len(WAITS) + 1
TEST_ATTEMPTS_MAX: Final = 1
"""Whoever asked for a test looks at its result, mends what is wrong and asks again."""

JITTER_PERMILLE_MAX: Final = 100
RETRY_AFTER_MAX: Final = timedelta(hours=1)
RETRY_AFTER_WAITS_MAX: Final = 2
"""Retry-After holds an endpoint for an hour at most. The delivery that met it waits for as long as it was asked to:
never less than the wait that was due, never more than an hour or, where that is longer, twice the wait that was due."""

DISABLED_AFTER: Final = timedelta(days=5)
GONE: Final = 410
_PERMILLE: Final = 1_000


class Channel(StrEnum):
    """How an endpoint is reached: a URL, or an e-mail address."""

    WEBHOOK = "webhook"
    MAIL = "mail"


class EventType(StrEnum):
    """What endpoints can be told."""

    LIMIT_WARNING = "usage.limit.warning"
    LIMIT_CRITICAL = "usage.limit.critical"
    LIMIT_RESOLVED = "usage.limit.resolved"
    NOT_PRICED = "usage.not_priced"
    NOT_PRICED_RESOLVED = "usage.not_priced.resolved"
    ENDPOINT_DISABLED = "endpoint.disabled"
    WEEKLY_REPORT = "report.weekly"
    MONTHLY_REPORT = "report.monthly"


TEST_PING: Final = "test.ping"
"""Sent when somebody asks for it, whatever the endpoint wants."""

USAGE_EVENTS: Final = (
    EventType.LIMIT_WARNING,
    EventType.LIMIT_CRITICAL,
    EventType.LIMIT_RESOLVED,
    EventType.NOT_PRICED,
    EventType.NOT_PRICED_RESOLVED,
)
EVENTS: Final = {Channel.WEBHOOK: USAGE_EVENTS, Channel.MAIL: tuple(EventType)}
"""What an endpoint of each channel may want: documents, and word of a dead webhook, go to people."""

DEFAULT_EVENTS: Final = {Channel.WEBHOOK: USAGE_EVENTS, Channel.MAIL: (*USAGE_EVENTS, EventType.ENDPOINT_DISABLED)}


class DeliveryStatus(StrEnum):
    """waiting for its next attempt; delivered; dead: its last attempt failed; cancelled: its endpoint was removed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"


class EndpointStatus(StrEnum):
    """disabled: nothing is sent; what waits goes on waiting."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """gone: it answered 410. failing: it only failed for DISABLED_AFTER. unset: the setting that named it is gone."""

    GONE = "gone"
    FAILING = "failing"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. error names why there is no answer to go by; head is the start of the answer.

    permanent tells that another attempt of this delivery will not help; retry_after_s is as it was asked for.
    """

    succeeded: bool
    status_code: int | None
    error: str | None
    duration_ms: int
    head: str = ""
    retry_after_s: int | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows from an attempt. next_attempt_at is None unless the delivery waits.

    held_until is when the endpoint may be sent anything again, None where nothing was asked.
    """

    status: DeliveryStatus
    next_attempt_at: datetime | None
    failing_since: datetime | None
    held_until: datetime | None
    disabled: DisabledReason | None


def settle(
    outcome: Outcome,
    *,
    event_type: str,
    attempt: int,
    failing_since: datetime | None,
    now: datetime,
    jitter_permille: int,
) -> Settled:
    """Say what becomes of a delivery and of its endpoint, which has failed since failing_since (None: it has not).

    attempt counts from 1 in its chain. A success ends the failing, also of a test; a test that fails is held against
    nobody, unless the answer is 410.
    """
    if outcome.succeeded:
        return Settled(DeliveryStatus.DELIVERED, None, None, None, None)
    is_test = event_type == TEST_PING
    since = failing_since if is_test else failing_since or now
    asked = asked_wait(attempt, outcome.retry_after_s)
    held_until = None if asked is None else now + min(asked, RETRY_AFTER_MAX)
    disabled = None
    if outcome.status_code == GONE:
        disabled = DisabledReason.GONE
    elif not is_test and since is not None and now - since >= DISABLED_AFTER:
        disabled = DisabledReason.FAILING
    if outcome.permanent or attempt >= (TEST_ATTEMPTS_MAX if is_test else ATTEMPTS_MAX):
        return Settled(DeliveryStatus.DEAD, None, since, held_until, disabled)
    wait = scheduled_wait(attempt, jitter_permille=jitter_permille)
    next_attempt_at = now + (wait if asked is None else max(wait, asked))
    return Settled(DeliveryStatus.WAITING, next_attempt_at, since, held_until, disabled)


def scheduled_wait(attempt: int, *, jitter_permille: int) -> timedelta:
    """Return the wait after a chain's attempt (1 to ATTEMPTS_MAX - 1), moved by up to a tenth either way."""
    jitter = min(max(jitter_permille, -JITTER_PERMILLE_MAX), JITTER_PERMILLE_MAX)
    return WAITS[attempt - 1] * (_PERMILLE + jitter) // _PERMILLE


def asked_wait(attempt: int, retry_after_s: int | None) -> timedelta | None:
    """Return how much of a Retry-After is granted after a chain's attempt; None where none was asked for.

    After the first attempt 120 s are 120 s and 10^9 s are an hour; after the ninth (20 h were due) they are 40 h.
    """
    if retry_after_s is None or retry_after_s <= 0:
        return None
    due = WAITS[min(attempt, len(WAITS)) - 1]
    longest = max(RETRY_AFTER_MAX, due * RETRY_AFTER_WAITS_MAX)
    second = timedelta(seconds=1)
    return min(retry_after_s, longest // second) * second
