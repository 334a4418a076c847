"""Which price holds: the most specific key first, then the newest row that has begun."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from secretaria.core.price import (
    FREE_PRICING_TYPES,
    USES_REMEMBERED_MAX,
    Channel,
    Dimensions,
    Direction,
    ExchangeRate,
    Metric,
    Price,
    PriceBook,
    channel_of,
    default_whatsapp_prices,
    normal_category,
)

DAY = date(2026, 11, 20)
ANY = Price(
    1, "card", Metric.TOKENS, None, None, None, None, None, None, Decimal(1), 1000, "BRL", date(2026, 1, 1), "test"
)  # fmt: skip
FLAT_MESSAGE = replace(ANY, price_id=2, metric=Metric.MESSAGES, channel=Channel.USAGE, per=1)
PLAIN = Dimensions(Channel.USAGE, Direction.INBOUND)
CARD_OUT = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND)


def book(*prices: Price) -> PriceBook:
    return PriceBook(prices, [], "BRL")


def whatsapp_card() -> list[Price]:
    return [Price(100 + index, *row) for index, row in enumerate(default_whatsapp_prices())]


def test_a_price_needs_every_condition_it_sets() -> None:
    price = replace(ANY, channel=Channel.USAGE, direction=Direction.INBOUND, model="gpt-4o")
    assert book(price).price_for(Metric.TOKENS, replace(PLAIN, model="gpt-4o", market="BR"), DAY) == price
    assert book(price).price_for(Metric.MESSAGES, replace(PLAIN, model="gpt-4o"), DAY) is None
    for other in (PLAIN, replace(PLAIN, model="gpt-4"), Dimensions(Channel.USAGE, Direction.OUTBOUND, model="gpt-4o")):
        assert book(price).price_for(Metric.TOKENS, other, DAY) is None


def test_the_first_condition_that_only_one_price_sets_decides() -> None:
    use = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND, "UTILITY", market="BR", model="m", pricing_type="regular")
    conditions = [
        {"channel": use.channel},
        {"category": use.category},
        {"direction": use.direction},
        {"market": use.market},
        {"model": use.model},
        {"pricing_type": use.pricing_type},
    ]
    for index, condition in enumerate(conditions):
        all_less_telling = {key: value for later in conditions[index + 1 :] for key, value in later.items()}
        one, many = replace(ANY, price_id=1, **condition), replace(ANY, price_id=2, **all_less_telling)
        assert book(many, one).price_for(Metric.TOKENS, use, DAY) == one
        both = replace(ANY, price_id=3, **condition, **all_less_telling)
        assert book(one, both, many).price_for(Metric.TOKENS, use, DAY) == both


def test_the_newest_price_that_has_begun_holds_and_the_first_covers_all_earlier_days() -> None:
    old = replace(ANY, price_id=1, effective_from=date(2026, 3, 1))
    new = replace(ANY, price_id=2, effective_from=date(2026, 6, 1), amount=Decimal(2))
    holds = book(new, old)
    for day, expected in [
        (date(2020, 1, 1), old), (date(2026, 3, 1), old), (date(2026, 5, 31), old),
        (date(2026, 6, 1), new), (date(2099, 1, 1), new),
    ]:  # fmt: skip
        assert holds.price_for(Metric.TOKENS, PLAIN, day) == expected


def test_a_specific_key_that_begins_later_still_covers_earlier_days() -> None:
    general = replace(ANY, effective_from=date(2020, 1, 1))
    specific = replace(ANY, price_id=2, model="gpt-4o", effective_from=date(2026, 6, 1))
    assert book(general, specific).price_for(Metric.TOKENS, replace(PLAIN, model="gpt-4o"), DAY) == specific
    assert (
        book(general, specific).price_for(Metric.TOKENS, replace(PLAIN, model="gpt-4o"), date(2025, 1, 1)) == specific
    )


def test_of_two_rows_of_one_day_the_later_written_holds() -> None:
    first, second = replace(ANY, price_id=7, card="a"), replace(ANY, price_id=8, card="b", amount=Decimal(2))
    for day in (DAY, date(2020, 1, 1)):
        assert book(second, first).price_for(Metric.TOKENS, PLAIN, day) == second


def test_no_price_is_no_price() -> None:
    assert book().price_for(Metric.MESSAGES, PLAIN, DAY) is None
    assert book(ANY).price_for(Metric.MESSAGES, PLAIN, DAY) is None


@pytest.mark.parametrize(
    ("category", "amount"),
    [("UTILITY", "0.021"), ("MARKETING", "0.095"), ("AUTHENTICATION", "0.014"), ("SERVICE", "0.021")],
)
def test_the_default_card_prices_messages_by_category(category: str, amount: str) -> None:
    prices = book(FLAT_MESSAGE, *whatsapp_card())
    price = prices.price_for(Metric.MESSAGES, replace(CARD_OUT, category=category, account_id=3), DAY)
    assert price is not None
    assert (price.amount, price.per, price.currency) == (Decimal(amount), 1, "USD")
    inbound = prices.price_for(Metric.MESSAGES, Dimensions(Channel.WHATSAPP, Direction.INBOUND, category), DAY)
    assert inbound is not None
    assert inbound.amount == 0


@pytest.mark.parametrize("category", [None, "GENERAL_PURPOSE_AI", "utility"])
def test_an_unknown_category_on_whatsapp_is_not_priced(category: str | None) -> None:
    use = replace(CARD_OUT, category=category)
    assert book(FLAT_MESSAGE, *whatsapp_card()).price_for(Metric.MESSAGES, use, DAY) is None


def test_a_flat_message_price_never_reaches_whatsapp_but_the_token_price_does() -> None:
    flat_for_all = replace(FLAT_MESSAGE, channel=None)
    prices = book(FLAT_MESSAGE, flat_for_all, ANY)
    use = replace(CARD_OUT, category="UTILITY")
    assert prices.price_for(Metric.MESSAGES, use, DAY) is None
    assert prices.price_for(Metric.MESSAGES, PLAIN, DAY) == FLAT_MESSAGE
    assert prices.price_for(Metric.TOKENS, use, DAY) == ANY


@pytest.mark.parametrize("pricing_type", [*sorted(FREE_PRICING_TYPES), "FREE_ENTRY_POINT"])
@pytest.mark.parametrize("category", ["UTILITY", "REFERRAL_CONVERSION", None])
def test_a_message_that_meta_calls_free_costs_nothing_on_any_card(pricing_type: str, category: str | None) -> None:
    use = replace(CARD_OUT, category=category, pricing_type=pricing_type)
    price = book(ANY, *whatsapp_card()).price_for(Metric.MESSAGES, use, DAY)
    assert price is not None
    assert (price.amount, price.currency) == (0, "BRL")
    assert book(ANY).price_for(Metric.TOKENS, use, DAY) == ANY
    assert book(ANY).price_for(Metric.MESSAGES, replace(use, channel=Channel.USAGE), DAY) is None


def test_a_regular_message_is_priced_whatever_its_type_is_called() -> None:
    use = replace(CARD_OUT, category="UTILITY", pricing_type="regular")
    price = book(*whatsapp_card()).price_for(Metric.MESSAGES, use, DAY)
    assert price is not None
    assert price.amount == Decimal("0.021")


def test_exchange_rates_are_dated_like_prices() -> None:
    old = ExchangeRate(1, "USD", "BRL", Decimal("5.00"), date(2026, 1, 1), "setting")
    new = replace(old, rate_id=2, rate=Decimal("5.2359"), effective_from=DAY)
    prices = PriceBook([], [new, old], "BRL")
    assert prices.rate_for("USD", "BRL", date(2019, 1, 1)) == old
    assert prices.rate_for("USD", "BRL", date(2026, 11, 19)) == old
    assert prices.rate_for("USD", "BRL", DAY) == new
    assert prices.rate_for("BRL", "USD", DAY) is None
    same = prices.rate_for("BRL", "BRL", DAY)
    assert same is not None
    assert same.rate == 1


def test_the_book_forgets_kinds_of_use_rather_than_grows() -> None:
    prices = book(ANY)
    for number in range(USES_REMEMBERED_MAX + 10):
        assert prices.price_for(Metric.TOKENS, replace(PLAIN, model=f"model-{number}"), DAY) == ANY
    assert len(prices._remembered) <= USES_REMEMBERED_MAX


@pytest.mark.parametrize(
    "change",
    [{"amount": Decimal("NaN")}, {"amount": Decimal("Infinity")}, {"amount": Decimal("-0.01")}, {"per": 0}, {"per": 7}],
)
def test_a_price_that_cannot_be_is_refused(change: dict[str, Decimal | int]) -> None:
    with pytest.raises(ValueError, match="price"):
        replace(ANY, **change)


@pytest.mark.parametrize("rate", ["0", "-5", "NaN", "Infinity"])
def test_an_exchange_rate_that_cannot_be_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        ExchangeRate(1, "USD", "BRL", Decimal(rate), DAY, "test")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("utility", "UTILITY"), ("UTILITY", "UTILITY"), ("marketing", "MARKETING"), ("marketing_lite", "MARKETING"),
        ("MARKETING_LITE", "MARKETING"), ("authentication", "AUTHENTICATION"), ("service", "SERVICE"),
        ("authentication-international", "AUTHENTICATION"), ("authentication_international", "AUTHENTICATION"),
        ("group_marketing", "MARKETING"), ("group_utility", "UTILITY"), ("group_service", "SERVICE"),
        ("referral_conversion", None), ("general_purpose_ai", None), ("AI_BOT", None), ("", None), ("group_", None),
        ("group_group_utility", None), (" utility", None), ("marketing_lite_dynamic", None),
    ],
)  # fmt: skip
def test_it_knows_every_spelling_of_a_category(text: str, category: str | None) -> None:
    assert normal_category(text) == category


def test_an_account_or_any_category_makes_it_whatsapp() -> None:
    assert channel_of(account_id=None, category=None) == Channel.USAGE
    assert channel_of(account_id=3, category=None) == Channel.WHATSAPP
    assert channel_of(account_id=None, category="unheard_of") == Channel.WHATSAPP
