"""Rows of alerts, and of the counters that say when to decide about them. Writers hold the heads' locks.

alert_pages.py reads what people look at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from secretaria.core import money
from secretaria.core.crossing import AlertKind, AlertLevel, Line
from secretaria.core.plan import LimitMetric
from secretaria.store.database import Connection

PeriodKey = tuple[int, date]
"""(company_id, the month's first day)."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A crossing as people see it. limit and percent are None for kind not_priced; used is then what has no price."""

    company_id: int
    alert_id: int
    kind: AlertKind
    metric: LimitMetric
    threshold: int
    level: AlertLevel
    period_start: date
    limit: Decimal | None
    episode: int
    used: Decimal
    percent: Decimal | None
    currency: str | None
    plan_name: str | None
    fired_at: datetime
    resolved_at: datetime | None = None
    resolved_used: Decimal | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None

    @property
    def line(self) -> Line:
        """What was crossed."""
        return Line(self.kind, self.metric, self.threshold, self.limit or Decimal(0))


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert to be inserted."""

    company_id: int
    line: Line
    period_start: date
    episode: int
    used: Decimal
    percent: Decimal | None
    currency: str | None
    plan_name: str | None


@dataclass(frozen=True, slots=True)
class Watch:
    """What a decision leaves on a period's counters: when to decide again (None: never) and what bounds its cost.

    decided_on None: the day stays as it is.
    """

    decided_on: date | None
    messages_alert_at: Decimal | None
    tokens_alert_at: Decimal | None
    cost_alert_at: Decimal | None
    cost: Decimal
    message_price_max: Decimal
    token_price_max: Decimal


@dataclass(slots=True)
class Waiting:
    """A company's feed as it should be: its newest alerts, newest first, and those not published yet, oldest first.

    version grows with every alert that fires or is resolved.
    """

    version: int
    newest: list[Alert]
    news: list[Alert]


COLUMNS: Final = (
    "a.company_id, a.alert_id, a.kind, a.metric, a.threshold, a.level, a.period_start, a.limit_amount, a.episode, "
    "a.used, a.percent, a.currency, a.plan_name, a.fired_at, a.resolved_at, a.resolved_used, a.acknowledged_at, "
    "a.acknowledged_by"
)


def alert_of_row(row: Sequence[Any]) -> Alert:
    """Return the alert of a row of COLUMNS."""
    company_id, alert_id, kind, metric, threshold, level, period_start, limit, *rest = row
    amount = limit if kind == AlertKind.LIMIT else None
    of = AlertKind(kind), LimitMetric(metric), threshold, AlertLevel(level)
    return Alert(company_id, alert_id, *of, period_start, amount, *rest)


def as_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as the API, webhooks and the feed tell it: quantities as integers, money as text."""
    return {
        "id": alert.alert_id,
        "company_id": alert.company_id,
        "kind": alert.kind.value,
        "metric": alert.metric.value,
        "threshold": alert.threshold if alert.kind == AlertKind.LIMIT else None,
        "level": alert.level.value,
        "period_start": alert.period_start.isoformat(),
        "used": _quantity(alert.metric, alert.used),
        "limit": None if alert.limit is None else _quantity(alert.metric, alert.limit),
        "percent": None if alert.percent is None else money.exact_text(alert.percent),
        "currency": alert.currency,
        "plan": alert.plan_name,
        "fired_at": alert.fired_at.isoformat(),
        "resolved_at": None if alert.resolved_at is None else alert.resolved_at.isoformat(),
        "acknowledged_at": None if alert.acknowledged_at is None else alert.acknowledged_at.isoformat(),
        "acknowledged_by": alert.acknowledged_by,
    }


def _quantity(metric: LimitMetric, amount: Decimal) -> int | str:
    return money.exact_text(amount) if metric == LimitMetric.COST else int(amount)


async def read_periods(connection: Connection, keys: Iterable[PeriodKey]) -> dict[PeriodKey, list[Alert]]:
    """Return all alerts of these periods, oldest first."""
    wanted = list(keys)
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, period_start) "  # noqa: S608
        "JOIN alerts AS a ON a.company_id = k.company_id AND a.period_start = k.period_start ORDER BY a.alert_id",
        ([company_id for company_id, _ in wanted], [start for _, start in wanted]),
    )
    found: dict[PeriodKey, list[Alert]] = {key: [] for key in wanted}
    for row in await cursor.fetchall():
        alert = alert_of_row(row)
        found[alert.company_id, alert.period_start].append(alert)
    return found


