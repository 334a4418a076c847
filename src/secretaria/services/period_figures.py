"""One company and one period as sums: total, days, breakdowns, prices used. Page, API and exports read the same."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from secretaria.core import money
from secretaria.core.access import Caller, Scope
from secretaria.core.charge_part import ChargePart
from secretaria.core.errors import InvalidInput
from secretaria.core.event import Direction
from secretaria.core.period import DAY_FIRST, DAY_LAST, Period, day_of, local_day
from secretaria.core.price import Metric, PriceBook
from secretaria.core.rating import Charge, Rating
from secretaria.services.figures import CompanyFigures, RateUsed, company_figures, interval, local_time, rates_used
from secretaria.services.rated_cells import (
    NOTHING,
    Figures,
    Question,
    RatedCell,
    figures_by,
    figures_of,
    read_rated,
    value_of,
)
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import accounts, companies, period_reads, prices
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.period_reads import DETAILS, Column

DAYS_MAX: Final = 1_100
"""Three years and a little: what one question may ask for."""


class Dimension(StrEnum):
    """What a period's figures are broken down by."""

    CATEGORY = "category"
    ACCOUNT = "account"
    MODEL = "model"
    DIRECTION = "direction"
    COST_CENTER = "cost_center"
    TEMPLATE = "template"


