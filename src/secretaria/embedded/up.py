"""`secretaria up`: the servers that the settings do not replace, then our own processes, until a signal.

`secretaria web` with several processes keeps them alive in the same way, on servers that are up already.
"""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from secretaria.core.errors import ConfigurationError
from secretaria.embedded import processes
from secretaria.embedded.children import Child, ChildSpec, CommandChild
from secretaria.embedded.runtime import publish, replaced, running_or_lock, withdraw
from secretaria.embedded.servers import EmbeddedServers, Endpoints
from secretaria.embedded.supervisor import StopRequested, StopSignals, Supervisor
from secretaria.embedded.terminal import say
from secretaria.settings import Settings

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_FOLDER = "metrics"


def run_up(
    settings: Settings,
    children: Sequence[ChildSpec],
    *,
    prepare: Callable[[Endpoints], None],
    on_ready: Callable[[Endpoints], None],
    shared_buffers_mb: int | None = None,
) -> int:
    """Run everything and keep it alive; returns the exit code.

    Steps: 1. lock the data folder, or print the URL of the copy that runs on it (and return 0);
    2. start the servers; 3. `prepare` (migrate, first data); 4. start the children; 5. `on_ready` once they
    serve; 6. on SIGTERM or SIGINT end the children, then Valkey, PostgreSQL last.
    Raises ConfigurationError when it cannot start; then nothing is left running.
    """
    signals = StopSignals()
    servers = EmbeddedServers(
        settings.secretaria_data_dir,
        postgres=not settings.database_url,
        valkey=not settings.redis_url,
        shared_buffers_mb=shared_buffers_mb,
    )
    with signals.caught():
        try:
            running = running_or_lock(settings, servers.folder)
            if running is not None:
                say(f"a copy already runs on {settings.secretaria_data_dir} (process {running.pid})")
                print(running.panel_url, flush=True)
                return 0
            withdraw(servers.folder)  # what a killed copy left
            with servers.folder.owner():
                return _own(settings, servers, signals, children=children, prepare=prepare, on_ready=on_ready)
        except StopRequested:
            say("stopped before it had started")
            return 0
        finally:
            signals.interrupts = False
            servers.folder.unlock()


def run_beside(settings: Settings, children: Sequence[ChildSpec], found: Endpoints) -> int:
    """Keep children alive on servers that others look after, until a signal; returns the exit code."""
    signals = StopSignals()
    signals.interrupts = False
    with signals.caught(), tempfile.TemporaryDirectory(prefix="secretaria-metrics-") as metrics:
        _require_free_port(settings.host, settings.port)
        env = _environment(settings, found, Path(metrics))
        supervisor = Supervisor(signals)
        supervisor.add([CommandChild(spec, env=env, lock_fd=None) for spec in children])
        try:
            return supervisor.run(lambda: say(f"{len(children)} processes serve on port {settings.port}"))
        finally:
            supervisor.end()


def _own(
    settings: Settings,
    servers: EmbeddedServers,
    signals: StopSignals,
    *,
    children: Sequence[ChildSpec],
    prepare: Callable[[Endpoints], None],
    on_ready: Callable[[Endpoints], None],
) -> int:
    processes.adopt_orphans()
    _require_free_port(settings.host, settings.port)
    supervisor: Supervisor | None = None
    try:
        found = replaced(settings, servers.start())
        prepare(found)
        signals.interrupts = False  # from here on a signal is a wish that `run` and `end` grant in order
        supervisor = Supervisor(signals, logs=[server.log for server in servers.running()])
        for server in servers.running():
            supervisor.add([server])
        publish(servers.folder, found, panel_url=settings.public_url, now=datetime.now(UTC))
        supervisor.add(_commands(settings, servers, children, found))
        return supervisor.run(lambda: on_ready(found))
    finally:
        signals.interrupts = False
        withdraw(servers.folder)
        if supervisor is None:
            servers.stop()
        else:
            say("stopping")
            supervisor.end()


def _commands(
    settings: Settings, servers: EmbeddedServers, children: Sequence[ChildSpec], found: Endpoints
) -> list[Child]:
    metrics = servers.folder.path / METRICS_FOLDER
    shutil.rmtree(metrics, ignore_errors=True)  # the counts of processes that are gone
    metrics.mkdir(mode=0o700)
    env = _environment(settings, found, metrics)
    return [CommandChild(spec, env=env, lock_fd=servers.folder.lock_fd) for spec in children]


def _environment(settings: Settings, found: Endpoints, metrics: Path) -> dict[str, str]:
    """What our processes get to see; an own folder for the metrics of all of them goes before ours."""
    return {
        METRICS_VARIABLE: str(metrics),
        **os.environ,
        "SECRETARIA_DATA_DIR": str(settings.secretaria_data_dir),
        "DATABASE_URL": found.database_url,
        "DATABASE_OWNER_URL": found.owner_url,
        "REDIS_URL": found.redis_url,
    }


def _require_free_port(host: str, port: int) -> None:
    """Say at once that the panel's port is taken, not from a child that restarts for ever."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"HOST, PORT: cannot listen on {host}:{port} ({error.strerror or error}): "
            "set PORT to a free one, or stop the program that holds it"
        ) from error
