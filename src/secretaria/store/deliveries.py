"""Rows of the outbox: one for each news and endpoint, and one for each attempt to deliver it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from secretaria.core.delivery import DeliveryStatus
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row: one news for one endpoint. attempts counts those of all chains, attempts_before those of earlier ones."""

    company_id: int
    delivery_id: int
    endpoint_id: int
    message_id: str
    event_type: str
    about_company_id: int
    alert_id: int | None
    body: str
    status: DeliveryStatus
    attempts: int
    attempts_before: int
    next_attempt_at: datetime
    created_at: datetime
    delivered_at: datetime | None

    @property
    def next_attempt(self) -> int:
        """The number of the next attempt in its chain, from 1."""
        return self.attempts - self.attempts_before + 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as it is kept; attempt counts on through all chains."""

    attempt: int
    at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    answer: str


_COLUMNS: Final = (
    "company_id, delivery_id, endpoint_id, message_id, event_type, about_company_id, alert_id, body, status, attempts, "
    "attempts_before, next_attempt_at, created_at, delivered_at"
)


def _delivery(row: Sequence[Any]) -> Delivery:
    company_id, delivery_id, endpoint_id, message_id, event_type, about_company_id, alert_id, body, status, *rest = row
    of = company_id, delivery_id, endpoint_id
    return Delivery(*of, message_id, event_type, about_company_id, alert_id, body, DeliveryStatus(status), *rest)


async def insert_for(
    connection: Connection, company_id: int, endpoint_id: int, *, event_type: str, key: str, body: str, now: datetime
) -> int:
    """Put something before one endpoint, whatever it wants, and return the delivery's id."""
    cursor = await connection.execute(
        "INSERT INTO deliveries (company_id, endpoint_id, message_id, event_type, about_company_id, body, "
        "next_attempt_at, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING delivery_id",
        (company_id, endpoint_id, f"{key}_{company_id}_{endpoint_id}", event_type, company_id, body, now, now),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    return int(row[0])


async def read(
    connection: Connection, company_id: int, delivery_id: int, *, lock: bool = False
) -> Delivery | None:
    """Return a delivery, or None; with lock (after its endpoint's) nobody changes it until the transaction ends."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE company_id = %s AND delivery_id = %s"  # noqa: S608  fixed names
        + (" FOR NO KEY UPDATE" if lock else ""),
        (company_id, delivery_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _delivery(row)


async def find_company(connection: Connection, delivery_id: int) -> int | None:
    """Return whose delivery this is; for operators."""
    cursor = await connection.execute("SELECT company_id FROM deliveries WHERE delivery_id = %s", (delivery_id,))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def read_page(
    connection: Connection,
    company_id: int,
    *,
    endpoint_id: int | None,
    status: DeliveryStatus | None,
    after: int | None,
    limit: int,
) -> list[Delivery]:
    """Return up to `limit` deliveries to a company's endpoints, newest first, below the id `after`."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE company_id = %(company_id)s "  # noqa: S608
        "AND (%(endpoint_id)s::bigint IS NULL OR endpoint_id = %(endpoint_id)s) "
        "AND (%(status)s::text IS NULL OR status = %(status)s) "
        "AND (%(after)s::bigint IS NULL OR delivery_id < %(after)s) ORDER BY delivery_id DESC LIMIT %(limit)s",
        {
            "company_id": company_id,
            "endpoint_id": endpoint_id,
            "status": status and status.value,
            "after": after,
            "limit": limit,
        },
    )
    return [_delivery(row) for row in await cursor.fetchall()]


async def read_attempts(connection: Connection, company_id: int, delivery_id: int, *, limit: int) -> list[Attempt]:
    """Return the newest attempts of a delivery, oldest first."""
    cursor = await connection.execute(
        "SELECT attempt, at, duration_ms, status_code, error, answer FROM delivery_attempts "
        "WHERE company_id = %s AND delivery_id = %s ORDER BY attempt DESC LIMIT %s",
        (company_id, delivery_id, limit),
    )
    return [Attempt(*row) for row in reversed(await cursor.fetchall())]


# What the dispatcher does; the endpoint's row is locked, or leased


