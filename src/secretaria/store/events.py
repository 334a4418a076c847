"""The write path's statements: heads, identities, events, sums. Each runs inside the caller's transaction.

Lock order (law 2): heads, identities, events, messages, rollups, counters; keys sorted. The heads come first and in a
statement of their own, so that whatever a later statement reads of these companies cannot change under it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

import psycopg

from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions
from secretaria.core.rating import UsageLine
from secretaria.core.usage import Delta, DeltaKey, PreparedEvent
from secretaria.store.database import Connection

# Citus reports a duplicate key of a distributed table as an internal error.
DUPLICATE_STATES = frozenset({"23505", "XX000"})

Key = tuple[int, str]
"""(company_id, identity)"""


class Head(NamedTuple):
    """A locked company head, after its version was raised."""

    version: int
    settings_version: int


class Original(NamedTuple):
    """The event that a correction replaces, and what counts of it now (itself plus its earlier corrections).

    settled: its message is counted by the message path (services/message_counting.py), not by the event.
    """

    series_id: int
    inbound: bool
    day: date
    hour: int
    messages: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    settled: bool


class CountedMessage(NamedTuple):
    """What has been counted of a wamid already."""

    counted: bool
    tokens: bool
    response: bool


_LOCK_HEADS = (
    "UPDATE company_heads AS h SET version = h.version + 1 "
    "FROM (SELECT company_id FROM company_heads WHERE company_id = ANY(%s::bigint[]) "
    "ORDER BY company_id FOR NO KEY UPDATE) AS locked "
    "WHERE h.company_id = locked.company_id RETURNING h.company_id, h.version, h.settings_version"
)


async def lock_heads(connection: Connection, company_ids: Iterable[int]) -> dict[int, Head]:
    """Lock the heads in id order, raise their versions, and return them; a company that is not there is left out."""
    cursor = await connection.execute(_LOCK_HEADS, (array(sorted(company_ids)),))
    return _heads(await cursor.fetchall())


def _heads(rows: Sequence[tuple[int, int, int]]) -> dict[int, Head]:
    return {company_id: Head(version, settings) for company_id, version, settings in rows}


_EXISTING_HASHES = (
    "SELECT k.company_id, replace(k.identity::text, '-', ''), encode(e.content_hash, 'hex') "
    "FROM unnest(%s::bigint[], %s::uuid[]) AS k (company_id, identity) "
    "CROSS JOIN LATERAL (SELECT content_hash FROM event_identities AS i "
    "WHERE i.company_id = k.company_id AND i.identity = k.identity OFFSET 0) AS e"
)


async def existing_hashes(connection: Connection, rows: Sequence[PreparedEvent]) -> dict[Key, str]:
    """Return {(company_id, identity): content hash} of those counted already, through the primary key."""
    cursor = await connection.execute(_EXISTING_HASHES, _keys_of(rows))
    return _hashes(await cursor.fetchall())


def _keys_of(rows: Sequence[PreparedEvent]) -> tuple[str, str]:
    return array(row.company_id for row in rows), array(row.identity for row in rows)


def _hashes(rows: Sequence[tuple[int, str, str]]) -> dict[Key, str]:
    return {(company_id, identity): content for company_id, identity, content in rows}


async def begin_group(
    connection: Connection, company_ids: Iterable[int], doubtful: Sequence[PreparedEvent]
) -> tuple[dict[int, Head], dict[Key, str]]:
    """Lock the heads, mark the point before the claim, look up the doubtful identities: three statements, one journey.

    Returns what lock_heads and existing_hashes do. Nobody else can claim one of these companies' identities from here
    on: the heads come first.
    """
    async with connection.pipeline():
        heads = await connection.execute(_LOCK_HEADS, (array(sorted(company_ids)),))
        await connection.execute("SAVEPOINT claim")
        stored = await connection.execute(_EXISTING_HASHES, _keys_of(doubtful)) if doubtful else None
    return _heads(await heads.fetchall()), _hashes(await stored.fetchall()) if stored is not None else {}


async def add_identities(connection: Connection, rows: Sequence[PreparedEvent], *, direct: bool) -> bool:
    """Claim the identities; False when one of them is taken: then all is as it was at begin_group.

    COPY costs half of what INSERT .. ON CONFLICT does (measured: 2.5 against 4.2 microseconds a row), but a claim that
    is undone leaves a dead row for each: who just repeated is looked up first.
    """
    data = "".join([f"{row.company_id}\t{row.identity}\t\\\\x{row.content_hash}\t{row.occurred_at}\n" for row in rows])
    columns = "company_id, identity, content_hash, occurred_at"
    try:
        await _copy(connection, "event_identities", columns, data, direct=direct)
    except psycopg.Error as error:
        if error.sqlstate not in DUPLICATE_STATES:
            raise
        await connection.execute("ROLLBACK TO SAVEPOINT claim")
        return False
    return True


async def add_events(connection: Connection, rows: Sequence[PreparedEvent], *, direct: bool) -> None:
    """Add the facts, each with its series."""
    data = "".join([_event_line(row) for row in rows])
    columns = (
        "company_id, occurred_at, identity, series_id, day, hour, messages, tokens_input, tokens_output, "
        "response_ms, response_count, source, event_id, wamid, template_id, cost_center, corrects"
    )
    await _copy(connection, "usage_events", columns, data, direct=direct)


@lru_cache(maxsize=4096)
def _day_text(day: date) -> str:
    return day.isoformat()


def _event_line(row: PreparedEvent) -> str:
    event = row.event
    data = event.data
    if data.wamid is None and data.template_id is None and data.cost_center is None:
        rest = "\\N\t\\N\t\\N"
    else:
        template = "\\N" if data.template_id is None else data.template_id
        rest = f"{_text(data.wamid)}\t{template}\t{_text(data.cost_center)}"
    return (
        f"{row.company_id}\t{row.occurred_at}\t{row.identity}\t{row.series_id}\t{_day_text(row.day)}\t{row.hour}\t{row.messages}\t"
        f"{row.tokens_input}\t{row.tokens_output}\t{row.response_ms}\t{row.response_count}\t"
        f"{_text(event.source)}\t{_text(event.id)}\t{rest}\t{row.corrects or _NULL}\n"
    )


_NULL = "\\N"


def _text(text: str | None) -> str:
    """Return a value of COPY's text format. Control characters were refused at the door; a backslash was not."""
    if text is None:
        return _NULL
    return text.replace("\\", "\\\\") if "\\" in text else text


