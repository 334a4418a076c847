"""Alerts in the panel: who sees which, what the address filters, who acknowledges, what the bars say of a plan."""

import asyncio
import html
import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

import httpx2
import pytest
from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.core.access import OPERATOR_COMPANY_ID, PROCESS
from secretaria.core.forecast import ForecastOutcome
from secretaria.core.limit import LimitState
from secretaria.core.plan import LimitMetric, PlanTerms
from secretaria.services import alert_pages
from secretaria.services.alert_pages import AlertNews
from secretaria.services.figures import LimitForecast, LimitUsage
from secretaria.web.panel import plan_view
from secretaria.web.panel.alert_watch import READ_EVERY_S, AlertWatch, PageAlerts
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from tests.plan_shop import use
from tests.web.conftest import PASSWORD, SAME_ORIGIN, Shop
from tests.web.test_panel_events import one_company, reading

pytestmark = pytest.mark.anyio


async def get(
    client: httpx2.AsyncClient, shop: Shop, path: str, who: str = "operator", locale: str = "pt-BR"
) -> httpx2.Response:
    cookie = {"Cookie": f"{shop.cookie(who)['Cookie']}; panel_locale={locale}"}
    return await client.get(path, headers=cookie | {"Accept": "text/html"})


async def limited(application: Application, company_id: int, **terms: object) -> None:
    now = application.clock()
    name = f"Plano {company_id}"
    await application.plans.create(PROCESS, name, PlanTerms(**terms), currency="BRL", now=now)  # type: ignore[arg-type]
    await application.plans.assign(PROCESS, company_id, name, now=now)


@pytest.fixture
async def crossed(application: Application, shop: Shop) -> Shop:
    """Ours has passed 80 and 100 % of its messages, theirs 80 %."""
    for company_id, messages in ((shop.ours, 130), (shop.theirs, 85)):
        await limited(application, company_id, messages=100)
        await use(application, company_id, "a-1", messages, application.clock())
    return shop


