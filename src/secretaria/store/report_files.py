"""Rows of the report archive: codes that anyone may check, frozen documents, and how far each archive has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from secretaria.core.period import Period
from secretaria.store import directory
from secretaria.store.database import Connection


class FileKind(StrEnum):
    """Which periods the archive keeps; a week runs from Monday to Sunday."""

    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A frozen document, without its bytes."""

    company_id: int
    file_id: int
    kind: FileKind
    period: Period
    revision: int
    locale: str
    code: str
    as_of: datetime
    sha256: bytes
    size: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class NewFile:
    """A document to freeze: figures is what its code is a hash of."""

    kind: FileKind
    period: Period
    revision: int
    locale: str
    code: str
    as_of: datetime
    sha256: bytes
    figures: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """The closing's last look at a company, and up to which closed day the archive holds documents."""

    checked_at: datetime
    through_report_id: int


_FILE: Final = (
    "SELECT f.company_id, f.file_id, f.kind, f.period_start, f.period_end, f.revision, f.locale, f.code, f.as_of, "
    "f.sha256, octet_length(f.content), f.made_at FROM report_files AS f "
)


def _file(row: Sequence[Any]) -> ReportFile:
    company_id, file_id, kind, start, end, *rest = row
    return ReportFile(company_id, file_id, FileKind(kind), Period(start, end), *rest)


async def keep_code(connection: Connection, company_id: int, code: str, period: Period, *, as_of: datetime) -> datetime:
    """Note a code, and where to find it, unless it is known; return when its figures were first written down."""
    await connection.execute(
        "INSERT INTO report_codes (company_id, code, period_start, period_end, as_of) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING",
        (company_id, code, period.start, period.end, as_of),
    )
    await directory.enter_company(connection, company_id)
    await directory.insert(connection, directory.Kind.REPORT, code, directory.Entry(company_id, code))
    cursor = await connection.execute(
        "SELECT as_of FROM report_codes WHERE company_id = %s AND code = %s", (company_id, code)
    )
    row = await cursor.fetchone()
    return as_of if row is None else row[0]


async def find_code(connection: Connection, code: str) -> Period | None:
    """Return the period a code stands for, whoever's it is; None for one that we never gave out."""
    entry = await directory.find(connection, directory.Kind.REPORT, code)
    if entry is None:
        return None
    await directory.enter_company(connection, entry.company_id)
    cursor = await connection.execute(
        "SELECT period_start, period_end FROM report_codes WHERE company_id = %s AND code = %s",
        (entry.company_id, code),
    )
    row = await cursor.fetchone()
    return None if row is None else Period(*row)


async def insert(connection: Connection, company_id: int, new: NewFile, *, now: datetime) -> int | None:
    """Freeze a document and return its id; None where this revision has one in its language already."""
    cursor = await connection.execute(
        "INSERT INTO report_files (company_id, kind, period_start, period_end, revision, locale, code, as_of, sha256, "
        "figures, content, made_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING RETURNING file_id",
        (
            company_id, new.kind, new.period.start, new.period.end, new.revision, new.locale, new.code, new.as_of,
            new.sha256, new.figures, new.content, now,
        ),
    )  # fmt: skip
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def read_page(
    connection: Connection, company_id: int, *, locale: str, limit: int, before: int | None = None
) -> list[ReportFile]:
    """Return a company's documents of one language, newest first, below the id `before`."""
    cursor = await connection.execute(
        _FILE + "WHERE f.company_id = %s AND f.locale = %s AND (%s::bigint IS NULL OR f.file_id < %s) "
        "ORDER BY f.file_id DESC LIMIT %s",
        (company_id, locale, before, before, limit),
    )
    return [_file(row) for row in await cursor.fetchall()]


async def read(connection: Connection, company_id: int, file_id: int) -> ReportFile | None:
    """Return one document of a company, or None."""
    cursor = await connection.execute(_FILE + "WHERE f.company_id = %s AND f.file_id = %s", (company_id, file_id))
    row = await cursor.fetchone()
    return None if row is None else _file(row)


