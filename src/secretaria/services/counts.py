"""What this process has counted of its own work, for Prometheus: no company, no path with an id, no text of a sender.

With PROMETHEUS_MULTIPROC_DIR set before the start, all processes that share the folder are added up: a port shared by
several of them answers a scrape through any one. The ingest path counts once a group, never once an event.
"""

import asyncio
import contextlib
import os
import socket
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

from secretaria.core.admission import Rejection
from secretaria.core.delivery import Channel, DeliveryStatus
from secretaria.services.counting import DUPLICATE, Outcome
from secretaria.store.database import Database

SHARED_FOLDER: Final = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
GROUP_SIZES: Final = (1, 4, 16, 64, 256, 1_000, 2_000, 4_000, 8_000)
GROUP_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
REQUEST_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10)
POOLS_LOOKED_AT_EVERY_S: Final = 5.0
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Process ids alone are not enough: the containers of several services may share the folder, each with a process 1.
_HOST: Final = socket.gethostname().replace("_", "-")


def _identity() -> str:
    return f"{_HOST}-{os.getpid()}"


if SHARED_FOLDER:
    Path(SHARED_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(_identity)  # type: ignore[no-untyped-call]

# Not the client library's own registry: a program that records usage in process has figures of its own there.
REGISTRY: Final = CollectorRegistry()

_accepted_or_not = Counter(
    "secretaria_events", "Usage events by what became of them.", ["outcome"], registry=REGISTRY
)
_accepted, _duplicates, _rejected = (_accepted_or_not.labels(word) for word in ("accepted", "duplicate", "rejected"))
_rejections = Counter(
    "secretaria_events_rejected", "Rejected usage events by error code.", ["code"], registry=REGISTRY
)
_group_events = Histogram(
    "secretaria_ingest_group_events", "Events committed in one transaction.", buckets=GROUP_SIZES, registry=REGISTRY
)
_group_seconds = Histogram(
    "secretaria_ingest_group_seconds",
    "From the first statement of a group to its commit.",
    buckets=GROUP_SECONDS,
    registry=REGISTRY,
)
_queued = Gauge(
    "secretaria_ingest_queued_events",
    "Events that waited for a lane when a group was last taken.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_requests = Counter("secretaria_http_requests", "Answers.", ["method", "route", "status"], registry=REGISTRY)
_request_seconds = Histogram(
    "secretaria_http_request_seconds",
    "From a request to the end of its answer; live streams count when they end.",
    ["route"],
    buckets=REQUEST_SECONDS,
    registry=REGISTRY,
)
_attempts = Counter(
    "secretaria_delivery_attempts",
    "Attempts to deliver, by what became of the delivery: waiting is for the next attempt.",
    ["channel", "result"],
    registry=REGISTRY,
)
_pool_waits = Counter(
    "secretaria_pool_waits", "Requests that waited for a connection to PostgreSQL.", ["pool"], registry=REGISTRY
)
_pool_wait_seconds = Counter(
    "secretaria_pool_wait_seconds", "Time spent waiting for a connection.", ["pool"], registry=REGISTRY
)
_pool_refusals = Counter(
    "secretaria_pool_refusals", "Requests that got no connection in time.", ["pool"], registry=REGISTRY
)


def count_group(events: int, outcomes: Collection[Outcome], *, seconds: float, queued: int) -> None:
    """Count one committed group; outcomes are those of the events that were not accepted."""
    _group_events.observe(events)
    _group_seconds.observe(seconds)
    _queued.set(queued)
    if events > len(outcomes):
        _accepted.inc(events - len(outcomes))
    if outcomes:
        codes = Tally(outcome.code for outcome in outcomes)
        duplicates = codes.pop(DUPLICATE.code, 0)
        if duplicates:
            _duplicates.inc(duplicates)
        _count_codes(codes)


def count_rejections(rejections: Iterable[Rejection]) -> None:
    """Count items that were refused before they reached a lane."""
    _count_codes(Tally(rejection.code for rejection in rejections))


def _count_codes(codes: Tally[str]) -> None:
    for code, number in codes.items():
        _rejected.inc(number)
        _rejections.labels(code).inc(number)


def count_request(method: str, route: str, status: int, *, seconds: float) -> None:
    """Count an answer under its route's template."""
    _requests.labels(method if method in METHODS else "other", route, status).inc()
    _request_seconds.labels(route).observe(seconds)


def count_attempt(channel: Channel, status: DeliveryStatus) -> None:
    """Count an attempt to deliver, by what its delivery is after it."""
    _attempts.labels(channel.value, status.value).inc()


def count_pool_waits(database: Database) -> None:
    """Count what the pools of this process noticed since the last look."""
    for pool in (database.door, database.operator, database.ingest):
        noticed = pool.pop_stats()
        _pool_waits.labels(pool.name).inc(noticed.get("requests_queued", 0))
        _pool_wait_seconds.labels(pool.name).inc(noticed.get("requests_wait_ms", 0) / 1_000)
        _pool_refusals.labels(pool.name).inc(noticed.get("requests_errors", 0))


@contextmanager
def watched_pools(database: Database) -> Iterator[None]:
    """Look at the pools every few seconds, as long as the block lasts."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(POOLS_LOOKED_AT_EVERY_S)
            count_pool_waits(database)

    watching = asyncio.create_task(watch(), name="pool-watch")
    try:
        yield
    finally:
        watching.cancel()


def gathered() -> CollectorRegistry:
    """Return what this process counted, or all processes that share the folder."""
    if not SHARED_FOLDER:
        return REGISTRY
    folder = Path(SHARED_FOLDER)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # whoever cleared it away cleared old counts, no more
    _forget_ended(folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, SHARED_FOLDER)  # type: ignore[no-untyped-call]
    return registry


def _forget_ended(folder: Path) -> None:
    """A killed process took its queue along: its gauges must not stand for ever. Its counts stay."""
    for path in folder.glob(f"gauge_live*_{_HOST}-*.db"):
        try:
            os.kill(int(path.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # another process has just done the same
                path.unlink()
        except PermissionError:
            continue  # it lives, as another user's
