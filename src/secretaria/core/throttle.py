"""How many failures are too many, and how long to wait: pure arithmetic over counted minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

BUCKET = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Failures in the minute that begins at `start`."""

    start: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `failures_max` within any `window`."""

    failures_max: int
    window: timedelta


def minute_of(instant: datetime) -> datetime:
    """Return the beginning of the instant's minute."""
    return instant.replace(second=0, microsecond=0)


def wait_s(buckets: Sequence[Bucket], limits: Sequence[Limit], now: datetime) -> int:
    """Return for how many seconds another attempt must wait; 0 when it may come now.

    A bucket counts until the whole of its minute has left the window, so never more than failures_max fall into any
    window. With a limit of 5 in 300 s and 5 failures at 12:00:30, the wait at 12:01:00 is 300 s: until 12:06:00.
    """
    return max((_wait_for(buckets, limit, now) for limit in limits), default=0)


def _wait_for(buckets: Sequence[Bucket], limit: Limit, now: datetime) -> int:
    inside = [bucket for bucket in buckets if bucket.start + BUCKET + limit.window > now]
    excess = sum(bucket.failures for bucket in inside) - limit.failures_max + 1
    if excess <= 0:
        return 0
    for bucket in sorted(inside, key=lambda bucket: bucket.start):
        excess -= bucket.failures
        if excess <= 0:
            return _ceil_s(bucket.start + BUCKET + limit.window - now)
    return _ceil_s(limit.window)


def _ceil_s(duration: timedelta) -> int:
    return -(-duration // timedelta(seconds=1))
