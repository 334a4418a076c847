"""The outbox: news put before endpoints in the transaction that made them, and its log. dispatcher.py delivers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from secretaria.core.access import OPERATOR_COMPANY_ID, Caller, Scope
from secretaria.core.delivery import DeliveryStatus
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import audit, companies
from secretaria.store import deliveries as store
from secretaria.store import delivery_endpoints as endpoints
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.deliveries import Attempt, Delivery, NewDelivery

PAGE_DELIVERIES_MAX: Final = 100
ATTEMPTS_SHOWN_MAX: Final = 100
REDELIVERED_AT_ONCE_MAX: Final = 10_000
KEPT: Final = timedelta(days=90)
REMOVED_AT_ONCE_MAX: Final = 1_000
REMOVALS_A_PASS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class News:
    """Something endpoints are told. key is unique among the news about a company; data is JSON, amounts Decimal."""

    about_company_id: int
    alert_id: int | None
    event_type: str
    key: str
    data: dict[str, Any]


async def enqueue(connection: Connection, news: Sequence[News], *, now: datetime) -> int:
    """Put news before the endpoints of the company and of the operator that want it; return how many deliveries.

    One statement, however many news: it runs in the ingest transaction. The same news again changes nothing.
    """
    if not news:
        return 0
    new = [
        NewDelivery(of.about_company_id, of.alert_id, of.event_type, of.key, body_of(of.event_type, of.data, now))
        for of in news
    ]
    made = await store.insert(connection, new, now=now)
    if made:
        await store.notify(connection)
    return made


def body_of(event_type: str, data: dict[str, Any], at: datetime) -> str:
    """Return what is sent, byte for byte: {"type", "timestamp", "data"}, amounts as text."""
    return msgspec.json.encode({"type": event_type, "timestamp": at, "data": data}).decode()


def shown_address(address: str) -> str:
    """Return an address as logs and people see it: of a URL's query, which may be a key, only that there is one."""
    return urlsplit(address)._replace(query="…").geturl() if "?" in address else address


class Log(NamedTuple):
    """A delivery and its attempts, oldest first."""

    delivery: Delivery
    attempts: list[Attempt]


def delivery_not_found() -> NotFound:
    """Build the answer for a delivery that does not exist and for another company's: they are never told apart."""
    return NotFound("no such delivery", code="delivery_not_found")


class DeliveryService:
    """The log of a company's endpoints. The operator's own endpoints are company 0's, and no member's business."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        caller: Caller,
        company_id: int,
        *,
        endpoint_id: int | None = None,
        status: str | None = None,
        after: int | None = None,
        limit: int = PAGE_DELIVERIES_MAX,
    ) -> list[Delivery]:
        """Return up to `limit` deliveries to a company's endpoints, newest first, below the id `after`.

        Raises InvalidInput (unknown_status), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        wanted = None if status is None else _status(status)
        limit = min(max(limit, 1), PAGE_DELIVERIES_MAX)
        async with company_transaction(self._database, caller, company_id) as connection:
            if company_id != OPERATOR_COMPANY_ID and await companies.read(connection, company_id) is None:
                raise company_not_found()
            return await store.read_page(
                connection, company_id, endpoint_id=endpoint_id, status=wanted, after=after, limit=limit
            )

    async def get(self, caller: Caller, delivery_id: int) -> Log:
        """Return a delivery with its newest ATTEMPTS_SHOWN_MAX attempts. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        company_id = await self._company_of(caller, delivery_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            found = await store.read(connection, company_id, delivery_id)
            if found is None:
                raise delivery_not_found()
            attempts = await store.read_attempts(connection, company_id, delivery_id, limit=ATTEMPTS_SHOWN_MAX)
        return Log(found, attempts)

    async def redeliver(self, caller: Caller, delivery_id: int, now: datetime) -> Delivery:
        """Deliver again under the same message_id, with a new chain of attempts; at once, or when it is enabled.

        Raises InvalidInput (endpoint_removed), NotFound, NotAllowed.
        """
        caller.require_scope(Scope.ENDPOINTS_WRITE)
        company_id = await self._company_of(caller, delivery_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            found = await store.read(connection, company_id, delivery_id)
            if found is None:
                raise delivery_not_found()
            # The endpoint's row first, as the dispatcher does.
            endpoint = await endpoints.read(connection, company_id, found.endpoint_id, lock=True)
            if endpoint is None:
                raise InvalidInput("its endpoint was removed", code="endpoint_removed")
            await store.redeliver(connection, company_id, delivery_id, now=now)
            await endpoints.change(connection, replace(endpoint, held_until=None))
            await store.notify(connection)
            await audit.insert(
                connection, company_id, actor=caller.identity, action="delivery.redelivered",
                subject=f"delivery:{delivery_id}",
            )  # fmt: skip
            found = await store.read(connection, company_id, delivery_id)
        if found is None:
            raise delivery_not_found()
        return found

    async def remove_expired(self, now: datetime) -> int:
        """Remove what is older than KEPT and waits for nothing; return how many deliveries."""
        removed = 0
        for _ in range(REMOVALS_A_PASS_MAX):
            async with transaction(self._database.operator) as connection:
                count = await store.delete_expired(connection, now - KEPT, limit=REMOVED_AT_ONCE_MAX)
            removed += count
            if count < REMOVED_AT_ONCE_MAX:
                break
        return removed

    async def _company_of(self, caller: Caller, delivery_id: int) -> int:
        if not caller.is_operator:
            return caller.company_id
        async with transaction(self._database.operator) as connection:
            company_id = await store.find_company(connection, delivery_id)
        if company_id is None:
            raise delivery_not_found()
        return company_id


def _status(text: str) -> DeliveryStatus:
    try:
        return DeliveryStatus(text)
    except ValueError:
        known = ", ".join(DeliveryStatus)
        raise InvalidInput(f"a status is one of {known}", code="unknown_status", pointer="status") from None
