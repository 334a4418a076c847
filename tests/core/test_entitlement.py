"""May more be sent: the line itself, what is held, what is wanted; and that old content hashes stand."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from secretaria.core.crossing import Used
from secretaria.core.entitlement import Decision, Quantities, RefusalReason, decide, lacking
from secretaria.core.event import UsageEvent, content_hash_of
from secretaria.core.limit import LimitState
from secretaria.core.plan import LimitMetric, PlanLimits

NONE = Quantities()


def plan(*, hard: bool = True, **limits: Any) -> PlanLimits:
    whole = {"messages": None, "tokens": None, "cost": None} | limits
    return PlanLimits(1, "Básico", "BRL", **whole, thresholds=(80, 100), hard=hard, effective_from=date(2026, 1, 1))


def decided(
    limits: PlanLimits | None,
    *,
    used: int = 0,
    cost: str | None = None,
    reserved: Quantities = NONE,
    wanted: Quantities = NONE,
    suspended: bool = False,
) -> Decision:
    of = Used(used, 0, None if cost is None else Decimal(cost))
    return decide(suspended=suspended, limits=limits, used=of, reserved=reserved, wanted=wanted)


@pytest.mark.parametrize(
    ("used", "held", "wanted", "allowed"),
    [
        (0, 0, 0, True), (99, 0, 0, True), (100, 0, 0, False), (101, 0, 0, False), (60, 39, 0, True), (60, 40, 0, False),
        (60, 30, 10, True), (60, 30, 11, False), (0, 0, 100, True), (0, 0, 101, False), (-5, 0, 105, True),
    ],
)  # fmt: skip
def test_a_hard_limit_of_100_lets_through_what_is_neither_used_nor_held(
    used: int, held: int, wanted: int, allowed: bool
) -> None:
    found = decided(plan(messages=100), used=used, reserved=Quantities(held), wanted=Quantities(wanted))
    assert found.allowed is allowed
    assert found.reason is (None if allowed else RefusalReason.LIMIT_REACHED)
    assert [row.allowed for row in found.metrics] == [allowed, True, True]


def test_a_soft_plan_tells_and_never_refuses() -> None:
    found = decided(plan(hard=False, messages=100), used=250, wanted=Quantities(1000))
    assert (found.allowed, found.reason, found.hard) == (True, None, False)
    messages = found.metrics[0]
    assert (messages.remaining, messages.percent, messages.state) == (0, Decimal("250.00"), LimitState.CRITICAL)
    assert lacking(found, Quantities(1)) == []


def test_without_a_plan_everything_is_unlimited() -> None:
    found = decided(None, used=10**12)
    assert (found.allowed, found.hard) == (True, False)
    assert found.remaining == {"messages": None, "tokens": None, "cost": None}
    assert {row.state for row in found.metrics} == {LimitState.NORMAL}


def test_a_suspended_company_sends_nothing_whatever_is_left() -> None:
    for limits in (None, plan(messages=100), plan(hard=False, messages=100)):
        found = decided(limits, suspended=True)
        assert (found.allowed, found.reason) == (False, RefusalReason.SUSPENDED)


def test_a_cost_is_held_against_its_limit_to_the_last_digit() -> None:
    limits = plan(cost=Decimal("34.20"))
    assert decided(limits, cost="34.1999").allowed
    assert not decided(limits, cost="34.20").allowed
    found = decided(limits, cost="30.00", reserved=Quantities(cost=Decimal("4.1999")))
    assert found.remaining["cost"] == Decimal("0.0001")
    assert lacking(found, Quantities(cost=Decimal("0.0001"))) == []
    assert lacking(found, Quantities(cost=Decimal("0.0002"))) == [LimitMetric.COST]


def test_a_reservation_lacks_only_what_it_asks_for() -> None:
    found = decided(plan(messages=100, tokens=10), used=100)
    assert lacking(found, Quantities(tokens=10)) == []
    assert lacking(found, Quantities(messages=1, tokens=11)) == [LimitMetric.MESSAGES, LimitMetric.TOKENS]


def test_a_limited_cost_that_nobody_looked_at_is_an_error_and_no_yes() -> None:
    with pytest.raises(ValueError, match="not looked at"):
        decided(plan(cost=Decimal(1)))


def event_of(data: dict[str, Any], kind: str = "usage.recorded") -> UsageEvent:
    return msgspec.convert({"specversion": "1.0", "id": "1", "source": "bot-1", "type": kind, "data": data}, UsageEvent)


def test_content_hashes_of_events_without_a_reservation_are_those_of_before() -> None:
    """The golden values were written by the version that did not know the field."""
    plain = {"direction": "inbound", "messages": 1}
    assert content_hash_of(event_of(plain), None) == "01d4e0d421302a578e2e7435b56f8c27a4"
    assert content_hash_of(event_of(plain | {"reservation_id": None}), None) == "01d4e0d421302a578e2e7435b56f8c27a4"
    correction = {"corrects": {"source": "bot-1", "id": "msg-0001"}, "messages": 0}
    assert content_hash_of(event_of(correction, "usage.corrected"), None) == "0114bd489a893de30b4460e21623b8526d"
    named = str(UUID(int=7))
    assert content_hash_of(event_of(plain | {"reservation_id": named}), None) != "01d4e0d421302a578e2e7435b56f8c27a4"
    assert event_of(plain | {"reservation_id": named.upper()}) == event_of(plain | {"reservation_id": named})
