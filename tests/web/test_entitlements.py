"""The entitlement check and reservations over HTTP, as docs/api.md tells them."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS, Scope
from secretaria.embedded.servers import Endpoints
from tests.shop import event_json
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


@pytest.fixture
async def key(application: Application, shop: Shop) -> Headers:
    made = await application.access.create_api_key(PROCESS, shop.ours, [Scope.USAGE_WRITE])
    return {"Authorization": f"Bearer {made.text}"}


def give_plan(endpoints: Endpoints, company_id: int, **limits: Any) -> None:
    """Give a company a hard plan of its own from ever on, before anybody asks."""
    whole = {"messages": None, "tokens": None, "cost": None, "hard": True} | limits
    with psycopg.connect(endpoints.admin_url or "") as connection:
        connection.execute(
            "WITH plan AS (INSERT INTO plans (name, currency, created_at) VALUES ('Básico', 'BRL', now()) RETURNING *), "
            "terms AS (INSERT INTO plan_limits (plan_id, effective_from, messages, tokens, cost, hard, created_at) "
            "SELECT plan_id, '2020-01-01', %(messages)s, %(tokens)s, %(cost)s, %(hard)s, now() FROM plan) "
            "INSERT INTO company_plans (company_id, plan_id, effective_from, created_at) "
            "SELECT %(company_id)s, plan_id, '2020-01-01', now() FROM plan",
            {"company_id": company_id, **whole},
        )


async def use(client: httpx2.AsyncClient, key: Headers, **data: Any) -> httpx2.Response:
    return await client.post("/api/usage", json=event_json(str(uuid4()), **data), headers=key)


async def test_the_answer_is_as_documented(
    client: httpx2.AsyncClient, shop: Shop, key: Headers, endpoints: Endpoints
) -> None:
    give_plan(endpoints, shop.ours, messages=1_000, cost=Decimal("34.2"))
    await use(client, key, messages=600, tokens_input=40, tokens_output=60)
    made = await client.post("/api/entitlements/reserve", json={"messages": 300, "cost": "1.5"}, headers=key)
    assert made.status_code == 201
    answer = await client.get("/api/entitlements", params={"company_id": shop.ours}, headers=shop.bearer("ours"))
    found = answer.json()
    as_of = datetime.fromisoformat(found.pop("as_of"))
    assert as_of.utcoffset() == timedelta(hours=-3)
    assert found == {
        "company_id": shop.ours, "status": "active", "allowed": True, "reason": None, "hard": True, "currency": "BRL",
        "metrics": [
            {"metric": "messages", "used": 600, "limit": 1000, "reserved": 300, "remaining": 100, "percent": "60.00",
             "state": "normal", "allowed": True},
            {"metric": "tokens", "used": 100, "limit": None, "reserved": 0, "remaining": None, "percent": None,
             "state": "normal", "allowed": True},
            {"metric": "cost", "used": "30.002", "limit": "34.20", "reserved": "1.50", "remaining": "2.698",
             "percent": "87.72", "state": "warning", "allowed": True},
        ],
    }  # fmt: skip


async def test_owner_member_keys_and_strangers(client: httpx2.AsyncClient, shop: Shop, key: Headers) -> None:
    for headers in (key, shop.bearer("ours"), shop.bearer("key_ours")):
        assert (await client.get("/api/entitlements", headers=headers)).json()["company_id"] == shop.ours
        foreign = await client.get("/api/entitlements", params={"company_id": shop.theirs}, headers=headers)
        nobody = await client.get("/api/entitlements", params={"company_id": 987654321}, headers=headers)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "company_not_found")
        assert foreign.json() | {"request_id": ""} == nobody.json() | {"request_id": ""}
    operator = shop.bearer("key_operator")
    assert (await client.get("/api/entitlements", headers=operator)).json()["code"] == "missing_field"
    assert (await client.get(f"/api/entitlements?company_id={shop.theirs}", headers=operator)).status_code == 200
    assert (await client.get("/api/entitlements")).status_code == 401


async def test_a_suspended_companys_usage_is_still_taken_and_nothing_else(
    client: httpx2.AsyncClient, shop: Shop, key: Headers, application: Application
) -> None:
    await application.companies.suspend(PROCESS, shop.ours)
    found = (await client.get("/api/entitlements", headers=key)).json()
    assert (found["allowed"], found["reason"], found["status"]) == (False, "suspended", "suspended")
    sent = await use(client, key, messages=1)
    assert (sent.status_code, sent.json()["accepted"]) == (200, 1)
    refused = await client.post("/api/entitlements/reserve", json={"messages": 1}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (409, "suspended")


async def test_a_reservation_is_made_shown_used_and_released(
    client: httpx2.AsyncClient, shop: Shop, key: Headers, endpoints: Endpoints
) -> None:
    give_plan(endpoints, shop.ours, messages=10, tokens=100)
    body = {"messages": 6, "tokens": 100, "id": str(uuid4()), "expires_in_s": 60}
    made = await client.post("/api/entitlements/reserve", json=body, headers=key)
    found = made.json()
    assert (made.status_code, found["id"], found["company_id"]) == (201, body["id"], shop.ours)
    assert found["held"] == found["left"] == {"messages": 6, "tokens": 100, "cost": "0.00"}
    assert found["remaining"] == {"messages": 4, "tokens": 0, "cost": None}
    lasts = datetime.fromisoformat(found["expires_at"]) - datetime.fromisoformat(found["created_at"])
    assert lasts == timedelta(seconds=60)
    again = await client.post("/api/entitlements/reserve", json=body | {"id": body["id"].upper()}, headers=key)
    assert (again.status_code, again.json()) == (201, found)
    other = await client.post("/api/entitlements/reserve", json=body | {"messages": 5}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "id_conflict")
    refused = await client.post("/api/entitlements/reserve", json={"messages": 5}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")
    assert refused.json()["remaining"] == {"messages": 4, "tokens": 0, "cost": None}
    assert (await use(client, key, messages=2, reservation_id=body["id"])).status_code == 200
    path = f"/api/entitlements/reservations/{body['id']}"
    assert (await client.get(path, headers=key)).json()["left"] == {"messages": 4, "tokens": 100, "cost": "0.00"}
    for _ in range(2):
        assert (await client.delete(path, headers=key)).status_code == 204
    assert (await client.get(path, headers=key)).json()["released_at"] is not None
    metrics = (await client.get("/api/entitlements", headers=key)).json()["metrics"]
    assert [row["reserved"] for row in metrics] == [0, 0, "0.00"]


async def test_the_operator_reserves_for_any_company(client: httpx2.AsyncClient, shop: Shop) -> None:
    operator = shop.bearer("key_operator")
    nobody = await client.post("/api/entitlements/reserve", json={"messages": 1}, headers=operator)
    assert nobody.json()["code"] == "missing_field"
    body = {"messages": 1, "company_id": shop.theirs}
    made = await client.post("/api/entitlements/reserve", json=body, headers=operator)
    assert (made.status_code, made.json()["company_id"]) == (201, shop.theirs)
    path = f"/api/entitlements/reservations/{made.json()['id']}"
    assert (await client.delete(f"{path}?company_id={shop.theirs}", headers=operator)).status_code == 204
    assert (await client.get(f"{path}?company_id={shop.ours}", headers=operator)).status_code == 404


async def test_anothers_reservation_is_one_that_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop, key: Headers
) -> None:
    body = {"messages": 1, "company_id": shop.theirs}
    made = await client.post("/api/entitlements/reserve", json=body, headers=shop.bearer("key_operator"))
    assert (await client.post("/api/entitlements/reserve", json=body, headers=key)).json()["code"] == "company_not_found"
    for name in (made.json()["id"], str(uuid4()), "x", "{" + made.json()["id"] + "}"):
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/api/entitlements/reservations/{name}", headers=key)
            assert (answer.status_code, answer.json()["code"]) == (404, "reservation_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "nothing_wanted"),
        ({"messages": 0, "cost": "0.00"}, "nothing_wanted"),
        ({"messages": -1}, "invalid_value"),
        ({"messages": 10**12 + 1}, "invalid_value"),
        ({"messages": "1"}, "invalid_value"),
        ({"messages": 1.5}, "invalid_value"),
        ({"messages": True}, "invalid_value"),
        ({"messages": 1, "expires_in_s": 59}, "invalid_value"),
        ({"messages": 1, "expires_in_s": 604_801}, "invalid_value"),
        ({"messages": 1, "id": "7"}, "invalid_value"),
        ({"messages": 1, "id": "00000000000000000000000000000007"}, "invalid_value"),
        ({"messages": 1, "company_id": 0}, "invalid_value"),
        ({"cost": "-1"}, "negative_amount"),
        ({"cost": "1,50"}, "invalid_amount"),
        ({"cost": 1.5}, "invalid_value"),
        ({"message": 1}, "unknown_field"),
    ],
)
async def test_bad_input_is_named(client: httpx2.AsyncClient, key: Headers, body: dict[str, Any], code: str) -> None:
    answer = await client.post("/api/entitlements/reserve", json=body, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_an_event_names_its_reservation_by_a_uuid(client: httpx2.AsyncClient, key: Headers) -> None:
    refused = await use(client, key, reservation_id="7")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")
    assert (await use(client, key, reservation_id=str(uuid4()))).json()["accepted"] == 1
    assert (await use(client, key, reservation_id=None)).json()["accepted"] == 1


async def test_without_the_database_the_check_is_503_with_retry_after(
    client: httpx2.AsyncClient, key: Headers, endpoints: Endpoints
) -> None:
    assert (await client.get("/api/entitlements", headers=key)).status_code == 200
    url, name = (endpoints.admin_url or "").rsplit("/", 1)
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            answers = [await client.get("/api/entitlements", headers=key)]
            while answers[-1].status_code == 200:
                assert datetime.now().astimezone() - datetime.fromisoformat(answers[-1].json()["as_of"]) < timedelta(
                    seconds=1
                )
                answers.append(await client.get("/api/entitlements", headers=key))
            assert (answers[-1].status_code, answers[-1].headers["retry-after"].isdigit()) == (503, True)
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
