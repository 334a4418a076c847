"""What is removed of customers (LGPD, art. 18 VI), by request or by age: rows of messages, never a sum or a fact."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from secretaria.store.database import Connection

TIMEOUT_MS: Final = 30 * 60 * 1000


async def read_wamids(connection: Connection, company_id: int, customer: str | None, *, limit: int) -> list[str]:
    """Return up to `limit` messages of a company, or of one customer of it (a phone's hash)."""
    cursor = await connection.execute(
        "SELECT wamid FROM messages WHERE company_id = %(company_id)s "
        "AND (%(customer)s::text IS NULL OR phone_hmac = %(customer)s) LIMIT %(limit)s",
        {"company_id": company_id, "customer": customer, "limit": limit},
    )
    return [wamid for (wamid,) in await cursor.fetchall()]


async def forget_wamids(connection: Connection, company_id: int, wamids: Sequence[str]) -> None:
    """Let usage events that told of these messages keep their figures and lose the wamid.

    It reads all events of the company: TIMEOUT_MS replaces the transaction's statement timeout.
    """
    await connection.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
    await connection.execute(
        "UPDATE usage_events SET wamid = NULL WHERE company_id = %s AND wamid = ANY(%s)", (company_id, list(wamids))
    )


async def delete_messages(connection: Connection, company_id: int, wamids: Sequence[str]) -> int:
    """Remove the rows of these messages and return how many there were; the head's lock is held."""
    cursor = await connection.execute(
        "DELETE FROM messages WHERE company_id = %s AND wamid = ANY(%s)", (company_id, list(wamids))
    )
    return cursor.rowcount


async def forget_customer(connection: Connection, customer: str) -> None:
    """Remove the webhooks that are done and name the customer, and the customer from those that are not."""
    await connection.execute(
        "DELETE FROM webhook_payloads WHERE state = 'done' AND strpos(body::text, %s) > 0", (customer,)
    )
    await connection.execute(
        "UPDATE webhook_payloads SET body = replace(body::text, '\"' || %(customer)s || '\"', 'null')::jsonb "
        "WHERE state <> 'done' AND strpos(body::text, %(customer)s) > 0",
        {"customer": customer},
    )


async def delete_older(connection: Connection, before: datetime, *, limit: int) -> int:
    """Remove up to `limit` message rows of all companies that were made before an instant; return how many."""
    cursor = await connection.execute(
        "DELETE FROM messages WHERE (company_id, wamid) IN "
        "(SELECT company_id, wamid FROM messages WHERE created_at < %s ORDER BY created_at LIMIT %s)",
        (before, limit),
    )
    return cursor.rowcount
