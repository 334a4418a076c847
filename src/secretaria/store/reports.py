"""Closed days and weeks: which are due, and their rows. A row is added and later marked superseded, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from secretaria.core.period import Period
from secretaria.store.database import Connection


class ReportKind(StrEnum):
    """How long a closed period is; a week runs from Monday to Sunday."""

    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class DuePeriod:
    """A period to be closed as `revision`; from the second on, the one before it gets superseded."""

    kind: ReportKind
    period: Period
    revision: int


@dataclass(frozen=True, slots=True)
class Report:
    """One row of analytics_reports: totals, cost, and in lines what was rated with which price and rate."""

    kind: ReportKind
    period: Period
    revision: int
    head_version: int
    messages_inbound: int
    messages_outbound: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    cost: Decimal
    currency: str
    not_priced: dict[str, int]
    lines: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far closing has come: late usage above head_version has not been looked at since checked_at."""

    next_close_at: datetime
    head_version: int


async def read_due_companies(
    connection: Connection, *, now: datetime, recheck_before: datetime, limit: int
) -> list[int]:
    """Return companies whose day has ended, or that moved since a look by recheck_before; longest ago first."""
    cursor = await connection.execute(
        "SELECT h.company_id FROM company_heads AS h JOIN companies AS c ON c.company_id = h.company_id "
        "LEFT JOIN report_progress AS p ON p.company_id = h.company_id "
        "WHERE p.company_id IS NULL OR p.next_close_at <= %(now)s "
        "OR (h.version > p.head_version AND p.checked_at <= %(recheck_before)s) "
        "ORDER BY p.checked_at NULLS FIRST, h.company_id LIMIT %(limit)s",
        {"now": now, "recheck_before": recheck_before, "limit": limit},
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def lock_progress(connection: Connection, company_id: int, *, wait: bool, now: datetime) -> Progress | None:
    """Lock a company's progress row, made when missing, so that one closer works on it at a time.

    Without wait, returns None when another has it.
    """
    await connection.execute(
        "INSERT INTO report_progress (company_id, next_close_at, head_version, checked_at) VALUES (%s, %s, 0, %s) "
        "ON CONFLICT (company_id) DO NOTHING",
        (company_id, now, now),
    )
    lock = "FOR UPDATE" if wait else "FOR UPDATE SKIP LOCKED"
    cursor = await connection.execute(
        f"SELECT next_close_at, head_version FROM report_progress WHERE company_id = %s {lock}",  # noqa: S608
        (company_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else Progress(*row)


async def save_progress(connection: Connection, company_id: int, progress: Progress, *, now: datetime) -> None:
    """Write down how far closing has come; the row is locked."""
    await connection.execute(
        "UPDATE report_progress SET next_close_at = %s, head_version = %s, checked_at = %s WHERE company_id = %s",
        (progress.next_close_at, progress.head_version, now, company_id),
    )


async def read_first_day(connection: Connection, company_id: int) -> date | None:
    """Return the first local day with usage, or None."""
    cursor = await connection.execute("SELECT min(day) FROM usage_daily WHERE company_id = %s", (company_id,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def read_missing(
    connection: Connection, company_id: int, *, first: date, today: date, limit: int
) -> list[DuePeriod]:
    """Return days from first to yesterday, and weeks that ended by today, without a report; earliest end first."""
    cursor = await connection.execute(
        "SELECT p.kind, p.period_start, p.period_end FROM ("
        "SELECT 'day' AS kind, d::date AS period_start, d::date + 1 AS period_end "
        "FROM generate_series(%(first)s::timestamp, %(today)s::timestamp - interval '1 day', '1 day') AS d "
        "UNION ALL SELECT 'week', w::date, w::date + 7 FROM generate_series("
        "date_trunc('week', %(first)s::timestamp), %(today)s::timestamp - interval '7 days', '7 days') AS w) AS p "
        "WHERE NOT EXISTS (SELECT FROM analytics_reports AS r WHERE r.company_id = %(company_id)s "
        "AND r.kind = p.kind AND r.period_start = p.period_start) ORDER BY p.period_end, p.kind LIMIT %(limit)s",
        {"company_id": company_id, "first": first, "today": today, "limit": limit},
    )
    return [DuePeriod(ReportKind(kind), Period(start, end), 1) for kind, start, end in await cursor.fetchall()]


_TOUCHED = (
    "CROSS JOIN LATERAL (VALUES ('day', late.day), ('week', date_trunc('week', late.day::timestamp)::date)) "
    "AS p (kind, period_start) JOIN analytics_reports AS r ON r.kind = p.kind AND r.period_start = p.period_start "
)
_TOUCHED_WITH_MONTH = (
    "JOIN analytics_reports AS r ON r.period_end > late.day "
    "AND r.period_start < date_trunc('month', late.day::timestamp) + interval '1 month' "
)


async def read_late(
    connection: Connection,
    company_id: int,
    *,
    today: date,
    above_version: int,
    closed_before: datetime,
    rerates_months: bool = False,
) -> tuple[list[DuePeriod], bool]:
    """Return closed periods whose usage moved since their newest revision, and whether some must wait.

    Only usage above a version is looked at. A period whose newest revision is younger than closed_before waits.
    With rerates_months late usage moves the cost of all later days of its month (bands, free allowances: law 4).
    """
    cursor = await connection.execute(
        "SELECT r.kind, r.period_start, r.period_end, r.revision + 1, r.closed_at <= %(closed_before)s "  # noqa: S608
        "FROM (SELECT day, max(head_version) AS head_version FROM usage_daily WHERE company_id = %(company_id)s "
        "AND day < %(today)s AND head_version > %(above_version)s GROUP BY day) AS late "
        f"{_TOUCHED_WITH_MONTH if rerates_months else _TOUCHED}AND r.company_id = %(company_id)s "
        "AND r.superseded_at IS NULL AND r.head_version < late.head_version "
        "GROUP BY r.kind, r.period_start, r.period_end, r.revision, r.closed_at ORDER BY r.period_end, r.kind",
        {
            "company_id": company_id,
            "today": today,
            "above_version": above_version,
            "closed_before": closed_before,
        },
    )
    rows = await cursor.fetchall()
    due = [
        DuePeriod(ReportKind(kind), Period(start, end), revision) for kind, start, end, revision, ripe in rows if ripe
    ]
    return due, len(due) < len(rows)


async def insert(connection: Connection, company_id: int, reports: Sequence[Report], *, now: datetime) -> None:
    """Add reports and mark the revisions before them superseded."""
    revised = [report for report in reports if report.revision > 1]
    async with connection.cursor() as cursor:
        if revised:
            await cursor.executemany(
                "UPDATE analytics_reports SET superseded_at = %s "
                "WHERE company_id = %s AND kind = %s AND period_start = %s AND superseded_at IS NULL",
                [(now, company_id, report.kind, report.period.start) for report in revised],
            )
        await cursor.executemany(
            "INSERT INTO analytics_reports (company_id, kind, period_start, period_end, revision, head_version, "
            "messages_inbound, messages_outbound, tokens_input, tokens_output, response_ms, response_count, "
            "cost, currency, not_priced, lines, closed_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [_values(company_id, report, now) for report in reports],
        )


def _values(company_id: int, report: Report, now: datetime) -> tuple[Any, ...]:
    return (
        company_id,
        report.kind,
        report.period.start,
        report.period.end,
        report.revision,
        report.head_version,
        report.messages_inbound,
        report.messages_outbound,
        report.tokens_input,
        report.tokens_output,
        report.response_ms,
        report.response_count,
        report.cost,
        report.currency,
        Jsonb(report.not_priced),
        Jsonb(report.lines),
        now,
    )
