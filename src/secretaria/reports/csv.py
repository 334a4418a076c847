"""Daily figures as CSV: UTF-8, RFC 4180, quantities and amounts unrounded. Long files stream.

An unknown cost is an empty cell. Numbers are never touched; a text that a spreadsheet would run is made harmless.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from secretaria.core import money
from secretaria.reports.report import Day, Sums

COLUMNS: Final = (
    "date", "messages_in", "messages_out", "tokens_in", "tokens_out", "avg_response_ms", "cost", "currency",
    "not_priced",
)  # fmt: skip
COMPANY_COLUMNS: Final = ("company_id", "company_name")

# Spreadsheets run a cell that begins with one of these, also after blanks and quotes, also in their full width.
_RUNS: Final = frozenset("=+-@|%\t\r\n\0＝＋－＠")
_BEFORE: Final = " \u00a0\u3000\"'“”"
_QUOTED: Final = frozenset(',;"\r\n\t\0')
NAMES_REMEMBERED_MAX: Final = 4_096


class Dialect(StrEnum):
    """How a file is written: comma and dot, or as Excel in Portuguese opens it (semicolon, decimal comma, BOM)."""

    STANDARD = "standard"
    EXCEL_PT = "excel-pt"


@dataclass(frozen=True, slots=True)
class CompanyDay:
    """A day of one of many companies."""

    company_id: int
    company_name: str
    currency: str
    day: Day


def header(dialect: Dialect, *, companies: bool = False) -> bytes:
    """Return what a file begins with: the line of names, with company_id and company_name before them if wanted."""
    names = _separator(dialect).join((*COMPANY_COLUMNS, *COLUMNS) if companies else COLUMNS)
    return ("\ufeff" if dialect is Dialect.EXCEL_PT else "").encode() + f"{names}\r\n".encode()


def company_lines(days: Iterable[Day], currency: str, dialect: Dialect) -> bytes:
    """Return one line a day of one company."""
    return "".join(f"{_day(day, currency, dialect)}\r\n" for day in days).encode()


def companies_lines(rows: Iterable[CompanyDay], dialect: Dialect) -> bytes:
    """Return one line a day and company."""
    separator = _separator(dialect)
    return "".join(
        f"{row.company_id}{separator}{text_cell(row.company_name)}{separator}{_day(row.day, row.currency, dialect)}\r\n"
        for row in rows
    ).encode()


def _separator(dialect: Dialect) -> str:
    return ";" if dialect is Dialect.EXCEL_PT else ","


def _day(day: Day, currency: str, dialect: Dialect) -> str:
    sums = day.sums
    average = "" if sums.avg_response_ms is None else str(sums.avg_response_ms)
    cost = "" if sums.cost is None else money.exact_text(sums.cost)
    if dialect is Dialect.EXCEL_PT:
        average, cost = average.replace(".", ","), cost.replace(".", ",")
    cells = (
        day.day.isoformat(), str(sums.messages_inbound), str(sums.messages_outbound), str(sums.tokens_input),
        str(sums.tokens_output), average, cost, currency, text_cell(lacking(sums, dialect)),
    )  # fmt: skip
    return _separator(dialect).join(cells)


def lacking(sums: Sums, dialect: Dialect = Dialect.STANDARD) -> str:
    """Return what the cost lacks, as in "12 messages, 3400 tokens"; empty where all has a price."""
    message, messages = ("mensagem", "mensagens") if dialect is Dialect.EXCEL_PT else ("message", "messages")
    counts = (
        (sums.not_priced_messages, message if sums.not_priced_messages == 1 else messages),
        (sums.not_priced_tokens, "token" if sums.not_priced_tokens == 1 else "tokens"),
    )
    return ", ".join(f"{count} {name}" for count, name in counts if count)


@lru_cache(NAMES_REMEMBERED_MAX)
def text_cell(text: str) -> str:
    """Return a text as a cell: quoted where it must be, with an apostrophe before what a spreadsheet would run."""
    first = text.lstrip(_BEFORE)[:1]
    if first in _RUNS and first:
        text = f"'{text}"
    elif not _QUOTED & set(text):
        return text
    return '"' + text.replace('"', '""') + '"'
