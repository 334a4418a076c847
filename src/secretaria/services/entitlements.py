"""May this company send? Answered from memory, never from a reading that began more than a second ago.

One per process: it remembers the companies asked for of late, asks PostgreSQL for the versions of all of them in one
query every WARM_EVERY_S, and reads those again that moved. Where it falls behind, the question itself reads.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from secretaria.core.access import Caller, Scope
from secretaria.core.entitlement import NOTHING, Decision, MetricEntitlement, Quantities, RefusalReason
from secretaria.core.errors import NotAllowed, Unavailable
from secretaria.services.entitlement_facts import Facts, read_facts
from secretaria.services.figures import local_time
from secretaria.services.scope import COMPANY_ID_MAX, company_not_found
from secretaria.store.database import Database, transaction
from secretaria.store.heads import read_states

ANSWER_AGE_MAX_S: Final = 0.9
"""A second, less what an answer needs to leave."""

WARM_EVERY_S: Final = 0.4
WARM_ROUND_MAX_S: Final = 0.3
WARM_AT_ONCE_MAX: Final = 50
WATCHED_FOR_S: Final = 60.0
WATCHED_COMPANIES_MAX: Final = 10_000
READINGS_MAX: Final = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The answer about one company, as of an instant at most a second ago; the rest is Decision's."""

    company_id: int
    as_of: datetime
    status: str
    currency: str
    decision: Decision

    @property
    def allowed(self) -> bool:
        """Whether it may send (what was asked for)."""
        return self.decision.allowed

    @property
    def reason(self) -> RefusalReason | None:
        """Why it may not: suspended or limit_reached."""
        return self.decision.reason

    @property
    def metrics(self) -> dict[str, MetricEntitlement]:
        """Used, limit, reserved, remaining of messages, tokens and cost; remaining None is unlimited."""
        return {row.metric.value: row for row in self.decision.metrics}


@dataclass(slots=True)
class _Entry:
    """began_s: on the monotonic clock, when the reading began that last proved the facts."""

    facts: Facts
    began_s: float
    asked_s: float
    decision: Decision = field(init=False)

    def __post_init__(self) -> None:
        self.decision = self.facts.decision()

    def holds(self, now: datetime) -> bool:
        """Tell whether this may be answered at an instant."""
        is_young = time.monotonic() - self.began_s < ANSWER_AGE_MAX_S
        return is_young and self.facts.valid_from <= now < self.facts.valid_until


