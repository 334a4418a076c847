"""Limits: the line is crossed at it, not past it, and 100 % is shown only when it is reached."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.limit import crossed, percent, state

numbers = st.integers(0, 10**18) | st.decimals(0, 10**12, places=12)


@pytest.mark.parametrize(
    ("used", "limit", "expected", "shown"),
    [
        (0, 100, "normal", "0.00"),
        (79, 100, "normal", "79.00"),
        (80, 100, "warning", "80.00"),
        (99, 100, "warning", "99.00"),
        (100, 100, "critical", "100.00"),
        (250, 100, "critical", "250.00"),
        (67, 84, "normal", "79.76"),  # 80 % of 84 is 67.2
        (68, 84, "warning", "80.95"),
        (999_999, 1_000_000, "warning", "99.99"),  # never shown as 100
        (Decimal("79.99999999"), Decimal(100), "normal", "79.99"),
        (Decimal("0.30"), Decimal("0.30"), "critical", "100.00"),
        (0, 0, "critical", "100"),
    ],
)
def test_it_tells_the_state_of_a_limit(used: Decimal | int, limit: Decimal | int, expected: str, shown: str) -> None:
    assert state(used, limit) == expected
    assert str(percent(used, limit)) == shown


def test_it_takes_other_thresholds() -> None:
    assert state(50, 100, thresholds=(50,)) == "warning"
    assert state(100, 100, thresholds=(50,)) == "warning"
    assert state(119, 100, thresholds=(120,)) == "normal"
    assert state(120, 100, thresholds=(90, 120)) == "critical"


@given(numbers, numbers.filter(bool), st.integers(1, 200))
def test_the_percentage_shown_reaches_a_threshold_exactly_when_it_is_crossed(
    used: Decimal | int, limit: Decimal | int, threshold: int
) -> None:
    share = Fraction(used) * 100 / Fraction(limit)
    assert crossed(used, limit, threshold) == (share >= threshold) == (percent(used, limit) >= threshold)