async def _copy(connection: Connection, table: str, columns: str, data: str, *, direct: bool) -> None:
    """COPY rows in. Where the role is subject to row-level security (direct=False) they go through a temporary table.

    PostgreSQL refuses COPY FROM into a table with row-level security for such a role.
    """
    target = table
    if not direct:
        target = f"incoming_{table}"
        await connection.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {target} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
    async with connection.cursor() as cursor, cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as copy:
        await copy.write(data)
    if not direct:
        await connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {target}")  # noqa: S608 - ours
        await connection.execute(f"TRUNCATE {target}")


async def add_sums(
    connection: Connection, deltas: Mapping[DeltaKey, Delta], *, heads: Mapping[int, Head]
) -> list[tuple[int, date]]:
    """Add the deltas to the hourly and daily sums and the month's counters, in one statement.

    Returns the (company_id, month) whose counters say that alerts have to be decided: services/crossings.py does.
    """
    keys, sums = list(deltas), list(deltas.values())
    cursor = await connection.execute(
        _ADD_SUMS,
        (
            array(company_id for company_id, _, _, _ in keys),
            array(day for _, day, _, _ in keys),
            array(hour for _, _, hour, _ in keys),
            array(series_id for _, _, _, series_id in keys),
            array(heads[company_id].version for company_id, _, _, _ in keys),
            array("t" if delta.inbound else "f" for delta in sums),
            array(delta.messages for delta in sums),
            array(delta.tokens_input for delta in sums),
            array(delta.tokens_output for delta in sums),
            array(delta.response_ms for delta in sums),
            array(delta.response_count for delta in sums),
        ),
    )
    return await cursor.fetchall()


