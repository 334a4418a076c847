"""Rating: the worked examples, what is not priced, and any usage against an oracle that shares no code."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretaria.core.money import exact_text
from secretaria.core.period import Period
from secretaria.core.price import Channel, Direction, ExchangeRate, Metric, Price, PriceBook, default_whatsapp_prices
from secretaria.core.rating import Band, Dimensions, NotPriced, UsageLine, band_cost, rate

DAY = date(2026, 11, 20)
OUT = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND)
PLAIN = Dimensions(Channel.USAGE, Direction.OUTBOUND)
DOLLAR = ExchangeRate(1, "USD", "BRL", Decimal("5.00"), date(2026, 1, 1), "setting")
CARD = [Price(100 + index, *row) for index, row in enumerate(default_whatsapp_prices())]
FLAT_MESSAGE = Price(
    1, "flat", Metric.MESSAGES, Channel.USAGE, None, None, None, None, None,
    Decimal("0.05"), 1, "BRL", date(2026, 1, 1), "setting",
)  # fmt: skip
FLAT_TOKENS = replace(FLAT_MESSAGE, price_id=2, metric=Metric.TOKENS, channel=None, amount=Decimal("0.02"), per=1000)


def messages(category: str | None, count: int, day: date = DAY) -> UsageLine:
    return UsageLine(day, replace(OUT, category=category), count, 0, 0)


@pytest.mark.parametrize(
    ("rounding", "parts", "total"),
    [
        ("exact", {"AUTHENTICATION": "0.70", "MARKETING": "23.75", "UTILITY": "10.50"}, "34.95"),
        ("cents_down", {"AUTHENTICATION": "0.70", "MARKETING": "23.50", "UTILITY": "10.00"}, "34.20"),
    ],
)
def test_the_worked_example_of_the_product(rounding: str, parts: dict[str, str], total: str) -> None:
    lines = [messages("UTILITY", 100), messages("MARKETING", 50), messages("AUTHENTICATION", 10)]
    rating = rate(lines, PriceBook(CARD, [DOLLAR], "BRL", rounding))
    assert exact_text(rating.total) == total
    assert {name: exact_text(share.amount) for name, share in rating.by_category().items()} == parts
    assert (rating.currency, rating.lower_bound, rating.not_priced) == ("BRL", False, NotPriced(0, 0))


def test_messages_and_tokens_have_a_flat_price_each() -> None:
    rating = rate([UsageLine(DAY, PLAIN, 3, 1_200, 801)], PriceBook([FLAT_MESSAGE, FLAT_TOKENS], [], "BRL"))
    assert [(charge.metric, charge.quantity, charge.amount) for charge in rating.charges] == [
        ("messages", 3, Decimal("0.15")),
        ("tokens", 2_001, Decimal("0.04002")),  # input and output together, not rounded
    ]
    assert exact_text(rating.total) == "0.19002"


def test_a_whatsapp_message_is_priced_once_and_its_tokens_by_the_token_price() -> None:
    line = UsageLine(DAY, replace(OUT, category="UTILITY", account_id=3), 10, 1_000, 0)
    rating = rate([line], PriceBook([FLAT_MESSAGE, FLAT_TOKENS, *CARD], [DOLLAR], "BRL"))
    assert exact_text(rating.total) == "1.07"  # 10 x 0.021 x 5 + 0.02
    assert not rating.lower_bound


def test_cents_down_cuts_the_whatsapp_card_only() -> None:
    cheap = replace(FLAT_MESSAGE, amount=Decimal("0.005"))
    lines = [UsageLine(DAY, PLAIN, 100, 1_000, 0)]
    tokens = replace(FLAT_TOKENS, amount=Decimal("0.002"))
    assert exact_text(rate(lines, PriceBook([cheap, tokens], [], "BRL", "cents_down")).total) == "0.502"


def test_an_unknown_price_is_counted_and_never_zero() -> None:
    lines = [
        messages("UTILITY", 100),
        messages(None, 7),
        messages("GENERAL_PURPOSE_AI", 2),
        UsageLine(DAY, OUT, 0, 5, 6),
    ]
    rating = rate(lines, PriceBook([FLAT_MESSAGE, *CARD], [DOLLAR], "BRL"))
    assert rating.not_priced == NotPriced(messages=9, tokens=11)
    assert rating.lower_bound
    assert exact_text(rating.total) == "10.50"
    assert all(charge.price is None for charge in rating.charges if charge.amount is None)
    assert list(rating.by_category()) == ["GENERAL_PURPOSE_AI", "UTILITY", None]
    assert rating.by_category()[None].not_priced == NotPriced(messages=7, tokens=11)


def test_a_price_in_dollars_without_an_exchange_rate_is_not_priced() -> None:
    rating = rate([messages("UTILITY", 100)], PriceBook(CARD, [], "BRL"))
    assert (rating.total, rating.not_priced.messages) == (0, 100)
    assert rating.charges[0].price is not None
    assert rating.charges[0].rate is None


def test_a_company_in_dollars_needs_no_exchange_rate() -> None:
    assert exact_text(rate([messages("UTILITY", 100)], PriceBook(CARD, [], "USD")).total) == "2.10"


def test_nothing_used_gives_no_charge() -> None:
    quiet = [messages("UTILITY", 0), messages("MARKETING", 5), messages("MARKETING", -5)]
    assert rate(quiet, PriceBook(CARD, [DOLLAR], "BRL")).charges == ()
    assert exact_text(rate([], PriceBook([], [], "BRL")).total) == "0.00"


def test_each_day_has_its_own_price_and_rate() -> None:
    dearer = replace(CARD[1], price_id=200, amount=Decimal("0.03"), effective_from=DAY)
    dollar = replace(DOLLAR, rate_id=2, rate=Decimal(6), effective_from=DAY + timedelta(days=1))
    days = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]
    rating = rate([messages("UTILITY", 10, day) for day in days], PriceBook([*CARD, dearer], [DOLLAR, dollar], "BRL"))
    assert [charge.amount for charge in rating.charges] == [Decimal("1.05"), Decimal("1.5"), Decimal("1.8")]
    assert rating.within(Period(DAY, DAY + timedelta(days=2))).total == Decimal("3.3")
    assert rating.within(Period(DAY, DAY)).total == 0


def test_charges_are_told_apart_by_what_decides_the_price_only() -> None:
    lines = [
        UsageLine(DAY, replace(OUT, category="UTILITY", account_id=number, cost_center=str(number)), 1, 0, 0)
        for number in range(5)
    ]
    charges = rate(lines, PriceBook(CARD, [DOLLAR], "BRL")).charges
    assert [(charge.quantity, charge.dimensions) for charge in charges] == [(5, replace(OUT, category="UTILITY"))]


# The oracle: line by line, price by price, in fractions; no keys, no bisecting, no sums kept.

CONDITIONS = ("channel", "category", "direction", "market", "model", "pricing_type")


def oracle_newest(rows: Sequence[Price] | Sequence[ExchangeRate], day: date) -> Price | ExchangeRate | None:
    """Return the newest row begun, else the first; row numbers grow with time of writing."""
    newest = None
    for row in rows:
        number = getattr(row, "price_id", 0) or getattr(row, "rate_id", 0)
        begun = row.effective_from <= day
        rank = (begun, row.effective_from if begun else date.max - (row.effective_from - date.min), number)
        if newest is None or rank > newest[0]:
            newest = (rank, row)
    return newest[1] if newest else None


def oracle_price(prices: list[Price], metric: str, use: Dimensions, day: date) -> Price | None:
    pool = [price for price in prices if price.metric == metric]
    if metric == "messages" and use.channel == "whatsapp":
        pool = [price for price in pool if price.channel == "whatsapp"]
    for name in CONDITIONS:  # the first condition first: keep those that set it, when some do
        wanted = getattr(use, name)
        pool = [price for price in pool if getattr(price, name) in {None, wanted}]
    for name in CONDITIONS:
        pool = [price for price in pool if getattr(price, name) is not None] or pool
    return oracle_newest(pool, day)


def oracle(
    lines: list[UsageLine], prices: list[Price], rates: list[ExchangeRate], *, cut: bool
) -> tuple[Fraction, int, int]:
    """Return (total, messages not priced, tokens not priced), in BRL."""
    cost, unknown = Fraction(0), {"messages": 0, "tokens": 0}
    for line in lines:
        for metric, quantity in (("messages", line.messages), ("tokens", line.tokens_input + line.tokens_output)):
            price = oracle_price(prices, metric, line.dimensions, line.day)
            rate = oracle_newest([row for row in rates if price and row.base == price.currency], line.day)
            if price is None or (price.currency != "BRL" and rate is None):
                unknown[metric] += quantity
                continue
            unit = Fraction(price.amount) * (1 if price.currency == "BRL" else Fraction(rate.rate))
            if cut and price.channel == "whatsapp":
                unit = Fraction(unit * 100 // 1, 100)
            cost += unit * quantity / price.per
    return cost, unknown["messages"], unknown["tokens"]


def some(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *values])


days = st.dates(date(2026, 1, 1), date(2026, 1, 8))
amounts = st.decimals(0, 100, places=6)
dimensions = st.builds(
    Dimensions,
    st.sampled_from(Channel), st.sampled_from(Direction), some("UTILITY", "MARKETING"), some("BR", "US"),
    some("a", "b"), some(), st.sampled_from([None, 3]), some("x"), some("regular", "other"),
)  # fmt: skip
lines_of_usage = st.lists(
    st.builds(UsageLine, days, dimensions, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 9)),
    max_size=15,
)
price_rows = st.lists(
    st.builds(
        Price, st.just(0), some("a", "b").map(str), st.sampled_from(Metric), st.sampled_from([None, *Channel]),
        some("UTILITY", "MARKETING"), st.sampled_from([None, *Direction]), some("BR", "US"), some("a", "b"),
        some("regular", "other"), amounts, st.sampled_from([1, 1000]), st.sampled_from(["BRL", "USD", "EUR"]), days,
        st.just("test"),
    ),
    max_size=12,
).map(lambda rows: [replace(row, price_id=number) for number, row in enumerate(rows, 1)])  # fmt: skip
rate_rows = st.lists(
    st.builds(
        ExchangeRate, st.just(0), st.sampled_from(["USD", "EUR"]), st.just("BRL"), amounts.filter(bool), days,
        st.just("test"),
    ),
    max_size=4,
).map(lambda rows: [replace(row, rate_id=number) for number, row in enumerate(rows, 1)])  # fmt: skip


@given(lines_of_usage, price_rows, rate_rows, st.booleans())
@settings(deadline=None, max_examples=400)
def test_it_agrees_with_an_oracle_in_fractions(
    lines: list[UsageLine], prices: list[Price], rates: list[ExchangeRate], cut: bool
) -> None:
    rating = rate(lines, PriceBook(prices, rates, "BRL", "cents_down" if cut else "exact"))
    found = Fraction(rating.total), rating.not_priced.messages, rating.not_priced.tokens
    assert found == oracle(lines, prices, rates, cut=cut)
    assert rating.lower_bound == (found[1:] != (0, 0))


@given(lines_of_usage, price_rows, rate_rows, st.randoms())
@settings(deadline=None, max_examples=150)
def test_neither_order_nor_splitting_changes_a_rating(
    lines: list[UsageLine], prices: list[Price], rates: list[ExchangeRate], random: Random
) -> None:
    halves = [replace(line, messages=line.messages // 2, tokens_input=0) for line in lines]
    rests = [replace(line, messages=line.messages - line.messages // 2, tokens_output=0) for line in lines]
    split = [*halves, *rests]
    random.shuffle(split)
    random.shuffle(prices)
    expected = rate(lines, PriceBook(prices, rates, "BRL"))
    assert rate(split, PriceBook(prices[::-1], rates[::-1], "BRL")) == expected
    assert exact_text(rate(split, PriceBook(prices, rates, "BRL")).total) == exact_text(expected.total)


@given(lines_of_usage, price_rows, rate_rows)
@settings(deadline=None, max_examples=150)
def test_categories_and_days_add_up_to_the_whole(
    lines: list[UsageLine], prices: list[Price], rates: list[ExchangeRate]
) -> None:
    rating = rate(lines, PriceBook(prices, rates, "BRL"))
    shares = rating.by_category().values()
    by_day = [
        rating.within(Period(day, day + timedelta(days=1))) for day in Period(date(2026, 1, 1), date(2026, 1, 9)).days()
    ]
    for parts in ([(s.amount, s.not_priced) for s in shares], [(r.total, r.not_priced) for r in by_day]):
        assert sum(Fraction(amount) for amount, _ in parts) == Fraction(rating.total)
        assert sum(unknown.messages for _, unknown in parts) == rating.not_priced.messages
        assert sum(unknown.tokens for _, unknown in parts) == rating.not_priced.tokens
    assert sum(share.messages for share in shares) == sum(line.messages for line in lines)
    assert sum(share.tokens for share in shares) == sum(line.tokens_input + line.tokens_output for line in lines)


FREE_THEN_TIERS = [
    Band(0, 1_000, Decimal(0)),
    Band(1_000, 250_000, Decimal("0.035")),
    Band(250_000, None, Decimal("0.0333")),
]


@pytest.mark.parametrize(
    ("before", "after", "cost"),
    [(0, 1_000, "0"), (999, 1_001, "0.035"), (900, 1_100, "3.5"), (249_999, 250_001, "0.0683"), (7, 7, "0"),
     (1_100, 900, "-3.5")],
)  # fmt: skip
def test_a_day_is_priced_by_the_bands_it_runs_through(before: int, after: int, cost: str) -> None:
    assert band_cost(before, after, FREE_THEN_TIERS) == Decimal(cost)


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=20))
def test_a_month_in_bands_is_the_sum_of_its_days(days: list[int]) -> None:
    steps = [0, *(sum(days[: count + 1]) for count in range(len(days)))]
    by_day = [band_cost(before, after, FREE_THEN_TIERS) for before, after in pairwise(steps)]
    quantity = steps[-1]
    by_unit = min(max(quantity - 1_000, 0), 249_000) * Fraction(35, 1000) + max(quantity - 250_000, 0) * Fraction(
        333, 10_000
    )
    assert sum(map(Fraction, by_day)) == by_unit