COLUMN_OF: Final = {
    Dimension.CATEGORY: Column.CATEGORY,
    Dimension.ACCOUNT: Column.ACCOUNT,
    Dimension.MODEL: Column.MODEL,
    Dimension.DIRECTION: Column.DIRECTION,
    Dimension.COST_CENTER: Column.COST_CENTER,
    Dimension.TEMPLATE: Column.TEMPLATE,
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time [start, end), written in local time; day is the local date it begins on.

    unfinished: it holds the moment of reading, or ends after it.
    """

    start: datetime
    end: datetime
    day: date
    figures: Figures
    unfinished: bool


@dataclass(frozen=True, slots=True)
class Share:
    """What one value of a dimension accounts for; key None: uses without one. Shares add up to the total exactly.

    label is a name to show where the key is a number; None where none is known.
    """

    key: str | None
    label: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class PriceUsed:
    """A price and rate that made a part of the cost: quantity x unit_price / per x rate = amount, exact.

    rate is None where nothing was converted. The amounts add up to the period's cost.
    """

    metric: Metric
    category: str | None
    market: str | None
    model: str | None
    direction: Direction
    quantity: int
    unit_price: Decimal
    per: int
    currency: str
    source: str
    effective_from: date
    rate: RateUsed | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """A company's period: days oldest first, those that have not begun left out; the parts add up to total."""

    company: CompanyFigures
    period: Period
    as_of: datetime
    version: int
    currency: str
    total: Figures
    days: tuple[Bucket, ...]
    breakdowns: Mapping[Dimension, tuple[Share, ...]]
    prices: tuple[PriceUsed, ...]
    rates: tuple[RateUsed, ...]


Narrowing = Mapping[Dimension, str | None]
"""Only uses with these values; None: those without one."""


class PeriodReads:
    """Reads periods; each answer is one snapshot and carries the version it was read at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        caller: Caller,
        company_id: int,
        period: Period,
        now: datetime,
        *,
        dimensions: Collection[Dimension] = tuple(Dimension),
        narrowed: Narrowing | None = None,
    ) -> PeriodFigures:
        """Return a period up to now with its days, the breakdowns asked for and the prices used.

        Raises InvalidInput (future_period, period_too_long, day_out_of_range, invalid_account), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        columns = narrowed_columns(narrowed)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await read_company(connection, company_id)
            begun = begun_part(company, period, now)
            book = await read_book(connection, company, begun)
            by_day = await read_rated(connection, company_id, book, Question(begun, narrowed=columns))
            breakdowns = {
                of: await read_shares(connection, company_id, book, begun, of, by_day=by_day, narrowed=columns)
                for of in dimensions
            }
        rating = _rating(book, by_day)
        return PeriodFigures(
            company=company_figures(company, local_day(company.schedule, now)),
            period=period,
            as_of=local_time(company.schedule, now),
            version=company.version,
            currency=book.currency,
            total=figures_of(by_day),
            days=day_buckets(company, begun, by_day, now),
            breakdowns=breakdowns,
            prices=prices_used(by_day),
            rates=tuple(rates_used(rating)),
        )


async def read_company(connection: Connection, company_id: int) -> Company:
    """Return the company; raises NotFound."""
    company = await companies.read(connection, company_id)
    if company is None:
        raise company_not_found()
    return company


async def read_book(connection: Connection, company: Company, period: Period) -> PriceBook:
    """Return the prices and rates that hold in a period."""
    books = await prices.read_books(
        connection, {company.company_id: company.currency}, start=period.start, end=period.end
    )
    return books[company.company_id]


def begun_part(company: Company, period: Period, now: datetime) -> Period:
    """Return the days of a period that have begun. Raises InvalidInput."""
    if not DAY_FIRST <= period.start <= period.end <= DAY_LAST:
        raise InvalidInput(
            f"days from {DAY_FIRST} to {DAY_LAST} are supported", code="day_out_of_range", pointer="period"
        )
    today = local_day(company.schedule, now)
    if period.start > today:
        raise InvalidInput(f"{period.start} has not begun yet", code="future_period", pointer="period")
    begun = Period(period.start, min(period.end, today + timedelta(days=1)))
    if (begun.end - begun.start).days > DAYS_MAX:
        raise InvalidInput(f"at most {DAYS_MAX} days at once", code="period_too_long", pointer="period")
    return begun


def narrowed_columns(narrowed: Narrowing | None) -> dict[Column, object]:
    """Return the narrowing by column. Raises InvalidInput (invalid_account)."""
    found: dict[Column, object] = {}
    for of, value in (narrowed or {}).items():
        column = COLUMN_OF[Dimension(of)]
        found[column] = value
        if column in {Column.ACCOUNT, Column.TEMPLATE} and value is not None:
            if not (value.isascii() and value.isdecimal() and len(value) <= 18):
                raise InvalidInput("an account is named by its number", code="invalid_account", pointer=str(of))
            found[column] = int(value)
    return found


async def read_shares(
    connection: Connection,
    company_id: int,
    book: PriceBook,
    period: Period,
    dimension: Dimension,
    *,
    by_day: Sequence[RatedCell],
    narrowed: Mapping[Column, object],
) -> tuple[Share, ...]:
    """Return the shares of a dimension, the dearest first; by_day are the period's cells by day.

    What decides a price is told apart in them already; for the rest days of one price are read as one.
    """
    column = COLUMN_OF[dimension]
    rated = by_day
    if column in DETAILS and not (column is Column.ACCOUNT and book.needs_whole_months):
        question = Question(period, stretches=[period.start], details={column}, narrowed=narrowed, coarse=True)
        rated = await read_rated(connection, company_id, book, question)
    found = figures_by(rated, lambda cell: value_of(cell, column))
    labels = await _labels(connection, company_id, column, found)
    shares = [
        Share(None if value is None else str(value), labels.get(value), figures) for value, figures in found.items()
    ]
    return tuple(sorted(shares, key=_dearest_first))


def _dearest_first(share: Share) -> tuple[bool, bool, Decimal, int, str]:
    """Order: what is not priced, then by cost and by messages; uses without a value last of their like."""
    cost = share.figures.cost
    return cost is not None, share.key is None, -(cost or Decimal(0)), -share.figures.messages, share.key or ""


async def _labels(
    connection: Connection, company_id: int, column: Column, values: Iterable[object]
) -> dict[object, str]:
    ids = [value for value in values if isinstance(value, int)]
    if column is Column.ACCOUNT and ids:
        return {row.account_id: row.name for row in await accounts.read_some(connection, company_id, ids)}
    if column is Column.TEMPLATE and ids:
        names = await period_reads.read_template_names(connection, company_id, ids)
        return {template_id: names[template_id] for template_id in names}
    return {}


def day_buckets(company: Company, period: Period, rated: Sequence[RatedCell], now: datetime) -> tuple[Bucket, ...]:
    """Return a bucket for each day of a period, gaps as zeros."""
    found = figures_by(rated, lambda cell: cell.line.day)
    buckets = []
    for day in period.days():
        bounds = interval(company.schedule, day_of(day))
        buckets.append(Bucket(bounds.start, bounds.end, day, found.get(day, NOTHING), unfinished=bounds.end > now))
    return tuple(buckets)


def prices_used(rated: Iterable[RatedCell]) -> tuple[PriceUsed, ...]:
    """Return what each price and rate made, the dearest first."""
    groups: dict[tuple[object, ...], list[ChargePart]] = {}
    for part in (part for of in rated for part in of.parts if part.amount is not None):
        groups.setdefault(_price_key(part.charge), []).append(part)
    used = [_price_used(parts) for parts in groups.values()]
    return tuple(sorted(used, key=lambda row: (-row.amount, row.metric, row.category or "", row.model or "")))


def _price_key(charge: Charge) -> tuple[object, ...]:
    of, price = charge.dimensions, charge.price
    use = (charge.metric, of.category, of.market, of.model, of.direction, of.pricing_type)
    row = price and (price.card, price.price_id, price.card_price_id, price.amount, price.effective_from)
    return *use, row, charge.rate and charge.rate.rate_id


def _price_used(parts: Sequence[ChargePart]) -> PriceUsed:
    charge = parts[0].charge
    of, price = charge.dimensions, charge.price
    if price is None:
        raise ValueError("what has an amount has a price")
    converted = rates_used(Rating("", tuple(part.charge for part in parts)))
    return PriceUsed(
        metric=charge.metric,
        category=of.category,
        market=of.market,
        model=of.model,
        direction=of.direction,
        quantity=sum(part.quantity for part in parts),
        unit_price=price.amount,
        per=price.per,
        currency=price.currency,
        source=price.source,
        effective_from=price.effective_from,
        rate=converted[0] if converted else None,
        amount=money.total(part.amount for part in parts if part.amount is not None),
    )


def _rating(book: PriceBook, rated: Iterable[RatedCell]) -> Rating:
    charges = {id(part.charge): part.charge for of in rated for part in of.parts}
    return Rating(book.currency, tuple(charges.values()))
