"""Configurações: who may see and change what, each change confirmed and on record, every secret shown once."""

import re
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.account import Role
from secretaria.core.errors import NotAuthenticated
from secretaria.web.panel.audit_pages import LINES_PAGE
from tests.web.conftest import PASSWORD, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

CNPJ = "11.222.333/0001-81"
TABS = {
    "/configuracoes/empresa": ("Dados da empresa", "Company data"),
    "/configuracoes": ("Tabelas de preços em vigor", "Rate cards in force"),
    "/configuracoes/chaves": ("Chaves ativas", "Active keys"),
    "/configuracoes/usuarios": ("Desta empresa", "Of this company"),
    "/configuracoes/registro": ("Quem alterou o quê", "Who changed what"),
}
FORMS: dict[str, dict[str, Any]] = {
    "/configuracoes/empresa": {"name": "Outra", "conferi": "sim"},
    "/configuracoes/empresa/situacao": {"situacao": "suspender", "conferi": "sim"},
    "/configuracoes/chaves": {"nome": "robô", "permissoes": ["usage:write"]},
    "/configuracoes/chaves/revogar": {"chave": "{key}", "conferi": "sim"},
    "/configuracoes/usuarios": {"email": "novo@example.com", "papel": "member"},
    "/configuracoes/usuarios/desativar": {"usuario": "{user}", "conferi": "sim"},
    "/configuracoes/usuarios/senha": {"usuario": "{user}", "conferi": "sim"},
}
MEMBERS_MAY = {"/configuracoes/chaves": 200, "/configuracoes/chaves/revogar": 303}


async def user_id_of(application: Application, email: str) -> int:
    return next(user.user_id for user in await application.access.list_users(PROCESS) if user.email == email)


async def form(application: Application, shop: Shop, path: str, company_id: int) -> dict[str, Any]:
    known = {"{key}": shop.key_ids["spare"], "{user}": str(await user_id_of(application, "ours@example.com"))}
    return {"empresa": str(company_id)} | {
        name: known.get(value, value) if isinstance(value, str) else value for name, value in FORMS[path].items()
    }


async def actions(application: Application, company_id: int) -> list[str]:
    return [line.action for line in await application.audit.page(PROCESS, company_id)]


def secret_in(page: httpx2.Response) -> str:
    found = re.search(r'id="segredo"[^>]* readonly[^>]*>([^<]+)</textarea>', page.text)
    assert found, page.text
    return found[1]


