"""Rate cards shared by all companies: dated bands of a market and category, free allowances, and who chose which.

A company or account chooses a card by name from a day on; until then, and on days no choice holds for, the product's
card (default_whatsapp_prices) prices its messages.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar, Final

from secretaria.core import money
from secretaria.core.event import Direction
from secretaria.core.price import Channel, ExchangeRate, History, Metric, Price, PriceBook, UnitPriceRounding

PRODUCT_CARD: Final = "product"
"""The name that stands for the company's own WhatsApp prices."""

HOME_MARKET: Final = "Brazil"
"""The market of a message whose country nobody told."""

FREE_ALLOWANCE_CATEGORY: Final = "SERVICE"

# Meta's markets that are one country, and North America, by ISO 3166 code. Which countries make up its "Rest of ..."
# regions is published in a file of its own: until that is read, their messages are counted and not priced.
MARKET_OF_COUNTRY: Final = {
    "AE": "United Arab Emirates", "AR": "Argentina", "BR": "Brazil", "CA": "North America", "CL": "Chile",
    "CO": "Colombia", "DE": "Germany", "EG": "Egypt", "ES": "Spain", "FR": "France", "GB": "United Kingdom",
    "ID": "Indonesia", "IL": "Israel", "IN": "India", "IT": "Italy", "MX": "Mexico", "MY": "Malaysia",
    "NG": "Nigeria", "NL": "Netherlands", "PE": "Peru", "PK": "Pakistan", "RU": "Russia", "SA": "Saudi Arabia",
    "TR": "Turkey", "US": "North America", "ZA": "South Africa",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CardPrice:
    """One band of a card's price: `amount` for each message of a month past `above`; None is not offered (n/a)."""

    card_price_id: int
    market: str
    category: str
    above: int
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class CardVersion:
    """A card as published once: prices from a day on, and how many service messages a number has free each month."""

    version_id: int
    card: str
    currency: str
    effective_from: date
    source: str
    free_service_messages: int
    prices: tuple[CardPrice, ...]


@dataclass(frozen=True, slots=True)
class CardChoice:
    """From effective_from on an account (None: the company's other accounts) is priced by a card."""

    account_id: int | None
    card: str
    unit_price_rounding: UnitPriceRounding
    effective_from: date


@dataclass(frozen=True, slots=True)
class CardBands:
    """What one market and category costs from a day on, lowest band first; no prices is not priced."""

    effective_from: date
    prices: tuple[Price, ...]

    @property
    def lower_bounds(self) -> tuple[int, ...]:
        """The quantities past which each band begins; the first is 0."""
        return tuple(price.above for price in self.prices)


class RateCard:
    """All versions of one card. A version replaces the prices of the markets and categories it names."""

    def __init__(self, name: str, versions: Iterable[CardVersion]) -> None:
        self.name = name
        self._versions = sorted(versions, key=lambda version: (version.effective_from, version.version_id))
        if not self._versions:
            raise ValueError("a rate card has a version")
        self._allowances = History(self._versions)
        dated: dict[tuple[str, str], list[CardBands]] = defaultdict(list)
        for version in self._versions:
            for key, bands in _bands(version).items():
                dated[key].append(bands)
        self._bands = {key: History(bands) for key, bands in dated.items()}

    @property
    def currency(self) -> str:
        """What its amounts are in: one card, one currency."""
        return self._versions[-1].currency

    def bands(self, market: str | None, category: str | None, day: date) -> CardBands | None:
        """Return the bands that hold on a day, None when nothing is known of the market and category."""
        history = self._bands.get((market or "", category or ""))
        return history.on(day) if history else None

    def all_prices(self) -> list[Price]:
        """Return every price of every version."""
        return [price for version in self._versions for bands in _bands(version).values() for price in bands.prices]

    def free_service_messages(self, day: date) -> int:
        """Return how many service messages a number has free in the month of a day."""
        return self._allowances.on(day).free_service_messages


def _bands(version: CardVersion) -> dict[tuple[str, str], CardBands]:
    rows: dict[tuple[str, str], list[CardPrice]] = defaultdict(list)
    for row in sorted(version.prices, key=lambda row: row.above):
        rows[row.market, row.category].append(row)
    found = {}
    for key, bands in rows.items():
        if bands[0].above != 0:
            raise ValueError("the first band of a price begins at 0")
        prices = tuple(_price(version, row, row.amount) for row in bands if row.amount is not None)
        found[key] = CardBands(version.effective_from, prices if len(prices) == len(bands) else ())
    return found


def _price(version: CardVersion, row: CardPrice, amount: Decimal) -> Price:
    of = (version.card, Metric.MESSAGES, Channel.WHATSAPP, row.category, Direction.OUTBOUND, row.market, None, None)
    dated = (amount, 1, version.currency, version.effective_from, version.source)
    return Price(0, *of, *dated, above=row.above, card_price_id=row.card_price_id)


def allowance_price(card: RateCard, day: date) -> Price:
    """Return the price of a message inside the free allowance: zero, under the card's name."""
    source = f"first {card.free_service_messages(day)} service messages of a number and month"
    of = (card.name, Metric.MESSAGES, Channel.WHATSAPP, FREE_ALLOWANCE_CATEGORY, Direction.OUTBOUND, None, None, None)
    return Price(0, *of, Decimal(0), 1, card.currency, day.replace(day=1), source)


def market_of(country: str | None) -> str | None:
    """Return Meta's market of a country code, Brazil when there is none, None where it is not known here."""
    return HOME_MARKET if country is None else MARKET_OF_COUNTRY.get(country.upper())


class CardBook(PriceBook):
    """The price book of a company whose messages, or some of them, are priced by shared cards or cut prices.

    What it prices depends on the month's earlier days: rate() wants them among its lines.
    """

    needs_whole_months: ClassVar[bool] = True

    def __init__(
        self,
        prices: Iterable[Price],
        rates: Iterable[ExchangeRate],
        currency: str,
        *,
        cards: Iterable[RateCard],
        choices: Iterable[CardChoice],
    ) -> None:
        super().__init__(prices, rates, currency)
        self._cards = {card.name: card for card in cards}
        self._choices: dict[int | None, list[CardChoice]] = defaultdict(list)
        for choice in sorted(choices, key=lambda choice: choice.effective_from):  # stable: the later written wins
            self._choices[choice.account_id].append(choice)

    def cost_of_one_more_max(self, metric: Metric) -> Decimal:
        """Return PriceBook's bound, for cards too: a unit moves all later ones of its month by one, so at each place
        where a band or the allowance ends it can cost or save one price.
        """
        own = super().cost_of_one_more_max(metric)
        if metric != Metric.MESSAGES:
            return own
        prices = [price for card in self._cards.values() for price in card.all_prices()]
        highest = max([own, *(self._converted_max(price) for price in prices)])
        bands = 1 + len({price.above for price in prices})
        return money.product(highest, bands + 1)

    def choice(self, account_id: int | None, day: date) -> CardChoice:
        """Return what prices an account's messages on a day: its own choice, else the company's, else the product."""
        found = self.own_choice(account_id, day) or self.own_choice(None, day)
        return found or CardChoice(account_id, PRODUCT_CARD, self.unit_price_rounding, date.min)

    def own_choice(self, account_id: int | None, day: date) -> CardChoice | None:
        """Return the newest choice made for just this scope that has begun by a day."""
        rows = self._choices.get(account_id, [])
        begun = bisect_right(rows, day, key=lambda row: row.effective_from)
        return rows[begun - 1] if begun else None

    def card(self, name: str) -> RateCard | None:
        """Return a card by name; None for the product's, or one that is not there."""
        return self._cards.get(name)


CardPriceRow = tuple[str, str, int, Decimal | None]
"""market, category, above, amount: a price before it is stored."""


@dataclass(frozen=True, slots=True)
class PriceChange:
    """What a new version does to one market and category: amounts by band before and after, None where unknown."""

    market: str
    category: str
    before: tuple[tuple[int, Decimal | None], ...]
    after: tuple[tuple[int, Decimal | None], ...]

    @property
    def loses_tiers(self) -> bool:
        """True when bands above the first end: all messages then cost the list rate."""
        return len(self.before) > 1 and len(self.after) == 1


def price_changes(before: Iterable[CardPriceRow], after: Iterable[CardPriceRow]) -> list[PriceChange]:
    """Return what differs, by market and category; what a new version does not name stays and is not listed."""
    old, new = _by_key(before), _by_key(after)
    return [
        PriceChange(*key, old.get(key, ()), new[key]) for key in sorted(new) if old.get(key, ()) != new[key]
    ]


def _by_key(rows: Iterable[CardPriceRow]) -> dict[tuple[str, str], tuple[tuple[int, Decimal | None], ...]]:
    found: dict[tuple[str, str], list[tuple[int, Decimal | None]]] = defaultdict(list)
    for market, category, above, amount in rows:
        found[market, category].append((above, amount))
    return {key: tuple(sorted(bands, key=lambda band: band[0])) for key, bands in found.items()}
