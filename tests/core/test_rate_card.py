"""Cards with bands and free allowances: worked examples, and any month against counting message by message."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretaria.core.band import split, spread
from secretaria.core.money import exact_text
from secretaria.core.period import Period
from secretaria.core.price import (
    Channel,
    Direction,
    ExchangeRate,
    Price,
    UnitPriceRounding,
    default_whatsapp_prices,
)
from secretaria.core.rate_card import CardBook, CardChoice, CardPrice, CardVersion, RateCard
from secretaria.core.rating import Dimensions, Rating, UsageLine, rate

FIRST = date(2026, 11, 1)
OUT = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND)
OWN = [Price(100 + index, *row) for index, row in enumerate(default_whatsapp_prices())]
DOLLAR = ExchangeRate(1, "USD", "BRL", Decimal("5.00"), date(2026, 1, 1), "setting")
EXACT, CENTS_DOWN = UnitPriceRounding.EXACT, UnitPriceRounding.CENTS_DOWN
ALWAYS = CardChoice(None, "brl", EXACT, date.min)


def version(
    prices: dict[tuple[str, str, int], str | None], day: date = FIRST, *, free: int = 0, number: int = 1, **of: str
) -> CardVersion:
    rows = [
        CardPrice(number * 100 + index, market, category, above, None if amount is None else Decimal(amount))
        for index, ((market, category, above), amount) in enumerate(prices.items())
    ]
    card, currency = of.get("card", "brl"), of.get("currency", "BRL")
    return CardVersion(number, card, currency, day, "test", free, tuple(rows))


META = version(
    {
        ("Brazil", "MARKETING", 0): "0.3217",
        ("Brazil", "UTILITY", 0): "0.035",
        ("Brazil", "UTILITY", 1000): "0.030",
        ("Brazil", "UTILITY", 2000): "0.020",
        ("Brazil", "SERVICE", 0): "0.035",
        ("India", "SERVICE", 0): "0.010",
        ("India", "AUTHENTICATION", 0): None,
    },
    free=1000,
)


def book(*choices: CardChoice, versions: tuple[CardVersion, ...] = (META,), dollar: bool = True) -> CardBook:
    names = {row.card: [other for other in versions if other.card == row.card] for row in versions}
    cards = [RateCard(name, rows) for name, rows in names.items()]
    return CardBook(OWN, [DOLLAR] if dollar else [], "BRL", cards=cards, choices=choices or (ALWAYS,))


def line(category: str, count: int, day: int = 1, **of: object) -> UsageLine:
    return UsageLine(FIRST + timedelta(days=day - 1), replace(OUT, category=category, **of), count, 0, 0)


def amounts(rating: Rating) -> list[tuple[int, int, str | None]]:
    return [
        (charge.day.day, charge.quantity, None if charge.amount is None else exact_text(charge.amount))
        for charge in rating.charges
    ]


def test_a_month_climbs_through_the_bands_and_the_next_one_begins_below() -> None:
    lines = [line("UTILITY", 900), line("UTILITY", 1_300, 2), line("UTILITY", 5, 3), line("UTILITY", 10, 31)]
    rating = rate(lines, book())
    assert amounts(rating) == [
        (1, 900, "31.50"), (2, 100, "3.50"), (2, 1000, "30.00"), (2, 200, "4.00"), (3, 5, "0.10"), (1, 10, "0.35"),
    ]  # fmt: skip
    assert [charge.price.above for charge in rating.charges if charge.price] == [0, 0, 1000, 2000, 2000, 0]


def test_the_first_service_messages_of_a_number_are_free_each_month() -> None:
    lines = [
        line("SERVICE", 900, account_id=1),
        line("SERVICE", 900, account_id=2),
        line("SERVICE", 200, 2, account_id=1),
    ]
    assert amounts(rate(lines, book())) == [(1, 900, "0.00"), (1, 900, "0.00"), (2, 100, "0.00"), (2, 100, "3.50")]


def test_what_meta_typed_free_uses_the_allowance_and_is_not_discounted_again() -> None:
    free = line("SERVICE", 600, account_id=1, pricing_type="free_customer_service")
    entry = line("UTILITY", 50, account_id=1, pricing_type="free_entry_point")
    regular = line("SERVICE", 5, account_id=1, pricing_type="regular")
    rating = rate([free, line("SERVICE", 600, account_id=1), entry, regular], book())
    paid = [charge for charge in rating.charges if charge.amount]
    assert [(charge.quantity, charge.dimensions.pricing_type) for charge in paid] == [(200, None), (5, "regular")]
    assert exact_text(rating.total) == "7.175"  # 205 x 0.035
    assert sum(charge.quantity for charge in rating.charges) == 1_255


def test_lines_that_share_the_allowance_split_it_by_largest_remainder() -> None:
    lines = [line("SERVICE", 1_000, market="BR"), line("SERVICE", 500, market="IN")]
    rating = rate(lines, book())
    assert [(row.dimensions.market, row.quantity, exact_text(row.amount or Decimal(0))) for row in rating.charges] == [
        ("BR", 667, "0.00"), ("BR", 333, "11.655"), ("IN", 333, "0.00"), ("IN", 167, "1.67"),
    ]  # fmt: skip


def test_accounts_climb_the_bands_together_and_each_has_its_part() -> None:
    lines = [line("UTILITY", 800, account_id=1), line("UTILITY", 400, account_id=2)]
    rating = rate(lines, book())
    assert amounts(rating.of_account(1)) == [(1, 667, "23.345"), (1, 133, "3.99")]
    assert amounts(rating.of_account(2)) == [(1, 333, "11.655"), (1, 67, "2.01")]


def test_a_market_is_found_by_its_country_and_an_unknown_one_is_not_priced() -> None:
    lines = [line("MARKETING", 1), line("MARKETING", 2, market="BR"), line("MARKETING", 4, market="PT")]
    rating = rate([*lines, line("AUTHENTICATION", 8, market="IN"), line("AUTHENTICATION", 16)], book())
    assert (exact_text(rating.total), rating.not_priced.messages) == ("0.9651", 28)


def test_a_choice_holds_from_its_day_on_and_the_month_counts_from_its_first() -> None:
    lines = [line("UTILITY", 1_500), line("UTILITY", 100, 2)]
    rating = rate(lines, book(CardChoice(None, "brl", EXACT, FIRST + timedelta(days=1))))
    # 1,500 x 0.021 USD x 5.00 by the product's card; then Meta's band past 1,000.
    assert amounts(rating) == [(1, 1_500, "157.50"), (2, 100, "3.00")]


def test_the_newest_choice_that_has_begun_holds_and_of_one_day_the_later_made() -> None:
    second, third = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
    choices = [
        CardChoice(None, card, EXACT, day)
        for card, day in (("brl", FIRST), ("product", second), ("lost", third), ("brl", third))
    ]
    rating = rate([line("UTILITY", 1, day) for day in (1, 2, 3)], book(*choices))
    assert amounts(rating) == [(1, 1, "0.035"), (2, 1, "0.105"), (3, 1, "0.035")]


def test_the_free_allowance_is_that_of_the_version_that_holds_on_the_day() -> None:
    generous = version({("Brazil", "UTILITY", 0): "1"}, FIRST + timedelta(days=1), free=1_200, number=2)
    rating = rate([line("SERVICE", 1_100), line("SERVICE", 200, 2)], book(versions=(META, generous)))
    assert amounts(rating) == [(1, 1_000, "0.00"), (1, 100, "3.50"), (2, 100, "0.00"), (2, 100, "3.50")]


def test_an_account_has_its_own_card_others_the_company_s() -> None:
    usd = version({("Brazil", "UTILITY", 0): "0.0068"}, number=2, card="usd", currency="USD")
    choices = (ALWAYS, CardChoice(2, "usd", EXACT, date.min), CardChoice(3, "product", CENTS_DOWN, date.min))
    lines = [line("UTILITY", 10, account_id=number) for number in (1, 2, 3)]
    rating = rate(lines, book(*choices, versions=(META, usd)))
    assert [exact_text(rating.of_account(number).total) for number in (1, 2, 3)] == ["0.35", "0.34", "1.00"]
    unpriced = rate(lines, book(*choices, versions=(META, usd), dollar=False))
    assert unpriced.not_priced.messages == 20


def test_a_card_that_is_gone_prices_nothing() -> None:
    assert rate([line("UTILITY", 10)], book(CardChoice(None, "lost", EXACT, date.min))).not_priced.messages == 10


def test_the_golden_example_holds_on_the_product_s_card_cut_to_cents() -> None:
    lines = [line("UTILITY", 100), line("MARKETING", 50), line("AUTHENTICATION", 10)]
    rating = rate(lines, book(CardChoice(None, "product", CENTS_DOWN, date.min)))
    assert exact_text(rating.total) == "34.20"


def test_inbound_messages_and_tokens_are_priced_as_without_cards() -> None:
    inbound = UsageLine(FIRST, Dimensions(Channel.WHATSAPP, Direction.INBOUND, "UTILITY", account_id=1), 7, 30, 4)
    rating = rate([inbound, replace(line("UTILITY", 1), tokens_input=5)], book())
    assert (exact_text(rating.total), rating.not_priced.tokens) == ("0.035", 39)


def test_of_two_versions_of_one_day_the_later_written_holds() -> None:
    late = version({("Brazil", "UTILITY", 0): "0.5"}, number=2, free=0)
    assert exact_text(rate([line("UTILITY", 1)], book(versions=(late, META))).total) == "0.50"


@pytest.mark.parametrize(
    ("units", "weights", "shares"),
    [
        (100, [600, 300, 100], [60, 30, 10]),
        (1, [1, 1], [1, 0]),
        (3, [1, 1, 2], [1, 1, 1]),
        (0, [5, 5], [0, 0]),
        (5, [5, -5], [0, 0]),
        (-3, [-2, -1], [-2, -1]),
    ],
)
def test_units_are_shared_by_largest_remainder(units: int, weights: list[int], shares: list[int]) -> None:
    assert split(units, weights) == shares


@given(st.integers(0, 50), st.lists(st.integers(-3, 20), max_size=5), st.sets(st.integers(1, 40), max_size=3))
def test_every_quantity_is_spread_whole_and_every_band_is_filled(
    before: int, quantities: list[int], bounds: set[int]
) -> None:
    lower_bounds = [0, *sorted(bounds)]
    parts = spread(before, quantities, lower_bounds)
    assert [sum(part) for part in parts] == quantities
    if sum(quantities) > 0 and min(quantities) >= 0:
        units = Counter(sum(number > bound for bound in lower_bounds) - 1 for number in range(before + 1, before + sum(quantities) + 1))
        assert [sum(part[index] for part in parts) for index in range(len(lower_bounds))] == [
            units[index] for index in range(len(lower_bounds))
        ]


# The oracle: one message after the other, in fractions, counters instead of bands.

FREE = ("free_customer_service", "free_entry_point")
CATEGORIES = ("UTILITY", "SERVICE")
days = st.integers(1, 45)
messages = st.lists(
    st.tuples(
        days, st.sampled_from(CATEGORIES), st.sampled_from([None, 1, 2]), st.sampled_from([None, "regular", *FREE]),
        st.integers(0, 9), st.sampled_from([None, "BR"]), st.sampled_from([None, "gpt"]),
    ),
    max_size=25,
)  # fmt: skip


def oracle(
    rows: list[tuple[int, str, int | None, str | None, int, str | None, str | None]],
    *,
    free: int,
    bounds: list[int],
    new_from: int,
    chosen_from: int,
) -> dict[int, Fraction]:
    """Return the cost of each day: prices 7, 6, 5, ... by band, twice that from new_from on, 21 before the choice."""
    cost: dict[int, Fraction] = {}
    used: Counter[object] = Counter()
    for day, category, account, typed, count, _, _ in sorted(rows, key=lambda row: (row[0], row[3] not in FREE)):
        month = day > 30
        cost.setdefault(day, Fraction(0))
        for _ in range(count):
            if typed in FREE:
                used[month, "free", account] += category == "SERVICE"
                continue
            is_card = day >= chosen_from
            if category == "SERVICE" and typed is None:
                used[month, "free", account] += 1
                if is_card and used[month, "free", account] <= free:
                    continue
            used[month, category] += 1
            band = sum(used[month, category] > bound for bound in bounds)
            unit = Fraction(7 - band) * (2 if day >= new_from else 1)
            cost[day] += unit if is_card else Fraction(21 * 5, 1000)
    return cost


@given(messages, st.integers(0, 12), st.sets(st.integers(1, 40), max_size=3), days, days, st.randoms())
@settings(deadline=None, max_examples=300)
def test_any_month_costs_what_its_messages_cost_one_by_one(
    rows: list[tuple[int, str, int | None, str | None, int, str | None, str | None]],
    free: int,
    bounds: set[int],
    new_from: int,
    chosen_from: int,
    random: Random,
) -> None:
    bands = [0, *sorted(bounds)]
    old, new = (
        {("Brazil", category, above): str((7 - index) * times) for category in CATEGORIES for index, above in enumerate(bands)}
        for times in (1, 2)
    )
    changed = FIRST + timedelta(days=new_from - 1)
    versions = (version(old, date(2026, 1, 1), free=free), version(new, changed, free=free, number=2))
    choice = CardChoice(None, "brl", EXACT, FIRST + timedelta(days=chosen_from - 1))
    lines = [
        line(category, count, day, account_id=account, pricing_type=typed, market=market, model=model)
        for day, category, account, typed, count, market, model in rows
    ]
    random.shuffle(lines)
    rating = rate(lines, book(choice, versions=versions))
    costs = oracle(rows, free=free, bounds=bands[1:], new_from=new_from, chosen_from=chosen_from)
    for day, cost in costs.items():
        at = FIRST + timedelta(days=day - 1)
        assert Fraction(rating.within(Period(at, at + timedelta(days=1))).total) == cost
    assert sum(charge.quantity for charge in rating.charges) == sum(row[4] for row in rows)
    assert rate(lines[::-1], book(choice, versions=versions[::-1])) == rating


@given(messages, st.permutations(["brl", "other", "product", "brl"]), st.randoms())
@settings(deadline=None, max_examples=150)
def test_accounts_on_any_cards_add_up_in_any_order(
    rows: list[tuple[int, str, int | None, str | None, int, str | None, str | None]], cards: list[str], random: Random
) -> None:
    other = version({("Brazil", "UTILITY", 0): "0.5", ("Brazil", "UTILITY", 7): "0.25"}, number=2, card="other", free=3)
    choices = [CardChoice(account, card, EXACT, FIRST) for account, card in zip((None, 1, 2), cards, strict=False)]
    lines = [
        line(category, count, day, account_id=account, pricing_type=typed, market=market, model=model)
        for day, category, account, typed, count, market, model in rows
    ]
    rating = rate(lines, book(*choices, versions=(META, other)))
    random.shuffle(lines)
    halves = [replace(of, messages=of.messages // 2) for of in lines]
    rests = [replace(of, messages=of.messages - of.messages // 2) for of in lines]
    assert rate([*rests, *halves], book(*reversed(choices), versions=(other, META))) == rating
    quantities: Counter[object] = Counter()
    for charge in rating.charges:
        quantities[charge.day, charge.dimensions] += charge.quantity
    sent: Counter[object] = Counter()
    for of in lines:
        sent[of.day, of.dimensions] += of.messages
    assert +quantities == +sent
    assert sum(Fraction(share.amount) for share in rating.by_category().values()) == Fraction(rating.total)
