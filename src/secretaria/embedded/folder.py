"""The data folder: its two locks, the servers' home, and small private files written whole or not at all.

`lock` is inherited by every child: held = somebody still uses the data.
`owner.lock` is not: held = a live `up`.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.account import SERVICE_HOME, Account, service_account
from secretaria.embedded.terminal import say

SOCKET_PATH_BYTES_MAX = 107
SOCKET_NAME_BYTES_MAX = 20  # ".s.PGSQL.65535" and "valkey.sock" fit
LOG_BYTES_MAX = 10 * 1024 * 1024
_OWNER_LOCK_WAIT_S = 0.01
_OWNER_LOCK_TRIES_MAX = 500
_STATE_FILE = "embedded.json"


class State(msgspec.Struct):
    """What must be known again at the next start. Passwords: the file is 0600."""

    home: str | None = None  # None: the data folder itself, also after it was moved
    passwords: dict[str, str] = {}
    port: int | None = None
    provisioned: bool = False


class DataFolder:
    """SECRETARIA_DATA_DIR, opened for use by one set of servers at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def state_path(self) -> Path:
        """The file with the passwords of what lies in this folder."""
        return self.path / _STATE_FILE

    def create(self) -> None:
        """Make the folder. Made by root, others may pass through (not look in): the service user must."""
        try:
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(f"user number {os.geteuid()} may not write to it")
        except OSError as error:
            raise ConfigurationError(f"SECRETARIA_DATA_DIR: cannot use {self.path}: {error}") from error

    # The locks

    @property
    def lock_fd(self) -> int:
        """For children to inherit: the lock is free when the last of them has ended."""
        if self._lock is None:
            raise RuntimeError("the data folder is not locked")
        return self._lock

    @property
    def is_locked(self) -> bool:
        """Whether this process holds it."""
        return self._lock is not None

    def try_lock(self) -> bool:
        """Take the folder, unless a process (a child of an earlier copy included) still uses it."""
        self.create()
        descriptor = _open_lock(self.path / "lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def unlock(self) -> None:
        """Give the folder back. Only closes: an explicit unlock would also take it from children."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def owner(self) -> Iterator[None]:
        """Be the live copy that others attach to."""
        descriptor = _open_lock(self.path / "owner.lock")
        try:
            for _ in range(_OWNER_LOCK_TRIES_MAX):
                # Whoever looks whether there is an owner holds it shared for an instant.
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(_OWNER_LOCK_WAIT_S)
            else:
                raise ConfigurationError(f"another copy holds {self.path}")
            yield
        finally:
            os.close(descriptor)

    def has_owner(self) -> bool:
        """Whether an `up` lives on this folder (its leftover children do not count)."""
        try:
            descriptor = os.open(self.path / "owner.lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    # What is kept

    def load_state(self) -> State:
        """The state of an earlier start, or a new one."""
        try:
            return msgspec.json.decode(self.state_path.read_bytes(), type=State)
        except FileNotFoundError:
            state = State(home=self._choose_home())
            self.save_state(state)
            return state
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(
                f"{self.state_path}, with the servers' passwords, cannot be read: {error}"
            ) from error

    def save_state(self, state: State) -> None:
        """Keep it, whole and synced: passwords lost after initdb would lock everyone out of the data."""
        write_private(self.state_path, msgspec.json.format(msgspec.json.encode(state)))

    def home(self, state: State) -> Path:
        """The folder that holds the servers' own folders."""
        return self.path if state.home is None else Path(state.home)

    def _choose_home(self) -> str | None:
        # Chosen once and kept: a parent that is opened or closed later must not bring up an empty database.
        if service_account(self.path / "postgres").can_enter(self.path):
            return None
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9]+", "-", str(self.path)).strip("-")[-40:]
        home = SERVICE_HOME / f"{name}-{digest}"
        say(f"the servers' data goes to {home}: their user may not enter {self.path}")
        return str(home)

    def log(self, name: str) -> Path:
        """The log file of a server, made small again if it grew."""
        folder = self.path / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{name}.log"
        shorten_log(path)
        return path


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"SECRETARIA_DATA_DIR: cannot lock {path}: {error}") from error


def prepare_home(home: Path, account: Account) -> None:
    """Make the folder that holds the servers' own folders, and check that their user gets there."""
    if not home.exists():
        if home.parent == SERVICE_HOME and not SERVICE_HOME.exists():
            SERVICE_HOME.mkdir(mode=0o755)
        home.mkdir(mode=0o700)
        account.own(home)
    if not account.can_enter(home):
        raise ConfigurationError(
            f"user number {account.uid}, who runs the servers, may not enter {home}: "
            "a folder above it was closed; open it again (chmod o+x) or move the data"
        )


def private_folder(path: Path, account: Account) -> Path:
    """A 0700 folder of the account's own; refuses one that somebody else put there."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.own(path)
    status = path.lstat()
    if not path.is_dir() or path.is_symlink() or status.st_uid != account.uid:
        raise ConfigurationError(f"{path} is not a folder of user number {account.uid}: move it away")
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


def socket_folder(home: Path, account: Account) -> Path:
    """Where the servers' sockets go: `run` in their home, or a shorter path where a socket needs one."""
    wanted = home / "run"
    room = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES_MAX - 1
    if len(os.fsencode(wanted)) > room:
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        base = Path("/run") if os.geteuid() == 0 and Path("/run").is_dir() else None
        wanted = (base or Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")) / f"secretaria-{digest}"  # noqa: S108
    if len(os.fsencode(wanted)) > room:
        raise ConfigurationError(f"no folder is short enough for a socket; {wanted} is too long")
    return private_folder(wanted, account)


def write_private(path: Path, content: bytes, account: Account | None = None) -> None:
    """Replace a 0600 file whole: a reader, or a crash, sees the old content or the new."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if account is not None and not account.is_us:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shorten_log(path: Path) -> None:
    """Copy a log that is too large to `.1` and empty it; its writer appends, and goes on in the same file."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft, path.open("rb") as file:
                file.seek(-LOG_BYTES_MAX, os.SEEK_END)
                draft.write(file.read(LOG_BYTES_MAX))
            Path(draft.name).replace(path.with_suffix(".log.1"))
            os.truncate(path, 0)


def log_tail(path: Path, lines_max: int = 12) -> str:
    """The last lines of a log, for an error message."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join("  " + line for line in lines[-lines_max:])
    return ""
