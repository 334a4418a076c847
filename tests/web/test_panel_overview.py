"""The operator's list of companies and a company's first steps, without a browser."""

import re
from datetime import timedelta

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS, Scope
from secretaria.core.event import RECORDED, Direction, UsageData, UsageEvent
from secretaria.core.plan import PlanTerms
from secretaria.web.panel.overview_query import ListQuery
from tests.web.conftest import SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio


async def send(application: Application, company_id: int, name: str, messages: int, category: str | None = None) -> None:
    data = UsageData(direction=Direction.OUTBOUND, messages=messages, category=category)
    sent = UsageEvent("1.0", name, "bot", RECORDED, data, subject=str(company_id))
    assert (await application.ingest.submit(PROCESS, [(0, sent)], now=application.clock())).accepted == 1


async def give_plan(application: Application, company_id: int, messages: int, name: str = "Pro") -> int:
    now = application.clock()
    made = await application.plans.create(PROCESS, name, PlanTerms(messages=messages), currency="BRL", now=now)
    await application.plans.assign(PROCESS, company_id, made.plan_id, now=now)
    return made.plan_id


def text_of(html: str, element_id: str) -> str:
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', html)
    assert found is not None, element_id
    return found[1]


def names(html: str) -> list[str]:
    return re.findall(r'role="rowheader"><a href="/empresas/\d+">([^<]*)</a>', html)


async def listed(client: httpx2.AsyncClient, shop: Shop, query: str = "") -> str:
    answer = await client.get(f"/empresas{query}", headers=shop.cookie("operator") | {"Accept-Language": "pt-BR"})
    assert answer.status_code == 200
    return answer.text


