"""Background jobs: procrastinate on PostgreSQL, as the operator role. A door: it reads the clock and calls services.

Every task may run twice or on several workers at once: what it calls changes nothing the second time.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Final, TypeAlias

import procrastinate
import psycopg
import structlog
from procrastinate import JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import DeleteJobCondition, Status

from secretaria.bootstrap import Application
from secretaria.core.errors import Unavailable
from secretaria.services.housekeeping import ensure_partitions, remove_expired
from secretaria.store.database import CONNECT_TIMEOUT_S, IDLE_IN_TRANSACTION_TIMEOUT_MS, LOCK_TIMEOUT_MS, Role

CONCURRENCY: Final = 4
CONNECTIONS_MAX: Final = 4
POOL_WAIT_S: Final = 5.0
CLOSE_PASSES_MAX: Final = 20
ARCHIVE_PASSES_MAX: Final = 20
SHUTDOWN_WAIT_S: Final = 20.0
"""How long a job under way may go on after SIGTERM; then it is cancelled and its transaction rolled back."""

STALLED_AFTER: Final = timedelta(minutes=2)
FINISHED_JOBS_KEPT_HOURS: Final = 72
RECONNECT_WAIT_FIRST_S: Final = 0.5
RECONNECT_WAIT_MAX_S: Final = 15.0
STEADY_AFTER_S: Final = 60.0
"""A worker that ran this long before it fell starts over with the shortest wait."""

_log = structlog.get_logger(__name__)


async def close_reports(context: JobContext, timestamp: int) -> None:
    """Every minute: close the days and weeks that have ended, and revise those with late usage."""
    del timestamp  # when it was planned; what is due is decided now
    application = _application(context)
    for _ in range(CLOSE_PASSES_MAX):
        closed = await application.reports.close_due(application.clock())
        if closed.reports or closed.revisions or closed.failed:
            _log.info("reports_closed", reports=closed.reports, revisions=closed.revisions, failed=closed.failed)
        if not closed.more or not (closed.reports or closed.revisions):
            return


async def archive_reports(context: JobContext, timestamp: int) -> None:
    """Every minute: freeze the PDFs of weeks and months whose days are closed, some companies at a time."""
    del timestamp
    application = _application(context)
    for _ in range(ARCHIVE_PASSES_MAX):
        archived = await application.archive.keep_due(application.clock())
        if archived.files or archived.failed:
            _log.info("reports_archived", files=archived.files, failed=archived.failed)
        if not archived.more or archived.failed:
            return


async def sync_prices(context: JobContext, timestamp: int) -> None:
    """Every minute: companies made by a command with other settings than the server's get the server's prices."""
    del timestamp
    application = _application(context)
    await application.companies.sync_prices(application.clock())


async def refresh_exchange_rates(context: JobContext, timestamp: int) -> None:
    """Every hour: Banco Central is asked once a day, when its closing should be out and until it is."""
    del timestamp
    application = _application(context)
    refreshed = await application.exchange_rates.refresh(application.clock())
    if refreshed.companies:
        rate = refreshed.newest.named_source if refreshed.newest else None
        _log.info("exchange_rates_dated", companies=refreshed.companies, rate=rate, stale=refreshed.stale)


async def sweep_webhooks(context: JobContext, timestamp: int) -> None:
    """Every minute: count webhooks that could not be counted when they came, or whose number has an account now."""
    del timestamp
    swept = await _application(context).webhooks.sweep(_application(context).clock())
    if swept.counted or swept.failed:
        _log.info("webhooks_swept", counted=swept.counted, failed=swept.failed)


async def sweep_alerts(context: JobContext, timestamp: int) -> None:
    """Every minute: decide about alerts where something dated began, and prove that no crossing was missed."""
    del timestamp
    application = _application(context)
    swept = await application.alerts.sweep(application.clock())
    if swept.decided or swept.missed:
        _log.info("alerts_swept", decided=swept.decided, missed=swept.missed)


async def keep_house(context: JobContext, timestamp: int) -> None:
    """Every hour: partitions ahead, expired sessions, old failed logins, messages and webhooks, jobs left behind."""
    del timestamp
    application = _application(context)
    now = application.clock()
    await ensure_partitions(application.endpoints.owner_url, now)
    removed = await remove_expired(application.database, now)
    messages = await application.messages.remove_expired(now)
    webhooks = await application.webhooks.remove_expired(now)
    deliveries = await application.deliveries.remove_expired(now)
    _log.info(
        "house_kept",
        sessions_removed=removed,
        messages_removed=messages,
        webhooks_removed=webhooks,
        deliveries_removed=deliveries,
    )
    await _remove_old_jobs(context.app)


async def sync_meta(context: JobContext, timestamp: int) -> None:
    """Every minute: pull Meta's figures of the companies whose turn it is, a quarter of an hour after the last."""
    del timestamp
    application = _application(context)
    await application.meta.sync_due(application.clock())


