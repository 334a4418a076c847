"""The events behind a figure, newest first. The hourly sums say where they are: more events cost no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from secretaria.core.price import Metric
from secretaria.store.database import Connection
from secretaria.store.period_reads import Column

HOURS_READ_MAX: Final = 24
"""Hours looked into for one page; where each holds an event or two, the page is shorter and the next goes on."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One counted event. phone_last4 is all that is kept of a number; a correction holds what it changed."""

    occurred_at: datetime
    identity: str
    source: str
    event_id: str
    wamid: str | None
    phone_last4: str | None
    direction: str
    category: str | None
    model: str | None
    account_id: int | None
    messages: int
    tokens_input: int
    tokens_output: int
    is_correction: bool


def _narrowed(narrowed: Mapping[Column, object], of: str) -> tuple[str, dict[str, object]]:
    """Return the condition on rows of a series, which asks for the series only where something is to be left out."""
    if not narrowed:
        return "", {}
    only = "".join(f" AND s.{Column(name)} IS NOT DISTINCT FROM %(only_{name})s" for name in narrowed)
    text = (
        f" AND {of}.series_id = ANY(ARRAY(SELECT s.series_id FROM usage_series AS s "  # noqa: S608  constant text
        f"WHERE s.company_id = %(company_id)s{only}))"
    )
    return text, {f"only_{name}": value for name, value in narrowed.items()}


async def read_hours(
    connection: Connection,
    company_id: int,
    *,
    start: date,
    end: date,
    narrowed: Mapping[Column, object],
    until: tuple[date, int] | None,
) -> list[tuple[date, int]]:
    """Return the newest local hours of [start, end) that hold something, `until` among them; one more than is read."""
    only, values = _narrowed(narrowed, "d")
    cursor = await connection.execute(
        "SELECT DISTINCT d.day, d.hour FROM usage_hourly AS d "  # noqa: S608  constant text
        "WHERE d.company_id = %(company_id)s AND d.day >= %(start)s AND d.day < %(end)s "
        f"AND (%(day)s::date IS NULL OR (d.day, d.hour) <= (%(day)s::date, %(hour)s::smallint)){only} "
        "ORDER BY d.day DESC, d.hour DESC LIMIT %(limit)s",
        {
            "company_id": company_id,
            "start": start,
            "end": end,
            "day": None if until is None else until[0],
            "hour": None if until is None else until[1],
            "limit": HOURS_READ_MAX + 1,
            **values,
        },
    )
    return [(day, hour) for day, hour in await cursor.fetchall()]


_COLUMNS: Final = (
    "e.occurred_at, e.identity::text, e.source, e.event_id, e.wamid, m.phone_last4, s.direction, s.category, s.model, "
    "s.account_id, e.messages, e.tokens_input, e.tokens_output, e.corrects IS NOT NULL"
)


# A correction holds what it changed, so that it is behind a metric only where it changed that.
_USED: Final = {
    None: "",
    Metric.MESSAGES: " AND e.messages <> 0",
    Metric.TOKENS: " AND (e.tokens_input <> 0 OR e.tokens_output <> 0)",
}


async def read_events(
    connection: Connection,
    company_id: int,
    *,
    bounds: tuple[datetime, datetime],
    narrowed: Mapping[Column, object],
    metric: Metric | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[EventRow]:
    """Return events that occurred in [start, end), newest first, those below the key `before` and of a metric only.

    bounds are what lets the index on time find them among everyone's.
    """
    only, values = _narrowed(narrowed, "e")
    # A busy hour has thousands: only those that are shown are joined.
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM (SELECT e.* FROM usage_events AS e "  # noqa: S608  constant text
        "WHERE e.company_id = %(company_id)s AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s "
        "AND (%(at)s::timestamptz IS NULL OR (e.occurred_at, e.identity) < (%(at)s::timestamptz, %(identity)s::uuid))"
        f"{only}{_USED[metric]} ORDER BY e.occurred_at DESC, e.identity DESC LIMIT %(limit)s) AS e "
        "JOIN usage_series AS s ON s.company_id = e.company_id AND s.series_id = e.series_id "
        "LEFT JOIN messages AS m ON m.company_id = e.company_id AND m.wamid = e.wamid "
        "ORDER BY e.occurred_at DESC, e.identity DESC",
        {
            "company_id": company_id,
            "start": bounds[0],
            "end": bounds[1],
            "at": None if before is None else before[0],
            "identity": None if before is None else before[1],
            "limit": limit,
            **values,
        },
    )
    return [_event(row) for row in await cursor.fetchall()]


def _event(row: Sequence[Any]) -> EventRow:
    return EventRow(*row)
