"""Plano e limites: numbers as people write them, a preview before anything is saved, and members who only read."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import InvalidInput
from secretaria.core.event import RECORDED, Direction, UsageData, UsageEvent
from secretaria.core.plan import Plan, PlanTerms
from secretaria.web.panel.typed import typed_amount, typed_day, typed_quantity, typed_thresholds
from tests.web.conftest import SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

PATH = "/configuracoes/plano"


@pytest.mark.parametrize(
    ("text", "locale", "number"),
    [
        ("20.000", "pt-BR", 20_000), ("20000", "pt-BR", 20_000), (" 1.250.000 ", "pt-BR", 1_250_000),
        ("20,000", "en", 20_000), ("20000", "en", 20_000),
        ("20,000", "pt-BR", None), ("20.000", "en", None), ("2.00", "pt-BR", None), ("02.000", "pt-BR", None),
        ("1.0000", "pt-BR", None), ("1e3", "en", None), ("-5", "en", None), ("٢٠", "en", None), ("9" * 17, "en", None),
    ],
)  # fmt: skip
def test_a_quantity_is_read_the_reader_s_way_or_refused(text: str, locale: str, number: int | None) -> None:
    if number is None:
        with pytest.raises(InvalidInput):
            typed_quantity(text, locale)
    else:
        assert typed_quantity(text, locale) == number


@pytest.mark.parametrize(
    ("text", "locale", "amount"),
    [
        ("1.500,00", "pt-BR", "1500.00"), ("R$ 1.500,00", "pt-BR", "1500.00"), ("1500", "pt-BR", "1500"),
        ("1.500", "pt-BR", "1500"), ("0,500", "pt-BR", "0.500"), ("1,5", "pt-BR", "1.5"),
        ("1,500.00", "en", "1500.00"), ("US$1,500.00", "en", "1500.00"), ("1500.5", "en", "1500.5"),
        ("1,500", "pt-BR", None), ("1.500", "en", None), ("1,500.00", "pt-BR", None), ("1.500,00", "en", None),
        ("12,500,000", "pt-BR", None), ("1500.00", "pt-BR", None), ("1,", "pt-BR", None), ("", "en", None),
        ("NaN", "en", None), ("1" * 13, "en", None),
    ],
)  # fmt: skip
def test_an_amount_is_read_the_reader_s_way_or_refused(text: str, locale: str, amount: str | None) -> None:
    if amount is None:
        with pytest.raises(InvalidInput):
            typed_amount(text, locale)
    else:
        assert typed_amount(text, locale) == Decimal(amount)


@pytest.mark.parametrize(
    ("text", "found"),
    [("80; 100", (80, 100)), ("80;100", (80, 100)), ("80% 100%", (80, 100)), ("80, 100", (80, 100)), ("90", (90,)),
     ("80,100", None), ("80,5; 100", None), ("", None), ("oitenta", None), ("80;;100", None)],
)  # fmt: skip
def test_thresholds_are_whole_percentages_parted_by_semicolons(text: str, found: tuple[int, ...] | None) -> None:
    if found is None:
        with pytest.raises(InvalidInput):
            typed_thresholds(text)
    else:
        assert typed_thresholds(text) == found


def test_a_day_is_read_as_a_date_field_sends_it_or_as_brazilians_write_it() -> None:
    assert typed_day("2026-11-20", "en") == typed_day("20/11/2026", "pt-BR") == date(2026, 11, 20)
    for text, locale in (("11/12/2026", "en"), ("31/02/2026", "pt-BR"), ("2026-02-31", "en"), ("amanhã", "pt-BR")):
        with pytest.raises(InvalidInput):
            typed_day(text, locale)


async def make(application: Application, name: str = "Pro", **terms: Any) -> Plan:
    return await application.plans.create(PROCESS, name, PlanTerms(**terms), now=application.clock())


async def use(application: Application, company_id: int, messages: int) -> None:
    data = UsageData(direction=Direction.OUTBOUND, messages=messages)
    event = UsageEvent("1.0", f"u-{messages}", "teste", RECORDED, data, subject=str(company_id))
    assert (await application.ingest.submit(PROCESS, [(0, event)], now=application.clock())).accepted == 1


async def plan_of(application: Application, company_id: int) -> str | None:
    current = (await application.plans.history(PROCESS, company_id, application.clock())).current
    return current.name if current else None


def hidden_in(page: httpx2.Response) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text.partition("<main")[2]))


async def test_choosing_a_plan_tells_the_alerts_it_sets_off_before_it_is_saved(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    plan = await make(application, messages=100)
    await use(application, shop.ours, 130)
    sent = {"empresa": str(shop.ours), "plano": str(plan.plan_id), "desde": ""}
    review = await client.post(f"{PATH}/escolher", data=sent, headers=who)
    assert "Com o uso de hoje, estes limites geram agora: 1 crítico, 1 aviso." in review.text
    assert await plan_of(application, shop.ours) is None
    assert await application.alerts.page(PROCESS, shop.ours) == []
    saved = await client.post(f"{PATH}/escolher", data=hidden_in(review), headers=who)
    assert (saved.status_code, saved.headers["location"]) == (303, f"{PATH}?empresa={shop.ours}&feito=escolhido")
    assert await plan_of(application, shop.ours) == "Pro"
    page = await client.get(saved.headers["location"], headers=who)
    for text in ("Plano salvo.", "Plano em vigor: Pro", "✕ Crítico", "130,0%", "Histórico"):
        assert text in page.text, text
    fired = await application.alerts.page(PROCESS, shop.ours)
    assert sorted(alert.level for alert in fired) == ["critical", "warning"]
    raised = await make(application, "Maior", messages=1_000)
    larger = await client.post(f"{PATH}/escolher", data=sent | {"plano": str(raised.plan_id)}, headers=who)
    assert "não geram nenhum alerta novo. 2 alertas abertos são resolvidos." in larger.text
    later = await client.post(
        f"{PATH}/escolher", data=sent | {"plano": str(raised.plan_id), "desde": "2035-01-01"}, headers=who
    )
    assert "não gerariam nenhum alerta novo. 2 alertas abertos seriam resolvidos." in later.text
    none = await client.post(f"{PATH}/escolher", data=sent | {"plano": "nenhum", "conferi": "sim"}, headers=who)
    assert none.status_code == 303
    assert await plan_of(application, shop.ours) is None


async def test_a_plan_is_made_and_changed_in_the_reader_s_numbers(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    sent = {
        "empresa": "0", "name": "Básico", "currency": "BRL", "messages": "20.000", "tokens": "", "cost": "1.500,00",
        "thresholds": "80; 100", "hard": "bloquear",
    }  # fmt: skip
    review = await client.post(f"{PATH}/novo", data=sent, headers=who)
    for text in ("20.000", "sem limite", "R$\u00a01.500,00", "Bloquear campanhas no limite"):
        assert text in review.text, text
    made = await client.post(f"{PATH}/novo", data=hidden_in(review), headers=who)
    assert made.status_code == 303
    plan = await application.plans.get(PROCESS, "Básico", now=application.clock())
    assert plan.versions[0].terms == PlanTerms(20_000, None, Decimal("1500.00"), (80, 100), hard=True)
    english = {**who, "Cookie": f"{who['Cookie']}; panel_locale=en"}
    page = await client.get(f"{PATH}/{plan.plan_id}", headers=english)
    assert 'value="20,000"' in page.text
    assert 'value="1,500.00"' in page.text
    await application.plans.assign(PROCESS, shop.ours, plan.plan_id, now=application.clock())
    await use(application, shop.ours, 85)
    changed = {**sent, "messages": "100", "cost": "1,500.00", "desde": ""}
    review = await client.post(f"{PATH}/{plan.plan_id}", data=changed, headers=english)
    assert "1 company has this plan." in review.text
    assert "these limits raise now: 1 warning." in review.text
    assert "<del>20,000</del> › <ins>100</ins>" in review.text
    saved = await client.post(f"{PATH}/{plan.plan_id}", data=hidden_in(review), headers=english)
    assert saved.headers["location"] == f"{PATH}/{plan.plan_id}?feito=salvo"
    plan = await application.plans.get(PROCESS, plan.plan_id, now=application.clock())
    assert [version.terms.messages for version in plan.versions] == [20_000, 100]
    same = await client.post(f"{PATH}/{plan.plan_id}", data=changed, headers=english)
    assert same.headers["location"].endswith("feito=igual")
    listed = await client.get(PATH, headers=who)
    row = listed.text.partition(f'href="{PATH}/{plan.plan_id}"')[2].partition("</tr>")[0]
    assert 'data-label="Empresas">1<' in row


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("messages", "20,000", "Não está claro que número é este. Escreva como 20.000."),
        ("tokens", "muitos", "Escreva um número inteiro, como 20.000."),
        ("messages", "0", "Informe um limite maior que zero."),
        ("cost", "1,500", "Não está claro que valor é este. Escreva como 1.500,00."),
        ("thresholds", "80,100", "Informe de 1 a 10 porcentagens"),
        ("thresholds", "80; 80", "Informe de 1 a 10 porcentagens"),
        ("name", "42", "O nome tem 1 a 100 caracteres"),
        ("name", "Pro", "Já existe um plano com este nome."),
        ("currency", "EUR", "A moeda é BRL ou USD."),
    ],
)
async def test_what_cannot_be_read_is_said_under_its_field(
    client: httpx2.AsyncClient, shop: Shop, application: Application, field: str, value: str, sentence: str
) -> None:
    await make(application, messages=5)
    for company_id in (0, shop.ours):
        sent = {"empresa": str(company_id), "name": "Novo", "messages": "10", "thresholds": "80; 100"} | {field: value}
        answer = await client.post(f"{PATH}/novo", data=sent, headers=shop.cookie("operator") | SAME_ORIGIN)
        assert answer.status_code == 422
        assert f'<a href="#{field}">{sentence}' in answer.text
        assert f'id="{field}"' in answer.text
        if field != "currency":
            assert f'id="{field}-error">{sentence}' in answer.text
            assert f'value="{value}"' in answer.text
    assert len(await application.plans.list(PROCESS, now=application.clock())) == 1


async def test_days_that_began_keep_their_plan_and_currencies_must_agree(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    dollars = await application.plans.create(
        PROCESS, "Dólar", PlanTerms(cost=Decimal(10)), currency="USD", now=application.clock()
    )
    sent = {"empresa": str(shop.ours), "plano": str(dollars.plan_id), "desde": ""}
    for change, field, sentence in (
        ({}, "plano", "O limite de custo do plano é em outra moeda"),
        ({"plano": "999"}, "plano", "Escolha o plano."),
        ({"desde": "2020-01-01"}, "desde", "Os dias que já começaram não mudam"),
        ({"desde": "31/02/2030"}, "desde", "Informe uma data"),
    ):
        answer = await client.post(f"{PATH}/escolher", data=sent | change, headers=who)
        assert (answer.status_code, f'id="{field}-error">{sentence}' in answer.text) == (422, True), change
    assert await plan_of(application, shop.ours) is None


async def test_members_read_their_own_plan_and_change_none(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    plan = await make(application, messages=100)
    secret = await make(application, "Segredo", messages=7)
    await application.plans.assign(PROCESS, shop.ours, plan.plan_id, now=application.clock())
    member, now = shop.cookie("ours"), application.clock()
    page = await client.get(f"{PATH}?empresa={shop.ours}", headers=member)
    assert page.status_code == 200
    assert "Plano em vigor: Pro" in page.text
    assert "Segredo" not in page.text
    assert "<form" not in page.text.partition("<main")[2].partition("</main>")[0]
    assert (await client.get(PATH, headers=member)).headers["location"] == f"{PATH}?empresa={shop.ours}"
    assert (await client.get(f"{PATH}?empresa={shop.theirs}", headers=member)).status_code == 404
    assert (await client.get(f"{PATH}/{secret.plan_id}", headers=member)).status_code == 403
    forms: dict[str, dict[str, str]] = {
        f"{PATH}/escolher": {"empresa": str(shop.ours), "plano": "nenhum"},
        f"{PATH}/novo": {"empresa": str(shop.ours), "name": "Meu", "messages": "1", "thresholds": "80"},
        f"{PATH}/{plan.plan_id}": {"messages": "1000", "thresholds": "80"},
    }
    for path, sent in forms.items():
        for more in ({}, {"conferi": "sim"}):
            answer = await client.post(path, data=sent | more, headers=member | SAME_ORIGIN)
            assert answer.status_code == 403, path
    for path, sent in forms.items():
        confirmed = sent | {"conferi": "sim"}
        foreign = await client.post(path, data=confirmed | {"empresa": str(shop.theirs)}, headers=member | SAME_ORIGIN)
        assert foreign.status_code in {403, 404}, path
        for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://example.com"}, {}):
            answer = await client.post(path, data=confirmed, headers=shop.cookie("operator") | origin)
            assert answer.status_code == 403, path
        stranger = await client.post(path, data=confirmed, headers=SAME_ORIGIN)
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/entrar"), path
    assert await plan_of(application, shop.ours) == "Pro"
    assert await plan_of(application, shop.theirs) is None
    assert len(await application.plans.list(PROCESS, now=now)) == 2
