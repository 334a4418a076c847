"""A message's state: any order and any repeats of its reports end in the same place, held against a plain oracle."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.calling_code import country_of
from secretaria.core.event import Direction
from secretaria.core.whatsapp import (
    DatedCategory,
    MessageState,
    MessageUpdate,
    Pricing,
    Status,
    Turn,
    apply,
    category_at,
    contribution,
    response_times,
)

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OUT, IN = Direction.OUTBOUND, Direction.INBOUND


def update(status: str, minutes: int = 0, **known: Any) -> MessageUpdate:
    direction = known.pop("direction", OUT)
    return MessageUpdate("wamid.A", direction, Status(status), T0 + timedelta(minutes=minutes), account_id=1, **known)


def applied(*updates: MessageUpdate) -> MessageState:
    state: MessageState | None = None
    for one in updates:
        state = apply(state, one)
    assert state is not None
    return state


PRICINGS = st.none() | st.builds(
    Pricing,
    st.sampled_from(["utility", "marketing", "marketing_lite", "authentication-international", "group_utility", "x"]),
    st.none() | st.sampled_from(["regular", "free_customer_service", "free_entry_point"]),
)
UPDATES = st.lists(
    st.builds(
        update,
        st.sampled_from(["sent", "delivered", "read", "played", "failed"]),
        st.integers(-3000, 3000),
        pricing=PRICINGS,
        template_id=st.none() | st.integers(1, 3),
        category=st.none() | st.sampled_from(["UTILITY", "MARKETING"]),
        country=st.none() | st.sampled_from(["BR", "AR"]),
    ),
    min_size=1,
    max_size=8,
)


def oracle(updates: list[MessageUpdate]) -> tuple[int, datetime, str | None]:
    """Read the rules again, as sentences: counted?, which day, whose pricing."""
    words = {one.status.value for one in updates}
    delivered = bool(words & {"delivered", "read", "played"})
    counted = 1 if delivered or (words & {"sent"} and "failed" not in words) else 0
    order = ["failed", "sent", "delivered", "read", "played"]
    category = None
    for word in order:  # the furthest status that carried a pricing wins; within one status, the last by name
        carried = sorted((one.pricing.category or "", one.pricing.type or "") for one in updates
                         if one.status.value == word and one.pricing is not None)
        if carried:
            category = carried[-1][0]
    return counted, min(one.at for one in updates), category


@given(UPDATES, st.randoms(use_true_random=False))
def test_any_order_and_any_repeats_end_in_the_same_state_as_the_oracle(
    updates: list[MessageUpdate], chance: random.Random
) -> None:
    first = applied(*updates)
    shuffled = updates + chance.choices(updates, k=chance.randrange(6))
    chance.shuffle(shuffled)
    again = applied(*shuffled)
    assert again == first
    history = [DatedCategory(T0, "UTILITY"), DatedCategory(T0 + timedelta(hours=1), "MARKETING")]
    assert contribution(again, history) == contribution(first, history)
    assert (contribution(first).messages, first.first_at, first.pricing_category) == oracle(updates)


@pytest.mark.parametrize(
    ("reports", "counted"),
    [
        (["sent"], 1),
        (["sent", "failed"], 0),
        (["failed"], 0),
        (["failed", "sent"], 0),
        (["sent", "delivered"], 1),
        (["sent", "failed", "delivered"], 1),
        (["delivered", "failed"], 1),
        (["read"], 1),
        (["played", "sent", "sent"], 1),
    ],
)
def test_a_message_counts_once_when_it_was_sent_and_not_failed_or_delivered(reports: list[str], counted: int) -> None:
    state = applied(*(update(status, minutes) for minutes, status in enumerate(reports)))
    assert contribution(state).messages == counted


def test_the_day_is_that_of_the_earliest_time_seen_even_when_it_arrives_last() -> None:
    assert applied(update("read", 90), update("sent", 0), update("delivered", 1)).first_at == T0


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("marketing", "MARKETING"),
        ("marketing_lite", "MARKETING"),
        ("authentication-international", "AUTHENTICATION"),
        ("authentication_international", "AUTHENTICATION"),
        ("group_service", "SERVICE"),
        ("referral_conversion", "OTHER"),
        ("general_purpose_ai", "OTHER"),
    ],
)
def test_metas_category_wins_over_the_templates_and_unknown_words_have_no_price(category: str, expected: str) -> None:
    state = applied(update("sent", pricing=Pricing(category, "regular"), template_id=1, category="SERVICE"))
    added = contribution(state, [DatedCategory(T0, "UTILITY")])
    assert (added.dimensions.category, added.dimensions.pricing_type) == (expected, "regular")


def test_without_pricing_the_templates_category_when_it_was_sent_holds_then_what_the_sender_said() -> None:
    history = [DatedCategory(T0, "UTILITY"), DatedCategory(T0 + timedelta(minutes=10), "MARKETING")]
    before, after = applied(update("sent", 9, template_id=1)), applied(update("sent", 10, template_id=1))
    assert contribution(before, history).dimensions.category == "UTILITY"
    assert contribution(after, history).dimensions.category == "MARKETING"
    assert category_at(history, T0 - timedelta(days=900)) == "UTILITY"
    assert contribution(applied(update("sent", category="service"))).dimensions.category == "SERVICE"
    assert contribution(applied(update("sent"))).dimensions.category == "OTHER"


def test_an_inbound_message_counts_without_category() -> None:
    added = contribution(applied(update("received", direction=IN, country="BR")))
    assert (added.messages, added.dimensions.category, added.dimensions.market) == (1, None, "BR")


def turn(name: str, direction: Direction, minutes: int) -> Turn:
    return Turn(name, direction, T0 + timedelta(minutes=minutes))


def test_an_answer_is_timed_from_the_first_question_that_waits() -> None:
    turns = [turn("q1", IN, 0), turn("q2", IN, 4), turn("a1", OUT, 5), turn("a2", OUT, 6), turn("q3", IN, 7)]
    assert response_times(turns) == {"a1": 5 * 60_000}
    assert response_times(reversed(turns)) == {"a1": 5 * 60_000}


def test_a_question_older_than_a_day_is_no_longer_waited_for() -> None:
    day = 24 * 60
    assert response_times([turn("q", IN, 0), turn("a", OUT, day)]) == {"a": day * 60_000}
    assert response_times([turn("q", IN, 0), turn("a", OUT, day + 1)]) == {}
    assert response_times([turn("q", IN, 0), turn("r", IN, 60), turn("a", OUT, day + 1)]) == {"a": (day - 59) * 60_000}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=12), st.randoms(use_true_random=False))
def test_response_times_do_not_depend_on_the_order_of_arrival(
    messages: list[tuple[bool, int]], chance: random.Random
) -> None:
    turns = [turn(f"m{place}", OUT if out else IN, minutes) for place, (out, minutes) in enumerate(messages)]
    expected = response_times(turns)
    chance.shuffle(turns)
    assert response_times(turns) == expected


@pytest.mark.parametrize(
    ("phone", "country"),
    [("5511987654321", "BR"), ("18095550000", "DO"), ("12125550000", "US"), ("14165550000", "CA"),
     ("77012345678", "KZ"), ("79012345678", "RU"), ("999123", None), ("", None)],
)  # fmt: skip
def test_the_country_is_told_by_the_longest_calling_code(phone: str, country: str | None) -> None:
    assert country_of(phone) == country
