"""What Meta says a period's messages cost, beside our estimate of the same days; neither replaces the other here."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from secretaria.core import money
from secretaria.core.access import Caller, Scope
from secretaria.core.event import Direction
from secretaria.core.meta_cost import TotalSource
from secretaria.core.period import Period
from secretaria.core.price import Channel, Metric, PriceBook
from secretaria.services.period_figures import begun_part, read_book, read_company
from secretaria.services.rated_cells import Question, read_rated
from secretaria.services.scope import company_transaction
from secretaria.store import integrations, meta_costs
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.meta_costs import Figure


@dataclass(frozen=True, slots=True)
class MetaBeside:
    """Sent WhatsApp messages on the days that had ended when Meta was asked: what we estimate, what Meta reports.

    meta is None where Meta reports no cost (a partner's credit line pays) or it cannot be converted; lower_bound:
    some of these messages have no price here. pulled_at is the oldest of the readings.
    """

    first: date
    last: date
    days: int
    currency: str
    estimated: Decimal
    lower_bound: bool
    meta: Decimal | None
    pulled_at: datetime

    @property
    def difference(self) -> Decimal | None:
        """Meta's figure less our estimate, as an account's card has it."""
        return None if self.meta is None else self.meta - self.estimated


class MetaBesideReads:
    """Reads what was kept of Meta; nothing here asks Meta, so nothing here fails because Meta does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: Caller, company_id: int, period: Period, now: datetime) -> MetaBeside | None:
        """Return both for a period, None where no connection told of any of its days.

        Raises InvalidInput (as PeriodReads.read), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            return await read_meta_beside(connection, await read_company(connection, company_id), period, now)


async def read_meta_beside(
    connection: Connection, company: Company, period: Period, now: datetime
) -> MetaBeside | None:
    """Return both in the caller's own snapshot; raises InvalidInput."""
    company_id = company.company_id
    found = await integrations.read(connection, company_id)
    if found is None or found.waba_id is None:
        return None
    begun = begun_part(company, period, now)
    of = TotalSource.MESSAGES, found.waba_id
    first, last = begun.start, begun.end - timedelta(days=1)
    pulled = await meta_costs.read_days(connection, company_id, *of, first=first, last=last)
    whole = {day: row for day, row in pulled.items() if row.whole}
    if not whole:
        return None
    reported = await meta_costs.read_newest(connection, company_id, *of, first=first, last=last)
    book = await read_book(connection, company, begun)
    amounts = await _estimated(connection, company_id, book, Period(min(whole), max(whole) + timedelta(days=1)))
    known = [amount for day in whole for amount in amounts.get(day, ()) if amount is not None]
    return MetaBeside(
        first=min(whole),
        last=max(whole),
        days=len(whole),
        currency=book.currency,
        estimated=money.total(known),
        lower_bound=any(amount is None for day in whole for amount in amounts.get(day, ())),
        meta=_converted([one for one in reported if one.day in whole], book),
        pulled_at=min(row.pulled_at for row in whole.values()),
    )


async def _estimated(
    connection: Connection, company_id: int, book: PriceBook, period: Period
) -> dict[date, list[Decimal | None]]:
    """Return the amounts of sent WhatsApp messages by day; None is one without a price."""
    found: dict[date, list[Decimal | None]] = {}
    for of in await read_rated(connection, company_id, book, Question(period)):
        use = of.cell.line.dimensions
        if use.channel == Channel.WHATSAPP and use.direction == Direction.OUTBOUND:
            parts = [part.amount for part in of.parts if part.charge.metric == Metric.MESSAGES]
            found.setdefault(of.cell.line.day, []).extend(parts)
    return found


def _converted(figures: list[Figure], book: PriceBook) -> Decimal | None:
    """Add Meta's figures, each at the rate of its day; one that is not known makes the sum unknown."""
    amounts = []
    for one in figures:
        rate = book.rate_for(one.currency, book.currency, one.day)
        if one.amount is None or rate is None:
            return None
        amounts.append(money.product(one.amount, rate.rate))
    return money.total(amounts)
