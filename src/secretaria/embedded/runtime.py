"""How other commands find a running copy: runtime.json in the data folder, believed only while its owner lives."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.folder import DataFolder, write_private
from secretaria.embedded.servers import EmbeddedServers, Endpoints, wait_for_lock
from secretaria.settings import Settings

RUNTIME_FILE = "runtime.json"


class Runtime(msgspec.Struct, frozen=True):
    """A running copy, as its owner wrote it down. Holds passwords: the file is 0600."""

    pid: int
    panel_url: str
    started_at: datetime
    database_url: str
    owner_url: str
    redis_url: str
    admin_url: str | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where its servers answer."""
        return Endpoints(self.database_url, self.owner_url, self.redis_url, self.admin_url)


def publish(folder: DataFolder, found: Endpoints, *, panel_url: str, now: datetime) -> None:
    """Let others find this process and its servers."""
    runtime = Runtime(pid=os.getpid(), panel_url=panel_url, started_at=now.astimezone(UTC), **dataclasses.asdict(found))
    write_private(folder.path / RUNTIME_FILE, msgspec.json.format(msgspec.json.encode(runtime)))


def withdraw(folder: DataFolder) -> None:
    """Let nobody find it any more; before the servers stop, and before a new owner starts."""
    (folder.path / RUNTIME_FILE).unlink(missing_ok=True)


def find_running(settings: Settings) -> Runtime | None:
    """The copy that lives on the data folder, once it is ready; a file left by a dead one is not believed."""
    folder = DataFolder(settings.secretaria_data_dir)
    if not folder.has_owner():
        return None
    path = folder.path / RUNTIME_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Runtime)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise ConfigurationError(f"a copy runs on {folder.path}, but of another user: {error}") from error


def attach(settings: Settings) -> Endpoints | None:
    """The endpoints of the live copy on the same data folder; DATABASE_URL and REDIS_URL win where set."""
    running = find_running(settings)
    return None if running is None else replaced(settings, running.endpoints)


@contextlib.contextmanager
def endpoints(settings: Settings) -> Iterator[Endpoints]:
    """For one command: what the settings name, else a running copy's servers, else our own while it lasts."""
    if settings.database_url and settings.redis_url:
        yield replaced(settings, Endpoints("", "", ""))
        return
    servers = EmbeddedServers(
        settings.secretaria_data_dir, postgres=not settings.database_url, valkey=not settings.redis_url
    )
    running = running_or_lock(settings, servers.folder)
    if running is not None:
        yield replaced(settings, running.endpoints)
        return
    with servers:
        yield replaced(settings, servers.start())


def running_or_lock(settings: Settings, folder: DataFolder) -> Runtime | None:
    """A running copy, or None with the data folder locked for us; waits for one that starts or ends."""
    found: list[Runtime] = []

    def runs() -> bool:
        running = find_running(settings)
        found.extend([running] if running else [])
        return bool(found)

    return None if wait_for_lock(folder, enough=runs) else found[0]


def replaced(settings: Settings, found: Endpoints) -> Endpoints:
    """What was found, with DATABASE_URL, DATABASE_OWNER_URL and REDIS_URL in its place where they are set."""
    if settings.database_url:
        owner_url = settings.database_owner_url or settings.database_url
        found = dataclasses.replace(found, database_url=settings.database_url, owner_url=owner_url, admin_url=None)
    return dataclasses.replace(found, redis_url=settings.redis_url or found.redis_url)
