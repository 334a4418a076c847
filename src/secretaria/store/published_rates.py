"""Exchange rates as they were published, shared by all companies: rows are added, never changed."""

from collections.abc import Sequence
from datetime import datetime

from secretaria.core.exchange_rate import PublishedRate
from secretaria.store.database import Connection


async def insert(connection: Connection, rates: Sequence[PublishedRate], *, fetched_at: datetime) -> int:
    """Add those that are not there yet; return how many."""
    added = 0
    for rate in rates:
        cursor = await connection.execute(
            "INSERT INTO published_rates (source, base, quote, published_at, rate, fetched_at) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (rate.source, rate.base, rate.quote, rate.published_at, rate.rate, fetched_at),
        )
        added += cursor.rowcount
    return added


async def read_newest(connection: Connection, source: str, *, limit: int) -> list[PublishedRate]:
    """Return the last ones of a source, oldest first."""
    cursor = await connection.execute(
        "SELECT source, base, quote, rate, published_at FROM published_rates WHERE source = %s "
        "ORDER BY published_at DESC LIMIT %s",
        (source, limit),
    )
    return [PublishedRate(*row) for row in reversed(await cursor.fetchall())]
