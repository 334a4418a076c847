"""The one function from quantities to money: usage lines and a price book in, a rating out (laws 4, 6)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from secretaria.core import money
from secretaria.core.period import Period
from secretaria.core.price import (
    Channel,
    Direction,
    ExchangeRate,
    Metric,
    Price,
    PriceBook,
    UnitPriceRounding,
)
from secretaria.core.price import Dimensions as Dimensions  # noqa: PLC0414  lines and charges are made of it

_Use = tuple[Channel, Direction, str | None, str | None, str | None, str | None]
_ChargeKey = tuple[date, _Use, Metric]


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one kind of use added up to on one local day of the company."""

    day: date
    dimensions: Dimensions
    messages: int
    tokens_input: int
    tokens_output: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A rated quantity in the company's currency; an amount of None is not priced (no price, or no rate)."""

    day: date
    dimensions: Dimensions
    metric: Metric
    quantity: int
    price: Price | None
    rate: ExchangeRate | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class NotPriced:
    """Quantities that no price was known for."""

    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class CategoryCost:
    """One category's share of a rating; the shares add up to it."""

    messages: int
    tokens: int
    amount: Decimal
    not_priced: NotPriced


@dataclass(frozen=True, slots=True)
class Rating:
    """Charges, one for each (day, what decides the price, metric), sorted, and what they come to."""

    currency: str
    charges: tuple[Charge, ...]
    total: Decimal = field(init=False)
    not_priced: NotPriced = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", _amount(self.charges))
        object.__setattr__(self, "not_priced", _not_priced(self.charges))

    @property
    def lower_bound(self) -> bool:
        """True when something is not priced: the true cost is at least the total."""
        return any(charge.amount is None for charge in self.charges)

    def within(self, period: Period) -> "Rating":
        """Return the part that falls on a period's days."""
        return Rating(self.currency, tuple(charge for charge in self.charges if charge.day in period))

    def by_category(self) -> dict[str | None, CategoryCost]:
        """Return the shares by category, by name, uses without a category (None) last."""
        charges: dict[str | None, list[Charge]] = defaultdict(list)
        for charge in self.charges:
            charges[charge.dimensions.category].append(charge)
        names = sorted(charges, key=lambda name: (name is None, name or ""))
        return {name: _category_cost(charges[name]) for name in names}


def rate(lines: Iterable[UsageLine], book: PriceBook) -> Rating:
    """Rate usage: neither the order of the lines nor how they are split changes the result.

    100 UTILITY messages at 0.021 USD and a rate of 5.00 are 10.50 BRL; cut to whole cents first, 10.00.
    """
    quantities: dict[_ChargeKey, int] = defaultdict(int)
    for line in lines:
        of = line.dimensions
        use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type)
        quantities[line.day, use, Metric.MESSAGES] += line.messages
        quantities[line.day, use, Metric.TOKENS] += line.tokens_input + line.tokens_output
    keys = sorted((key for key, quantity in quantities.items() if quantity), key=_order)
    return Rating(book.currency, tuple(_charge(key, quantities[key], book) for key in keys))


def _order(key: _ChargeKey) -> tuple[date, list[tuple[bool, str]], Metric]:
    day, use, metric = key  # None sorts first
    return day, [(condition is not None, condition or "") for condition in use], metric


def _charge(key: _ChargeKey, quantity: int, book: PriceBook) -> Charge:
    day, (channel, direction, category, market, model, pricing_type), metric = key
    dimensions = Dimensions(channel, direction, category, market, model, pricing_type=pricing_type)
    price = book.price_for(metric, dimensions, day)
    rate = book.rate_for(price.currency, book.currency, day) if price else None
    if price is None or rate is None:
        return Charge(day, dimensions, metric, quantity, price, None, None)
    unit_price = _unit_price(price, rate, book.unit_price_rounding)
    amount = money.divided(money.product(unit_price, quantity), price.per)
    return Charge(day, dimensions, metric, quantity, price, rate, amount)


def _unit_price(price: Price, rate: ExchangeRate, rounding: UnitPriceRounding) -> Decimal:
    """Convert a price to the company's currency: 0.095 USD at 5.00 is 0.475, with cents_down 0.47.

    Only a WhatsApp card is cut: cut to cents, a price of 0.002 per thousand tokens would be nothing.
    """
    converted = money.product(price.amount, rate.rate)
    is_cut = rounding == UnitPriceRounding.CENTS_DOWN and price.channel == Channel.WHATSAPP
    return money.cut(converted) if is_cut else converted


def _amount(charges: Iterable[Charge]) -> Decimal:
    return money.total(charge.amount for charge in charges if charge.amount is not None)


def _quantity(charges: Iterable[Charge], metric: Metric) -> int:
    return sum(charge.quantity for charge in charges if charge.metric == metric)


def _not_priced(charges: Iterable[Charge]) -> NotPriced:
    unknown = [charge for charge in charges if charge.amount is None]
    return NotPriced(_quantity(unknown, Metric.MESSAGES), _quantity(unknown, Metric.TOKENS))


def _category_cost(charges: Sequence[Charge]) -> CategoryCost:
    messages, tokens = _quantity(charges, Metric.MESSAGES), _quantity(charges, Metric.TOKENS)
    return CategoryCost(messages, tokens, _amount(charges), _not_priced(charges))


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of a month's quantity, (above, up_to], and its unit price; up_to None has no end."""

    above: int
    up_to: int | None
    unit_price: Decimal

    def filled(self, quantity: int) -> int:
        """Return how much of a quantity since the month's start lies in the band."""
        return max((quantity if self.up_to is None else min(quantity, self.up_to)) - self.above, 0)


def band_cost(quantity_before: int, quantity_after: int, bands: Iterable[Band]) -> Decimal:
    """Price what a day added to the month's quantity, (before, after], each unit by the band it lies in.

    From 900 to 1,100 with the first 1,000 free and 0.035 above: 100 x 0 + 100 x 0.035 = 3.50. A day whose
    corrections take away more than it used is a negative cost.
    """
    return money.total(
        money.product(band.unit_price, band.filled(quantity_after) - band.filled(quantity_before)) for band in bands
    )
