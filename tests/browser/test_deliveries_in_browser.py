"""Webhooks in a real browser: one added, the settings' one tested over real HTTP, seen in the log and sent again."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.plan import PlanTerms
from secretaria.settings import Settings

from .conftest import PHONE, Panel, log_in

PATH = "/configuracoes/webhooks"
PUBLIC_URL = "https://93.184.215.14/hook"


@dataclass
class Hook:
    """What a webhook's receiver was sent: (webhook-id, body)."""

    url: str = ""
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.received.append((self.headers["webhook-id"], json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"recebido")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/alertas?chave=segredo"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(settings: Settings, hook: Hook) -> Settings:
    return settings.model_copy(update={"billing_alert_webhook_url": hook.url, "billing_alert_webhook_private": True})


@pytest.fixture
def dispatched(panel: Panel) -> Iterator[Panel]:
    """The panel with the operator's endpoint in place and a dispatcher beside it."""
    running: dict[str, Any] = {}

    async def start(application: Application) -> None:
        await application.operator_endpoint.sync(application.clock())
        running["stop"] = asyncio.Event()
        running["task"] = asyncio.create_task(application.dispatcher.run(running["stop"]))

    async def stop(_: Application) -> None:
        running["stop"].set()
        with contextlib.suppress(asyncio.CancelledError):
            await running["task"]

    panel.server.run(start)
    yield panel
    panel.server.run(stop)


def no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_webhook_is_added_tested_seen_delivered_and_sent_again(dispatched: Panel, page: Page, hook: Hook) -> None:
    log_in(page, dispatched)
    page.goto(f"{dispatched.url}/configuracoes")
    page.get_by_role("link", name="Webhooks e e-mail").click()
    page.get_by_label("Endereço (URL)").fill(PUBLIC_URL)
    page.get_by_label("Descrição").first.fill("CRM da matriz")
    page.get_by_role("button", name="Adicionar webhook").click()
    secret = page.locator("#segredo")
    expect(secret).to_have_value(re.compile("^whsec_"))
    expect(secret).to_be_focused()
    page.goto(f"{dispatched.url}{PATH}")
    expect(page.get_by_text("CRM da matriz")).to_be_visible()
    assert "whsec_" not in page.locator("article").all_inner_texts()[0]
    card = page.locator("article").filter(has_text="BILLING_ALERT_WEBHOOK_URL")
    card.get_by_role("button", name="Enviar teste").click()
    expect(page.locator("#teste")).to_contain_text("Entregue")
    expect(page.locator("#teste")).to_contain_text("O destino respondeu 200")
    expect(page.locator("#teste")).to_contain_text("recebido")
    assert [body["type"] for _, body in hook.received] == ["test.ping"]
    page.get_by_role("link", name="Ver entregas").click()
    row = page.get_by_role("row").filter(has_text="Teste")
    expect(row).to_contain_text("✓ Entregue")
    expect(row).not_to_contain_text("segredo")
    row.get_by_role("button", name=re.compile("Reenviar")).click()
    expect(page.get_by_text("O destino pode receber este evento duas vezes. Reenviar?")).to_be_visible()
    page.get_by_role("button", name="Reenviar", exact=True).click()
    expect(page.get_by_text("De volta à fila")).to_be_visible()
    for _ in range(20):
        if page.get_by_text("2ª tentativa").count():
            break
        page.wait_for_timeout(250)
        page.reload()
    expect(page.get_by_text("2ª tentativa")).to_be_visible()
    expect(page.get_by_text('"type": "test.ping"')).to_be_visible()
    assert len({message_id for message_id, _ in hook.received}) == 1
    assert len(hook.received) == 2


def test_the_pages_fit_a_phone_and_answer_to_the_keyboard(dispatched: Panel, page: Page) -> None:
    async def prepare(application: Application) -> int:
        now = application.clock()
        plan = await application.plans.create(PROCESS, "Profissional", PlanTerms(messages=20_000), now=now)
        await application.plans.assign(PROCESS, dispatched.company_id, plan.plan_id, now=now)
        made = await application.delivery_endpoints.create(
            PROCESS, dispatched.company_id, "webhook", f"{PUBLIC_URL}/um/caminho/bem/comprido/mesmo", now=now
        )
        await application.delivery_endpoints.test(PROCESS, made.endpoint.endpoint_id, now)
        return plan.plan_id

    plan_id = dispatched.server.run(prepare)
    log_in(page, dispatched)
    of = f"empresa={dispatched.company_id}"
    for width in (PHONE["width"], 320):
        page.set_viewport_size({"width": width, "height": 740})
        for path in (
            f"{PATH}?{of}", PATH, f"/configuracoes/plano?{of}", "/configuracoes/plano",
            f"/configuracoes/plano/{plan_id}", f"/alertas/entregas?{of}",
        ):  # fmt: skip
            page.goto(dispatched.url + path)
            no_sideways_scroll(page)
    page.goto(f"{dispatched.url}/configuracoes/plano?{of}")
    page.get_by_label("Plano", exact=True).select_option("nenhum")
    page.get_by_role("button", name="Revisar e salvar").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Com o uso de hoje, estes limites não geram nenhum alerta novo.")).to_be_visible()
    page.get_by_role("button", name="Salvar plano").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Plano salvo.")).to_be_visible()
    expect(page.get_by_text("Sem plano: nada é limitado")).to_be_visible()
