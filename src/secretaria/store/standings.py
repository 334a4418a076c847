"""How companies stand this month, kept so that a list of thousands can be sorted and filtered in one query.

Derived and never decided by: a row is exact while its company has the version it was computed at and the day lasts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from secretaria.core.limit import LimitState
from secretaria.core.plan import LimitMetric
from secretaria.store.companies import NAME_FOLDED, NAME_HOLDS
from secretaria.store.database import Connection

UNKNOWN_ORDER: Final = Decimal(-1)
"""What unknown figures are sorted as: below everything."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The complete days of this month against the same days of the last one; is_whole: it was in use through them.

    None costs: something was used and nothing of it has a price. base counts the events of the earlier days.
    """

    start: date
    end: date
    before_start: date
    before_end: date
    cost: Decimal | None
    cost_before: Decimal | None
    lower_bound: bool
    lower_bound_before: bool
    base: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """One company's local month so far. percent is the highest among its plan's limits, None without any.

    daily_costs and daily_messages are those of the last days, oldest first, day the last of them.
    last_use begins the hour in which anything was counted last, written in the company's zone.
    """

    company_id: int
    version: int
    as_of: datetime
    due_at: datetime
    day: date
    currency: str
    plan_id: int | None
    plan_name: str | None
    thresholds: tuple[int, ...]
    percent: Decimal | None
    metric: LimitMetric | None
    state: LimitState
    messages_inbound: int
    messages_outbound: int
    tokens: int
    cost: Decimal | None
    lower_bound: bool
    not_priced_messages: int
    not_priced_tokens: int
    compared: Compared | None
    daily_costs: tuple[Decimal, ...]
    daily_messages: tuple[int, ...]
    first_day: date | None
    last_use: datetime | None
    is_idle: bool
    attention: int
    weight: Decimal
    cost_order: Decimal

    @property
    def is_empty(self) -> bool:
        """True when nothing was used this month."""
        return not (self.messages_inbound or self.messages_outbound or self.tokens)

    @property
    def is_not_priced(self) -> bool:
        """True when a part of the month's use has no price."""
        return self.lower_bound


