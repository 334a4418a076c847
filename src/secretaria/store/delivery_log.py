"""Reads for people of what was put before endpoints: the log's lines, the destinations it names, how each one does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from secretaria.core.delivery import Channel, DeliveryStatus, EndpointStatus
from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What the log is narrowed to; None: everything. has_tried parts what waits: tried in its chain, or not yet."""

    endpoint_id: int | None = None
    event_type: str | None = None
    status: DeliveryStatus | None = None
    has_tried: bool | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A delivery with where it goes and its last attempt (status_code, error and duration_ms are None before one)."""

    company_id: int
    delivery_id: int
    endpoint_id: int
    channel: Channel
    address: str
    is_removed: bool
    is_paused: bool
    event_type: str
    about_company_id: int
    status: DeliveryStatus
    attempts: int
    attempts_before: int
    next_attempt_at: datetime
    created_at: datetime
    status_code: int | None
    error: str | None
    duration_ms: int | None

    @property
    def has_tried(self) -> bool:
        """Tell whether its present chain has begun."""
        return self.attempts > self.attempts_before


@dataclass(frozen=True, slots=True)
class Destination:
    """An endpoint as the log names it, removed ones too."""

    endpoint_id: int
    channel: Channel
    address: str
    is_removed: bool


@dataclass(frozen=True, slots=True)
class EndpointFigures:
    """What waits for an endpoint, and how many attempts it had lately, of which some succeeded."""

    waiting: int = 0
    attempts: int = 0
    succeeded: int = 0


_LINES: Final = (
    "SELECT d.company_id, d.delivery_id, d.endpoint_id, e.channel, e.address, e.removed_at IS NOT NULL, e.status, "
    "d.event_type, d.about_company_id, d.status, d.attempts, d.attempts_before, d.next_attempt_at, d.created_at, "
    "a.status_code, a.error, a.duration_ms FROM deliveries AS d "
    "JOIN delivery_endpoints AS e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id "
    "LEFT JOIN delivery_attempts AS a ON a.company_id = d.company_id AND a.delivery_id = d.delivery_id "
    "AND a.attempt = d.attempts WHERE d.company_id = %(company_id)s "
)


def _line(row: Sequence[Any]) -> LogLine:
    company_id, delivery_id, endpoint_id, channel, address, is_removed, endpoint_status, *rest = row
    event_type, about_company_id, status, *times = rest
    is_paused = not is_removed and endpoint_status == EndpointStatus.DISABLED
    of = company_id, delivery_id, endpoint_id, Channel(channel), address, is_removed, is_paused
    return LogLine(*of, event_type, about_company_id, DeliveryStatus(status), *times)


async def read_page(
    connection: Connection, company_id: int, of: LogFilter, *, after: int | None, limit: int
) -> list[LogLine]:
    """Return up to `limit` lines of a company's endpoints, newest first, below the id `after`."""
    cursor = await connection.execute(
        _LINES + "AND (%(endpoint_id)s::bigint IS NULL OR d.endpoint_id = %(endpoint_id)s) "
        "AND (%(event_type)s::text IS NULL OR d.event_type = %(event_type)s) "
        "AND (%(status)s::text IS NULL OR d.status = %(status)s) "
        "AND (%(has_tried)s::boolean IS NULL OR (d.attempts > d.attempts_before) = %(has_tried)s) "
        "AND (%(after)s::bigint IS NULL OR d.delivery_id < %(after)s) ORDER BY d.delivery_id DESC LIMIT %(limit)s",
        {
            "company_id": company_id,
            "endpoint_id": of.endpoint_id,
            "event_type": of.event_type,
            "status": of.status and of.status.value,
            "has_tried": of.has_tried,
            "after": after,
            "limit": limit,
        },
    )
    return [_line(row) for row in await cursor.fetchall()]


async def read_line(connection: Connection, company_id: int, delivery_id: int) -> LogLine | None:
    """Return one line, or None."""
    cursor = await connection.execute(
        _LINES + "AND d.delivery_id = %(delivery_id)s", {"company_id": company_id, "delivery_id": delivery_id}
    )
    row = await cursor.fetchone()
    return None if row is None else _line(row)


async def read_destinations(connection: Connection, company_id: int, *, limit: int) -> list[Destination]:
    """Return a company's endpoints, those that are left first, then the last removed."""
    cursor = await connection.execute(
        "SELECT endpoint_id, channel, address, removed_at IS NOT NULL FROM delivery_endpoints WHERE company_id = %s "
        "ORDER BY removed_at DESC NULLS FIRST, endpoint_id LIMIT %s",
        (company_id, limit),
    )
    return [Destination(of, Channel(channel), *rest) for of, channel, *rest in await cursor.fetchall()]


async def read_figures(connection: Connection, company_id: int, since: datetime) -> dict[int, EndpointFigures]:
    """Return by endpoint what waits, and the attempts from `since` on; endpoints without either are left out."""
    cursor = await connection.execute(
        "SELECT d.endpoint_id, count(DISTINCT d.delivery_id) FILTER (WHERE d.status = 'waiting'), "
        "count(a.attempt), count(a.attempt) FILTER (WHERE a.error IS NULL AND a.status_code BETWEEN 200 AND 299) "
        "FROM deliveries AS d LEFT JOIN delivery_attempts AS a ON a.company_id = d.company_id "
        "AND a.delivery_id = d.delivery_id AND a.at >= %(since)s "
        "WHERE d.company_id = %(company_id)s AND (d.status = 'waiting' OR a.attempt IS NOT NULL) "
        "GROUP BY d.endpoint_id",
        {"company_id": company_id, "since": since},
    )
    return {endpoint_id: EndpointFigures(*counts) for endpoint_id, *counts in await cursor.fetchall()}
