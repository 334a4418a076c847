"""What is removed of customers (LGPD, art. 18 VI), by request or by age: rows of messages, never a sum or a fact."""

from datetime import datetime

from secretaria.store.database import Connection


async def delete_messages(connection: Connection, company_id: int, customer: str | None, *, limit: int) -> int:
    """Remove up to `limit` message rows of a company, or of one customer (a phone's hash); return how many.

    Usage events that told of them keep their figures and lose the wamid.
    """
    cursor = await connection.execute(
        "WITH gone AS (DELETE FROM messages WHERE company_id = %(company_id)s AND wamid IN (SELECT wamid FROM messages "
        "WHERE company_id = %(company_id)s AND (%(customer)s::text IS NULL OR phone_hmac = %(customer)s) "
        "LIMIT %(limit)s) RETURNING wamid), told AS (UPDATE usage_events SET wamid = NULL "
        "WHERE company_id = %(company_id)s AND wamid IN (SELECT wamid FROM gone)) SELECT count(*) FROM gone",
        {"company_id": company_id, "customer": customer, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


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
