"""The formats of the panel, example by example, in both languages. {n} stands for a no-break space."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.web.panel.format import Format, Number, rounded

PT, EN = Format("pt-BR"), Format("en")
FRIDAY = datetime(2026, 11, 20, 17, 32, tzinfo=UTC)


def spaced(text: str) -> str:
    return text.replace("{n}", "\u00a0")


@pytest.mark.parametrize(
    ("value", "portuguese", "english"),
    [
        (0, "0", "0"),
        (17_286, "17.286", "17,286"),
        (99_999, "99.999", "99,999"),
        (100_000, "100{n}mil", "100K"),
        (-17_286, "-17.286", "-17,286"),
    ],
)
def test_a_count_on_a_card_is_full_up_to_99_999(value: int, portuguese: str, english: str) -> None:
    assert (PT.count(value), EN.count(value)) == (spaced(portuguese), english)


@pytest.mark.parametrize(
    ("value", "portuguese", "english"),
    [
        (999, "999", "999"),
        (1_000, "1{n}mil", "1K"),
        (1_005, "1,01{n}mil", "1.01K"),
        (12_345, "12,3{n}mil", "12.3K"),
        (99_949, "99,9{n}mil", "99.9K"),
        (99_950, "100{n}mil", "100K"),
        (128_000, "128{n}mil", "128K"),
        (999_499, "999{n}mil", "999K"),
        (999_500, "1{n}mi", "1M"),
        (999_999, "1{n}mi", "1M"),
        (1_280_000, "1,28{n}mi", "1.28M"),
        (14_600_000, "14,6{n}mi", "14.6M"),
        (1_200_000_000, "1,2{n}bi", "1.2B"),
        (10**15, "1.000{n}tri", "1,000T"),
        (-1_280_000, "-1,28{n}mi", "-1.28M"),
        (Decimal("0.4"), "0", "0"),
    ],
)
def test_a_compact_count_has_three_digits_and_is_promoted_at_a_thousand(
    value: Number, portuguese: str, english: str
) -> None:
    assert (PT.compact(value), EN.compact(value)) == (spaced(portuguese), english)


@pytest.mark.parametrize(
    ("amount", "currency", "portuguese", "english"),
    [
        ("1570.02", "BRL", "R${n}1.570,02", "R$1,570.02"),
        ("-12.30", "BRL", "-R${n}12,30", "-R$12.30"),
        ("12.3", "USD", "US${n}12,30", "US$12.30"),
        ("0", "BRL", "R${n}0,00", "R$0.00"),
        ("-0", "BRL", "R${n}0,00", "R$0.00"),
        ("0.0001", "BRL", "<{n}R${n}0,01", "<{n}R$0.01"),
        ("0.0099", "BRL", "<{n}R${n}0,01", "<{n}R$0.01"),
        ("0.01", "BRL", "R${n}0,01", "R$0.01"),
        ("-0.0001", "BRL", ">{n}-R${n}0,01", ">{n}-R$0.01"),
        # Half up, where Python and Babel would round half to even.
        ("2.665", "BRL", "R${n}2,67", "R$2.67"),
        ("2.675", "BRL", "R${n}2,68", "R$2.68"),
        ("-2.665", "BRL", "-R${n}2,67", "-R$2.67"),
        ("1234567.89", "BRL", "R${n}1.234.567,89", "R$1,234,567.89"),
        ("9999999.99", "BRL", "R${n}9.999.999,99", "R$9,999,999.99"),
        ("12300000", "BRL", "R${n}12,3{n}mi", "R$12.3M"),
        ("-12300000", "USD", "-US${n}12,3{n}mi", "-US$12.3M"),
    ],
)
def test_money_has_its_sign_first_cents_always_and_no_breaking_space(
    amount: str, currency: str, portuguese: str, english: str
) -> None:
    found = PT.money(Decimal(amount), currency), EN.money(Decimal(amount), currency)
    assert found == (spaced(portuguese), spaced(english))


def test_money_in_full_stays_in_full_and_never_becomes_nothing() -> None:
    assert PT.money_full(Decimal("12300000.5"), "BRL") == spaced("R${n}12.300.000,50")
    assert PT.money_full(Decimal("0.001"), "BRL") == spaced("<{n}R${n}0,01")


@pytest.mark.parametrize(
    ("amount", "lower_bound", "portuguese", "english"),
    [
        ("1570.02", False, "R${n}1.570,02", "R$1,570.02"),
        ("1570.02", True, "≥{n}R${n}1.570,02", "≥{n}R$1,570.02"),
        ("0", False, "R${n}0,00", "R$0.00"),
        ("0", True, "—", "—"),
        (None, True, "—", "—"),
        (None, False, "—", "—"),
        ("0.001", True, ">{n}R${n}0,00", ">{n}R$0.00"),
    ],
)
def test_an_unknown_cost_is_never_a_zero(amount: str | None, lower_bound: bool, portuguese: str, english: str) -> None:
    value = None if amount is None else Decimal(amount)
    found = (PT.cost(value, "BRL", lower_bound=lower_bound), EN.cost(value, "BRL", lower_bound=lower_bound))
    assert found == (spaced(portuguese), spaced(english))


@pytest.mark.parametrize(
    ("amount", "currency", "portuguese", "english"),
    [
        ("0.035", "BRL", "R${n}0,0350", "R$0.0350"),
        ("0.0068", "USD", "US${n}0,0068", "US$0.0068"),
        ("0.00012345", "BRL", "R${n}0,00012345", "R$0.00012345"),
        ("1", "BRL", "R${n}1,0000", "R$1.0000"),
    ],
)
def test_a_price_of_a_message_has_four_decimals_or_those_of_its_source(
    amount: str, currency: str, portuguese: str, english: str
) -> None:
    found = PT.message_price(Decimal(amount), currency), EN.message_price(Decimal(amount), currency)
    assert found == (spaced(portuguese), english)


def test_a_price_of_a_million_and_a_rate_read_as_in_the_provider_tables() -> None:
    assert PT.million_price(Decimal("2.5"), "USD") == spaced("US${n}2,50 por 1{n}mi")
    assert EN.million_price(Decimal("2.5"), "USD") == "US$2.50 per 1M"
    assert EN.million_price(Decimal("0.075"), "USD") == "US$0.075 per 1M"
    assert (PT.rate(Decimal("5.01075")), EN.rate(Decimal(5))) == ("5,0108", "5.0000")


@pytest.mark.parametrize(
    ("value", "portuguese", "english"),
    [
        ("86.35", "86,4%", "86.4%"),
        ("0", "0,0%", "0.0%"),
        ("0.05", "<{n}0,1%", "<{n}0.1%"),
        ("104.7", "104,7%", "104.7%"),
        ("999", "999,0%", "999.0%"),
        ("999.1", ">{n}999%", ">{n}999%"),
        ("-3.04", "-3,0%", "-3.0%"),
    ],
)
def test_a_percentage_has_one_decimal_and_ends(value: str, portuguese: str, english: str) -> None:
    assert (PT.percent(Decimal(value)), EN.percent(Decimal(value))) == (spaced(portuguese), spaced(english))
    assert PT.percentage_points(Decimal("1.25")) == spaced("1,3{n}p.p.")


@pytest.mark.parametrize(
    ("milliseconds", "portuguese", "english"),
    [
        (None, "—", "—"),
        (0, "0{n}s", "0{n}s"),
        (20, "<{n}0,1{n}s", "<{n}0.1{n}s"),
        (800, "0,8{n}s", "0.8{n}s"),
        (850, "0,9{n}s", "0.9{n}s"),
        (9_949, "9,9{n}s", "9.9{n}s"),
        (9_950, "10{n}s", "10{n}s"),
        (42_000, "42{n}s", "42{n}s"),
        (59_499, "59{n}s", "59{n}s"),
        (59_500, "1{n}min{n}00{n}s", "1{n}min{n}00{n}s"),
        (102_000, "1{n}min{n}42{n}s", "1{n}min{n}42{n}s"),
        (3_599_499, "59{n}min{n}59{n}s", "59{n}min{n}59{n}s"),
        (3_599_500, "1{n}h{n}00{n}min", "1{n}h{n}00{n}min"),
        (3_900_000, "1{n}h{n}05{n}min", "1{n}h{n}05{n}min"),
        (Fraction(2_500, 3), "0,8{n}s", "0.8{n}s"),
    ],
)
def test_a_duration_is_read_in_the_units_people_use(milliseconds: Number | None, portuguese: str, english: str) -> None:
    assert (PT.duration(milliseconds), EN.duration(milliseconds)) == (spaced(portuguese), spaced(english))


def test_dates_are_never_mistaken_for_the_other_order_and_clocks_have_24_hours() -> None:
    day = date(2026, 11, 20)
    assert (PT.moment(FRIDAY), EN.moment(FRIDAY)) == ("20/11/2026 14:32", "20 Nov 2026 14:32")
    assert (PT.day(day), EN.day(day)) == ("20/11", "20 Nov")
    assert (PT.day_named(day), EN.day_named(day)) == ("sex., 20/11", "Fri, 20 Nov")
    assert (PT.month(day), EN.month(day)) == ("novembro de 2026", "November 2026")
    assert EN.day_full(date(2026, 9, 1)) == "1 Sep 2026"


@pytest.mark.parametrize(
    ("start", "end", "portuguese", "english"),
    [
        (date(2026, 11, 16), date(2026, 11, 23), "16–22/11", "16–22 Nov"),
        (date(2026, 11, 2), date(2026, 11, 9), "02–08/11", "2–8 Nov"),
        (date(2026, 11, 30), date(2026, 12, 7), "30/11–06/12", "30 Nov–6 Dec"),
        (date(2026, 11, 20), date(2026, 11, 21), "20/11", "20 Nov"),
    ],
)
def test_a_range_of_days_names_its_last_day(start: date, end: date, portuguese: str, english: str) -> None:
    assert (PT.day_range(start, end), EN.day_range(start, end)) == (portuguese, english)


@pytest.mark.parametrize(
    ("timezone", "clock", "offset"),
    [
        ("America/Sao_Paulo", "14:32", "UTC−3"),
        ("Asia/Kolkata", "23:02", "UTC+5:30"),
        ("Pacific/Apia", "06:32", "UTC+13"),
        ("UTC", "17:32", "UTC+0"),
    ],
)
def test_the_clock_is_the_company_zone_s(timezone: str, clock: str, offset: str) -> None:
    show = Format("pt-BR", timezone)
    assert (show.clock(FRIDAY), show.offset(FRIDAY)) == (clock, offset)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0", "R${n}0"), ("40", "R${n}40"), ("0.5", "R${n}0,50"), ("0.005", "R${n}0,005"), ("2500", "R${n}2,5{n}mil")],
)
def test_a_tick_is_short_and_never_rounded_to_another_one(amount: str, expected: str) -> None:
    assert PT.money_axis(Decimal(amount), "BRL") == spaced(expected)


@given(st.fractions(max_denominator=10**6), st.integers(min_value=0, max_value=6))
def test_rounding_is_half_up_for_every_fraction(value: Fraction, decimals: int) -> None:
    found = Fraction(rounded(value, decimals))
    half = Fraction(1, 2 * 10**decimals)
    assert abs(found - value) <= half
    if abs(found - value) == half:
        assert abs(found) > abs(value)


@given(st.integers(min_value=0, max_value=10**16))
def test_a_compact_count_never_shows_more_than_it_knows_nor_a_thousand_of_a_unit(value: int) -> None:
    digits, _, unit = EN.compact(value).rpartition("T")
    if unit or not digits:
        text = EN.compact(value).rstrip("KMBT")
        assert len(text.replace(".", "")) <= 3
        assert Decimal(text) < 1_000
