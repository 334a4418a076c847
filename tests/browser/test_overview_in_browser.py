"""The operator's list of companies and the first steps, in Chromium."""

import subprocess

import pytest
from playwright.sync_api import Page, expect

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.plan import PlanTerms
from secretaria.web.panel.overview_feed import OverviewFeed

from .conftest import PHONE, Panel, log_in

ROWS = "tbody th a"


@pytest.fixture
def limited(panel: Panel) -> Panel:
    """A plan of 100 messages for the first company, and a third company."""

    async def give(application: Application) -> None:
        now = application.clock()
        made = await application.plans.create(PROCESS, "Pro", PlanTerms(messages=100), currency="BRL", now=now)
        await application.plans.assign(PROCESS, panel.company_id, made.plan_id, now=now)
        await application.companies.create(PROCESS, "Ótica Lume", now=now)

    panel.server.run(give)
    return panel


def names(page: Page) -> list[str]:
    return page.locator(ROWS).all_inner_texts()


def test_a_row_moves_in_place_and_the_order_waits_for_the_reader(
    page: Page, limited: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OverviewFeed, "values_every_s", 0.5)
    log_in(page, limited)
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    assert names(page) == ["Clínica Sorriso", "Auto Peças Sul", "Ótica Lume"]
    page.goto(f"{limited.url}/empresas?ordem=mensagens-asc")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    key = f"#e{limited.company_id}"
    top = page.locator(f"{key}-enviadas").bounding_box()
    limited.post_event("1", messages=85)
    expect(page.locator(f"{key}-enviadas")).to_have_text("85")
    expect(page.locator(f"{key}-uso")).to_have_text("85,0%")
    expect(page.locator(f"{key}-estado")).to_have_text("▲ Aviso")
    expect(page.locator(f"{key}-barra")).to_have_attribute("width", "70.83%")
    expect(page.locator(f"{key}-alertas")).to_have_text("1")
    expect(page.locator("#n-warning")).to_have_text("1")
    assert page.locator(f"{key}-hoje").get_attribute("d") == "M91 24v-24h5v24z"
    expect(page.locator("#ordem-mudou")).to_have_text("A ordem mudou.")
    assert names(page) == ["Clínica Sorriso", "Auto Peças Sul", "Ótica Lume"]
    moved = page.locator(f"{key}-enviadas").bounding_box()
    assert top is not None
    assert moved is not None
    assert moved["y"] == top["y"]
    page.get_by_role("link", name="Reordenar").click()
    expect(page.locator("#ordem-mudou")).to_be_empty()
    assert names(page) == ["Auto Peças Sul", "Ótica Lume", "Clínica Sorriso"]


def test_the_list_is_sorted_searched_and_filtered_by_keyboard_and_click(page: Page, limited: Panel) -> None:
    limited.post_event("1", messages=120)
    log_in(page, limited)
    page.get_by_role("link", name="Empresa", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Empresa ▴")
    assert names(page) == ["Auto Peças Sul", "Clínica Sorriso", "Ótica Lume"]
    page.get_by_role("link", name="Empresa").first.focus()
    page.locator("th[aria-sort] a").press("Enter")
    expect(page.locator("th[aria-sort=descending]")).to_be_visible()
    assert names(page)[0] == "Ótica Lume"
    page.keyboard.press("/")
    page.keyboard.type("otica")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=otica**")
    assert names(page) == ["Ótica Lume"]
    page.goto(f"{limited.url}/empresas")
    page.get_by_role("link", name="1 Crítico").click()
    expect(page.locator(".chip[aria-current]")).to_contain_text("Crítico")
    assert names(page) == ["Clínica Sorriso"]
    page.locator(".chip[aria-current]").click()
    expect(page.locator(ROWS)).to_have_count(3)
    page.get_by_label("Plano").select_option("sem plano")
    page.get_by_role("button", name="Filtrar").click()
    expect(page.locator(ROWS)).to_have_count(2)


def test_the_checklist_ticks_when_the_pasted_command_has_sent_its_event(page: Page, panel: Panel) -> None:
    log_in(page, panel)
    page.goto(f"{panel.url}/empresas/{panel.company_id}/primeiros-passos")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    expect(page.locator("#passos-prontos")).to_have_text("2 de 6 prontos")
    expect(page.locator("#passo-evento-icone")).to_have_text("○")
    height = page.evaluate("document.documentElement.scrollHeight")
    command = page.locator("#exemplo-curl").inner_text()
    first, _, rest = command.partition("\n")
    assert first == f"export SECRETARIA_KEY=$(secretaria api-key create --company {panel.company_id})"
    # The panel under test listens on a port of its own, and its key is known already.
    pasted = f"export SECRETARIA_KEY={panel.key}\n" + rest.replace("http://127.0.0.1:8000", panel.url)
    sent = subprocess.run(
        ["/bin/sh", "-c", pasted], capture_output=True, text=True, timeout=20, check=True
    )
    assert '"accepted":1' in sent.stdout.replace(" ", ""), sent
    expect(page.locator("#passo-evento-icone")).to_have_text("✓")
    expect(page.locator("#passo-evento-estado")).to_have_text("Recebido.")
    expect(page.locator("#passos-prontos")).to_have_text("3 de 6 prontos")
    expect(page.locator("#passo-evento .step-action")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollHeight") == height


def test_the_card_is_hidden_for_now_and_its_page_stays(page: Page, panel: Panel) -> None:
    log_in(page, panel)
    page.goto(f"{panel.url}/empresas/{panel.company_id}/contas")
    expect(page.locator(".first-steps")).to_be_visible()
    page.get_by_role("button", name="Ocultar por agora").click()
    page.wait_for_url("**/contas")
    expect(page.locator(".first-steps")).to_have_count(0)
    page.goto(f"{panel.url}/empresas/{panel.company_id}/primeiros-passos")
    expect(page.locator(".step")).to_have_count(6)


@pytest.mark.parametrize("path", ["/empresas", "/empresas/{company}/primeiros-passos"])
def test_nothing_scrolls_sideways_on_a_phone_and_controls_can_be_hit(page: Page, limited: Panel, path: str) -> None:
    limited.post_event("1", messages=120, category="ADS")
    page.set_viewport_size(PHONE)
    log_in(page, limited)
    page.goto(limited.url + path.format(company=limited.company_id))
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    small = page.evaluate(
        "[...document.querySelectorAll('main a, main button, main select, main input, main summary')]"
        ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"
    )
    assert small == []
