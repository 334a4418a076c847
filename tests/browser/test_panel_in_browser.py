"""The panel as people meet it: logging in, looking, switching language and theme, on a desk and on a phone."""

from playwright.sync_api import Browser, Page, expect

from .conftest import MEMBER, OPERATOR, PASSWORD, PHONE, Complaints, Panel, log_in

WIDTHS = (1280, 1200, 860, 768, 640, 360, 320)


def test_it_says_so_once_and_takes_the_focus_when_the_password_is_wrong(
    page: Page, panel: Panel, complaints: Complaints
) -> None:
    complaints.expected = ("status of 422",)
    page.goto(f"{panel.url}/entrar")
    page.get_by_label("E-mail").fill(OPERATOR)
    page.get_by_label("Senha").fill("errada")
    page.get_by_role("button", name="Entrar").click()
    summary = page.locator("#problema")
    expect(summary).to_contain_text("E-mail ou senha incorretos.")
    expect(summary).to_be_focused()
    expect(page.get_by_label("E-mail")).to_have_value(OPERATOR)
    expect(page.get_by_label("Senha")).to_have_value("")


def test_an_operator_finds_the_companies_and_opens_one(page: Page, panel: Panel) -> None:
    panel.post_event("1", tokens_input=120, tokens_output=80)
    log_in(page, panel)
    expect(page).to_have_url(f"{panel.url}/empresas")
    row = page.get_by_role("row").filter(has_text="Clínica Sorriso")
    expect(row.get_by_role("cell").nth(2)).to_have_text("1")
    expect(row.get_by_role("cell").nth(3)).to_have_text("R$\u00a00,05")
    row.get_by_role("link", name="Clínica Sorriso").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Clínica Sorriso")
    expect(page.locator("#hoje-custo")).to_have_text("R$\u00a00,05")


def test_the_login_leads_back_to_the_page_that_was_asked_for(page: Page, panel: Panel) -> None:
    page.goto(f"{panel.url}/empresas/{panel.other_id}")
    expect(page).to_have_url(f"{panel.url}/entrar?voltar=/empresas/{panel.other_id}")
    page.get_by_label("E-mail").fill(OPERATOR)
    page.get_by_label("Senha").fill(PASSWORD)
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Auto Peças Sul")
    expect(page.get_by_text("Horário de Asia/Kolkata (UTC+5:30)")).to_be_visible()


def test_the_keyboard_alone_logs_in_and_out(page: Page, panel: Panel) -> None:
    page.goto(f"{panel.url}/entrar")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type(OPERATOR)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="mostrar")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{panel.url}/empresas")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")  # from then on scripts listen
    page.keyboard.press("/")
    expect(page.get_by_label("Nome, CNPJ ou ID")).to_be_focused()
    page.locator("details.menu > summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sair")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sair")).to_be_hidden()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sair").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{panel.url}/entrar")
    page.goto(f"{panel.url}/empresas")
    expect(page).to_have_url(f"{panel.url}/entrar?voltar=/empresas")


def test_a_member_sees_its_company_and_nothing_of_another(
    page: Page, panel: Panel, complaints: Complaints
) -> None:
    complaints.expected = ("status of 404",)
    log_in(page, panel, MEMBER)
    expect(page).to_have_url(f"{panel.url}/empresas/{panel.company_id}")
    expect(page.get_by_role("link", name="Empresas")).to_have_count(0)
    answers = []
    for company_id in (panel.other_id, 999_999):
        response = page.goto(f"{panel.url}/empresas/{company_id}")
        assert response is not None
        answers.append((response.status, page.locator("main").inner_text()))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Página não encontrada")


def test_the_language_changes_by_switch_and_is_remembered_with_the_user(page: Page, panel: Panel) -> None:
    panel.post_event("1", messages=1, response_ms=850)
    log_in(page, panel)
    page.goto(f"{panel.url}/empresas/{panel.company_id}")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page).to_have_url(f"{panel.url}/empresas/{panel.company_id}")
    expect(page.locator("#hoje-custo")).to_have_text("R$0.05")
    expect(page.locator("#hoje-resposta")).to_have_text("0.9\u00a0s")
    page.context.clear_cookies(name="panel_locale")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_the_theme_changes_by_switch_and_follows_the_system_until_then(page: Page, panel: Panel) -> None:
    light, dark = "rgb(245, 247, 249)", "rgb(14, 19, 25)"
    page.emulate_media(color_scheme="dark")
    log_in(page, panel)
    expect(page.locator("body")).to_have_css("background-color", dark)
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Claro").click()
    expect(page.locator("body")).to_have_css("background-color", light)
    page.emulate_media(color_scheme="light")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Escuro").click()
    expect(page.locator("body")).to_have_css("background-color", dark)


def test_no_page_scrolls_sideways_and_big_money_stays_in_its_card(page: Page, panel: Panel) -> None:
    # 24.691.357 messages at R$ 0,05 are R$ 1.234.567,85.
    panel.post_event("1", messages=24_691_357, tokens_input=10**12, tokens_output=10**12, response_ms=4_000_000)
    log_in(page, panel)
    for path in ("/empresas", f"/empresas/{panel.company_id}", f"/empresas/{panel.other_id}", "/empresas?q=xyz"):
        page.goto(panel.url + path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            spilling = page.evaluate(
                "[...document.querySelectorAll('.kpi-value')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.id)"
            )
            assert spilling == [], (path, width)


def test_controls_are_large_enough_for_a_finger(page: Page, panel: Panel) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    log_in(page, panel)
    for path in ("/empresas", f"/empresas/{panel.company_id}"):
        page.goto(panel.url + path)
        small = page.evaluate(
            "[...document.querySelectorAll('a:not(.skip), button, summary, input')]"
            ".map(e => [e.textContent.trim() || e.id, e.getBoundingClientRect().height])"
            ".filter(([, height]) => height > 0 && height < 24)"
        )
        assert small == [], path


def test_every_page_works_without_javascript(browser: Browser, panel: Panel) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    panel.post_event("1", messages=1)
    page.goto(f"{panel.url}/entrar")
    page.get_by_label("E-mail").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Clínica Sorriso").click()
    expect(page.locator("#hoje-custo")).to_have_text("R$\u00a00,05")
    expect(page.locator("#conexao")).to_have_text("Sem atualização automática")
    page.get_by_text("Ver como tabela").click()
    expect(page.locator("#d6-custo")).to_be_visible()
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="English").click()
    expect(page.locator("#conexao")).to_have_text("No automatic updates")
    context.close()