_ADD_SUMS = """
WITH delta AS MATERIALIZED (
    SELECT * FROM unnest(%s::bigint[], %s::date[], %s::smallint[], %s::bigint[], %s::bigint[], %s::boolean[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS d (company_id, day, hour, series_id, head_version, inbound,
        messages, tokens_input, tokens_output, response_ms, response_count)
), hourly AS (
    INSERT INTO usage_hourly AS u (company_id, day, hour, series_id,
        messages, tokens_input, tokens_output, response_ms, response_count)
    SELECT company_id, day, hour, series_id, messages, tokens_input, tokens_output, response_ms, response_count
    FROM delta
    ON CONFLICT (company_id, day, hour, series_id) DO UPDATE SET
        messages = u.messages + excluded.messages, tokens_input = u.tokens_input + excluded.tokens_input,
        tokens_output = u.tokens_output + excluded.tokens_output, response_ms = u.response_ms + excluded.response_ms,
        response_count = u.response_count + excluded.response_count
), daily AS (
    INSERT INTO usage_daily AS u (company_id, day, series_id,
        messages, tokens_input, tokens_output, response_ms, response_count, head_version)
    SELECT company_id, day, series_id, sum(messages), sum(tokens_input), sum(tokens_output), sum(response_ms),
        sum(response_count), max(head_version)
    FROM delta GROUP BY company_id, day, series_id ORDER BY company_id, day, series_id
    ON CONFLICT (company_id, day, series_id) DO UPDATE SET
        messages = u.messages + excluded.messages, tokens_input = u.tokens_input + excluded.tokens_input,
        tokens_output = u.tokens_output + excluded.tokens_output, response_ms = u.response_ms + excluded.response_ms,
        response_count = u.response_count + excluded.response_count, head_version = excluded.head_version
), month AS (
    SELECT company_id, date_trunc('month', day)::date AS period_start,
        sum(CASE WHEN inbound THEN messages ELSE 0 END) AS messages_inbound,
        sum(CASE WHEN inbound THEN 0 ELSE messages END) AS messages_outbound,
        sum(tokens_input) AS tokens_input, sum(tokens_output) AS tokens_output,
        sum(abs(messages)) AS messages_moved, sum(abs(tokens_input) + abs(tokens_output)) AS tokens_moved
    FROM delta GROUP BY 1, 2
), counters AS (
    INSERT INTO period_counters AS c (company_id, period_start,
        messages_inbound, messages_outbound, tokens_input, tokens_output, cost_bound)
    SELECT m.company_id, m.period_start, m.messages_inbound, m.messages_outbound, m.tokens_input, m.tokens_output,
        coalesce(m.messages_moved * p.message_price_max + m.tokens_moved * p.token_price_max, 0)
    FROM month AS m LEFT JOIN period_counters AS p
        ON p.company_id = m.company_id AND p.period_start = m.period_start
    ORDER BY m.company_id, m.period_start
    ON CONFLICT (company_id, period_start) DO UPDATE SET
        messages_inbound = c.messages_inbound + excluded.messages_inbound,
        messages_outbound = c.messages_outbound + excluded.messages_outbound,
        tokens_input = c.tokens_input + excluded.tokens_input,
        tokens_output = c.tokens_output + excluded.tokens_output, cost_bound = c.cost_bound + excluded.cost_bound
    RETURNING company_id, period_start, NOT decided OR messages_inbound + messages_outbound >= messages_alert_at
        OR tokens_input + tokens_output >= tokens_alert_at OR cost_bound >= cost_alert_at AS due
)
SELECT company_id, period_start FROM counters WHERE due ORDER BY company_id, period_start
"""


async def read_messages(
    connection: Connection, wamids: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], CountedMessage]:
    """Return what has been counted already of these (company_id, wamid)."""
    cursor = await connection.execute(
        "SELECT m.company_id, m.wamid, m.counted, m.tokens, m.response "
        "FROM unnest(%s::bigint[], %s::text[]) AS k (company_id, wamid) "
        "JOIN messages AS m ON m.company_id = k.company_id AND m.wamid = k.wamid",
        (array(company_id for company_id, _ in wamids), [wamid for _, wamid in wamids]),
    )
    return {(company_id, wamid): CountedMessage(*counted) for company_id, wamid, *counted in await cursor.fetchall()}


