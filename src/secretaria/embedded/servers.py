"""PostgreSQL and Valkey together, over one data folder, for as long as a process or a `with` block lives."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.account import Account, service_account
from secretaria.embedded.binaries import find_postgres, find_valkey
from secretaria.embedded.folder import DataFolder, State, prepare_home, socket_folder
from secretaria.embedded.postgres import ADMIN_ROLE, LOGIN_ROLE, OWNER_ROLE, PostgresServer
from secretaria.embedded.terminal import say
from secretaria.embedded.valkey import ValkeyServer

LOCK_WAIT_S = 180  # a fast shutdown's checkpoint may take this long on a slow disk
LOCK_POLL_S = 0.1
LOCK_SAY_AFTER_S = 1.0


@dataclass(frozen=True)
class Endpoints:
    """Where the servers answer. admin_url (superuser) is known of the embedded PostgreSQL only."""

    database_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    admin_url: str | None = field(default=None, repr=False)


class EmbeddedServers:
    """Starts what it is asked for; `start` returns when it is ready to be used, `stop` when it has ended."""

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        shared_buffers_mb: int | None = None,
        durable_initdb: bool = True,
    ) -> None:
        self.folder = DataFolder(data_dir)
        self.postgres: PostgresServer | None = None
        self.valkey: ValkeyServer | None = None
        self._wanted = (postgres, valkey)
        self._shared_buffers_mb, self._durable_initdb = shared_buffers_mb, durable_initdb

    def lock(self) -> None:
        """Take the data folder, waiting for the processes of an earlier copy to end."""
        wait_for_lock(self.folder)

    def start(self) -> Endpoints:
        """Boot everything; call `lock` first, or let this do it. Raises ConfigurationError."""
        if not self.folder.is_locked:
            self.lock()
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Endpoints:
        if not any(self._wanted):
            return Endpoints("", "", "")
        state = self.folder.load_state()
        home = self.folder.home(state)
        account = service_account(home / ("postgres" if self._wanted[0] else "valkey"))
        prepare_home(home, account)
        sockets = socket_folder(home, account)
        self._spawn(state, account, sockets)
        if self.postgres is not None:
            self.postgres.wait_ready()
            self.postgres.provision()
        if self.valkey is not None:
            self.valkey.wait_ready()
        return self._endpoints()

    def _spawn(self, state: State, account: Account, sockets: Path) -> None:
        if self._wanted[0]:
            self.postgres = PostgresServer(self.folder, state, account, find_postgres(account), sockets)
            self.postgres.prepare(shared_buffers_mb=self._shared_buffers_mb, durable_initdb=self._durable_initdb)
            self.postgres.spawn()
        if self._wanted[1]:
            self.valkey = ValkeyServer(self.folder, state, account, find_valkey(account), sockets)
            self.valkey.prepare()
            self.valkey.spawn()

    def _endpoints(self) -> Endpoints:
        postgres, valkey = self.postgres, self.valkey
        return Endpoints(
            database_url=postgres.url(LOGIN_ROLE) if postgres else "",
            owner_url=postgres.url(OWNER_ROLE) if postgres else "",
            redis_url=valkey.url if valkey else "",
            admin_url=postgres.url(ADMIN_ROLE) if postgres else None,
        )

    def running(self) -> list[PostgresServer | ValkeyServer]:
        """The servers in the order they were started."""
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def stop(self, *, hurry: bool = False) -> None:
        """End the servers, PostgreSQL last, and give the data folder back."""
        try:
            for server in reversed(self.running()):
                server.stop(hurry=hurry)
        finally:
            self.folder.unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def wait_for_lock(folder: DataFolder, *, enough: Callable[[], bool] = lambda: False) -> bool:
    """Take the folder's lock (True), unless `enough` says that it is not needed any more (False).

    Says what is waited for; raises ConfigurationError after LOCK_WAIT_S.
    """
    started, said = time.monotonic(), False
    while not folder.try_lock():
        if enough():
            return False
        waited = time.monotonic() - started
        if waited > LOCK_WAIT_S:
            raise ConfigurationError(
                f"processes of another copy still use {folder.path} after {LOCK_WAIT_S} s: "
                "stop them, or set SECRETARIA_DATA_DIR to another folder"
            )
        if waited > LOCK_SAY_AFTER_S and not said:
            said = True
            say(f"waiting for another copy on {folder.path}, which is starting or ending")
        time.sleep(LOCK_POLL_S)
    return True
