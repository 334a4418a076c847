"""Downloads as a person makes them, read back; the archive; a code checked by someone without a login."""

import csv
import io
from datetime import date, timedelta
from pathlib import Path

import openpyxl
import pypdfium2
import pytest
from playwright.sync_api import Browser, Page, expect

from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from tests.usage_rows import Use, write

from .conftest import MEMBER, Panel, log_in

pytestmark = pytest.mark.browser

DAYS = 45


@pytest.fixture
def used(panel: Panel, endpoints: Endpoints) -> Panel:
    """A month and a half of use, closed and archived."""
    today = date.today()  # noqa: DTZ011 - the server's own clock is the machine's
    days = [today - timedelta(days=back) for back in range(DAYS)]
    write(endpoints.admin_url, panel.company_id, *(Use(day, messages=40, tokens_input=1_000) for day in days))

    async def keep(application: Application) -> int:
        for _ in range(3):
            await application.reports.close_due(application.clock())
        return (await application.archive.keep_due(application.clock())).files

    assert panel.server.run(keep) >= 5
    return panel


def downloaded(page: Page, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.locator(selector).first.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return "\n".join(document[number].get_textpage().get_text_bounded() for number in range(len(document)))


def test_what_is_on_the_screen_is_downloaded_in_every_format(page: Page, used: Panel) -> None:
    log_in(page, used, MEMBER)
    page.goto(f"{used.url}/empresas/{used.company_id}/analytics")
    page.locator("summary", has_text="Exportar").first.click()
    name, content = downloaded(page, 'a[href*="exportar.csv"]')
    assert name.startswith("secretaria-clinica-sorriso-")
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    messages = sum(int(line["messages_out"]) for line in lines)
    assert messages >= 40
    _, book = downloaded(page, 'a[href*="exportar.xlsx"]')
    daily = list(openpyxl.load_workbook(io.BytesIO(book))["Diário"].iter_rows(min_row=2, values_only=True))
    assert sum(row[2] for row in daily) == messages
    _, report = downloaded(page, 'a[href*="relatorio.pdf"]')
    assert "Clínica Sorriso" in text_of(report)
    assert f"{messages:,}".replace(",", ".") in text_of(report)


def test_the_archive_is_reached_by_its_tab_and_its_documents_by_their_links(page: Page, used: Panel) -> None:
    log_in(page, used, MEMBER)
    page.goto(f"{used.url}/empresas/{used.company_id}")
    page.get_by_role("link", name="Relatórios").click()
    expect(page.get_by_role("heading", name="Relatórios arquivados")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Mensal")
    code = row.get_by_role("cell").last.inner_text()
    _, report = downloaded(page, 'tr:has-text("Mensal") a[download]')
    assert code in text_of(report)
    assert "Relatório mensal" in text_of(report)


def test_a_stranger_checks_a_code_and_sees_its_period_only(browser: Browser, page: Page, used: Panel) -> None:
    log_in(page, used, MEMBER)
    page.goto(f"{used.url}/empresas/{used.company_id}/arquivo")
    path = page.get_by_role("row").nth(1).locator('a[href^="/verify/"]').get_attribute("href")
    with browser.new_context(locale="pt-BR") as nobody:
        stranger = nobody.new_page()
        stranger.goto(f"{used.url}{path}")
        expect(stranger.get_by_text("Código válido.")).to_be_visible()
        expect(stranger.locator("body")).not_to_contain_text("Sorriso")
        stranger.goto(f"{used.url}/verify/AAAAA-AAAAA-AAAAA-AAAAA")
        expect(stranger.get_by_text("Código desconhecido.")).to_be_visible()
