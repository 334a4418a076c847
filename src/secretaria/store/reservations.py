"""Reservations: what campaigns hold of a company's limits until it is used, released or expires."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from secretaria.core.entitlement import NOTHING, Quantities
from secretaria.store.database import Connection

ReservationKey = tuple[int, UUID]
"""(company_id, reservation_id)"""

_COLUMNS: Final = (
    "r.company_id, r.reservation_id, r.period_start, r.messages, r.tokens, r.cost, r.messages_left, r.tokens_left, "
    "r.cost_left, r.created_at, r.expires_at, r.released_at"
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A quantity held. period_start: the month it was made in; it holds on into the next until it expires."""

    company_id: int
    reservation_id: UUID
    period_start: date
    held: Quantities
    left: Quantities
    created_at: datetime
    expires_at: datetime
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What all open reservations of a company hold together, how many they are, and when the first of them expires."""

    quantities: Quantities = NOTHING
    reservations: int = 0
    expires_first_at: datetime | None = None


async def read(connection: Connection, company_id: int, reservation_id: UUID) -> Reservation | None:
    """Return one reservation, whatever became of it."""
    return (await read_some(connection, [(company_id, reservation_id)])).get((company_id, reservation_id))


async def read_some(connection: Connection, keys: Collection[ReservationKey]) -> dict[ReservationKey, Reservation]:
    """Return these reservations; those that are not there are left out."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM unnest(%s::bigint[], %s::uuid[]) AS k (company_id, reservation_id) "  # noqa: S608
        "JOIN reservations AS r ON r.company_id = k.company_id AND r.reservation_id = k.reservation_id",
        ([company_id for company_id, _ in keys], [reservation_id for _, reservation_id in keys]),
    )
    return {
        (row[0], row[1]): Reservation(
            row[0], row[1], row[2], Quantities(*row[3:6]), Quantities(*row[6:9]), row[9], row[10], row[11]
        )
        for row in await cursor.fetchall()
    }


async def read_held(connection: Connection, company_ids: Collection[int], now: datetime) -> dict[int, Held]:
    """Return what the companies' open reservations hold; companies without one are left out."""
    cursor = await connection.execute(
        "SELECT company_id, sum(messages_left)::bigint, sum(tokens_left)::bigint, sum(cost_left), count(*), "
        "min(expires_at) FROM reservations WHERE company_id = ANY(%s) AND expires_at > %s AND released_at IS NULL "
        "GROUP BY company_id",
        (list(company_ids), now),
    )
    return {
        company_id: Held(Quantities(messages, tokens, cost), count, first)
        for company_id, messages, tokens, cost, count, first in await cursor.fetchall()
    }


async def insert(connection: Connection, reservation: Reservation) -> None:
    """Add a reservation; the head's lock is held."""
    held = reservation.held
    await connection.execute(
        "INSERT INTO reservations (company_id, reservation_id, period_start, messages, tokens, cost, messages_left, "
        "tokens_left, cost_left, created_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            reservation.company_id,
            reservation.reservation_id,
            reservation.period_start,
            *(held.messages, held.tokens, held.cost) * 2,
            reservation.created_at,
            reservation.expires_at,
        ),
    )


async def release(connection: Connection, company_id: int, reservation_id: UUID, now: datetime) -> None:
    """Hold no more, unless it was released before; the head's lock is held."""
    await connection.execute(
        "UPDATE reservations SET released_at = %s "
        "WHERE company_id = %s AND reservation_id = %s AND released_at IS NULL",
        (now, company_id, reservation_id),
    )


async def settle(connection: Connection, used: Mapping[ReservationKey, Quantities]) -> None:
    """Let what is left of each fall by what was used, to zero at most; the heads' locks are held.

    Those that are not there, or were released, are left as they are.
    """
    keys: Sequence[ReservationKey] = sorted(used)
    await connection.execute(
        "UPDATE reservations AS r SET messages_left = greatest(r.messages_left - k.messages, 0), "
        "tokens_left = greatest(r.tokens_left - k.tokens, 0), cost_left = greatest(r.cost_left - k.cost, 0) "
        "FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::numeric[]) "
        "AS k (company_id, reservation_id, messages, tokens, cost) "
        "WHERE r.company_id = k.company_id AND r.reservation_id = k.reservation_id AND r.released_at IS NULL",
        (
            [company_id for company_id, _ in keys],
            [reservation_id for _, reservation_id in keys],
            [used[key].messages for key in keys],
            [used[key].tokens for key in keys],
            [used[key].cost for key in keys],
        ),
    )


async def delete_old(connection: Connection, before: datetime, *, limit: int) -> int:
    """Remove up to `limit` reservations that expired before an instant; return how many."""
    cursor = await connection.execute(
        "DELETE FROM reservations AS r USING (SELECT company_id, reservation_id FROM reservations "
        "WHERE expires_at < %s LIMIT %s) AS old "
        "WHERE r.company_id = old.company_id AND r.reservation_id = old.reservation_id",
        (before, limit),
    )
    return cursor.rowcount
