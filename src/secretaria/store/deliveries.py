"""Rows of the outbox: one for each news and endpoint, and one for each attempt to deliver it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secretaria.store.database import Connection

CHANNEL: Final = "secretaria_deliveries"
"""What the dispatcher listens to: something waits to be delivered."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """News for the endpoints of a company and of the operator; key is unique for each news about that company."""

    about_company_id: int
    alert_id: int | None
    event_type: str
    key: str
    body: str


async def insert(connection: Connection, new: Sequence[NewDelivery], *, now: datetime) -> int:
    """Put news before every active endpoint that wants it and return how many rows that were; known ones stay."""
    cursor = await connection.execute(
        "INSERT INTO deliveries (company_id, endpoint_id, message_id, event_type, about_company_id, alert_id, body, "
        "next_attempt_at, created_at) "
        "SELECT e.company_id, e.endpoint_id, n.key || '_' || n.about || '_' || e.endpoint_id, n.event_type, n.about, "
        "n.alert_id, n.body, %(now)s, %(now)s "
        "FROM unnest(%(about)s::bigint[], %(alert_id)s::bigint[], %(event_type)s::text[], %(key)s::text[], "
        "%(body)s::text[]) AS n (about, alert_id, event_type, key, body) "
        "JOIN delivery_endpoints AS e ON e.company_id = n.about OR e.company_id = 0 "
        "WHERE e.company_id = ANY(%(told)s) AND e.status = 'active' AND e.removed_at IS NULL "
        "AND n.event_type = ANY(e.events) "
        "ORDER BY e.company_id, e.endpoint_id ON CONFLICT (company_id, message_id) DO NOTHING",
        {
            "now": now,
            "about": [of.about_company_id for of in new],
            "alert_id": [of.alert_id for of in new],
            "event_type": [of.event_type for of in new],
            "key": [of.key for of in new],
            "body": [of.body for of in new],
            "told": sorted({0, *(of.about_company_id for of in new)}),
        },
    )
    return cursor.rowcount


async def notify(connection: Connection) -> None:
    """Wake the dispatchers when this transaction commits."""
    await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
