"""The forecast: dates worked out by hand, and what must hold for any month."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.forecast import (
    COMPLETE_DAYS_MIN,
    TOO_LITTLE_DATA,
    WEEKDAY_DAYS_MIN,
    Forecast,
    ForecastOutcome,
    forecast,
)

FIRST, END = date(2026, 11, 1), date(2026, 12, 1)  # a Sunday; the month has thirty days
NEVER = date(9999, 1, 1)


def days(*values: object, first: date = FIRST) -> list[tuple[date, Decimal]]:
    return [(first + timedelta(days=number), Decimal(str(value))) for number, value in enumerate(values)]


def ask(
    values: Sequence[object], limit: object, *, today_so_far: object = 0, end: date = END, first: date = FIRST
) -> Forecast:
    daily = days(*values, first=first)
    used = sum((value for _, value in daily), Decimal(str(today_so_far)))
    return forecast(daily, used, Decimal(str(limit)), first + timedelta(days=len(daily)), end)


def november(day: int | None) -> date | None:
    return None if day is None else date(2026, 11, day)


@pytest.mark.parametrize(
    ("values", "limit", "today_so_far", "expected", "percent_at_end"),
    [
        # Nine days of 100: 900 used on the 10th; 1100 are missing, eleven days, the 10th among them: the 20th.
        ([100] * 9, 2000, 0, (20, 20, 20), "150.00"),
        ([100] * 9, 2001, 0, (21, 21, 21), "149.92"),  # 3000 of 2001, cut
        ([100] * 9, 1000, 0, (10, 10, 10), "300.00"),
        # What today has already is part of today's 100, not on top of it.
        ([100] * 9, 2000, 60, (20, 20, 20), "150.00"),
        # Today is past its pace: nothing more is expected of it, the rest takes ten days of 100.
        ([100] * 9, 2000, 150, (20, 20, 20), "152.50"),
        ([100] * 9, 2000, 200, (19, 19, 19), "155.00"),
        # The last day counts: 100 on each of thirty days is 3000, and a message more is not reached.
        ([100] * 9, 3000, 0, (30, 30, 30), "100.00"),
        ([100] * 9, 3001, 0, (None, None, None), "99.96"),
        ([0] * 9, 10, 0, (None, None, None), "0.00"),
        # Mean 100, variance 1600/3. 180 are missing: one day brings 100 +/- 33, two 200 +/- 51, three 300 +/- 68.
        ([80, 120, 80, 120], 580, 0, (6, 6, 7), "517.24"),
        ([80, 120, 80, 120], 530, 0, (5, 6, 6), "566.03"),
        # An expected 3000 of 3050 is not reached, though it may be: eighteen days bring 1800 + 523 of 2250.
        ([50, 150] * 4, 3050, 0, (26, None, None), "98.36"),
    ],
)
def test_it_names_the_day_and_its_range(
    values: list[int],
    limit: int,
    today_so_far: int,
    expected: tuple[int | None, int | None, int | None],
    percent_at_end: str,
) -> None:
    found = ask(values, limit, today_so_far=today_so_far)
    assert (found.earliest, found.likely, found.latest) == tuple(november(day) for day in expected)
    assert str(found.percent_at_end) == percent_at_end
    assert found.outcome == (ForecastOutcome.EXPECTED if expected[1] else ForecastOutcome.NOT_EXPECTED)


def test_it_says_that_the_limit_is_reached_whatever_is_known_of_the_days() -> None:
    found = ask([], 100, today_so_far=100)
    assert found == Forecast(ForecastOutcome.REACHED, reason=TOO_LITTLE_DATA)
    found = ask([50, 50, 50], 100)  # and 27 days to come
    assert (found.outcome, found.likely, str(found.percent_at_end)) == ("reached", None, "1500.00")


def test_it_is_silent_with_less_than_three_complete_days() -> None:
    for count in range(COMPLETE_DAYS_MIN):
        found = ask([40] * count, 100, today_so_far=5)
        assert found == Forecast(ForecastOutcome.UNKNOWN, reason=TOO_LITTLE_DATA)
    assert ask([30] * COMPLETE_DAYS_MIN, 100).outcome == "expected"


def test_it_knows_the_weekdays_from_two_weeks_on() -> None:
    # 100 on working days, nothing at weekends; the 1st is a Sunday. Thirteen days: weekends are like any other day.
    week = [0, 100, 100, 100, 100, 100, 0]
    before = ask((week * 2)[:13], 1100)
    assert before.earliest is not None
    assert before.earliest < date(2026, 11, 14) + timedelta(days=2)
    # Fourteen: on Sunday the 15th 1000 are used; Monday the 16th brings the missing 100, to the day.
    after = ask(week * 2, 1100)
    assert (after.earliest, after.likely, after.latest) == (date(2026, 11, 16),) * 3
    # Friday the 20th is the fifth working day from then on; the sixth is Monday the 23rd.
    assert ask(week * 2, 1500).likely == date(2026, 11, 20)
    assert ask(week * 2, 1501).likely == date(2026, 11, 23)


def test_a_weekday_not_seen_yet_has_the_mean_of_all() -> None:
    sundays = [(date(2026, 11, 1) + timedelta(weeks=number), Decimal(70)) for number in range(WEEKDAY_DAYS_MIN)]
    found = forecast(sundays, Decimal(980), Decimal(1050), date(2027, 2, 9), date(2027, 3, 1))
    assert found.likely == date(2027, 2, 9)


def test_costs_of_many_digits_are_exact() -> None:
    found = ask(["0.000000000001"] * 9, "0.00000000003")
    assert (found.likely, str(found.percent_at_end)) == (date(2026, 11, 30), "100.00")
    assert ask(["0.000000000001"] * 9, "0.000000000030000000000001").likely is None


quantities = st.integers(0, 10**15).map(Decimal) | st.decimals(0, 10**9, places=12)
months = st.lists(quantities, min_size=COMPLETE_DAYS_MIN, max_size=30)
limits = st.decimals("0.01", 10**16, places=2)


def order(found: Forecast) -> tuple[date, date, date]:
    """The range as dates that can be compared: what is not within the period is later than everything."""
    if found.outcome == ForecastOutcome.REACHED:
        return date.min, date.min, date.min
    return found.earliest or NEVER, found.likely or NEVER, found.latest or NEVER


@given(months, limits, quantities)
def test_the_range_holds_the_likely_day_and_lies_between_today_and_the_end(
    values: list[Decimal], limit: Decimal, today_so_far: Decimal
) -> None:
    found = ask(values, limit, today_so_far=today_so_far)
    earliest, likely, latest = order(found)
    assert earliest <= likely <= latest
    today = FIRST + timedelta(days=len(values))
    assert all(day is None or today <= day < END for day in (found.earliest, found.likely, found.latest))
    assert (found.likely is not None) == (found.outcome == ForecastOutcome.EXPECTED)
    if found.outcome != ForecastOutcome.REACHED and today < END:
        assert found.percent_at_end is not None
        assert (found.percent_at_end >= 100) == (found.likely is not None)


@given(months, limits, quantities, quantities)
def test_more_used_today_is_never_later(
    values: list[Decimal], limit: Decimal, today_so_far: Decimal, more: Decimal
) -> None:
    with_more = ask(values, limit, today_so_far=today_so_far + more)
    for sooner, later in zip(
        order(with_more), order(ask(values, limit, today_so_far=today_so_far)), strict=True
    ):
        assert sooner <= later


@given(months, limits, st.integers(0, 29), quantities)
def test_more_used_on_an_earlier_day_is_never_likely_later(
    values: list[Decimal], limit: Decimal, number: int, more: Decimal
) -> None:
    raised = list(values)
    raised[number % len(values)] += more
    assert order(ask(raised, limit))[1] <= order(ask(values, limit))[1]


@given(months, limits, quantities, limits)
def test_a_higher_limit_is_never_reached_sooner(
    values: list[Decimal], limit: Decimal, today_so_far: Decimal, more: Decimal
) -> None:
    higher = order(ask(values, limit + more, today_so_far=today_so_far))
    for sooner, later in zip(order(ask(values, limit, today_so_far=today_so_far)), higher, strict=True):
        assert sooner <= later


@given(months, limits, st.integers(1, 10**6))
def test_the_unit_of_measure_changes_nothing(values: list[Decimal], limit: Decimal, scale: int) -> None:
    small = [Decimal(int(value)) for value in values]
    of_small, of_big = ask(small, int(limit) + 1), ask([value * scale for value in small], (int(limit) + 1) * scale)
    assert replace(of_big, percent_at_end=None) == replace(of_small, percent_at_end=None)


@given(months, limits, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_days_nor_below_two_weeks_their_dates_matter(
    values: list[Decimal], limit: Decimal, dice: object
) -> None:
    daily = days(*values)
    today, used = FIRST + timedelta(days=len(daily)), sum(values, Decimal(0))
    found = forecast(daily, used, limit, today, END)
    shuffled = list(daily)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert forecast(shuffled, used, limit, today, END) == found
    if len(daily) < WEEKDAY_DAYS_MIN:
        redated = [(day, value) for (day, _), (_, value) in zip(daily, shuffled, strict=True)]
        assert forecast(redated, used, limit, today, END) == found
