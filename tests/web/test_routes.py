"""Owner, member, key and stranger on every route. A route without a line here fails the first test."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from secretaria.embedded.servers import Endpoints
from tests.web.conftest import PASSWORD, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

EVENT = {
    "specversion": "1.0", "id": "a-1", "source": "bot", "type": "usage.recorded",
    "data": {"direction": "inbound", "messages": 1},
}  # fmt: skip
PUBLIC, PAGE = "public", "page"


@dataclass(frozen=True)
class Access:
    """A request, and the status that each kind of caller gets; {ours}, {theirs}, {key} stand for ids."""

    path: str
    operator: int
    ours: int
    key: int
    stranger: int = 401
    body: Any = None
    foreign: str | None = None


# method and path as the router knows them -> what to send and what each gets. `key` is a company's key that reads.
# PUBLIC answers everyone alike; PAGE sends a stranger to the login and an API key too: pages are for people.
ROUTES: dict[str, Access | str] = {
    "POST /api/usage": Access("/api/usage", 422, 403, 403, body=EVENT),
    "POST /api/auth/login": PUBLIC,
    "POST /api/auth/logout": Access("/api/auth/logout", 204, 204, 403),
    "GET /api/auth/me": Access("/api/auth/me", 200, 200, 200),
    "POST /api/companies": Access("/api/companies", 201, 403, 403, body={"name": "Nova"}),
    "GET /api/companies": Access("/api/companies", 200, 200, 200),
    "GET /api/companies/{company_id}": Access(
        "/api/companies/{ours}", 200, 200, 200, foreign="/api/companies/{theirs}"
    ),
    "POST /api/companies/{company_id}/suspend": Access(
        "/api/companies/{ours}/suspend", 200, 403, 403, foreign="/api/companies/{theirs}/suspend"
    ),
    "POST /api/companies/{company_id}/reactivate": Access(
        "/api/companies/{ours}/reactivate", 200, 403, 403, foreign="/api/companies/{theirs}/reactivate"
    ),
    "PUT /api/companies/{company_id}/plan": Access(
        "/api/companies/{ours}/plan", 200, 403, 403, body={"plan": None}, foreign="/api/companies/{theirs}/plan"
    ),
    "GET /api/companies/{company_id}/plan": Access(
        "/api/companies/{ours}/plan", 200, 200, 200, foreign="/api/companies/{theirs}/plan"
    ),
    # Plans that companies have, or have not: tests/web/test_plans.py.
    "POST /api/plans": Access("/api/plans", 201, 403, 403, body={"name": "Pro"}),
    "GET /api/plans": Access("/api/plans", 200, 200, 200),
    "GET /api/plans/{plan_id}": Access("/api/plans/987654321", 404, 404, 404),
    "POST /api/plans/{plan_id}/limits": Access("/api/plans/987654321/limits", 404, 403, 403, body={"messages": 5}),
    "PATCH /api/companies/{company_id}": Access(
        "/api/companies/{ours}", 200, 403, 403, body={"name": "Outra"}, foreign="/api/companies/{theirs}"
    ),
    "GET /api/alerts": Access("/api/alerts?company_id={ours}", 200, 200, 200, foreign="/api/alerts?company_id={theirs}"),
    "POST /api/alerts/{alert_id}/acknowledge": Access("/api/alerts/1/acknowledge?company_id={ours}", 404, 404, 404),
    "POST /api/keys": Access("/api/keys", 201, 201, 403, body={}),
    "GET /api/keys": Access("/api/keys", 200, 200, 403, foreign="/api/keys?company_id={theirs}"),
    "DELETE /api/keys/{key_id}": Access("/api/keys/{key}", 204, 204, 403, foreign="/api/keys/{foreign_key}"),
    "GET /api/analytics/summary": Access(
        "/api/analytics/summary?company_id={ours}", 200, 200, 200, foreign="/api/analytics/summary?company_id={theirs}"
    ),
    "GET /api/analytics/history": Access(
        "/api/analytics/history?period=week&company_id={ours}", 200, 200, 200,
        foreign="/api/analytics/history?period=week&company_id={theirs}",
    ),
    "GET /api/analytics/explain": Access(
        "/api/analytics/explain?from=2026-01-01&to=2026-01-31&company_id={ours}", 200, 200, 200,
        foreign="/api/analytics/explain?from=2026-01-01&to=2026-01-31&company_id={theirs}",
    ),
    "GET /api/analytics/export": Access(
        "/api/analytics/export?company_id={ours}", 200, 200, 200, foreign="/api/analytics/export?company_id={theirs}"
    ),
    "GET /api/reports": Access("/api/reports?company_id={ours}", 200, 200, 200, foreign="/api/reports?company_id={theirs}"),
    "GET /api/reports/{report_id}": Access(
        "/api/reports/1?company_id={ours}", 404, 404, 404, foreign="/api/reports/1?company_id={theirs}"
    ),
    "GET /api/integrations/meta": Access(
        "/api/integrations/meta?company_id={ours}", 404, 403, 403, foreign="/api/integrations/meta?company_id={theirs}"
    ),
    "PUT /api/integrations/meta": Access(
        "/api/integrations/meta?company_id={ours}", 200, 403, 403, body={},
        foreign="/api/integrations/meta?company_id={theirs}",
    ),
    "POST /api/integrations/meta/test": Access(
        "/api/integrations/meta/test?company_id={ours}", 200, 403, 403,
        foreign="/api/integrations/meta/test?company_id={theirs}",
    ),
    "DELETE /api/integrations/meta": Access(
        "/api/integrations/meta?company_id={ours}", 204, 403, 403, foreign="/api/integrations/meta?company_id={theirs}"
    ),
    "GET /api/audit": Access("/api/audit?company_id={ours}", 200, 200, 403, foreign="/api/audit?company_id={theirs}"),
    "GET /api/entitlements": Access(
        "/api/entitlements?company_id={ours}", 200, 200, 200, foreign="/api/entitlements?company_id={theirs}"
    ),
    "POST /api/entitlements/reserve": Access("/api/entitlements/reserve", 422, 403, 403, body={"messages": 1}),
    "GET /api/entitlements/reservations/{reservation_id}": Access(
        "/api/entitlements/reservations/00000000-0000-0000-0000-000000000007?company_id={ours}", 404, 403, 403,
        foreign="/api/entitlements/reservations/00000000-0000-0000-0000-000000000007?company_id={theirs}",
    ),
    "DELETE /api/entitlements/reservations/{reservation_id}": Access(
        "/api/entitlements/reservations/00000000-0000-0000-0000-000000000007?company_id={ours}", 404, 403, 403,
        foreign="/api/entitlements/reservations/00000000-0000-0000-0000-000000000007?company_id={theirs}",
    ),
    "GET /api/endpoints": Access(
        "/api/endpoints?company_id={ours}", 200, 200, 200, foreign="/api/endpoints?company_id={theirs}"
    ),
    "POST /api/endpoints": Access(
        "/api/endpoints", 422, 201, 403, body={"channel": "mail", "address": "dona@example.com"}
    ),
    "GET /api/endpoints/{endpoint_id}": Access(
        "/api/endpoints/{endpoint}", 200, 200, 200, foreign="/api/endpoints/{foreign_endpoint}"
    ),
    "PATCH /api/endpoints/{endpoint_id}": Access(
        "/api/endpoints/{endpoint}", 200, 200, 403, body={"description": "x"}, foreign="/api/endpoints/{foreign_endpoint}"
    ),
    "DELETE /api/endpoints/{endpoint_id}": Access(
        "/api/endpoints/{spare_endpoint}", 404, 204, 403, foreign="/api/endpoints/{foreign_endpoint}"
    ),
    "POST /api/endpoints/{endpoint_id}/rotate": Access(
        "/api/endpoints/{endpoint}/rotate", 422, 422, 403, foreign="/api/endpoints/{foreign_endpoint}/rotate"
    ),
    "POST /api/endpoints/{endpoint_id}/test": Access(
        "/api/endpoints/{endpoint}/test", 202, 202, 403, foreign="/api/endpoints/{foreign_endpoint}/test"
    ),
    "POST /api/endpoints/{endpoint_id}/enable": Access(
        "/api/endpoints/{endpoint}/enable", 200, 200, 403, foreign="/api/endpoints/{foreign_endpoint}/enable"
    ),
    "POST /api/endpoints/{endpoint_id}/redeliver": Access(
        "/api/endpoints/{endpoint}/redeliver", 422, 422, 403, body={"since": "2020-01-01T00:00:00Z"},
        foreign="/api/endpoints/{foreign_endpoint}/redeliver",
    ),
    "GET /api/deliveries": Access(
        "/api/deliveries?company_id={ours}", 200, 200, 200, foreign="/api/deliveries?company_id={theirs}"
    ),
    "GET /api/deliveries/{delivery_id}": Access(
        "/api/deliveries/{delivery}", 200, 200, 200, foreign="/api/deliveries/{foreign_delivery}"
    ),
    "POST /api/deliveries/{delivery_id}/redeliver": Access(
        "/api/deliveries/{delivery}/redeliver", 202, 202, 403, foreign="/api/deliveries/{foreign_delivery}/redeliver"
    ),
    "POST /api/messages": Access("/api/messages", 422, 403, 403, body={}),
    "POST /api/whatsapp-accounts": Access(
        "/api/whatsapp-accounts", 404, 403, 403, body={"company_id": 987654321, "phone_number_id": "1", "name": "Nova"}
    ),
    "GET /api/whatsapp-accounts": Access(
        "/api/whatsapp-accounts?company_id={ours}", 200, 200, 200, foreign="/api/whatsapp-accounts?company_id={theirs}"
    ),
    "GET /api/whatsapp-accounts/{account_id}/details": Access(
        "/api/whatsapp-accounts/{account}/details", 200, 200, 200,
        foreign="/api/whatsapp-accounts/{foreign_account}/details",
    ),
    "GET /api/whatsapp-accounts/{account_id}/picture": Access(
        "/api/whatsapp-accounts/{account}/picture", 404, 404, 404,
        foreign="/api/whatsapp-accounts/{foreign_account}/picture",
    ),
    "POST /api/templates": Access(
        "/api/templates", 404, 403, 403, body={"account_id": 987654321, "name": "x", "category": "UTILITY"}
    ),
    "GET /api/templates": Access(
        "/api/templates?company_id={ours}", 200, 200, 200, foreign="/api/templates?company_id={theirs}"
    ),
    # A signature is the credential there: tests/web/test_whatsapp.py.
    "GET /webhooks/whatsapp": PUBLIC,
    "POST /webhooks/whatsapp": PUBLIC,
    "GET /webhooks/whatsapp/{integration_id}": PUBLIC,
    "POST /webhooks/whatsapp/{integration_id}": PUBLIC,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": PUBLIC,  # to this machine; others: tests/web/test_metrics.py
    "GET /openapi.json": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/reference.css": PUBLIC,
    # The panel's own tests hold its pages to owner, member and stranger; here, that none is left open.
    "GET /estatico/{name}": PUBLIC,
    "GET /_/eventos": "stream",
    "GET /_/sessao": Access("/_/sessao", 200, 200, 200),
    "GET /": PAGE,
    "GET /empresas": PAGE,
    "GET /empresas/{company_id}": PAGE,
    "GET /empresas/{company_id}/contas": PAGE,
    "GET /empresas/{company_id}/primeiros-passos": PAGE,
    # A form: tests/web/test_panel_overview.py holds it to owner, member and stranger.
    "POST /empresas/{company_id}/primeiros-passos/ocultar": PUBLIC,
    "GET /alertas": PAGE,
    "GET /empresas/{company_id}/alertas": PAGE,
    # A form: tests/web/test_panel_alerts.py holds it to owner, member and stranger.
    "POST /empresas/{company_id}/alertas/{alert_id}/reconhecer": PUBLIC,
    "GET /empresas/exportar.{extension}": PAGE,
    "GET /empresas/{company_id}/exportar.{extension}": PAGE,
    "GET /empresas/{company_id}/relatorio.pdf": PAGE,
    "GET /empresas/{company_id}/arquivo": PAGE,
    "GET /empresas/{company_id}/arquivo/{report_id}.pdf": PAGE,
    "GET /verify/{code}": PUBLIC,
    "GET /empresas/{company_id}/analytics": PAGE,
    "GET /empresas/{company_id}/explicar": PAGE,
    "GET /configuracoes": PAGE,
    # Forms of the panel: tests/web/test_panel_accounts.py holds them to operator, member and stranger.
    "POST /configuracoes/meta": PUBLIC,
    "POST /configuracoes/meta/testar": PUBLIC,
    # And tests/web/test_panel_rate_cards.py these.
    "POST /configuracoes/tabelas/previa": PUBLIC,
    "POST /configuracoes/tabelas": PUBLIC,
    "POST /configuracoes/tabelas/usar": PUBLIC,
    # And tests/web/test_panel_settings.py these.
    "GET /configuracoes/empresa": PAGE,
    "POST /configuracoes/empresa": PUBLIC,
    "POST /configuracoes/empresa/situacao": PUBLIC,
    "GET /configuracoes/chaves": PAGE,
    "POST /configuracoes/chaves": PUBLIC,
    "POST /configuracoes/chaves/revogar": PUBLIC,
    "GET /configuracoes/usuarios": PAGE,
    "POST /configuracoes/usuarios": PUBLIC,
    "POST /configuracoes/usuarios/desativar": PUBLIC,
    "POST /configuracoes/usuarios/senha": PUBLIC,
    "GET /configuracoes/registro": PAGE,
    # test_panel_plans.py, test_panel_endpoints.py and test_panel_deliveries.py these.
    "GET /configuracoes/plano": PAGE,
    "GET /configuracoes/plano/{plan_id}": PAGE,
    "POST /configuracoes/plano/escolher": PUBLIC,
    "POST /configuracoes/plano/novo": PUBLIC,
    "POST /configuracoes/plano/{plan_id}": PUBLIC,
    "GET /configuracoes/webhooks": PAGE,
    "POST /configuracoes/webhooks": PUBLIC,
    "POST /configuracoes/webhooks/testar": PUBLIC,
    "POST /configuracoes/webhooks/girar": PUBLIC,
    "POST /configuracoes/webhooks/reativar": PUBLIC,
    "POST /configuracoes/webhooks/remover": PUBLIC,
    "GET /configuracoes/webhooks/{endpoint_id}": PAGE,
    "POST /configuracoes/webhooks/{endpoint_id}": PUBLIC,
    "GET /alertas/entregas": PAGE,
    "POST /alertas/entregas/reenviar-desde": PUBLIC,
    "GET /alertas/entregas/{delivery_id}": PAGE,
    "POST /alertas/entregas/{delivery_id}/reenviar": PUBLIC,
    "GET /entrar": PUBLIC,
    "POST /entrar": PUBLIC,
    "POST /sair": PUBLIC,
    "POST /idioma": PUBLIC,
    "POST /tema": PUBLIC,
}  # fmt: skip


def table_of(app: FastAPI) -> set[str]:
    found = set()
    for route in iter_route_contexts(app.routes):
        for method in route.methods or set():
            if method != "HEAD":
                found.add(f"{method} {route.path}")
    return found


def filled(path: str, shop: Shop) -> str:
    return path.format(
        ours=shop.ours, theirs=shop.theirs, key=shop.key_ids["spare"], foreign_key=shop.key_ids["key_theirs"],
        account=shop.accounts["ours"], foreign_account=shop.accounts["theirs"],
        endpoint=shop.endpoints["ours"], foreign_endpoint=shop.endpoints["theirs"],
        spare_endpoint=shop.endpoints["spare_ours"],
        delivery=shop.deliveries["ours"], foreign_delivery=shop.deliveries["theirs"],
    )  # fmt: skip


async def send(client: httpx2.AsyncClient, route: str, path: str, *, body: Any, headers: Any) -> httpx2.Response:
    return await client.request(route.split(maxsplit=1)[0], path, json=body, headers=headers)


async def test_every_route_has_its_line(app: FastAPI) -> None:
    assert sorted(table_of(app) ^ ROUTES.keys()) == []


def with_access() -> list[tuple[str, Access]]:
    return [(route, access) for route, access in ROUTES.items() if isinstance(access, Access)]


async def test_operator_member_key_and_stranger_get_what_the_table_says(client: httpx2.AsyncClient, shop: Shop) -> None:
    for route, access in with_access():
        path = filled(access.path, shop)
        nobody = await send(client, route, path, body=access.body, headers={})
        assert nobody.status_code == access.stranger, route
        assert nobody.headers["content-type"] == "application/problem+json", route
        for who, expected in (("key_ours", access.key), ("ours", access.ours), ("operator", access.operator)):
            if route == "POST /api/auth/logout" and who == "operator":
                continue
            answer = await send(client, route, path, body=access.body, headers=shop.bearer(who))
            assert answer.status_code == expected, (route, who, answer.text)
            if route == "POST /api/auth/logout" and who == "ours":
                opened = await client.post("/api/auth/login", json={"email": "ours@example.com", "password": PASSWORD})
                shop.tokens["ours"] = opened.json()["token"]
                client.cookies.clear()


async def test_pages_lead_strangers_and_keys_to_the_login(client: httpx2.AsyncClient, shop: Shop) -> None:
    for route in [route for route, access in ROUTES.items() if access == PAGE]:
        path = route.split()[1].replace("{company_id}", str(shop.ours)).replace("{report_id}", "1")
        for headers in ({}, shop.bearer("key_ours")):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 303, route
            assert answer.headers["location"].startswith("/entrar"), route


async def test_the_stream_is_closed_to_strangers(client: httpx2.AsyncClient, shop: Shop) -> None:
    assert (await client.get("/_/eventos")).status_code == 401


def without_request_id(answer: httpx2.Response) -> tuple[int, Any, list[tuple[str, str]]]:
    body = answer.json()
    body.pop("request_id")
    headers = sorted((name, value) for name, value in answer.headers.items() if name != "x-request-id")
    return answer.status_code, body, headers


def rows_of(owner_url: str, company_id: int) -> list[Any]:
    tables = ("companies", "company_heads", "users", "api_keys", "sessions", "audit_log", "directory", "prices")
    with psycopg.connect(owner_url) as connection:
        connection.execute("SET row_security = off")
        return [
            connection.execute(
                f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t WHERE company_id = %s",
                (company_id,),
            ).fetchone()
            for table in tables
        ]


async def test_anothers_anything_answers_as_what_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop, endpoints: Endpoints
) -> None:
    assert endpoints.admin_url is not None
    nothing = Shop(
        shop.ours, theirs=987654321, key_ids={**shop.key_ids, "key_theirs": "00000000deadbeef"},
        accounts={**shop.accounts, "theirs": 987654321},
        endpoints={**shop.endpoints, "theirs": 987654321},
        deliveries={**shop.deliveries, "theirs": 987654321},
    )  # fmt: skip
    before = rows_of(endpoints.admin_url, shop.theirs)
    for route, access in with_access():
        if access.foreign is None:
            continue
        for who in ("ours", "key_ours"):
            headers = shop.bearer(who) | {"X-Tenant-Id": str(shop.theirs), "X-Company-Id": str(shop.theirs)}
            theirs = await send(client, route, filled(access.foreign, shop), body=access.body, headers=headers)
            missing = await send(client, route, filled(access.foreign, nothing), body=access.body, headers=headers)
            allowed = access.key if who == "key_ours" else access.ours
            assert theirs.status_code == (403 if allowed == 403 else 404), (route, who)
            assert without_request_id(theirs) == without_request_id(missing), (route, who)
            assert "Alheia" not in theirs.text
    assert rows_of(endpoints.admin_url, shop.theirs) == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"company_id": "{theirs}"}, 404, "company_not_found"),
        ({"company_id": 987654321}, 404, "company_not_found"),
        ({"tenant_id": 1}, 422, "unknown_field"),
        ({"role": "operator"}, 422, "unknown_field"),
        ({"scopes": ["usage:backfill"]}, 403, "scope_not_yours"),
        ({"scopes": ["keys:write"]}, 403, "scope_not_yours"),
        ({"scopes": ["companies:write"]}, 422, "operator_only_scope"),
        ({"scopes": ["everything"]}, 422, "unknown_scope"),
        ({"scopes": []}, 422, "invalid_value"),
        ({"company_id": True}, 422, "invalid_value"),
        ({"company_id": "1"}, 422, "invalid_value"),
        ({"company_id": -1}, 422, "invalid_value"),
        ({"company_id": 2**63}, 422, "invalid_value"),
        ({"name": "a" * 201}, 422, "too_long"),
    ],
)
async def test_a_member_makes_no_key_beyond_its_company_and_the_default_scopes(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    if body.get("company_id") == "{theirs}":
        body = {"company_id": shop.theirs}
    answer = await client.post("/api/keys", json=body, headers=shop.bearer("ours"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_member_sees_its_own_company_only(client: httpx2.AsyncClient, shop: Shop) -> None:
    for who in ("ours", "key_ours"):
        listed = (await client.get("/api/companies", headers=shop.bearer(who))).json()
        assert [company["id"] for company in listed["companies"]] == [shop.ours]
        assert listed["next_after"] is None
        mine = await client.get("/api/analytics/summary", headers=shop.bearer(who))
        assert mine.json()["company"]["id"] == shop.ours
    keys = (await client.get("/api/keys", headers=shop.bearer("ours"))).json()["keys"]
    assert {key["company_id"] for key in keys} == {shop.ours}


async def test_requests_of_two_companies_at_once_never_meet(client: httpx2.AsyncClient, shop: Shop) -> None:
    async def ask(who: str) -> int:
        answer = await client.get("/api/analytics/summary", headers=shop.bearer(who))
        return int(answer.json()["company"]["id"])

    who = ["ours", "theirs"] * 40
    found = await asyncio.gather(*(ask(name) for name in who))
    assert found == [shop.ours, shop.theirs] * 40


async def test_two_companies_may_have_one_name(client: httpx2.AsyncClient, shop: Shop) -> None:
    for _ in range(2):
        answer = await client.post("/api/companies", json={"name": "Igual"}, headers=shop.bearer("operator"))
        assert answer.status_code == 201
        location = answer.headers["location"]
        again = await client.get(location, headers=shop.bearer("operator"))
        assert again.json() == answer.json()


async def test_every_answer_carries_the_security_headers(client: httpx2.AsyncClient, shop: Shop) -> None:
    for route, access in ROUTES.items():
        if route == "GET /_/eventos":
            continue
        if isinstance(access, Access):
            path, body = filled(access.path, shop), access.body
        else:
            path, body = route.split()[1].replace("{company_id}", str(shop.ours)).replace("{name}", "x"), None
        for headers in ({}, shop.bearer("theirs"), shop.cookie("operator") | SAME_ORIGIN):
            answer = await send(client, route, path, body=body, headers=headers)
            client.cookies.clear()
            assert answer.status_code < 500, (route, answer.text)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, route
            assert "frame-ancestors 'none'" in policy, route
            assert "unsafe" not in policy, route
            assert answer.headers["x-content-type-options"] == "nosniff", route
            assert answer.headers["referrer-policy"] == "same-origin", route
            assert answer.headers["x-request-id"], route
            cached = route == "GET /docs/reference.css" or route.startswith("GET /estatico/")
            assert cached or "no-store" in answer.headers["cache-control"], route
            if answer.status_code == 204:
                break
