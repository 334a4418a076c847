"""Rows of the endpoints news go to. A dispatcher leases an endpoint; the lease fences what it writes afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from secretaria.core.delivery import Channel, DisabledReason, EndpointStatus
from secretaria.store.database import Connection

TABLE: Final = "delivery_endpoints"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row that was not removed. company_id 0 is the operator's; secrets is sealed."""

    company_id: int
    endpoint_id: int
    channel: Channel
    address: str
    description: str
    events: tuple[str, ...]
    locale: str
    secrets: bytes | None = field(repr=False)
    private_allowed: bool
    from_settings: bool
    status: EndpointStatus
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None
    failing_since: datetime | None
    succeeded_at: datetime | None
    held_until: datetime | None
    lease: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be inserted."""

    company_id: int
    channel: Channel
    address: str
    description: str
    events: tuple[str, ...]
    locale: str
    private_allowed: bool = False
    from_settings: bool = False


_COLUMNS: Final = (
    "company_id, endpoint_id, channel, address, description, events, locale, secrets, private_allowed, from_settings, "
    "status, disabled_at, disabled_reason, failing_since, succeeded_at, held_until, lease, created_at"
)
_OF: Final = "company_id = %(company_id)s AND endpoint_id = %(endpoint_id)s"


def _endpoint(row: Sequence[Any]) -> Endpoint:
    company_id, endpoint_id, channel, address, description, events, locale, secrets, *rest = row
    private_allowed, from_settings, status, disabled_at, reason, *times = rest
    return Endpoint(
        company_id,
        endpoint_id,
        Channel(channel),
        address,
        description,
        tuple(events),
        locale,
        None if secrets is None else bytes(secrets),
        private_allowed,
        from_settings,
        EndpointStatus(status),
        disabled_at,
        None if reason is None else DisabledReason(reason),
        *times,
    )


async def lock_company(connection: Connection, company_id: int) -> None:
    """Let nobody else add endpoints of the company until the transaction ends: they are counted first."""
    key = f"endpoints of {company_id}"
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))


async def count(connection: Connection, company_id: int, channel: Channel) -> int:
    """Count the endpoints of a channel that people made."""
    cursor = await connection.execute(
        "SELECT count(*) FROM delivery_endpoints WHERE company_id = %s AND channel = %s AND removed_at IS NULL "
        "AND NOT from_settings",
        (company_id, channel.value),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def insert(connection: Connection, new: NewEndpoint, *, now: datetime) -> int:
    """Add an endpoint and return its id: its secrets are sealed to it afterwards."""
    cursor = await connection.execute(
        "INSERT INTO delivery_endpoints (company_id, channel, address, description, events, locale, private_allowed, "
        "from_settings, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING endpoint_id",
        (
            new.company_id, new.channel.value, new.address, new.description, list(new.events), new.locale,
            new.private_allowed, new.from_settings, now,
        ),
    )  # fmt: skip
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    return int(row[0])


async def read(
    connection: Connection, company_id: int, endpoint_id: int, *, lock: bool = False
) -> Endpoint | None:
    """Return an endpoint, or None; with lock nobody changes it until the transaction ends."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM delivery_endpoints WHERE {_OF} AND removed_at IS NULL"  # noqa: S608  fixed names
        + (" FOR NO KEY UPDATE" if lock else ""),
        {"company_id": company_id, "endpoint_id": endpoint_id},
    )
    row = await cursor.fetchone()
    return None if row is None else _endpoint(row)


