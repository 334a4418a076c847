"""The WhatsApp pages: cards, the tab "Financeiro", who sees what, and that no secret ever stands in a page."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.outbound.fake_graph import AD_ACCOUNT_ID, PHONE_NUMBER_ID, WABA_ID, FakeGraph, Fault
from secretaria.outbound.meta_graph import MetaGraph
from secretaria.services.meta import SYNC_EVERY, MetaService
from secretaria.store.database import transaction
from secretaria.web.app import create_app
from secretaria.web.panel.account_cards import QUALITY_KINDS
from tests.web.conftest import BASE_URL, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

SECRETS = {
    "access_token": "EAAcanarytoken0123456789tail",
    "app_secret": "canaryappsecret0123456789tail",
    "verify_token": "canaryverify0123456789tail",
}
GOLDEN = {"UTILITY": 100, "MARKETING": 50, "AUTHENTICATION": 10}


async def send(
    client: httpx2.AsyncClient, shop: Shop, application: Application, counts: dict[str, int], **more: Any
) -> None:
    key = await application.access.create_api_key(PROCESS, shop.ours)
    batch = [
        {
            "account_id": shop.accounts["ours"], "category": category, "direction": "outbound", "status": "delivered",
            "sent_at": application.clock().isoformat(), "id": f"{category}-{number}",
        } | more
        for category, count in counts.items() for number in range(count)
    ]  # fmt: skip
    answer = await client.post("/api/messages", json=batch, headers={"Authorization": f"Bearer {key.text}"})
    assert answer.json()["accepted"] == len(batch), answer.text


def text_of(page: httpx2.Response, element: str) -> str:
    """Return the text of the element of an id, wherever it stands."""
    assert page.status_code == 200, page.text
    _, found, rest = page.text.partition(f'id="{element}"')
    assert found, element
    return rest.partition(">")[2].partition("<")[0]


async def test_a_card_tells_today_by_category_in_both_languages(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await send(client, shop, application, GOLDEN)
    path, key = f"/empresas/{shop.ours}/contas", f"c{shop.accounts['ours']}"
    portuguese = await client.get(path, headers=shop.cookie("ours"))
    english = await client.get(path, headers={"Cookie": f"{shop.cookie('ours')['Cookie']}; panel_locale=en"})
    costs = {"utility": ("10,50", "10.50"), "marketing": ("23,75", "23.75"), "authentication": ("0,70", "0.70")}
    for name, (comma, dot) in (costs | {"total": ("34,95", "34.95")}).items():
        assert text_of(portuguese, f"{key}-{name}-custo") == f"R$\u00a0{comma}"
        assert text_of(english, f"{key}-{name}-custo") == f"R${dot}"
    assert text_of(portuguese, f"{key}-utility-quantidade") == "100"
    assert text_of(portuguese, f"{key}-service-quantidade") == ""
    assert text_of(portuguese, f"{key}-other-quantidade") == ""
    assert text_of(portuguese, f"{key}-utility-preco") == "US$\u00a00,0210"
    assert text_of(portuguese, f"{key}-origem-estimado") == "≈\u00a0Estimado"
    assert text_of(portuguese, f"{key}-total-rotulo").startswith("Gastos Totais Hoje (")
    assert "Contas WhatsApp (1)" in portuguese.text
    assert "WhatsApp accounts (1)" in english.text
    assert "Estatísticas da Conta" in portuguese.text
    assert "Account statistics" in english.text
    for word in ("Estimado", "Qualidade", "Gastos"):
        assert word not in english.text


async def test_utility_and_marketing_stand_on_a_card_that_sent_nothing(client: httpx2.AsyncClient, shop: Shop) -> None:
    page = await client.get(f"/empresas/{shop.ours}/contas", headers=shop.cookie("ours"))
    key = f"c{shop.accounts['ours']}"
    for name in ("utility", "marketing"):
        assert text_of(page, f"{key}-{name}-quantidade") == "0"
        assert text_of(page, f"{key}-{name}-custo") == "R$\u00a00,00"
    for name in ("authentication", "service", "other"):
        assert text_of(page, f"{key}-{name}-quantidade") == ""


@pytest.mark.parametrize(
    ("rating", "shown", "text"),
    [
        ("GREEN", "alta", "●\u00a0Qualidade ALTA"), ("YELLOW", "media", "▲\u00a0Qualidade MÉDIA"),
        ("RED", "baixa", "✕\u00a0Qualidade BAIXA"), ("UNKNOWN", "sem", "◌\u00a0Qualidade sem classificação"),
        (None, "sem", "◌\u00a0Qualidade sem classificação"),
    ],
)  # fmt: skip
async def test_quality_is_an_icon_and_a_word_and_an_unknown_one_is_not_green(
    client: httpx2.AsyncClient, shop: Shop, application: Application, rating: str | None, shown: str, text: str
) -> None:
    async with transaction(application.database.operator) as connection:
        await connection.execute(
            "UPDATE whatsapp_accounts SET quality_rating = %s WHERE company_id = %s", (rating, shop.ours)
        )
    page = await client.get(f"/empresas/{shop.ours}/contas", headers=shop.cookie("ours"))
    key = f"c{shop.accounts['ours']}"
    found = {name: text_of(page, f"{key}-qualidade-{name}") for name in QUALITY_KINDS}
    assert found == dict.fromkeys(QUALITY_KINDS, "") | {shown: text}


async def test_what_has_no_price_is_told_and_the_total_is_a_lower_bound(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await send(client, shop, application, {"UTILITY": 100})
    key = (await application.access.create_api_key(PROCESS, shop.ours)).text
    data = {"direction": "outbound", "messages": 3, "account_id": shop.accounts["ours"], "category": "SOMETHING_NEW"}
    event = {"specversion": "1.0", "id": "1", "source": "bot", "type": "usage.recorded", "data": data}
    answer = await client.post("/api/usage", json=event, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    page = await client.get(f"/empresas/{shop.ours}/contas", headers=shop.cookie("ours"))
    key = f"c{shop.accounts['ours']}"
    assert text_of(page, f"{key}-total-custo") == "≥\u00a0R$\u00a010,50"
    assert text_of(page, f"{key}-sem-preco") == "?\u00a03 sem preço"
    assert text_of(page, f"{key}-other-quantidade") == "3"
    assert text_of(page, f"{key}-other-custo") == "—"


async def test_another_company_s_pages_are_those_of_one_that_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    for pattern in ("/empresas/{}/contas", "/configuracoes?empresa={}"):
        pages = []
        for company_id in (shop.theirs, 987_654_321, 2**63):
            answer = await client.get(pattern.format(company_id), headers=shop.cookie("ours"))
            assert answer.status_code == 404, pattern
            assert "Alheia" not in answer.text
            pages.append(answer.text.replace(pattern.format(company_id), "HERE"))
        assert pages[0] == pages[1]
        assert (await client.get(pattern.format(987_654_321), headers=shop.cookie("operator"))).status_code == 404
    for company_id in (shop.theirs, 987_654_321, 0):
        stream = await client.get(f"/_/eventos?escopo=contas&empresa={company_id}", headers=shop.cookie("ours"))
        assert stream.status_code == 404


async def test_a_company_without_accounts_learns_how_to_add_one(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    company = await application.companies.create(PROCESS, "Sem conta", now=application.clock())
    page = await client.get(f"/empresas/{company.company_id}/contas", headers=shop.cookie("operator"))
    assert f"secretaria account create --company {company.company_id} --phone-number-id" in page.text
    assert f"{application.settings.public_url}/webhooks/whatsapp<" in page.text
    assert f'href="/configuracoes?empresa={company.company_id}"' in page.text
    assert "Contas WhatsApp (0)" in page.text


@pytest.fixture
def fake() -> Iterator[FakeGraph]:
    with FakeGraph() as running:
        yield running


@pytest.fixture
async def panel(application: Application, fake: FakeGraph) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose server asks the fake Graph API; no answer may hold a whole secret."""

    async def check(response: httpx2.Response) -> None:
        await response.aread()
        for secret in SECRETS.values():
            assert secret not in response.text
            assert secret[:-4] not in response.text
            assert secret not in repr(response.headers)

    meta = MetaService(application.database, application.integrations, MetaGraph(fake.url))
    transport = httpx2.ASGITransport(create_app(replace(application, meta=meta)))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL, event_hooks={"response": [check]}) as made:
        yield made
    await meta.close()


