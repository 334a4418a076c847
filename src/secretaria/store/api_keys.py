"""Rows of API keys: the id, the SHA-256 of the secret, and what the key may do. Company 0 holds the operator's."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from secretaria.core.access import Scope
from secretaria.store import directory
from secretaria.store.database import Connection
from secretaria.store.directory import Entry, Kind

KEYS_LISTED_MAX = 10_000

_COLUMNS = "company_id, key_id, name, scopes, created_at, revoked_at, secret_hash"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret."""

    company_id: int
    key_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None
    secret_hash: bytes = field(repr=False)


async def insert(
    connection: Connection, company_id: int, *, key_id: str, name: str, secret_hash: bytes, scopes: frozenset[Scope]
) -> ApiKey:
    """Add a key and its directory entry."""
    cursor = await connection.execute(
        "INSERT INTO api_keys (company_id, key_id, name, secret_hash, scopes) VALUES (%s, %s, %s, %s, %s) "  # noqa: S608 - constants
        f"RETURNING {_COLUMNS}",
        (company_id, key_id, name, secret_hash, sorted(scope.value for scope in scopes)),
    )
    row = await cursor.fetchone()
    assert row is not None, "INSERT .. RETURNING gives one row"  # noqa: S101
    await directory.insert(connection, Kind.API_KEY, key_id, Entry(company_id, key_id))
    return _read(row)


async def find(connection: Connection, company_id: int, key_id: str) -> ApiKey | None:
    """Return a key, revoked or not, or None."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE company_id = %s AND key_id = %s",  # noqa: S608 - a constant
        (company_id, key_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _read(row)


async def list_all(connection: Connection, company_id: int | None) -> list[ApiKey]:
    """Return the keys of a company, or (None) all the role may see, by company, newest first."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE %(id)s::bigint IS NULL OR company_id = %(id)s "  # noqa: S608
        "ORDER BY company_id, created_at DESC, key_id LIMIT %(max)s",
        {"id": company_id, "max": KEYS_LISTED_MAX},
    )
    return [_read(row) for row in await cursor.fetchall()]


async def count_active(connection: Connection, company_id: int) -> int:
    """Return how many keys of a company are not revoked."""
    cursor = await connection.execute(
        "SELECT count(*) FROM api_keys WHERE company_id = %s AND revoked_at IS NULL", (company_id,)
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def revoke(connection: Connection, company_id: int, key_id: str, now: datetime) -> bool:
    """Revoke a key; False when it was revoked before."""
    cursor = await connection.execute(
        "UPDATE api_keys SET revoked_at = %s WHERE company_id = %s AND key_id = %s AND revoked_at IS NULL",
        (now, company_id, key_id),
    )
    return cursor.rowcount == 1


def _read(row: tuple[Any, ...]) -> ApiKey:
    company_id, key_id, name, scopes, created_at, revoked_at, secret_hash = row
    granted = frozenset(Scope(scope) for scope in scopes if scope in _KNOWN_SCOPES)
    return ApiKey(company_id, key_id, name, granted, created_at, revoked_at, bytes(secret_hash))


# A scope of a newer version of this program gives nothing here, and does not break the key either.
_KNOWN_SCOPES = frozenset(scope.value for scope in Scope)
