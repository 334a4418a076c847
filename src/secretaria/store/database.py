"""Connections to PostgreSQL: one pool a role, and the proof that "committed" means on disk.

The serving role is a member of door, operator and ingest and inherits nothing. A pool's role is fixed by a start-up
option, so no pooled connection can carry another's rights.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from secretaria.core.errors import ConfigurationError, Unavailable

POOL_WAIT_S = 5.0
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_S = 5
MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
SERVER_VERSION_MIN = 160_000
CONNECTIONS_EACH_MAX = 8

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
Cursor: TypeAlias = AsyncCursor[tuple[Any, ...]]
Pool: TypeAlias = AsyncConnectionPool[Connection]


class Role(StrEnum):
    """Who a pool acts as (migrations/0006_row_level_security.sql)."""

    DOOR = "secretaria_door"
    OPERATOR = "secretaria_operator"
    INGEST = "secretaria_ingest"


def create_pool(url: str, role: Role, *, size_max: int, size_min: int = 1) -> Pool:
    """Return a closed pool whose connections act as `role`; open it with `await pool.open()`.

    After a restart of the server every pooled connection is dead. Where a caller would pay for that with a 503 they
    are checked when taken; the ingest path replaces them itself and is spared a question a transaction.
    """
    options = (
        f"-c role={role} -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC"
    )
    if role is Role.DOOR:  # what it asks is small: starting a worker (5 ms) would take longer than the work
        options += " -c max_parallel_workers_per_gather=0"
    if role is not Role.INGEST:
        # A plan for any company and any days takes nested loops for hashes: 12 ms where one for the case takes 1.4.
        options += " -c plan_cache_mode=force_custom_plan"
    return AsyncConnectionPool(
        url,
        kwargs={"options": options, "connect_timeout": CONNECT_TIMEOUT_S, "application_name": role.value},
        min_size=size_min,
        max_size=size_max,
        timeout=POOL_WAIT_S,
        open=False,
        name=role.value,
        check=None if role is Role.INGEST else AsyncConnectionPool.check_connection,
    )


@asynccontextmanager
async def transaction(
    pool: Pool, *, company_id: int | None = None, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """One transaction; with company_id, row-level security lets only that company's rows through.

    With snapshot it only reads, and all its statements see one moment.
    Raises Unavailable when the database cannot be reached, is restarting or has no connection to spare.
    """
    try:
        async with pool.connection() as connection, connection.transaction():
            # One question for both; what says REPEATABLE READ stands before the first query, or the server refuses it.
            settings = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"] if snapshot else []
            if company_id is not None:
                settings.append(f"SET LOCAL app.company_id = '{company_id:d}'")
            if settings:
                await connection.execute("; ".join(settings), prepare=False)
            yield connection
    except PoolTimeout as error:
        raise Unavailable("the database has no connection to spare; try again") from error
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable("the query took too long and was cancelled", code="query_too_heavy") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable("the database is not reachable right now; try again") from error


async def check_server(connection: Connection) -> None:
    """Refuse a server that is too old or that would acknowledge what is not on disk.

    Looks at the running value and at what is set for any role or database (pg_db_role_setting), and on a cluster
    at every worker. Raises ConfigurationError naming the setting and where it is set.
    """
    if connection.info.server_version < SERVER_VERSION_MIN:
        raise ConfigurationError(
            f"PostgreSQL 16 or newer is needed; this server is {connection.info.server_version // 10_000}"
        )
    # First where it is set for a role or a database: the running value below would only say that it is off.
    await _check_role_settings(connection)
    for name in MUST_BE_ON:
        cursor = await connection.execute("SELECT current_setting(%s)", (name,))
        row = await cursor.fetchone()
        if row is not None and row[0] == "off":
            raise _refusal(name, "on this server")
    await _check_workers(connection)


async def _check_role_settings(connection: Connection) -> None:
    cursor = await connection.execute(
        "SELECT coalesce(r.rolname, 'all roles'), coalesce(d.datname, 'all databases'), setting "
        "FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS setting "
        "LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase"
    )
    for role, database, setting in await cursor.fetchall():
        name, _, value = setting.partition("=")
        if name in MUST_BE_ON and value.lower() in {"off", "false", "no", "0"}:
            raise _refusal(name, f"for role {role} in database {database}")


async def _check_workers(connection: Connection) -> None:
    cursor = await connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
    if await cursor.fetchone() is None:
        return
    for name in MUST_BE_ON:
        cursor = await connection.execute(
            "SELECT nodename, nodeport, result FROM run_command_on_workers(%s)", (f"SHOW {name}",)
        )
        for node, port, result in await cursor.fetchall():
            if result == "off":
                raise _refusal(name, f"on the worker node {node}:{port}")


def _refusal(name: str, where: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is off {where}: an acknowledged event could be lost in a crash. Set {name} = on and start again."
    )


@dataclass(frozen=True, slots=True)
class Database:
    """The three pools of one process."""

    door: Pool
    operator: Pool
    ingest: Pool

    @classmethod
    def create(cls, url: str, *, connections_max: int = CONNECTIONS_EACH_MAX) -> "Database":
        """Return closed pools for the serving URL; connections_max is per role."""
        return cls(
            door=create_pool(url, Role.DOOR, size_max=connections_max),
            operator=create_pool(url, Role.OPERATOR, size_max=connections_max),
            ingest=create_pool(url, Role.INGEST, size_max=connections_max),
        )

    async def open(self) -> None:
        """Open the pools without waiting for the server: a door that answers 503 beats one that is not there."""
        for pool in (self.door, self.operator, self.ingest):
            await pool.open(wait=False)

    async def close(self) -> None:
        """Close the pools."""
        for pool in (self.door, self.operator, self.ingest):
            await pool.close()