def form(shop: Shop, **more: str) -> dict[str, str]:
    return {"empresa": str(shop.ours), "waba_id": WABA_ID, "ad_account_id": AD_ACCOUNT_ID} | SECRETS | more


async def test_a_connection_is_saved_shown_masked_kept_by_empty_fields_and_tested(
    panel: httpx2.AsyncClient, shop: Shop, application: Application, fake: FakeGraph
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    path = f"/configuracoes?empresa={shop.ours}"
    before = await panel.get(path, headers=who)
    assert text_of(before, "meta-estado") == "◌\u00a0Sem conexão"
    assert "Testar conexão" not in before.text
    saved = await panel.post("/configuracoes/meta", data=form(shop), headers=who)
    assert (saved.status_code, saved.headers["location"]) == (303, f"{path}&salvo=1#meta")
    page = await panel.get(f"{path}&salvo=1", headers=who)
    assert page.text.count("Salvo: ••••tail") == 3
    assert "Conexão salva" in page.text
    assert f'value="{AD_ACCOUNT_ID}"' in page.text
    integration = (await application.integrations.get(PROCESS, shop.ours)).integration
    assert f"/webhooks/whatsapp/{integration.integration_id}<" in page.text
    await panel.post("/configuracoes/meta", data={"empresa": shop.ours, "business_id": "987"}, headers=who)
    kept = (await application.integrations.get(PROCESS, shop.ours)).integration
    assert (kept.waba_id, kept.business_id) == (WABA_ID, "987")
    assert {name: application.integrations.open(kept, name) for name in SECRETS} == SECRETS
    tested = await panel.post("/configuracoes/meta/testar", data={"empresa": shop.ours}, headers=who)
    assert tested.status_code == 200
    assert "Resultado do teste" in tested.text
    assert "✓\u00a0respondeu" in tested.text
    fake.world.faults["*"] = Fault.EXPIRED
    refused = await panel.post("/configuracoes/meta/testar", data={"empresa": shop.ours}, headers=who)
    assert "não aceita o token" in refused.text
    assert "código 190" in refused.text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("ad_account_id", "123", "A conta de anúncios é act_"), ("waba_id", "x1", "Os IDs da Meta têm só números."),
        ("access_token", "two words", "Cole o valor inteiro"), ("total_source", "moon", "Nada foi alterado."),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_nothing_is_saved_and_no_secret_comes_back(
    panel: httpx2.AsyncClient, shop: Shop, application: Application, field: str, value: str, sentence: str
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    answer = await panel.post("/configuracoes/meta", data=form(shop, **{field: value}), headers=who)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "two words" not in answer.text
    page = await panel.get(f"/configuracoes?empresa={shop.ours}", headers=who)
    assert "Sem conexão" in page.text


async def test_meta_s_figure_stands_beside_ours_and_is_kept_and_marked_when_the_token_dies(
    client: httpx2.AsyncClient, shop: Shop, application: Application, fake: FakeGraph
) -> None:
    now = application.clock()
    account = await application.accounts.create(PROCESS, shop.ours, PHONE_NUMBER_ID, "Vendas", now=now)
    change = {"access_token": SECRETS["access_token"], "waba_id": WABA_ID, "today_source": "meta"}
    await application.integrations.put(PROCESS, shop.ours, change, now)
    meta = MetaService(application.database, application.integrations, MetaGraph(fake.url))
    await meta.sync_due(now)
    key, path = f"c{account.account_id}", f"/empresas/{shop.ours}/contas"
    page = await client.get(path, headers=shop.cookie("operator"))
    for name in ("marketing", "total"):
        assert text_of(page, f"{key}-{name}-meta") == text_of(page, f"{key}-{name}-custo") != "—"
        assert text_of(page, f"{key}-{name}-diferenca") == text_of(page, f"{key}-{name}-meta")
        assert text_of(page, f"{key}-{name}-estimado") == "R$\u00a00,00"
    assert text_of(page, f"{key}-origem-meta") == "✓\u00a0Informado pela Meta"
    assert text_of(page, f"{key}-qualidade-alta") != ""
    assert text_of(page, f"{key}-atraso") == ""
    fake.world.faults["*"] = Fault.EXPIRED
    await meta.sync_due(now + SYNC_EVERY)
    await meta.close()
    later = await client.get(path, headers=shop.cookie("operator"))
    assert text_of(later, f"{key}-total-meta") == text_of(page, f"{key}-total-meta")
    assert text_of(later, f"{key}-atraso").startswith("◷\u00a0Dados da Meta de ")
    assert "precisa ser refeita" in text_of(later, f"{key}-reconectar")
    settings = await client.get(f"/configuracoes?empresa={shop.ours}", headers=shop.cookie("operator"))
    assert text_of(settings, "meta-estado") == "✕\u00a0Reconectar"
    assert "o token não vale mais (código 190 da Meta)" in settings.text


async def test_prices_and_the_exchange_rate_in_force_are_named(client: httpx2.AsyncClient, shop: Shop) -> None:
    for who in ("operator", "ours"):
        page = await client.get(f"/configuracoes?empresa={shop.ours}", headers=shop.cookie(who))
        assert "Tabela do produto" in page.text
        assert "US$ 1 = R$\u00a05,0000" in page.text
        assert "USD_TO_BRL" in page.text


async def test_a_card_chosen_for_an_account_is_listed_beside_the_product_s(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await application.accounts.create(
        PROCESS, shop.ours, "55", "Vendas", currency="BRL", rate_card="meta-brl", now=application.clock()
    )
    page = await client.get(f"/configuracoes?empresa={shop.ours}", headers=shop.cookie("operator"))
    assert "meta-brl" in page.text
    assert "Contas sem tabela própria" in page.text


async def test_a_member_sees_its_prices_and_no_connection_and_changes_nothing(
    panel: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await application.integrations.put(PROCESS, shop.ours, dict(SECRETS), application.clock())
    who = shop.cookie("ours") | SAME_ORIGIN
    start = await panel.get("/configuracoes", headers=who)
    assert (start.status_code, start.headers["location"]) == (303, f"/configuracoes?empresa={shop.ours}")
    page = await panel.get(start.headers["location"], headers=who)
    assert page.status_code == 200
    for hidden in ("Token de acesso", "••••", "/configuracoes/meta"):
        assert hidden not in page.text
    for path in ("/configuracoes/meta", "/configuracoes/meta/testar"):
        for company_id in (shop.ours, shop.theirs, 987_654_321):
            answer = await panel.post(path, data={"empresa": company_id, "business_id": "1"}, headers=who)
            assert answer.status_code == 403, (path, company_id)
    assert (await application.integrations.get(PROCESS, shop.ours)).integration.business_id is None
    operator = await panel.get("/configuracoes", headers=shop.cookie("operator"))
    assert re.search(r'href="/configuracoes" aria-current="page"[^>]*>.*Configurações', operator.text)


async def test_forms_of_other_sites_strangers_and_keys_change_nothing(
    panel: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for path in ("/configuracoes/meta", "/configuracoes/meta/testar"):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = await panel.post(path, data=form(shop), headers=shop.cookie("operator") | headers)
            assert answer.status_code == 403
        stranger = await panel.post(path, data=form(shop), headers=SAME_ORIGIN)
        key = await panel.post(path, data=form(shop), headers=shop.bearer("key_operator") | SAME_ORIGIN)
        assert (stranger.status_code, key.status_code) == (303, 303)
    async with transaction(application.database.operator) as connection:
        cursor = await connection.execute("SELECT count(*) FROM integrations")
        assert await cursor.fetchone() == (0,)


async def test_the_columns_of_the_card_add_up_to_their_totals(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await send(client, shop, application, {"UTILITY": 33, "MARKETING": 7, "AUTHENTICATION": 11, "SERVICE": 13})
    page = await client.get(f"/empresas/{shop.ours}/contas", headers=shop.cookie("ours"))
    key = f"c{shop.accounts['ours']}"

    def cents(name: str) -> Decimal:
        return Decimal(text_of(page, f"{key}-{name}-custo").removeprefix("R$\u00a0").replace(",", "."))

    parts = ("utility", "marketing", "authentication", "service")
    assert sum(cents(name) for name in parts) == cents("total")
