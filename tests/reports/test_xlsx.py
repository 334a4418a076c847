"""Workbooks read back by another library: typed cells, and texts that stay texts."""

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest

from secretaria.reports.csv import CompanyDay
from secretaria.reports.report import Share, UsageReport
from secretaria.reports.xlsx import CompaniesWorkbook, write_xlsx
from tests.reports import sample

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "00123", "1E5", "12345678901234567890", "http://evil.example", "{=1}"]


def written(report: UsageReport, locale: str = "pt-BR") -> bytes:
    file = io.BytesIO()
    write_xlsx(file, report, sample.IMPRINT, locale)
    return file.getvalue()


def opened(content: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content))


def test_days_are_dates_and_figures_are_numbers_in_the_company_s_currency() -> None:
    report = sample.report()
    sheet = opened(written(report))["Diário"]
    first = next(iter(sheet.iter_rows(min_row=2, max_row=2)))
    sums = report.days[0].sums
    assert first[0].value == datetime(2026, 11, 1)  # noqa: DTZ001 - a spreadsheet's day has no zone
    assert [cell.value for cell in first[1:5]] == [sums.messages_inbound, sums.messages_outbound, sums.tokens_input, sums.tokens_output]
    assert all(isinstance(cell.value, int) for cell in first[1:5])
    assert Decimal(str(first[6].value)) == sums.cost
    assert first[6].number_format == '"R$" #,##0.00'
    assert first[0].number_format == "dd/mm/yyyy"
    assert sheet.max_row == 1 + len(report.days)
    assert sheet.freeze_panes == "A2"


def test_an_unknown_cost_is_an_empty_cell() -> None:
    report = sample.report(2)
    unknown = replace(report.days[0], sums=replace(report.days[0].sums, cost=None))
    sheet = opened(written(replace(report, days=(unknown, report.days[1]))))["Diário"]
    assert sheet["G2"].value is None
    assert sheet["G3"].value is not None


def test_a_price_that_always_held_has_an_empty_cell_as_no_spreadsheet_knows_its_day() -> None:
    report = sample.report()
    since = [date.min, date(2025, 7, 1)]
    lines = tuple(replace(report.prices[0], effective_from=day) for day in since)
    rows = list(opened(written(replace(report, prices=lines)))["Preços usados"].iter_rows(min_row=2, max_row=3, values_only=True))
    assert [row[8] for row in rows] == [None, datetime(2025, 7, 1)]  # noqa: DTZ001 - a spreadsheet's day has no zone


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_a_text_whatever_it_looks_like(text: str) -> None:
    report = sample.report()
    total = report.total
    hostile = replace(
        report,
        owner=replace(report.owner, name=text),
        breakdowns={"model": (Share(text, text, total),)},
    )
    book = opened(written(hostile))
    for cell in (book["Resumo"]["B1"], book["Detalhamento"]["B2"], book["Detalhamento"]["C2"]):
        assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None)


def test_sheets_and_names_follow_the_language() -> None:
    assert opened(written(sample.report(), "en")).sheetnames == ["Summary", "Daily", "Breakdowns", "Prices used"]
    assert opened(written(sample.report())).sheetnames == ["Resumo", "Diário", "Detalhamento", "Preços usados"]


def test_the_summary_names_the_company_the_period_and_the_code() -> None:
    rows = dict(opened(written(sample.report(), "en"))["Summary"].iter_rows(values_only=True))
    assert rows["Company"] == "Clínica Sorriso"
    assert rows["Period"] == "2026-11-01 – 2026-11-30"
    assert rows["State"] == "Partial"
    assert rows["Code"] == "ABCDE-FGHIJ-KLMNO-PQRST"
    assert rows["Figures as of"] == "2026-11-20T14:32:05-03:00"


def test_the_same_figures_are_the_same_bytes() -> None:
    assert written(sample.report()) == written(sample.report())


def test_a_workbook_of_all_companies_has_a_row_a_company_and_day() -> None:
    file = io.BytesIO()
    book = CompaniesWorkbook(file, "en", datetime(2026, 11, 20, tzinfo=UTC))
    day = sample.report().days[0]
    book.add([CompanyDay(1, "=A1", "BRL", day)])
    book.add([CompanyDay(2, "B", "USD", day)])
    assert book.close() == len(file.getvalue())
    sheet = opened(file.getvalue())["Daily"]
    rows = list(sheet.iter_rows(min_row=2))
    assert [(row[0].value, row[1].value, row[2].value.date(), row[11].value) for row in rows] == [
        ("1", "=A1", date(2026, 11, 1), "BRL"),
        ("2", "B", date(2026, 11, 1), "USD"),
    ]
    assert rows[1][8].number_format == '"US$" #,##0.00'
