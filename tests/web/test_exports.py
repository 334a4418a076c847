"""Downloads over HTTP and in the panel, the archive's page, and the page where strangers check a code."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import httpx2
import pytest
from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.embedded.servers import Endpoints
from tests.services.test_exports import codes_of, text_of
from tests.usage_rows import Use, write
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 12, 1, 4, tzinfo=UTC)
DAY = date(2026, 11, 28)


@pytest.fixture
def app(app: FastAPI, application: Application) -> FastAPI:
    """The application on the night after November."""
    app.state.application = replace(application, clock=lambda: NOW)
    return app


@pytest.fixture
async def shop(shop: Shop, application: Application, endpoints: Endpoints) -> Shop:
    """Both companies used something on a day of November, and the archive has seen it."""
    for company_id, messages in ((shop.ours, 40), (shop.theirs, 7)):
        write(endpoints.admin_url, company_id, Use(DAY, messages=messages, category="UTILITY", channel="whatsapp"))
    await application.reports.close_due(NOW)
    await application.archive.keep_due(NOW)
    return shop


@pytest.mark.parametrize(
    ("file_format", "media_type", "start"),
    [
        ("csv", "text/csv; charset=utf-8", b"date,messages_in,"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK"),
        ("pdf", "application/pdf", b"%PDF-1.7"),
    ],
)
async def test_an_export_is_a_download_under_a_telling_name(
    client: httpx2.AsyncClient, shop: Shop, file_format: str, media_type: str, start: bytes
) -> None:
    path = f"/api/analytics/export?company_id={shop.ours}&format={file_format}&period=2026-11"
    for who in ("ours", "key_ours", "operator"):
        answer = await client.get(path, headers=shop.bearer(who))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["content-disposition"] == f'attachment; filename="secretaria-nossa-2026-11.{file_format}"'
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.startswith(start)


async def test_excel_in_portuguese_gets_its_separators(client: httpx2.AsyncClient, shop: Shop) -> None:
    path = "/api/analytics/export?period=2026-11&dialect=excel-pt"
    answer = await client.get(path, headers=shop.bearer("key_ours"))
    assert answer.content.startswith(b"\xef\xbb\xbfdate;messages_in;")
    assert b"2026-11-28;0;40;0;0;;4,20;BRL;\r\n" in answer.content


@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        ("format=doc", "unknown_format", "format"),
        ("from=2026-11-01", "unknown_period", "period"),
        ("from=2026-11-31&to=2026-12-01", "unknown_period", "from"),
        ("from=2026-11-02&to=2026-11-01", "invalid_period", "to"),
        ("from=2025-01-01&to=2026-11-01", "period_too_long", "period"),
        ("period=2027-01", "future_period", "period"),
        ("locale=de", "unknown_locale", "locale"),
        ("dialect=x", "unknown_dialect", "dialect"),
    ],
)
async def test_a_request_that_cannot_be_met_says_why(
    client: httpx2.AsyncClient, shop: Shop, query: str, code: str, pointer: str
) -> None:
    answer = await client.get(f"/api/analytics/export?{query}", headers=shop.bearer("key_ours"))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert pointer in answer.text


async def test_an_operator_who_names_no_company_gets_all_of_them(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await client.get("/api/analytics/export?period=2026-11", headers=shop.bearer("operator"))
    assert answer.headers["content-disposition"] == 'attachment; filename="secretaria-empresas-2026-11.csv"'
    used = {row["company_name"]: row["messages_out"] for row in csv.DictReader(io.StringIO(answer.text)) if row["messages_out"] != "0"}
    assert used == {"Nossa": "40", "Alheia": "7"}
    pdf = await client.get("/api/analytics/export?format=pdf", headers=shop.bearer("operator"))
    assert (pdf.status_code, pdf.json()["code"]) == (422, "unknown_format")


async def test_the_archive_is_listed_and_downloaded_in_both_languages(client: httpx2.AsyncClient, shop: Shop) -> None:
    listed = (await client.get("/api/reports?limit=1", headers=shop.bearer("key_ours"))).json()
    (newest,) = listed["reports"]
    assert (newest["kind"], newest["period_start"], newest["period_end"], newest["revision"]) == ("month", "2026-11-01", "2026-12-01", 1)
    rest = (await client.get(f"/api/reports?after={listed['next_after']}", headers=shop.bearer("key_ours"))).json()
    assert [report["kind"] for report in rest["reports"]] == ["week"]
    assert rest["next_after"] is None
    for locale, words in (("pt-BR", "Relatório mensal"), ("en", "Monthly report")):
        answer = await client.get(f"/api/reports/{newest['id']}?locale={locale}", headers=shop.bearer("key_ours"))
        assert words in text_of(answer.content)
        assert answer.headers["content-disposition"] == 'attachment; filename="secretaria-nossa-2026-11.pdf"'
    foreign = await client.get(f"/api/reports/{newest['id']}", headers=shop.bearer("key_theirs"))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "report_not_found")


async def test_the_panel_s_buttons_lead_to_files_in_the_reader_s_language(client: httpx2.AsyncClient, shop: Shop) -> None:
    base = f"/empresas/{shop.ours}"
    for locale, start in (("pt-BR", b"\xef\xbb\xbfdate;"), ("en", b"date,")):
        headers = {"Cookie": f"{shop.cookie('ours')['Cookie']}; panel_locale={locale}"}
        answer = await client.get(f"{base}/exportar.csv?de=2026-11-01&ate=2026-11-30", headers=headers)
        assert answer.status_code == 200
        assert answer.content.startswith(start)
        assert len(answer.content.splitlines()) == 31
        report = await client.get(f"{base}/relatorio.pdf?mes=2026-11", headers=headers)
        assert ("Relatório mensal" if locale == "pt-BR" else "Monthly report") in text_of(report.content)
        book = await client.get(f"{base}/exportar.xlsx?mes=2026-11", headers=headers)
        assert book.content.startswith(b"PK")
    for path in (f"{base}/exportar.pdf", f"{base}/exportar.exe", f"/empresas/{shop.theirs}/exportar.csv", f"/empresas/{shop.theirs}/relatorio.pdf"):
        assert (await client.get(path, headers=shop.cookie("ours"))).status_code == 404, path
    assert (await client.get(f"{base}/exportar.csv?mes=nope", headers=shop.cookie("ours"))).status_code == 422


async def test_all_companies_are_for_the_operator_only(client: httpx2.AsyncClient, shop: Shop) -> None:
    assert (await client.get("/empresas/exportar.csv", headers=shop.cookie("ours"))).status_code == 404
    for extension, status in (("csv", 200), ("xlsx", 200), ("pdf", 404), ("doc", 404)):
        answer = await client.get(f"/empresas/exportar.{extension}?mes=2026-11", headers=shop.cookie("operator"))
        assert answer.status_code == status, extension


async def test_the_archive_s_page_lists_downloads_that_work(client: httpx2.AsyncClient, shop: Shop) -> None:
    page = await client.get(f"/empresas/{shop.ours}/arquivo", headers=shop.cookie("ours"))
    assert "novembro de 2026" in page.text
    links = re.findall(r'href="(/empresas/\d+/arquivo/\d+\.pdf)"', page.text)
    assert len(links) == 2
    answer = await client.get(links[0], headers=shop.cookie("ours"))
    assert answer.content.startswith(b"%PDF")
    for path in (f"/empresas/{shop.theirs}/arquivo", links[0].replace(f"/{shop.ours}/", f"/{shop.theirs}/"), f"/empresas/{shop.ours}/arquivo/999.pdf"):
        assert (await client.get(path, headers=shop.cookie("ours"))).status_code == 404, path


async def test_an_archive_without_documents_says_when_the_first_one_comes(client: httpx2.AsyncClient, shop: Shop, application: Application) -> None:
    new = await application.companies.create(PROCESS, "Nova", now=NOW - timedelta(hours=1))
    page = await client.get(f"/empresas/{new.company_id}/arquivo", headers=shop.cookie("operator"))
    assert "Ainda não há relatórios" in page.text


async def test_strangers_learn_of_a_code_its_period_and_nothing_else(client: httpx2.AsyncClient, shop: Shop) -> None:
    report = await client.get("/api/analytics/export?format=pdf&period=2026-11", headers=shop.bearer("key_ours"))
    (code,) = codes_of(report.content)
    for written in (code, code.replace("-", ""), code.lower()):
        page = await client.get(f"/verify/{written}")
        assert page.status_code == 200
        assert "Código válido." in page.text
        assert "01/11/2026 – 30/11/2026" in page.text
        assert not re.search(r"Nossa|R\$|4,20|\b40\b|BRL", page.text)
    english = await client.get(f"/verify/{code}", headers={"Accept-Language": "en"})
    assert "Valid code." in english.text


@pytest.mark.parametrize("code", ["AAAAA-AAAAA-AAAAA-AAAAA", "x", "<script>alert(1)</script>", "%00", "é" * 20, "A" * 65])
async def test_an_unknown_code_is_a_page_that_says_so(client: httpx2.AsyncClient, shop: Shop, code: str) -> None:
    page = await client.get(f"/verify/{code.replace('/', '%2F')}")
    assert page.status_code == 404
    assert "Código válido." not in page.text
    assert "<script>alert" not in page.text.lower()