async def read_translation(connection: Connection, file: ReportFile, locale: str) -> ReportFile | None:
    """Return the same document in another language, or None where nobody has asked for it yet."""
    cursor = await connection.execute(
        _FILE + "WHERE f.company_id = %s AND f.kind = %s AND f.period_start = %s AND f.revision = %s AND f.locale = %s",
        (file.company_id, file.kind, file.period.start, file.revision, locale),
    )
    row = await cursor.fetchone()
    return None if row is None else _file(row)


async def read_content(connection: Connection, company_id: int, file_id: int) -> bytes:
    """Return a document's bytes."""
    return await _read_bytes(connection, "content", company_id, file_id)


async def read_figures(connection: Connection, company_id: int, file_id: int) -> bytes:
    """Return the figures a document was made of."""
    return await _read_bytes(connection, "figures", company_id, file_id)


async def _read_bytes(connection: Connection, column: str, company_id: int, file_id: int) -> bytes:
    cursor = await connection.execute(
        f"SELECT {column} FROM report_files WHERE company_id = %s AND file_id = %s",  # noqa: S608  one of two names
        (company_id, file_id),
    )
    row = await cursor.fetchone()
    return b"" if row is None else bytes(row[0])


async def read_newest(
    connection: Connection, company_id: int, kind: FileKind, start: date, locale: str
) -> ReportFile | None:
    """Return the last revision of a period's document in a language, or None."""
    cursor = await connection.execute(
        _FILE + "WHERE f.company_id = %s AND f.kind = %s AND f.period_start = %s AND f.locale = %s "
        "ORDER BY f.revision DESC LIMIT 1",
        (company_id, kind, start, locale),
    )
    row = await cursor.fetchone()
    return None if row is None else _file(row)


# --- how far it has come -------------------------------------------------------------------------------------------


async def read_due_companies(connection: Connection, *, limit: int) -> list[int]:
    """Return companies that the closing has looked at since their archive last did; never seen ones first."""
    cursor = await connection.execute(
        "SELECT p.company_id FROM report_progress AS p "
        "LEFT JOIN report_archive_progress AS a ON a.company_id = p.company_id "
        "WHERE a.seen_checked_at IS NULL OR p.checked_at > a.seen_checked_at "
        "ORDER BY a.seen_checked_at NULLS FIRST, p.company_id LIMIT %s",
        (limit,),
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def read_progress(connection: Connection, company_id: int) -> Progress | None:
    """Return the closing's last look and how far the archive has come; None before the first look."""
    cursor = await connection.execute(
        "SELECT p.checked_at, coalesce(a.through_report_id, 0) FROM report_progress AS p "
        "LEFT JOIN report_archive_progress AS a ON a.company_id = p.company_id WHERE p.company_id = %s",
        (company_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else Progress(*row)


async def save_progress(connection: Connection, company_id: int, progress: Progress) -> None:
    """Note how far the archive has come; of two workers the one that came further counts."""
    await connection.execute(
        "INSERT INTO report_archive_progress AS a (company_id, seen_checked_at, through_report_id) "
        "VALUES (%s, %s, %s) ON CONFLICT (company_id) DO UPDATE SET "
        "seen_checked_at = greatest(a.seen_checked_at, excluded.seen_checked_at), "
        "through_report_id = greatest(a.through_report_id, excluded.through_report_id)",
        (company_id, progress.checked_at, progress.through_report_id),
    )


async def read_closed_days(
    connection: Connection, company_id: int, *, above_report_id: int, since: date
) -> tuple[list[date], int]:
    """Return the days from `since` on that were closed, or closed again, after a report, and the newest such report."""
    cursor = await connection.execute(
        "SELECT array_agg(DISTINCT period_start) FILTER (WHERE period_start >= %(since)s), max(report_id) "
        "FROM analytics_reports WHERE company_id = %(company_id)s AND kind = 'day' AND report_id > %(above)s",
        {"company_id": company_id, "above": above_report_id, "since": since},
    )
    row = await cursor.fetchone()
    days, newest = row or (None, None)
    return sorted(days or ()), newest or above_report_id


async def is_closed(connection: Connection, company_id: int, day: date) -> bool:
    """Tell whether a day has its report; days are closed in order, so that all before it have theirs."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM analytics_reports WHERE company_id = %s AND kind = 'day' AND period_start = %s)",
        (company_id, day),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])
