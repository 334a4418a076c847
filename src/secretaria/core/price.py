"""Prices and exchange rates as dated rows, and which of them holds for a use on a day (laws 5 and 6)."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from secretaria.core import money
from secretaria.core.event import Direction as Direction  # noqa: PLC0414  prices are told in its words

PRICE_PER_CHOICES: Final = (1, 1000)

# Model names come from outside without end; past this many kinds of use the memory starts again.
USES_REMEMBERED_MAX: Final = 10_000

# Meta's pricing.type says by itself that a message costs nothing, whatever the card.
FREE_PRICING_TYPES: Final = frozenset(("free_customer_service", "free_entry_point", "free_group_customer_service"))

# Meta's spellings differ between webhooks and analytics; anything not here is counted but not priced.
_CATEGORIES: Final = {
    "marketing": "MARKETING",
    "marketing_lite": "MARKETING",
    "utility": "UTILITY",
    "authentication": "AUTHENTICATION",
    "authentication_international": "AUTHENTICATION",
    "service": "SERVICE",
}


class Metric(StrEnum):
    """What is counted and priced; tokens are input and output together."""

    MESSAGES = "messages"
    TOKENS = "tokens"


class Channel(StrEnum):
    """Whose message price applies: the flat one (usage) or the WhatsApp card."""

    USAGE = "usage"
    WHATSAPP = "whatsapp"


class UnitPriceRounding(StrEnum):
    """How a WhatsApp card's unit price is taken: exact, or cut down to whole cents and then multiplied."""

    EXACT = "exact"
    CENTS_DOWN = "cents_down"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What usage is told apart by; account, template and cost centre never decide the price."""

    channel: Channel
    direction: Direction
    category: str | None = None
    market: str | None = None
    model: str | None = None
    account_id: int | None = None
    template_id: int | None = None
    cost_center: str | None = None
    pricing_type: str | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """A dated row: `amount` of `currency` for `per` units of the metric; a condition of None means any.

    A price of a shared rate card (core/rate_card.py) has price_id 0 and its card_price_id; above is the quantity
    of a month past which it holds.
    """

    price_id: int
    card: str
    metric: Metric
    channel: Channel | None
    category: str | None
    direction: Direction | None
    market: str | None
    model: str | None
    pricing_type: str | None
    amount: Decimal
    per: int
    currency: str
    effective_from: date
    source: str
    above: int = 0
    card_price_id: int | None = None

    def __post_init__(self) -> None:
        if not self.amount.is_finite() or self.amount < 0 or self.per not in PRICE_PER_CHOICES:
            raise ValueError("a price is an amount of zero or more, per 1 or per 1000")


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """A dated row: one unit of base costs `rate` units of quote."""

    rate_id: int
    base: str
    quote: str
    rate: Decimal
    effective_from: date
    source: str

    def __post_init__(self) -> None:
        if not self.rate.is_finite() or self.rate <= 0:
            raise ValueError("an exchange rate is above zero")


Conditions = tuple[Channel | None, str | None, Direction | None, str | None, str | None, str | None]


class Dated(Protocol):
    """Whatever holds from a day on."""

    @property
    def effective_from(self) -> date:
        """The first local day it holds on."""
        ...


_Row = TypeVar("_Row", bound=Dated)


def conditions(of: Price | Dimensions) -> Conditions:
    """Return what decides a price, the most telling first."""
    return of.channel, of.category, of.direction, of.market, of.model, of.pricing_type


class History(Generic[_Row]):
    """Rows of one key, sorted by their day: the newest that has begun holds; the first covers all earlier days too."""

    __slots__ = ("_dates", "_rows")

    def __init__(self, rows: Iterable[_Row]) -> None:
        dated = {row.effective_from: row for row in rows}  # sorted; of two rows of one day the later holds
        self._dates = list(dated)
        self._rows: list[_Row] = list(dated.values())

    def changes_within(self, first: date, past: date) -> list[date]:
        """Return the days after `first` and before `past` on which a row begins."""
        return self._dates[bisect_right(self._dates, first) : bisect_left(self._dates, past)]

    def on(self, day: date) -> _Row:
        """Return the row that holds on a day."""
        return self._rows[max(bisect_right(self._dates, day) - 1, 0)]


_NONE: Final = Decimal(0)


class PriceBook:
    """All prices and rates that hold for one company, and the currency its money is told in.

    A price matches when each of its conditions is None or equal. Of those that match, the one that sets a
    condition the others leave open wins, looking at channel first, then category, direction, market, model,
    pricing type; of that key's dated rows the newest with effective_from <= day (the later row on a tie).
    """

    needs_whole_months: ClassVar[bool] = False
    """Whether a day's cost depends on the month's earlier days (core/rate_card.py)."""

    def __init__(
        self,
        prices: Iterable[Price],
        rates: Iterable[ExchangeRate],
        currency: str,
        unit_price_rounding: str = UnitPriceRounding.EXACT,
    ) -> None:
        self.currency = currency
        self.unit_price_rounding = UnitPriceRounding(unit_price_rounding)
        prices, rates = tuple(prices), tuple(rates)
        self._price_rows, self._rate_rows = prices, rates
        self._prices = _price_histories(prices)
        self._rates = _rate_histories(rates)
        self._remembered: dict[tuple[Metric, Conditions], History[Price] | None] = {}
        self._free = _free_price(currency)

    def price_for(self, metric: Metric, dimensions: Dimensions, day: date) -> Price | None:
        """Return the price of a use on a day, or None: not priced."""
        use = (metric, conditions(dimensions))
        try:
            history = self._remembered[use]
        except KeyError:
            history = self._find(metric, use[1])
            if len(self._remembered) >= USES_REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[use] = history
        return history.on(day) if history else None

    def change_days(self, first: date, past: date) -> list[date]:
        """Return the days after `first` and before `past` on which a price or rate begins, sorted: between two of
        them what a unit costs does not change.
        """
        found: set[date] = set()
        for _, prices in (pair for pairs in self._prices.values() for pair in pairs):
            found.update(prices.changes_within(first, past))
        for rates in self._rates.values():
            found.update(rates.changes_within(first, past))
        return sorted(found)

    def is_free(self, pricing_type: str | None) -> bool:
        """Tell whether Meta's pricing.type says by itself that a message costs nothing."""
        return (pricing_type or "").lower() in FREE_PRICING_TYPES

    def rate_for(self, base: str, quote: str, day: date) -> ExchangeRate | None:
        """Return the exchange rate of a day, or None when there is none; a currency to itself is 1."""
        if base == quote:
            return ExchangeRate(0, base, quote, Decimal(1), date.min, "same currency")
        history = self._rates.get((base, quote))
        return history.on(day) if history else None

    def cost_of_one_more_max(self, metric: Metric) -> Decimal:
        """Return a bound of what one unit more, or one less, on any day the book is good for, can add to the cost.

        Of prices of 0.50 and 0.02 USD, with rates of 5.00 and 5.10 in the book, 2.55 BRL.
        """
        return max((self._converted_max(price) for price in self._price_rows if price.metric == metric), default=_NONE)

    def _converted_max(self, price: Price) -> Decimal:
        rates = [row.rate for row in self._rate_rows if (row.base, row.quote) == (price.currency, self.currency)]
        if price.currency == self.currency:
            rates.append(Decimal(1))
        # Without a rate it is not priced: it adds nothing until there is one, which is a change of settings.
        return money.divided(money.product(price.amount, max(rates)), price.per) if rates else _NONE

    def _find(self, metric: Metric, use: Conditions) -> History[Price] | None:
        is_card_message = metric == Metric.MESSAGES and use[0] == Channel.WHATSAPP
        if is_card_message and self.is_free(use[5]):
            return self._free
        for key, history in self._prices[metric]:
            # A message of the WhatsApp channel is never priced by a flat price as well.
            if is_card_message and key[0] is None:
                continue
            if all(wanted is None or wanted == had for wanted, had in zip(key, use, strict=True)):
                return history
        return None


