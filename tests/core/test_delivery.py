"""The schedule of attempts on both sides of every boundary."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.delivery import (
    ATTEMPTS_MAX,
    TEST_PING,
    WAITS,
    DeliveryStatus,
    DisabledReason,
    Outcome,
    Settled,
    asked_wait,
    scheduled_wait,
    settle,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def failed(
    attempt: int = 1,
    *,
    status: int | None = 500,
    retry_after_s: int | None = None,
    since: datetime | None = None,
    event_type: str = "usage.limit.warning",
) -> Settled:
    outcome = Outcome(False, status, None, 12, retry_after_s=retry_after_s)
    return settle(outcome, event_type=event_type, attempt=attempt, failing_since=since, now=NOW, jitter_permille=0)


def test_twelve_attempts_last_longer_than_four_days() -> None:
    assert ATTEMPTS_MAX == 12
    at = NOW
    for attempt in range(1, ATTEMPTS_MAX):
        outcome = Outcome(False, 500, None, 12)
        settled = settle(outcome, event_type="x", attempt=attempt, failing_since=NOW, now=at, jitter_permille=-100)
        assert settled.status is DeliveryStatus.WAITING
        assert settled.next_attempt_at is not None
        at = settled.next_attempt_at
    assert sum(WAITS, timedelta()) > timedelta(hours=96)
    assert at - NOW == sum(WAITS, timedelta()) * 9 / 10
    assert failed(ATTEMPTS_MAX).status is DeliveryStatus.DEAD
    assert failed(ATTEMPTS_MAX).next_attempt_at is None


@given(st.integers(1, ATTEMPTS_MAX - 1), st.integers(-5_000, 5_000))
def test_a_wait_is_never_more_than_a_tenth_off(attempt: int, jitter: int) -> None:
    wait, due = scheduled_wait(attempt, jitter_permille=jitter), WAITS[attempt - 1]
    assert due * 9 / 10 <= wait <= due * 11 / 10


@pytest.mark.parametrize(
    ("attempt", "retry_after_s", "waits"),
    [
        (1, 120, 120),  # F12
        (1, 4, 5),
        (1, 3_600, 3_600),
        (1, 3_601, 3_600),
        (1, 10**9, 3_600),  # F14
        (1, 10**30, 3_600),
        (1, -1, 5),
        (1, 0, 5),
        (1, None, 5),
        (9, 10**9, 40 * 3_600),
        (9, 60, 20 * 3_600),
    ],
)
def test_retry_after_is_honoured_within_its_bounds(attempt: int, retry_after_s: int | None, waits: int) -> None:
    assert failed(attempt, retry_after_s=retry_after_s).next_attempt_at == NOW + waits * SECOND


def test_retry_after_holds_the_endpoint_also_when_the_chain_ends() -> None:
    assert failed(1, retry_after_s=120).held_until == NOW + 120 * SECOND
    assert failed(ATTEMPTS_MAX, retry_after_s=120).held_until == NOW + 120 * SECOND
    assert failed(1).held_until is None
    assert failed(9, retry_after_s=10**9).held_until == NOW + 3_600 * SECOND
    assert asked_wait(ATTEMPTS_MAX, 10**9) == 68 * 3_600 * SECOND


def test_a_success_ends_the_failing() -> None:
    since = NOW - timedelta(days=9)
    settled = settle(
        Outcome(True, 200, None, 12), event_type="x", attempt=12, failing_since=since, now=NOW, jitter_permille=0
    )
    assert settled == Settled(DeliveryStatus.DELIVERED, None, None, None, None)


def test_410_disables_at_once_and_the_delivery_waits() -> None:
    settled = failed(1, status=410)
    assert (settled.disabled, settled.status) == (DisabledReason.GONE, DeliveryStatus.WAITING)


def test_only_failing_for_five_days_disables() -> None:
    days = timedelta(days=5)
    assert failed(since=NOW - days + SECOND).disabled is None
    assert failed(since=NOW - days).disabled is DisabledReason.FAILING
    assert failed(since=None).failing_since == NOW
    assert failed(since=NOW - SECOND).failing_since == NOW - SECOND


def test_a_test_is_tried_once_and_held_against_nobody() -> None:
    settled = failed(1, event_type=TEST_PING)
    assert (settled.status, settled.failing_since, settled.disabled) == (DeliveryStatus.DEAD, None, None)
    assert failed(1, event_type=TEST_PING, since=NOW - timedelta(days=9)).disabled is None
    assert failed(1, event_type=TEST_PING, status=410).disabled is DisabledReason.GONE


def test_what_will_never_arrive_is_not_tried_again() -> None:
    outcome = Outcome(False, None, "invalid_address", 1, permanent=True)
    settled = settle(outcome, event_type="x", attempt=1, failing_since=None, now=NOW, jitter_permille=0)
    assert (settled.status, settled.failing_since) == (DeliveryStatus.DEAD, NOW)
