"""Monthly partitions of usage_events, made ahead by the owner: LIKE + ATTACH does not wait for readers."""

from datetime import date

import psycopg
from psycopg import sql

MONTHS_BACK = 3
MONTHS_AHEAD = 3
MONTHS_MAX = 12 * 20
LOCK_TIMEOUT_MS = 5_000


def month_start(day: date) -> date:
    """Return the first day of the month."""
    return day.replace(day=1)


def add_months(month: date, months: int) -> date:
    """Return the first day of the month `months` away."""
    index = month.year * 12 + month.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def ensure_months(owner_url: str, first: date, last: date) -> list[str]:
    """Make the partitions of every month from first to last (inclusive, UTC months); return the names made.

    Raises ValueError past MONTHS_MAX months.
    """
    month, end = month_start(first), month_start(last)
    made: list[str] = []
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        connection.execute("SET timezone = 'UTC'")
        for _ in range(MONTHS_MAX + 1):
            if month > end:
                return made
            if _make_month(connection, month):
                made.append(f"usage_events_{month:%Y_%m}")
            month = add_months(month, 1)
    raise ValueError(f"{first} to {last} is more than {MONTHS_MAX} months")


def ensure_around(owner_url: str, today: date) -> list[str]:
    """Make the months from MONTHS_BACK before to MONTHS_AHEAD after today's."""
    return ensure_months(owner_url, add_months(today, -MONTHS_BACK), add_months(today, MONTHS_AHEAD))


def _make_month(connection: psycopg.Connection, month: date) -> bool:
    name = f"usage_events_{month:%Y_%m}"
    if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,):
        return False
    table = sql.Identifier(name)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('usage_events partitions'))")
        if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,):
            return False
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table)
        )
        # Nobody is granted anything on a partition; the policy-less FORCE closes it to direct reads as well.
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
        connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))
        connection.execute(
            sql.SQL("ALTER TABLE usage_events ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                table, sql.Literal(f"{month} 00:00+00"), sql.Literal(f"{add_months(month, 1)} 00:00+00")
            )
        )
    return True
