"""Rows of panel sessions and panel tokens. A row that is gone is a session that has ended: nothing caches them."""

from dataclasses import dataclass
from datetime import datetime

from secretaria.core.account import Role
from secretaria.store import directory
from secretaria.store.database import Connection
from secretaria.store.directory import Entry, Kind

SESSIONS_PER_USER_MAX = 50


@dataclass(frozen=True, slots=True)
class Session:
    """A session as authentication needs it, with what its user may do now."""

    company_id: int
    user_id: int
    secret_hash: bytes
    expires_at: datetime
    role: Role
    user_disabled: bool


async def insert(
    connection: Connection,
    company_id: int,
    *,
    session_id: str,
    user_id: int,
    secret_hash: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Add a session and its directory entry; what has expired and what is beyond the limit, oldest first, ends."""
    cursor = await connection.execute(
        "SELECT session_id FROM (SELECT session_id, expires_at, row_number() OVER (ORDER BY created_at DESC) AS place "
        "FROM sessions WHERE company_id = %s AND user_id = %s) AS own WHERE expires_at <= %s OR place >= %s",
        (company_id, user_id, now, SESSIONS_PER_USER_MAX),
    )
    for (old_id,) in await cursor.fetchall():
        await delete(connection, company_id, old_id)
    await connection.execute(
        "INSERT INTO sessions (company_id, session_id, user_id, secret_hash, created_at, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (company_id, session_id, user_id, secret_hash, now, expires_at),
    )
    await directory.insert(connection, Kind.SESSION, session_id, Entry(company_id, str(user_id)))


async def find(connection: Connection, company_id: int, session_id: str) -> Session | None:
    """Return a session with its user's present role, or None."""
    cursor = await connection.execute(
        "SELECT s.company_id, s.user_id, s.secret_hash, s.expires_at, u.role, u.disabled_at IS NOT NULL "
        "FROM sessions s JOIN users u ON u.company_id = s.company_id AND u.user_id = s.user_id "
        "WHERE s.company_id = %s AND s.session_id = %s",
        (company_id, session_id),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Session(row[0], row[1], bytes(row[2]), row[3], Role(row[4]), row[5])


async def delete(connection: Connection, company_id: int, session_id: str) -> None:
    """End a session."""
    await connection.execute(
        "DELETE FROM sessions WHERE company_id = %s AND session_id = %s", (company_id, session_id)
    )
    await directory.delete(connection, Kind.SESSION, session_id)


async def delete_of_user(connection: Connection, company_id: int, user_id: int) -> int:
    """End every session of a user and return how many there were."""
    cursor = await connection.execute(
        "SELECT session_id FROM sessions WHERE company_id = %s AND user_id = %s ORDER BY session_id",
        (company_id, user_id),
    )
    found = await cursor.fetchall()
    for (session_id,) in found:
        await delete(connection, company_id, session_id)
    return len(found)


async def delete_expired(connection: Connection, now: datetime, *, limit: int) -> int:
    """Remove up to `limit` sessions that have ended, with their directory entries; return how many."""
    cursor = await connection.execute(
        "WITH gone AS (DELETE FROM sessions AS s USING (SELECT company_id, session_id FROM sessions "
        "WHERE expires_at <= %s LIMIT %s) AS old "
        "WHERE s.company_id = old.company_id AND s.session_id = old.session_id RETURNING s.session_id), "
        "entries AS (DELETE FROM directory WHERE kind = %s AND key IN (SELECT session_id FROM gone)) "
        "SELECT count(*) FROM gone",
        (now, limit, Kind.SESSION),
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
