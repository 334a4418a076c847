"""The worker on a real queue, as the operator role: it closes, cleans up, stops when told, and outlives its database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued
from tests.shop import OPERATOR, rows

from secretaria import jobs
from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from secretaria.services import housekeeping
from secretaria.services.housekeeping import ensure_partitions, remove_expired

pytestmark = pytest.mark.anyio

PATIENCE_S = 30
REPORTS = "SELECT count(*) FROM analytics_reports"
WORKERS = "SELECT id FROM procrastinate_workers ORDER BY id"
MADE = datetime(2026, 11, 16, 15, tzinfo=UTC)
NIGHT = datetime(2026, 11, 17, 3, 0, 5, tzinfo=UTC)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.02)


@pytest.fixture
async def shop(application: Application) -> Application:
    """The application one night later than its company was made: one day is due."""
    await application.companies.create(OPERATOR, "Clínica", now=MADE)
    return replace(application, clock=lambda: NIGHT)


@asynccontextmanager
async def working(application: Application) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    worker = asyncio.create_task(jobs.run_worker(application, stop=stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await worker


@asynccontextmanager
async def opened(endpoints: Endpoints) -> AsyncIterator[App]:
    app = jobs.create_app(endpoints.database_url)
    async with app.open_async():
        yield app


async def run_once(app: App, application: Application, name: str) -> None:
    await app.configure_task(name).defer_async(timestamp=0)
    await app.run_worker_async(
        wait=False, install_signal_handlers=False, additional_context={"application": application}
    )


async def test_a_worker_closes_what_is_due_and_goes_when_told(shop: Application, endpoints: Endpoints) -> None:
    async with working(shop):
        await until(lambda: rows(endpoints.admin_url, REPORTS) == [(1,)])
        await until(lambda: len(rows(endpoints.admin_url, WORKERS)) == 1)
        users = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'secretaria_jobs' AND datname = current_database()"
        assert rows(endpoints.admin_url, users) == [("secretaria",)]
    assert rows(endpoints.admin_url, WORKERS) == []
    assert rows(endpoints.admin_url, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'") == [(0,)]


async def test_two_workers_do_the_same_minute_once(shop: Application, endpoints: Endpoints) -> None:
    async with working(shop), working(shop):
        await until(lambda: len(rows(endpoints.admin_url, WORKERS)) == 2)
        await until(lambda: rows(endpoints.admin_url, REPORTS) == [(1,)])
    assert rows(endpoints.admin_url, REPORTS) == [(1,)]


async def test_the_worker_outlives_connections_that_are_cut(shop: Application, endpoints: Endpoints) -> None:
    async with working(shop) as worker:
        await until(lambda: rows(endpoints.admin_url, REPORTS) == [(1,)])
        await until(lambda: len(rows(endpoints.admin_url, WORKERS)) == 1)
        # The other jobs of the minute have ended too: one cut while it notes its end is the job library's to report.
        open_jobs = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        await until(lambda: rows(endpoints.admin_url, open_jobs) == [(0,)])
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'secretaria' AND datname = current_database()"
        assert rows(endpoints.admin_url, cut) > [(1,)]
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("DELETE FROM analytics_reports")
            connection.execute("DELETE FROM report_progress")
        async with opened(endpoints) as app:
            await app.configure_task("close_reports").defer_async(timestamp=1)
        await until(lambda: rows(endpoints.admin_url, REPORTS) == [(1,)])
        assert not worker.done()


async def test_a_worker_that_finds_no_database_waits_longer_each_time_and_still_goes_when_told(
    shop: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RECONNECT_WAIT_FIRST_S", 0.01)
    nowhere = replace(shop.endpoints, database_url="postgresql://secretaria@127.0.0.1:1/nowhere")
    attempts: list[float] = []
    work = jobs._work

    async def timed_work(application: Application, stop: asyncio.Event) -> None:
        attempts.append(asyncio.get_running_loop().time())
        await work(application, stop)

    monkeypatch.setattr(jobs, "_work", timed_work)
    async with working(replace(shop, endpoints=nowhere)) as worker:
        await until(lambda: len(attempts) >= 5)
        assert not worker.done()
    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert all(wait >= 0.01 * 2**number for number, wait in enumerate(waits))


async def test_a_job_under_way_ends_before_the_worker_does(shop: Application, endpoints: Endpoints) -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow:
        async def close_due(self, now: datetime) -> object:
            begun.set()
            await go_on.wait()
            ended.set()
            return await shop.reports.close_due(now)

    async with working(replace(shop, reports=Slow())) as worker:  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert ended.is_set()
    assert worker.done()
    assert rows(endpoints.admin_url, REPORTS) == [(1,)]


async def test_the_job_of_a_worker_that_died_does_not_stay_for_ever(shop: Application, endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')")
        for name in ("close_reports", "later_issue"):
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id, args) "
                "VALUES ('default', %s, 'doing', (SELECT max(id) FROM procrastinate_workers), '{}')",
                (name,),
            )
    async with opened(endpoints) as app:
        await jobs._remove_old_jobs(app)
    left = rows(endpoints.admin_url, "SELECT task_name, status::text FROM procrastinate_jobs")
    assert left == [("later_issue", "todo")]


async def test_keeping_house_removes_what_expired_and_makes_partitions(
    shop: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "SESSIONS_BATCH_MAX", 2)
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        for number in range(7):
            session = f"s{number}"
            connection.execute(
                "INSERT INTO sessions (company_id, session_id, user_id, secret_hash, expires_at) VALUES (1, %s, 1, '', %s)",
                (session, NIGHT + timedelta(seconds=number - 5)),
            )
            connection.execute(
                "INSERT INTO directory (kind, key, company_id, id) VALUES ('session', %s, 1, '1')", (session,)
            )
        connection.execute(
            "INSERT INTO login_failures (subject, window_start) VALUES ('a', %s), ('b', %s)",
            (NIGHT - timedelta(days=3), NIGHT),
        )
        connection.execute("DROP TABLE usage_events_2027_01")
    async with opened(endpoints) as app:
        await run_once(app, shop, "keep_house")
    for statement in ("SELECT session_id FROM sessions", "SELECT key FROM directory WHERE kind = 'session'"):
        assert [name for (name,) in rows(endpoints.admin_url, statement)] == ["s6"]
    assert rows(endpoints.admin_url, "SELECT subject FROM login_failures") == [("b",)]
    assert rows(endpoints.admin_url, "SELECT to_regclass('usage_events_2027_01') IS NOT NULL") == [(True,)]


async def test_without_an_owner_the_house_is_kept_and_the_missing_partitions_are_told(
    shop: Application, endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await ensure_partitions(None, NIGHT) == []
    assert await ensure_partitions(endpoints.database_url, NIGHT + timedelta(days=400)) == []
    assert capsys.readouterr().out.count("partitions_not_made") == 2
    assert await remove_expired(shop.database, NIGHT) == 0


@pytest.mark.parametrize("role", ["secretaria_door", "secretaria_ingest"])
async def test_no_other_role_reaches_the_queue(endpoints: Endpoints, role: str) -> None:
    with (
        psycopg.connect(endpoints.database_url, options=f"-c role={role}") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT count(*) FROM procrastinate_jobs")


async def test_every_task_is_planned_and_one_of_a_kind_waits_at_most(endpoints: Endpoints) -> None:
    async with opened(endpoints) as app:
        planned = {task.task.name: task.cron for task in app.periodic_registry.periodic_tasks.values()}
        assert planned == {
            "close_reports": "* * * * *",
            "sweep_webhooks": "* * * * *",
            "sync_prices": "* * * * *",
            "refresh_exchange_rates": "20 * * * *",
            "keep_house": "7 * * * *",
            "sync_meta": "* * * * *",
            "keep_overview": "* * * * *",
            "archive_reports": "* * * * *",
            "sweep_alerts": "* * * * *",
            "reseal_secrets": "* * * * *",
        }
        for name in planned:
            await app.tasks[name].defer_async(timestamp=0)
            with pytest.raises(AlreadyEnqueued):
                await app.tasks[name].defer_async(timestamp=1)
