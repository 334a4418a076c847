"""How many failures are too many: never more than the limit within any window, and the wait is told exactly."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.throttle import Bucket, Limit, minute_of, wait_s

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FIVE_IN_FIVE = Limit(5, timedelta(minutes=5))


def at(minutes: int, failures: int) -> Bucket:
    return Bucket(NOON + timedelta(minutes=minutes), failures)


def test_an_attempt_may_come_until_the_limit_is_full() -> None:
    assert wait_s([], [FIVE_IN_FIVE], NOON) == 0
    assert wait_s([at(0, 4)], [FIVE_IN_FIVE], NOON) == 0
    assert wait_s([at(0, 5)], [FIVE_IN_FIVE], NOON) == 360


def test_the_wait_ends_when_the_whole_minute_has_left_the_window() -> None:
    buckets = [at(0, 5)]
    assert wait_s(buckets, [FIVE_IN_FIVE], NOON + timedelta(minutes=1)) == 300
    assert wait_s(buckets, [FIVE_IN_FIVE], NOON + timedelta(minutes=6, microseconds=-1)) == 1
    assert wait_s(buckets, [FIVE_IN_FIVE], NOON + timedelta(minutes=6)) == 0


def test_only_as_many_must_leave_as_are_too_many() -> None:
    buckets = [at(0, 1), at(3, 4)]
    assert wait_s(buckets, [FIVE_IN_FIVE], NOON + timedelta(minutes=4)) == 120
    assert wait_s([at(0, 1), at(3, 9)], [FIVE_IN_FIVE], NOON + timedelta(minutes=4)) == 300


def test_the_longest_wait_of_several_limits_counts() -> None:
    limits = [FIVE_IN_FIVE, Limit(6, timedelta(hours=1))]
    assert wait_s([at(0, 6)], limits, NOON) == 3660


@given(st.lists(st.integers(0, 900), max_size=60))
def test_no_window_ever_holds_more_than_the_limit(gaps_s: list[int]) -> None:
    now, counted, taken = NOON, {}, []
    for gap in gaps_s:
        now += timedelta(seconds=gap)
        buckets = [Bucket(start, failures) for start, failures in sorted(counted.items())]
        if wait_s(buckets, [FIVE_IN_FIVE], now) == 0:
            counted[minute_of(now)] = counted.get(minute_of(now), 0) + 1
            taken.append(now)
    for first in taken:
        assert sum(first <= instant < first + FIVE_IN_FIVE.window for instant in taken) <= FIVE_IN_FIVE.failures_max


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=10), st.integers(0, 900))
def test_after_the_wait_the_attempt_may_come_and_not_a_second_earlier(
    pairs: list[tuple[int, int]], later_s: int
) -> None:
    buckets = [at(minute, failures) for minute, failures in sorted(dict(pairs).items())]
    now = NOON + timedelta(seconds=later_s)
    wait = wait_s(buckets, [FIVE_IN_FIVE], now)
    assert wait_s(buckets, [FIVE_IN_FIVE], now + timedelta(seconds=wait)) == 0
    if wait:
        assert wait_s(buckets, [FIVE_IN_FIVE], now + timedelta(seconds=wait - 1)) == 1
