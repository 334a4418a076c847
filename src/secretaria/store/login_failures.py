"""Rows of failed logins, in buckets of a minute, so that the throttle holds whatever Valkey does."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from secretaria.core.throttle import Bucket, minute_of
from secretaria.store.database import Connection

KEPT = timedelta(hours=25)
CLEANED_ROWS_MAX = 10_000


async def lock(connection: Connection, subjects: Sequence[str]) -> None:
    """Let one attempt at a time decide about these subjects, on whatever process."""
    for subject in sorted(subjects):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (subject,))


async def read(connection: Connection, subjects: Iterable[str], now: datetime) -> dict[str, list[Bucket]]:
    """Return each subject's buckets of the last day, oldest first."""
    found: dict[str, list[Bucket]] = {subject: [] for subject in subjects}
    cursor = await connection.execute(
        "SELECT subject, window_start, failures FROM login_failures "
        "WHERE subject = ANY(%s) AND window_start > %s AND failures > 0 ORDER BY subject, window_start",
        (list(found), now - KEPT),
    )
    for subject, window_start, failures in await cursor.fetchall():
        found[subject].append(Bucket(window_start, failures))
    return found


async def add(connection: Connection, subjects: Sequence[str], now: datetime) -> None:
    """Count one failure of each subject."""
    for subject in sorted(subjects):
        await connection.execute(
            "INSERT INTO login_failures (subject, window_start) VALUES (%s, %s) "
            "ON CONFLICT (subject, window_start) DO UPDATE SET failures = login_failures.failures + 1",
            (subject, minute_of(now)),
        )


async def take_back(connection: Connection, subjects: Sequence[str], now: datetime) -> None:
    """Undo `add` of the same instant: the attempt was no failure."""
    for subject in sorted(subjects):
        await connection.execute(
            "UPDATE login_failures SET failures = failures - 1 "
            "WHERE subject = %s AND window_start = %s AND failures > 0",
            (subject, minute_of(now)),
        )


async def clean(connection: Connection, now: datetime) -> None:
    """Remove what is older than any limit looks, a bounded number of rows a call."""
    await connection.execute(
        "DELETE FROM login_failures WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM login_failures WHERE window_start < %s LIMIT %s))",
        (now - KEPT, CLEANED_ROWS_MAX),
    )
