"""The operator's list of all companies: sorted and filtered by kept standings, shown with exact ones.

What is shown is computed again where it is no longer exact. What the list is sorted, filtered and counted by is exact
as well while few companies moved; of many, the worker brings them up to date, and the page names the moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.services import standings
from secretaria.services.scope import operator_transaction
from secretaria.store import standings as store
from secretaria.store.database import Database, transaction
from secretaria.store.standings import Counts, ListRow, Wanted

PAGE_COMPANIES: Final = 50
AT_ONCE_MAX: Final = 50
"""Companies brought up to date while a reader waits; also how many are computed of one snapshot."""

PASSES_MAX: Final = 200
KEPT_FOR: Final = timedelta(minutes=5)
"""A company that moves all the time is computed no more often than this unless it is on a screen."""

PLANS_OFFERED_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """A page of the list. first is the place of its first row, from 1 on; next_after is None on the last page."""

    as_of: datetime
    rows: tuple[ListRow, ...]
    counts: Counts
    first: int
    next_after: tuple[str, ...] | None
    plans: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class OverviewRows:
    """Rows as they are now, the counts around them, and the ids the list would have there now."""

    as_of: datetime
    rows: tuple[ListRow, ...]
    counts: Counts
    order: tuple[int, ...]


class OverviewService:
    """Reads the list and keeps what it is sorted by; only the operator sees all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, caller: Caller, wanted: Wanted, now: datetime) -> OverviewPage:
        """Return a page of PAGE_COMPANIES rows. Raises NotAllowed for everyone but the operator."""
        _require_reader(caller)
        await self._bring_up_to_date(now)
        async with operator_transaction(self._database, caller, snapshot=True) as connection:
            found = await store.read_page(connection, wanted, limit=PAGE_COMPANIES + 1)
            counts = await store.count(connection, wanted, now=now)
            first = 1 + await store.count_before(connection, wanted)
            plans = await store.read_plan_names(connection, limit=PLANS_OFFERED_MAX)
        rows = found[:PAGE_COMPANIES]
        more = len(found) > PAGE_COMPANIES
        # The page goes on behind the key its last row was sorted by, whatever that row shows by now.
        next_after = rows[-1].key if more else None
        shown = await self._exact(caller, rows, wanted, now) if counts.behind else rows
        return OverviewPage(now, tuple(shown), counts, first, next_after, tuple(plans))

    async def rows(
        self, caller: Caller, company_ids: Sequence[int], wanted: Wanted, now: datetime
    ) -> OverviewRows:
        """Return these companies as they are now, for a page that is open. Raises NotAllowed as `page`."""
        _require_reader(caller)
        if not await self._bring_up_to_date(now):
            await self._compute(await self._due(now, among=company_ids), now)
        async with operator_transaction(self._database, caller, snapshot=True) as connection:
            rows = await store.read_some(connection, company_ids, wanted)
            counts = await store.count(connection, wanted, now=now)
            order = await store.read_page(connection, wanted, limit=PAGE_COMPANIES)
        return OverviewRows(now, tuple(rows), counts, tuple(row.company_id for row in order))

    async def keep(self, now: datetime) -> int:
        """Bring companies up to date that moved since KEPT_FOR, for the worker; return how many."""
        kept = 0
        for _ in range(PASSES_MAX):
            due = await self._due(now, before=now - KEPT_FOR)
            if not due:
                break
            await self._compute(due, now)
            kept += len(due)
        return kept

    async def _bring_up_to_date(self, now: datetime) -> bool:
        """Compute what is due where that is little; False when the list stays as of an earlier moment."""
        due = await self._due(now, limit=AT_ONCE_MAX + 1)
        if len(due) > AT_ONCE_MAX:
            return False
        await self._compute(due, now)
        return True

    async def _exact(
        self, caller: Caller, rows: Sequence[ListRow], wanted: Wanted, now: datetime
    ) -> Sequence[ListRow]:
        """Return the same rows, in the same order and with the keys they were sorted by, as they are now."""
        ids = [row.company_id for row in rows]
        await self._compute(await self._due(now, among=ids), now)
        async with operator_transaction(self._database, caller, snapshot=True) as connection:
            fresh: Mapping[int, ListRow] = {
                row.company_id: row for row in await store.read_some(connection, ids, wanted)
            }
        return [replace(fresh.get(row.company_id, row), key=row.key) for row in rows]

    async def _due(
        self,
        now: datetime,
        *,
        limit: int = AT_ONCE_MAX,
        among: Sequence[int] | None = None,
        before: datetime | None = None,
    ) -> list[int]:
        async with transaction(self._database.operator) as connection:
            return await store.read_due(connection, now=now, limit=limit, among=among, before=before)

    async def _compute(self, company_ids: Sequence[int], now: datetime) -> None:
        """Read in one snapshot, write in a transaction of its own: no head is locked, ingest never waits."""
        if not company_ids:
            return
        async with transaction(self._database.operator, snapshot=True) as connection:
            computed = await standings.compute(connection, company_ids, now=now)
        async with transaction(self._database.operator) as connection:
            await store.write(connection, computed)


def _require_reader(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.ANALYTICS_READ)