async def read_due(
    connection: Connection, company_id: int, endpoint_id: int, now: datetime, *, limit: int
) -> list[Delivery]:
    """Return what is due for an endpoint, the longest due first."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries WHERE company_id = %s AND endpoint_id = %s AND status = 'waiting' "  # noqa: S608
        "AND next_attempt_at <= %s ORDER BY next_attempt_at, delivery_id LIMIT %s",
        (company_id, endpoint_id, now, limit),
    )
    return [_delivery(row) for row in await cursor.fetchall()]


async def insert_attempt(connection: Connection, of: Delivery, attempt: Attempt) -> None:
    """Keep an attempt."""
    await connection.execute(
        "INSERT INTO delivery_attempts (company_id, delivery_id, attempt, at, duration_ms, status_code, error, answer) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            of.company_id, of.delivery_id, attempt.attempt, attempt.at, attempt.duration_ms, attempt.status_code,
            attempt.error, attempt.answer,
        ),
    )  # fmt: skip


async def settle(
    connection: Connection,
    of: Delivery,
    *,
    status: DeliveryStatus,
    next_attempt_at: datetime | None,
    delivered_at: datetime | None,
) -> None:
    """Count one attempt more and write what became of the delivery; None leaves a time as it is."""
    await connection.execute(
        "UPDATE deliveries SET attempts = attempts + 1, status = %s, next_attempt_at = coalesce(%s, next_attempt_at), "
        "delivered_at = coalesce(%s, delivered_at) WHERE company_id = %s AND delivery_id = %s",
        (status.value, next_attempt_at, delivered_at, of.company_id, of.delivery_id),
    )


async def release(connection: Connection, company_id: int, endpoint_id: int, *, now: datetime) -> int:
    """Let everything that waits for an endpoint be due now; return how much that is."""
    cursor = await connection.execute(
        "UPDATE deliveries SET next_attempt_at = %(now)s WHERE company_id = %(company_id)s "
        "AND endpoint_id = %(endpoint_id)s AND status = 'waiting' AND next_attempt_at > %(now)s",
        {"now": now, "company_id": company_id, "endpoint_id": endpoint_id},
    )
    return cursor.rowcount


async def cancel(connection: Connection, company_id: int, endpoint_id: int) -> int:
    """Deliver nothing more to an endpoint that was removed; return what waited."""
    cursor = await connection.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE company_id = %s AND endpoint_id = %s AND status = 'waiting'",
        (company_id, endpoint_id),
    )
    return cursor.rowcount


async def redeliver(connection: Connection, company_id: int, delivery_id: int, *, now: datetime) -> None:
    """Begin another chain of attempts."""
    await connection.execute(
        "UPDATE deliveries SET status = 'waiting', next_attempt_at = %s, attempts_before = attempts "
        "WHERE company_id = %s AND delivery_id = %s",
        (now, company_id, delivery_id),
    )


async def count_since(
    connection: Connection, company_id: int, endpoint_id: int, since: datetime, *, but_for: str, limit: int
) -> int:
    """Count what was meant for an endpoint since then, up to limit."""
    cursor = await connection.execute(
        "SELECT count(*) FROM (SELECT FROM deliveries WHERE company_id = %s AND endpoint_id = %s AND created_at >= %s "
        "AND event_type <> %s LIMIT %s) AS found",
        (company_id, endpoint_id, since, but_for, limit),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def redeliver_since(
    connection: Connection, company_id: int, endpoint_id: int, since: datetime, *, but_for: str, now: datetime
) -> int:
    """Begin another chain for everything that was meant for an endpoint since then; return how much that is."""
    cursor = await connection.execute(
        "UPDATE deliveries SET status = 'waiting', next_attempt_at = %s, attempts_before = attempts "
        "WHERE company_id = %s AND endpoint_id = %s AND created_at >= %s AND event_type <> %s",
        (now, company_id, endpoint_id, since, but_for),
    )
    return cursor.rowcount


async def delete_expired(connection: Connection, before: datetime, *, limit: int) -> int:
    """Delete up to `limit` deliveries of before then, and their attempts; what still waits to be tried stays."""
    cursor = await connection.execute(
        "SELECT company_id, delivery_id FROM deliveries WHERE created_at < %(before)s "
        "AND (status <> 'waiting' OR next_attempt_at < %(before)s) ORDER BY company_id, delivery_id LIMIT %(limit)s",
        {"before": before, "limit": limit},
    )
    found = await cursor.fetchall()
    keys = [company_id for company_id, _ in found], [delivery_id for _, delivery_id in found]
    for table in ("delivery_attempts", "deliveries"):
        await connection.execute(
            f"DELETE FROM {table} AS t USING unnest(%s::bigint[], %s::bigint[]) AS k (company_id, delivery_id) "  # noqa: S608
            "WHERE t.company_id = k.company_id AND t.delivery_id = k.delivery_id",
            keys,
        )
    return len(found)
