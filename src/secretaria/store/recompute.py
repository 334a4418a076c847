"""Do the sums still equal the facts? Rollups and counters recomputed from usage_events and compared; reads only.

Nothing is repaired: a difference is a fault to be understood first (`secretaria doctor --recompute`).
"""

from dataclasses import dataclass
from typing import Any, Final

from secretaria.store.database import Connection

EXAMPLES_MAX: Final = 10
TIMEOUT_MS: Final = 30 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs: where it is, what the events add up to, and what the table holds, by column."""

    key: dict[str, Any]
    events: dict[str, int]
    stored: dict[str, int]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A table that differs from the events: in how many rows, and the first EXAMPLES_MAX of them."""

    table: str
    rows: int
    examples: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Check:
    """events and stored are queries with the columns key + sums; %(company_id)s is null for all companies."""

    table: str
    key: tuple[str, ...]
    sums: tuple[str, ...]
    events: str
    stored: str


_SUMS: Final = ("messages", "tokens_input", "tokens_output", "response_ms", "response_count")
_OF_COMPANY: Final = "(%(company_id)s::bigint IS NULL OR {}company_id = %(company_id)s)"


def _sums_of_events(*key: str) -> str:
    columns = ", ".join(key)
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in _SUMS)
    return f"SELECT {columns}, {sums} FROM usage_events WHERE {_OF_COMPANY.format('')} GROUP BY {columns}"  # noqa: S608


def _rows_of(table: str, *columns: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {_OF_COMPANY.format('')}"  # noqa: S608


_HOUR: Final = ("company_id", "day", "hour", "series_id")
_DAY: Final = ("company_id", "day", "series_id")
_MONTH: Final = ("company_id", "period_start")
_COUNTERS: Final = ("messages_inbound", "messages_outbound", "tokens_input", "tokens_output")

_CHECKS: Final = (
    _Check("usage_hourly", _HOUR, _SUMS, _sums_of_events(*_HOUR), _rows_of("usage_hourly", *_HOUR, *_SUMS)),
    _Check("usage_daily", _DAY, _SUMS, _sums_of_events(*_DAY), _rows_of("usage_daily", *_DAY, *_SUMS)),
    _Check(
        "period_counters",
        _MONTH,
        _COUNTERS,
        "SELECT e.company_id, date_trunc('month', e.day::timestamp)::date AS period_start, "  # noqa: S608
        "sum(e.messages) FILTER (WHERE s.direction = 'inbound')::bigint AS messages_inbound, "
        "sum(e.messages) FILTER (WHERE s.direction = 'outbound')::bigint AS messages_outbound, "
        "sum(e.tokens_input)::bigint AS tokens_input, sum(e.tokens_output)::bigint AS tokens_output "
        "FROM usage_events AS e LEFT JOIN usage_series AS s "
        "ON s.company_id = e.company_id AND s.series_id = e.series_id "
        f"WHERE {_OF_COMPANY.format('e.')} GROUP BY 1, 2",
        _rows_of("period_counters", *_MONTH, *_COUNTERS),
    ),
    _Check(
        "event_identities",
        ("company_id",),
        ("events",),
        f"SELECT company_id, count(*) AS events FROM usage_events WHERE {_OF_COMPANY.format('')} "  # noqa: S608
        "GROUP BY company_id",
        f"SELECT company_id, count(*) AS events FROM event_identities WHERE {_OF_COMPANY.format('')} "  # noqa: S608
        "GROUP BY company_id",
    ),
)


async def recompute(connection: Connection, company_id: int | None) -> list[Mismatch]:
    """Compare one company's sums, or everyone's, with its events; return the tables that differ, none when all agree.

    Each table is compared in one statement, so that ingest may go on meanwhile. A row that one side lacks counts
    as zeros there. TIMEOUT_MS replaces the transaction's statement timeout.
    """
    await connection.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
    found = [await _compare(connection, check, company_id) for check in _CHECKS]
    return [mismatch for mismatch in found if mismatch is not None]


async def _compare(connection: Connection, check: _Check, company_id: int | None) -> Mismatch | None:
    key = ", ".join(check.key)
    events = ", ".join(f"coalesce(e.{name}, 0) AS events_{name}" for name in check.sums)
    stored = ", ".join(f"coalesce(t.{name}, 0) AS stored_{name}" for name in check.sums)
    differs = " OR ".join(f"coalesce(e.{name}, 0) <> coalesce(t.{name}, 0)" for name in check.sums)
    cursor = await connection.execute(
        f"SELECT count(*) OVER (), {key}, {events}, {stored} "  # noqa: S608  names of our own tables and columns
        f"FROM ({check.events}) AS e FULL JOIN ({check.stored}) AS t USING ({key}) "
        f"WHERE {differs} ORDER BY {key} LIMIT {EXAMPLES_MAX}",
        {"company_id": company_id},
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    return Mismatch(check.table, rows[0][0], tuple(_difference(check, row[1:]) for row in rows))


def _difference(check: _Check, row: tuple[Any, ...]) -> Difference:
    keys, sums = len(check.key), len(check.sums)
    return Difference(
        dict(zip(check.key, row[:keys], strict=True)),
        dict(zip(check.sums, row[keys : keys + sums], strict=True)),
        dict(zip(check.sums, row[keys + sums :], strict=True)),
    )
