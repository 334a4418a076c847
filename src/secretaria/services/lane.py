"""A lane: the queue and the one transaction in flight of a share of the companies (group commit, law 10).

While a group is being written, the requests that arrive are prepared and gathered into the next one. A group that fails
is rolled back and its requests are run singly, so that a request that cannot be written fails alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psycopg
import structlog

from secretaria.core.errors import Unavailable
from secretaria.core.usage import PreparedEvent
from secretaria.services.counting import Outcome
from secretaria.store.alerts import Alert

GROUP_EVENTS_MAX = 8_000
QUEUE_EVENTS_MAX = 50_000
CONFLICT_RETRIES_MAX = 3

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Part:
    """One request's events of this lane, and the promise of their outcomes (by place in `rows`).

    alerts are those that fired in the transaction that counted them.
    """

    rows: list[PreparedEvent]
    received: tuple[int, str]
    alerts: list[Alert] = field(default_factory=list)
    done: asyncio.Future[dict[int, Outcome]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Write = Callable[[Sequence[Part]], Awaitable[list[dict[int, Outcome]]]]


class Lane:
    """Writes parts in groups, one transaction at a time."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._queue: deque[Part] = deque()
        self.queued_events = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to write; call within the running loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what is queued, then stop."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    def submit(self, part: Part) -> None:
        """Queue a part. Raises Unavailable when the queue is full or the lane is closing."""
        if self._closing:
            raise Unavailable("the server is stopping; send it again", code="stopping")
        if self.queued_events + len(part.rows) > QUEUE_EVENTS_MAX:
            raise Unavailable("too many events are waiting to be written; send it again", code="overloaded")
        self._queue.append(part)
        self.queued_events += len(part.rows)
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._write_group(self._take_group())
            if self._closing:
                return

    def _take_group(self) -> list[Part]:
        group: list[Part] = []
        events = 0
        while self._queue and (not group or events + len(self._queue[0].rows) <= GROUP_EVENTS_MAX):
            part = self._queue.popleft()
            events += len(part.rows)
            if not part.done.cancelled():
                group.append(part)
        self.queued_events -= events
        return group

    async def _write_group(self, group: list[Part]) -> None:
        try:
            await self._write_with_retries(group)
        except Unavailable as error:
            # The database is gone or the commit's result unknown: no other attempt could answer better.
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - a lane that died would take all its companies with it
            _log.warning("group_failed", parts=len(group), error=str(error), kind=type(error).__name__)
            if len(group) == 1:
                _fail(group, Unavailable("these events could not be written; send them again", code="write_failed"))
                return
            for part in group:
                await self._write_group([part])

    async def _write_with_retries(self, group: list[Part]) -> None:
        for attempt in range(CONFLICT_RETRIES_MAX + 1):
            try:
                outcomes = await self._write(group)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                if attempt == CONFLICT_RETRIES_MAX:
                    raise
                continue
            for part, outcome in zip(group, outcomes, strict=True):
                if not part.done.done():
                    part.done.set_result(outcome)
            return


def _fail(group: Sequence[Part], error: Unavailable) -> None:
    for part in group:
        if not part.done.done():
            part.done.set_exception(error)
