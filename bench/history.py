"""Two years of a company's usage, written straight into the tables: events, identities, and the sums they add up to.

Every series is used on every day, however many events there are, so that two histories differ in their events alone.
The same number of events and the same day make the same history.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg

from secretaria.core.period import DEFAULT_TIMEZONE
from secretaria.embedded.servers import Endpoints
from secretaria.store import partitions

DAYS = 730
DAYS_OF_OTHERS = 400
ACCOUNTS = 30
MESSAGE_DAYS = 31
WORK_MEMORY = "256MB"

# place: the number of a series among its company's. Half of the accounts also send codes.
_SERIES_OF_ACCOUNTS = """
INSERT INTO usage_series (company_id, dimensions_hash, channel, direction, category, market, model, account_id,
    cost_center)
SELECT a.company_id, md5(a.account_id || v.direction || coalesce(v.category, ''))::uuid, 'whatsapp', v.direction,
    v.category, 'BR', CASE v.direction WHEN 'outbound' THEN CASE WHEN mod(a.account_id, 2) = 0 THEN 'gpt-4o'
    ELSE 'gpt-4o-mini' END END, a.account_id, (ARRAY['vendas', 'suporte', 'cobrança', NULL])[1 + mod(a.account_id, 4)]
FROM whatsapp_accounts AS a CROSS JOIN (VALUES ('inbound', NULL), ('outbound', 'UTILITY'), ('outbound', 'MARKETING'),
    ('outbound', 'SERVICE'), ('outbound', 'AUTHENTICATION')) AS v (direction, category)
WHERE a.company_id = %(company_id)s AND (v.category IS DISTINCT FROM 'AUTHENTICATION' OR mod(a.account_id, 2) = 0)
"""
_SERIES_WITHOUT = """
INSERT INTO usage_series (company_id, dimensions_hash, channel, direction, model)
SELECT c.company_id, md5(c.company_id || v.direction)::uuid, 'usage', v.direction, v.model
FROM unnest(%(company_ids)s::bigint[]) AS c (company_id)
CROSS JOIN (VALUES ('inbound', NULL), ('outbound', 'gpt-4o-mini')) AS v (direction, model)
"""
_ACCOUNTS = """
INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency)
SELECT %(company_id)s, %(company_id)s || '0' || n, (ARRAY['Recepção', 'Vendas', 'Suporte', 'Financeiro'])[1 + mod(n, 4)]
    || ' ' || n, 'BRL' FROM generate_series(1, %(accounts)s) AS n
"""
_PLACES = """
CREATE TABLE bench_places AS
SELECT company_id, series_id, direction, row_number() OVER (PARTITION BY company_id ORDER BY series_id) - 1 AS place,
    count(*) OVER (PARTITION BY company_id) AS places
FROM usage_series WHERE company_id = ANY(%(company_ids)s)
"""
# Office hours; on the last day only those that have begun.
_EVENTS = """
INSERT INTO usage_events (company_id, occurred_at, identity, series_id, day, hour, messages, tokens_input,
    tokens_output, response_ms, response_count, source, event_id, wamid, received_at)
SELECT p.company_id, o.occurred_at, md5(p.company_id || '/' || d.day || '/' || n)::uuid, p.series_id, d.day, h.hour, 1,
    CASE p.direction WHEN 'outbound' THEN 100 + mod(n, 90) ELSE 0 END,
    CASE p.direction WHEN 'outbound' THEN 40 + mod(n, 50) ELSE 0 END,
    CASE p.direction WHEN 'outbound' THEN 500 + mod(n, 1500) ELSE 0 END,
    CASE p.direction WHEN 'outbound' THEN 1 ELSE 0 END, 'bench', d.day || '-' || n, NULL, o.occurred_at
FROM (SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS day) AS d
CROSS JOIN generate_series(0, %(a_day)s - 1) AS n
JOIN bench_places AS p ON p.place = mod(n, p.places)
CROSS JOIN LATERAL (SELECT CASE WHEN d.day = %(today)s THEN mod(n, greatest(%(hour)s, 1))
    ELSE 7 + mod(n * 7 + n / p.places, 13) END::smallint AS hour) AS h
CROSS JOIN LATERAL (SELECT (d.day + h.hour * interval '1 hour' + mod(n * 37, 3600) * interval '1 second')
    AT TIME ZONE %(timezone)s AS occurred_at) AS o
WHERE p.company_id = ANY(%(company_ids)s)
"""
_IDENTITIES = """
INSERT INTO event_identities (company_id, identity, content_hash, occurred_at)
SELECT company_id, identity, '\\x01'::bytea || uuid_send(identity), occurred_at FROM usage_events
"""
_SUMS = "sum(messages), sum(tokens_input), sum(tokens_output), sum(response_ms), sum(response_count)"
_HOURLY = f"""
INSERT INTO usage_hourly (company_id, day, hour, series_id, messages, tokens_input, tokens_output, response_ms,
    response_count)
