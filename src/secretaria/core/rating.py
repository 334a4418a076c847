"""The one function from quantities to money: usage lines and a price book in, a rating out (laws 4, 6)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from secretaria.core import money
from secretaria.core.band import Band as Band  # noqa: PLC0414
from secretaria.core.band import band_cost as band_cost  # noqa: PLC0414
from secretaria.core.band import filled, split, spread
from secretaria.core.period import Period, month_of
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
from secretaria.core.rate_card import FREE_ALLOWANCE_CATEGORY, PRODUCT_CARD, CardBook, allowance_price, market_of

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

    def of_account(self, account_id: int) -> "Rating":
        """Return an account's messages; only books of shared cards tell charges of accounts apart."""
        return Rating(self.currency, tuple(row for row in self.charges if row.dimensions.account_id == account_id))

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
    A book that needs_whole_months wants each day's month from its first day on, and tells accounts apart.
    """
    if isinstance(book, CardBook):
        return _rate_by_cards(lines, book)
    return Rating(book.currency, _flat_charges(lines, book))


def rate_period(lines: Iterable[UsageLine], book: PriceBook, period: Period) -> Rating:
    """Rate what falls on a period's days, given also its month's earlier days where the book needs them."""
    if not book.needs_whole_months:
        return rate([line for line in lines if line.day in period], book)
    whole = Period(month_of(period.start).start, period.end)
    return rate([line for line in lines if line.day in whole], book).within(period)


def _flat_charges(lines: Iterable[UsageLine], book: PriceBook) -> tuple[Charge, ...]:
    quantities: dict[_ChargeKey, int] = defaultdict(int)
    for line in lines:
        of = line.dimensions
        use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type)
        quantities[line.day, use, Metric.MESSAGES] += line.messages
        quantities[line.day, use, Metric.TOKENS] += line.tokens_input + line.tokens_output
    keys = sorted((key for key, quantity in quantities.items() if quantity), key=_order)
    return tuple(_charge(key, quantities[key], book) for key in keys)


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
    amount = _price_of(quantity, price, rate, book.unit_price_rounding)
    return Charge(day, dimensions, metric, quantity, price, rate, amount)


def _price_of(quantity: int, price: Price, rate: ExchangeRate, rounding: UnitPriceRounding) -> Decimal:
    return money.divided(money.product(_unit_price(price, rate, rounding), quantity), price.per)


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


def _rate_by_cards(lines: Iterable[UsageLine], book: CardBook) -> Rating:
    """Rate outbound WhatsApp messages by the cards chosen for them, in the order of their days, the rest as ever."""
    others: list[UsageLine] = []
    days: dict[date, dict[Dimensions, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        of = line.dimensions
        if of.channel != Channel.WHATSAPP or of.direction != Direction.OUTBOUND:
            others.append(line)
            continue
        use = Dimensions(
            of.channel, of.direction, of.category, of.market, of.model, of.account_id, pricing_type=of.pricing_type
        )
        days[line.day][use] += line.messages
        others.append(UsageLine(line.day, of, 0, line.tokens_input, line.tokens_output))
    charges = [*_flat_charges(others, book), *_card_charges(days, book)]
    return Rating(book.currency, tuple(sorted(charges, key=_charge_order)))


def _charge_order(charge: Charge) -> tuple[object, ...]:
    of, price = charge.dimensions, charge.price
    use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type)
    is_charged = price is None or price.amount > 0
    return *_order((charge.day, use, charge.metric)), of.account_id or 0, is_charged, price.above if price else 0


@dataclass(slots=True)
class _Month:
    """Running quantities since a month's start: free service messages by number, charged ones by market, category."""

    first: date
    allowance_used: dict[int | None, int] = field(default_factory=lambda: defaultdict(int))
    charged: dict[tuple[str, str | None], int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class _DayBook:
    """A book on one day: what the steps of a day share."""

    book: CardBook
    day: date

    def charge(
        self, of: Dimensions, quantity: int, price: Price | None, *, rounding: str = UnitPriceRounding.EXACT
    ) -> Charge:
        """Charge a quantity at a price, converted; without a price, or a rate to convert it, it is not priced."""
        rate = self.book.rate_for(price.currency, self.book.currency, self.day) if price else None
        if price is None or rate is None:
            return Charge(self.day, of, Metric.MESSAGES, quantity, price, None, None)
        amount = _price_of(quantity, price, rate, UnitPriceRounding(rounding))
        return Charge(self.day, of, Metric.MESSAGES, quantity, price, rate, amount)


def _card_charges(days: Mapping[date, Mapping[Dimensions, int]], book: CardBook) -> Iterator[Charge]:
    month = _Month(date.min)
    for day in sorted(days):
        if month.first != day.replace(day=1):
            month = _Month(day.replace(day=1))
        today = _DayBook(book, day)
        uses = {of: days[day][of] for of in sorted(days[day], key=_use_order) if days[day][of]}
        charged: dict[Dimensions, int] = {}
        for account_id in {of.account_id: None for of in uses}:
            own = {of: quantity for of, quantity in uses.items() if of.account_id == account_id}
            yield from _free_charges(today, own, month, charged)
        scopes: dict[tuple[str, str | None], dict[Dimensions, int]] = defaultdict(dict)
        for of, quantity in charged.items():
            scopes[market_of(of.market) or of.market or "", of.category][of] = quantity
        for scope, lines in scopes.items():
            yield from _tier_charges(today, lines, month.charged[scope])
            month.charged[scope] += sum(lines.values())


def _use_order(of: Dimensions) -> tuple[object, ...]:
    use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type)
    return of.account_id or 0, [(condition is not None, condition or "") for condition in use]


