"""The delivery log: what each row says, opening one, filters and pages, sending again, and whose rows they are."""

import re
from datetime import datetime, timedelta
from urllib.parse import urlencode

import httpx2
import pytest

from secretaria.bootstrap import Application, utc_now
from secretaria.core.access import PROCESS
from secretaria.embedded.servers import Endpoints
from secretaria.services.delivery_log import PAGE_LINES_MAX
from tests.receiver import answer, receiving
from tests.services.dispatching import Post, until
from tests.web.conftest import SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

PATH = "/alertas/entregas"


class LivePost(Post):
    """Dispatchers on the panel's own clock."""

    def clock(self) -> datetime:
        return utc_now()


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    return LivePost(application, endpoints.admin_url, now=application.clock())


def rows_in(page: httpx2.Response) -> list[str]:
    body = page.text.partition('class="cards log"')[2].partition("</table>")[0]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) for row in body.split('<tr role="row">')[2:]]


async def read(client: httpx2.AsyncClient, shop: Shop, who: str, locale: str = "pt-BR", **asked: object) -> httpx2.Response:
    headers = {"Cookie": f"{shop.cookie(who)['Cookie']}; panel_locale={locale}"}
    return await client.get(f"{PATH}?{urlencode(asked)}", headers=headers)


async def test_rows_say_what_was_sent_where_and_what_came_back(
    client: httpx2.AsyncClient, shop: Shop, application: Application, post: Post
) -> None:
    async with receiving() as receiver:
        receiver.answers["/cai"] = answer(503, body=b"em manutencao")
        good = await post.add(receiver.url("/hook?chave=segredo"), company_id=shop.ours)
        bad = await post.add(receiver.url("/cai"), company_id=shop.ours)
        (mail, *_) = rows_in(await read(client, shop, "ours", empresa=shop.ours))
        assert re.search(r"Teste .* ○ Na fila .* ours@example.com — — 0 agora", mail), mail
        await post.tell("a1", company_id=shop.ours)
        async with post.dispatching():
            await until(lambda: post.attempts(good) != [] and post.attempts(bad) != [])
        host = f"127.0.0.1:{receiver.port}"
    page = await read(client, shop, "ours", empresa=shop.ours)
    assert "segredo" not in page.text
    delivered = next(row for row in rows_in(page) if f"{host}/hook" in row)
    failing = next(row for row in rows_in(page) if f"{host}/cai" in row)
    assert re.search(r"Aviso de limite.* ✓ Entregue .* 200 .* s\s+1 ", delivered), delivered
    assert re.search(r"Aviso de limite.* ↻ Tentando de novo .* 503 .* s\s+1 ", failing), failing
    english = await read(client, shop, "ours", "en", empresa=shop.ours)
    assert "↻ Retrying" in english.text
    assert "Tentando" not in english.text
    for asked, expected in (
        ({"resultado": "entregue"}, ["/hook"]), ({"resultado": "tentando", "destino": bad}, ["/cai"]),
        ({"destino": good}, ["/hook"]), ({"evento": "test.ping"}, ["ours@example.com"]),
        ({"evento": "usage.limit.warning", "destino": bad}, ["/cai"]), ({"resultado": "cancelada"}, []),
    ):  # fmt: skip
        found = rows_in(await read(client, shop, "operator", empresa=shop.ours, **asked))
        assert len(found) == len(expected), asked
        assert all(part in row for part, row in zip(expected, found, strict=True)), asked
    opened = re.search(rf'href="({PATH}/[0-9]+)\?empresa={shop.ours}">Aviso', page.text)
    assert opened
    details = [
        (await client.get(found, headers=shop.cookie("ours"))).text
        for found in set(re.findall(rf'href="({PATH}/[0-9]+)\?', page.text))
    ]
    broken = next(text for text in details if "em manutencao" in text)
    for text in ("1ª tentativa", "503", "alert", "&#34;type&#34;: &#34;usage.limit.warning&#34;", "ID do evento"):
        assert text in broken, text


