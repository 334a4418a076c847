"""The embedded Valkey: a socket only we can reach, a password, and an append-only file."""

import secrets
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from secretaria.core.errors import ConfigurationError
from secretaria.embedded import processes
from secretaria.embedded.account import Account
from secretaria.embedded.folder import DataFolder, State, log_tail, private_folder, write_private
from secretaria.embedded.terminal import say

BOOT_TIMEOUT_S = 60
POLL_S = 0.01
PASSWORD = "valkey"  # noqa: S105 - its name in the state
STOP_ESCALATION = ((signal.SIGTERM, 10.0),)
HURRIED_ESCALATION = ((signal.SIGTERM, 2.0),)
_APPEND_ONLY = "appendonlydir"
_SPOILED = ("Bad file format", "Unrecoverable error reading the append only file", "Wrong signature")


class ValkeyServer:
    """One Valkey over <home>/valkey, on a unix socket only: nobody outside this machine needs it."""

    name = "valkey"
    escalation = STOP_ESCALATION
    hurried = HURRIED_ESCALATION

    def __init__(self, folder: DataFolder, state: State, account: Account, program: Path, sockets: Path) -> None:
        self._folder, self._state, self._account, self._program = folder, state, account, program
        self.data = folder.home(state) / "valkey"
        self.socket = sockets / "valkey.sock"
        self.log = folder.log("valkey")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For redis-py's from_url."""
        return f"unix://{quote(str(self.socket))}?password={quote(self._state.passwords[PASSWORD], safe='')}"

    def prepare(self) -> None:
        """Make the folder and the configuration: in a file, as arguments are visible to every user."""
        if PASSWORD not in self._state.passwords:
            self._state.passwords[PASSWORD] = secrets.token_urlsafe(24)
            self._folder.save_state(self._state)
        private_folder(self.data, self._account)
        values = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self._state.passwords[PASSWORD],
            "dir": f'"{self.data}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        text = "".join(f"{name} {value}\n" for name, value in values.items())
        write_private(self.data / "valkey.conf", text.encode(), self._account)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server process; a file it cannot read is set aside, as PostgreSQL is the truth."""
        if self._is_spoiled():
            spoiled = self.data / f"{_APPEND_ONLY}.spoiled-{time.time_ns()}"
            (self.data / _APPEND_ONLY).rename(spoiled)
            say(f"Valkey could not read its file: starting empty, the old one is {spoiled}")
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = processes.spawn(
                [self._program, self.data / "valkey.conf"],
                death_signal=signal.SIGTERM,
                account=self._account,
                cwd=self.data,
                log=log,
                inherit=[self._folder.lock_fd],
            )
        return self.process

    def wait_ready(self) -> None:
        """Wait until it answers; raises ConfigurationError with the log's end if it does not."""
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not self.is_ready():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                if self._is_spoiled():
                    self.spawn()
                    continue
                raise ConfigurationError(f"Valkey did not start:\n{log_tail(self.log)}")
            time.sleep(POLL_S)

    def _is_spoiled(self) -> bool:
        last_words = log_tail(self.log, 4)
        return (self.data / _APPEND_ONLY).exists() and any(sign in last_words for sign in _SPOILED)

    def is_ready(self) -> bool:
        """Whether it answers a ping (while it loads its file it does not)."""
        if not self.socket.exists():
            return False
        try:
            # No retries of its own: they wait, and the caller asks again anyway.
            with Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def stop(self, *, hurry: bool = False) -> None:
        """Stop it and wait; it writes out its file first."""
        if self.process is not None:
            processes.stop(self.process, HURRIED_ESCALATION if hurry else STOP_ESCALATION)
