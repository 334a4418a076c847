"""Asks Meta for a company's figures, keeps them as they were pulled, and notes what went wrong and since when.

Nobody who reads figures waits for Meta or sees its errors: readers find what was kept (services/meta_figures.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg
import structlog

from secretaria.core.access import PROCESS, Caller
from secretaria.core.errors import SecretariaError
from secretaria.outbound.meta_graph import GraphError, MetaGraph, Trouble
from secretaria.services.integrations import IntegrationService, parts_of
from secretaria.services.meta_pull import Pulled, Puller, keep
from secretaria.services.scope import company_transaction, operator_transaction
from secretaria.services.secret_box import SecretUnreadable
from secretaria.store import audit, companies, integrations
from secretaria.store.companies import Company
from secretaria.store.database import Database
from secretaria.store.integrations import Integration, Part, PartState, State

SYNC_EVERY: Final = timedelta(minutes=15)
BACK_OFF_FIRST: Final = timedelta(minutes=1)
BACK_OFF_MAX: Final = timedelta(hours=6)
BACK_OFF_DOUBLINGS_MAX: Final = 10
REFUSED_EVERY: Final = timedelta(hours=6)
LEASE: Final = timedelta(minutes=10)
"""How long a worker has a part to itself; longer than a company's pass may take."""

PASS_TIMEOUT_S: Final = 240.0
TEST_TIMEOUT_S: Final = 25.0
CLAIMED_MAX: Final = 30
CLAIMS_A_RUN_MAX: Final = 50
COMPANIES_AT_ONCE: Final = 4

# Codes that say the token itself is dead: the other parts need not ask.
_TOKEN_DEAD_CODES: Final = frozenset((0, 102, 190))

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One part of a test: outcome is ok, not_configured, or what its error asks for (Trouble)."""

    part: Part
    outcome: str
    meta_code: int | None
    detail: str


class MetaService:
    """Pulls in the background, and tests a connection while the operator waits.

    Demo companies ask demo_graph where there is one, and never Meta's own; all others ask graph.
    """

    def __init__(
        self,
        database: Database,
        connections: IntegrationService,
        graph: MetaGraph,
        demo_graph: MetaGraph | None = None,
    ) -> None:
        self._database = database
        self._connections = connections
        self._graph = graph
        self._demo_graph = demo_graph

    async def close(self) -> None:
        """Close the connections to Meta."""
        await self._graph.close()
        if self._demo_graph is not None:
            await self._demo_graph.close()

    def _graph_of(self, company: Company) -> MetaGraph | None:
        if not company.demo:
            return self._graph
        return self._demo_graph or (None if self._graph.is_metas_own else self._graph)

    async def sync_due(self, now: datetime) -> int:
        """Pull what is due, of all companies; return the number of companies asked for."""
        await self._connections.reseal()
        asked = 0
        for _ in range(CLAIMS_A_RUN_MAX):
            async with operator_transaction(self._database, PROCESS) as connection:
                due = await integrations.claim_due(connection, now, until=now + LEASE, limit=CLAIMED_MAX)
            if not due:
                break
            room = asyncio.Semaphore(COMPANIES_AT_ONCE)
            await asyncio.gather(*(self._sync_one(room, company_id, now, parts) for company_id, parts in due.items()))
            asked += len(due)
        return asked

    async def _sync_one(self, room: asyncio.Semaphore, company_id: int, now: datetime, parts: Sequence[Part]) -> None:
        """One company's trouble is its own: what is left unsaid is tried again when the lease ends."""
        async with room:
            try:
                await self.sync(company_id, now, parts)
            except (SecretariaError, psycopg.Error) as error:
                _log.warning("meta_sync_failed", company_id=company_id, error=type(error).__name__)

    async def sync(self, company_id: int, now: datetime, parts: Sequence[Part] | None = None) -> dict[Part, State]:
        """Pull a company's parts (all that are set up) and return how each stands.

        What Meta does is noted, never raised. Raises Unavailable when our own database is away.
        """
        read = await self._read(company_id)
        if read is None:
            return {}
        company, integration, before = read
        if self._graph_of(company) is None:
            return {}
        wanted = [part for part in parts_of(integration) if parts is None or part in parts]
        outcomes: dict[Part, Pulled | GraphError] = {}
        for part in wanted:
            dead = next((one for one in outcomes.values() if isinstance(one, GraphError) and _is_dead(one)), None)
            outcomes[part] = dead or await self._pull(company, integration, part, now)
        return await self._keep(company, integration, before, outcomes, now)

    async def test(self, caller: Caller, company_id: int, now: datetime) -> list[Check]:
        """Ask Meta for a little of each part and say what it answered; nothing is kept. Operators only."""
        shown = await self._connections.get(caller, company_id)
        read = await self._read(company_id)
        company, integration = (read[0], read[1]) if read else (None, shown.integration)
        ready = parts_of(integration) if company and self._graph_of(company) else []
        checks = []
        for part in Part:
            if company is None or part not in ready:
                checks.append(Check(part, "not_configured", None, "not everything it needs was entered"))
            else:
                checks.append(await self._check(company, integration, part, now))
        async with company_transaction(self._database, caller, company_id) as connection:
            await audit.insert(
                connection, company_id, actor=caller.identity, action="integration.tested",
                subject=f"integration:{integration.integration_id}",
                detail={check.part.value: check.outcome for check in checks},
            )  # fmt: skip
        return checks

    async def _check(self, company: Company, integration: Integration, part: Part, now: datetime) -> Check:
        try:
            async with asyncio.timeout(TEST_TIMEOUT_S):
                detail = await self._puller(company, integration, now).test(part)
        except (GraphError, TimeoutError, SecretUnreadable) as error:
            trouble = _as_trouble(error)
            return Check(part, trouble.trouble.value, trouble.meta_code, trouble.message)
        return Check(part, "ok", None, detail)

    async def _pull(self, company: Company, integration: Integration, part: Part, now: datetime) -> Pulled | GraphError:
        try:
            async with asyncio.timeout(PASS_TIMEOUT_S / len(Part)):
                return await self._puller(company, integration, now).pull(part)
        except (GraphError, TimeoutError, SecretUnreadable) as error:
            return _as_trouble(error)

    def _puller(self, company: Company, integration: Integration, now: datetime) -> Puller:
        token = self._connections.open(integration, "access_token") or ""
        graph = self._graph_of(company) or self._graph
        return Puller(self._database, graph, token, company=company, integration=integration, now=now)

    async def _read(self, company_id: int) -> tuple[Company, Integration, dict[Part, PartState]] | None:
        async with company_transaction(self._database, PROCESS, company_id, snapshot=True) as connection:
            company = await companies.read(connection, company_id)
            integration = await integrations.read(connection, company_id)
            if company is None or integration is None:
                return None
            parts = {part.part: part for part in await integrations.read_parts(connection, company_id)}
        return company, integration, parts

    async def _keep(
        self,
        company: Company,
        integration: Integration,
        before: dict[Part, PartState],
        outcomes: dict[Part, Pulled | GraphError],
        now: datetime,
    ) -> dict[Part, State]:
        """Write what came of it in one transaction, unless the operator has changed the connection meanwhile."""
        company_id = company.company_id
        states: dict[Part, State] = {}
        async with company_transaction(self._database, PROCESS, company_id) as connection:
            await companies.lock_heads(connection, [company_id])
            current = await integrations.read(connection, company_id, lock=True)
            if current is None or current.revision != integration.revision:
                return {}
            moved = False
            for part, outcome in outcomes.items():
                if isinstance(outcome, Pulled):
                    moved |= await keep(connection, company_id, outcome)
                state = _next_state(part, before.get(part), outcome, now)
                await integrations.write_part(connection, company_id, state)
                states[part] = state.state
            if moved:
                await companies.raise_versions(connection, [company_id])
        for part, outcome in outcomes.items():
            if isinstance(outcome, GraphError):
                _log.warning(
                    "meta_part_failed", company_id=company_id, part=part.value, state=states[part].value,
                    meta_code=outcome.meta_code, error=outcome.message,
                )  # fmt: skip
        return states