SELECT company_id, day, hour, series_id, {_SUMS} FROM usage_events GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_DAILY = f"""
INSERT INTO usage_daily (company_id, day, series_id, messages, tokens_input, tokens_output, response_ms,
    response_count, head_version)
SELECT company_id, day, series_id, {_SUMS}, 1 FROM usage_hourly GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_COUNTERS = """
INSERT INTO period_counters (company_id, period_start, messages_inbound, messages_outbound, tokens_input,
    tokens_output)
SELECT d.company_id, date_trunc('month', d.day::timestamp)::date,
    coalesce(sum(d.messages) FILTER (WHERE s.direction = 'inbound'), 0),
    coalesce(sum(d.messages) FILTER (WHERE s.direction = 'outbound'), 0), sum(d.tokens_input), sum(d.tokens_output)
FROM usage_daily AS d JOIN usage_series AS s USING (company_id, series_id) GROUP BY 1, 2
"""
# What the last month sent, a part of today's not delivered yet.
_MESSAGES = """
INSERT INTO messages (company_id, wamid, identity, day, hour, series_id, counted, tokens, response, account_id,
    direction, first_at, status_rank, messages)
SELECT e.company_id, 'wamid.' || e.event_id, e.identity, e.day, e.hour, e.series_id, true, true, true, s.account_id,
    s.direction, e.occurred_at, CASE WHEN e.day = %(today)s AND mod(hashtext(e.event_id), 5) = 0 THEN 1 ELSE 3 END, 1
FROM usage_events AS e JOIN usage_series AS s USING (company_id, series_id)
WHERE s.account_id IS NOT NULL AND s.direction = 'outbound' AND e.day > %(today)s - %(message_days)s
"""
_RATES = """
INSERT INTO exchange_rates (company_id, base, quote, rate, effective_from, source)
SELECT company_id, 'USD', 'BRL', 5 + extract(doy FROM day)::int / 100.0, day, 'bench'
FROM unnest(%(company_ids)s::bigint[]) AS c (company_id)
CROSS JOIN generate_series(%(first)s::date, %(today)s::date, %(rate_every)s::interval) AS day
"""


@dataclass(frozen=True)
class History:
    """What was written: how many events the company has, and those of the others together."""

    events: int
    events_of_others: int


def fill(
    endpoints: Endpoints, company_id: int, others: list[int], *, events: int, now: datetime, rate_every: str
) -> History:
    """Give a company about so many events on DAYS days and ACCOUNTS accounts, and the others two a day each on
    DAYS_OF_OTHERS days.

    rate_every: how far apart exchange rates are published, as an interval ("1 day").
    """
    local = now.astimezone(ZoneInfo(DEFAULT_TIMEZONE))
    today, hour = local.date(), local.hour
    first = today - timedelta(days=DAYS - 1)
    first_of_others = today - timedelta(days=DAYS_OF_OTHERS - 1)
    everyone = [company_id, *others]
    common = {"first": first, "today": today, "hour": hour, "timezone": DEFAULT_TIMEZONE}
    partitions.ensure_months(endpoints.owner_url, first - timedelta(days=1), today + timedelta(days=31))
    with psycopg.connect(endpoints.admin_url or endpoints.owner_url, autocommit=True) as connection:
        connection.execute(f"SET work_mem = '{WORK_MEMORY}'")
        connection.execute(f"SET maintenance_work_mem = '{WORK_MEMORY}'")
        connection.execute(_ACCOUNTS, {"company_id": company_id, "accounts": ACCOUNTS})
        connection.execute(_SERIES_OF_ACCOUNTS, {"company_id": company_id})
        connection.execute(_SERIES_WITHOUT, {"company_ids": others})
        connection.execute(_PLACES, {"company_ids": everyone})
        row = connection.execute("SELECT count(*) FROM bench_places WHERE company_id = %s", (company_id,)).fetchone()
        series = 0 if row is None else row[0]
        a_day = max(series, round(events / DAYS))
        for ids, each, begin in (([company_id], a_day, first), (others, 2, first_of_others)):
            for days in _months(begin, today):
                connection.execute(_EVENTS, {**common, **days, "company_ids": ids, "a_day": each})
        connection.execute("DROP TABLE bench_places")
        # The index is built once instead of grown row by row.
        connection.execute("ALTER TABLE event_identities DROP CONSTRAINT event_identities_pkey")
        connection.execute(_IDENTITIES)
        connection.execute("ALTER TABLE event_identities ADD PRIMARY KEY (company_id, identity)")
        for statement in (_HOURLY, _DAILY, _COUNTERS):
            connection.execute(statement)
        connection.execute(_MESSAGES, {"today": today, "message_days": MESSAGE_DAYS})
        connection.execute(_RATES, {"company_ids": everyone, "first": first, "today": today, "rate_every": rate_every})
        connection.execute("UPDATE company_heads SET version = version + 1, settings_version = settings_version + 1")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return History(a_day * DAYS, 2 * DAYS_OF_OTHERS * len(others))


def _months(first: date, last: date) -> list[dict[str, date]]:
    """Return the stretches of a month that are written at once."""
    found, start = [], first
    while start <= last:
        end = min(partitions.add_months(partitions.month_start(start), 1) - timedelta(days=1), last)
        found.append({"first": start, "last": end})
        start = end + timedelta(days=1)
    return found
