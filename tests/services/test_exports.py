"""Exports on a real database: every format says what page and API say, files have telling names, codes are checked."""

import asyncio
import csv
import io
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import psycopg
import pypdfium2
import pytest
from tests.services.test_period_figures import NOW, TODAY, new_company
from tests.shop import OPERATOR, key_of, make_company, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core import money
from secretaria.core.access import Scope
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound, TooManyAttempts
from secretaria.core.period import Period, month_of
from secretaria.embedded.servers import Endpoints
from secretaria.reports.format import Format
from secretaria.services.export_wanted import Wanted, file_name, slug, with_id
from secretaria.services.exports import EXPORTS_AT_ONCE_MAX, ExportFile

pytestmark = pytest.mark.anyio

MONTH = month_of(TODAY)


async def content_of(file: ExportFile) -> bytes:
    if isinstance(file.content, bytes):
        return file.content
    return b"".join([piece async for piece in file.content])


async def exported(application: Application, company_id: int, file_format: str, **asked: Any) -> bytes:
    file = await application.exports.company_file(OPERATOR, company_id, Wanted.read(file_format, **asked), NOW)
    return await content_of(file)


def lines_of(content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    text = " ".join(document[page].get_textpage().get_text_bounded() for page in range(len(document)))
    return re.sub(r"[\s\u00a0]+", " ", text)


# --- equal everywhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_page_api_csv_workbook_and_pdf_say_the_same(
    application: Application, endpoints: Endpoints, seed: int, cards: bool
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=seed)
    figures = await application.periods.read(OPERATOR, company_id, MONTH, NOW)
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    total = figures.total
    assert total.cost is not None
    current = summary.current
    assert (current.messages.inbound, current.messages.outbound) == (total.messages_inbound, total.messages_outbound)
    assert (current.tokens.input, current.tokens.output) == (total.tokens_input, total.tokens_output)
    assert (current.cost, current.avg_response_ms) == (money.exact_text(total.cost), total.avg_response_ms)

    lines = lines_of(await exported(application, company_id, "csv"))
    assert [line["date"] for line in lines] == [day.day.isoformat() for day in figures.days]
    for line, day in zip(lines, figures.days, strict=True):
        of = day.figures
        written = [of.messages_inbound, of.messages_outbound, of.tokens_input, of.tokens_output]
        assert [int(line[name]) for name in ("messages_in", "messages_out", "tokens_in", "tokens_out")] == written
        assert line["cost"] == ("" if of.cost is None else money.exact_text(of.cost))
        assert line["avg_response_ms"] == ("" if of.avg_response_ms is None else str(of.avg_response_ms))
        assert bool(line["not_priced"]) == of.lower_bound
    assert sum((Decimal(line["cost"] or 0) for line in lines), Decimal(0)) == total.cost

    book = openpyxl.load_workbook(io.BytesIO(await exported(application, company_id, "xlsx")))
    sheet = list(book["Diário"].iter_rows(min_row=2, values_only=True))
    assert [row[0].date() for row in sheet] == [day.day for day in figures.days]
    for row, day in zip(sheet, figures.days, strict=True):
        of = day.figures
        assert row[1:5] == (of.messages_inbound, of.messages_outbound, of.tokens_input, of.tokens_output)
        assert row[5] == pytest.approx(of.avg_response_ms)
        assert (row[6] is None) == (of.cost is None)
        assert of.cost is None or Decimal(str(row[6])) == pytest.approx(of.cost)
    top = dict(book["Resumo"].iter_rows(values_only=True))
    assert (top["Recebidas"], top["Enviadas"]) == (total.messages_inbound, total.messages_outbound)
    assert Decimal(str(top["Custo estimado"])) == pytest.approx(total.cost)

    text = text_of(await exported(application, company_id, "pdf"))
    shown = money.largest_remainder([day.figures.cost for day in figures.days if day.figures.cost is not None])
    costs = iter(shown)
    show = Format("pt-BR")
    for day in figures.days:
        of = day.figures
        cost = None if of.cost is None else next(costs)
        numbers = [show.number(n) for n in (of.messages_inbound, of.messages_outbound, of.tokens_input, of.tokens_output)]
        row_text = " ".join([*numbers, show.duration(None if not of.response_count else Decimal(of.response_ms) / of.response_count)])
        expected = f"{row_text} {show.cost(cost, 'BRL', lower_bound=of.lower_bound, full=True)}".replace("\u00a0", " ")
        assert expected in text, (day.day, expected)
    whole = show.cost(total.cost, "BRL", lower_bound=total.lower_bound, full=True).replace("\u00a0", " ")
    assert text.count(whole) >= 2


