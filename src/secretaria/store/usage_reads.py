"""The daily sums as usage lines, ready to be rated: one row for each local day and kind of use that has a price."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from secretaria.core.event import Direction
from secretaria.core.period import Period
from secretaria.core.price import Channel, Dimensions
from secretaria.core.rating import UsageLine
from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class DayUsage:
    """A usage line with what rating does not need: the sum and the count of its response times."""

    line: UsageLine
    response_ms: int
    response_count: int


# Template and cost centre do not decide a price: they are summed over. The account does where its company chose a
# shared rate card (core/rate_card.py), and is read only there.
_DIMENSIONS = "d.day, s.channel, s.direction, s.category, s.market, s.model, s.pricing_type"
_SUMS = (
    "sum(d.messages)::bigint, sum(d.tokens_input)::bigint, sum(d.tokens_output)::bigint, "
    "sum(d.response_ms)::bigint, sum(d.response_count)::bigint"
)
_OF_SERIES = "JOIN usage_series AS s ON s.company_id = d.company_id AND s.series_id = d.series_id"
_WITH_ACCOUNT, _WITHOUT_ACCOUNT = "s.account_id", "NULL::bigint"


def _usage(row: Sequence[Any]) -> DayUsage:
    day, channel, direction, category, market, model, pricing_type, account_id, *sums = row
    messages, tokens_input, tokens_output, response_ms, response_count = sums
    dimensions = Dimensions(
        Channel(channel), Direction(direction), category, market, model, account_id, pricing_type=pricing_type
    )
    return DayUsage(UsageLine(day, dimensions, messages, tokens_input, tokens_output), response_ms, response_count)


async def read_days(
    connection: Connection, company_id: int, *, start: date, end: date, by_account: bool = False
) -> list[DayUsage]:
    """Return a company's usage on the local days [start, end), told apart by account where asked to."""
    account = _WITH_ACCOUNT if by_account else _WITHOUT_ACCOUNT
    cursor = await connection.execute(
        f"SELECT {_DIMENSIONS}, {account}, {_SUMS} FROM usage_daily AS d {_OF_SERIES} "  # noqa: S608  constant text
        "WHERE d.company_id = %s AND d.day >= %s AND d.day < %s "
        f"GROUP BY d.company_id, {_DIMENSIONS}, {account}",
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


async def read_days_each(
    connection: Connection, periods: Mapping[int, Period], *, by_account: Collection[int] = ()
) -> dict[int, list[DayUsage]]:
    """Return the usage of each company of {company_id: period} on its own days, in one query.

    That of the companies in by_account is told apart by account.
    """
    account = "CASE WHEN d.company_id = ANY(%(by_account)s) THEN s.account_id END"
    cursor = await connection.execute(
        f"SELECT d.company_id, {_DIMENSIONS}, {account}, {_SUMS} "  # noqa: S608  constant text
        "FROM unnest(%(company_ids)s::bigint[], %(starts)s::date[], %(ends)s::date[]) "
        "AS k (company_id, first, past) JOIN usage_daily AS d ON d.company_id = k.company_id "
        f"AND d.day >= k.first AND d.day < k.past {_OF_SERIES} GROUP BY d.company_id, {_DIMENSIONS}, {account}",
        {
            "company_ids": list(periods),
            "starts": [period.start for period in periods.values()],
            "ends": [period.end for period in periods.values()],
            "by_account": list(by_account),
        },
    )
    found: dict[int, list[DayUsage]] = defaultdict(list)
    for company_id, *row in await cursor.fetchall():
        found[company_id].append(_usage(row))
    return found


async def read_days_at_version(
    connection: Connection, company_id: int, days: Sequence[date], *, by_account: bool = False
) -> tuple[int, list[DayUsage]]:
    """Return the company's version and its usage on the given days, both as of one moment: it is one statement."""
    account = _WITH_ACCOUNT if by_account else _WITHOUT_ACCOUNT
    cursor = await connection.execute(
        f"SELECT h.version, {_DIMENSIONS}, {account}, {_SUMS} "  # noqa: S608  constant text
        "FROM company_heads AS h "
        f"LEFT JOIN (usage_daily AS d {_OF_SERIES}) ON d.company_id = h.company_id AND d.day = ANY(%s) "
        f"WHERE h.company_id = %s GROUP BY h.version, d.company_id, {_DIMENSIONS}, {account}",
        (list(days), company_id),
    )
    rows = await cursor.fetchall()
    version = int(rows[0][0]) if rows else 0
    return version, [_usage(row[1:]) for row in rows if row[1] is not None]
