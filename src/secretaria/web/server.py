"""The web process: one event loop, uvicorn with our protocol, a clean end on SIGTERM and SIGINT."""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import structlog
import uvicorn
import uvloop
from uvicorn.config import Config

from secretaria.bootstrap import Application
from secretaria.bootstrap import application as build_application
from secretaria.core.errors import ConfigurationError
from secretaria.embedded.children import announce_ready
from secretaria.embedded.postgres_config import CONNECTIONS_MAX
from secretaria.embedded.servers import Endpoints
from secretaria.services.counts import watched_pools
from secretaria.settings import Settings
from secretaria.store.database import CONNECTIONS_EACH_MAX, Role
from secretaria.web.app import create_app
from secretaria.web.protocol import Limits, guarded

BACKLOG = 2_048
KEEP_ALIVE_S = 75
SHUTDOWN_GRACE_S = 5
DESCRIPTORS_WANTED = 8_192
COLLECT_AFTER_OBJECTS = 50_000
CONNECTIONS_OF_OTHERS = 48  # 3 kept for the administrator, 30 of a worker, and room for commands
CONNECTIONS_EACH_MIN = 2  # a lane each

_log = structlog.get_logger(__name__)


def serve(settings: Settings, endpoints: Endpoints, *, shares_port: bool = False) -> None:
    """Serve until a signal, alone or as one of WEB_CONCURRENCY processes on the port.

    Raises ConfigurationError when HOST and PORT cannot be listened on.
    """
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_sharing(settings, endpoints) if shares_port else _serve(settings, endpoints))


async def _serve(settings: Settings, endpoints: Endpoints) -> None:
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        async with build_application(settings, endpoints) as application:
            await _serve_on(listener, application)


async def _serve_sharing(settings: Settings, endpoints: Endpoints) -> None:
    """Listen last: the kernel hands connections to every listener of the port, ready or not."""
    connections_max = connections_each(settings.web_concurrency)
    async with build_application(settings, endpoints, connections_max=connections_max) as application:
        with contextlib.closing(listen(settings.host, settings.port, shares_port=True)) as listener:
            await _serve_on(listener, application)


async def _serve_on(listener: socket.socket, application: Application) -> None:
    await application.operator_endpoint.sync(application.clock())
    server = Server(application)
    _spare_the_collector()
    with watched_pools(application.database):
        await server.serve(sockets=[listener])


def connections_each(processes: int) -> int:
    """Return how many connections to PostgreSQL each pool of each of so many processes may have.

    Together with the worker and commands they stay below what the embedded server takes: 2 processes have 8 a pool,
    as one alone has; 8 have 2.
    """
    share = (CONNECTIONS_MAX - CONNECTIONS_OF_OTHERS) // (len(Role) * processes)
    return max(CONNECTIONS_EACH_MIN, min(CONNECTIONS_EACH_MAX, share))


def listen(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """Return a listening socket; raises ConfigurationError that names the setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shares_port)
    except OSError as error:
        raise ConfigurationError(
            f"HOST, PORT: cannot listen on {host} port {port}: {error.strerror or error}"
        ) from error


class Server(uvicorn.Server):
    """uvicorn's server for our application; streams are told to end before it waits for them."""

    def __init__(self, application: Application, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._application = application
        proxies = application.settings.trusted_proxies
        if proxies:
            # All of a proxy's connections are its clients'.
            limits = replace(limits, connections_per_address_max=limits.connections_max)
        super().__init__(
            Config(
                create_app(application),
                http=guarded(limits),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Addresses and schemes come from the socket; only a proxy of ours is believed about its clients.
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
                # A backstop: the protocol refuses connections before this is reached.
                limit_concurrency=limits.connections_max + 1,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT by returning. uvicorn would raise them again, past everything still to close."""
        loop = asyncio.get_running_loop()
        handled: list[signal.Signals] = []
        # Only the main thread can listen to signals; elsewhere (tests) whoever started us ends us.
        with contextlib.suppress(ValueError, RuntimeError):
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_signal, number)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self.force_exit = self.should_exit and number is signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so to whoever waits for it."""
        await super().startup(sockets)
        announce_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of live streams, then of requests, which have SHUTDOWN_GRACE_S to end."""
        self._application.hub.end_streams()
        await super().shutdown(sockets)


def _raise_descriptor_limit() -> None:
    """Let as many files be open as connections may come, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_the_collector() -> None:
    """What start-up made stays; what a batch makes is freed by its own counts.

    With the default threshold of 700 objects, a batch of 1,000 events is walked again and again while it is read:
    measured at a quarter of the ingest path's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 50, 50)
