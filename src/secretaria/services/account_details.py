"""What an account's card shows: today's messages and their cost by category, in the company's zone and currency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.core.event import Direction
from secretaria.core.meta_cost import CategoryLine, CostSource, DayCost, reconcile
from secretaria.core.period import day_of, local_day
from secretaria.core.price import Metric, PriceBook
from secretaria.core.rating import Charge, Rating, UsageLine, rate_period
from secretaria.services.accounts import AccountService, account_not_found, require_reader
from secretaria.services.figures import local_time, rated_from
from secretaria.services.meta_figures import MetaAccount, read_account
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import accounts, companies, messages, prices, usage_reads
from secretaria.store.accounts import Account
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database

CATEGORIES: Final = ("UTILITY", "MARKETING", "AUTHENTICATION", "SERVICE")
DAYS_BACK_MAX: Final = 366


@dataclass(frozen=True, slots=True)
class CategoryDetail:
    """One category of the day. line holds our figure, Meta's and the one that stands, exact; shown is it rounded,
    so that the parts add up to the total that is shown.
    """

    messages: int
    line: CategoryLine
    shown: Decimal
    not_priced: int


@dataclass(frozen=True, slots=True)
class UsedPrice:
    """A price that our estimate was made with: unit_price of price_currency, converted at exchange_rate."""

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
    """The card. Messages without a known category or a price are counted in not_priced and in no cost.

    awaiting_delivery were sent and not reported delivered: their cost is an estimate until they are, or fail.
    cost decides between our estimate and Meta's figure (core/meta_cost.py); meta says how fresh Meta's side is.
    """

    account: Account
    currency: str
    day: date
    as_of: datetime
    categories: dict[str, CategoryDetail]
    other: int
    inbound: int
    awaiting_delivery: int
    uncounted: int
    cost: DayCost
    total_shown: Decimal
    not_priced: int
    prices: list[UsedPrice]
    meta: MetaAccount
    version: int


class AccountDetailsReads:
    """Reads account cards; nothing here asks anyone outside, so it never fails because Meta does."""

    def __init__(self, database: Database, accounts_service: AccountService) -> None:
        self._database = database
        self._accounts = accounts_service

    async def details(
        self, caller: Caller, account_id: int, now: datetime, *, day: date | None = None
    ) -> AccountDetails:
        """Return the figures of an account on a local day, today without one.

        Raises NotFound (account_not_found), NotAllowed and InvalidInput (day_out_of_range).
        """
        company_id = await self._accounts.company_of(caller, account_id)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            account = await accounts.read(connection, company_id, account_id)
            if account is None:
                raise account_not_found()
            return await _details(connection, account, await _read_day(connection, company_id, now, day))

    async def page(
        self, caller: Caller, company_id: int, now: datetime, *, after: int, limit: int
    ) -> list[AccountDetails]:
        """Return today's figures of up to `limit` accounts with an id above `after`, by id, all of one moment.

        What they share is read once. Raises NotFound and NotAllowed.
        """
        caller.require_company(company_id)
        require_reader(caller)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            found = await accounts.read_page(connection, company_id, after=after, limit=limit)
            shared = await _read_day(connection, company_id, now, None)
            return [await _details(connection, account, shared) for account in found]


@dataclass(frozen=True, slots=True)
class _Day:
    """What the accounts of a company share on a day."""

    company: Company
    now: datetime
    today: date
    day: date
    book: PriceBook
    lines: list[UsageLine]
    is_only_account: bool


async def _read_day(connection: Connection, company_id: int, now: datetime, day: date | None) -> _Day:
    company = await companies.read(connection, company_id)
    if company is None:
        raise company_not_found()
    today = local_day(company.schedule, now)
    day = today if day is None else day
    if not today - timedelta(days=DAYS_BACK_MAX) <= day <= today:
        raise InvalidInput("a day of the last year, today at most", code="day_out_of_range", pointer="date")
    end = day + timedelta(days=1)
    book = (await prices.read_books(connection, {company_id: company.currency}, start=day, end=end))[company_id]
    usage = await usage_reads.read_days(connection, company_id, start=rated_from(book, day), end=end, by_account=True)
    is_only_account = len(await accounts.read_page(connection, company_id, after=0, limit=2)) == 1
    return _Day(company, now, today, day, book, [of.line for of in usage], is_only_account)


async def _details(connection: Connection, account: Account, of: _Day) -> AccountDetails:
    company_id, account_id, day = of.company.company_id, account.account_id, of.day
    awaiting = await messages.count_awaiting_delivery(connection, company_id, account_id, day)
    uncounted = await accounts.read_uncounted(connection, company_id, account_id, day)
    meta = await read_account(
        connection, company_id, account.phone_number_id, first=day, last=day, currency=of.company.currency,
        is_only_account=of.is_only_account, now=of.now,
    )  # fmt: skip
    rating = _messages_of(account_id, of.lines, of.book, day)
    own = [line for line in of.lines if line.day == day and line.dimensions.account_id == account_id]
    estimated = {name: share.amount for name, share in rating.by_category().items() if name is not None}
    estimated = dict.fromkeys(CATEGORIES, Decimal(0)) | estimated
    cost = reconcile(day, estimated, meta.days.get(day), today=of.today, choice=meta.choice)
    categories = _categories(own, rating, cost)
    return AccountDetails(
        account=account,
        currency=of.company.currency,
        day=day,
        as_of=local_time(of.company.schedule, of.now),
        categories=categories,
        other=_messages(own, Direction.OUTBOUND) - sum(categories[name].messages for name in CATEGORIES),
        inbound=_messages(own, Direction.INBOUND),
        awaiting_delivery=awaiting,
        uncounted=uncounted,
        cost=cost,
        total_shown=money.round_display(cost.total),
        not_priced=_not_priced(rating, categories, cost),
        prices=_used_prices(rating.charges, of.book),
        meta=meta,
        version=of.company.version,
    )


def _messages_of(account_id: int, lines: Sequence[UsageLine], book: PriceBook, day: date) -> Rating:
    """Rate the account's messages; a book of shared cards has to see those of the other accounts as well."""
    if book.needs_whole_months:
        rating = rate_period(lines, book, day_of(day)).of_account(account_id)
    else:
        own = [line for line in lines if line.dimensions.account_id == account_id]
        rating = rate_period(own, book, day_of(day))
    return Rating(rating.currency, tuple(charge for charge in rating.charges if charge.metric is Metric.MESSAGES))


def _messages(lines: Sequence[UsageLine], direction: Direction) -> int:
    return sum(line.messages for line in lines if line.dimensions.direction is direction)


def _categories(lines: Sequence[UsageLine], rating: Rating, cost: DayCost) -> dict[str, CategoryDetail]:
    """What is shown of the lines adds up to the total that is shown, but where ad spend is the total."""
    shares = rating.by_category()
    shown = money.largest_remainder([line.amount for line in cost.lines])
    found = {}
    for line, rounded in zip(cost.lines, shown, strict=True):
        outbound = [usage for usage in lines if usage.dimensions.category == line.category]
        not_priced = shares[line.category].not_priced.messages if line.category in shares else 0
        found[line.category] = CategoryDetail(_messages(outbound, Direction.OUTBOUND), line, rounded, not_priced)
    return found


def _not_priced(rating: Rating, categories: Mapping[str, CategoryDetail], cost: DayCost) -> int:
    """Return the messages that the total lacks: where Meta's figure stands, it lacks none."""
    if cost.ads_are_total:
        return 0
    replaced = sum(of.not_priced for of in categories.values() if of.line.source is CostSource.META)
    return rating.not_priced.messages - replaced


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