def rows(page: str) -> list[str]:
    """Return what stands in each row of a list, tags left out."""
    found = re.findall(r'<tr role="row" id="alerta-\d+">(.*?)</tr>', page, re.DOTALL)
    return [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", row))).strip() for row in found]


def text_of(page: str, element_id: str) -> str:
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', page)
    assert found is not None, element_id
    return html.unescape(found[1]).replace("\u00a0", " ")


async def alert_ids(application: Application, company_id: int) -> list[int]:
    return [alert.alert_id for alert in await application.alerts.page(PROCESS, company_id)]


# --- who sees what ---------------------------------------------------------------------------------------------------


async def test_operators_see_the_alerts_of_all_companies_and_members_their_own(
    client: httpx2.AsyncClient, crossed: Shop
) -> None:
    shop = crossed
    everything = await get(client, shop, "/alertas")
    assert [row.split(" ", 1)[0] for row in rows(everything.text)] == ["▲", "✕", "▲"]
    assert "Alheia" in everything.text
    own = await get(client, shop, f"/empresas/{shop.ours}/alertas", "ours")
    assert len(rows(own.text)) == 2
    assert "Mensagens: 100% do limite (100)" in rows(own.text)[0]
    assert "Mensagens: 80% do limite (80)" in rows(own.text)[1]
    assert "Alheia" not in own.text
    answer = await get(client, shop, "/alertas?nivel=critico", "ours")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/empresas/{shop.ours}/alertas?nivel=critico")
    assert (await get(client, shop, f"/empresas/{shop.ours}/alertas", "theirs")).status_code == 404
    assert (await get(client, shop, "/empresas/987654321/alertas")).status_code == 404
    assert (await client.get("/alertas")).status_code == 303


async def test_the_top_bar_and_the_tab_count_what_is_open(client: httpx2.AsyncClient, crossed: Shop) -> None:
    for path in ("/empresas", f"/empresas/{crossed.ours}", "/configuracoes"):
        page = (await get(client, crossed, path)).text
        assert text_of(page, "alertas-todas") == "(3)", path
    page = (await get(client, crossed, f"/empresas/{crossed.ours}", "ours")).text
    assert text_of(page, "alertas-empresa") == "(2)"
    assert "alertas-todas" not in page


@pytest.mark.parametrize(
    ("query", "levels"),
    [
        ("", ["▲", "✕", "▲"]), ("?nivel=critico", ["✕"]), ("?nivel=aviso", ["▲", "▲"]), ("?nivel=nada", ["▲", "✕", "▲"]),
        ("?empresa={ours}", ["✕", "▲"]), ("?empresa={ours}&nivel=aviso", ["▲"]), ("?empresa={theirs}", ["▲"]),
    ],
)  # fmt: skip
async def test_level_and_company_are_filtered_by_the_address(
    client: httpx2.AsyncClient, crossed: Shop, query: str, levels: list[str]
) -> None:
    answer = await get(client, crossed, "/alertas" + query.format(ours=crossed.ours, theirs=crossed.theirs))
    assert [row.split(" ", 1)[0] for row in rows(answer.text)] == levels


@pytest.mark.parametrize("query", ["?empresa=987654321", "?empresa=-1", "?antes=x", "?nivel=" + "a" * 30])
async def test_an_address_that_cannot_exist_is_not_found(client: httpx2.AsyncClient, crossed: Shop, query: str) -> None:
    assert (await get(client, crossed, "/alertas" + query)).status_code == 404


async def test_pages_follow_each_other_by_key(
    client: httpx2.AsyncClient, crossed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_pages, "PAGE_ALERTS", 1)
    seen, path = [], "/alertas?estado=todos"
    for _ in range(3):
        page = (await get(client, crossed, path)).text
        seen += rows(page)
        found = re.search(r'href="([^"]+)" rel="next"', page)
        path = html.unescape(found[1]) if found else ""
    assert path == ""
    assert len(set(seen)) == 3


async def test_both_languages_say_the_same(client: httpx2.AsyncClient, crossed: Shop) -> None:
    page = (await get(client, crossed, f"/empresas/{crossed.ours}/alertas?estado=todos", "ours", "en")).text
    assert rows(page)[0].startswith("✕ Critical ")
    assert "Messages: 100% of the limit (100)" in rows(page)[0]
    assert "Acknowledge" in rows(page)[0]
    for word in ("Crítico", "Aviso", "Reconhecer", "Entregas", "Abertos"):
        assert word not in page, word


async def test_an_empty_list_says_why(client: httpx2.AsyncClient, shop: Shop) -> None:
    assert "Nenhum alerta aberto." in (await get(client, shop, "/alertas")).text
    assert "Nenhum alerta com estes filtros." in (await get(client, shop, "/alertas?nivel=aviso")).text
    assert "Nenhum alerta ainda" in (await get(client, shop, f"/empresas/{shop.ours}/alertas?estado=todos", "ours")).text


# --- acknowledging ---------------------------------------------------------------------------------------------------


async def acknowledge(
    client: httpx2.AsyncClient, shop: Shop, company_id: int, alert_id: int, who: str, back: str = ""
) -> httpx2.Response:
    path = f"/empresas/{company_id}/alertas/{alert_id}/reconhecer"
    return await client.post(path, data={"voltar": back}, headers=shop.cookie(who) | SAME_ORIGIN)


async def test_acknowledging_names_who_and_when_once_and_goes_back(
    client: httpx2.AsyncClient, application: Application, crossed: Shop
) -> None:
    shop = crossed
    critical = (await alert_ids(application, shop.ours))[0]
    here = f"/empresas/{shop.ours}/alertas"
    for who in ("ours", "operator", "ours"):
        answer = await acknowledge(client, shop, shop.ours, critical, who, here)
        assert (answer.status_code, answer.headers["location"]) == (303, here)
    assert len(rows((await get(client, shop, here)).text)) == 1
    listed = rows((await get(client, shop, here + "?estado=todos")).text)
    assert "Reconhecido por ours@example.com em " in listed[0]
    assert not listed[0].endswith("Reconhecer")
    assert text_of((await get(client, shop, here)).text, "alertas-empresa") == "(1)"


async def test_a_member_learns_no_name_of_the_operator_s_people(
    client: httpx2.AsyncClient, application: Application, crossed: Shop
) -> None:
    shop = crossed
    first, second = await alert_ids(application, shop.ours)
    await acknowledge(client, shop, shop.ours, first, "operator")
    await application.alerts.acknowledge(PROCESS, shop.ours, second, application.clock())
    path = f"/empresas/{shop.ours}/alertas?estado=todos"
    theirs = rows((await get(client, shop, path, "ours")).text)
    assert "Reconhecido por Equipe da operadora em " in theirs[0]
    assert "Reconhecido por Sistema em " in theirs[1]
    assert "operator@example.com" in rows((await get(client, shop, path)).text)[0]


async def test_strangers_and_other_sites_acknowledge_nothing(
    client: httpx2.AsyncClient, application: Application, crossed: Shop
) -> None:
    shop = crossed
    critical = (await alert_ids(application, shop.ours))[0]
    path = f"/empresas/{shop.ours}/alertas/{critical}/reconhecer"
    assert (await acknowledge(client, shop, shop.ours, critical, "theirs")).status_code == 404
    assert (await acknowledge(client, shop, shop.theirs, critical, "theirs")).status_code == 404
    assert (await acknowledge(client, shop, shop.ours, 987_654_321, "ours")).status_code == 404
    assert (await client.post(path, headers=SAME_ORIGIN)).status_code == 303
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert (await client.post(path, data={}, headers=shop.cookie("ours") | headers)).status_code == 403
    assert text_of((await get(client, shop, f"/empresas/{shop.ours}")).text, "alertas-empresa") == "(2)"


async def test_a_critical_alert_is_a_banner_on_each_page_of_its_company_until_it_is_acknowledged(
    client: httpx2.AsyncClient, application: Application, crossed: Shop
) -> None:
    shop = crossed
    pages = [f"/empresas/{shop.ours}{tab}" for tab in ("", "/analytics", "/contas", "/alertas", "/arquivo")]
    for path in pages:
        assert "Alerta crítico" in (await get(client, shop, path, "ours")).text, path
    assert "Alerta crítico" not in (await get(client, shop, f"/empresas/{shop.theirs}", "theirs")).text
    assert "Alerta crítico" not in (await get(client, shop, "/empresas")).text
    await acknowledge(client, shop, shop.ours, (await alert_ids(application, shop.ours))[0], "ours")
    for path in pages:
        assert "Alerta crítico" not in (await get(client, shop, path, "ours")).text, path


async def test_rows_say_what_became_of_the_deliveries_the_reader_may_see(
    client: httpx2.AsyncClient, application: Application, shop: Shop
) -> None:
    company = await application.companies.create(PROCESS, "Ótica Lume", now=application.clock())
    member = await application.access.create_user(
        PROCESS, "bia@example.com", role="member", company_id=company.company_id, password=PASSWORD
    )
    shop.tokens["bia"] = (await application.access.panel_token(PROCESS, member.email)).token
    for home, wants in ((company.company_id, ["usage.limit.warning"]), (OPERATOR_COMPANY_ID, None)):
        await application.delivery_endpoints.create(
            PROCESS, home, "mail", f"alertas{home}@example.com", events=wants, now=application.clock()
        )
    await limited(application, company.company_id, messages=100)
    await use(application, company.company_id, "a-1", 130, application.clock())
    said = {
        who: rows((await get(client, shop, f"/empresas/{company.company_id}/alertas", who)).text.replace("&#160;", " "))
        for who in ("bia", "operator")
    }
    assert ["sem destino" in row for row in said["bia"]] == [True, False]
    assert "◷ 1 na fila" in said["bia"][1].replace("\u00a0", " ")
    assert "◷ 2 na fila" in said["operator"][1].replace("\u00a0", " ")


# --- the plan's bars -------------------------------------------------------------------------------------------------


async def test_bars_stand_on_both_pages_with_words_for_their_state(client: httpx2.AsyncClient, crossed: Shop) -> None:
    for path in ("", "/analytics"):
        page = (await get(client, crossed, f"/empresas/{crossed.ours}{path}", "ours")).text
        assert text_of(page, "plano-mensagens-parte") == "130,0%"
        assert text_of(page, "plano-mensagens-estado") == "✕ Crítico"
        assert text_of(page, "plano-mensagens-usado") == "130 de 100"
        assert text_of(page, "plano-mensagens-teto") == "»"
        assert text_of(page, "plano-mensagens-previsao").startswith("Passou de 100% em ")
        assert 'id="plano-mensagens-barra" y="2" height="12" rx="2" width="100.00%" data-kind="critical"' in page
        assert "Sem limite definido: Tokens, Custo." in re.sub(r"<[^>]+>", "", page)
        assert "Definir limite" not in page
        assert [float(x) for x in re.findall(r'class="plan-mark" x1="([\d.]+)%"', page)] == [66.67, 83.33]
    warned = (await get(client, crossed, f"/empresas/{crossed.theirs}")).text
    assert text_of(warned, "plano-mensagens-estado") == "▲ Aviso"
    assert text_of(warned, "plano-mensagens-teto") == ""
    assert text_of(warned, "plano-mensagens-previsao") == "Sem previsão: menos de 3 dias de dados"
    assert f'href="/configuracoes/plano?empresa={crossed.theirs}"' in warned


async def test_without_a_plan_only_those_who_can_give_one_are_told(client: httpx2.AsyncClient, shop: Shop) -> None:
    assert "Definir plano" in (await get(client, shop, f"/empresas/{shop.ours}")).text
    assert "Definir plano" not in (await get(client, shop, f"/empresas/{shop.ours}", "ours")).text


def limit_of(percent: str, **forecast: object) -> LimitUsage:
    said = {"outcome": ForecastOutcome.UNKNOWN, "reason": None, "earliest": None, "likely": None, "latest": None,
            "percent_at_end": None} | forecast  # fmt: skip
    return LimitUsage(
        metric=LimitMetric.MESSAGES, limit=100, used=int(Decimal(percent)), percent=percent, state=LimitState.NORMAL,
        lower_bound=False, forecast=LimitForecast(**said),  # type: ignore[arg-type]
    )  # fmt: skip


DAY = date(2026, 11, 23)
ONE_DAY = timedelta(days=1)
EXPECTED, NOT_EXPECTED = ForecastOutcome.EXPECTED, ForecastOutcome.NOT_EXPECTED


@pytest.mark.parametrize(
    ("forecast", "portuguese", "english"),
    [
        (
            {"outcome": EXPECTED, "earliest": DAY - ONE_DAY, "likely": DAY, "latest": DAY + 2 * ONE_DAY},
            "No ritmo atual, chega a 100% em 23/11 (22–25/11)", "At this pace, reaches 100% on 23 Nov (22–25 Nov)",
        ),
        (
            {"outcome": EXPECTED, "earliest": DAY, "likely": DAY, "latest": DAY},
            "No ritmo atual, chega a 100% em 23/11", "At this pace, reaches 100% on 23 Nov",
        ),
        (
            {"outcome": EXPECTED, "earliest": DAY - ONE_DAY, "likely": DAY},
            "No ritmo atual, chega a 100% em 23/11 (entre 22/11 e depois do ciclo)",
            "At this pace, reaches 100% on 23 Nov (between 22 Nov and after the cycle)",
        ),
        (
            {"outcome": NOT_EXPECTED, "percent_at_end": "74.05"},
            "Não deve chegar ao limite neste ciclo (previsão 74,0%)",
            "Not expected to reach the limit this cycle (forecast 74.0%)",
        ),
        (
            {"outcome": NOT_EXPECTED, "percent_at_end": "99.99", "earliest": DAY},
            "Não deve chegar ao limite neste ciclo (previsão 99,9%; no mais cedo, 23/11)",
            "Not expected to reach the limit this cycle (forecast 99.9%; at the earliest, 23 Nov)",
        ),
        ({}, "Sem previsão: menos de 3 dias de dados", "No forecast: less than 3 days of data"),
        ({"outcome": ForecastOutcome.REACHED}, "Passou de 100% do limite", "Passed 100% of the limit"),
    ],
)  # fmt: skip
def test_a_forecast_is_a_date_with_its_range_or_the_reason_why_there_is_none(
    forecast: dict[str, object], portuguese: str, english: str
) -> None:
    for locale, expected in (("pt-BR", portuguese), ("en", english)):
        assert plan_view.forecast_sentence(limit_of("50", **forecast), (), Format(locale), texts(locale)) == expected


def test_thresholds_too_near_to_another_go_without_a_label() -> None:
    found = plan_view.marks([50, 90, 95, 100, 150])
    assert [(mark.x, mark.label) for mark in found] == [
        ("41.67%", "50%"), ("75.00%", ""), ("79.17%", ""), ("83.33%", "100%"),
    ]  # fmt: skip


# --- live ------------------------------------------------------------------------------------------------------------


async def test_a_crossing_is_written_to_the_open_page_at_once_with_the_new_count(
    app: FastAPI, application: Application, shop: Shop
) -> None:
    await limited(application, shop.ours, messages=100)
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        await reader.next_values()
        await use(application, shop.ours, "a-1", 85, application.clock())
        while (event := await reader.next())[0] != "alerta":
            pass
        (toast,) = event[1]["alerts"]
        assert toast["text"] == "Mensagens: 80% do limite (80)"
        assert (toast["level"], toast["critical"], toast["title"]) == ("▲ Aviso", False, "")
        assert toast["href"] == f"/empresas/{shop.ours}/alertas"
        assert event[1]["texts"]["alertas-empresa"] == "(1)"
        assert "alertas-todas" not in event[1]["texts"]


async def next_alerts(app: FastAPI, query: str, headers: dict[str, str]) -> list[str]:
    async with reading(app, query, headers) as reader:
        while (event := await reader.next())[0] != "alerta":
            pass
        return [toast["text"] for toast in event[1]["alerts"]]


async def test_what_came_while_a_page_was_away_is_shown_when_it_is_back_and_nothing_twice(
    app: FastAPI, application: Application, crossed: Shop
) -> None:
    critical, warning = await alert_ids(application, crossed.ours)
    query, cookie = one_company(crossed.ours), crossed.cookie("ours")
    assert await next_alerts(app, f"{query}&alerta={warning - 1}", cookie) == [
        "Mensagens: 80% do limite (80)", "Mensagens: 100% do limite (100)",
    ]  # fmt: skip
    assert len(await next_alerts(app, f"{query}&alerta={warning}", cookie)) == 1
    assert await next_alerts(app, f"{query}&alerta={critical}", cookie) == []
    assert await next_alerts(app, query, cookie) == []


async def test_a_stream_is_never_told_of_another_company_s_alerts(
    app: FastAPI, application: Application, crossed: Shop
) -> None:
    mine = set(await next_alerts(app, f"{one_company(crossed.theirs)}&alerta=0", crossed.cookie("theirs")))
    assert mine == {"Mensagens: 80% do limite (80)"}
    async with reading(app, "escopo=empresas&q=alheia&alerta=0", crossed.cookie("operator")) as reader:
        while (event := await reader.next())[0] != "alerta":
            pass
        assert [toast["title"] for toast in event[1]["alerts"]] == ["Alheia"]
        assert event[1]["texts"]["alertas-todas"] == "(3)"


async def test_many_pages_share_one_reading_and_each_takes_only_what_is_its_own(
    application: Application, crossed: Shop
) -> None:
    readings = 0

    async def read(seen: Mapping[int, int]) -> AlertNews:
        nonlocal readings
        readings += 1
        return await application.alert_pages.news(seen)

    watch = AlertWatch(read)
    pages = [
        PageAlerts(watch, [company_id], "pt-BR", seen=0, is_list=False, all_open=False)
        for company_id in (crossed.ours, crossed.theirs) * 10
    ]
    found = await asyncio.gather(*(page.news() for page in pages))
    assert readings == 1
    for number, (counts, toasts) in enumerate(found):
        company_id, own = ((crossed.ours, 2), (crossed.theirs, 1))[number % 2]
        assert {toast["href"] for toast in toasts} == {f"/empresas/{company_id}/alertas"}
        assert (len(toasts), counts.texts) == (own, {"alertas-empresa": f"({own})"})


async def test_whoever_asks_while_a_reading_is_under_way_gets_a_later_one(application: Application, shop: Shop) -> None:
    await limited(application, shop.ours, messages=100)
    begun_s, under_way, go_on = [], asyncio.Event(), asyncio.Event()

    async def read(seen: Mapping[int, int]) -> AlertNews:
        begun_s.append(asyncio.get_running_loop().time())
        found = await application.alert_pages.news(seen)
        under_way.set()
        await go_on.wait()
        return found

    watch = AlertWatch(read)
    early = asyncio.create_task(watch.after({shop.ours: 0}))
    await under_way.wait()
    await use(application, shop.ours, "a-1", 85, application.clock())
    late = asyncio.create_task(watch.after({shop.ours: 0}))
    await asyncio.sleep(0)
    go_on.set()
    assert [len((await asked).alerts) for asked in (early, late)] == [0, 1]
    assert begun_s[1] - begun_s[0] >= READ_EVERY_S - 0.01
