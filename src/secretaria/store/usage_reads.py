"""The daily sums as usage lines, ready to be rated: one row for each local day and kind of use that has a price."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions
from secretaria.core.rating import UsageLine
from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class DayUsage:
    """A usage line with what rating does not need: the sum and the count of its response times."""

    line: UsageLine
    response_ms: int
    response_count: int


# Template, cost centre and account do not decide a price: they are summed over.
_SUMS = (
    "d.day, s.channel, s.direction, s.category, s.market, s.model, s.pricing_type, sum(d.messages)::bigint, "
    "sum(d.tokens_input)::bigint, sum(d.tokens_output)::bigint, sum(d.response_ms)::bigint, "
    "sum(d.response_count)::bigint "
)
_OF_SERIES = "JOIN usage_series AS s ON s.company_id = d.company_id AND s.series_id = d.series_id "
_GROUP = "GROUP BY d.company_id, d.day, s.channel, s.direction, s.category, s.market, s.model, s.pricing_type"


def _usage(row: Sequence[Any]) -> DayUsage:
    day, channel, direction, category, market, model, pricing_type, *sums = row
    messages, tokens_input, tokens_output, response_ms, response_count = sums
    dimensions = Dimensions(
        Channel(channel), Direction(direction), category, market, model, pricing_type=pricing_type
    )
    return DayUsage(UsageLine(day, dimensions, messages, tokens_input, tokens_output), response_ms, response_count)


async def read_days(connection: Connection, company_id: int, *, start: date, end: date) -> list[DayUsage]:
    """Return a company's usage on the local days [start, end)."""
    cursor = await connection.execute(
        f"SELECT {_SUMS} FROM usage_daily AS d {_OF_SERIES} "  # noqa: S608  constant text
        f"WHERE d.company_id = %s AND d.day >= %s AND d.day < %s {_GROUP}",
        (company_id, start, end),
    )
    return [_usage(row) for row in await cursor.fetchall()]


async def has_usage(connection: Connection, company_id: int) -> bool:
    """Tell whether the company has any day with usage."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM usage_daily WHERE company_id = %s)", (company_id,)
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def read_day_each(connection: Connection, days: Mapping[int, date]) -> dict[int, list[DayUsage]]:
    """Return the usage of each company of {company_id: local day} on its own day, in one query."""
    cursor = await connection.execute(
        f"SELECT d.company_id, {_SUMS} "  # noqa: S608  constant text
        "FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, day) "
        f"JOIN usage_daily AS d ON d.company_id = k.company_id AND d.day = k.day {_OF_SERIES} {_GROUP}",
        (list(days), list(days.values())),
    )
    found: dict[int, list[DayUsage]] = defaultdict(list)
    for company_id, *row in await cursor.fetchall():
        found[company_id].append(_usage(row))
    return found


async def read_days_at_version(
    connection: Connection, company_id: int, days: Sequence[date]
) -> tuple[int, list[DayUsage]]:
    """Return the company's version and its usage on the given days, both as of one moment: it is one statement."""
    cursor = await connection.execute(
        f"SELECT h.version, {_SUMS} "  # noqa: S608  constant text
        "FROM company_heads AS h "
        f"LEFT JOIN (usage_daily AS d {_OF_SERIES}) ON d.company_id = h.company_id AND d.day = ANY(%s) "
        f"WHERE h.company_id = %s GROUP BY h.version, {_GROUP.removeprefix('GROUP BY ')}",
        (list(days), company_id),
    )
    rows = await cursor.fetchall()
    version = int(rows[0][0]) if rows else 0
    return version, [_usage(row[1:]) for row in rows if row[1] is not None]