def _price_histories(prices: Iterable[Price]) -> dict[Metric, list[tuple[Conditions, History[Price]]]]:
    rows: dict[tuple[Metric, Conditions], list[Price]] = defaultdict(list)
    for price in sorted(prices, key=lambda price: (price.effective_from, price.price_id)):
        rows[price.metric, conditions(price)].append(price)
    most_specific_first = sorted(rows, key=lambda key: [condition is None for condition in key[1]])
    return {
        metric: [(key, History(rows[of, key])) for of, key in most_specific_first if of == metric] for metric in Metric
    }


def _rate_histories(rates: Iterable[ExchangeRate]) -> dict[tuple[str, str], History[ExchangeRate]]:
    rows: dict[tuple[str, str], list[ExchangeRate]] = defaultdict(list)
    for rate in sorted(rates, key=lambda rate: (rate.effective_from, rate.rate_id)):
        rows[rate.base, rate.quote].append(rate)
    return {pair: History(dated) for pair, dated in rows.items()}


# Not a card anyone chooses: what a message costs that Meta itself calls free.
FREE_CARD: Final = "free"


def _free_price(currency: str) -> History[Price]:
    of = (FREE_CARD, Metric.MESSAGES, Channel.WHATSAPP, None, None, None, None, None)
    return History([Price(0, *of, Decimal(0), 1, currency, date.min, "Meta's pricing.type")])


# What the product's own document states; Meta's per-message pricing began on that day.
DEFAULT_CARD: Final = "whatsapp-default"
DEFAULT_CARD_FROM: Final = date(2025, 7, 1)
_DEFAULT_OUTBOUND: Final = {
    "UTILITY": Decimal("0.021"),
    "MARKETING": Decimal("0.095"),
    "AUTHENTICATION": Decimal("0.014"),
    "SERVICE": Decimal("0.021"),
}

PriceRow = tuple[
    str, Metric, Channel | None, str | None, Direction | None,
    str | None, str | None, str | None, Decimal, int, str, date, str,
]  # fmt: skip


def default_whatsapp_prices() -> tuple[PriceRow, ...]:
    """Return the product's WhatsApp card for Brazil, in USD: Price's fields in order, without price_id."""
    return (
        _default_row(None, Direction.INBOUND, Decimal(0)),
        *(_default_row(category, Direction.OUTBOUND, amount) for category, amount in _DEFAULT_OUTBOUND.items()),
    )


def _default_row(category: str | None, direction: Direction, amount: Decimal) -> PriceRow:
    dated = ("USD", DEFAULT_CARD_FROM, "product document")
    of = (DEFAULT_CARD, Metric.MESSAGES, Channel.WHATSAPP, category, direction)
    return (*of, None, None, None, amount, 1, *dated)


def normal_category(text: str) -> str | None:
    """Return MARKETING, UTILITY, AUTHENTICATION or SERVICE for any of Meta's spellings, else None.

    marketing_lite is MARKETING, authentication-international is AUTHENTICATION, group_x is x.
    """
    return _CATEGORIES.get(text.lower().replace("-", "_").removeprefix("group_"))


def channel_of(*, account_id: int | None, category: str | None) -> Channel:
    """Return the channel of a use: one with an account or a category (known or not) is WhatsApp's."""
    return Channel.USAGE if account_id is None and category is None else Channel.WHATSAPP