async def test_the_list_shows_what_is_used_of_the_plan_the_cost_and_open_alerts(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await give_plan(application, shop.ours, 20)
    await send(application, shop.ours, "1", 17)
    html = await listed(client, shop)
    key = f"e{shop.ours}"
    said = {name: text_of(html, f"{key}-{name}") for name in ("plano", "uso", "estado", "enviadas", "custo", "alertas")}
    assert said == {
        "plano": "Pro", "uso": "85,0%", "estado": "▲ Aviso", "enviadas": "17", "custo": "R$\u00a00,85", "alertas": "1",
    }  # fmt: skip
    assert 'width="70.83%" data-kind="warning"' in html
    assert text_of(html, f"{key}-ultimo").startswith("hoje, ")
    assert (text_of(html, f"e{shop.theirs}-enviadas"), text_of(html, f"e{shop.theirs}-custo")) == ("—", "—")
    assert text_of(html, f"e{shop.theirs}-ultimo") == "◌\u00a0nunca"
    assert names(html) == ["Nossa", "Alheia"]


async def test_what_has_no_price_is_a_bound_with_its_chip_and_never_a_zero(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await send(application, shop.ours, "1", 3, category="ADS")
    await send(application, shop.theirs, "2", 3, category="ADS")
    await send(application, shop.theirs, "3", 2)
    html = await listed(client, shop)
    assert text_of(html, f"e{shop.ours}-custo") == "—"
    assert text_of(html, f"e{shop.theirs}-custo") == "≥\u00a0R$\u00a00,10"
    for company_id in (shop.ours, shop.theirs):
        assert text_of(html, f"e{company_id}-sem-preco") == "?\u00a03 sem preço"
    assert text_of(html, "n-not_priced") == "2"


async def test_chips_filter_by_what_they_count_and_a_second_click_takes_the_filter_away(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await give_plan(application, shop.ours, 10)
    await send(application, shop.ours, "1", 10)
    html = await listed(client, shop)
    assert [text_of(html, f"n-{name}") for name in ("critical", "warning", "no_data", "not_priced")] == list("1010")
    critical = await listed(client, shop, "?situacao=critico")
    assert names(critical) == ["Nossa"]
    assert text_of(critical, "n-no_data") == "1"
    assert re.search(r'class="chip crit" href="/empresas" aria-current="true"', critical)
    assert names(await listed(client, shop, "?situacao=sem-dados")) == ["Alheia"]
    none = await listed(client, shop, "?situacao=aviso")
    assert "Nenhuma empresa nesta situação." in none
    assert "Limpar filtros" in none


async def test_headings_sort_both_ways_and_say_which_way_is_in_force(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await send(application, shop.theirs, "1", 5)
    for query, expected, sort in (
        ("?ordem=nome", ["Alheia", "Nossa"], "ascending"),
        ("?ordem=nome-desc", ["Nossa", "Alheia"], "descending"),
        ("?ordem=mensagens", ["Alheia", "Nossa"], "descending"),
        ("?ordem=custo-asc", ["Nossa", "Alheia"], "ascending"),
        ("?ordem=custo", ["Alheia", "Nossa"], "descending"),
        ("?ordem=bogus", ["Nossa", "Alheia"], None),
    ):
        html = await listed(client, shop, query)
        assert names(html) == expected, query
        assert re.findall(r'aria-sort="(\w+)"', html) == ([sort] if sort else []), query
    assert 'href="/empresas?ordem=nome-desc"' in await listed(client, shop, "?ordem=nome")


async def test_pages_go_on_where_the_last_one_ended_and_say_where_they_are(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for number in range(60):
        await application.companies.create(PROCESS, f"Loja {number % 7}", now=application.clock())
    for order in ("", "nome-desc", "mensagens-asc"):
        first = await listed(client, shop, f"?ordem={order}")
        assert "1–50 de 62" in first
        (after,) = re.findall(r'href="([^"]+)" rel="next"', first)
        rest = await listed(client, shop, after.replace("&amp;", "&").removeprefix("/empresas"))
        assert "51–62 de 62" in rest
        ids = re.findall(r'rowheader"><a href="/empresas/(\d+)"', first + rest)
        assert len(ids) == len(set(ids)) == 62, order
        scope = re.search(r'data-scope="([^"]+)"', rest)
        assert scope is not None
        assert "depois=" in scope[1]


@pytest.mark.parametrize(
    "query", ["apos=x", "apos=1~2", "apos=1~2~3~4", "apos=~~", "apos=1~NaN~3", "apos=1~1~99999999999999999999",
              "plano=x", "plano=99999999999999999999999", "situacao=x", "ordem=nome&apos=a%00~3", "plano=%C2%B2"],
)  # fmt: skip
async def test_an_address_nobody_could_have_been_given_shows_the_list_from_the_start(
    client: httpx2.AsyncClient, shop: Shop, query: str
) -> None:
    assert len(names(await listed(client, shop, f"?{query}"))) == 2


def test_what_an_address_asks_for_is_written_back_the_same() -> None:
    asked = {"q": "ótica", "situacao": "aviso", "plano": "7", "ordem": "nome-desc", "apos": "a~b~c~12"}
    query = ListQuery.of(asked)
    assert query.after == ("a~b~c", "12")
    assert query.parameters() == asked
    assert query.url(order="custo") == "/empresas?q=%C3%B3tica&situacao=aviso&plano=7&ordem=custo"


@pytest.mark.parametrize("ids", ["a", "1..2", "-1", "9" * 20, ".".join(["1"] * 51)])
async def test_a_stream_of_ids_that_are_none_is_refused(client: httpx2.AsyncClient, shop: Shop, ids: str) -> None:
    answer = await client.get(f"/_/eventos?escopo=empresas&ids={ids}", headers=shop.cookie("operator"))
    assert answer.status_code == 422


async def test_first_steps_tick_when_their_facts_are_there(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    now = application.clock()
    made = await application.companies.create(PROCESS, "Nova", now=now)
    company_id = made.company_id

    async def done() -> list[str]:
        page = f"/empresas/{company_id}/primeiros-passos"
        answer = await client.get(page, headers=shop.cookie("operator") | {"Accept-Language": "pt-BR"})
        found = re.findall(r'id="passo-(\w+)" data-kind="done"', answer.text)
        assert f"{len(found)} de 6 prontos" in answer.text
        return found

    assert await done() == ["precos"]
    await application.companies.update(PROCESS, company_id, {"legal_name": "Nova Ltda"}, now)
    await give_plan(application, company_id, 100)
    key = await application.access.create_api_key(PROCESS, company_id, [Scope.USAGE_WRITE])
    assert await done() == ["dados", "plano", "chave", "precos"]
    await application.access.revoke_api_key(PROCESS, key.key.key_id)
    await send(application, company_id, "1", 1)
    assert await done() == ["dados", "plano", "evento", "precos"]
    await send(application, company_id, "2", 1, category="ADS")
    await application.alerts.sweep(application.clock() + timedelta(minutes=2))
    assert await done() == ["dados", "plano", "evento"]


async def test_the_card_stays_on_an_operator_s_tabs_until_hidden_and_on_a_member_s_until_the_first_event(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    tabs = ["", "/analytics", "/contas", "/alertas", "/arquivo"]
    for who in ("operator", "ours"):
        for tab in tabs:
            answer = await client.get(f"/empresas/{shop.ours}{tab}", headers=shop.cookie(who))
            assert 'class="first-steps" open' in answer.text, (who, tab)
    await send(application, shop.ours, "1", 1)
    member = await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))
    assert "first-steps" not in member.text
    operator = await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("operator"))
    assert '<details class="first-steps">' in operator.text
    hide = f"/empresas/{shop.ours}/primeiros-passos/ocultar"
    back = {"voltar": f"/empresas/{shop.ours}/contas"}
    hidden = await client.post(hide, data=back, headers=shop.cookie("operator") | SAME_ORIGIN)
    assert (hidden.status_code, hidden.headers["location"]) == (303, back["voltar"])
    cookie = f"{shop.cookie('operator')['Cookie']}; panel_first_run_hidden={hidden.cookies['panel_first_run_hidden']}"
    assert "first-steps" not in (await client.get(f"/empresas/{shop.ours}", headers={"Cookie": cookie})).text
    assert "first-steps" in (await client.get(f"/empresas/{shop.theirs}", headers={"Cookie": cookie})).text


async def test_first_steps_are_of_one_s_own_company_and_hidden_from_our_own_pages_only(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    page = await client.get(f"/empresas/{shop.theirs}/primeiros-passos", headers=shop.cookie("ours"))
    assert page.status_code == 404
    hide = f"/empresas/{shop.theirs}/primeiros-passos/ocultar"
    assert (await client.post(hide, headers=shop.cookie("ours") | SAME_ORIGIN)).status_code == 404
    assert (await client.post(hide, headers=SAME_ORIGIN)).status_code in {303, 401}
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert (await client.post(hide, headers=shop.cookie("operator") | foreign)).status_code == 403
    evil = await client.post(
        f"/empresas/{shop.ours}/primeiros-passos/ocultar", data={"voltar": "https://evil.example"},
        headers=shop.cookie("operator") | SAME_ORIGIN,
    )  # fmt: skip
    assert evil.headers["location"] == "/"


async def test_a_member_s_steps_lead_only_where_it_may_act(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await client.get(f"/empresas/{shop.ours}/primeiros-passos", headers=shop.cookie("ours"))
    found = re.findall(r'class="button step-action" href="([^"?#]+)', answer.text)
    assert found == ["/configuracoes/chaves", f"/empresas/{shop.ours}/primeiros-passos", "/configuracoes/webhooks"]
