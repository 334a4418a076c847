"""What someone asks to have exported: the period, the format, how it is written, and what the file is called."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from secretaria.core.errors import InvalidInput
from secretaria.core.period import DAY_FIRST, DAY_LAST, Period, month_of, week_of
from secretaria.reports.csv import Dialect
from secretaria.reports.labels import LOCALES

EXPORT_DAYS_MAX: Final = 400
SLUG_CHARS_MAX: Final = 40
DEFAULT_LOCALE: Final = LOCALES[0]
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class ExportFormat(StrEnum):
    """How an export is written."""

    CSV = "csv"
    XLSX = "xlsx"
    PDF = "pdf"


MEDIA_TYPES: Final = {
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ExportFormat.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request as it was made, checked. span is month, week or YYYY-MM; first and last are days, both included."""

    file_format: ExportFormat
    span: str | None = None
    first: date | None = None
    last: date | None = None
    dialect: Dialect = Dialect.STANDARD
    locale: str = DEFAULT_LOCALE

    @classmethod
    def read(
        cls,
        file_format: str,
        *,
        span: str | None = None,
        first: str | None = None,
        last: str | None = None,
        dialect: str | None = None,
        locale: str | None = None,
    ) -> "Wanted":
        """Check the words of a request. Raises InvalidInput (unknown_format, unknown_dialect, unknown_locale ...)."""
        if file_format not in set(ExportFormat):
            raise InvalidInput("the format is csv, xlsx or pdf", code="unknown_format", pointer="format")
        if dialect is not None and dialect not in set(Dialect):
            raise InvalidInput("the dialect is standard or excel-pt", code="unknown_dialect", pointer="dialect")
        if locale is not None and locale not in LOCALES:
            raise InvalidInput("the locale is pt-BR or en", code="unknown_locale", pointer="locale")
        if (first is None) != (last is None) or (first is not None and span is not None):
            raise InvalidInput("give a period, or from and to", code="unknown_period", pointer="period")
        return cls(
            ExportFormat(file_format),
            span,
            None if first is None else _day(first, "from"),
            None if last is None else _day(last, "to"),
            Dialect(dialect or Dialect.STANDARD),
            locale or DEFAULT_LOCALE,
        )

    def period(self, today: date) -> Period:
        """Return the local days asked for: the current month where nothing was said.

        Raises InvalidInput (unknown_period, invalid_period, future_period, period_too_long).
        """
        if self.first is not None and self.last is not None:
            if self.last < self.first:
                raise InvalidInput("the last day comes before the first", code="invalid_period", pointer="to")
            period = Period(self.first, self.last + timedelta(days=1))
        else:
            period = _named(self.span or "month", today)
        if period.start > today:
            raise InvalidInput(f"{period.start} has not begun yet", code="future_period", pointer="period")
        if (period.end - period.start).days > EXPORT_DAYS_MAX:
            raise InvalidInput(
                f"an export has at most {EXPORT_DAYS_MAX} days; ask for it in parts",
                code="period_too_long",
                pointer="period",
            )
        return period


def _day(text: str, pointer: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not DAY_FIRST <= day < DAY_LAST:
        raise InvalidInput("a day is written like 2026-11-20", code="unknown_period", pointer=pointer)
    return day


def _named(span: str, today: date) -> Period:
    if span == "month":
        return month_of(today)
    if span == "week":
        return week_of(today)
    first = date.fromisoformat(f"{span}-01") if _MONTH.fullmatch(span) and span[:4] != "0000" else None
    if first is None or not DAY_FIRST <= first <= DAY_LAST.replace(day=1):
        raise InvalidInput(
            "a period is month, week, or a month written like 2026-11", code="unknown_period", pointer="period"
        )
    return month_of(first)


def file_name(owner: str, period: Period, extension: str) -> str:
    """Return secretaria-clinica-sorriso-2026-11.pdf; other periods than months name their first and last day."""
    days = f"{period.start}_{period.end - timedelta(days=1)}"
    if period == month_of(period.start):
        days = f"{period.start:%Y-%m}"
    elif period.end - period.start == timedelta(days=1):
        days = f"{period.start}"
    return f"secretaria-{slug(owner)}-{days}.{extension}"


def with_id(name: str, company_id: int) -> str:
    """Return a file's name with the company's id in it: in one folder, two companies of one name are two files."""
    return name.replace("secretaria-", f"secretaria-{company_id}-", 1)


def slug(name: str) -> str:
    """Return a name as file names can hold it, ASCII: clinica-sorriso; empty becomes empresa."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_CHARS_MAX].strip("-") or "empresa"
