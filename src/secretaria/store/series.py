"""The dimensions of usage, interned per company, and how many of them a day has in use. The heads must be locked."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date
from hashlib import blake2b

from secretaria.core.price import Dimensions
from secretaria.store.database import Connection
from secretaria.store.events import array


async def intern_series(
    connection: Connection, wanted: Sequence[tuple[int, Dimensions]]
) -> dict[tuple[int, Dimensions], int]:
    """Return the series ids of (company_id, dimensions), making those that are new. The heads must be locked."""
    keys = sorted({(company_id, dimensions_hash(dimensions)): (company_id, dimensions)
                   for company_id, dimensions in wanted}.items())
    companies = array(company_id for (company_id, _), _ in keys)
    hashes = array(digest for (_, digest), _ in keys)
    await connection.execute(
        "INSERT INTO usage_series (company_id, dimensions_hash, channel, direction, category, market, model, "
        "account_id, template_id, cost_center, pricing_type) "
        "SELECT k.company_id, k.dimensions_hash, d.* FROM unnest(%s::bigint[], %s::uuid[], %s::jsonb[]) "
        "AS k (company_id, dimensions_hash, dimensions) "
        "CROSS JOIN LATERAL jsonb_to_record(k.dimensions) AS d (channel text, direction text, category text, "
        "market text, model text, account_id bigint, template_id bigint, cost_center text, pricing_type text) "
        "ON CONFLICT (company_id, dimensions_hash) DO NOTHING",
        (companies, hashes, [json.dumps(asdict(dimensions)) for _, (_, dimensions) in keys]),
    )
    cursor = await connection.execute(
        "SELECT s.company_id, replace(s.dimensions_hash::text, '-', ''), s.series_id "
        "FROM unnest(%s::bigint[], %s::uuid[]) AS k (company_id, dimensions_hash) "
        "JOIN usage_series AS s ON s.company_id = k.company_id AND s.dimensions_hash = k.dimensions_hash",
        (companies, hashes),
    )
    by_hash = dict(keys)
    return {by_hash[company_id, digest]: series_id for company_id, digest, series_id in await cursor.fetchall()}


def dimensions_hash(dimensions: Dimensions) -> str:
    """Return 128 bits over the dimensions, as hex; absent ones do not take part, so new ones can be added later."""
    present = {name: value for name, value in asdict(dimensions).items() if value is not None}
    return blake2b(json.dumps(present, sort_keys=True).encode(), digest_size=16).hexdigest()


async def count_day_series(connection: Connection, days: Iterable[tuple[int, date]]) -> dict[tuple[int, date], int]:
    """Return how many series each (company_id, day) has in use."""
    wanted = sorted(days)
    cursor = await connection.execute(
        "SELECT k.company_id, k.day, (SELECT count(*) FROM usage_daily AS u "
        "WHERE u.company_id = k.company_id AND u.day = k.day) "
        "FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, day)",
        (array(company_id for company_id, _ in wanted), array(day for _, day in wanted)),
    )
    return {(company_id, day): count for company_id, day, count in await cursor.fetchall()}


async def read_day_series(connection: Connection, company_id: int, day: date) -> set[int]:
    """Return the series in use on one company's day."""
    cursor = await connection.execute(
        "SELECT series_id FROM usage_daily WHERE company_id = %s AND day = %s", (company_id, day)
    )
    return {series_id for (series_id,) in await cursor.fetchall()}
