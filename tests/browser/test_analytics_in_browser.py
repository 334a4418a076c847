""" "Analytics e Consumo" in Chromium: the chart, its table, live figures, periods, explanations, keyboard, phone."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from secretaria.core.period import ZoneSchedule, local_day
from secretaria.embedded.servers import Endpoints
from secretaria.web.panel import events
from tests.usage_rows import Use, write

from .conftest import DESKTOP, MEMBER, PHONE, Complaints, Panel, log_in

HOME = ZoneSchedule.single("America/Sao_Paulo")
WIDTHS = (1280, 1080, 860, 640, 360, 320)
# Of the canvas' pixels, how many are painted at all: something was drawn on it.
PAINTED = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let at = 3; at < pixels.length; at += 4) if (pixels[at]) painted += 1;
  return painted;
}"""
COLUMN_COLOR = """canvas => {
  const box = Chart.getChart(canvas).getDatasetMeta(0).data.at(-2);
  const scale = canvas.width / canvas.clientWidth;
  return [...canvas.getContext('2d').getImageData(box.x * scale, (box.y + box.base) / 2 * scale, 1, 1).data].join();
}"""


@pytest.fixture
def used(panel: Panel, endpoints: Endpoints) -> Panel:
    """A panel whose company used something on each of the last 70 days, in the first hour of each."""
    today = local_day(HOME, datetime.now(UTC))
    uses = [
        Use(
            today - timedelta(days=back), channel="whatsapp", category=category, messages=40 + back % 7,
            tokens_input=900, response_ms=45_000, response_count=3, hour=0, cost_center=center,
        )
        for back in range(70)
        for category, center in (("MARKETING", "vendas"), ("UTILITY", None), ("OTHER", None))
    ]  # fmt: skip
    write(endpoints.admin_url, panel.company_id, *uses)
    return panel


def open_page(page: Page, panel: Panel, query: str = "") -> None:
    page.goto(f"{panel.url}/empresas/{panel.company_id}/analytics{query}")
    expect(page.locator("#grafico-caixa")).to_have_attribute("data-drawn", re.compile("bar|line"))


@pytest.mark.parametrize(("metric", "kind"), [("custo", "bar"), ("mensagens", "bar"), ("tokens", "bar"), ("resposta", "line")])
def test_a_chart_is_drawn_for_each_measure_with_its_table_behind_it(
    page: Page, used: Panel, metric: str, kind: str
) -> None:
    log_in(page, used)
    open_page(page, used, f"?periodo=7d&metrica={metric}")
    expect(page.locator("#grafico-caixa")).to_have_attribute("data-drawn", kind)
    canvas = page.locator("#grafico")
    assert canvas.evaluate(PAINTED) > 2_000
    expect(page.get_by_role("img", name=re.compile("^Evolução"))).to_have_count(1)
    drawn = canvas.evaluate("canvas => Chart.getChart(canvas).scales.y.min")
    assert drawn == 0
    table = page.locator("#grafico-tabela")
    expect(table.locator("tbody tr").first).to_be_hidden()
    table.locator("summary").click()
    strings = page.evaluate("JSON.parse(document.getElementById('grafico-dados').textContent).texts")
    expect(table.locator("tbody tr td:nth-child(2)")).to_have_text(strings)
    expect(table.locator("tbody tr").last).to_contain_text("parcial")


def test_choosing_a_period_a_measure_and_a_row_changes_the_address_and_back_returns(page: Page, used: Panel) -> None:
    log_in(page, used)
    open_page(page, used)
    page.locator("#periodo > summary").click()
    page.get_by_role("link", name="Últimos 7 dias").click()
    expect(page).to_have_url(re.compile(r"periodo=7d$"))
    page.get_by_label("Medida").get_by_role("link", name="Tokens").click()
    expect(page.get_by_role("heading", name="Evolução: Tokens")).to_be_visible()
    page.get_by_role("row", name=re.compile("^Marketing")).get_by_role("link", name="Marketing").click()
    expect(page).to_have_url(re.compile(r"f.categoria=MARKETING"))
    expect(page.locator(".chip")).to_contain_text("Categoria: Marketing")
    page.locator(".chip").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_back()
    page.go_back()
    page.go_back()
    expect(page).to_have_url(re.compile(r"periodo=7d$"))
    expect(page.locator("#periodo > summary")).to_contain_text("Últimos 7 dias")


def test_a_wrong_period_is_told_under_its_field_with_what_was_typed(
    page: Page, used: Panel, complaints: Complaints
) -> None:
    complaints.expected = ("status of 422",)
    log_in(page, used)
    open_page(page, used)
    page.locator("#periodo > summary").click()
    page.locator("#de").fill("2026-01-10")
    page.locator("#ate").fill("2026-01-01")
    page.get_by_role("button", name="Aplicar").click()
    expect(page.locator("#ate-error")).to_have_text("A data final vem antes da inicial.")
    expect(page.locator("#ate")).to_be_focused()
    expect(page.locator("#ate")).to_have_value("2026-01-01")
    expect(page.locator("#problema")).to_contain_text("A data final vem antes da inicial.")
    page.locator("#de").fill("2026-01-01")
    page.get_by_role("button", name="Aplicar").click()
    expect(page).to_have_url(re.compile(r"de=2026-01-01&ate=2026-01-01"))


