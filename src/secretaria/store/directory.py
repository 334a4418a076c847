"""Whose is this? Entries that lead from a key id, a session id or the hash of an e-mail to a company. No secrets.

A door sees only the entry whose key it names (migrations/0006_row_level_security.sql): each call says it first.
"""

from dataclasses import dataclass
from enum import StrEnum

from secretaria.store.database import Connection


class Kind(StrEnum):
    """What an entry's key is."""

    EMAIL = "email"
    SESSION = "session"
    API_KEY = "api_key"
    PHONE_NUMBER = "phone_number_id"
    ACCOUNT = "account"
    INTEGRATION = "integration"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Entry:
    """The company an entry leads to, and the row's id there."""

    company_id: int
    id: str


async def find(connection: Connection, kind: Kind, key: str) -> Entry | None:
    """Return the entry, or None; the company is not entered yet (see enter_company)."""
    await _name_key(connection, key)
    cursor = await connection.execute(
        "SELECT company_id, id FROM directory WHERE kind = %s AND key = %s", (kind.value, key)
    )
    row = await cursor.fetchone()
    return None if row is None else Entry(company_id=row[0], id=row[1])


async def insert(connection: Connection, kind: Kind, key: str, entry: Entry) -> bool:
    """Add an entry of the company that was entered; False when the key is taken."""
    await _name_key(connection, key)
    cursor = await connection.execute(
        "INSERT INTO directory (kind, key, company_id, id) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (kind.value, key, entry.company_id, entry.id),
    )
    return cursor.rowcount == 1


async def delete(connection: Connection, kind: Kind, key: str) -> None:
    """Remove an entry, if it is there."""
    await _name_key(connection, key)
    await connection.execute("DELETE FROM directory WHERE kind = %s AND key = %s", (kind.value, key))


async def enter_company(connection: Connection, company_id: int) -> None:
    """Let the rest of the transaction see the rows of this company, once the directory has named it."""
    await connection.execute("SELECT set_config('app.company_id', %s, true)", (str(company_id),))


async def _name_key(connection: Connection, key: str) -> None:
    await connection.execute("SELECT set_config('app.directory_key', %s, true)", (key,))
