"""Configurações as people use it: without JavaScript, by keyboard, on a phone, and with a mistake in the form."""

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import MEMBER, Complaints, Panel, log_in

TABS = ("empresa", "chaves", "usuarios", "registro")


def test_without_javascript_a_key_is_made_copied_once_and_ended_after_a_question(
    browser: Browser, panel: Panel
) -> None:
    context = browser.new_context(java_script_enabled=False, locale="pt-BR")
    page = context.new_page()
    log_in(page, panel)
    page.goto(f"{panel.url}/configuracoes/chaves?empresa={panel.company_id}")
    page.get_by_label("Nome").fill("robô da recepção")
    page.get_by_role("button", name="Criar chave").click()
    secret = page.get_by_label("Chave", exact=True).input_value()
    assert secret.startswith("sk_")
    page.get_by_role("button", name="Revogar a chave robô da recepção").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Revogar a chave robô da recepção?")
    assert secret not in page.content()
    page.get_by_role("link", name="Cancelar").click()
    page.get_by_role("button", name="Revogar a chave robô da recepção").click()
    page.get_by_role("button", name="Revogar chave").click()
    expect(page.get_by_role("status").filter(has_text="✓ Chave revogada.")).to_be_visible()
    page.get_by_role("link", name="Registro de alterações").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Chave de API revogada")
    context.close()


def test_the_keyboard_alone_reviews_and_saves_the_company_s_data(page: Page, panel: Panel) -> None:
    log_in(page, panel)
    page.goto(f"{panel.url}/configuracoes/empresa?empresa={panel.company_id}")
    page.get_by_label("CNPJ").focus()
    page.keyboard.type("12.abc.345/01de-35")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nada foi alterado ainda.")).to_be_visible()
    expect(page.locator("ins")).to_have_text("12.ABC.345/01DE-35")
    save = page.get_by_role("button", name="Salvar alterações")
    while not save.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="✓ Alterações salvas.")).to_be_visible()
    expect(page.get_by_label("CNPJ")).to_have_value("12.ABC.345/01DE-35")


def test_a_mistake_takes_the_focus_and_leads_to_its_field(page: Page, panel: Panel, complaints: Complaints) -> None:
    complaints.expected = ("status of 422",)
    log_in(page, panel)
    page.goto(f"{panel.url}/configuracoes/empresa?empresa={panel.company_id}")
    page.get_by_label("CNPJ").fill("11.222.333/0001-82")
    page.get_by_role("button", name="Revisar e salvar").click()
    expect(page.locator("#problema")).to_be_focused()
    page.get_by_role("link", name="Este CNPJ não confere: veja os dígitos.").click()
    expect(page.get_by_label("CNPJ")).to_be_focused()
    expect(page.get_by_label("CNPJ")).to_have_value("11.222.333/0001-82")


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_no_tab_scrolls_sideways_on_any_screen(page: Page, panel: Panel, locale: str) -> None:
    log_in(page, panel)
    page.context.add_cookies([{"name": "panel_locale", "value": locale, "url": panel.url}])
    for tab in TABS:
        page.goto(f"{panel.url}/configuracoes/{tab}?empresa={panel.company_id}")
        for width in (1280, 640, 360, 320):
            page.set_viewport_size({"width": width, "height": 740})
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (tab, width)


def test_a_member_reads_its_settings_and_finds_no_button_that_is_not_theirs(page: Page, panel: Panel) -> None:
    log_in(page, panel, MEMBER)
    page.get_by_role("link", name="Configurações").click()
    page.get_by_role("link", name="Empresa", exact=True).click()
    expect(page.get_by_text("fale com quem administra o sistema")).to_be_visible()
    expect(page.get_by_role("button", name="Suspender")).to_have_count(0)
    page.get_by_role("link", name="Usuários").click()
    expect(page.get_by_role("rowheader", name=MEMBER)).to_be_visible()
    expect(page.get_by_role("button", name="Desativar")).to_have_count(0)
