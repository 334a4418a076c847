"""A panel with something on every page, as the demo makes it; and the pages to look at."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from secretaria.bootstrap import Application
from secretaria.cli.demo import demo_service
from secretaria.core.access import PROCESS
from secretaria.core.event import RECORDED, Direction, UsageData, UsageEvent
from secretaria.embedded.postgres import free_port
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.fake_graph import FakeGraph
from secretaria.services.demo import DemoAccess
from secretaria.services.demo_history import COMPANIES
from secretaria.services.demo_messages import ACCOUNTS, CONNECTED, TEMPLATES, meta_world, whatsapp_since
from secretaria.services.demo_plans import PLANS
from secretaria.settings import Settings

from .panel_server import PanelServer

LONG_NAME: Final = "Associação Beneficente dos Trabalhadores da Indústria Metalomecânica do Vale do Paranhana"
NEW_NAME: Final = "Ótica Lume"
WEBHOOK: Final = "https://93.184.215.14/crm/events/deliveries/live?chave=1"
MEMBER: Final = "bia@clinicasorriso.example.com.br"
MAIL: Final = "maria.aparecida.de.souza.financeiro@clinicasorriso.example.com.br"
GIVEN_NAMES: Final = {
    LONG_NAME, NEW_NAME, MAIL, MEMBER, *PLANS, *(plan.name for plan in PLANS.values()), *TEMPLATES.values(),
    *(account.name for account in ACCOUNTS), *(name for company in COMPANIES for name in company.cost_centers),
    *(company.name for company in COMPANIES), "Português (Brasil)", "Português", "English",
}  # fmt: skip
"""What people named themselves, and so stands in both languages."""
ATTEMPT_TIMEOUT_S: Final = 20
PRICES: Final = {"BILLING_COST_PER_MESSAGE": "0.05", "BILLING_COST_PER_THOUSAND_TOKENS": "0.02"}


@dataclass(frozen=True)
class Furnished:
    """Where the panel is, how to enter, and what stands in it."""

    server: PanelServer
    access: DemoAccess
    new_id: int
    unpriced_id: int
    plan_id: int
    endpoint_id: int
    delivery_id: int
    code: str

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def pages(self) -> dict[str, str]:
        """Every page that a GET opens, by a name of its own; the routes they stand for are checked by a test."""
        own = f"/empresas/{self.access.company_id}"
        of = f"empresa={self.access.company_id}"
        tabs = ("empresa", "plano", "financeiro", "chaves", "webhooks", "usuarios", "registro")
        return {
            "companies": "/empresas",
            "companies-found": "/empresas?q=%28demo%29",
            "companies-none": "/empresas?q=xyz",
            "company": own,
            "company-new": f"/empresas/{self.new_id}",
            "first-steps": f"/empresas/{self.new_id}/primeiros-passos",
            "company-unpriced": f"/empresas/{self.unpriced_id}",
            "analytics": f"{own}/analytics",
            "analytics-today": f"{own}/analytics?periodo=hoje&metrica=resposta&dim=modelo",
            "analytics-weeks": f"{own}/analytics?periodo=8s&metrica=tokens&dim=conta",
            "analytics-unpriced": f"/empresas/{self.unpriced_id}/analytics",
            "analytics-new": f"/empresas/{self.new_id}/analytics",
            "explain": f"{own}/explicar",
            "accounts": f"{own}/contas",
            "alerts": "/alertas",
            "alerts-company": f"{own}/alertas",
            "deliveries": f"/alertas/entregas?{of}",
            "delivery": f"/alertas/entregas/{self.delivery_id}",
            "archive": f"{own}/arquivo",
            "verify": f"/verify/{self.code}",
            "verify-unknown": f"/verify/{'0' * len(self.code)}",
            **{f"settings-{tab}": f"/configuracoes/{tab}?{of}" for tab in tabs if tab != "financeiro"},
            "settings-financeiro": f"/configuracoes?{of}",
            "settings-choice": "/configuracoes/chaves",
            "plans": "/configuracoes/plano",
            "plan": f"/configuracoes/plano/{self.plan_id}",
            "webhooks": "/configuracoes/webhooks",
            "webhook": f"/configuracoes/webhooks/{self.endpoint_id}?{of}",
            "missing": "/nada",
        }

    @property
    def questions(self) -> dict[str, tuple[str, str]]:
        """Pages that ask before they change: where the form stands, and what it posts to."""
        settings = "/configuracoes"
        return {
            "company-suspend": ("settings-empresa", f"{settings}/empresa/situacao"),
            "plan-choose": ("settings-plano", f"{settings}/plano/escolher"),
            "key-revoke": ("settings-chaves", f"{settings}/chaves/revogar"),
            "user-disable": ("settings-usuarios", f"{settings}/usuarios/desativar"),
            "webhook-secret": ("settings-webhooks", f"{settings}/webhooks/girar"),
            "webhook-remove": ("settings-webhooks", f"{settings}/webhooks/remover"),
            "deliver-again": ("delivery", f"/alertas/entregas/{self.delivery_id}/reenviar"),
        }


@contextmanager
def furnished(
    settings: Settings, endpoints: Endpoints, now: datetime, *, days: int, clock: Any = None
) -> Iterator[Furnished]:
    """Serve a demo of so many days, connected to a made-up Graph API; one webhook of it never answers."""
    port = free_port(None)
    settings = settings.model_copy(
        update={
            "whatsapp_app_secret": "segredo da demonstração",
            "demo_graph_url": f"http://127.0.0.1:{port}",
            "billing_alert_webhook_url": f"http://127.0.0.1:{free_port(None)}/alertas",
            "billing_alert_webhook_private": True,
        }
    )
    server = PanelServer(settings, endpoints, **({} if clock is None else {"clock": clock}))
    with FakeGraph(meta_world(whatsapp_since(CONNECTED, now)), port=port):
        server.start()
        try:
            yield server.run(lambda application: _furnish(server, application, now, days))
        finally:
            server.stop()


async def _furnish(server: PanelServer, application: Application, now: datetime, days: int) -> Furnished:
    async def deliver(body: bytes, signature: bytes) -> None:
        await application.webhooks.receive(body, signature, integration_id=None, now=application.clock())

    demo = demo_service(application, deliver=deliver, has_fake_graph=True)
    access = await demo.prepare(None)
    await demo.fill(now - timedelta(days=days), lambda _done, _all: None)
    await application.meta.sync(access.company_id, now)
    await application.access.create_user(
        PROCESS, MEMBER, role="member", company_id=access.company_id, password=access.password
    )
    new = await application.companies.create(PROCESS, NEW_NAME, now=now)
    unpriced_id = await _without_prices(application, now)
    for _ in range(2):
        await application.reports.close_due(now)
    await application.archive.keep_due(now)
    (file, *_) = await application.archive.page(PROCESS, access.company_id)
    delivery_id = await _failed_delivery(application, now)
    made = await application.delivery_endpoints.create(PROCESS, access.company_id, "webhook", WEBHOOK, now=now)
    await application.delivery_endpoints.create(PROCESS, access.company_id, "mail", MAIL, now=now)
    await application.delivery_endpoints.test(PROCESS, made.endpoint.endpoint_id, now)
    (plan, *_) = await application.plans.list(PROCESS, now=now)
    return Furnished(
        server, access, new.company_id, unpriced_id, plan.plan_id, made.endpoint.endpoint_id, delivery_id, file.code
    )


async def _without_prices(application: Application, now: datetime) -> int:
    """Make a company with a long name and use that is only partly priced."""
    company = await application.companies.create(PROCESS, LONG_NAME, now=now)
    for number, category in enumerate((None, "ADS")):
        data = UsageData(direction=Direction.OUTBOUND, messages=24_691_357, tokens_input=90_000, category=category)
        event = UsageEvent("1.0", f"{number}", "fotos", RECORDED, data, subject=str(company.company_id))
        await application.ingest.submit(PROCESS, [(0, event)], now=now)
    return company.company_id


async def _failed_delivery(application: Application, now: datetime) -> int:
    """Send a test to the operator's webhook, where nobody listens, and wait until that was seen."""
    await application.operator_endpoint.sync(now)
    (endpoint,) = await application.delivery_endpoints.list(PROCESS, PROCESS.company_id)
    delivery_id = await application.delivery_endpoints.test(PROCESS, endpoint.endpoint_id, now)
    stopping = asyncio.Event()
    dispatching = asyncio.create_task(application.dispatcher.run(stopping))
    async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
        while not (await application.delivery_log.open(PROCESS, delivery_id)).attempts:
            await asyncio.sleep(0.1)
    stopping.set()
    await dispatching
    return delivery_id