async def read_due(
    connection: Connection,
    *,
    now: datetime,
    limit: int,
    among: Sequence[int] | None = None,
    before: datetime | None = None,
) -> list[int]:
    """Return companies whose row is missing or no longer exact, longest ago first; of `among` only.

    before: leave out those computed since then.
    """
    cursor = await connection.execute(
        "SELECT h.company_id FROM company_heads AS h LEFT JOIN company_standings AS s ON s.company_id = h.company_id "
        "WHERE (s.company_id IS NULL OR s.version <> h.version OR s.due_at <= %(now)s) "
        "AND (%(among)s::bigint[] IS NULL OR h.company_id = ANY(%(among)s)) "
        "AND (%(before)s::timestamptz IS NULL OR s.as_of IS NULL OR s.as_of < %(before)s OR s.due_at <= %(now)s) "
        "ORDER BY s.as_of NULLS FIRST, h.company_id LIMIT %(limit)s",
        {"now": now, "limit": limit, "among": None if among is None else list(among), "before": before},
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def write(connection: Connection, standings: Sequence[Standing]) -> None:
    """Keep these rows; a row read later than ours stays."""
    cursor = connection.cursor()
    await cursor.executemany(
        "INSERT INTO company_standings AS s (company_id, version, as_of, due_at, plan_id, attention, weight, state, "
        "no_data, not_priced, percent, messages, cost, figures) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb) "
        "ON CONFLICT (company_id) DO UPDATE SET version = excluded.version, as_of = excluded.as_of, "
        "due_at = excluded.due_at, plan_id = excluded.plan_id, attention = excluded.attention, "
        "weight = excluded.weight, state = excluded.state, no_data = excluded.no_data, "
        "not_priced = excluded.not_priced, percent = excluded.percent, messages = excluded.messages, "
        "cost = excluded.cost, figures = excluded.figures "
        "WHERE (s.version, s.as_of) <= (excluded.version, excluded.as_of)",
        [
            (
                of.company_id, of.version, of.as_of, of.due_at, of.plan_id, of.attention, of.weight, of.state.value,
                of.is_idle, of.is_not_priced, UNKNOWN_ORDER if of.percent is None else of.percent,
                of.messages_outbound, of.cost_order, msgspec.json.encode(of).decode(),
            )
            for of in sorted(standings, key=lambda one: one.company_id)
        ],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spans:
    """When a company was first and last in use; hour of the last day, since that day began."""

    first_day: date
    last_day: date
    last_hour: int


async def read_spans(connection: Connection, company_ids: Sequence[int]) -> dict[int, Spans]:
    """Return when these companies were in use; those that never were are left out."""
    cursor = await connection.execute(
        "SELECT k.company_id, f.day, l.day, l.hour FROM unnest(%s::bigint[]) AS k (company_id) "
        "JOIN LATERAL (SELECT day FROM usage_hourly AS d WHERE d.company_id = k.company_id "
        "ORDER BY day LIMIT 1) AS f ON true "
        "JOIN LATERAL (SELECT day, hour FROM usage_hourly AS d WHERE d.company_id = k.company_id "
        "ORDER BY day DESC, hour DESC LIMIT 1) AS l ON true",
        (list(company_ids),),
    )
    return {company_id: Spans(*row) for company_id, *row in await cursor.fetchall()}


# --- the list --------------------------------------------------------------------------------------------------------

SITUATIONS: Final[Mapping[str, str]] = {
    "critical": "s.state = 'critical'",
    "warning": "s.state = 'warning'",
    "no_data": "s.no_data",
    "not_priced": "s.not_priced",
}
ATTENTION_UNKNOWN: Final = 2
"""Companies that nothing was computed of yet stand where most of them will: among those without data."""

# What a page is sorted by. Attention is ascending, and largest first within one kind.
ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "attention": (f"coalesce(s.attention, {ATTENTION_UNKNOWN})::numeric", "-coalesce(s.weight, 0)"),
    "name": (NAME_FOLDED,),
    "cost": ("coalesce(s.cost, -1)",),
    "percent": ("coalesce(s.percent, -1)",),
    "messages": ("coalesce(s.messages, 0)::numeric",),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of the list. plan_id 0: without a plan. after is the key of the row before it, as a page gave it."""

    search: str = ""
    situation: str | None = None
    plan_id: int | None = None
    order: str = "attention"
    descending: bool = False
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListRow:
    """A company on the list, its key in the order asked for, and how it stands (None: not computed yet)."""

    company_id: int
    name: str
    status: str
    version: int
    open_alerts: int
    key: tuple[str, ...]
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many companies the search and the plan leave, by situation; behind of them are no longer exact.

    behind_since is the oldest moment any of them was computed at.
    """

    total: int
    situations: Mapping[str, int]
    behind: int
    behind_since: datetime | None


_FROM: Final = (
    "FROM companies AS c JOIN company_heads AS h ON h.company_id = c.company_id "
    "LEFT JOIN company_standings AS s ON s.company_id = c.company_id "
)
_DIGITS: Final = "regexp_replace(upper(%(search)s), '[^0-9A-Z]', '', 'g')"
_FOUND: Final = (
    f"({NAME_HOLDS} OR c.company_id::text = %(search)s "
    f"OR (length({_DIGITS}) >= %(tax_id_chars_min)s AND strpos(c.tax_id, {_DIGITS}) > 0)) "
    "AND (%(plan_id)s::bigint IS NULL OR coalesce(s.plan_id, 0) = %(plan_id)s)"
)
TAX_ID_CHARS_MIN: Final = 6


def _parameters(wanted: Wanted) -> dict[str, Any]:
    return {"search": wanted.search, "plan_id": wanted.plan_id, "tax_id_chars_min": TAX_ID_CHARS_MIN}


async def count(connection: Connection, wanted: Wanted, *, now: datetime) -> Counts:
    """Return the counts behind the filters: of what the search and the plan leave, whatever the situation asked for."""
    parts = ", ".join(f"count(*) FILTER (WHERE {rule})" for rule in SITUATIONS.values())
    behind = "s.company_id IS NULL OR s.version <> h.version OR s.due_at <= %(now)s"
    cursor = await connection.execute(
        f"SELECT count(*), {parts}, count(*) FILTER (WHERE {behind}), "
        f"min(s.as_of) FILTER (WHERE {behind}) {_FROM} WHERE {_FOUND}",
        {**_parameters(wanted), "now": now},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  an aggregate always answers
    total, *found, behind_count, since = row
    return Counts(total, dict(zip(SITUATIONS, found, strict=True)), behind_count, since)


async def read_page(connection: Connection, wanted: Wanted, *, limit: int) -> list[ListRow]:
    """Return up to `limit` rows behind the key `after`, in the order asked for."""
    where, parameters = _where(wanted)
    keys, direction = ORDERS[wanted.order], "DESC" if wanted.descending else "ASC"
    ordered = ", ".join(f"{key} {direction}" for key in (*keys, "c.company_id"))
    cursor = await connection.execute(
        f"{_select(keys)} {_FROM} WHERE {where} ORDER BY {ordered} LIMIT %(limit)s",
        {**parameters, "limit": limit},
    )
    return [_row(row) for row in await cursor.fetchall()]


async def read_some(connection: Connection, company_ids: Sequence[int], wanted: Wanted) -> list[ListRow]:
    """Return these companies, in the order of their ids as given; those that are gone are left out."""
    keys = ORDERS[wanted.order]
    cursor = await connection.execute(
        f"{_select(keys)} {_FROM} WHERE c.company_id = ANY(%(ids)s)", {"ids": list(company_ids)}
    )
    found = {row.company_id: row for row in map(_row, await cursor.fetchall())}
    return [found[company_id] for company_id in company_ids if company_id in found]


async def count_before(connection: Connection, wanted: Wanted) -> int:
    """Return how many rows of the list stand up to and with the key `after`; 0 without one."""
    if not wanted.after:
        return 0
    where, parameters = _where(wanted, up_to=True)
    cursor = await connection.execute(f"SELECT count(*) {_FROM} WHERE {where}", parameters)
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


def _select(keys: Sequence[str]) -> str:
    told = ", ".join(f"({key})::text" for key in keys)
    return (
        "SELECT c.company_id, c.name, c.status, h.version, (SELECT count(*) FROM alerts AS a "  # noqa: S608  constants
        "WHERE a.company_id = c.company_id AND a.resolved_at IS NULL AND a.acknowledged_at IS NULL), "
        f"ARRAY[{told}, c.company_id::text], s.figures::text"
    )


def _where(wanted: Wanted, *, up_to: bool = False) -> tuple[str, dict[str, Any]]:
    rules, parameters = [_FOUND], _parameters(wanted)
    if wanted.situation is not None:
        rules.append(SITUATIONS[wanted.situation])
    if wanted.after:
        keys = ORDERS[wanted.order]
        kinds = ["text" if key == NAME_FOLDED else "numeric" for key in keys]
        places = [f"%(after_{number})s::{kind}" for number, kind in enumerate([*kinds, "bigint"])]
        sign = ("<=" if up_to else ">") if not wanted.descending else (">=" if up_to else "<")
        rules.append(f"({', '.join((*keys, 'c.company_id'))}) {sign} ({', '.join(places)})")
        parameters |= {f"after_{number}": value for number, value in enumerate(wanted.after)}
    return " AND ".join(rules), parameters


def _row(row: Sequence[Any]) -> ListRow:
    company_id, name, status, version, open_alerts, key, figures = row
    standing = None if figures is None else msgspec.json.decode(figures, type=Standing)
    return ListRow(company_id, name, status, version, open_alerts, tuple(key), standing)


async def read_plan_names(connection: Connection, *, limit: int) -> list[tuple[int, str]]:
    """Return up to `limit` plans by name."""
    cursor = await connection.execute("SELECT plan_id, name FROM plans ORDER BY lower(name) LIMIT %s", (limit,))
    return await cursor.fetchall()