async def insert(connection: Connection, new: Sequence[NewAlert], *, now: datetime) -> list[Alert]:
    """Insert the alerts and return them with their ids, in order."""
    cursor = await connection.execute(
        "INSERT INTO alerts AS a (company_id, kind, metric, threshold, level, period_start, limit_amount, "  # noqa: S608
        "episode, used, percent, currency, plan_name, fired_at) SELECT k.*, %s FROM unnest(%s::bigint[], %s::text[], "
        "%s::text[], %s::smallint[], %s::text[], %s::date[], %s::numeric[], %s::integer[], %s::numeric[], "
        f"%s::numeric[], %s::text[], %s::text[]) AS k RETURNING {COLUMNS}",
        (
            now,
            [alert.company_id for alert in new],
            [alert.line.kind.value for alert in new],
            [alert.line.metric.value for alert in new],
            [alert.line.threshold for alert in new],
            [alert.line.level.value for alert in new],
            [alert.period_start for alert in new],
            [alert.line.limit for alert in new],
            [alert.episode for alert in new],
            [alert.used for alert in new],
            [alert.percent for alert in new],
            [alert.currency for alert in new],
            [alert.plan_name for alert in new],
        ),
    )
    return sorted((alert_of_row(row) for row in await cursor.fetchall()), key=lambda alert: alert.alert_id)


async def resolve(connection: Connection, over: Sequence[tuple[Alert, Decimal]], *, now: datetime) -> list[Alert]:
    """Resolve alerts, each with what was used then; their feed entry is written again. Returns them as they are now."""
    cursor = await connection.execute(
        "UPDATE alerts AS a SET resolved_at = %s, resolved_used = k.used, published = false "  # noqa: S608
        "FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[]) AS k (company_id, alert_id, used) "
        f"WHERE a.company_id = k.company_id AND a.alert_id = k.alert_id RETURNING {COLUMNS}",
        (
            now,
            [alert.company_id for alert, _ in over],
            [alert.alert_id for alert, _ in over],
            [used for _, used in over],
        ),
    )
    return sorted((alert_of_row(row) for row in await cursor.fetchall()), key=lambda alert: alert.alert_id)


