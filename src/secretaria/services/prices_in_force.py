"""What prices a company's WhatsApp messages today, and at which exchange rate: names, sources and dates to show."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.event import Direction
from secretaria.core.exchange_rate import is_stale_on
from secretaria.core.period import local_day
from secretaria.core.price import Channel, Dimensions, ExchangeRate, Metric, PriceBook
from secretaria.core.rate_card import HOME_MARKET, PRODUCT_CARD, CardBook, CardChoice
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import accounts, companies, prices
from secretaria.store.database import Database

ACCOUNTS_MAX: Final = 200
_SHOWN_CATEGORY: Final = "MARKETING"
_USE: Final = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND, _SHOWN_CATEGORY, HOME_MARKET)


@dataclass(frozen=True, slots=True)
class CardInForce:
    """A card and whom it prices: an account by name, or (None) the company's other accounts.

    source and effective_from are those of the version in force; None where the card has no price for Brazil.
    """

    account_name: str | None
    card: str
    source: str | None
    effective_from: date | None


@dataclass(frozen=True, slots=True)
class PricesInForce:
    """Today's cards and rate. rate is None where no row tells what a dollar costs; stale: nothing newer came."""

    day: date
    cards: tuple[CardInForce, ...]
    rate: ExchangeRate | None
    rate_is_stale: bool


class PricesInForceReads:
    """Reads what holds; whoever sees a company's costs may see what they are made with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: Caller, company_id: int, now: datetime) -> PricesInForce:
        """Return what holds on the company's today. Raises NotFound and NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await companies.read(connection, company_id)
            if company is None:
                raise company_not_found()
            today = local_day(company.schedule, now)
            books = await prices.read_books(
                connection, {company_id: company.currency}, start=today, end=today + timedelta(days=1)
            )
            named = await accounts.read_page(connection, company_id, after=0, limit=ACCOUNTS_MAX)
        book = books[company_id]
        rate = book.rate_for("USD", "BRL", today)
        own = [(account.name, _own_choice(book, account.account_id, today)) for account in named]
        cards = [_card(book, None, _company_choice(book, today), today)]
        cards += [_card(book, name, choice.card, today) for name, choice in own if choice is not None]
        return PricesInForce(today, tuple(cards), rate, rate is not None and is_stale_on(rate, today))


def _own_choice(book: PriceBook, account_id: int, day: date) -> CardChoice | None:
    return book.own_choice(account_id, day) if isinstance(book, CardBook) else None


def _company_choice(book: PriceBook, day: date) -> str:
    return book.choice(None, day).card if isinstance(book, CardBook) else PRODUCT_CARD


def _card(book: PriceBook, account_name: str | None, name: str, day: date) -> CardInForce:
    if name == PRODUCT_CARD or not isinstance(book, CardBook):
        price = book.price_for(Metric.MESSAGES, _USE, day)
    else:
        card = book.card(name)
        bands = card.bands(HOME_MARKET, _SHOWN_CATEGORY, day) if card else None
        price = bands.prices[0] if bands and bands.prices else None
    return CardInForce(
        account_name, name, None if price is None else price.source, None if price is None else price.effective_from
    )
