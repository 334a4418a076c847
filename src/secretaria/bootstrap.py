"""Builds pools, clients and services from settings, once a process, and takes them down in order."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from secretaria.embedded.servers import Endpoints
from secretaria.services.access import AccessService
from secretaria.services.analytics import AnalyticsReads
from secretaria.services.companies import CompanyService
from secretaria.services.ingest import IngestService
from secretaria.services.live import LiveHub
from secretaria.services.recording import RecordingService
from secretaria.services.reports import ReportService
from secretaria.settings import Settings
from secretaria.store.database import Database, check_server, transaction
from secretaria.store.live import Live


def utc_now() -> datetime:
    """Return the moment, aware: the one clock of the doors."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Application:
    """What a door needs to serve: connections, services and the clock."""

    settings: Settings
    endpoints: Endpoints
    database: Database
    live: Live
    ingest: IngestService
    access: AccessService
    companies: CompanyService
    recording: RecordingService
    analytics: AnalyticsReads
    reports: ReportService
    hub: LiveHub
    clock: Callable[[], datetime]


@asynccontextmanager
async def application(
    settings: Settings, endpoints: Endpoints, *, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator[Application]:
    """Yield the running application; on leaving, what was taken in is written before the connections close.

    Raises ConfigurationError when the server would acknowledge what is not on disk (store/database.py).
    """
    database = Database.create(endpoints.database_url)
    live = Live(endpoints.redis_url)
    ingest = IngestService(database, live)
    hub = LiveHub(database, live, clock)
    await database.open()
    try:
        async with transaction(database.operator) as connection:
            await check_server(connection)
        ingest.start()
        hub.start()
        yield Application(
            settings=settings,
            endpoints=endpoints,
            database=database,
            live=live,
            ingest=ingest,
            access=AccessService(database, clock=clock),
            companies=CompanyService(database, settings),
            recording=RecordingService(database, ingest),
            analytics=AnalyticsReads(database, settings),
            reports=ReportService(database, settings),
            hub=hub,
            clock=clock,
        )
    finally:
        await hub.stop()
        await ingest.close()
        await live.close()
        await database.close()
