"""Money: exact against fractions, rounded once, and shown so that the parts add up."""

from decimal import Decimal, Inexact, InvalidOperation, localcontext
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.errors import InvalidInput
from secretaria.core.money import (
    AMOUNT_DECIMALS_MAX,
    AMOUNT_INTEGER_DIGITS_MAX,
    MONEY_DIGITS,
    cut,
    divided,
    exact_text,
    largest_remainder,
    parse_amount,
    product,
    round_display,
    total,
)

# Everything a price or a rate may be, and sums of them with either sign.
amounts = st.decimals(0, 10**AMOUNT_INTEGER_DIGITS_MAX - 1, places=AMOUNT_DECIMALS_MAX)
signed = st.decimals(-(10**15), 10**15, places=15) | st.decimals(-1, 1, places=4)
quantities = st.integers(-(10**18), 10**18)
LARGEST = Decimal("9" * AMOUNT_INTEGER_DIGITS_MAX + "." + "9" * AMOUNT_DECIMALS_MAX)


@given(amounts, amounts, quantities, st.sampled_from([1, 10, 100, 1000]))
def test_a_charge_is_exact(amount: Decimal, rate: Decimal, quantity: int, per: int) -> None:
    charge = divided(product(amount, rate, quantity), per)
    assert Fraction(charge) == Fraction(amount) * Fraction(rate) * quantity / per


@given(st.lists(signed, max_size=30), st.randoms())
def test_a_total_is_exact_in_any_order(parts: list[Decimal], random: Random) -> None:
    shuffled = random.sample(parts, len(parts))
    assert Fraction(total(parts)) == sum(map(Fraction, parts))
    assert exact_text(total(parts)) == exact_text(total(shuffled))


def test_the_largest_amounts_still_fit_and_what_does_not_is_never_rounded_unseen() -> None:
    charge = divided(product(LARGEST, LARGEST, 2**63 - 1), 1000)
    assert Fraction(total([charge] * 1_000)) == Fraction(LARGEST) ** 2 * (2**63 - 1)
    with pytest.raises(Inexact):
        total([Decimal(1), Decimal(1).scaleb(-MONEY_DIGITS)])
    with pytest.raises(InvalidOperation):
        total([Decimal("sNaN")])


def test_the_callers_decimal_context_changes_nothing() -> None:
    parts = [Decimal("1000000.0001"), Decimal("0.00004"), Decimal("-0.00003")]
    expected = (total(parts), product(*parts), round_display(total(parts)), largest_remainder(parts))
    with localcontext(prec=2):
        assert (total(parts), product(*parts), round_display(total(parts)), largest_remainder(parts)) == expected


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0.124", "0.12"), ("0.125", "0.13"), ("0.135", "0.14"), ("2.675", "2.68"), ("0.0049", "0.00"),
     ("0.005", "0.01"), ("-0.005", "-0.01"), ("-0.125", "-0.13"), ("-0.0049", "0.00"), ("34.95", "34.95"),
     ("1E+3", "1000.00"), ("99.995", "100.00"), ("0", "0.00")],
)  # fmt: skip
def test_it_rounds_half_up_for_display(amount: str, shown: str) -> None:
    assert str(round_display(Decimal(amount))) == shown


def test_it_rounds_to_the_places_of_unit_prices() -> None:
    assert str(round_display(Decimal("0.00345"), 4)) == "0.0035"
    assert str(round_display(Decimal("12.5"), 0)) == "13"


@pytest.mark.parametrize(
    ("price", "cents"), [("0.475", "0.47"), ("0.105", "0.10"), ("0.07", "0.07"), ("0.009", "0.00"), ("3", "3.00")]
)
def test_it_cuts_a_unit_price_down_to_whole_cents(price: str, cents: str) -> None:
    assert str(cut(Decimal(price))) == cents


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (["0.005", "0.005", "0.005"], ["0.01", "0.01", "0.00"]),  # 0.015 shows as 0.02
        (["33.333", "33.333", "33.334"], ["33.33", "33.33", "33.34"]),
        (["0", "0.004", "0.004", "0"], ["0.00", "0.01", "0.00", "0.00"]),  # nothing stays nothing
        (["0.004", "-0.004"], ["0.00", "0.00"]),
        (["-0.005", "-0.005", "-0.005"], ["0.00", "-0.01", "-0.01"]),
        (["10.50", "23.75", "0.70"], ["10.50", "23.75", "0.70"]),
        ([], []),
    ],
)
def test_the_parts_shown_add_up(parts: list[str], shown: list[str]) -> None:
    assert [str(part) for part in largest_remainder([Decimal(part) for part in parts])] == shown


@given(st.lists(signed, max_size=20), st.integers(0, 4))
def test_parts_shown_add_up_to_the_total_shown(parts: list[Decimal], places: int) -> None:
    shown = largest_remainder(parts, places)
    unit = Fraction(1, 10**places)
    assert sum(map(Fraction, shown)) == Fraction(round_display(total(parts), places))
    for part, as_shown in zip(parts, shown, strict=True):
        assert abs(Fraction(as_shown) - Fraction(part)) < unit
        assert as_shown.as_tuple().exponent == -places
        assert not (as_shown.is_zero() and as_shown.is_signed())


@pytest.mark.parametrize(
    ("amount", "text"),
    [("34.2", "34.20"), ("34.200", "34.20"), ("0.0035", "0.0035"), ("0", "0.00"), ("-0", "0.00"),
     ("0E-30", "0.00"), ("1E+3", "1000.00"), ("1E-12", "0.000000000001"), ("-0.50", "-0.50"), ("7", "7.00"),
     ("100", "100.00"), ("12345678901234567890123456789012345678901234.5",
                         "12345678901234567890123456789012345678901234.50")],
)  # fmt: skip
def test_it_writes_amounts_in_full(amount: str, text: str) -> None:
    assert exact_text(Decimal(amount)) == text


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_it_writes_no_amount_that_is_not_a_number(amount: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        exact_text(Decimal(amount))


@given(amounts)
def test_what_is_written_is_read_back(amount: Decimal) -> None:
    assert parse_amount(exact_text(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("0.05", "0.05"), ("1", "1"), ("007", "7"), ("-0", "0"), ("-0.00", "0"), ("1.50", "1.5")]
)
def test_it_reads_plain_amounts(text: str, amount: str) -> None:
    read = parse_amount(text)
    assert read == Decimal(amount)
    assert not read.is_signed()


REFUSED = [
    *((text, "invalid_amount") for text in (
        "", " ", "NaN", "sNaN", "nan", "Infinity", "-Infinity", "inf", "1_000", "1,5", "1.000,50", "１２", "٣",
        "1e3", "1E-3", "0x10", "+1", "--1", ".5", "5.", ".", "-", "1.2.3", " 1", "1 ", "1\n", "1\0", "R$ 1", "1²",
    )),
    ("-0.01", "negative_amount"),
    ("0.000000000000000000000000000001", "too_precise"),
    ("0." + "1" * (AMOUNT_DECIMALS_MAX + 1), "too_precise"),
    ("1" * (AMOUNT_INTEGER_DIGITS_MAX + 1), "amount_too_large"),
    ("9" * 1_000_000, "amount_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=[ascii(text[:12]) for text, _ in REFUSED])
def test_it_refuses_what_is_not_a_plain_amount(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_amount(text)
    assert caught.value.code == code
    assert len(caught.value.message) < 200