def _is_dead(error: GraphError) -> bool:
    return error.trouble is Trouble.RECONNECT and (error.meta_code is None or error.meta_code in _TOKEN_DEAD_CODES)


def _as_trouble(error: GraphError | TimeoutError | SecretUnreadable) -> GraphError:
    if isinstance(error, GraphError):
        return error
    if isinstance(error, SecretUnreadable):
        return GraphError("the access token kept here cannot be opened; enter it again", Trouble.RECONNECT)
    return GraphError("Meta took too long to answer", Trouble.BACK_OFF)


def _next_state(part: Part, before: PartState | None, outcome: Pulled | GraphError, now: datetime) -> PartState:
    """Decide how a part stands. After failures 1, 2, 3 ... it waits 1, 2, 4 ... minutes, or as long as Meta says."""
    if isinstance(outcome, Pulled):
        return PartState(part, State.OK, None, 0, now + SYNC_EVERY, now, None)
    failures = (before.failures if before else 0) + 1
    succeeded_at = before.succeeded_at if before else None
    stale_since = (before.stale_since if before else None) or succeeded_at or now
    state, next_attempt_at = State.RECONNECT, None
    if outcome.trouble is Trouble.REFUSED:
        state, next_attempt_at = State.REFUSED, now + REFUSED_EVERY
    elif outcome.trouble is Trouble.BACK_OFF:
        doubled = BACK_OFF_FIRST * 2 ** min(failures - 1, BACK_OFF_DOUBLINGS_MAX)
        wait = max(min(doubled, BACK_OFF_MAX), timedelta(seconds=outcome.wait_s))
        state, next_attempt_at = State.BACKING_OFF, now + wait
    return PartState(part, state, outcome.meta_code, failures, next_attempt_at, succeeded_at, stale_since)
