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
_PRICED_BY = "channel, direction, category, market, model, pricing_type"
_TOLD_BY = f"{_PRICED_BY}, account_id"
_SUMS = (
    "sum(d.messages)::bigint AS messages, sum(d.tokens_input)::bigint AS tokens_input, "
    "sum(d.tokens_output)::bigint AS tokens_output, sum(d.response_ms)::bigint AS response_ms, "
    "sum(d.response_count)::bigint AS response_count"
)
_SUMMED = "messages, tokens_input, tokens_output, response_ms, response_count"
_DIMENSIONS = "d.day, s.channel, s.direction, s.category, s.market, s.model, s.pricing_type"
_OF_SERIES = "JOIN usage_series AS s ON s.company_id = d.company_id AND s.series_id = d.series_id"
_WITH_ACCOUNT, _WITHOUT_ACCOUNT = "s.account_id", "NULL::bigint"


async def read_days(
    connection: Connection, company_id: int, *, start: date, end: date, by_account: bool = False
) -> list[DayUsage]:
    """Return a company's usage on the local days [start, end), told apart by account where asked to."""
    cursor = await connection.execute(
        f"WITH {_uses('company_id = %(company_id)s', 'account_id' if by_account else _WITHOUT_ACCOUNT)}, "  # noqa: S608
        f"sums AS MATERIALIZED (SELECT d.day, s.number, {_SUMS} FROM usage_daily AS d "
        "JOIN series AS s ON s.series_id = d.series_id "
        "WHERE d.company_id = %(company_id)s AND d.day >= %(start)s AND d.day < %(end)s GROUP BY 1, 2) "
        f"SELECT day, {_TOLD_BY}, {_SUMMED} FROM sums JOIN uses USING (number)",
        {"company_id": company_id, "start": start, "end": end},
    )
    return _usages(await cursor.fetchall())


def _uses(of_whom: str, account: str) -> str:
    """Number what decides a price: days are then added up by two numbers, not by seven texts."""
    return (
        f"series AS MATERIALIZED (SELECT *, dense_rank() OVER (ORDER BY {_TOLD_BY}) AS number FROM "  # noqa: S608
        f"(SELECT company_id, series_id, {_PRICED_BY}, {account} AS account_id FROM usage_series WHERE {of_whom}) "
        "AS s), "
        f"uses AS (SELECT DISTINCT number, {_TOLD_BY} FROM series)"
    )


def _usages(rows: Sequence[Sequence[Any]]) -> list[DayUsage]:
    dimensions: dict[tuple[Any, ...], Dimensions] = {}
    found = []
    for day, *rest in rows:
        key = tuple(rest[:7])
        of = dimensions.get(key)
        if of is None:
            of = dimensions[key] = _use(*key)
        messages, tokens_input, tokens_output, response_ms, response_count = rest[7:]
        found.append(DayUsage(UsageLine(day, of, messages, tokens_input, tokens_output), response_ms, response_count))
    return found


def _use(channel: str, direction: str, *rest: Any) -> Dimensions:
    category, market, model, pricing_type, account_id = rest
    return Dimensions(
        Channel(channel), Direction(direction), category, market, model, account_id, pricing_type=pricing_type
    )


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
    account = "CASE WHEN company_id = ANY(%(by_account)s) THEN account_id END"
    cursor = await connection.execute(
        f"WITH {_uses('company_id = ANY(%(company_ids)s)', account)}, "  # noqa: S608  constant text
        f"sums AS MATERIALIZED (SELECT d.company_id, d.day, s.number, {_SUMS} "
        "FROM unnest(%(company_ids)s::bigint[], %(starts)s::date[], %(ends)s::date[]) "
        "AS k (company_id, first, past) JOIN usage_daily AS d ON d.company_id = k.company_id "
        "AND d.day >= k.first AND d.day < k.past "
        "JOIN series AS s ON s.company_id = d.company_id AND s.series_id = d.series_id GROUP BY 1, 2, 3) "
        f"SELECT company_id, day, {_TOLD_BY}, {_SUMMED} FROM sums JOIN uses USING (number)",
        {
            "company_ids": list(periods),
            "starts": [period.start for period in periods.values()],
            "ends": [period.end for period in periods.values()],
            "by_account": list(by_account),
        },
    )
    found: dict[int, list[Sequence[Any]]] = defaultdict(list)
    for company_id, *row in await cursor.fetchall():
        found[company_id].append(row)
    return defaultdict(list, {company_id: _usages(rows) for company_id, rows in found.items()})


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
    return version, _usages([row[1:] for row in rows if row[1] is not None])
