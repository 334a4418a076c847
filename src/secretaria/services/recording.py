"""One event at a time, for programs that call us in process: counted by the ingest path, answered with its cost."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.event import UsageEvent, identity_of
from secretaria.core.period import month_of
from secretaria.core.price import PriceBook
from secretaria.core.rating import UsageLine, rate
from secretaria.services.ingest import IngestService
from secretaria.services.scope import company_transaction
from secretaria.store import companies, prices, usage_reads
from secretaria.store import events as store
from secretaria.store.alerts import as_json
from secretaria.store.database import Connection, Database


class RecordStatus(StrEnum):
    """What became of the event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class RecordedUsage:
    """The answer to record_usage().

    cost is exact, in the company's currency: what this event added, 0 for a duplicate, None where it has no price
    (not_priced is then true). code and message say why it was rejected. alerts holds those it raised.
    """

    status: RecordStatus
    cost: Decimal | None
    currency: str | None
    not_priced: bool = False
    code: str | None = None
    message: str | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)


class RecordingService:
    """Records single events through the ingest path."""

    def __init__(self, database: Database, ingest: IngestService) -> None:
        self._database = database
        self._ingest = ingest

    async def record(self, caller: Caller, company_id: int, event: UsageEvent, now: datetime) -> RecordedUsage:
        """Count the event and return what it cost. Raises NotAllowed, Unavailable (send it again)."""
        result, alerts = await self._ingest.submit_telling_alerts(caller, [(0, event)], now=now)
        if result.rejected:
            refusal = result.rejected[0]
            return RecordedUsage(RecordStatus.REJECTED, None, None, code=refusal.code, message=refusal.message)
        recorded = await self._recorded(caller, company_id, event, is_duplicate=bool(result.duplicates))
        return replace(recorded, alerts=[as_json(alert) for alert in alerts])

    async def _recorded(
        self, caller: Caller, company_id: int, event: UsageEvent, *, is_duplicate: bool
    ) -> RecordedUsage:
        async with company_transaction(self._database, caller, company_id) as connection:
            company = await companies.read(connection, company_id)
            currency = None if company is None else company.currency
            if is_duplicate or currency is None:
                return RecordedUsage(RecordStatus.DUPLICATE, Decimal(0), currency)
            line = await store.read_added(connection, company_id, identity_of(event.source, event.id))
            if line is None:
                return RecordedUsage(RecordStatus.ACCEPTED, Decimal(0), currency)
            return await _priced(connection, company_id, currency, line)


async def _priced(connection: Connection, company_id: int, currency: str, line: UsageLine) -> RecordedUsage:
    book = await _book(connection, company_id, currency, line.day)
    if book.needs_whole_months:
        return await _priced_in_month(connection, company_id, line, book)
    rating = rate([line], book)
    unknown = rating.lower_bound
    cost = None if unknown and not any(charge.amount is not None for charge in rating.charges) else rating.total
    return RecordedUsage(RecordStatus.ACCEPTED, cost, currency, not_priced=unknown)


async def _priced_in_month(
    connection: Connection, company_id: int, line: UsageLine, book: PriceBook
) -> RecordedUsage:
    """Return what the month costs more than it would without the event: a late one moves the days after it too."""
    month = month_of(line.day)
    usage = await usage_reads.read_days(connection, company_id, start=month.start, end=month.end, by_account=True)
    lines = [day.line for day in usage]
    without = replace(
        line, messages=-line.messages, tokens_input=-line.tokens_input, tokens_output=-line.tokens_output
    )
    after, before = rate(lines, book), rate([*lines, without], book)
    unknown = after.not_priced != before.not_priced
    cost = money.total([after.total, money.product(before.total, -1)])
    is_priced = not unknown or cost != 0
    return RecordedUsage(RecordStatus.ACCEPTED, cost if is_priced else None, book.currency, not_priced=unknown)


async def _book(connection: Connection, company_id: int, currency: str, day: date) -> PriceBook:
    books = await prices.read_books(connection, {company_id: currency}, start=day, end=month_of(day).end)
    return books[company_id]
