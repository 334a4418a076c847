"""Tells the open streams of this process that a company's version moved.

Two ways lead here: what ingest publishes on Valkey (at once), and one query a second for all watched companies (always
right, also without Valkey: law 1). A stream keeps a set of companies, not a queue, so a slow reader costs nothing.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import structlog

from secretaria.core.access import Caller
from secretaria.core.errors import Unavailable
from secretaria.store.database import Database, transaction
from secretaria.store.heads import read_versions
from secretaria.store.live import Live

POLL_INTERVAL_S: Final = 1.0
STREAMS_MAX: Final = 500
STREAMS_PER_USER_MAX: Final = 10
COMPANIES_PER_STREAM_MAX: Final = 50
SUBSCRIBE_WAIT_FIRST_S: Final = 1.0
SUBSCRIBE_WAIT_MAX_S: Final = 30.0
STREAM_RETRY_AFTER_S: Final = 5
CANCEL_AGAIN_AFTER_S: Final = 0.5

_log = structlog.get_logger(__name__)


class Stream:
    """What one open page watches, and which of it moved since the page last asked."""

    def __init__(self, identity: str, company_ids: frozenset[int]) -> None:
        self.identity = identity
        self.company_ids = company_ids
        self.closed = False
        # The page was drawn before the stream opened: the first look is at everything.
        self._changed = set(company_ids)
        self._wake = asyncio.Event()
        self._wake.set()

    async def changes(self, timeout_s: float) -> frozenset[int]:
        """Return the companies that moved, waiting up to timeout_s for one; empty when none did or it closed."""
        if not self._wake.is_set():
            try:
                async with asyncio.timeout(max(timeout_s, 0)):
                    await self._wake.wait()
            except TimeoutError:
                return frozenset()
        changed = frozenset(self._changed)
        self._changed.clear()
        if not self.closed:
            self._wake.clear()
        return changed

    @property
    def pending(self) -> bool:
        """Tell whether something moved that the page has not asked for yet."""
        return bool(self._changed)

    def tell(self, company_id: int) -> None:
        """Note that a company moved."""
        self._changed.add(company_id)
        self._wake.set()

    def close(self) -> None:
        """End the stream at its next step."""
        self.closed = True
        self._wake.set()


class LiveHub:
    """One per process: watches the versions of what is on screen and wakes the streams that show it."""

    def __init__(self, database: Database, live: Live | None, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._live = live
        self._clock = clock
        self._streams: set[Stream] = set()
        self._versions: dict[int, int] = {}
        self._watching = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self._down = False
        # Everything committed before this instant has been seen here.
        self.checked_at: datetime | None = None

    def start(self) -> None:
        """Begin to watch; an idle process asks nothing."""
        self._stopped = False
        self._tasks = [asyncio.create_task(self._poll(), name="live-poll")]
        if self._live is not None:
            self._tasks.append(asyncio.create_task(self._listen(self._live), name="live-listen"))

    def end_streams(self) -> None:
        """Let every stream finish: a server that stops does not wait for pages that stay open."""
        self._stopped = True
        for stream in self._streams:
            stream.close()

    async def stop(self) -> None:
        """End the streams and stop watching."""
        self.end_streams()
        pending = set(self._tasks)
        while pending:
            # Asked again until it ends: the Valkey client can swallow a cancellation that meets its own timeout.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_AFTER_S)
        self._tasks = []

    @contextmanager
    def open(self, caller: Caller, company_ids: Iterable[int]) -> Iterator[Stream]:
        """Open a stream on companies of the caller's; raises NotFound for another's, Unavailable past the limits."""
        watched = frozenset(company_ids)
        for company_id in watched:
            caller.require_company(company_id)
        self._require_room(caller, watched)
        stream = Stream(caller.identity, watched)
        self._streams.add(stream)
        self._watching.set()
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            self._forget_unwatched()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def is_current(self, versions: Mapping[int, int]) -> bool:
        """Tell whether nothing newer than these versions has been heard of."""
        return all(self._versions.get(company_id, version) <= version for company_id, version in versions.items())

    def _require_room(self, caller: Caller, watched: frozenset[int]) -> None:
        own = sum(stream.identity == caller.identity for stream in self._streams)
        full = len(self._streams) >= STREAMS_MAX or own >= STREAMS_PER_USER_MAX
        if self._stopped or full or len(watched) > COMPANIES_PER_STREAM_MAX:
            raise Unavailable(
                "no room for another live view right now",
                retry_after_s=STREAM_RETRY_AFTER_S,
                code="too_many_streams",
            )

    def _forget_unwatched(self) -> None:
        watched = self._watched()
        self._versions = {key: value for key, value in self._versions.items() if key in watched}
        if not watched:
            self._watching.clear()
            self.checked_at = None

    def _watched(self) -> set[int]:
        return {company_id for stream in self._streams for company_id in stream.company_ids}

    def _tell(self, company_ids: Iterable[int]) -> None:
        moved = set(company_ids)
        for stream in self._streams:
            for company_id in moved & stream.company_ids:
                stream.tell(company_id)

    async def _poll(self) -> None:
        while True:
            await self._watching.wait()
            try:
                await self._look()
            except Unavailable as error:
                if not self._down:
                    _log.warning("live_poll_failed", error=error.message)
                self._down = True
            except Exception:  # noqa: BLE001 - without this loop every open page would stand still
                _log.exception("live_poll_broke")
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _look(self) -> None:
        """Ask PostgreSQL once for all that is watched: the truth, whatever Valkey said or lost."""
        watched, started_at = sorted(self._watched()), self._clock()
        async with transaction(self._database.operator) as connection:
            found = await read_versions(connection, watched)
        moved = [key for key, version in found.items() if self._versions.get(key) != version]
        self._versions.update(found)
        self._tell(moved)
        self.checked_at, self._down = started_at, False

    async def _listen(self, live: Live) -> None:
        wait_s = SUBSCRIBE_WAIT_FIRST_S
        while True:
            try:
                async for versions in live.subscribe():
                    wait_s = SUBSCRIBE_WAIT_FIRST_S
                    self._hear(versions)
            except Unavailable as error:
                _log.info("live_subscription_lost", error=error.message)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("live_subscription_broke")
            # Full jitter: many processes do not come back to a restarted Valkey in step.
            await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 - not a secret
            wait_s = min(wait_s * 2, SUBSCRIBE_WAIT_MAX_S)

    def _hear(self, versions: Mapping[int, int]) -> None:
        watched = self._watched()
        moved = [key for key in versions if key in watched and self._versions.get(key, -1) < versions[key]]
        self._versions.update({key: versions[key] for key in moved})
        self._tell(moved)