async def test_the_same_figures_are_the_same_document_and_any_use_changes_its_code(
    application: Application, endpoints: Endpoints
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=1)
    later = NOW + timedelta(minutes=40)
    first = await exported(application, company_id, "pdf")
    again = await application.exports.company_file(key_of(company_id), company_id, Wanted.read("pdf"), later)
    assert await content_of(again) == first
    write(endpoints.admin_url, company_id, Use(TODAY, messages=1))
    changed = await application.exports.company_file(OPERATOR, company_id, Wanted.read("pdf"), later)
    assert codes_of(await content_of(changed)).isdisjoint(codes_of(first))
    assert rows(endpoints.admin_url, "SELECT count(*) FROM report_codes") == [(2,)]


def codes_of(pdf: bytes) -> set[str]:
    return set(re.findall(r"[A-Z2-7]{5}(?:-[A-Z2-7]{5}){3}", text_of(pdf)))


# --- what may be asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name", "days"),
    [
        ({}, "secretaria-clinica-sorriso-2026-11.csv", 20),
        ({"span": "month"}, "secretaria-clinica-sorriso-2026-11.csv", 20),
        ({"span": "week"}, "secretaria-clinica-sorriso-2026-11-16_2026-11-22.csv", 5),
        ({"span": "2026-10"}, "secretaria-clinica-sorriso-2026-10.csv", 31),
        ({"first": "2026-11-20", "last": "2026-11-20"}, "secretaria-clinica-sorriso-2026-11-20.csv", 1),
        ({"first": "2026-10-01", "last": "2026-11-19"}, "secretaria-clinica-sorriso-2026-10-01_2026-11-19.csv", 50),
    ],
)
async def test_a_file_holds_the_days_asked_for_and_is_named_after_them(
    application: Application, endpoints: Endpoints, asked: dict[str, str], name: str, days: int
) -> None:
    company_id = make_company(endpoints.admin_url)
    file = await application.exports.company_file(key_of(company_id), company_id, Wanted.read("csv", **asked), NOW)
    assert file.name == name
    assert len(lines_of(await content_of(file))) == days


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"file_format": "doc"}, "unknown_format"),
        ({"dialect": "excel-fr"}, "unknown_dialect"),
        ({"locale": "fr"}, "unknown_locale"),
        ({"span": "year"}, "unknown_period"),
        ({"span": "2026-13"}, "unknown_period"),
        ({"span": "2026-1"}, "unknown_period"),
        ({"span": "9999-01"}, "unknown_period"),
        ({"span": "２０２６-11"}, "unknown_period"),
        ({"first": "2026-11-01"}, "unknown_period"),
        ({"span": "week", "first": "2026-11-01", "last": "2026-11-02"}, "unknown_period"),
        ({"first": "2026-11-31", "last": "2026-12-01"}, "unknown_period"),
        ({"first": "20261101", "last": "20261102"}, "unknown_period"),
        ({"first": "2026-11-02", "last": "2026-11-01"}, "invalid_period"),
        ({"span": "2026-12"}, "future_period"),
        ({"first": "2025-10-01", "last": "2026-11-05"}, "period_too_long"),
        ({"first": "1900-01-01", "last": "2026-11-05"}, "period_too_long"),
    ],
)
async def test_what_cannot_be_exported_is_refused_by_name(
    application: Application, endpoints: Endpoints, asked: dict[str, str], code: str
) -> None:
    company_id = make_company(endpoints.admin_url)
    words = {"file_format": "csv"} | asked
    with pytest.raises(InvalidInput) as refused:
        await application.exports.company_file(OPERATOR, company_id, Wanted.read(**words), NOW)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_the_longest_export_is_four_hundred_days() -> None:
    wanted = Wanted.read("csv", first="2025-10-17", last="2026-11-20")
    assert len(wanted.period(TODAY).days()) == 400


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Clínica Sorriso", "clinica-sorriso"), ("株式会社", "empresa"), ('a/b\\c"d\r\n;e', "a-b-c-d-e"), ("../../etc", "etc"), ("x" * 90, "x" * 40)],
)
def test_file_names_are_ascii_and_safe(name: str, expected: str) -> None:
    assert slug(name) == expected
    assert re.fullmatch(r"[a-z0-9_.-]+", file_name(name, MONTH, "csv"))
    assert with_id(file_name(name, MONTH, "csv"), 12).startswith("secretaria-12-")


async def test_another_company_s_export_does_not_exist_and_a_scope_is_needed(
    application: Application, endpoints: Endpoints
) -> None:
    ours, theirs = (make_company(endpoints.admin_url, name) for name in ("A", "B"))
    with pytest.raises(NotFound):
        await application.exports.company_file(key_of(ours), theirs, Wanted.read("csv"), NOW)
    with pytest.raises(NotAllowed):
        await application.exports.company_file(key_of(ours, Scope.USAGE_WRITE), ours, Wanted.read("csv"), NOW)
    with pytest.raises(NotAllowed):
        await application.exports.companies_file(key_of(ours), Wanted.read("csv"), NOW)


