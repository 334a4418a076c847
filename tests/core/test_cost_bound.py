"""The bound that spares ingest from computing costs is never below what usage really adds."""

from datetime import date
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions, ExchangeRate, Metric, Price, PriceBook, UnitPriceRounding
from secretaria.core.rate_card import CardBook, CardChoice, CardPrice, CardVersion, RateCard
from secretaria.core.rating import UsageLine, rate

days = st.integers(1, 28).map(lambda day: date(2026, 11, day))
amounts = st.sampled_from([Decimal(text) for text in ("0", "0.0035", "0.014", "0.02", "0.095", "0.5", "3")])
categories = st.sampled_from(["UTILITY", "MARKETING", "SERVICE", "AUTHENTICATION"])


@st.composite
def lines(draw: st.DrawFn) -> UsageLine:
    whatsapp = draw(st.booleans())
    of = Dimensions(
        Channel.WHATSAPP if whatsapp else Channel.USAGE,
        draw(st.sampled_from(Direction)),
        draw(categories) if whatsapp else None,
        None,
        draw(st.sampled_from([None, "gpt-4o"])),
        draw(st.sampled_from([1, 2])) if whatsapp else None,
    )
    return UsageLine(draw(days), of, draw(st.integers(0, 40)), draw(st.integers(0, 3000)), draw(st.integers(0, 3000)))


@st.composite
def books(draw: st.DrawFn) -> PriceBook:
    prices = [
        Price(i, "flat", metric, channel, None, None, None, None, None, draw(amounts), per, currency, draw(days), "test")
        for i, (metric, channel, per) in enumerate(
            [(Metric.MESSAGES, Channel.USAGE, 1), (Metric.MESSAGES, Channel.WHATSAPP, 1), (Metric.TOKENS, None, 1000)] * 2
        )
        for currency in [draw(st.sampled_from(["BRL", "USD"]))]
    ]
    rates = [ExchangeRate(i, "USD", "BRL", draw(st.sampled_from([Decimal("4.9"), Decimal("5.4")])), draw(days), "test") for i in range(3)]
    if not draw(st.booleans()):
        return PriceBook(prices, rates, "BRL")
    versions = []
    for number in range(draw(st.integers(1, 2))):
        bands = [
            CardPrice(number * 100 + i, "Brazil", category, above, draw(amounts))
            for category in ("UTILITY", "MARKETING", "SERVICE", "AUTHENTICATION")
            for i, above in enumerate([0, *sorted(draw(st.sets(st.integers(1, 60), max_size=2)))])
        ]
        start = date(2026, 10, 1) if number == 0 else draw(days)
        versions.append(CardVersion(number + 1, "meta", "BRL", start, "test", draw(st.integers(0, 30)), tuple(bands)))
    choices = [CardChoice(None, "meta", UnitPriceRounding.EXACT, draw(st.sampled_from([date(2026, 1, 1), date(2026, 11, 14)])))]
    return CardBook(prices, rates, "BRL", cards=[RateCard("meta", versions)], choices=choices)


@given(books(), st.lists(lines(), max_size=8), st.lists(lines(), min_size=1, max_size=4), st.booleans())
@settings(max_examples=300)
def test_the_bound_is_never_below_what_usage_adds(book: PriceBook, before: list[UsageLine], more: list[UsageLine], out: bool) -> None:
    if out:  # one of the lines there was moves out: a status changed its category
        gone = before[:1]
        more = [*more, *(UsageLine(of.day, of.dimensions, -of.messages, -of.tokens_input, -of.tokens_output) for of in gone)]
    added = rate([*before, *more], book).total - rate(before, book).total
    messages = sum(abs(line.messages) for line in more)
    tokens = sum(abs(line.tokens_input) + abs(line.tokens_output) for line in more)
    bound = messages * book.cost_of_one_more_max(Metric.MESSAGES) + tokens * book.cost_of_one_more_max(Metric.TOKENS)
    assert added <= bound


def test_a_unit_that_moves_two_boundaries_costs_two_prices() -> None:
    """The first version charges past 1, the second past 2: one message more on the 1st moves one on the 20th too."""

    def version(number: int, start: date, above: int) -> CardVersion:
        bands = (CardPrice(1, "Brazil", "UTILITY", 0, Decimal(0)), CardPrice(2, "Brazil", "UTILITY", above, Decimal(3)))
        return CardVersion(number, "meta", "BRL", start, "test", 0, bands)

    card = RateCard("meta", [version(1, date(2026, 10, 1), 1), version(2, date(2026, 11, 14), 2)])
    choices = [CardChoice(None, "meta", UnitPriceRounding.EXACT, date(2026, 1, 1))]
    book = CardBook([], [], "BRL", cards=[card], choices=choices)
    of = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND, "UTILITY", None, None, 1)
    before = [UsageLine(date(2026, 11, 1), of, 1, 0, 0), UsageLine(date(2026, 11, 20), of, 5, 0, 0)]
    added = rate([*before, UsageLine(date(2026, 11, 1), of, 1, 0, 0)], book).total - rate(before, book).total
    assert added == 6
    assert added <= book.cost_of_one_more_max(Metric.MESSAGES)
