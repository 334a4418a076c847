"""Backup and restore as commands: the drill that proves equal totals, and everything they refuse."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.embedded import backup
from secretaria.embedded.servers import Endpoints
from secretaria.store.database import transaction
from secretaria.store.recompute import recompute
from tests.conftest import in_database
from tests.entitled import give_plan, use
from tests.shop import rows

pytestmark = [pytest.mark.anyio, pytest.mark.long]

Run = Callable[..., subprocess.CompletedProcess[str]]
TORN_BYTES = 50
# Everything that a bill, an alert or a proof rests on.
TOTALS = {
    "events": "SELECT count(*), sum(messages), sum(tokens_input) FROM usage_events",
    "identities": "SELECT count(*), md5(string_agg(i::text, ',' ORDER BY i::text)) FROM event_identities i",
    "days": "SELECT md5(string_agg(d::text, ',' ORDER BY d::text)) FROM usage_daily d",
    "hours": "SELECT md5(string_agg(h::text, ',' ORDER BY h::text)) FROM usage_hourly h",
    "counters": "SELECT md5(string_agg(c::text, ',' ORDER BY c::text)) FROM period_counters c",
    "alerts": "SELECT count(*), md5(string_agg(a::text, ',' ORDER BY a::text)) FROM alerts a",
    "deliveries": "SELECT count(*), md5(string_agg(d::text, ',' ORDER BY d::text)) FROM deliveries d",
    "endpoints": "SELECT md5(string_agg(e::text, ',' ORDER BY e::text)) FROM delivery_endpoints e",
    "prices": "SELECT md5(string_agg(p::text, ',' ORDER BY p::text)) FROM prices p",
    "audit": "SELECT count(*), md5(string_agg(a::text, ',' ORDER BY a::text)) FROM audit_log a",
    "heads": "SELECT md5(string_agg(h::text, ',' ORDER BY h::text)) FROM company_heads h",
}


def totals(endpoints: Endpoints) -> dict[str, Any]:
    return {name: rows(endpoints.admin_url or "", query) for name, query in TOTALS.items()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(endpoints: Endpoints, *words: object, backup_url: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "SECRETARIA_DATA_DIR": str(tmp_path / "var"),
            "DATABASE_URL": endpoints.database_url,
            "DATABASE_OWNER_URL": endpoints.owner_url,
            "REDIS_URL": endpoints.redis_url,
            "DATABASE_BACKUP_URL": backup_url or "",
        }
        return subprocess.run(
            [sys.executable, "-m", "secretaria", *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@contextmanager
def fresh_database(server: Endpoints) -> Iterator[Endpoints]:
    name = f"restored_{os.getpid()}"
    admin = server.admin_url or ""
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER secretaria_owner").format(sql.Identifier(name)))
    try:
        yield Endpoints(
            in_database(server.database_url, name),
            in_database(server.owner_url, name),
            server.redis_url,
            in_database(admin, name),
        )
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def trade(application: Application) -> None:
    """Two companies with usage, crossings, an endpoint with a sealed secret, and what waits before it."""
    for name in ("Nossa", "Alheia"):
        made = await application.companies.create(PROCESS, name, now=application.clock())
        await application.delivery_endpoints.create(
            PROCESS, made.company_id, "webhook", "https://93.184.216.34/in", now=application.clock()
        )
        await give_plan(application, made.company_id, messages=10)
        for _ in range(11):
            await use(application, made.company_id, messages=1, tokens_input=7)


async def proven(endpoints: Endpoints, application: Application) -> list[str]:
    async with transaction(application.database.operator) as connection:
        assert await recompute(connection, None) == []
    return [
        (await application.audit.verify(PROCESS, company)).head.hash.hex()
        for company in await application.audit.companies(PROCESS)
    ]


async def test_a_backup_restored_into_a_new_database_has_equal_totals_and_serves(
    application: Application, endpoints: Endpoints, server: Endpoints, run: Run, tmp_path: Path
) -> None:
    from secretaria.bootstrap import application as build_application

    await trade(application)
    before, heads = totals(endpoints), await proven(endpoints, application)
    assert before["alerts"][0][0] >= 4
    assert before["deliveries"][0][0] >= 4
    file = tmp_path / "all.dump"
    done = run(endpoints, "backup", file, backup_url=endpoints.admin_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await use(application, 1)  # what comes after the backup is not in it
    with fresh_database(server) as restored:
        done = run(restored, "restore", file)
        assert done.returncode == 0, done.stderr
        assert "flush the database of REDIS_URL" in done.stderr
        assert totals(restored) == before
        async with build_application(application.settings, restored) as again:
            assert await proven(restored, again) == heads
            await use(again, 1)  # roles, rights, walls and room for this month are there


async def test_a_restore_refuses_a_database_with_tables_and_replaces_it_when_told(
    endpoints: Endpoints, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "empty.dump"
    assert run(endpoints, "backup", file, backup_url=endpoints.admin_url).returncode == 0
    before = totals(endpoints)
    with psycopg.connect(endpoints.admin_url or "", autocommit=True) as connection:
        connection.execute("INSERT INTO companies (name) VALUES ('Depois')")
    refused = run(endpoints, "restore", file)
    assert (refused.returncode, "--replace" in refused.stderr) == (2, True)
    assert rows(endpoints.admin_url or "", "SELECT name FROM companies") == [("Depois",)]
    done = run(endpoints, "restore", file, "--replace")
    assert done.returncode == 0, done.stderr
    assert totals(endpoints) == before
    assert rows(endpoints.admin_url or "", "SELECT name FROM companies") == []
    again = tmp_path / "again.dump"
    assert run(endpoints, "backup", again, backup_url=endpoints.admin_url).returncode == 0
    assert run(endpoints, "restore", again, "--replace").returncode == 0
    assert totals(endpoints) == before


async def test_a_restore_that_fails_or_was_killed_leaves_the_database_as_it_was(
    endpoints: Endpoints, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "whole.dump"
    assert run(endpoints, "backup", file, backup_url=endpoints.admin_url).returncode == 0
    admin = endpoints.admin_url or ""
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("INSERT INTO companies (name) VALUES ('Fica')")
    torn = tmp_path / "torn.dump"
    torn.write_bytes(file.read_bytes()[:-TORN_BYTES])  # the list of contents is whole, the rows are not
    failed = run(endpoints, "restore", torn, "--replace")
    assert (failed.returncode, "pg_restore failed" in failed.stderr) == (1, True), failed.stderr
    assert rows(admin, "SELECT name FROM companies") == [("Fica",)]
    # As a killed restore leaves it: the old tables set aside, half of the new ones in their place.
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER SCHEMA public RENAME TO {backup.SET_ASIDE}".encode())
        connection.execute("CREATE SCHEMA public AUTHORIZATION secretaria_owner")
        connection.execute("CREATE TABLE half (n int)")
        connection.execute("ALTER TABLE half OWNER TO secretaria_owner")
    assert run(endpoints, "restore", file).returncode == 2
    assert rows(admin, "SELECT name FROM companies") == [("Fica",)]


async def test_nothing_is_restored_under_running_processes(
    application: Application, endpoints: Endpoints, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "running.dump"
    assert run(endpoints, "backup", file, backup_url=endpoints.admin_url).returncode == 0
    refused = run(endpoints, "restore", file, "--replace")
    assert (refused.returncode, "stop them first" in refused.stderr) == (2, True)
    del application


async def test_what_is_no_backup_who_sees_too_little_and_a_file_that_exists_are_refused(
    endpoints: Endpoints, run: Run, tmp_path: Path
) -> None:
    other = tmp_path / "usage.csv"
    other.write_text("id,company\n")
    assert "is no backup" in run(endpoints, "restore", other).stderr
    assert "cannot read" in run(endpoints, "restore", tmp_path / "absent").stderr
    assert "exists: name another" in run(endpoints, "backup", other, backup_url=endpoints.admin_url).stderr
    refused = run(endpoints, "backup", tmp_path / "new.dump")
    assert (refused.returncode, "DATABASE_BACKUP_URL" in refused.stderr) == (2, True)
    assert not (tmp_path / "new.dump").exists()
    assert other.read_text() == "id,company\n"


def test_a_missing_program_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(backup.ConfigurationError, match=r"pg_dump of PostgreSQL 99 or newer .* PG_BIN"):
        backup._program("pg_dump", 99)
