"""Parts of charges: whatever the lines are told apart by, they add up to what was rated, to the last digit."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.charge_part import charge_parts
from secretaria.core.price import (
    Channel,
    Dimensions,
    Direction,
    ExchangeRate,
    Metric,
    Price,
    PriceBook,
    UnitPriceRounding,
    default_whatsapp_prices,
)
from secretaria.core.rate_card import CardBook, CardChoice, CardPrice, CardVersion, RateCard
from secretaria.core.rating import UsageLine, rate

FIRST = date(2026, 11, 1)
RATES = [ExchangeRate(1, "USD", "BRL", Decimal("5.0108"), FIRST, "PTAX 2026-10-30")]
PRICES = [Price(100 + index, *row) for index, row in enumerate(default_whatsapp_prices())]
TOKENS = Price(
    1, "flat", Metric.TOKENS, None, None, None, None, None, None, Decimal("0.0207"), 1000, "BRL", FIRST, "setting"
)
CARD = RateCard(
    "test",
    [
        CardVersion(1, "test", "BRL", FIRST, "test", 7, tuple(
            CardPrice(number, "Brazil", category, above, amount)
            for number, (category, above, amount) in enumerate([
                ("UTILITY", 0, Decimal("1.03")), ("UTILITY", 10, Decimal("0.51")), ("SERVICE", 0, Decimal("2.00")),
            ])
        )),
    ],
)  # fmt: skip
CHOICES = [CardChoice(None, "test", UnitPriceRounding.EXACT, FIRST)]
FLAT_BOOK = PriceBook([*PRICES, TOKENS], RATES, "BRL")
CARD_BOOK = CardBook([*PRICES, TOKENS], RATES, "BRL", cards=[CARD], choices=CHOICES)


@st.composite
def _lines(draw: st.DrawFn) -> UsageLine:
    whatsapp = draw(st.booleans())
    of = Dimensions(
        Channel.WHATSAPP if whatsapp else Channel.USAGE,
        draw(st.sampled_from(Direction)),
        draw(st.sampled_from(["UTILITY", "SERVICE", "MARKETING", "OTHER"])) if whatsapp else None,
        None,
        draw(st.sampled_from([None, "gpt-4o"])),
        draw(st.sampled_from([None, 1, 2])),
        None,
        draw(st.sampled_from([None, "vendas"])),
    )
    quantities = draw(st.tuples(*(st.integers(0, 40) for _ in range(3))))
    return UsageLine(FIRST + timedelta(days=draw(st.integers(0, 3))), of, *quantities)


@pytest.mark.parametrize(("book", "by_account"), [(FLAT_BOOK, False), (CARD_BOOK, True)])
@given(lines=st.lists(_lines(), max_size=30))
def test_parts_add_up_to_each_charge_and_to_each_line(
    book: PriceBook, by_account: bool, lines: list[UsageLine]
) -> None:
    rating = rate(lines, book)
    parts = charge_parts(lines, rating.charges, by_account=by_account)
    for charge in rating.charges:
        own = [part for of in parts for part in of if part.charge is charge]
        assert sum(part.quantity for part in own) == charge.quantity
        if charge.amount is None:
            assert all(part.amount is None for part in own)
        else:
            assert sum(part.amount or 0 for part in own) == charge.amount
    for line, of in zip(lines, parts, strict=True):
        by_metric = {metric: sum(part.quantity for part in of if part.charge.metric == metric) for metric in Metric}
        assert by_metric == {Metric.MESSAGES: line.messages, Metric.TOKENS: line.tokens_input + line.tokens_output}


@pytest.mark.parametrize("key", [lambda line: line.dimensions.account_id, lambda line: line.dimensions.category])
@given(lines=st.lists(_lines(), max_size=30))
def test_without_cards_a_part_costs_what_it_would_alone(
    key: Callable[[UsageLine], object], lines: list[UsageLine]
) -> None:
    parts = charge_parts(lines, rate(lines, FLAT_BOOK).charges, by_account=False)
    for value in {key(line) for line in lines}:
        alone = rate([line for line in lines if key(line) == value], FLAT_BOOK).total
        own = [of for line, of in zip(lines, parts, strict=True) if key(line) == value]
        assert sum((part.amount or Decimal(0) for of in own for part in of), Decimal(0)) == alone


def test_the_bands_of_a_day_are_shared_by_largest_remainder() -> None:
    of = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND, "UTILITY", None, None, 1)
    lines = [
        UsageLine(FIRST, Dimensions(*_with_center(of, center)), count, 0, 0)
        for center, count in (("vendas", 15), ("suporte", 5))
    ]
    parts = charge_parts(lines, rate(lines, CARD_BOOK).charges, by_account=True)
    assert [[(part.quantity, part.amount) for part in own] for own in parts] == [
        [(8, Decimal("8.24")), (7, Decimal("3.57"))],  # of 10 at 1.03: 7.5 and 2.5, the first takes the last one
        [(2, Decimal("2.06")), (3, Decimal("1.53"))],
    ]


def _with_center(of: Dimensions, center: str) -> tuple[object, ...]:
    return of.channel, of.direction, of.category, of.market, of.model, of.account_id, of.template_id, center
