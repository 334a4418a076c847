"""Workbooks with typed cells: dates, whole numbers, money. Texts are only ever texts: nothing in them is run.

Rows go to a temporary file as they come, so a workbook of all companies takes no more memory than one of a single one.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, Final

import xlsxwriter
from xlsxwriter.format import Format as CellFormat
from xlsxwriter.worksheet import Worksheet

from secretaria.reports.csv import CompanyDay
from secretaria.reports.format import Format
from secretaria.reports.labels import Labels
from secretaria.reports.prices import price_name
from secretaria.reports.report import Day, Imprint, Share, Sums, UsageReport, grouped

ROWS_MAX: Final = 1_000_000
"""Of one sheet, below Excel's own limit of 1,048,576."""

_TEXT_CHARS_MAX: Final = 32_767
_MONEY: Final = {"BRL": '"R$" #,##0.00', "USD": '"US$" #,##0.00'}
_DATES: Final = {"pt-BR": "dd/mm/yyyy", "en": "yyyy-mm-dd"}
_OPTIONS: Final = {
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "constant_memory": True,
    "default_date_format": "yyyy-mm-dd",
}
_QUANTITIES: Final = (
    "received", "sent", "tokens in", "tokens out", "response ms", "cost", "not priced messages", "not priced tokens",
)  # fmt: skip

Cell = str | int | float | Decimal | date | None


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in its currency; exact below the sixteenth digit, which is all a spreadsheet keeps."""

    amount: Decimal | None
    currency: str
    unit: bool = False


class _Book:
    """A workbook in one language: sheets with a line of names that stays in view."""

    def __init__(self, file: IO[bytes], locale: str, made: datetime) -> None:
        self.say = Labels(locale)
        self._book = xlsxwriter.Workbook(file, _OPTIONS)
        self._book.set_properties({"author": "Secretaria", "created": made.replace(tzinfo=None)})
        self._names = self._format(bold=True, bottom=1, text_wrap=True, valign="top")
        self._bold = self._format(bold=True)
        self._whole = self._format(num_format="#,##0")
        self._rate = self._format(num_format="0.0000####")
        self._number = self._format(num_format="#,##0.0")
        self._day = self._format(num_format=_DATES[locale], align="left")
        self._money = {name: self._format(num_format=text) for name, text in _MONEY.items()}
        self._unit = {name: self._format(num_format=f"{text}00######") for name, text in _MONEY.items()}
        self._next: dict[str, int] = {}

    def _format(self, **properties: Any) -> CellFormat:
        return self._book.add_format(properties)

    def sheet(self, title: str, names: Sequence[str], widths: Sequence[int]) -> Worksheet:
        """Add a sheet. Its title is ours, never a text from outside."""
        sheet = self._book.add_worksheet(title)
        for column, width in enumerate(widths):
            sheet.set_column(column, column, width)
        if names:
            sheet.freeze_panes(1, 0)
            for column, name in enumerate(names):
                sheet.write_string(0, column, name, self._names)
        self._next[title] = 1 if names else 0
        return sheet

    def row(self, sheet: Worksheet, cells: Iterable[Cell | Money]) -> None:
        """Write the next row of a sheet."""
        row = self._next[sheet.get_name()]
        if row > ROWS_MAX:
            raise ValueError(f"a sheet has at most {ROWS_MAX} rows")
        self._next[sheet.get_name()] = row + 1
        for column, cell in enumerate(cells):
            self._write(sheet, row, column, cell)

    def _write(self, sheet: Worksheet, row: int, column: int, cell: Cell | Money) -> None:
        if isinstance(cell, Money):
            formats = self._unit if cell.unit else self._money
            if cell.amount is not None:
                sheet.write_number(row, column, float(cell.amount), formats.get(cell.currency))
        elif isinstance(cell, str):
            sheet.write_string(row, column, cell[:_TEXT_CHARS_MAX], self._bold if column == 0 and row == 0 else None)
        elif isinstance(cell, int):
            sheet.write_number(row, column, cell, self._whole)
        elif isinstance(cell, Decimal):
            sheet.write_number(row, column, float(cell), self._rate)
        elif isinstance(cell, date):
            sheet.write_datetime(row, column, datetime(cell.year, cell.month, cell.day), self._day)  # noqa: DTZ001
        elif cell is not None:
            sheet.write_number(row, column, cell, self._number)

    def close(self) -> None:
        self._book.close()


def write_xlsx(file: IO[bytes], report: UsageReport, imprint: Imprint, locale: str) -> None:
    """Write one company's report: summary, days, breakdowns, prices."""
    made = Format(locale, report.owner.timezone).local(imprint.as_of)
    book = _Book(file, locale, made)
    _summary(book, report, imprint, made)
    _days(book, report)
    _breakdowns(book, report)
    _prices(book, report)
    book.close()