class EntitlementService:
    """Checks; `start` before the first, `stop` to end the watching."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._entries: dict[int, _Entry] = {}
        self._reading: dict[int, asyncio.Task[_Entry | None]] = {}
        self._watching = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._down = False

    def start(self) -> None:
        """Begin to keep warm what is asked for; an idle process asks nothing."""
        self._task = asyncio.create_task(self._keep_warm(), name="entitlements-warm")

    async def stop(self) -> None:
        """Stop watching, and end what is being read."""
        tasks = [*self._reading.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def check(
        self, caller: Caller, company_id: int, now: datetime, *, wanted: Quantities = NOTHING
    ) -> Entitlement:
        """Tell whether the company may send, and whether what is wanted fits its hard limits.

        Raises NotFound, NotAllowed, and Unavailable rather than answer from what may be out of date.
        """
        if not caller.scopes & {Scope.ANALYTICS_READ, Scope.USAGE_WRITE}:
            raise NotAllowed(
                f"this credential lacks the scope {Scope.ANALYTICS_READ} or {Scope.USAGE_WRITE}", code="scope_missing"
            )
        caller.require_company(company_id)
        if not 0 < company_id <= COMPANY_ID_MAX:
            raise company_not_found()
        entry = await self._entry(company_id, now)
        facts = entry.facts
        decision = entry.decision if wanted == NOTHING else facts.decision(wanted)
        age = timedelta(seconds=time.monotonic() - entry.began_s)
        return Entitlement(company_id, local_time(facts.schedule, now - age), facts.status, facts.currency, decision)

    def forget(self, company_id: int) -> None:
        """Read the company anew at its next check: this process has just changed it."""
        self._entries.pop(company_id, None)
        self._reading.pop(company_id, None)

    async def _entry(self, company_id: int, now: datetime) -> _Entry:
        entry = self._entries.get(company_id)
        for _ in range(READINGS_MAX):
            if entry is not None and entry.holds(now):
                entry.asked_s = time.monotonic()
                return entry
            entry = await self._read_once(company_id, now)
            if entry is None:
                raise company_not_found()
        if entry is not None and entry.holds(now):
            return entry
        raise Unavailable("the entitlement cannot be read fast enough right now; ask again", code="overloaded")

    async def _read_once(self, company_id: int, now: datetime) -> _Entry | None:
        """Read a company; questions that come meanwhile wait for the same answer."""
        task = self._reading.get(company_id)
        if task is None:
            task = asyncio.create_task(self._read(company_id, now))
            self._reading[company_id] = task
            task.add_done_callback(lambda done: self._end_reading(company_id, done))
        # A client that hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    def _end_reading(self, company_id: int, task: asyncio.Task[_Entry | None]) -> None:
        if self._reading.get(company_id) is task:
            del self._reading[company_id]
            if not task.cancelled() and task.exception() is None:
                self._keep(task.result())

    async def _read(self, company_id: int, now: datetime) -> _Entry | None:
        began_s = time.monotonic()
        found = await self._read_facts([company_id], now)
        return _Entry(found[company_id], began_s, began_s) if company_id in found else None

    async def _read_facts(self, company_ids: Collection[int], now: datetime) -> dict[int, Facts]:
        try:
            # What takes longer would be too old to be told.
            async with (
                asyncio.timeout(ANSWER_AGE_MAX_S),
                transaction(self._database.operator, snapshot=True) as connection,
            ):
                return await read_facts(connection, company_ids, now)
        except TimeoutError as error:
            raise Unavailable("the database is not reachable fast enough right now; ask again") from error

    def _keep(self, entry: _Entry | None) -> None:
        if entry is None:
            return
        company_id = entry.facts.company_id
        known = self._entries.get(company_id)
        if known is not None:
            if known.began_s > entry.began_s:
                return
            entry.asked_s = max(known.asked_s, entry.asked_s)
        elif len(self._entries) >= WATCHED_COMPANIES_MAX:
            self._entries.pop(next(iter(self._entries)))
        self._entries[company_id] = entry
        self._watching.set()

    async def _keep_warm(self) -> None:
        while True:
            await self._watching.wait()
            began_s = time.monotonic()
            try:
                await self._look(began_s)
                self._down = False
            except Unavailable as error:
                if not self._down:
                    _log.warning("entitlements_not_kept_warm", error=error.message)
                self._down = True
            except Exception:  # noqa: BLE001 - without this loop every question would read
                _log.exception("entitlements_warming_broke")
            await asyncio.sleep(max(WARM_EVERY_S - (time.monotonic() - began_s), 0))

    async def _look(self, began_s: float) -> None:
        """Prove what stands still by one query, then read what moved, as far as the round's time goes."""
        self._entries = {key: row for key, row in self._entries.items() if began_s - row.asked_s < WATCHED_FOR_S}
        if not self._entries:
            self._watching.clear()
            return
        try:
            async with asyncio.timeout(ANSWER_AGE_MAX_S), transaction(self._database.operator) as connection:
                found = await read_states(connection, list(self._entries))
        except TimeoutError as error:
            raise Unavailable("the versions were not read in time") from error
        now, moved = self._clock(), []
        for company_id, entry in self._entries.items():
            facts = entry.facts
            stands = found.get(company_id) == (facts.version, facts.status)
            if stands and facts.valid_from <= now < facts.valid_until:
                entry.began_s = max(entry.began_s, began_s)
            else:
                moved.append((entry.asked_s, company_id))
        moved.sort(reverse=True)
        for first in range(0, len(moved), WARM_AT_ONCE_MAX):
            if time.monotonic() - began_s > WARM_ROUND_MAX_S:
                break
            await self._read_moved([company_id for _, company_id in moved[first : first + WARM_AT_ONCE_MAX]])

    async def _read_moved(self, company_ids: list[int]) -> None:
        began_s = time.monotonic()
        found = await self._read_facts(company_ids, self._clock())
        for company_id in company_ids:
            known = self._entries.get(company_id)
            if known is None:  # forgotten meanwhile, by someone who knows better
                continue
            if company_id in found:
                self._keep(_Entry(found[company_id], began_s, known.asked_s))
            else:
                del self._entries[company_id]
