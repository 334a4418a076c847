"""Webhooks e e-mail: adding, changing and removing where alerts go; every secret shown once, every change confirmed."""

import re
from datetime import datetime
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application, utc_now
from secretaria.core.access import PROCESS
from secretaria.embedded.servers import Endpoints
from secretaria.web.panel import endpoint_pages
from tests.receiver import receiving
from tests.services.dispatching import Post
from tests.web.conftest import SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

PATH = "/configuracoes/webhooks"
PUBLIC_URL = "https://93.184.215.14/hook?chave=s3gredo"
ALL = ["usage.limit.warning", "usage.limit.critical"]


class LivePost(Post):
    """Dispatchers on the panel's own clock."""

    def clock(self) -> datetime:
        return utc_now()


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    return LivePost(application, endpoints.admin_url, now=application.clock())


def webhook(company_id: int, **change: Any) -> dict[str, Any]:
    return {
        "empresa": str(company_id), "canal": "webhook", "endereco": PUBLIC_URL, "descricao": "CRM", "eventos": ALL,
    } | change  # fmt: skip


def secret_in(page: httpx2.Response) -> str:
    found = re.search(r'id="segredo"[^>]* readonly[^>]*>([^<]+)</textarea>', page.text)
    assert found, page.text
    return found[1]


async def webhooks_of(application: Application, company_id: int) -> list[Any]:
    return [of for of in await application.delivery_endpoints.list(PROCESS, company_id) if of.channel == "webhook"]


