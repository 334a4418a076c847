"""Where a cost comes from: quantity x unit price x exchange rate, line by line, and the events behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from secretaria.core import money
from secretaria.core.access import Caller, Scope
from secretaria.core.charge_part import ChargePart
from secretaria.core.errors import InvalidInput
from secretaria.core.event import Direction
from secretaria.core.period import Period, day_end, day_start, local_day, local_hour
from secretaria.core.price import Metric
from secretaria.services.figures import CompanyFigures, company_figures, local_time
from secretaria.services.period_figures import (
    Narrowing,
    PriceUsed,
    begun_part,
    narrowed_columns,
    prices_used,
    read_book,
    read_company,
)
from secretaria.services.rated_cells import Question, RatedCell, read_rated
from secretaria.services.scope import company_transaction
from secretaria.store import period_events
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.period_events import HOURS_READ_MAX, EventRow
from secretaria.store.period_reads import Column

EVENTS_PAGE: Final = 50
CURSOR_CHARS_MAX: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """A price and what it came to: quantity x unit_price / per x exchange rate = amount, exact.

    shown is amount rounded to cents so that all lines add up to the total that is shown. parts are one for each
    exchange rate. converted_price is what one unit cost in the company's currency, where a card cuts it to cents first.
    """

    metric: Metric
    direction: Direction
    category: str | None
    market: str | None
    model: str | None
    quantity: int
    unit_price: Decimal
    per: int
    price_currency: str
    price_source: str
    effective_from: date
    amount: Decimal
    shown: Decimal
    converted_price: Decimal | None
    parts: tuple[PriceUsed, ...]


@dataclass(frozen=True, slots=True)
class MissingLine:
    """A quantity that costs nothing known: lacks "price", or "exchange_rate" to convert `unit_price`."""

    metric: Metric
    direction: Direction
    category: str | None
    market: str | None
    model: str | None
    quantity: int
    lacks: str
    unit_price: Decimal | None
    price_currency: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cost taken apart, as of one moment. total is None when nothing of what was used has a price."""

    company: CompanyFigures
    period: Period
    begun: Period
    as_of: datetime
    version: int
    currency: str
    total: Decimal | None
    total_shown: Decimal | None
    lines: tuple[ExplainedLine, ...]
    missing: tuple[MissingLine, ...]
    events: tuple[EventRow, ...]
    next_after: str | None


class ExplainReads:
    """Reads explanations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        caller: Caller,
        company_id: int,
        period: Period,
        now: datetime,
        *,
        narrowed: Narrowing | None = None,
        metric: Metric | None = None,
        after: str | None = None,
        events: bool = True,
    ) -> Explanation:
        """Explain a period's cost, or that of its messages or tokens alone; after: next_after of the page before.

        Raises InvalidInput (as PeriodReads.read, and invalid_cursor), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        columns, key = narrowed_columns(narrowed), parse_cursor(after)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await read_company(connection, company_id)
            begun = begun_part(company, period, now)
            book = await read_book(connection, company, begun)
            # By day, as a rate is stale or not on the day it was used.
            question = Question(begun, narrowed=columns)
            rated = [_only(of, metric) for of in await read_rated(connection, company_id, book, question)]
            page = _Page((), None)
            if events:
                page = await _read_page(connection, company, begun, columns, metric=metric, before=key)
        lines = _lines(prices_used(rated))
        missing = _missing(part for of in rated for part in of.parts if part.amount is None)
        total = None if missing and not lines else money.total(line.amount for line in lines)
        return Explanation(
            company=company_figures(company, local_day(company.schedule, now)),
            period=period,
            begun=begun,
            as_of=local_time(company.schedule, now),
            version=company.version,
            currency=book.currency,
            total=total,
            total_shown=None if total is None else money.round_display(total),
            lines=lines,
            missing=missing,
            events=tuple(replace(row, occurred_at=local_time(company.schedule, row.occurred_at)) for row in page.rows),
            next_after=page.next_after,
        )


def _only(of: RatedCell, metric: Metric | None) -> RatedCell:
    if metric is None:
        return of
    return RatedCell(of.cell, [part for part in of.parts if part.charge.metric == metric])


def _lines(used: Sequence[PriceUsed]) -> tuple[ExplainedLine, ...]:
    """Gather what one price made, the dearest first; round all lines beside one another.

    Messages are told apart by category and market, tokens by model: what is of one price besides is one line.
    """
    groups: dict[tuple[object, ...], list[PriceUsed]] = {}
    for row in used:
        is_tokens = row.metric == Metric.TOKENS
        use = (row.metric, row.direction, *((None, None, row.model) if is_tokens else (row.category, row.market, None)))
        groups.setdefault((*use, row.unit_price, row.per, row.currency, row.source, row.effective_from), []).append(row)
    amounts = {key: money.total(row.amount for row in rows) for key, rows in groups.items()}
    keys = sorted(groups, key=lambda key: -amounts[key])
    shown = money.largest_remainder([amounts[key] for key in keys])
    return tuple(_line(groups[key], amounts[key], part) for key, part in zip(keys, shown, strict=True))


