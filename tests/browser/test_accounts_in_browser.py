"""The WhatsApp pages in Chromium: a signed webhook moves the card, nothing scrolls sideways, fingers find the controls."""

import hashlib
import hmac
import json
import time

import httpx2
import pytest
from playwright.sync_api import Page, expect

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.settings import Settings

from .conftest import MEMBER, PHONE, Panel, log_in

SECRET, NUMBER = "an app secret", "106540352242922"
WIDTHS = (1280, 860, 640, 360, 320)
LIVE_BUDGET_MS = 6_000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"whatsapp_app_secret": SECRET})


@pytest.fixture
def account(panel: Panel) -> str:
    """An account of the first company; returns what the ids on its card begin with."""

    async def make(application: Application) -> str:
        made = await application.accounts.create(
            PROCESS, panel.company_id, NUMBER, "Recepção", now=application.clock()
        )
        return f"c{made.account_id}"

    key: str = panel.server.run(make)
    return key


def post_statuses(panel: Panel, category: str, *wamids: str) -> None:
    """Post delivered messages as Meta does: signed with the app secret."""
    statuses = [
        {
            "id": wamid, "status": "delivered", "timestamp": str(int(time.time())), "recipient_id": "5511987654321",
            "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": category},
        }
        for wamid in wamids
    ]  # fmt: skip
    value = {
        "messaging_product": "whatsapp", "statuses": statuses,
        "metadata": {"display_phone_number": "1555", "phone_number_id": NUMBER},
    }  # fmt: skip
    payload = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"value": value, "field": "messages"}]}]}
    body = json.dumps(payload).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = httpx2.post(
        f"{panel.url}/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": f"sha256={signature}"}, timeout=10
    )
    assert answer.status_code == 200, answer.text


def test_the_card_moves_when_a_signed_webhook_arrives(page: Page, panel: Panel, account: str) -> None:
    log_in(page, panel, MEMBER)
    page.get_by_role("link", name="Contas WhatsApp (1)").click()
    expect(page.locator("#conexao")).to_have_text("Ao vivo")
    expect(page.locator(f"#{account}-utility-custo")).to_have_text("R$\u00a00,00")
    expect(page.get_by_role("rowheader", name="AUTHENTICATION")).to_have_count(0)
    post_statuses(panel, "utility", *(f"wamid.{number}" for number in range(100)))
    expect(page.locator(f"#{account}-utility-quantidade")).to_have_text("100", timeout=LIVE_BUDGET_MS)
    expect(page.locator(f"#{account}-utility-custo")).to_have_text("R$\u00a010,50")
    expect(page.locator(f"#{account}-total-custo")).to_have_text("R$\u00a010,50")
    post_statuses(panel, "authentication", "wamid.otp", "wamid.otp")
    expect(page.get_by_role("rowheader", name="AUTHENTICATION")).to_be_visible(timeout=LIVE_BUDGET_MS)
    expect(page.locator(f"#{account}-authentication-quantidade")).to_have_text("1")
    expect(page.locator(f"#{account}-total-custo")).to_have_text("R$\u00a010,57")


def test_an_operator_comes_to_the_settings_by_the_top_bar_and_saves(page: Page, panel: Panel, account: str) -> None:
    log_in(page, panel)
    page.get_by_role("link", name="Configurações").click()
    page.get_by_role("link", name="Clínica Sorriso").click()
    page.get_by_label("ID do WABA").fill("102290129340398")
    page.get_by_label("Token de acesso").fill("EAAcanarytoken0123456789tail")
    page.get_by_role("button", name="Salvar conexão").click()
    expect(page.get_by_text("Conexão salva.")).to_be_visible()
    expect(page.get_by_text("Salvo: ••••tail. Vazio mantém.")).to_be_visible()
    expect(page.get_by_label("Token de acesso")).to_have_value("")
    expect(page.locator(f"#{account}-total-rotulo")).to_contain_text("Gastos Totais Hoje (")
    expect(page.locator("#conexao")).to_have_text("Ao vivo")


def test_nothing_scrolls_sideways_and_controls_fit_a_finger(page: Page, panel: Panel, account: str) -> None:
    post_statuses(panel, "marketing", "wamid.1")
    log_in(page, panel)
    company, other = panel.company_id, panel.other_id
    for path in (
        f"/empresas/{company}", f"/empresas/{company}/contas", f"/empresas/{other}/contas",
        "/configuracoes", f"/configuracoes?empresa={company}", f"/configuracoes?empresa={other}",
    ):  # fmt: skip
        page.goto(panel.url + path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            inside = "[...document.querySelectorAll('.account-scroll')].every(e => e.scrollWidth <= e.clientWidth)"
            assert page.evaluate(inside), (path, width)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        small = page.evaluate(
            "[...document.querySelectorAll('a:not(.skip), button, summary, input, select')]"
            ".map(e => [e.textContent.trim() || e.id, e.getBoundingClientRect().height])"
            ".filter(([, height]) => height > 0 && height < 24)"
        )
        assert small == [], path
        page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(f"#{account}-total-custo").count() in {0, 1}