async def write_messages(connection: Connection, reports: Sequence[tuple[PreparedEvent, CountedMessage]]) -> None:
    """Note what is counted of each wamid now: (the event of this group that counts it, else its first; the state).

    The row leads to the event that counts the message, so that the message path can take it over.
    """
    await connection.execute(
        "INSERT INTO messages AS m (company_id, wamid, identity, day, hour, series_id, counted, tokens, response) "
        "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::uuid[], %s::date[], %s::smallint[], %s::bigint[], "
        "%s::boolean[], %s::boolean[], %s::boolean[]) "
        "ON CONFLICT (company_id, wamid) DO UPDATE SET "
        "identity = CASE WHEN m.counted THEN m.identity ELSE excluded.identity END, "
        "day = CASE WHEN m.counted THEN m.day ELSE excluded.day END, "
        "hour = CASE WHEN m.counted THEN m.hour ELSE excluded.hour END, "
        "series_id = CASE WHEN m.counted THEN m.series_id ELSE excluded.series_id END, "
        "counted = excluded.counted, tokens = excluded.tokens, response = excluded.response",
        (
            array(row.company_id for row, _ in reports),
            [row.event.data.wamid for row, _ in reports],
            array(row.identity for row, _ in reports),
            array(row.day for row, _ in reports),
            array(row.hour for row, _ in reports),
            array(row.series_id for row, _ in reports),
            [state.counted for _, state in reports],
            [state.tokens for _, state in reports],
            [state.response for _, state in reports],
        ),
    )


async def read_webhook_starts(
    connection: Connection, accounts: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], datetime]:
    """Return since when Meta's webhook counts the messages of these (company_id, account_id); others are left out."""
    wanted = sorted(accounts)
    cursor = await connection.execute(
        "SELECT a.company_id, a.account_id, a.messages_from FROM unnest(%s::bigint[], %s::bigint[]) "
        "AS k (company_id, account_id) JOIN whatsapp_accounts AS a "
        "ON a.company_id = k.company_id AND a.account_id = k.account_id WHERE a.messages_from IS NOT NULL",
        (array(company_id for company_id, _ in wanted), array(account_id for _, account_id in wanted)),
    )
    return {(company_id, account_id): start for company_id, account_id, start in await cursor.fetchall()}


async def add_uncounted(connection: Connection, messages: Mapping[tuple[int, date, int], int]) -> None:
    """Keep how many messages usage events told of that Meta's webhook counts: {(company_id, day, account_id): n}."""
    keys = sorted(messages)
    await connection.execute(
        "INSERT INTO usage_uncounted AS u (company_id, day, account_id, messages) "
        "SELECT * FROM unnest(%s::bigint[], %s::date[], %s::bigint[], %s::bigint[]) "
        "ON CONFLICT (company_id, day, account_id) DO UPDATE SET messages = u.messages + excluded.messages",
        (
            array(company_id for company_id, _, _ in keys),
            array(day for _, day, _ in keys),
            array(account_id for _, _, account_id in keys),
            array(messages[key] for key in keys),
        ),
    )