def test_figures_chart_and_breakdown_follow_an_event_without_moving_anything(
    page: Page, used: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "DAYS_EVERY_S", 1.0)
    log_in(page, used, MEMBER)
    open_page(page, used, "?periodo=hoje&metrica=mensagens&f.categoria=MARKETING")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    expect(page.locator("#k-enviadas")).to_have_text("40")
    height = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("document.getElementById('grafico').dataset.kept = 'yes'")
    used.post_event("1", messages=100, category="MARKETING")
    expect(page.locator("#k-enviadas")).to_have_text("140")
    expect(page.locator("#quebra-total-mensagens")).to_have_text("140")
    # Right after midnight the event falls into the same hour as the rest.
    page.wait_for_function("() => Chart.getChart('grafico').data.datasets[0].data.reduce((a, b) => a + b) === 140")
    assert page.evaluate("document.getElementById('grafico').dataset.kept") == "yes"
    assert page.evaluate("document.documentElement.scrollHeight") == height
    expect(page.locator("#reordenar")).to_be_hidden()


def test_a_new_order_of_the_rows_waits_for_the_reader(
    page: Page, used: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "DAYS_EVERY_S", 1.0)
    log_in(page, used)
    open_page(page, used, "?periodo=hoje")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    rows = page.locator(".share-table tbody th a")
    before = rows.all_text_contents()
    used.post_event("1", messages=5_000, category="UTILITY")
    expect(page.locator("#reordenar")).to_be_visible()
    assert rows.all_text_contents() == before
    page.locator("#reordenar").click()
    expect(rows).to_have_text(["Utilidade", "Marketing", "Outra categoria"])


def test_a_cost_opens_into_its_sum_over_the_page_and_gives_the_focus_back(page: Page, used: Panel) -> None:
    log_in(page, used)
    used.post_event("evt-1", messages=1, category="MARKETING", wamid="wamid.HBgLXYZABC")
    open_page(page, used, "?periodo=hoje")
    cost = page.get_by_role("row", name=re.compile("^Marketing")).locator("[data-explains]")
    shown = cost.text_content()
    cost.click()
    dialog = page.get_by_role("dialog", name="De onde vem este número?")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".explained-total strong")).to_have_text(shown or "")
    expect(dialog.locator(".sum").first).to_contain_text("41 mensagens")
    expect(dialog.locator(".sum").first).to_contain_text("US$\u00a00,0950")
    expect(dialog.get_by_role("row", name=re.compile("…XYZABC"))).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cost).to_be_focused()
    address = cost.get_attribute("href")
    page.goto(f"{used.url}{address}")
    expect(page.locator(".explained-total strong")).to_have_text(shown or "")
    page.get_by_role("link", name=re.compile("Analytics e Consumo")).click()
    expect(page).to_have_url(re.compile(r"/analytics\?.*f\.categoria=MARKETING"))


def test_the_keyboard_walks_the_chart_opens_menus_and_closes_them(page: Page, used: Panel) -> None:
    log_in(page, used)
    open_page(page, used, "?periodo=7d")
    tip, canvas = page.locator("#grafico-dica"), page.locator("#grafico")
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("parcial")
    page.keyboard.press("Home")
    names = page.evaluate("JSON.parse(document.getElementById('grafico-dados').textContent).names")
    expect(tip).to_contain_text(names[0])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grafico-ponto")).to_contain_text(names[1])
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    summary = page.locator("#periodo > summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Mês passado")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Mês passado")).to_be_hidden()
    expect(summary).to_be_focused()


def test_english_leaves_no_portuguese_word_on_the_page(page: Page, used: Panel) -> None:
    log_in(page, used)
    page.context.add_cookies([{"name": "panel_locale", "value": "en", "url": used.url}])
    open_page(page, used, "?periodo=7d")
    expect(page.get_by_role("heading", name="Trend: Cost")).to_be_visible()
    expect(page.locator("#k-custo")).to_have_text(re.compile(r"^≥\u00a0R\$\d"))
    expect(page.locator(".share-table tbody th a")).to_have_text(["Marketing", "Utility", "Other category"])
    words = page.locator("main").inner_text()
    assert not re.search(r"Custo|Mensagens|Categoria|Período|dias\b|pior|antes|Recebidas", words)


def test_the_chart_takes_the_colours_of_the_theme_and_follows_it(browser: Browser, used: Panel) -> None:
    context = browser.new_context(viewport=DESKTOP, locale="pt-BR", color_scheme="light")
    page = context.new_page()
    log_in(page, used)
    open_page(page, used, "?periodo=7d&metrica=mensagens")
    canvas = page.locator("#grafico")
    assert canvas.evaluate(COLUMN_COLOR) == "11,92,173,255"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({COLUMN_COLOR})(document.getElementById('grafico')) === '116,181,244,255'")
    context.close()


def test_the_page_never_scrolls_sideways_and_targets_fit_a_finger(browser: Browser, used: Panel) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, locale="pt-BR")
    page = context.new_page()
    log_in(page, used)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for address in ("analytics?periodo=30d&dim=centro", "explicar?periodo=30d"):
            page.goto(f"{used.url}/empresas/{used.company_id}/{address}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, address)
    page.set_viewport_size(PHONE)
    open_page(page, used)
    small = page.evaluate(
        "[...document.querySelectorAll('.drop > summary, .metrics a, .segments.small a')]"
        ".filter(one => one.getBoundingClientRect().height < 40).map(one => one.textContent)"
    )
    assert small == []
    expect(page.locator("#grafico-caixa")).to_have_css("height", "220px")
    context.close()


def test_without_javascript_the_table_and_the_links_are_there(browser: Browser, used: Panel) -> None:
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False, locale="pt-BR")
    page = context.new_page()
    log_in(page, used)
    page.goto(f"{used.url}/empresas/{used.company_id}/analytics?periodo=7d")
    expect(page.locator("#k-enviadas")).not_to_be_empty()
    expect(page.locator("#grafico-caixa")).to_be_hidden()
    page.locator("#grafico-tabela > summary").click()
    expect(page.locator("#grafico-tabela tbody tr")).to_have_count(7)
    page.locator("#k-custo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("De onde vem este número?")
    context.close()