def _free_charges(
    today: _DayBook, uses: Mapping[Dimensions, int], month: _Month, charged: dict[Dimensions, int]
) -> Iterator[Charge]:
    """Charge nothing for what is free of one number's day, and note the rest in `charged`.

    1. What Meta typed free is free, and service messages among it use up the allowance.
    2. Service messages without a type take what is left of it, shared by largest remainder.
    3. All others, and those that Meta typed as charged, are charged.
    """
    book, account_id = today.book, next(iter(uses)).account_id
    card = book.card(book.choice(account_id, today.day).card)
    allowed = 0 if card is None else card.free_service_messages(today.day)
    typed_free = {of: quantity for of, quantity in uses.items() if book.is_free(of.pricing_type)}
    for of, quantity in typed_free.items():
        yield today.charge(of, quantity, book.price_for(Metric.MESSAGES, of, today.day))
    used = month.allowance_used[account_id]
    used += sum(quantity for of, quantity in typed_free.items() if of.category == FREE_ALLOWANCE_CATEGORY)
    services = [of for of in uses if of.category == FREE_ALLOWANCE_CATEGORY and of.pricing_type is None]
    quantities = [uses[of] for of in services]
    after = month.allowance_used[account_id] = used + sum(quantities)
    units = filled(after, above=0, up_to=allowed) - filled(used, above=0, up_to=allowed)
    free = dict(zip(services, split(units, quantities), strict=True))
    for of, quantity in uses.items():
        if of in typed_free:
            continue
        if card is not None and free.get(of):
            yield today.charge(of, free[of], allowance_price(card, today.day))
        if quantity - free.get(of, 0):
            charged[of] = quantity - free.get(of, 0)


def _tier_charges(today: _DayBook, lines: Mapping[Dimensions, int], before: int) -> Iterator[Charge]:
    """Price one market and category of a day: each line by its own card, its bands counted over all lines."""
    parts: dict[str, list[list[int]]] = {}
    for index, (of, quantity) in enumerate(lines.items()):
        choice = today.book.choice(of.account_id, today.day)
        rounding, card = choice.unit_price_rounding, today.book.card(choice.card)
        if card is None:
            # A card that was chosen and is not there prices nothing; the product's is the company's own prices.
            own = choice.card == PRODUCT_CARD
            price = today.book.price_for(Metric.MESSAGES, of, today.day) if own else None
            yield today.charge(of, quantity, price, rounding=rounding)
            continue
        bands = card.bands(market_of(of.market), of.category, today.day)
        if bands is None or not bands.prices:
            yield today.charge(of, quantity, None)
            continue
        if card.name not in parts:
            parts[card.name] = spread(before, list(lines.values()), bands.lower_bounds)
        for band, part in zip(bands.prices, parts[card.name][index], strict=True):
            if part:
                yield today.charge(of, part, band, rounding=rounding)