async def test_pages_follow_each_other_without_a_row_lost(
    client: httpx2.AsyncClient, shop: Shop, post: Post
) -> None:
    endpoint = await post.add("https://exemplo.com/x", company_id=shop.ours)
    for number in range(PAGE_LINES_MAX + 5):
        await post.tell(f"a{number}", company_id=shop.ours)
    first = await read(client, shop, "ours", empresa=shop.ours, destino=endpoint)
    assert len(rows_in(first)) == PAGE_LINES_MAX
    following = re.search(r'href="([^"]*apos=[0-9]+)"', first.text)
    assert following
    second = await client.get(following[1].replace("&amp;", "&"), headers=shop.cookie("ours"))
    assert len(rows_in(second)) == 5
    assert "Mais recentes" in second.text
    ids = re.findall(rf'href="{PATH}/([0-9]+)\?', first.text + second.text)
    assert len(set(ids)) == PAGE_LINES_MAX + 5


async def test_one_is_sent_again_once_the_warning_was_read(
    client: httpx2.AsyncClient, shop: Shop, application: Application, post: Post
) -> None:
    who = shop.cookie("ours") | SAME_ORIGIN
    async with receiving() as receiver:
        endpoint = await post.add(receiver.url("/hook"), company_id=shop.ours)
        await post.tell("a1", company_id=shop.ours)
        async with post.dispatching():
            await until(lambda: post.delivery(endpoint)[0] == "delivered")
            ((delivery_id,),) = post.rows("SELECT delivery_id FROM deliveries WHERE endpoint_id = %s", endpoint)
            path, sent = f"{PATH}/{delivery_id}/reenviar", {"empresa": str(shop.ours)}
            review = await client.post(path, data=sent, headers=who)
            assert "O destino pode receber este evento duas vezes. Reenviar?" in review.text
            assert len(receiver.received) == 1
            again = await client.post(path, data=sent | {"conferi": "sim"}, headers=who)
            assert again.headers["location"] == f"{PATH}/{delivery_id}?empresa={shop.ours}&feito=reenviada"
            await until(lambda: len(post.attempts(endpoint)) == 2)
        assert len({of.id for of in receiver.received}) == 1
        assert len(receiver.received) == 2
    page = await client.get(again.headers["location"], headers=who)
    assert "2ª tentativa" in page.text
    lines = await application.audit.page(PROCESS, shop.ours)
    assert "delivery.redelivered" in [line.action for line in lines]