async def _remove_old_jobs(app: procrastinate.App) -> None:
    """Jobs of a dead worker: a periodic one has come round again since and goes, any other is tried again."""
    manager = app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER / timedelta(seconds=1)):
        if job.task_name in {name for name, _, _ in PERIODIC_TASKS}:
            await manager.finish_job(job, status=Status.FAILED, delete_job=True)
        else:
            await manager.retry_job(job)
    await manager.delete_old_jobs(
        nb_hours=FINISHED_JOBS_KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
    )


async def reseal_secrets(context: JobContext, timestamp: int) -> None:
    """Every minute: seal endpoints' secrets with the current key where a retired one sealed them."""
    del timestamp
    await _application(context).delivery_endpoints.reseal()


async def keep_overview(context: JobContext, timestamp: int) -> None:
    """Every minute: how companies that moved stand now, for the order of the operator's list."""
    del timestamp
    application = _application(context)
    await application.overview.keep(application.clock())


PeriodicTask: TypeAlias = Callable[[JobContext, int], Awaitable[None]]
PERIODIC_TASKS: Final[tuple[tuple[str, str, PeriodicTask], ...]] = (
    ("close_reports", "* * * * *", close_reports),
    ("archive_reports", "* * * * *", archive_reports),
    ("sync_prices", "* * * * *", sync_prices),
    ("refresh_exchange_rates", "20 * * * *", refresh_exchange_rates),
    ("sweep_webhooks", "* * * * *", sweep_webhooks),
    ("sweep_alerts", "* * * * *", sweep_alerts),
    ("keep_house", "7 * * * *", keep_house),
    ("reseal_secrets", "* * * * *", reseal_secrets),
    ("sync_meta", "* * * * *", sync_meta),
    ("keep_overview", "* * * * *", keep_overview),
)
"""Name, when (cron, UTC), what. The name is its queueing lock too: one of a kind waits in the queue at most."""


def create_app(database_url: str) -> procrastinate.App:
    """Return the job app of a database, not opened yet."""
    options = (
        f"-c role={Role.OPERATOR} -c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS}"
    )
    connector = PsycopgConnector(
        conninfo=database_url,
        kwargs={"options": options, "connect_timeout": CONNECT_TIMEOUT_S, "application_name": "secretaria_jobs"},
        min_size=1,
        max_size=CONNECTIONS_MAX,
        timeout=POOL_WAIT_S,
    )
    app = procrastinate.App(connector=connector)
    for name, cron, function in PERIODIC_TASKS:
        task = app.task(name=name, queueing_lock=name, pass_context=True)(function)
        app.periodic(cron=cron)(task)
    return app


async def run_worker(application: Application, *, stop: asyncio.Event | None = None) -> None:
    """Work until SIGTERM, SIGINT or `stop`; jobs and deliveries under way get their time to end.

    When the database goes away the worker starts over, waiting RECONNECT_WAIT_FIRST_S, then twice as long each
    time up to RECONNECT_WAIT_MAX_S.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    wait_s = RECONNECT_WAIT_FIRST_S
    with _signals_set(stop):
        dispatching = asyncio.create_task(application.dispatcher.run(stop))
        dispatching.add_done_callback(lambda _: stop.set())
        application.alert_feeds.start()  # the application stops them
        while not stop.is_set():
            started = loop.time()
            try:
                await _work(application, stop)
            except (ConnectorException, psycopg.Error, Unavailable) as error:
                _log.warning("worker_fell", error=str(error.__cause__ or error).strip())
            if loop.time() - started > STEADY_AFTER_S:
                wait_s = RECONNECT_WAIT_FIRST_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
            wait_s = min(wait_s * 2, RECONNECT_WAIT_MAX_S)
        await dispatching
    _log.info("worker_stopped")


async def _work(application: Application, stop: asyncio.Event) -> None:
    """Run one worker until it falls or `stop` is set. Cancelling it lets the jobs under way end first."""
    await _reach(application.endpoints.database_url)
    app = create_app(application.endpoints.database_url)
    async with app.open_async():
        worker = asyncio.ensure_future(
            app.run_worker_async(
                concurrency=CONCURRENCY,
                delete_jobs=DeleteJobCondition.SUCCESSFUL,
                shutdown_graceful_timeout=SHUTDOWN_WAIT_S,
                install_signal_handlers=False,
                additional_context={"application": application},
            )
        )
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({worker, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            worker.cancel()
            (outcome,) = await asyncio.gather(worker, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome


async def _reach(database_url: str) -> None:
    """Connect once: a pool would try for half a minute before it says that nobody is there."""
    connection = await psycopg.AsyncConnection.connect(database_url, connect_timeout=CONNECT_TIMEOUT_S)
    await connection.close()


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _application(context: JobContext) -> Application:
    application = context.additional_context["application"]
    if not isinstance(application, Application):
        raise TypeError("the worker was started without its application")
    return application