async def test_more_exports_at_once_than_the_limit_are_asked_to_come_again(
    application: Application, endpoints: Endpoints
) -> None:
    company_id, other = (make_company(endpoints.admin_url, name) for name in ("A", "B"))

    async def one(company: int) -> str:
        try:
            await application.exports.company_file(OPERATOR, company, Wanted.read("pdf"), NOW)
        except TooManyAttempts as error:
            return f"later, in {error.retry_after_s} s"
        return "made"

    found = await asyncio.gather(*(one(company_id) for _ in range(8)), one(other))
    assert found[-1] == "made"
    assert found.count("made") >= EXPORTS_AT_ONCE_MAX + 1
    assert "later, in 5 s" in found
    assert await one(company_id) == "made"


# --- all companies -------------------------------------------------------------------------------------------------


async def test_an_operator_gets_the_days_of_all_companies_equal_to_each_one_s_own(
    application: Application, endpoints: Endpoints
) -> None:
    ids = [(await new_company(application, endpoints, cards=cards, seed=seed))[0] for seed, cards in ((1, False), (2, True))]
    ids.append(make_company(endpoints.admin_url, "=HYPERLINK(1)", "Pacific/Auckland"))
    file = await application.exports.companies_file(OPERATOR, Wanted.read("csv"), NOW)
    assert file.name == "secretaria-empresas-2026-11.csv"
    lines = lines_of(await content_of(file))
    for company_id in ids[:2]:
        own = [
            {name: line[name] for name in line if not name.startswith("company_")}
            for line in lines
            if line["company_id"] == str(company_id)
        ]
        assert own == lines_of(await exported(application, company_id, "csv"))
    ahead = [line for line in lines if line["company_id"] == str(ids[2])]
    assert {line["company_name"] for line in ahead} == {"'=HYPERLINK(1)"}
    assert ahead[-1]["date"] == "2026-11-21"
    book = await application.exports.companies_file(OPERATOR, Wanted.read("xlsx", locale="en"), NOW)
    assert book.name == "secretaria-companies-2026-11.xlsx"
    sheet = openpyxl.load_workbook(io.BytesIO(await content_of(book)))["Daily"]
    assert sheet.max_row == 1 + len(lines)
    with pytest.raises(InvalidInput) as refused:
        await application.exports.companies_file(OPERATOR, Wanted.read("pdf"), NOW)
    assert refused.value.code == "unknown_format"


async def test_an_export_of_many_companies_comes_in_pieces_of_bounded_size(
    application: Application, endpoints: Endpoints
) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("INSERT INTO companies (name) SELECT 'Empresa ' || n FROM generate_series(1, 450) AS n")
        connection.execute("INSERT INTO company_heads (company_id) SELECT company_id FROM companies")
        connection.execute(
            "INSERT INTO company_timezones (company_id, effective_from, timezone) "
            "SELECT company_id, '2000-01-01', 'America/Sao_Paulo' FROM companies"
        )
    file = await application.exports.companies_file(OPERATOR, Wanted.read("csv", span="2026-10"), NOW)
    assert not isinstance(file.content, bytes)
    sizes = [len(piece) async for piece in file.content]
    assert len(sizes) >= 5
    assert max(sizes) < 400_000
    again = await application.exports.companies_file(OPERATOR, Wanted.read("csv", span="2026-10"), NOW)
    assert len(lines_of(await content_of(again))) == 450 * 31


async def test_with_no_company_there_is_still_the_line_of_names(application: Application) -> None:
    file = await application.exports.companies_file(OPERATOR, Wanted.read("csv"), NOW)
    assert (await content_of(file)).startswith(b"company_id,company_name,date,")


# --- codes ---------------------------------------------------------------------------------------------------------


async def test_anyone_can_check_a_code_and_learns_the_period_only(
    application: Application, endpoints: Endpoints
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=3)
    (code,) = codes_of(await exported(application, company_id, "pdf", span="2026-10"))
    period = Period(date(2026, 10, 1), date(2026, 11, 1))
    assert await application.exports.verify(code) == period
    assert await application.exports.verify(code.replace("-", "").lower()) == period
    wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
    for other in (wrong, code[:-1], "", "%", "x" * 1000, "ÀBCDE", "0" * 20, "'; DROP TABLE report_codes"):
        assert await application.exports.verify(other) is None


async def test_what_was_first_written_down_keeps_its_moment(application: Application, endpoints: Endpoints) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=4)
    await exported(application, company_id, "pdf")
    later = await application.exports.company_file(
        OPERATOR, company_id, Wanted.read("pdf"), NOW + timedelta(hours=2)
    )
    assert "Números de 20/11/2026 14:30" in text_of(await content_of(later))
