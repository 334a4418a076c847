"""Plain SQL migrations: ordered, checksummed, one transaction a file, under an advisory lock.

Run as the owner. The serving role then gets membership in the three roles it acts as.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import procrastinate.schema
import psycopg
from psycopg import sql

from secretaria.core.errors import ConfigurationError

ADVISORY_LOCK = 7_310_110
LOCK_TIMEOUT_MS = 10_000
FOLDER = Path(__file__).parent.parent / "migrations"
ROLES = ("secretaria_door", "secretaria_operator", "secretaria_ingest")
_FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_NO_TRANSACTION = "-- no-transaction"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name and text; the checksum is SHA-256 of the text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_folder(folder: Path = FOLDER) -> list[Migration]:
    """Return the folder's migrations in order; a name out of the pattern or a gap is a ConfigurationError."""
    found = [Migration(path.name, path.read_text()) for path in sorted(folder.glob("*.sql"))]
    for number, migration in enumerate(found, start=1):
        match = _FILE_NAME.match(migration.name)
        if match is None or int(match[1]) != number:
            raise ConfigurationError(f"migration {migration.name} is out of order: expected {number:04d}_*.sql")
    return found


def migrate(owner_url: str, *, serving_user: str | None = None, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing and return the names applied.

    Raises ConfigurationError when an applied file changed or is missing, or when another migration holds the
    lock for longer than LOCK_TIMEOUT_MS.
    """
    migrations = read_folder(folder)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            raise ConfigurationError("another migration is running; try again when it has ended") from error
        applied = _apply_missing(connection, migrations)
        connection.execute("GRANT SELECT ON schema_migrations TO secretaria_operator")  # /readyz asks
        _install_job_tables(connection)
        _grant_membership(connection, serving_user)
    return applied


def pending(connection: psycopg.Connection, folder: Path = FOLDER) -> list[str]:
    """Return the names of migrations not applied yet, after checking the history."""
    history = _read_history(connection)
    migrations = read_folder(folder)
    _check_history(migrations, history)
    return [migration.name for migration in migrations if migration.name not in history]


async def read_missing(connection: psycopg.AsyncConnection[Any], folder: Path = FOLDER) -> list[str]:
    """As pending, for the operator role of a running process."""
    cursor = await connection.execute("SELECT name, checksum FROM schema_migrations")
    history = dict(await cursor.fetchall())
    migrations = read_folder(folder)
    _check_history(migrations, history)
    return [migration.name for migration in migrations if migration.name not in history]


def _apply_missing(connection: psycopg.Connection, migrations: list[Migration]) -> list[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    history = _read_history(connection)
    _check_history(migrations, history)
    missing = [migration for migration in migrations if migration.name not in history]
    for migration in missing:
        _apply(connection, migration)
    return [migration.name for migration in missing]


def _read_history(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())


def _check_history(migrations: list[Migration], history: dict[str, str]) -> None:
    checksums = {migration.name: migration.checksum for migration in migrations}
    for name, checksum in sorted(history.items()):
        if name not in checksums:
            raise ConfigurationError(
                f"the database has migration {name}, which this version does not know: "
                "it was made by a newer version; install that one"
            )
        if checksums[name] != checksum:
            raise ConfigurationError(
                f"migration {name} was changed after it had been applied: restore the file, "
                "and put the change into a new one"
            )
    applied = [migration.name in history for migration in migrations]
    if applied != sorted(applied, reverse=True):
        late = next(m.name for m, done in zip(migrations, applied, strict=True) if not done)
        raise ConfigurationError(f"migration {late} is missing from the history, but later ones are applied")


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        if migration.text.startswith(_NO_TRANSACTION):
            connection.execute(migration.text.encode())
            _record(connection, migration)
        else:
            with connection.transaction():
                connection.execute(migration.text.encode())
                _record(connection, migration)
    except psycopg.errors.LockNotAvailable as error:
        raise ConfigurationError(
            f"migration {migration.name} waited {LOCK_TIMEOUT_MS} ms for a lock; nothing was changed, run it again"
        ) from error


def _record(connection: psycopg.Connection, migration: Migration) -> None:
    connection.execute(
        "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
    )


def _install_job_tables(connection: psycopg.Connection) -> None:
    """Job tables belong to the job library: its own schema file, once; the operator role works with them."""
    if connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() == (None,):
        with connection.transaction():
            connection.execute(procrastinate.schema.SchemaManager.get_schema().encode())
    rows = connection.execute(
        "SELECT c.relname, c.relkind FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
        "AND c.relname LIKE 'procrastinate\\_%' AND c.relkind IN ('r', 'S')"
    ).fetchall()
    for name, kind in rows:
        privileges = "USAGE" if kind in ("S", b"S") else "SELECT, INSERT, UPDATE, DELETE"
        connection.execute(
            sql.SQL("GRANT {} ON {} TO secretaria_operator").format(sql.SQL(privileges), sql.Identifier(name))
        )


def _grant_membership(connection: psycopg.Connection, serving_user: str | None) -> None:
    """Let the serving role act as door, operator and ingest; SET only, so that nothing is inherited."""
    if serving_user is None:
        return
    for role in ROLES:
        member = connection.execute(
            "SELECT pg_has_role(%s, %s, 'SET')", (serving_user, role)
        ).fetchone()
        if member != (True,):
            connection.execute(
                sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(
                    sql.Identifier(role), sql.Identifier(serving_user)
                )
            )