def _sums(sums: Sums, currency: str) -> list[Cell | Money]:
    return [
        sums.messages_inbound, sums.messages_outbound, sums.tokens_input, sums.tokens_output, sums.avg_response_ms,
        Money(sums.cost, currency), sums.not_priced_messages, sums.not_priced_tokens,
    ]  # fmt: skip


def _summary(book: _Book, report: UsageReport, imprint: Imprint, made: datetime) -> None:
    say, owner, total = book.say, report.owner, report.total
    sheet = book.sheet(say("summary"), [], [34, 40])
    last = report.period.days()[-1]
    rows: list[tuple[str, Cell | Money]] = [
        (say("company"), owner.name),
        (say("company id"), str(owner.company_id)),
        (say("legal name"), owner.legal_name),
        (say("tax id name"), owner.tax_id),
        (say("period"), f"{report.period.start} – {last}"),
        (say("zone"), owner.timezone),
        (say("currency"), owner.currency),
        (say("as of"), made.isoformat(timespec="seconds")),
        (say("state"), say("partial") if report.partial else ""),
        *zip([say(name) for name in _QUANTITIES], _sums(total, owner.currency), strict=True),
        (say("code"), grouped(imprint.code)),
        (say("verification"), imprint.verify_url),
    ]
    for name, value in rows:
        book.row(sheet, [name, value])


def _days(book: _Book, report: UsageReport) -> None:
    names = [book.say("day"), *(book.say(name) for name in _QUANTITIES), book.say("unfinished")]
    sheet = book.sheet(book.say("daily"), names, [12, *[15] * 8, 12])
    for day in report.days:
        running = book.say("yes") if day.unfinished else None
        book.row(sheet, [*_day(day, report.owner.currency), running])


def _day(day: Day, currency: str) -> list[Cell | Money]:
    return [day.day, *_sums(day.sums, currency)]


def _breakdowns(book: _Book, report: UsageReport) -> None:
    say = book.say
    names = [say("dimension"), say("key"), say("name"), *(say(name) for name in _QUANTITIES)]
    sheet = book.sheet(say("breakdowns"), names, [16, 22, 30, *[15] * 8])
    for dimension, shares in report.breakdowns.items():
        for share in shares:
            label = _share_label(say, dimension, share)
            book.row(sheet, [say(dimension), share.key, label, *_sums(share.sums, report.owner.currency)])


def _share_label(say: Labels, dimension: str, share: Share) -> str | None:
    if share.key is None:
        return say(f"no {dimension}")
    return share.label or (say.known(share.key) if dimension in {"category", "direction"} else None)


def _since(day: date | None) -> date | None:
    """Return from when on a price holds, None for always: a spreadsheet knows no day before 1900."""
    return None if day == date.min else day


def _prices(book: _Book, report: UsageReport) -> None:
    say, currency = book.say, report.owner.currency
    names = ("item", "market", "quantity", "unit price", "price currency", "per", "rate", "amount", "since", "source")
    sheet = book.sheet(say("prices"), [say(name) for name in names], [38, 10, 14, 16, 16, 8, 12, 16, 12, 40])
    for line in report.prices:
        price = Money(line.unit_price, line.currency or currency, unit=True)
        item = price_name(say, line)
        amount = Money(line.amount, currency)
        book.row(sheet, [item, line.market, line.quantity, price, line.currency, line.per, line.rate, amount,
                         _since(line.effective_from), say.source(line.source or "")])  # fmt: skip
    for used in report.rates:
        pair = f"{used.base} → {used.quote}"
        cells: list[Cell | Money] = [pair, None, None, None, None, None, used.rate, None, used.effective_from]
        book.row(sheet, [*cells, say.source(used.source)])


class CompaniesWorkbook:
    """A workbook of all companies, a row a company and day, written page by page into a file."""

    def __init__(self, file: IO[bytes], locale: str, made: datetime) -> None:
        self._file = file
        self._book = _Book(file, locale, made)
        say = self._book.say
        names = [say("company id"), say("company"), say("day"), *(say(name) for name in _QUANTITIES), say("currency")]
        self._sheet = self._book.sheet(say("daily"), names, [12, 34, 12, *[15] * 8, 10])

    def add(self, rows: Iterable[CompanyDay]) -> None:
        """Write the next rows."""
        for row in rows:
            cells = [str(row.company_id), row.company_name, *_day(row.day, row.currency), row.currency]
            self._book.row(self._sheet, cells)

    def close(self) -> int:
        """End the workbook and return how many bytes it has; the file stands at its beginning."""
        self._book.close()
        self._file.seek(0, os.SEEK_END)
        size = self._file.tell()
        self._file.seek(0)
        return size
