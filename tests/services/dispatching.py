"""What tests of deliveries share: endpoints made by hand, a clock that is moved, dispatchers that run beside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from secretaria.bootstrap import Application
from secretaria.core.delivery import USAGE_EVENTS, Channel
from secretaria.core.standard_webhook import create_secret
from secretaria.outbound.resolver import Resolve
from secretaria.outbound.webhook import WebhookClient
from secretaria.services.courier import Courier, WebhookCourier
from secretaria.services.deliveries import News, enqueue
from secretaria.services.dispatcher import Dispatcher
from secretaria.services.signing import Signing, SigningSecret
from secretaria.store import delivery_endpoints
from secretaria.store.database import transaction
from secretaria.store.delivery_endpoints import NewEndpoint

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE_S = 30.0


async def until(what: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


@dataclass
class Post:
    """A database with endpoints, and the clock its dispatchers go by."""

    application: Application
    admin_url: str
    now: datetime = START

    def clock(self) -> datetime:
        return self.now

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def execute(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.admin_url) as connection:
            connection.execute(statement.encode(), parameters)

    def move(self, by: timedelta) -> None:
        """Let time pass, and the dispatchers look."""
        self.now += by
        self.execute("SELECT pg_notify('secretaria_deliveries', '')")

    async def add(
        self,
        address: str,
        *,
        company_id: int = 1,
        channel: Channel = Channel.WEBHOOK,
        events: Sequence[str] = USAGE_EVENTS,
        private_allowed: bool = True,
    ) -> int:
        new = NewEndpoint(company_id, channel, address, "", tuple(events), "pt-BR", private_allowed=private_allowed)
        async with transaction(self.application.database.operator) as connection:
            endpoint_id = await delivery_endpoints.insert(connection, new, now=self.now)
            if channel is Channel.WEBHOOK:
                secrets = [SigningSecret(create_secret())]
                sealed = Signing(self.application.settings).seal(company_id, endpoint_id, secrets)
                await delivery_endpoints.set_secrets(connection, company_id, endpoint_id, sealed)
        return endpoint_id

    async def tell(self, *keys: str, company_id: int = 1, event_type: str = "usage.limit.warning") -> int:
        news = [News(company_id, None, event_type, key, {"key": key}) for key in keys]
        async with transaction(self.application.database.ingest) as connection:
            return await enqueue(connection, news, now=self.now)

    def delivery(self, endpoint_id: int) -> tuple[str, int, datetime]:
        """(status, attempts, next_attempt_at) of an endpoint's only delivery."""
        ((status, attempts, at),) = self.rows(
            "SELECT status, attempts, next_attempt_at FROM deliveries WHERE endpoint_id = %s", endpoint_id
        )
        return status, attempts, at

    def attempts(self, endpoint_id: int) -> list[tuple[int | None, str | None]]:
        """(status_code, error) of all attempts at an endpoint, in order."""
        return self.rows(
            "SELECT a.status_code, a.error FROM delivery_attempts a JOIN deliveries d USING (company_id, delivery_id) "
            "WHERE d.endpoint_id = %s ORDER BY d.delivery_id, a.attempt",
            endpoint_id,
        )

    def endpoint(self, endpoint_id: int, *columns: str) -> tuple[Any, ...]:
        ((*found,),) = self.rows(
            f"SELECT {', '.join(columns)} FROM delivery_endpoints WHERE endpoint_id = %s", endpoint_id
        )
        return tuple(found)

    def dispatcher(
        self,
        *,
        resolve: Resolve | None = None,
        mail: Courier | None = None,
        client: WebhookClient | None = None,
    ) -> Dispatcher:
        application = self.application
        client = client or WebhookClient(resolve=resolve)
        couriers: dict[Channel, Courier] = {
            Channel.WEBHOOK: WebhookCourier(client, Signing(application.settings))
        }
        if mail is not None:
            couriers[Channel.MAIL] = mail
        url = application.endpoints.database_url
        return Dispatcher(application.database, couriers, url=url, clock=self.clock, jitter=lambda: 0)

    @asynccontextmanager
    async def dispatching(self, *dispatchers: Dispatcher) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = [asyncio.create_task(of.run(stop)) for of in dispatchers or (self.dispatcher(),)]
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*running)
