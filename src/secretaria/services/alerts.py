"""Alerts as people and the sweeper meet them: read, acknowledged, proven complete. crossings.py decides."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import psycopg
import structlog

from secretaria.core.access import Caller, Scope
from secretaria.core.crossing import AlertKind
from secretaria.core.errors import NotFound
from secretaria.core.period import local_day, month_of
from secretaria.services import crossings
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import alerts as store
from secretaria.store import audit, companies
from secretaria.store.alerts import Alert, PeriodKey
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.events import lock_heads

PAGE_ALERTS_MAX: Final = 100
SWEEP_COMPANIES_MAX: Final = 200
"""Periods read by one pass; each holds its company's head for a moment, and ingest of it waits."""

SWEEP_PASSES_MAX: Final = 50
"""Of each kind in one sweep: limits that begin for 10,000 companies at one midnight are all decided by the next."""

SWEEP_EVERY: Final = timedelta(minutes=10)
SWEEP_BACK: Final = timedelta(days=40)
_AHEAD_OF_UTC: Final = timedelta(hours=14)

Tell = Callable[[dict[int, int]], None]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweptAlerts:
    """What one sweep did: periods decided because something dated began or changed, and crossings that were missed."""

    decided: int
    checked: int
    missed: int


def alert_not_found() -> NotFound:
    """Build the answer for an alert that does not exist and for another company's: they are never told apart."""
    return NotFound("no such alert", code="alert_not_found")


class AlertService:
    """Reads and acknowledges alerts; tell publishes new versions."""

    def __init__(self, database: Database, *, tell: Tell) -> None:
        self._database = database
        self._tell = tell

    async def page(
        self, caller: Caller, company_id: int, *, limit: int = PAGE_ALERTS_MAX, before: int | None = None
    ) -> list[Alert]:
        """Return a company's alerts, newest first, below the id `before`. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        limit = min(max(limit, 1), PAGE_ALERTS_MAX)
        async with company_transaction(self._database, caller, company_id) as connection:
            if await companies.read(connection, company_id) is None:
                raise company_not_found()
            return await store.read_recent(connection, company_id, limit=limit, before=before)

    async def acknowledge(self, caller: Caller, company_id: int, alert_id: int, now: datetime) -> Alert:
        """Note that the caller has seen an alert; the first to do so stays. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            heads = await lock_heads(connection, [company_id])
            alert = await store.acknowledge(connection, company_id, alert_id, by=caller.identity, now=now)
            if alert is None:
                raise alert_not_found()
            if alert.acknowledged_at == now:
                await audit.insert(
                    connection,
                    company_id,
                    actor=caller.identity,
                    action="alert.acknowledged",
                    subject=f"alert:{alert_id}",
                )
        self._tell({of: head.version for of, head in heads.items()})
        return alert

    # --- the sweeper -------------------------------------------------------------------------------------------------

    async def sweep(self, now: datetime) -> SweptAlerts:
        """Decide what waits to be decided, then prove for companies that moved that no crossing was missed.

        Each company that moved is looked at once in SWEEP_EVERY, with its exact cost; a crossing found there is fired
        and logged as an error: ingest should have seen it.
        """
        decided = checked = missed = 0
        for _ in range(SWEEP_PASSES_MAX):
            waiting = await self._waiting(now)
            for key in waiting:
                decided += await self._decide(key, may_resolve=True, now=now) is not None
            if len(waiting) < SWEEP_COMPANIES_MAX:
                break
        for _ in range(SWEEP_PASSES_MAX):
            unswept = await self._unswept(now)
            for key in unswept:
                fired = await self._decide(key, may_resolve=False, now=now)
                missed += _note_missed(fired or ())
            checked += len(unswept)
            if len(unswept) < SWEEP_COMPANIES_MAX:
                break
        return SweptAlerts(decided, checked, missed)

    async def _unswept(self, now: datetime) -> list[PeriodKey]:
        async with transaction(self._database.operator) as connection:
            return await store.read_unswept(
                connection, since=_since(now), before=now - SWEEP_EVERY, limit=SWEEP_COMPANIES_MAX
            )

    async def _waiting(self, now: datetime) -> list[PeriodKey]:
        """Return undecided periods, and those for which other limits have begun since they were decided."""
        async with transaction(self._database.operator) as connection:
            undecided = await store.read_undecided(connection, limit=SWEEP_COMPANIES_MAX)
            begun = await store.read_begun_limits(connection, since=_since(now), until=(now + _AHEAD_OF_UTC).date())
            todays = await _local_days(connection, {company_id for company_id, _ in begun}, now)
        dated = [key for key, days in begun.items() if key[0] in todays and min(days) <= todays[key[0]]]
        return sorted({*undecided, *dated})[:SWEEP_COMPANIES_MAX]

    async def _decide(self, key: PeriodKey, *, may_resolve: bool, now: datetime) -> list[Alert] | None:
        """Return what fired; None where somebody holds the head for long: the next sweep comes back to it."""
        company_id = key[0]
        try:
            async with transaction(self._database.operator) as connection:
                # A look that finds nothing moves no version: nobody has anything new to read.
                if not await _lock_head(connection, company_id):
                    return []
                fired = await crossings.decide(connection, {key: may_resolve}, now=now, exact=True)
                if fired or may_resolve:
                    await companies.raise_versions(connection, [company_id])
                await store.set_swept(connection, key, now=now)
        except _HeadHeldError:
            _log.warning("alerts_not_swept", company_id=company_id, reason="its head is held")
            return None
        return fired


class _HeadHeldError(Exception):
    """A company's head was not to be had within the lock timeout."""


async def _lock_head(connection: Connection, company_id: int) -> list[int]:
    try:
        return await companies.lock_heads(connection, [company_id])
    except psycopg.errors.LockNotAvailable as error:
        raise _HeadHeldError from error


def _note_missed(fired: Collection[Alert]) -> int:
    """Log limit alerts that ingest should have fired; what has no price is found here and nowhere else."""
    missed = [alert for alert in fired if alert.kind == AlertKind.LIMIT]
    for alert in missed:
        _log.error("crossing_missed", company_id=alert.company_id, metric=alert.metric, threshold=alert.threshold)
    return len(missed)


async def _local_days(connection: Connection, company_ids: Collection[int], now: datetime) -> Mapping[int, date]:
    found = await companies.read_some(connection, sorted(company_ids)) if company_ids else []
    return {company.company_id: local_day(company.schedule, now) for company in found}


def _since(now: datetime) -> date:
    return month_of((now - SWEEP_BACK).date()).start