async def test_every_tab_opens_in_both_languages_for_the_operator_and_a_member(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    for path, (portuguese, english) in TABS.items():
        for who in ("operator", "ours"):
            url = f"{path}?empresa={shop.ours}"
            page = await client.get(url, headers=shop.cookie(who))
            assert page.status_code == 200, (path, who)
            assert portuguese in page.text, (path, who)
            current = re.findall(r'<a href="([^"]+)" aria-current="page">', page.text.partition("settings-tabs")[2])
            assert current == [url]
            other = await client.get(url, headers={"Cookie": f"{shop.cookie(who)['Cookie']}; panel_locale=en"})
            assert english in other.text, (path, who)
            assert portuguese not in other.text, (path, who)


async def test_without_a_company_a_member_comes_to_its_own_and_the_operator_chooses(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    for path in TABS:
        member = await client.get(path, headers=shop.cookie("ours"))
        assert (member.status_code, member.headers["location"]) == (303, f"{path}?empresa={shop.ours}")
        operator = await client.get(path, headers=shop.cookie("operator"))
        assert f'href="{path}?empresa={shop.theirs}"' in operator.text
        assert f'action="{path}"' in operator.text


async def test_another_company_s_settings_are_those_of_one_that_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    before = await actions(application, shop.theirs)
    for path in TABS:
        for company_id in (shop.theirs, 987_654_321):
            answer = await client.get(f"{path}?empresa={company_id}", headers=shop.cookie("ours"))
            assert (answer.status_code, "Alheia" in answer.text) == (404, False), path
    for path in FORMS:
        sent = await form(application, shop, path, shop.theirs)
        answer = await client.post(path, data=sent, headers=shop.cookie("ours") | SAME_ORIGIN)
        assert answer.status_code == 404, path
    assert await actions(application, shop.theirs) == before


async def test_a_member_changes_nothing_but_its_own_keys(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for path in FORMS:
        sent = await form(application, shop, path, shop.ours)
        before = await actions(application, shop.ours)
        answer = await client.post(path, data=sent, headers=shop.cookie("ours") | SAME_ORIGIN)
        assert answer.status_code == MEMBERS_MAY.get(path, 403), path
        assert (await actions(application, shop.ours) != before) == (path in MEMBERS_MAY), path
    page = await client.get(f"/configuracoes/empresa?empresa={shop.ours}", headers=shop.cookie("ours"))
    assert "<form method=\"post\" action=\"/configuracoes" not in page.text
    assert "fale com quem administra" in page.text


async def test_a_form_from_elsewhere_changes_nothing(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    before = await actions(application, shop.ours)
    for path in FORMS:
        sent = await form(application, shop, path, shop.ours)
        for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://example.com"}, {}):
            answer = await client.post(path, data=sent, headers=shop.cookie("operator") | origin)
            assert answer.status_code == 403, (path, origin)
        stranger = await client.post(path, data=sent, headers=SAME_ORIGIN)
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/entrar"), path
    assert await actions(application, shop.ours) == before


async def test_company_data_are_reviewed_then_saved_and_what_was_is_on_record(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, "/configuracoes/empresa"
    sent = {
        "empresa": str(shop.ours), "name": "Nossa <b>", "legal_name": "Nossa Ltda.", "tax_id": CNPJ,
        "timezone": "America/Manaus", "currency": "BRL",
    }  # fmt: skip
    review = await client.post(path, data=sent, headers=who)
    assert review.status_code == 200
    assert "Confirmar as alterações" in review.text
    assert "<del>Nossa</del> › <ins>Nossa &lt;b&gt;</ins>" in review.text
    assert "Moeda" not in review.text
    assert (await application.companies.get(PROCESS, shop.ours)).name == "Nossa"
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', review.text.partition("<main")[2]))
    assert hidden == {**sent, "name": "Nossa &lt;b&gt;", "conferi": "sim"}
    saved = await client.post(path, data=sent | {"conferi": "sim"}, headers=who)
    assert (saved.status_code, saved.headers["location"]) == (303, f"{path}?empresa={shop.ours}&feito=salvo")
    page = await client.get(saved.headers["location"], headers=who)
    assert "Alterações salvas." in page.text
    assert f'value="{CNPJ}"' in page.text
    company = await application.companies.get(PROCESS, shop.ours)
    assert (company.name, company.legal_name, company.tax_id) == ("Nossa <b>", "Nossa Ltda.", "11222333000181")
    again = await client.post(path, data=sent, headers=who)
    assert again.headers["location"].endswith("feito=igual")
    log = await client.get(f"/configuracoes/registro?empresa={shop.ours}", headers=who)
    assert "Dados da empresa alterados" in log.text
    assert "<del>America/Sao_Paulo</del> › <ins>America/Manaus</ins>" in log.text
    assert "operator@example.com" in log.text
    members = await client.get(f"/configuracoes/registro?empresa={shop.ours}", headers=shop.cookie("ours"))
    assert "operator@example.com" not in members.text
    assert "Equipe da operadora" in members.text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", " ", "Informe um nome"), ("tax_id", "11.222.333/0001-82", "Este CNPJ não confere"),
        ("timezone", "Mars/Phobos", "Escolha um fuso"), ("currency", "EUR", "A moeda é BRL ou USD."),
        ("legal_name", "a\u202eb", "A razão social tem"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_above_and_beside_it_and_keeps_what_was_typed(
    client: httpx2.AsyncClient, shop: Shop, field: str, value: str, sentence: str
) -> None:
    sent = {"empresa": str(shop.ours), "name": "Mantido", "timezone": "America/Sao_Paulo", field: value}
    who = shop.cookie("operator") | SAME_ORIGIN
    answer = await client.post("/configuracoes/empresa", data=sent | {"conferi": "sim"}, headers=who)
    assert answer.status_code == 422
    assert f'<a href="#{field}">{sentence}' in answer.text
    assert field == "name" or 'value="Mantido"' in answer.text
    page = await client.get(f"/configuracoes/empresa?empresa={shop.ours}", headers=who)
    assert 'value="Nossa"' in page.text


async def test_a_company_is_suspended_and_taken_back_after_a_question(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, "/configuracoes/empresa/situacao"
    for word, status, sentence in (
        ("suspender", "suspended", "Empresa suspensa."), ("reativar", "active", "Empresa reativada."),
    ):  # fmt: skip
        sent = {"empresa": str(shop.ours), "situacao": word}
        before = (await application.companies.get(PROCESS, shop.ours)).status
        question = await client.post(path, data=sent, headers=who)
        assert "Nossa?" in question.text
        assert (await application.companies.get(PROCESS, shop.ours)).status == before
        done = await client.post(path, data=sent | {"conferi": "sim"}, headers=who)
        assert (await application.companies.get(PROCESS, shop.ours)).status == status
        assert sentence in (await client.get(done.headers["location"], headers=who)).text
    assert (await actions(application, shop.ours))[:2] == ["company.reactivated", "company.suspended"]


async def test_a_key_is_shown_once_and_ended_after_a_question_that_names_it(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, "/configuracoes/chaves"
    sent = {"empresa": str(shop.ours), "nome": "robô <1>", "permissoes": ["usage:write", "usage:backfill"]}
    made = await client.post(path, data=sent, headers=who)
    assert made.status_code == 200
    assert "no-store" in made.headers["cache-control"]
    secret = secret_in(made)
    caller = await application.access.authenticate(secret, application.clock())
    assert (caller.company_id, sorted(caller.scopes)) == (shop.ours, ["usage:backfill", "usage:write"])
    key_id = secret.split("_")[1]
    for tab in TABS:
        page = await client.get(f"{tab}?empresa={shop.ours}", headers=who)
        assert secret not in page.text, tab
        assert secret.split("_", 2)[2] not in page.text, tab
    page = await client.get(f"{path}?empresa={shop.ours}", headers=who)
    assert f"sk_{key_id}…" in page.text
    ask = {"empresa": str(shop.ours), "chave": key_id}
    question = await client.post(path + "/revogar", data=ask, headers=who)
    assert "Revogar a chave robô &lt;1&gt;?" in question.text
    assert await application.access.authenticate(secret, application.clock()) == caller
    done = await client.post(path + "/revogar", data=ask | {"conferi": "sim"}, headers=who)
    assert done.headers["location"].endswith("feito=revogada")
    with pytest.raises(NotAuthenticated):
        await application.access.authenticate(secret, application.clock())
    foreign = await client.post(
        path + "/revogar", data=ask | {"chave": shop.key_ids["key_theirs"], "conferi": "sim"}, headers=who
    )
    assert foreign.status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"nome": ""}, 422, '<a href="#nome">Dê um nome à chave'),
        ({"permissoes": []}, 422, '<a href="#permissoes">Marque ao menos uma permissão.'),
        ({"permissoes": ["companies:write"]}, 422, "Nada foi alterado."),
        ({"permissoes": ["everything"]}, 422, "Nada foi alterado."),
    ],
)
async def test_a_key_without_a_name_or_with_a_permission_it_cannot_have_is_not_made(
    client: httpx2.AsyncClient, shop: Shop, application: Application, change: dict[str, Any], status: int, sentence: str
) -> None:
    sent = {"empresa": str(shop.ours), "nome": "robô", "permissoes": ["usage:write"]} | change
    before = len(await application.access.list_api_keys(PROCESS, shop.ours))
    answer = await client.post("/configuracoes/chaves", data=sent, headers=shop.cookie("operator") | SAME_ORIGIN)
    assert (answer.status_code, sentence in answer.text) == (status, True)
    assert len(await application.access.list_api_keys(PROCESS, shop.ours)) == before


async def test_a_member_is_offered_and_given_the_default_permissions_only(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    who, path = shop.cookie("ours") | SAME_ORIGIN, "/configuracoes/chaves"
    page = await client.get(f"{path}?empresa={shop.ours}", headers=who)
    assert re.findall(r'name="permissoes" value="([^"]+)"', page.text) == ["usage:write", "analytics:read"]
    sent = {"empresa": str(shop.ours), "nome": "x", "permissoes": ["keys:write"]}
    assert (await client.post(path, data=sent, headers=who)).status_code == 403


async def test_a_user_is_invited_with_a_password_shown_once_reset_and_shut_out(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, "/configuracoes/usuarios"
    email, now = "ana@example.com", application.clock()
    sent = {"empresa": str(shop.ours), "email": email, "papel": "member", "idioma": "en"}
    first = secret_in(await client.post(path, data=sent, headers=who))
    login = await application.access.login(email, first, None, now)
    assert (login.caller.company_id, login.user.locale) == (shop.ours, "en")
    page = await client.get(f"{path}?empresa={shop.ours}", headers=who)
    assert email in page.text
    assert first not in page.text
    twice = await client.post(path, data=sent, headers=who)
    assert (twice.status_code, '<a href="#email">Já existe um usuário' in twice.text) == (422, True)
    ask = {"empresa": str(shop.ours), "usuario": str(login.user.user_id)}
    question = await client.post(path + "/senha", data=ask, headers=who)
    assert f"Gerar nova senha para {email}?" in question.text
    second = secret_in(await client.post(path + "/senha", data=ask | {"conferi": "sim"}, headers=who))
    with pytest.raises(NotAuthenticated):
        await application.access.login(email, first, None, now)
    await application.access.login(email, second, None, now)
    question = await client.post(path + "/desativar", data=ask, headers=who)
    assert f"Desativar {email}?" in question.text
    done = await client.post(path + "/desativar", data=ask | {"conferi": "sim"}, headers=who)
    assert done.headers["location"].endswith("feito=desativado")
    with pytest.raises(NotAuthenticated):
        await application.access.login(email, second, None, now)
    assert (await client.post(path + "/senha", data=ask, headers=who)).status_code == 404
    log = await client.get(f"/configuracoes/registro?empresa={shop.ours}", headers=who)
    for secret in (first, second):
        assert secret not in log.text


async def test_operators_see_their_own_people_invite_more_and_never_disable_themselves(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who, path = shop.cookie("operator") | SAME_ORIGIN, "/configuracoes/usuarios"
    sent = {"empresa": str(shop.ours), "email": "chefe@example.com", "papel": "operator"}
    secret_in(await client.post(path, data=sent, headers=who))
    found = {user.email: user for user in await application.access.list_users(PROCESS, 0)}
    assert found["chefe@example.com"].role is Role.OPERATOR
    page = await client.get(f"{path}?empresa={shop.ours}", headers=who)
    assert "chefe@example.com" in page.text
    assert "Desativar chefe@example.com" in page.text
    assert "Desativar operator@example.com" not in page.text
    me = str(found["operator@example.com"].user_id)
    ask = {"empresa": str(shop.ours), "usuario": me, "conferi": "sim"}
    assert (await client.post(path + "/desativar", data=ask, headers=who)).status_code == 403
    await application.access.login("operator@example.com", PASSWORD, None, application.clock())
    members = await client.get(f"{path}?empresa={shop.ours}", headers=shop.cookie("ours"))
    assert "ours@example.com" in members.text
    assert "operator@example.com" not in members.text
    assert "theirs@example.com" not in members.text


async def test_the_log_goes_on_page_by_page_and_loses_no_line(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for _ in range(LINES_PAGE // 2):
        made = await application.access.create_api_key(PROCESS, shop.ours, name="robô")
        await application.access.revoke_api_key(PROCESS, made.key.key_id)
    total = (await application.audit.verify(PROCESS, shop.ours)).lines
    url, seen = f"/configuracoes/registro?empresa={shop.ours}", []
    while url:
        page = await client.get(url, headers=shop.cookie("ours"))
        seen += [int(number) for number in re.findall(r">linha (\d+)<", page.text)]
        following = re.search(r'href="([^"]+)" rel="next"', page.text)
        url = following[1].replace("&amp;", "&") if following else ""
    assert seen == list(range(total, 0, -1))