async def read_recent(
    connection: Connection, company_id: int, *, limit: int, before: int | None = None, since: date | None = None
) -> list[Alert]:
    """Return a company's alerts, newest first: below the id `before`, of periods that start at `since` or later."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM alerts AS a WHERE a.company_id = %(company_id)s "  # noqa: S608
        "AND (%(before)s::bigint IS NULL OR a.alert_id < %(before)s) "
        "AND (%(since)s::date IS NULL OR a.period_start >= %(since)s) ORDER BY a.alert_id DESC LIMIT %(limit)s",
        {"company_id": company_id, "before": before, "since": since, "limit": limit},
    )
    return [alert_of_row(row) for row in await cursor.fetchall()]


async def read_counters(connection: Connection, keys: Iterable[PeriodKey]) -> dict[PeriodKey, tuple[int, int]]:
    """Return {(company, month): (messages, tokens)} of the periods that have counters."""
    wanted = list(keys)
    cursor = await connection.execute(
        "SELECT c.company_id, c.period_start, c.messages_inbound + c.messages_outbound, "
        "c.tokens_input + c.tokens_output FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, period_start) "
        "JOIN period_counters AS c ON c.company_id = k.company_id AND c.period_start = k.period_start",
        ([company_id for company_id, _ in wanted], [start for _, start in wanted]),
    )
    return {(company_id, start): (messages, tokens) for company_id, start, messages, tokens in await cursor.fetchall()}


async def read_marked(connection: Connection, keys: Iterable[PeriodKey]) -> set[PeriodKey]:
    """Return which of these periods are marked undecided."""
    wanted = list(keys)
    cursor = await connection.execute(
        "SELECT c.company_id, c.period_start FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, period_start) "
        "JOIN period_counters AS c ON c.company_id = k.company_id AND c.period_start = k.period_start "
        "WHERE NOT c.decided",
        ([company_id for company_id, _ in wanted], [start for _, start in wanted]),
    )
    return set(await cursor.fetchall())


async def set_watches(connection: Connection, watches: Mapping[PeriodKey, Watch]) -> None:
    """Note on the counters when to decide again."""
    keys, rows = list(watches), list(watches.values())
    await connection.execute(
        "UPDATE period_counters AS c SET decided = true, decided_on = coalesce(k.decided_on, c.decided_on), "
        "messages_alert_at = k.messages, tokens_alert_at = k.tokens, cost_alert_at = k.cost_at, cost_bound = k.cost, "
        "message_price_max = k.message_price, token_price_max = k.token_price "
        "FROM unnest(%s::bigint[], %s::date[], %s::date[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], "
        "%s::numeric[], %s::numeric[]) AS k (company_id, period_start, decided_on, messages, tokens, cost_at, cost, "
        "message_price, token_price) WHERE c.company_id = k.company_id AND c.period_start = k.period_start",
        (
            [company_id for company_id, _ in keys],
            [start for _, start in keys],
            [row.decided_on for row in rows],
            [row.messages_alert_at for row in rows],
            [row.tokens_alert_at for row in rows],
            [row.cost_alert_at for row in rows],
            [row.cost for row in rows],
            [row.message_price_max for row in rows],
            [row.token_price_max for row in rows],
        ),
    )


async def set_undecided(connection: Connection, company_ids: Sequence[int], *, since: date) -> list[PeriodKey]:
    """Have these companies' periods from `since` on decided again, by whoever comes first; return them.

    Earlier ones too where something had no price: a first price covers all earlier days.
    """
    cursor = await connection.execute(
        "UPDATE period_counters AS c SET decided = false WHERE c.company_id = ANY(%s) AND (c.period_start >= %s "
        "OR EXISTS (SELECT FROM alerts AS a WHERE a.company_id = c.company_id AND a.period_start = c.period_start "
        "AND a.kind = 'not_priced' AND a.resolved_at IS NULL)) RETURNING c.company_id, c.period_start",
        (list(company_ids), since),
    )
    return sorted(await cursor.fetchall())


async def acknowledge(
    connection: Connection, company_id: int, alert_id: int, *, by: str, now: datetime
) -> Alert | None:
    """Note who has seen an alert, the first time; return it, None where the company has no such alert."""
    cursor = await connection.execute(
        "UPDATE alerts AS a SET acknowledged_at = coalesce(acknowledged_at, %s), "  # noqa: S608
        f"acknowledged_by = coalesce(acknowledged_by, %s) WHERE company_id = %s AND alert_id = %s RETURNING {COLUMNS}",
        (now, by, company_id, alert_id),
    )
    row = await cursor.fetchone()
    return None if row is None else alert_of_row(row)


async def read_undecided(connection: Connection, *, limit: int) -> list[PeriodKey]:
    """Return periods that wait to be decided."""
    cursor = await connection.execute(
        "SELECT company_id, period_start FROM period_counters WHERE NOT decided ORDER BY 1, 2 LIMIT %s", (limit,)
    )
    return await cursor.fetchall()


async def read_begun_limits(connection: Connection, *, since: date, until: date) -> dict[PeriodKey, list[date]]:
    """Return the days up to `until` on which other limits began since a period (from `since` on) was decided."""
    cursor = await connection.execute(
        "SELECT c.company_id, c.period_start, array_agg(DISTINCT begun.effective_from) FROM period_counters AS c "
        "CROSS JOIN LATERAL (SELECT p.effective_from FROM company_plans AS p WHERE p.company_id = c.company_id "
        "UNION ALL SELECT l.effective_from FROM company_plans AS p JOIN plan_limits AS l ON l.plan_id = p.plan_id "
        "WHERE p.company_id = c.company_id) AS begun "
        "WHERE c.period_start >= %s AND c.decided AND begun.effective_from > c.decided_on "
        "AND begun.effective_from <= %s GROUP BY 1, 2",
        (since, until),
    )
    return {(company_id, start): days for company_id, start, days in await cursor.fetchall()}


async def read_unswept(
    connection: Connection, *, since: date, before: datetime, limit: int
) -> list[PeriodKey]:
    """Return periods from `since` on whose company moved since it was last swept, which was `before` or never.

    What is marked undecided waits to be decided: nothing was missed there.
    """
    cursor = await connection.execute(
        "SELECT c.company_id, c.period_start FROM period_counters AS c "
        "JOIN company_heads AS h ON h.company_id = c.company_id "
        "WHERE c.decided AND c.period_start >= %s AND c.swept_version IS DISTINCT FROM h.version "
        "AND (c.swept_at IS NULL OR c.swept_at < %s) ORDER BY c.swept_at NULLS FIRST LIMIT %s",
        (since, before, limit),
    )
    return await cursor.fetchall()


async def set_swept(connection: Connection, key: PeriodKey, *, now: datetime) -> None:
    """Note that a period was looked at, at the version its company has."""
    await connection.execute(
        "UPDATE period_counters AS c SET swept_at = %s, swept_version = h.version FROM company_heads AS h "
        "WHERE h.company_id = c.company_id AND c.company_id = %s AND c.period_start = %s",
        (now, *key),
    )


# --- the feed in Valkey (services/alert_feed.py) ---------------------------------------------------------------------


async def read_unpublished_companies(connection: Connection, *, after: int, limit: int) -> list[int]:
    """Return companies above the id `after` that have alerts nobody was told of through the feed."""
    cursor = await connection.execute(
        "SELECT DISTINCT company_id FROM alerts WHERE NOT published AND company_id > %s ORDER BY 1 LIMIT %s",
        (after, limit),
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def read_companies_since(connection: Connection, since: datetime, *, after: int, limit: int) -> list[int]:
    """Return companies above the id `after` with an alert that fired since then."""
    cursor = await connection.execute(
        "SELECT DISTINCT company_id FROM alerts WHERE company_id > %s AND fired_at >= %s ORDER BY 1 LIMIT %s",
        (after, since, limit),
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def read_feeds(connection: Connection, company_ids: Sequence[int], *, newest: int) -> dict[int, Waiting]:
    """Return what the feeds of these companies should hold, all of one moment: one statement."""
    cursor = await connection.execute(
        f"SELECT * FROM (SELECT {COLUMNS}, a.published, "  # noqa: S608
        "count(*) OVER w + count(a.resolved_at) OVER w AS version, "
        "row_number() OVER (PARTITION BY a.company_id ORDER BY a.alert_id DESC) AS place "
        "FROM alerts AS a WHERE a.company_id = ANY(%s) WINDOW w AS (PARTITION BY a.company_id)) AS f "
        "WHERE place <= %s OR NOT published ORDER BY company_id, alert_id DESC",
        (list(company_ids), newest),
    )
    found: dict[int, Waiting] = {}
    for *row, published, version, place in await cursor.fetchall():
        alert = alert_of_row(row)
        feed = found.setdefault(alert.company_id, Waiting(version, [], []))
        if place <= newest:
            feed.newest.append(alert)
        if not published:
            feed.news.insert(0, alert)
    return found


async def set_published(connection: Connection, company_id: int, told: Sequence[Alert]) -> None:
    """Mark alerts as told, but for those resolved since they were read, and those somebody is at: they come again.

    Skipping what is locked keeps ingest, which locks alerts in an order of its own, from ever waiting in a circle.
    """
    await connection.execute(
        "WITH free AS (SELECT a.alert_id FROM unnest(%(ids)s::bigint[], %(resolved)s::boolean[]) AS k (alert_id, over) "
        "JOIN alerts AS a ON a.company_id = %(company_id)s AND a.alert_id = k.alert_id "
        "WHERE (a.resolved_at IS NOT NULL) = k.over FOR NO KEY UPDATE OF a SKIP LOCKED) "
        "UPDATE alerts AS a SET published = true FROM free "
        "WHERE a.company_id = %(company_id)s AND a.alert_id = free.alert_id",
        {
            "company_id": company_id,
            "ids": [alert.alert_id for alert in told],
            "resolved": [alert.resolved_at is not None for alert in told],
        },
    )