async def test_a_webhook_is_added_and_its_secret_is_shown_this_once(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for who, company_id in (("ours", shop.ours), ("operator", 0)):
        headers = shop.cookie(who) | SAME_ORIGIN
        made = await client.post(PATH, data=webhook(company_id), headers=headers)
        secret = secret_in(made)
        assert secret.startswith("whsec_")
        assert "Segredo de 93.184.215.14/hook" in made.text
        page = await client.get(f"{PATH}?empresa={company_id}", headers=headers)
        assert secret not in page.text
        assert "s3gredo" not in page.text
        for text in ("93.184.215.14/hook", "CRM", "Aviso de limite, Limite atingido (crítico)", "Ainda sem entregas"):
            assert text in page.text, text
        (endpoint,) = await webhooks_of(application, company_id)
        sent = {"empresa": str(company_id), "destino": str(endpoint.endpoint_id)}
        review = await client.post(f"{PATH}/girar", data=sent, headers=headers)
        assert "Por 24 horas cada envio leva as duas assinaturas" in review.text
        rotated = await client.post(f"{PATH}/girar", data=sent | {"conferi": "sim"}, headers=headers)
        assert secret_in(rotated) != secret
        assert "O anterior ainda assina por 24 horas." in rotated.text
        lines = await application.audit.page(PROCESS, company_id)
        assert {"endpoint.created", "endpoint.secret_rotated"} <= {line.action for line in lines}
        assert not any(secret in str(line.detail) for line in lines)


@pytest.mark.parametrize(
    ("change", "field", "portuguese", "english"),
    [
        ({"endereco": "http://exemplo.com/x"}, "webhook-endereco",
         "O endereço precisa começar com https:// e ser público.", "The address must start with https:// and be public."),
        ({"endereco": "https://127.0.0.1/x"}, "webhook-endereco", "O endereço precisa começar", "The address must start"),
        ({"eventos": []}, "webhook-eventos", "Marque ao menos um evento.", "Check at least one event."),
        ({"eventos": ["report.weekly"]}, "webhook-eventos", "Marque ao menos um evento.", "Check at least one event."),
        ({"descricao": "x" * 201}, "webhook-descricao", "A descrição tem até 200", "The description has up to 200"),
        ({"canal": "mail", "endereco": "ana"}, "mail-endereco", "Informe um e-mail", "Enter an e-mail address"),
        ({"canal": "mail", "endereco": "a@exemplo.com", "idioma": "fr"}, "mail-idioma", "Escolha o idioma.",
         "Choose the language."),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_under_its_field_in_the_reader_s_language(
    client: httpx2.AsyncClient, shop: Shop, change: dict[str, Any], field: str, portuguese: str, english: str
) -> None:
    for locale, sentence in (("pt-BR", portuguese), ("en", english)):
        headers = {"Cookie": f"{shop.cookie('ours')['Cookie']}; panel_locale={locale}"} | SAME_ORIGIN
        answer = await client.post(PATH, data=webhook(shop.ours, **change), headers=headers)
        assert answer.status_code == 422
        assert f'<a href="#{field}">{sentence}' in answer.text
        if not field.endswith("idioma"):
            assert f'id="{field}-error">{sentence}' in answer.text


async def test_a_mail_address_is_added_changed_and_removed_each_on_record(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("ours") | SAME_ORIGIN
    sent = webhook(shop.ours, canal="mail", endereco="Ana@Exemplo.com", idioma="en", eventos=["report.weekly", *ALL])
    added = await client.post(PATH, data=sent, headers=who)
    assert added.headers["location"] == f"{PATH}?empresa={shop.ours}&feito=criado"
    page = await client.get(added.headers["location"], headers=who)
    for text in ("Endereço adicionado.", "ana@exemplo.com", "English", "Relatório semanal"):
        assert text in page.text, text
    found = await application.delivery_endpoints.list(PROCESS, shop.ours)
    endpoint = next(of for of in found if of.address == "ana@exemplo.com")
    here = f"{PATH}/{endpoint.endpoint_id}"
    assert 'value="ana@exemplo.com"' in (await client.get(f"{here}?empresa={shop.ours}", headers=who)).text
    change = {
        "empresa": str(shop.ours), "endereco": "bia@exemplo.com", "descricao": "Financeiro", "idioma": "pt-BR",
        "eventos": ALL,
    }  # fmt: skip
    review = await client.post(here, data=change, headers=who)
    assert "<del>ana@exemplo.com</del> › <ins>bia@exemplo.com</ins>" in review.text
    assert "<del>English</del> › <ins>Português</ins>" in review.text
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', review.text.partition("<main")[2]))
    saved = await client.post(here, data=hidden, headers=who)
    assert saved.headers["location"] == f"{PATH}?empresa={shop.ours}&feito=salvo"
    after = await application.delivery_endpoints.get(PROCESS, endpoint.endpoint_id)
    assert (after.address, after.description, after.locale, list(after.events)) == (
        "bia@exemplo.com", "Financeiro", "pt-BR", ALL,
    )  # fmt: skip
    assert (await client.post(here, data=change, headers=who)).headers["location"].endswith("feito=igual")
    wrong = await client.post(here, data=change | {"endereco": "bia"}, headers=who)
    assert 'id="mail-endereco-error">Informe um e-mail' in wrong.text
    removal = {"empresa": str(shop.ours), "destino": str(endpoint.endpoint_id)}
    assert "Remover bia@exemplo.com?" in (await client.post(f"{PATH}/remover", data=removal, headers=who)).text
    gone = await client.post(f"{PATH}/remover", data=removal | {"conferi": "sim"}, headers=who)
    assert "bia@exemplo.com" not in (await client.get(gone.headers["location"], headers=who)).text
    actions = [line.action for line in await application.audit.page(PROCESS, shop.ours)]
    assert actions[:3] == ["endpoint.removed", "endpoint.changed", "endpoint.created"]


async def test_an_address_whose_query_is_hidden_stays_when_it_is_sent_back_as_shown(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("ours") | SAME_ORIGIN
    await client.post(PATH, data=webhook(shop.ours), headers=who)
    (endpoint,) = await webhooks_of(application, shop.ours)
    here = f"{PATH}/{endpoint.endpoint_id}"
    page = await client.get(f"{here}?empresa={shop.ours}", headers=who)
    shown = re.search(r'name="endereco"[^>]* value="([^"]+)"', page.text)
    assert shown
    assert shown[1] == "https://93.184.215.14/hook?…"
    sent = webhook(shop.ours, endereco=shown[1], descricao="ERP", conferi="sim")
    assert (await client.post(here, data=sent, headers=who)).status_code == 303
    after = await application.delivery_endpoints.get(PROCESS, endpoint.endpoint_id)
    assert (after.address, after.description) == (PUBLIC_URL, "ERP")


async def test_a_test_shows_what_came_of_it_on_the_same_page(
    client: httpx2.AsyncClient, shop: Shop, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = shop.cookie("ours") | SAME_ORIGIN
    async with receiving() as receiver:
        endpoint = await post.add(receiver.url("/hook"), company_id=shop.ours)
        sent = {"empresa": str(shop.ours), "destino": str(endpoint)}
        async with post.dispatching():
            tested = await client.post(f"{PATH}/testar", data=sent, headers=who)
            page = await client.get(tested.headers["location"].partition("#")[0], headers=who)
    assert "✓ Entregue" in page.text
    assert "O destino respondeu 200 em" in page.text
    assert "✓ Funcionando" in page.text
    assert "100% de 1 tentativa" in page.text
    monkeypatch.setattr(endpoint_pages, "TEST_WAIT_S", 0)
    late = await client.post(f"{PATH}/testar", data=sent, headers=who)
    page = await client.get(late.headers["location"].partition("#")[0], headers=who)
    assert "Ainda sem resposta." in page.text
    foreign = f"{PATH}?empresa={shop.ours}&teste={shop.deliveries['theirs']}"
    assert "Teste enviado" not in (await client.get(foreign, headers=who)).text


async def test_the_endpoint_of_the_settings_is_shown_and_cannot_be_changed_here(
    client: httpx2.AsyncClient, shop: Shop, post: Post
) -> None:
    endpoint = await post.add("https://operadora.exemplo.com/x", company_id=0)
    post.execute("UPDATE delivery_endpoints SET from_settings = true WHERE endpoint_id = %s", endpoint)
    who = shop.cookie("operator") | SAME_ORIGIN
    page = await client.get(PATH, headers=who)
    card = page.text.partition(f'id="destino-{endpoint}"')[2].partition("</article>")[0]
    assert "Vem de BILLING_ALERT_WEBHOOK_URL" in card
    assert "Enviar teste" in card
    for text in ("Girar", "Remover", "Alterar"):
        assert text not in card, text
    sent = {"empresa": "0", "destino": str(endpoint), "conferi": "sim"}
    for path in ("girar", "remover"):
        refused = await client.post(f"{PATH}/{path}", data=sent, headers=who)
        assert (refused.status_code, "Este destino vem de BILLING_ALERT_WEBHOOK_URL" in refused.text) == (422, True)


async def test_nobody_reaches_another_company_s_endpoints_nor_sends_forms_from_elsewhere(
    client: httpx2.AsyncClient, shop: Shop, application: Application, post: Post
) -> None:
    home = await post.add("https://operadora.exemplo.com/x", company_id=0)
    forms: dict[str, dict[str, Any]] = {
        PATH: {"endereco": "x@exemplo.com", "canal": "mail", "eventos": ALL},
        f"{PATH}/testar": {}, f"{PATH}/girar": {"conferi": "sim"}, f"{PATH}/reativar": {"conferi": "sim"},
        f"{PATH}/remover": {"conferi": "sim"}, f"{PATH}/{{id}}": {"endereco": "x@exemplo.com", "eventos": ALL, "conferi": "sim"},
    }  # fmt: skip
    before = post.rows("SELECT e::text FROM delivery_endpoints AS e ORDER BY endpoint_id")
    member = shop.cookie("ours") | SAME_ORIGIN
    for path, more in forms.items():
        for company_id, endpoint in ((shop.theirs, shop.endpoints["theirs"]), (0, home)):
            sent = {"empresa": str(company_id), "destino": str(endpoint)} | more
            answer = await client.post(path.format(id=endpoint), data=sent, headers=member)
            assert answer.status_code == (403 if company_id == 0 else 404), path
            if path != PATH:
                sent["empresa"] = str(shop.ours)
                assert (await client.post(path.format(id=endpoint), data=sent, headers=member)).status_code == 404, path
            for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://example.com"}, {}):
                refused = await client.post(path.format(id=endpoint), data=sent, headers=shop.cookie("operator") | origin)
                assert refused.status_code == 403, path
            stranger = await client.post(path.format(id=endpoint), data=sent, headers=SAME_ORIGIN)
            assert (stranger.status_code, stranger.headers["location"]) == (303, "/entrar"), path
    assert post.rows("SELECT e::text FROM delivery_endpoints AS e ORDER BY endpoint_id") == before
    assert (await client.get(f"{PATH}?empresa={shop.theirs}", headers=member)).status_code == 404
    assert (await client.get(f"{PATH}/{home}?empresa=0", headers=member)).status_code == 404
    assert (await client.get(PATH, headers=member)).headers["location"] == f"{PATH}?empresa={shop.ours}"
