"""The page "Analytics e Consumo" and its explanations: what the address says is shown, and nothing else is let in."""

import base64
import hashlib
import html
import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.period import ZoneSchedule, local_day
from secretaria.embedded.servers import Endpoints
from secretaria.web.panel import render
from secretaria.web.panel.analytics_query import Metric, parse
from secretaria.web.panel.i18n import texts
from tests.shop import event
from tests.usage_rows import Use, write
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

STATIC = Path(render.__file__).parent / "static"
PAGE_BYTES_MAX = 400 * 1024
HOME = ZoneSchedule.single("America/Sao_Paulo")


async def get(client: httpx2.AsyncClient, shop: Shop, path: str, who: str = "operator") -> httpx2.Response:
    return await client.get(path, headers=shop.cookie(who) | {"Accept": "text/html"})


def text_of(page: str, element_id: str) -> str:
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', page)
    assert found is not None, element_id
    return html.unescape(found[1]).replace("\u00a0", " ")


def chart_of(page: str) -> dict[str, object]:
    found = re.search(r'<span id="grafico-dados" hidden>(.*?)</span>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(html.unescape(found[1])))


async def use_today(application: Application, endpoints: Endpoints, company_id: int, **values: object) -> None:
    today = local_day(HOME, application.clock())
    write(endpoints.admin_url, company_id, Use(today, hour=0, **values))  # type: ignore[arg-type]


async def test_owner_and_member_see_the_page_and_no_one_else(client: httpx2.AsyncClient, shop: Shop) -> None:
    for page in ("analytics", "explicar"):
        path = f"/empresas/{shop.ours}/{page}"
        assert (await get(client, shop, path)).status_code == 200
        assert (await get(client, shop, path, "ours")).status_code == 200
        assert (await get(client, shop, path, "theirs")).status_code == 404
        assert (await client.get(path)).status_code == 303
        assert (await get(client, shop, "/empresas/999999/" + page)).status_code == 404
        assert (await get(client, shop, "/empresas/0/" + page)).status_code == 404


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("step", ["hora", "dia", "semana"])
async def test_chart_and_table_say_the_same_for_every_measure_and_step(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints, metric: str, step: str
) -> None:
    await use_today(
        application, endpoints, shop.ours, messages=30, tokens_input=2_000, response_ms=42_000, response_count=1
    )
    page = (await get(client, shop, f"/empresas/{shop.ours}/analytics?periodo=7d&metrica={metric}&por={step}")).text
    chart = chart_of(page)
    strings = chart["texts"]
    assert isinstance(strings, list)
    assert [text_of(page, f"b{number}-valor") for number in range(len(strings))] == [
        text.replace("\u00a0", " ") for text in strings
    ]
    shown = {"custo": "R$ 1,54", "mensagens": "30", "tokens": "2.000", "resposta": "42 s"}[metric]
    assert shown in [text.replace("\u00a0", " ") for text in strings]
    assert chart["unfinished"] == len(strings) - 1
    assert [len(chart[key]) for key in ("labels", "names", "values", "states")] == [len(strings)] * 4  # type: ignore[arg-type]


async def test_cards_breakdown_and_total_agree(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    for category, messages in (("MARKETING", 3), ("UTILITY", 7), ("OTHER", 2)):
        await use_today(application, endpoints, shop.ours, channel="whatsapp", category=category, messages=messages)
    page = (await get(client, shop, f"/empresas/{shop.ours}/analytics")).text
    assert (text_of(page, "k-enviadas"), text_of(page, "k-custo")) == ("12", "≥ R$ 2,16")
    assert text_of(page, "k-sem-preco") == "? 2 sem preço"
    assert text_of(page, "sem-preco-frase") == "Sem preço neste período: 2 mensagens. O total é parcial."
    ids = text_of(page, "quebra-ordem").split()
    assert [text_of(page, f"{of}-mensagens") for of in ids] == ["2", "3", "7"]
    # 1.425 and 0.735 are 2.16: the cent goes to the largest remainder, and what has no price is not zero.
    assert [text_of(page, f"{of}-custo") for of in ids] == ["—", "R$ 1,43", "R$ 0,73"]
    assert text_of(page, "quebra-total") == "≥ R$ 2,16"


async def test_filters_narrow_everything_and_stay_in_every_address(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    await use_today(application, endpoints, shop.ours, messages=5, cost_center="vendas", model="gpt-4o")
    await use_today(application, endpoints, shop.ours, messages=9, cost_center="R&D <b>", model="claude")
    base = f"/empresas/{shop.ours}/analytics"
    page = (await get(client, shop, f"{base}?f.centro=vendas&dim=modelo")).text
    assert text_of(page, "k-enviadas") == "5"
    assert "f.centro=vendas&amp;dim=modelo" in page
    assert f"{base}?dim=modelo" in html.unescape(page)  # the chip's way out
    odd = (await get(client, shop, f"{base}?f.centro=R%26D+%3Cb%3E")).text
    assert text_of(odd, "k-enviadas") == "9"
    assert "<b>" not in odd
    assert text_of((await get(client, shop, f"{base}?f.centro=")).text, "k-enviadas") == "0"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("de=2026-02-30&ate=2026-03-01", "Escreva a data inicial como dia, mês e ano."),
        ("de=2026-01-10", "Escreva a data final como dia, mês e ano."),
        ("de=2026-01-10&ate=2026-01-01", "A data final vem antes da inicial."),
        ("de=2099-01-01&ate=2099-01-02", "Este período ainda não começou."),
        ("de=2001-01-01&ate=2026-01-01", "O período máximo é de 1100 dias."),
        ("de=2026-01-01&ate=2026-05-01&por=hora", "Por hora, o período máximo é de 31 dias."),
        ("de=2024-08-01&ate=2026-05-01&por=dia", "Por dia, o período máximo é de 400 dias."),
        ("f.conta=um", "Esta conta não existe."),
        ("de=%00&ate=%F0%9F%98%80", "Escreva a data inicial como dia, mês e ano."),
    ],
)
async def test_an_impossible_choice_is_told_under_its_field_and_the_page_stays(
    client: httpx2.AsyncClient, shop: Shop, query: str, problem: str
) -> None:
    answer = await get(client, shop, f"/empresas/{shop.ours}/analytics?{query}")
    assert answer.status_code == 422
    assert problem in html.unescape(answer.text)
    assert 'id="k-custo"' in answer.text
    assert (await get(client, shop, f"/empresas/{shop.ours}/explicar?{query}")).status_code == 422


@pytest.mark.parametrize("query", ["metrica=x&por=y&dim=z&comparar=w&periodo=v&linhas=u", "f.modelo=" + "x" * 5000, "apos=0"])
async def test_unknown_choices_fall_back_to_their_defaults(client: httpx2.AsyncClient, shop: Shop, query: str) -> None:
    assert (await get(client, shop, f"/empresas/{shop.ours}/analytics?{query}")).status_code == 200


async def test_a_company_without_use_says_so_and_where_to_go(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    path = f"/empresas/{shop.ours}/analytics"
    page = (await get(client, shop, path)).text
    assert 'id="uso" data-kind="never"' in page
    assert "Ainda não recebemos eventos." in page
    cards = ("custo", "recebidas", "enviadas", "tokens-entrada", "tokens-saida", "resposta")
    assert {text_of(page, f"k-{card}") for card in cards} == {"—"}
    assert "Valor exato" not in page
    day = local_day(HOME, application.clock()) - timedelta(days=70)
    write(endpoints.admin_url, shop.ours, Use(day, messages=1))
    page = html.unescape((await get(client, shop, path)).text)
    assert f"Último evento em {day:%d/%m/%Y}" in page
    assert 'id="uso" data-kind="begun"' in page
    assert (text_of(page, "k-custo"), text_of(page, "k-enviadas")) == ("R$ 0,00", "0")
    assert f"de={day:%Y-%m}-01&ate={day}" in page


async def test_every_cost_leads_to_an_explanation_that_shows_the_same_amount(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    await use_today(application, endpoints, shop.ours, channel="whatsapp", category="MARKETING", messages=3)
    await use_today(application, endpoints, shop.ours, messages=7, tokens_input=1_000)
    page = html.unescape((await get(client, shop, f"/empresas/{shop.ours}/analytics?periodo=hoje")).text)
    links = re.findall(r'<a class="figure" href="([^"]+)" data-explains id="[^"]+"[^>]*>([^<]+)<', page)
    assert len(links) == 4
    assert page.count("data-explains") == 4
    for url, amount in links:
        explained = html.unescape((await get(client, shop, url)).text)
        assert f"<strong>{amount}</strong>" in explained
    assert "US$\u00a00,0950" in explained or "R$\u00a00,0500" in explained


async def test_the_explanation_shows_events_without_texts_or_phones(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    now = datetime.now(UTC)
    await application.ingest.submit(
        PROCESS, [(0, event("evt-1", subject=shop.ours, wamid="wamid.HBgLABCDEF", category="MARKETING"))], now=now
    )
    page = html.unescape((await get(client, shop, f"/empresas/{shop.ours}/explicar?periodo=7d")).text)
    assert "…ABCDEF" in page
    assert "wamid.HBgL" not in page
    assert "US$\u00a00,0950" in page
    assert "5,0000 (" in page


async def test_the_api_explains_in_exact_texts(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    await use_today(application, endpoints, shop.ours, channel="whatsapp", category="UTILITY", messages=1)
    await use_today(application, endpoints, shop.ours, channel="whatsapp", category="OTHER", messages=4)
    today = local_day(HOME, application.clock())
    url = f"/api/analytics/explain?from={today}&to={today}"
    answer = (await client.get(url, headers=shop.bearer("key_ours"))).json()
    assert (answer["total"], answer["total_shown"], answer["lower_bound"]) == ("0.105", "0.11", True)
    (line,) = answer["lines"]
    assert (line["quantity"], line["unit_price"], line["price_currency"], line["amount"], line["shown"]) == (
        1, "0.021", "USD", "0.105", "0.11",
    )  # fmt: skip
    assert line["exchange_rates"][0]["exchange_rate"]["rate"] == "5.00"
    assert [(of["quantity"], of["lacks"]) for of in answer["not_priced"]] == [(4, "price")]
    assert answer["period"] == {"from": str(today), "to": str(today)}
    for query, code in [
        ("from=x&to=y", "invalid_period"),
        (f"from={today}&to={today}&metric=love", "unknown_metric"),
        (f"from={today}&to={today}&account_id=x", "invalid_account"),
        (f"from={today}&to={today}&after=x", "invalid_cursor"),
        (f"from={today}&to=2001-01-01", "invalid_period"),
    ]:
        refused = await client.get(f"/api/analytics/explain?{query}", headers=shop.bearer("key_ours"))
        assert (refused.status_code, refused.json()["code"]) == (422, code)


def test_vendored_files_are_the_ones_that_were_pinned() -> None:
    pins = tomllib.loads((STATIC / "vendor" / "pins.toml").read_text("utf-8"))
    scripts = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert scripts == set(pins)
    for name, pin in pins.items():
        digest = hashlib.sha384((STATIC / "vendor" / name).read_bytes()).digest()
        assert pin["integrity"] == f"sha384-{base64.b64encode(digest).decode()}"
        assert render.integrity_of(name) == pin["integrity"]


async def test_the_page_weighs_less_than_400_kilobytes_with_all_it_loads(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    await use_today(application, endpoints, shop.ours, messages=5)
    answer = await get(client, shop, f"/empresas/{shop.ours}/analytics")
    assets = set(re.findall(r'(?:src|href)="(/estatico/[^"]+)"', answer.text))
    weights = [len((await client.get(url)).content) for url in assets]
    assert any(weight > 200_000 for weight in weights), "the chart library is not among them"
    assert len(answer.content) + sum(weights) < PAGE_BYTES_MAX
    assert re.search(r'chart\.umd\.min\.[0-9a-f]+\.js" integrity="sha384-[^"]+" defer', answer.text)


async def test_nothing_on_the_page_needs_a_looser_policy(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await get(client, shop, f"/empresas/{shop.ours}/analytics")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r'\sstyle="|\son[a-z]+="|<style', answer.text)
    assert [kind for kind in re.findall(r"<script([^>]*)>", answer.text) if "src=" not in kind] == []


def test_choices_survive_being_written_as_an_address() -> None:
    today = datetime(2026, 11, 20, tzinfo=UTC).date()
    given = {"de": "2026-11-01", "ate": "2026-11-05", "por": "hora", "metrica": "tokens", "f.centro": "a&b", "f.modelo": ""}
    query = parse(given, today, texts("pt-BR"))
    again = dict(pair.split("=", 1) for pair in query.query().split("&"))
    assert again == {
        "de": "2026-11-01", "ate": "2026-11-05", "por": "hora", "metrica": "tokens", "f.centro": "a%26b", "f.modelo": "",
    }  # fmt: skip
    assert query.url("/x", f_centro=None, de=None, ate=None, periodo="hoje").count("centro") == 0
