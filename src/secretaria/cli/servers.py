"""`secretaria up`, `web`, `worker` and `migrate`: everything at once, or each part alone."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import (
    migrate_database,
    opened_database,
    quiet_logs,
    run_on,
    utc_now,
)
from secretaria.cli.demo import DemoSetting, prepare_demo, running_traffic
from secretaria.cli.output import print_note
from secretaria.cli.welcome import print_welcome
from secretaria.core.access import PROCESS
from secretaria.core.errors import ConfigurationError

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.embedded.children import ChildSpec
    from secretaria.embedded.servers import Endpoints
    from secretaria.settings import Settings


_PROGRAM = [sys.executable, "-m", "secretaria"]

Quiet = Annotated[bool, typer.Option("--quiet", help="Log warnings only.")]


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="With five made-up companies, sixty days of usage and live traffic.")
    ] = False,
) -> None:
    """Start everything: PostgreSQL, Valkey, the panel, the worker. Ctrl-C stops it; data stays.

    Example: secretaria up --demo

    HOST and PORT say where it listens, SECRETARIA_DATA_DIR where its data is; with other values of these several
    copies run side by side. DATABASE_URL and REDIS_URL replace the servers that come with it.
    """
    from secretaria.embedded.runtime import find_running
    from secretaria.embedded.up import run_up
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    running = find_running(settings)
    if running is not None:
        print_note(f"It runs already, with its data in {settings.secretaria_data_dir}.")
        stop = f"Ctrl-C where it was started, or: kill {running.pid}"
        print_welcome(settings, running.panel_url, has_users=True, stop=stop)
        return
    setting = DemoSetting.of(settings) if demo else None
    settings = settings if setting is None else setting.settings
    has_users = True

    def prepare(found: "Endpoints") -> None:
        nonlocal has_users
        applied = migrate_database(found, utc_now())
        if applied:
            print_note(f"Made the tables ({len(applied)} migrations).")
        has_users = run_on(settings, found, _has_users if setting is None else partial(_prepare_demo, setting))

    def on_ready(_: "Endpoints") -> None:
        stop = f"Ctrl-C. The data stays in {settings.secretaria_data_dir}"
        print_welcome(settings, settings.public_url, has_users=has_users, stop=stop)

    raise typer.Exit(run_up(settings, _children(settings, setting), prepare=prepare, on_ready=on_ready))


def web(
    quiet: Quiet = False,
    process: Annotated[int | None, typer.Option(hidden=True, min=1, help="Be this one of WEB_CONCURRENCY.")] = None,
) -> None:
    """Serve the panel and the API alone. `up` runs this.

    Example: DATABASE_URL=postgresql://... REDIS_URL=redis://... secretaria web

    With WEB_CONCURRENCY above 1 it keeps that many processes alive, all on the same port.
    """
    from secretaria.embedded.up import run_beside
    from secretaria.web.server import serve

    with _served(quiet=quiet) as (settings, found):
        if process is None and settings.web_concurrency > 1:
            raise typer.Exit(run_beside(settings, _web_children(settings, ["--quiet"] if quiet else []), found))
        serve(settings, found, shares_port=process is not None)


def worker(
    demo: Annotated[bool, typer.Option("--demo", help="Send the demo's live traffic as well.")] = False,
    fake_graph_port: Annotated[int | None, typer.Option(hidden=True, min=1, max=65535)] = None,
    quiet: Quiet = False,
) -> None:
    """Run the background jobs alone: closing reports, room for new months. `up` runs this.

    Example: DATABASE_URL=postgresql://... REDIS_URL=redis://... secretaria worker
    """
    from secretaria.jobs import run_worker

    async def step(application: "Application") -> None:
        await application.companies.sync_prices(application.clock())
        await application.operator_endpoint.sync(application.clock())
        await application.rate_cards.sync_shipped(application.clock())
        await application.exchange_rates.refresh(application.clock())
        async with running_traffic(application, fake_graph_port) if demo else nullcontext():
            await run_worker(application)

    with _served(quiet=quiet) as (settings, found):
        run_on(settings, found, step)


def migrate() -> None:
    """Bring the database up to date. Safe to run again, and while others serve.

    Example: DATABASE_OWNER_URL=postgresql://... secretaria migrate
    """
    from secretaria.embedded.runtime import endpoints
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    with endpoints(settings) as found:
        applied = migrate_database(found, utc_now())
    for name in applied:
        print_note(f"Applied {name}.")
    if not applied:
        print_note("The database is up to date.")


@contextmanager
def _served(*, quiet: bool) -> "Iterator[tuple[Settings, Endpoints]]":
    """What a serving process needs; where it could only fail again, it ends so that nobody restarts it."""
    from secretaria.embedded.children import EXIT_CONFIGURATION
    from secretaria.settings import Settings
    from secretaria.web import logs

    try:
        logs.configure(logging.WARNING if quiet else logging.INFO)
        for chatty in ("procrastinate", "httpx2"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        settings = Settings.load()
        with opened_database(settings) as found:
            yield settings, found
    except ConfigurationError as error:
        print_note(f"Error: {error.message}")
        raise typer.Exit(EXIT_CONFIGURATION) from None


def _children(settings: "Settings", demo: DemoSetting | None) -> "list[ChildSpec]":
    from secretaria.embedded.children import ChildSpec

    # At a terminal a newcomer reads along; a log file or a collector gets everything.
    quiet = ["--quiet"] if sys.stderr is not None and sys.stderr.isatty() else []
    env, words = ({}, []) if demo is None else (demo.env, demo.worker_words)
    return [
        *_web_children(settings, quiet, env),
        ChildSpec("worker", [*_PROGRAM, "worker", *words, *quiet], env=env),
    ]


def _web_children(
    settings: "Settings", words: list[str], env: Mapping[str, str] = MappingProxyType({})
) -> "list[ChildSpec]":
    from secretaria.embedded.children import ChildSpec, answers_at

    command = [*_PROGRAM, "web", *words]
    if settings.web_concurrency == 1:
        return [ChildSpec("web", command, env=env, ready=answers_at(settings.host, settings.port))]
    numbers = range(1, settings.web_concurrency + 1)
    return [ChildSpec(f"web-{n}", [*command, "--process", str(n)], env=env, announces=True) for n in numbers]


async def _has_users(application: "Application") -> bool:
    return any(user.disabled_at is None for user in await application.access.list_users(PROCESS))


async def _prepare_demo(setting: DemoSetting, application: "Application") -> bool:
    await prepare_demo(application, setting)
    return True
