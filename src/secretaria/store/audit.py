"""Who did what, written in the transaction that did it. Nobody may change or delete a line."""

from typing import Any

from psycopg.types.json import Jsonb

from secretaria.store.database import Connection


async def insert(
    connection: Connection,
    company_id: int,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a line: `actor` is Caller.identity, `action` a noun and a past participle ("api_key.revoked")."""
    await connection.execute(
        "INSERT INTO audit_log (company_id, actor, action, subject, detail) VALUES (%s, %s, %s, %s, %s)",
        (company_id, actor, action, subject, Jsonb(detail or {})),
    )


async def exists(
    connection: Connection, company_id: int, *, actor: str, action: str, detail: dict[str, Any], days: int
) -> bool:
    """Tell whether the actor did this, with these details, within the last `days` days."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM audit_log WHERE company_id = %s AND actor = %s AND action = %s "
        "AND detail @> %s AND at > now() - make_interval(days => %s))",
        (company_id, actor, action, Jsonb(detail), days),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])