async def find_company(connection: Connection, endpoint_id: int) -> int | None:
    """Return whose endpoint this is; for operators."""
    cursor = await connection.execute(
        "SELECT company_id FROM delivery_endpoints WHERE endpoint_id = %s AND removed_at IS NULL", (endpoint_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def read_all(connection: Connection, company_id: int, *, limit: int) -> list[Endpoint]:
    """Return a company's endpoints by id."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM delivery_endpoints WHERE company_id = %s AND removed_at IS NULL "  # noqa: S608
        "ORDER BY endpoint_id LIMIT %s",
        (company_id, limit),
    )
    return [_endpoint(row) for row in await cursor.fetchall()]


async def read_of_settings(connection: Connection) -> Endpoint | None:
    """Return the operator's endpoint that the settings name, locked, or None where they never named one."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM delivery_endpoints WHERE company_id = 0 AND from_settings "  # noqa: S608
        "AND removed_at IS NULL ORDER BY endpoint_id LIMIT 1 FOR NO KEY UPDATE"
    )
    row = await cursor.fetchone()
    return None if row is None else _endpoint(row)


async def change(connection: Connection, wanted: Endpoint) -> None:
    """Write what people may change; the caller has read it with lock."""
    await connection.execute(
        "UPDATE delivery_endpoints SET address = %(address)s, description = %(description)s, events = %(events)s, "  # noqa: S608
        "locale = %(locale)s, status = %(status)s, disabled_at = %(disabled_at)s, "
        "disabled_reason = %(disabled_reason)s, failing_since = %(failing_since)s, held_until = %(held_until)s "
        f"WHERE {_OF}",
        {
            "address": wanted.address,
            "description": wanted.description,
            "events": list(wanted.events),
            "locale": wanted.locale,
            "status": wanted.status.value,
            "disabled_at": wanted.disabled_at,
            "disabled_reason": wanted.disabled_reason and wanted.disabled_reason.value,
            "failing_since": wanted.failing_since,
            "held_until": wanted.held_until,
            "company_id": wanted.company_id,
            "endpoint_id": wanted.endpoint_id,
        },
    )


async def set_secrets(connection: Connection, company_id: int, endpoint_id: int, sealed: bytes | None) -> None:
    """Put sealed secrets in place."""
    await connection.execute(
        f"UPDATE delivery_endpoints SET secrets = %(sealed)s WHERE {_OF}",  # noqa: S608
        {"sealed": sealed, "company_id": company_id, "endpoint_id": endpoint_id},
    )


async def set_private_allowed(connection: Connection, endpoint: Endpoint, *, allowed: bool) -> None:
    """Let the settings' endpoint lead into the operator's own network, or no longer."""
    await connection.execute(
        f"UPDATE delivery_endpoints SET private_allowed = %(allowed)s WHERE {_OF}",  # noqa: S608
        {"allowed": allowed, "company_id": endpoint.company_id, "endpoint_id": endpoint.endpoint_id},
    )


async def remove(connection: Connection, company_id: int, endpoint_id: int, *, now: datetime) -> None:
    """Remove an endpoint and its secrets; what was delivered to it stays in the log."""
    await connection.execute(
        f"UPDATE delivery_endpoints SET removed_at = %(now)s, secrets = NULL WHERE {_OF}",  # noqa: S608
        {"now": now, "company_id": company_id, "endpoint_id": endpoint_id},
    )


async def read_sealed_by_others(connection: Connection, prefix: bytes, *, limit: int) -> list[tuple[int, int]]:
    """Return (company_id, endpoint_id) whose secrets' first bytes (format and key id) are not `prefix`."""
    cursor = await connection.execute(
        "SELECT company_id, endpoint_id FROM delivery_endpoints WHERE removed_at IS NULL AND secrets IS NOT NULL "
        "AND substring(secrets FOR %s) <> %s ORDER BY company_id, endpoint_id LIMIT %s",
        (len(prefix), prefix, limit),
    )
    return await cursor.fetchall()


# What the dispatcher does


async def read_due(
    connection: Connection, now: datetime, *, is_failing: bool, limit: int
) -> list[tuple[int, int]]:
    """Return (company_id, endpoint_id) with something due that nobody has leased, the longest due first."""
    state = "IS NOT NULL" if is_failing else "IS NULL"
    cursor = await connection.execute(
        "SELECT d.company_id, d.endpoint_id FROM deliveries AS d JOIN delivery_endpoints AS e "  # noqa: S608
        "ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id "
        "WHERE d.status = 'waiting' AND d.next_attempt_at <= %(now)s AND e.status = 'active' "
        f"AND e.removed_at IS NULL AND e.failing_since {state} "
        "AND (e.leased_until IS NULL OR e.leased_until <= %(now)s) "
        "AND (e.held_until IS NULL OR e.held_until <= %(now)s) "
        "GROUP BY d.company_id, d.endpoint_id ORDER BY min(d.next_attempt_at), 1, 2 LIMIT %(limit)s",
        {"now": now, "limit": limit},
    )
    return await cursor.fetchall()


async def lease(
    connection: Connection, company_id: int, endpoint_id: int, *, now: datetime, until: datetime
) -> Endpoint | None:
    """Take an endpoint for one dispatcher until then; None when somebody has it, or when it is disabled or gone."""
    cursor = await connection.execute(
        "UPDATE delivery_endpoints SET lease = lease + 1, leased_until = %(until)s "  # noqa: S608
        f"WHERE {_OF} AND status = 'active' AND removed_at IS NULL "
        f"AND (leased_until IS NULL OR leased_until <= %(now)s) RETURNING {_COLUMNS}",
        {"until": until, "now": now, "company_id": company_id, "endpoint_id": endpoint_id},
    )
    row = await cursor.fetchone()
    return None if row is None else _endpoint(row)


async def lock_leased(connection: Connection, leased: Endpoint) -> Endpoint | None:
    """Lock an endpoint and return how it stands; None when the lease is somebody else's by now."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM delivery_endpoints WHERE {_OF} AND lease = %(lease)s FOR NO KEY UPDATE",  # noqa: S608
        _fence(leased),
    )
    row = await cursor.fetchone()
    return None if row is None else _endpoint(row)


async def release(connection: Connection, leased: Endpoint) -> None:
    """Give an endpoint back, unless it is somebody else's by now."""
    await connection.execute(
        f"UPDATE delivery_endpoints SET leased_until = NULL WHERE {_OF} AND lease = %(lease)s",  # noqa: S608
        _fence(leased),
    )


async def settle(
    connection: Connection,
    leased: Endpoint,
    *,
    failing_since: datetime | None,
    held_until: datetime | None,
    succeeded_at: datetime | None,
) -> None:
    """Write how an endpoint stands after an attempt; succeeded_at None: as before. A hold only grows longer."""
    await connection.execute(
        "UPDATE delivery_endpoints SET failing_since = %(failing_since)s, "  # noqa: S608
        "held_until = greatest(held_until, %(held_until)s), "
        f"succeeded_at = coalesce(%(succeeded_at)s, succeeded_at) WHERE {_OF} AND lease = %(lease)s",
        {"failing_since": failing_since, "held_until": held_until, "succeeded_at": succeeded_at, **_fence(leased)},
    )


async def disable(connection: Connection, endpoint: Endpoint, reason: DisabledReason, *, now: datetime) -> bool:
    """Send nothing more to it; False when it was disabled already."""
    cursor = await connection.execute(
        "UPDATE delivery_endpoints SET status = 'disabled', disabled_at = %(now)s, disabled_reason = %(reason)s "  # noqa: S608
        f"WHERE {_OF} AND status = 'active'",
        {
            "now": now,
            "reason": reason.value,
            "company_id": endpoint.company_id,
            "endpoint_id": endpoint.endpoint_id,
        },
    )
    return cursor.rowcount == 1


def _fence(leased: Endpoint) -> dict[str, int]:
    return {"company_id": leased.company_id, "endpoint_id": leased.endpoint_id, "lease": leased.lease}
