"""Meta's figures as they were pulled, and which days were pulled.

Figures are only ever added: the newest of a key is what Meta says now, the earlier ones what it said before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from secretaria.core.meta_cost import TotalSource
from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class Figure:
    """A day's quantity and cost of one number, category and pricing type; of ad spend all three are empty."""

    day: date
    phone: str
    category: str
    pricing_type: str
    volume: int
    amount: Decimal | None
    currency: str

    @property
    def key(self) -> tuple[date, str, str, str]:
        """What the figure is of, within one source and scope."""
        return self.day, self.phone, self.category, self.pricing_type


@dataclass(frozen=True, slots=True)
class PulledDay:
    """A day that was pulled, in the zone its bounds are of; whole when that was after it had ended."""

    day: date
    timezone: str
    whole: bool
    pulled_at: datetime


async def read_newest(
    connection: Connection, company_id: int, source: TotalSource, scope: str, *, first: date, last: date
) -> list[Figure]:
    """Return what Meta says now of the days from first to last."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (day, phone, category, pricing_type) day, phone, category, pricing_type, volume, amount, "
        "currency FROM meta_costs WHERE company_id = %s AND source = %s AND scope = %s AND day BETWEEN %s AND %s "
        "ORDER BY day, phone, category, pricing_type, meta_cost_id DESC",
        (company_id, source.value, scope, first, last),
    )
    return [Figure(*row) for row in await cursor.fetchall()]


async def insert(
    connection: Connection,
    company_id: int,
    source: TotalSource,
    scope: str,
    figures: Iterable[Figure],
    *,
    pulled_at: datetime,
) -> None:
    """Add figures; the caller holds the head's lock and adds only what differs."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO meta_costs (company_id, source, scope, day, phone, category, pricing_type, volume, amount, "
            "currency, pulled_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (company_id, source.value, scope, *figure.key, figure.volume, figure.amount, figure.currency, pulled_at)
                for figure in figures
            ],
        )


async def mark_days(
    connection: Connection, company_id: int, source: TotalSource, scope: str, days: Sequence[PulledDay]
) -> None:
    """Note that days were pulled."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO meta_days (company_id, source, scope, day, timezone, whole, pulled_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (company_id, source, scope, day) DO UPDATE "
            "SET timezone = excluded.timezone, whole = excluded.whole, pulled_at = excluded.pulled_at",
            [(company_id, source.value, scope, day.day, day.timezone, day.whole, day.pulled_at) for day in days],
        )


async def read_days(
    connection: Connection, company_id: int, source: TotalSource, scope: str, *, first: date, last: date
) -> dict[date, PulledDay]:
    """Return the days from first to last that were pulled."""
    cursor = await connection.execute(
        "SELECT day, timezone, whole, pulled_at FROM meta_days WHERE company_id = %s AND source = %s AND scope = %s "
        "AND day BETWEEN %s AND %s",
        (company_id, source.value, scope, first, last),
    )
    return {row[0]: PulledDay(*row) for row in await cursor.fetchall()}
