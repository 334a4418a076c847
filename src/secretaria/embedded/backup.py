"""Backup and restore by PostgreSQL's own pg_dump and pg_restore: one consistent file, and a way back when it fails."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from secretaria.core.errors import ConfigurationError, InvalidInput, NotAllowed, Unavailable
from secretaria.embedded.binaries import system_postgres_folders, wheel_postgres_folders

CONNECT_TIMEOUT_S: Final = 5
VERSION_TIMEOUT_S: Final = 20
LINES_KEPT_MAX: Final = 20
SET_ASIDE: Final = "secretaria_replaced"
"""The schema that holds the old tables while a restore is not whole."""

# What libpq reads from the environment: an address on the command line would show its password to everyone.
_VARIABLES: Final = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
    "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY", "passfile": "PGPASSFILE", "options": "PGOPTIONS", "channel_binding": "PGCHANNELBINDING",
}  # fmt: skip
_TABLE_DONE: Final = re.compile(r"(?:dumping contents of|processing data for) table")
_MAGIC: Final = b"PGDMP"

OnTable = Callable[[int, int], None]
"""Hears how many tables were begun, of how many."""


def back_up(url: str, path: Path, on_table: OnTable) -> None:
    """Write the whole database, as of one moment, into a file of its own that only its owner reads.

    Raises ConfigurationError for a role that does not see all rows, InvalidInput where the file exists.
    """
    if path.exists():
        raise InvalidInput(f"{path} exists: name another file")
    with _connected(url) as connection:
        _require_plain_server(connection)
        _require_all_rows(connection)
        program = _program("pg_dump", connection.info.server_version // 10_000)
        total = _tables(connection)
    draft = path.with_name(f"{path.name}.part")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        command = [program, "--format=custom", f"--exclude-schema={SET_ASIDE}", "--verbose", f"--file={draft}"]
        _run(command, url, on_table=on_table, total=total)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def restore(url: str, path: Path, *, replace: bool, on_table: OnTable, finish: Callable[[], None]) -> None:
    """Bring a backup into the database of an owner's address; `finish` migrates what is older than this version.

    Without `replace` the database must have no tables. With it, the old ones are set aside and dropped once the new
    ones are whole; when anything fails before, they are as they were. Raises NotAllowed, InvalidInput.
    """
    total = _tables_in(path)
    with _connected(url) as connection:
        _require_plain_server(connection)
        _go_back(connection)
        program = _program("pg_restore", connection.info.server_version // 10_000)
        _require_nobody(connection)
        if not replace and _tables(connection):
            raise NotAllowed(
                "this database has tables already: restore into a new one, or say --replace to lose what is in it"
            )
        with _set_aside(connection):
            name = connection.info.dbname
            options = ["--no-owner", "--no-comments", "--exit-on-error", "--verbose", f"--dbname={name}"]
            _run([program, *options, str(path)], url, on_table=on_table, total=total)
            finish()


@contextmanager
def _set_aside(connection: psycopg.Connection) -> Iterator[None]:
    """Give the restore an empty schema, and the old one back when it fails."""
    with connection.transaction():
        connection.execute(f"ALTER SCHEMA public RENAME TO {SET_ASIDE}".encode())
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    try:
        yield
    except BaseException:
        _go_back(connection)
        raise
    connection.execute(f"DROP SCHEMA {SET_ASIDE} CASCADE".encode())


def _go_back(connection: psycopg.Connection) -> None:
    """Undo a restore that failed, or one that was killed before it was whole."""
    if connection.execute("SELECT to_regnamespace(%s)", (SET_ASIDE,)).fetchone() == (None,):
        return
    with connection.transaction():
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute(f"ALTER SCHEMA {SET_ASIDE} RENAME TO public".encode())


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise Unavailable(f"cannot reach the database: {str(error).splitlines()[0]}") from error
    with connection:
        yield connection


def _require_plain_server(connection: psycopg.Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'").fetchone() is not None:
        raise ConfigurationError("this is a cluster: back up and restore its nodes with the cluster's own means")


def _require_all_rows(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT current_user::text, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is not None and not row[1]:
        raise ConfigurationError(
            f"{row[0]} does not see all rows: set DATABASE_BACKUP_URL to the same database as a role with BYPASSRLS "
            "that may read everything (GRANT pg_read_all_data)"
        )


def _require_nobody(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name LIKE 'secretaria%'"
    ).fetchone()
    if row is not None and row[0]:
        raise NotAllowed(f"{row[0]} connections of web or worker processes are open: stop them first")


def _tables(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchone()
    return 0 if row is None else int(row[0])


def _tables_in(path: Path) -> int:
    """Return how many tables' rows a backup holds; raises InvalidInput for another kind of file."""
    try:
        with path.open("rb") as file:
            is_backup = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    if not is_backup:
        raise InvalidInput(f"{path} is no backup")
    listing = subprocess.run(
        [_program("pg_restore", 0), "--list", str(path)], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        raise InvalidInput(f"{path} cannot be read: {listing.stderr.strip()[:200]}")
    return listing.stdout.count(" TABLE DATA ")


def _program(name: str, server_major: int) -> str:
    """Return the first program that is not older than the server: PG_BIN's, the wheel's, the system's, PATH's."""
    chosen = os.environ.get("PG_BIN", "").strip()
    on_path = shutil.which(name)
    folders = [
        *([Path(chosen).expanduser()] if chosen else []),
        *wheel_postgres_folders(),
        *system_postgres_folders(),
        *([Path(on_path).parent] if on_path else []),
    ]
    newest = 0
    for folder in folders:
        major = _major_of(folder / name)
        if major and major >= server_major:
            return str(folder / name)
        newest = max(newest, major)
    found = f"the newest found is {newest}" if newest else "none was found"
    raise ConfigurationError(
        f"{name} of PostgreSQL {server_major} or newer is needed, and {found}: install your system's PostgreSQL "
        "client programs, or name their folder in PG_BIN"
    )


def _major_of(program: Path) -> int:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=VERSION_TIMEOUT_S
        ).stdout
        found = re.search(r"\) (\d+)", said)
        return int(found[1]) if found else 0
    return 0


def _run(command: Sequence[str], url: str, *, on_table: OnTable, total: int) -> None:
    """Run a program to its end, telling of each table; raises Unavailable with its last words when it fails."""
    known = conninfo_to_dict(url)
    env = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    env |= {_VARIABLES[name]: str(text) for name, text in known.items() if name in _VARIABLES and text is not None}
    said: list[str] = []
    done = 0
    with subprocess.Popen(
        command, env=env | {"LC_ALL": "C"}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr or ():
                said = [*said[-LINES_KEPT_MAX:], line.strip()]
                if _TABLE_DONE.search(line):
                    done += 1
                    on_table(min(done, total), total)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        words = next((line for line in reversed(said) if "error" in line), said[-1] if said else "no reason given")
        raise Unavailable(f"{Path(command[0]).name} failed: {words}")
