"""The delivery log as people read it: lines with where they go and what came of them, and how each endpoint does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from secretaria.core.access import OPERATOR_COMPANY_ID, Caller, Scope
from secretaria.core.delivery import TEST_PING
from secretaria.services.deliveries import ATTEMPTS_SHOWN_MAX, REDELIVERED_AT_ONCE_MAX, delivery_not_found
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import companies, deliveries
from secretaria.store import delivery_log as store
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.deliveries import Attempt, Delivery
from secretaria.store.delivery_log import Destination, EndpointFigures, LogFilter, LogLine

PAGE_LINES_MAX: Final = 50
DESTINATIONS_MAX: Final = 100
RATE_SPAN: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines, newest first; next_after is None on the last page. names are those of the companies they are about."""

    lines: list[LogLine]
    next_after: int | None
    destinations: list[Destination]
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """One delivery: its line, what it sends, its newest attempts (oldest first), and whom it is about."""

    line: LogLine
    delivery: Delivery
    attempts: list[Attempt]
    about: str


class DeliveryLogReads:
    """Reads a company's log. The operator's own endpoints are company 0's, and no member's business."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, caller: Caller, company_id: int, of: LogFilter, *, after: int | None = None
    ) -> LogPage:
        """Return up to PAGE_LINES_MAX lines below the id `after`. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            if company_id != OPERATOR_COMPANY_ID and await companies.read(connection, company_id) is None:
                raise company_not_found()
            found = await store.read_page(connection, company_id, of, after=after, limit=PAGE_LINES_MAX + 1)
            lines = found[:PAGE_LINES_MAX]
            destinations = await store.read_destinations(connection, company_id, limit=DESTINATIONS_MAX)
            names = await _names(connection, lines)
        return LogPage(lines, lines[-1].delivery_id if len(found) > len(lines) else None, destinations, names)

    async def open(self, caller: Caller, delivery_id: int) -> Opened:
        """Return one delivery with all there is to see of it. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        company_id = await self._company_of(caller, delivery_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            line = await store.read_line(connection, company_id, delivery_id)
            delivery = await deliveries.read(connection, company_id, delivery_id)
            if line is None or delivery is None:
                raise delivery_not_found()
            attempts = await deliveries.read_attempts(connection, company_id, delivery_id, limit=ATTEMPTS_SHOWN_MAX)
            names = await _names(connection, [line])
        return Opened(line, delivery, attempts, names.get(line.about_company_id, ""))

    async def figures(self, caller: Caller, company_id: int, now: datetime) -> dict[int, EndpointFigures]:
        """Return by endpoint what waits and the attempts of the last RATE_SPAN. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await store.read_figures(connection, company_id, now - RATE_SPAN)

    async def count_since(self, caller: Caller, company_id: int, endpoint_id: int, since: datetime) -> int:
        """Count what a redelivery from then on would send again, up to one more than is sent at once."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await deliveries.count_since(
                connection, company_id, endpoint_id, since, but_for=TEST_PING, limit=REDELIVERED_AT_ONCE_MAX + 1
            )

    async def _company_of(self, caller: Caller, delivery_id: int) -> int:
        if not caller.is_operator:
            return caller.company_id
        async with transaction(self._database.operator) as connection:
            company_id = await deliveries.find_company(connection, delivery_id)
        if company_id is None:
            raise delivery_not_found()
        return company_id


async def _names(connection: Connection, lines: list[LogLine]) -> dict[int, str]:
    about = sorted({line.about_company_id for line in lines})
    return {company.company_id: company.name for company in await companies.read_some(connection, about)}
