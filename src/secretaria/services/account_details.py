"""What an account's card shows: today's messages and their cost by category, in the company's zone and currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.event import Direction
from secretaria.core.period import day_of, local_day
from secretaria.core.price import Metric, PriceBook
from secretaria.core.rating import Charge, Rating, UsageLine, rate_period
from secretaria.services.accounts import AccountService, account_not_found
from secretaria.services.figures import local_time, rated_from
from secretaria.services.scope import company_transaction
from secretaria.store import accounts, companies, prices, usage_reads
from secretaria.store.accounts import Account
from secretaria.store.database import Database

CATEGORIES: Final = ("UTILITY", "MARKETING", "AUTHENTICATION", "SERVICE")
COST_SOURCE_ESTIMATED: Final = "estimated"


@dataclass(frozen=True, slots=True)
class CategoryDetail:
    """One category today. cost is exact, shown rounded so that the parts add up to the total that is shown."""

    messages: int
    cost: Decimal
    shown: Decimal
    not_priced: int


@dataclass(frozen=True, slots=True)
class UsedPrice:
    """A price that today's cost was made with: unit_price of price_currency, converted at exchange_rate."""

    category: str | None
    card: str
    unit_price: Decimal
    price_currency: str
    source: str
    effective_from: date
    exchange_rate: Decimal
    exchange_rate_source: str
    exchange_rate_from: date | None


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """The card. OTHER messages and those without a price are counted in not_priced and in no cost."""

    account: Account
    currency: str
    day: date
    as_of: datetime
    categories: dict[str, CategoryDetail]
    other: int
    inbound: int
    uncounted: int
    total: Decimal
    total_shown: Decimal
    not_priced: int
    prices: list[UsedPrice]
    cost_source: str
    stale_since: datetime | None
    version: int


class AccountDetailsReads:
    """Reads account cards; nothing here asks anyone outside, so it never fails because Meta does."""

    def __init__(self, database: Database, accounts_service: AccountService) -> None:
        self._database = database
        self._accounts = accounts_service

    async def details(self, caller: Caller, account_id: int, now: datetime) -> AccountDetails:
        """Return today's figures of an account. Raises NotFound (account_not_found) and NotAllowed."""
        company_id = await self._accounts.company_of(caller, account_id)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            account = await accounts.read(connection, company_id, account_id)
            company = await companies.read(connection, company_id)
            if account is None or company is None:
                raise account_not_found()
            today = local_day(company.schedule, now)
            period = day_of(today)
            books = await prices.read_books(
                connection, {company_id: company.currency}, start=period.start, end=period.end
            )
            book = books[company_id]
            usage = await usage_reads.read_days(
                connection, company_id, start=rated_from(book, today), end=today + timedelta(days=1), by_account=True
            )
            uncounted = await accounts.read_uncounted(connection, company_id, account_id, today)
        lines = [day.line for day in usage]
        rating = _messages_of(account_id, lines, book, today)
        own = [line for line in lines if line.day == today and line.dimensions.account_id == account_id]
        categories = _categories(own, rating)
        return AccountDetails(
            account=account,
            currency=company.currency,
            day=today,
            as_of=local_time(company.schedule, now),
            categories=categories,
            other=_messages(own, Direction.OUTBOUND) - sum(of.messages for of in categories.values()),
            inbound=_messages(own, Direction.INBOUND),
            uncounted=uncounted,
            total=rating.total,
            total_shown=money.round_display(rating.total),
            not_priced=rating.not_priced.messages,
            prices=_used_prices(rating.charges, book),
            cost_source=COST_SOURCE_ESTIMATED,
            stale_since=None,
            version=company.version,
        )


def _messages_of(account_id: int, lines: Sequence[UsageLine], book: PriceBook, today: date) -> Rating:
    """Rate the account's messages; a book of shared cards has to see those of the other accounts as well."""
    if book.needs_whole_months:
        rating = rate_period(lines, book, day_of(today)).of_account(account_id)
    else:
        own = [line for line in lines if line.dimensions.account_id == account_id]
        rating = rate_period(own, book, day_of(today))
    return Rating(rating.currency, tuple(charge for charge in rating.charges if charge.metric is Metric.MESSAGES))


def _messages(lines: Sequence[UsageLine], direction: Direction) -> int:
    return sum(line.messages for line in lines if line.dimensions.direction is direction)


def _categories(lines: Sequence[UsageLine], rating: Rating) -> dict[str, CategoryDetail]:
    """What is shown of the categories adds up to the total that is shown: nothing else of it has a price."""
    costs = rating.by_category()
    exact = [costs[name].amount if name in costs else Decimal(0) for name in CATEGORIES]
    shown = money.largest_remainder(exact)
    found = {}
    for name, cost, rounded in zip(CATEGORIES, exact, shown, strict=True):
        outbound = [line for line in lines if line.dimensions.category == name]
        not_priced = costs[name].not_priced.messages if name in costs else 0
        found[name] = CategoryDetail(_messages(outbound, Direction.OUTBOUND), cost, rounded, not_priced)
    return found


def _used_prices(charges: Sequence[Charge], book: PriceBook) -> list[UsedPrice]:
    found: dict[tuple[object, ...], UsedPrice] = {}
    for charge in charges:
        price, rate = charge.price, charge.rate
        if price is None or rate is None or charge.dimensions.direction is Direction.INBOUND:
            continue
        used = UsedPrice(
            charge.dimensions.category, price.card, price.amount, price.currency, price.source, price.effective_from,
            rate.rate, rate.source, None if price.currency == book.currency else rate.effective_from,
        )  # fmt: skip
        found[used.category, used.card, used.unit_price] = used
    return list(found.values())