def _line(rows: Sequence[PriceUsed], amount: Decimal, shown: Decimal) -> ExplainedLine:
    of, is_tokens = rows[0], rows[0].metric == Metric.TOKENS
    return ExplainedLine(
        metric=of.metric,
        direction=of.direction,
        category=None if is_tokens else of.category,
        market=None if is_tokens else of.market,
        model=of.model if is_tokens else None,
        quantity=sum(row.quantity for row in rows),
        unit_price=of.unit_price,
        per=of.per,
        price_currency=of.currency,
        price_source=of.source,
        effective_from=of.effective_from,
        amount=amount,
        shown=shown,
        converted_price=_cut_price(of),
        parts=_by_rate(rows),
    )


def _by_rate(rows: Sequence[PriceUsed]) -> tuple[PriceUsed, ...]:
    """Return one part for each exchange rate, the oldest first."""
    found: dict[object, PriceUsed] = {}
    for row in sorted(rows, key=lambda row: row.rate.effective_from if row.rate else date.min):
        before = found.get(row.rate)
        quantity, amount = (0, Decimal(0)) if before is None else (before.quantity, before.amount)
        found[row.rate] = replace(row, quantity=quantity + row.quantity, amount=money.total([amount, row.amount]))
    return tuple(found.values())


def _cut_price(of: PriceUsed) -> Decimal | None:
    """Return the unit price in the company's currency where it is not simply unit_price x rate: 0.475 cut to 0.47."""
    if of.rate is None or not of.quantity:
        return None
    exact = money.product(of.unit_price, Decimal(of.rate.rate))
    used = money.quotient(money.product(of.amount, of.per), of.quantity)
    return None if used == exact else used


def _missing(parts: Iterable[ChargePart]) -> tuple[MissingLine, ...]:
    found: dict[tuple[object, ...], MissingLine] = {}
    for part in parts:
        of, price = part.charge.dimensions, part.charge.price
        line = MissingLine(
            part.charge.metric, of.direction, of.category, of.market, of.model, part.quantity,
            "price" if price is None else "exchange_rate", None if price is None else price.amount,
            None if price is None else price.currency,
        )  # fmt: skip
        key = (line.metric, line.direction, line.category, line.market, line.model, line.lacks, line.unit_price)
        before = found.get(key)
        found[key] = line if before is None else replace(before, quantity=before.quantity + line.quantity)
    return tuple(sorted(found.values(), key=lambda line: (line.metric, -line.quantity, line.category or "")))


@dataclass(frozen=True, slots=True)
class _Page:
    rows: tuple[EventRow, ...]
    next_after: str | None


async def _read_page(
    connection: Connection,
    company: Company,
    period: Period,
    narrowed: Mapping[Column, object],
    *,
    metric: Metric | None,
    before: tuple[datetime, str] | None,
) -> _Page:
    """Return up to EVENTS_PAGE events below a key, newest first.

    The hourly sums say which hours hold any. Where HOURS_READ_MAX of them do not fill a page, the next one goes on
    from the hour that was not read.
    """
    schedule = company.schedule
    until = None if before is None else local_hour(schedule, before[0])
    hours = await period_events.read_hours(
        connection, company.company_id, start=period.start, end=period.end, narrowed=narrowed, until=until
    )
    rows: list[EventRow] = []
    for day, hour in hours[:HOURS_READ_MAX]:
        start = day_start(schedule, day) + hour * _HOUR
        rows += await period_events.read_events(
            connection, company.company_id, bounds=(start, min(start + _HOUR, day_end(schedule, day))),
            narrowed=narrowed, metric=metric, before=before, limit=EVENTS_PAGE + 1 - len(rows),
        )  # fmt: skip
        if len(rows) > EVENTS_PAGE:
            last = rows[EVENTS_PAGE - 1]
            return _Page(tuple(rows[:EVENTS_PAGE]), cursor_of(last.occurred_at, last.identity))
    if len(hours) <= HOURS_READ_MAX:
        return _Page(tuple(rows), None)
    day, hour = hours[HOURS_READ_MAX]
    past = min(day_start(schedule, day) + (hour + 1) * _HOUR, day_end(schedule, day))
    return _Page(tuple(rows), cursor_of(past, str(UUID(int=0))))


def cursor_of(occurred_at: datetime, identity: str) -> str:
    """Return the key of an event as the text that a page goes on from: microseconds and the identity."""
    microseconds = (occurred_at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}-{UUID(identity).hex}"


def parse_cursor(text: str | None) -> tuple[datetime, str] | None:
    """Read a key back. Raises InvalidInput (invalid_cursor)."""
    if not text:
        return None
    try:
        microseconds, _, identity = text[:CURSOR_CHARS_MAX].partition("-")
        at = _EPOCH + timedelta(microseconds=int(microseconds))
        return at, str(UUID(identity))
    except (ValueError, OverflowError):
        raise InvalidInput("a page goes on from the next_after of the one before", code="invalid_cursor") from None
