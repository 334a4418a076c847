"""`secretaria demo`: stop, start and remove the made-up companies that `up --demo` makes."""

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import command_line, ensure_month, run
from secretaria.cli.output import print_note, printable
from secretaria.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from secretaria.bootstrap import Application
    from secretaria.cli.demo_state import DemoState
    from secretaria.services.demo import DemoService
    from secretaria.services.demo_whatsapp import Deliver
    from secretaria.settings import Settings
    from secretaria.store.companies import Company

KEEP_EVERY_S = 30
APP_SECRET_BYTES = 32
app = typer.Typer(no_args_is_help=True, help="The demo's live traffic, and the demo's end.")


@app.command()
def stop() -> None:
    """Stop the demo's live traffic. Figures stay; it stays stopped over restarts.

    Example: secretaria demo stop
    """
    _set_stopped(True)
    print_note(f"The demo's live traffic stops. Again: {command_line('demo start')}")


@app.command()
def start() -> None:
    """Let the demo's live traffic run again, while `secretaria up --demo` runs.

    Example: secretaria demo start
    """
    _set_stopped(False)
    print_note("The demo's live traffic runs while `secretaria up --demo` does.")


@app.command()
def remove(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete the demo companies with everything of theirs, and disable the demo's login. Nothing else is touched.

    Example: secretaria demo remove --yes
    """
    from secretaria.cli.demo_state import read_state, remove_state
    from secretaria.settings import Settings

    settings = Settings.load()
    state = read_state(settings.secretaria_data_dir)

    async def look(application: "Application") -> "list[Company]":
        return [company for _, company in await demo_service(application).read_companies()]

    async def step(application: "Application") -> "list[Company]":
        return await demo_service(application).remove(state.access if state else None)

    if not yes:
        _confirm(run(look))
    removed = run(step)
    remove_state(settings.secretaria_data_dir)
    if not removed:
        print_note("There is no demo company.")
    for company in removed:
        print_note(f"Removed {printable(company.name)}.")
    if state is not None:
        print_note(
            f"The login {state.access.email} is disabled. Make your own: "
            f"{command_line('user create you@example.com --role operator')}"
        )
        print_note("Start without it from now on: `secretaria up`; `make run` and `up --demo` make another demo.")


@dataclass(frozen=True)
class DemoSetting:
    """What a copy with a demo sets for itself where nobody else did; env is for its children.

    app_secret: made, so that the demo's webhooks can be signed; None where WHATSAPP_APP_SECRET is set.
    fake_graph_port: where the worker serves a made-up Graph API to demo companies; None where DEMO_GRAPH_URL is set.
    """

    settings: "Settings"
    app_secret: str | None = field(repr=False)
    fake_graph_port: int | None

    @classmethod
    def of(cls, settings: "Settings") -> "DemoSetting":
        """Return it, with the secret of earlier starts."""
        from secretaria.cli.demo_state import read_state
        from secretaria.embedded.postgres import free_port

        change: dict[str, str] = {}
        app_secret = port = None
        if settings.whatsapp_app_secret is None:
            state = read_state(settings.secretaria_data_dir)
            app_secret = (state.app_secret if state else None) or secrets.token_hex(APP_SECRET_BYTES)
            change["whatsapp_app_secret"] = app_secret
        if settings.demo_graph_url is None:
            port = free_port(None)
            change["demo_graph_url"] = f"http://127.0.0.1:{port}"
        return cls(settings.model_copy(update=change), app_secret, port)

    @property
    def env(self) -> dict[str, str]:
        """What web and worker have to know."""
        env = {} if self.app_secret is None else {"WHATSAPP_APP_SECRET": self.app_secret}
        graph_url = self.settings.demo_graph_url
        return env if graph_url is None else {**env, "DEMO_GRAPH_URL": graph_url}

    @property
    def worker_words(self) -> list[str]:
        """How the worker is called."""
        return ["--demo", *([] if self.fake_graph_port is None else ["--fake-graph-port", str(self.fake_graph_port)])]


@asynccontextmanager
async def running_traffic(application: "Application", fake_graph_port: int | None) -> "AsyncIterator[None]":
    """Send the demo's live traffic beside the block, and serve the fake Graph API where a port is named."""
    import asyncio

    from secretaria.outbound.fake_graph import FakeGraph
    from secretaria.services.demo_messages import CONNECTED, meta_world, whatsapp_since

    def tell(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and ended.exception() is not None:
            print_note(f"The demo's live traffic ended: {ended.exception()}")

    world = meta_world(whatsapp_since(CONNECTED, application.clock()))
    with nullcontext() if fake_graph_port is None else FakeGraph(world, port=fake_graph_port):
        task = asyncio.create_task(_traffic(application, pull=fake_graph_port is not None), name="demo-traffic")
        task.add_done_callback(tell)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _traffic(application: "Application", *, pull: bool) -> None:
    """Send until no demo company is left. What is kept is read each time: `demo stop` is another process."""
    import msgspec

    from secretaria.cli.demo_state import read_state, write_state
    from secretaria.outbound.own_webhook import OwnWebhook

    folder = application.settings.secretaria_data_dir

    def is_stopped() -> bool:
        state = read_state(folder)
        return state is None or state.stopped

    def keep(instant: "datetime") -> None:
        state = read_state(folder)
        if state is None or (state.filled_until and (instant - state.filled_until).total_seconds() < KEEP_EVERY_S):
            return
        write_state(folder, msgspec.structs.replace(state, filled_until=instant))

    state = read_state(folder)
    if pull and state is not None:
        # Not left to the job: it passes over what a worker that was stopped meanwhile had begun to ask.
        await application.meta.sync(state.access.company_id, application.clock())
    webhook = OwnWebhook(application.settings.own_url)
    try:
        await demo_service(application, deliver=webhook.deliver).send_live(is_stopped, keep)
    finally:
        await webhook.close()


async def prepare_demo(application: "Application", setting: DemoSetting) -> "DemoState":
    """Make what is missing of the demo, its history included, with a progress bar on stderr."""
    import msgspec
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from secretaria.cli.demo_state import DemoState, read_state, write_state

    async def deliver(body: bytes, signature: bytes) -> None:
        # The panel's door is not open yet: the same step, without HTTP.
        await application.webhooks.receive(body, signature, integration_id=None, now=application.clock())

    folder = application.settings.secretaria_data_dir
    service = demo_service(application, deliver=deliver, has_fake_graph=setting.fake_graph_port is not None)
    state = read_state(folder)
    access = await service.prepare(state.access if state else None)
    if state is None or state.access.company_id != access.company_id:
        state = DemoState(access)
    state = msgspec.structs.replace(state, access=access, app_secret=setting.app_secret)
    write_state(folder, state)
    if state.stopped and state.filled_until is not None:
        return state
    until = application.clock()
    if state.filled_until is None:
        print_note("Making a demo: five companies, sixty days of usage ...")
    columns = (BarColumn(), TextColumn("{task.percentage:.0f} %"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")
        accepted = await service.fill(
            state.filled_until, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if state.filled_until is None:
        print_note(f"... {accepted} events, counted as any other usage.")
    state = msgspec.structs.replace(state, filled_until=until)
    write_state(folder, state)
    return state


def demo_service(
    application: "Application", *, deliver: "Deliver | None" = None, has_fake_graph: bool = False
) -> "DemoService":
    """Build the demo's service from the application's parts; with `deliver` it has WhatsApp accounts."""
    from secretaria.services.demo import DemoService
    from secretaria.services.demo_plans import DemoPlans
    from secretaria.services.demo_whatsapp import DemoWhatsApp

    whatsapp = None
    if deliver is not None and application.settings.whatsapp_app_secret is not None:
        whatsapp = DemoWhatsApp(
            accounts=application.accounts,
            integrations=application.integrations,
            ingest=application.ingest,
            app_secret=application.settings.whatsapp_app_secret,
            deliver=deliver,
            has_fake_graph=has_fake_graph,
        )
    return DemoService(
        application.database,
        access=application.access,
        companies=application.companies,
        ingest=application.ingest,
        ensure_month=partial(ensure_month, application.endpoints),
        clock=application.clock,
        plans=DemoPlans(application.plans, application.analytics),
        whatsapp=whatsapp,
    )


def _set_stopped(stopped: bool) -> None:
    import msgspec

    from secretaria.cli.demo_state import read_state, write_state
    from secretaria.settings import Settings

    folder = Settings.load().secretaria_data_dir
    state = read_state(folder)
    if state is None:
        raise NotFound(f"there is no demo in {folder}; `secretaria up --demo` makes one")
    write_state(folder, msgspec.structs.replace(state, stopped=stopped))


def _confirm(companies: "list[Company]") -> None:
    names = ", ".join(printable(company.name) for company in companies)
    if not companies:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput(f"this deletes {names}: add --yes", code="not_confirmed")
    if not typer.confirm(f"Delete {names} and everything of theirs?", err=True):
        raise typer.Exit(1)