async def test_all_since_a_day_are_sent_again_once_their_number_was_read(
    client: httpx2.AsyncClient, shop: Shop, post: Post
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, f"{PATH}/reenviar-desde"
    endpoint = await post.add("https://exemplo.com/x", company_id=shop.ours)
    quiet = await post.add("https://exemplo.com/y", company_id=shop.ours, events=["usage.not_priced"])
    await post.tell("a1", "a2", "a3", company_id=shop.ours)
    post.execute("UPDATE deliveries SET status = 'delivered' WHERE endpoint_id = %s", endpoint)
    day = (post.now - timedelta(days=2)).date()
    sent = {"empresa": str(shop.ours), "destino": str(endpoint), "desde": day.isoformat()}
    review = await client.post(path, data=sent, headers=who)
    assert f"3 eventos desde {day:%d/%m/%Y} vão de novo" in review.text
    assert post.rows("SELECT count(*) FROM deliveries WHERE status = 'waiting' AND endpoint_id = %s", endpoint) == [(0,)]
    done = await client.post(path, data=sent | {"conferi": "sim"}, headers=who)
    page = await client.get(done.headers["location"], headers=who)
    assert "3 eventos de volta à fila." in page.text
    assert post.rows("SELECT count(*) FROM deliveries WHERE status = 'waiting' AND endpoint_id = %s", endpoint) == [(3,)]
    later = (post.now + timedelta(days=2)).date().isoformat()
    for change, sentence in (
        ({"desde": ""}, "Informe uma data"), ({"desde": later}, "Escolha um dia dos últimos 90"),
        ({"desde": "2020-01-01"}, "Escolha um dia dos últimos 90"), ({"destino": "999"}, "Escolha o destino."),
        ({"destino": str(quiet)}, "Nada foi enviado a este destino"),
    ):  # fmt: skip
        refused = await client.post(path, data=sent | change, headers=who)
        assert (refused.status_code, sentence in refused.text) == (422, True), change


async def test_a_paused_queue_says_why_how_much_waits_and_how_to_resume_it(
    client: httpx2.AsyncClient, shop: Shop, application: Application, post: Post
) -> None:
    who = shop.cookie("ours") | SAME_ORIGIN
    endpoint = await post.add("https://crm.exemplo.com/hook", company_id=shop.ours)
    await post.tell("a1", "a2", company_id=shop.ours)
    post.execute(
        "UPDATE delivery_endpoints SET status = 'disabled', disabled_reason = 'failing', disabled_at = now() "
        "WHERE endpoint_id = %s",
        endpoint,
    )
    page = await read(client, shop, "ours", empresa=shop.ours)
    for text in ("Fila pausada desde", "crm.exemplo.com/hook. 2 eventos esperam.", "só falhou por 5 dias"):
        assert text in page.text, text
    sent = {"empresa": str(shop.ours), "destino": str(endpoint), "voltar": "entregas"}
    review = await client.post("/configuracoes/webhooks/reativar", data=sent, headers=who)
    assert "2 eventos esperam e são enviados em seguida." in review.text
    done = await client.post("/configuracoes/webhooks/reativar", data=sent | {"conferi": "sim"}, headers=who)
    assert done.headers["location"] == f"{PATH}?empresa={shop.ours}&feito=reativada"
    assert "Fila pausada" not in (await client.get(done.headers["location"], headers=who)).text
    assert post.endpoint(endpoint, "status") == ("active",)


async def test_members_see_their_own_rows_and_never_the_operator_s(
    client: httpx2.AsyncClient, shop: Shop, application: Application, post: Post
) -> None:
    home = await post.add("https://operadora.exemplo.com/x", company_id=0)
    await post.tell("a1", company_id=shop.theirs)
    ((at_home,),) = post.rows("SELECT delivery_id FROM deliveries WHERE endpoint_id = %s", home)
    operator = await read(client, shop, "operator")
    assert "operadora.exemplo.com/x" in operator.text
    assert "Alheia" in operator.text
    member = await read(client, shop, "ours")
    assert "ours@example.com" in member.text
    assert "operadora.exemplo.com" not in member.text
    assert (await read(client, shop, "ours", empresa=shop.theirs)).status_code == 404
    before = post.rows("SELECT status, attempts_before FROM deliveries ORDER BY delivery_id")
    for delivery_id in (at_home, shop.deliveries["theirs"], 987_654_321, "x"):
        page = await client.get(f"{PATH}/{delivery_id}", headers=shop.cookie("ours"))
        assert page.status_code == 404, delivery_id
        for company_id in (shop.ours, shop.theirs):
            answered = await client.post(
                f"{PATH}/{delivery_id}/reenviar", data={"empresa": str(company_id), "conferi": "sim"},
                headers=shop.cookie("ours") | SAME_ORIGIN,
            )  # fmt: skip
            assert answered.status_code == 404, delivery_id
    sent = {"empresa": "0", "destino": str(home), "desde": post.now.date().isoformat(), "conferi": "sim"}
    forbidden = await client.post(f"{PATH}/reenviar-desde", data=sent, headers=shop.cookie("ours") | SAME_ORIGIN)
    assert forbidden.status_code == 403
    for path in (f"{PATH}/reenviar-desde", f"{PATH}/{at_home}/reenviar"):
        for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://example.com"}, {}):
            elsewhere = await client.post(path, data=sent, headers=shop.cookie("operator") | origin)
            assert elsewhere.status_code == 403, path
        stranger = await client.post(path, data=sent, headers=SAME_ORIGIN)
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/entrar"), path
    assert post.rows("SELECT status, attempts_before FROM deliveries ORDER BY delivery_id") == before