async def read_original(connection: Connection, company_id: int, identity: str) -> Original | None:
    """Return the recorded event of this identity and what counts of it now; None when there is none.

    A correction is no original: it cannot be corrected itself.
    """
    cursor = await connection.execute(
        "SELECT e.series_id, s.direction = 'inbound', e.day, e.hour, "
        "e.messages + coalesce(c.messages, 0), e.tokens_input + coalesce(c.tokens_input, 0), "
        "e.tokens_output + coalesce(c.tokens_output, 0), e.response_ms + coalesce(c.response_ms, 0), "
        "e.response_count + coalesce(c.response_count, 0), "
        "EXISTS (SELECT FROM messages AS m WHERE m.company_id = e.company_id AND m.wamid = e.wamid "
        "AND m.first_at IS NOT NULL) OR EXISTS (SELECT FROM whatsapp_accounts AS a "
        "WHERE a.company_id = e.company_id AND a.account_id = s.account_id AND a.messages_from <= e.occurred_at) "
        "FROM event_identities AS i "
        "JOIN usage_events AS e ON e.company_id = i.company_id AND e.occurred_at = i.occurred_at "
        "AND e.identity = i.identity AND e.corrects IS NULL "
        "JOIN usage_series AS s ON s.company_id = e.company_id AND s.series_id = e.series_id "
        "LEFT JOIN LATERAL (SELECT sum(messages)::bigint AS messages, sum(tokens_input)::bigint AS tokens_input, "
        "sum(tokens_output)::bigint AS tokens_output, sum(response_ms)::bigint AS response_ms, "
        "sum(response_count)::smallint AS response_count FROM usage_events AS x "
        "WHERE x.company_id = i.company_id AND x.corrects = i.identity) AS c ON true "
        "WHERE i.company_id = %s AND i.identity = %s",
        (company_id, identity),
    )
    found = await cursor.fetchone()
    return None if found is None else Original(*found)


async def read_zones(
    connection: Connection, company_ids: Iterable[int]
) -> dict[int, tuple[int, tuple[tuple[date, str], ...]]]:
    """Return {company_id: (settings_version, dated zones)}; a company that is not there is left out."""
    cursor = await connection.execute(
        "SELECT h.company_id, h.settings_version, array_agg(z.effective_from ORDER BY z.effective_from), "
        "array_agg(z.timezone ORDER BY z.effective_from) FROM company_heads AS h "
        "JOIN company_timezones AS z ON z.company_id = h.company_id "
        "WHERE h.company_id = ANY(%s::bigint[]) GROUP BY h.company_id, h.settings_version",
        (array(company_ids),),
    )
    return {
        company_id: (version, tuple(zip(dates, zones, strict=True)))
        for company_id, version, dates, zones in await cursor.fetchall()
    }


async def read_months(connection: Connection) -> frozenset[str]:
    """Return the months ("2026_11", UTC) that usage_events has a partition for."""
    cursor = await connection.execute(
        "SELECT substring(c.relname FROM '[0-9]{4}_[0-9]{2}$') FROM pg_inherits AS i "
        "JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_events'::regclass"
    )
    return frozenset(month for (month,) in await cursor.fetchall() if month is not None)


async def bypasses_row_level_security(connection: Connection) -> bool:
    """Tell whether the current role may COPY straight into tables with row-level security."""
    cursor = await connection.execute("SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user")
    row = await cursor.fetchone()
    return bool(row and row[0])


def array(values: Iterable[object]) -> str:
    """Return a PostgreSQL array literal of numbers, dates or hex texts.

    One text parameter costs a tenth of a list, which psycopg adapts item by item in Python.
    """
    return "{" + ",".join(map(str, values)) + "}"


async def read_added(connection: Connection, company_id: int, identity: str) -> UsageLine | None:
    """Return what the event of this identity added to the sums, and where; None when there is none."""
    cursor = await connection.execute(
        "SELECT e.day, s.channel, s.direction, s.category, s.market, s.model, s.account_id, s.template_id, "
        "s.cost_center, s.pricing_type, e.messages, e.tokens_input, e.tokens_output FROM event_identities AS i "
        "JOIN usage_events AS e ON e.company_id = i.company_id AND e.occurred_at = i.occurred_at "
        "AND e.identity = i.identity "
        "JOIN usage_series AS s ON s.company_id = e.company_id AND s.series_id = e.series_id "
        "WHERE i.company_id = %s AND i.identity = %s",
        (company_id, identity),
    )
    found = await cursor.fetchone()
    if found is None:
        return None
    day, channel, direction, *rest, messages, tokens_input, tokens_output = found
    dimensions = Dimensions(Channel(channel), Direction(direction), *rest)
    return UsageLine(day, dimensions, messages, tokens_input, tokens_output)
