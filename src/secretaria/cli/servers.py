"""`secretaria up`, `web`, `worker` and `migrate`: everything at once, or each part alone."""

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import (
    command_line,
    migrate_database,
    opened_database,
    quiet_logs,
    run_on,
    utc_now,
)
from secretaria.cli.output import print_note
from secretaria.core.access import PROCESS
from secretaria.core.errors import ConfigurationError

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.cli.demo_state import DemoState
    from secretaria.embedded.children import ChildSpec
    from secretaria.embedded.servers import Endpoints
    from secretaria.settings import Settings


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="With five made-up companies, sixty days of usage, live traffic.")
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
        print_note(f"It runs already (process {running.pid}), with the data in {settings.secretaria_data_dir}.")
        _print_welcome(settings, running.panel_url, has_users=True)
        return
    has_users = True

    def prepare(found: "Endpoints") -> None:
        nonlocal has_users
        applied = migrate_database(found, utc_now())
        if applied:
            print_note(f"Made the tables ({len(applied)} migrations).")
        has_users = run_on(settings, found, _prepare_demo if demo else _prepare)

    raise typer.Exit(
        run_up(
            settings,
            _children(settings, demo=demo),
            prepare=prepare,
            on_ready=lambda _: _print_welcome(settings, settings.public_url, has_users=has_users),
        )
    )


def web() -> None:
    """Serve the panel and the API alone. `up` runs this.

    Example: DATABASE_URL=postgresql://... REDIS_URL=redis://... secretaria web
    """
    from secretaria.web.server import serve

    with _served() as (settings, found):
        serve(settings, found)


def worker() -> None:
    """Run the background jobs alone: closing reports, room for new months. `up` runs this.

    Example: DATABASE_URL=postgresql://... REDIS_URL=redis://... secretaria worker
    """
    from secretaria.jobs import run_worker

    async def step(application: "Application") -> None:
        await application.companies.sync_prices(application.clock())
        await run_worker(application)

    with _served() as (settings, found):
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
def _served() -> "Iterator[tuple[Settings, Endpoints]]":
    """What a serving process needs; where it could only fail again, it ends so that nobody restarts it."""
    from secretaria.embedded.children import EXIT_CONFIGURATION
    from secretaria.settings import Settings
    from secretaria.web import logs

    try:
        logs.configure()
        settings = Settings.load()
        with opened_database(settings) as found:
            yield settings, found
    except ConfigurationError as error:
        print_note(f"Error: {error.message}")
        raise typer.Exit(EXIT_CONFIGURATION) from None


def _children(settings: "Settings", *, demo: bool) -> "list[ChildSpec]":
    from secretaria.embedded.children import ChildSpec, answers_at

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "secretaria", *words]

    found = [
        ChildSpec("web", command("web"), ready=answers_at(settings.host, settings.port)),
        ChildSpec("worker", command("worker")),
    ]
    return [*found, ChildSpec("demo", command("demo", "run"))] if demo else found


async def _prepare(application: "Application") -> bool:
    """Date changed prices, and tell whether anybody can log in."""
    await application.companies.sync_prices(application.clock())
    return any(user.disabled_at is None for user in await application.access.list_users(PROCESS))


async def _prepare_demo(application: "Application") -> bool:
    from secretaria.cli.demo import prepare_demo

    await prepare_demo(application)
    return await _prepare(application)


def _print_welcome(settings: "Settings", url: str, *, has_users: bool) -> None:
    """Print where the panel is and how to get in: on stdout, once everything serves."""
    from secretaria.cli.demo_state import read_state

    state = read_state(settings.secretaria_data_dir)
    lines = ["", f"  Panel     {url}"]
    if state is not None:
        lines += _demo_lines(state, url)
    elif not has_users:
        create = command_line("user create you@example.com --role operator")
        lines += ["", "  Nobody can log in yet. In another terminal:", "", f"  {create}"]
    lines += ["", "  Ctrl-C stops everything; the data stays in " + str(settings.secretaria_data_dir)]
    if state is not None:
        lines += [f"  Live traffic off: {command_line('demo stop')}    Demo away: {command_line('demo remove')}"]
    print("\n".join([*lines, ""]), flush=True)


def _demo_lines(state: "DemoState", url: str) -> list[str]:
    access = state.access
    event = {
        "specversion": "1.0",
        "id": f"hello-{secrets.token_hex(4)}",
        "source": "curl",
        "type": "usage.recorded",
        "data": {"direction": "outbound", "messages": 1, "tokens_input": 120, "tokens_output": 80},
    }
    return [
        f"  Login     {access.email}",
        f"  Password  {access.password}",
        f"  API key   {access.api_key}",
        "",
        "  Count a message (pasted twice, it counts once):",
        "",
        f"  curl -sS {url}/api/usage -H 'Content-Type: application/json' \\",
        f"    -H 'Authorization: Bearer {access.api_key}' \\",
        f"    -d '{json.dumps(event)}'",
    ]
