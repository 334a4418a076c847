"""Plans over HTTP: made, changed, given to companies; each kind of caller, and what is refused how."""

from datetime import date, timedelta
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.services.plans import operator_day
from tests.shop import event
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio


async def make(client: httpx2.AsyncClient, shop: Shop, name: str = "Pro", **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/plans", json={"name": name, **fields}, headers=shop.bearer("operator"))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def give(client: httpx2.AsyncClient, shop: Shop, company_id: int, plan: Any, **fields: Any) -> httpx2.Response:
    body = {"plan": plan, **fields}
    return await client.put(f"/api/companies/{company_id}/plan", json=body, headers=shop.bearer("operator"))


async def test_a_plan_is_made_changed_listed_and_shown(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    operator, today = shop.bearer("operator"), operator_day(application.clock())
    fields = {"messages": 50_000, "cost": "1500.5", "thresholds": [100, 80], "hard": True}
    answer = await client.post("/api/plans", json={"name": "Pro", **fields}, headers=operator)
    assert answer.status_code == 201
    made = answer.json()
    limits = {
        "messages": 50_000, "tokens": None, "cost": "1500.50", "thresholds": [80, 100], "hard": True,
        "effective_from": today.isoformat(),
    }  # fmt: skip
    assert made["limits"].items() >= limits.items()
    assert made["versions"] == [made["limits"]]
    assert (made["name"], made["currency"], made["companies"]) == ("Pro", "BRL", 0)
    assert answer.headers["location"] == f"/api/plans/{made['id']}"
    assert (await client.get(answer.headers["location"], headers=operator)).json() == made
    later = (today + timedelta(days=30)).isoformat()
    path = f"/api/plans/{made['id']}/limits"
    changed = await client.post(
        path, json={"messages": None, "cost": "0.000000000001", "from": later}, headers=operator
    )
    assert changed.status_code == 200, changed.text
    assert changed.json()["limits"] == made["limits"]
    version = changed.json()["versions"][1]
    assert (version["messages"], version["cost"], version["hard"]) == (None, "0.000000000001", True)
    assert version["effective_from"] == later
    await make(client, shop, "Max")
    page = (await client.get("/api/plans?limit=1", headers=operator)).json()
    assert ([plan["name"] for plan in page["plans"]], page["next_after"]) == (["Pro"], made["id"])
    rest = (await client.get(f"/api/plans?after={made['id']}", headers=operator)).json()
    assert ([plan["name"] for plan in rest["plans"]], rest["next_after"]) == (["Max"], None)


async def test_a_company_is_given_plans_by_name_and_id_and_none(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    pro, best = await make(client, shop), await make(client, shop, "Max")
    today = operator_day(application.clock())
    for plan, days in ((pro["id"], 0), ("Max", 10), (None, 20)):
        answer = await give(client, shop, shop.ours, plan, **{"from": (today + timedelta(days=days)).isoformat()})
        assert answer.status_code == 200, answer.text
        assert answer.json()["effective_from"] == (today + timedelta(days=days)).isoformat()
    for who in ("operator", "ours", "key_ours"):
        found = (await client.get(f"/api/companies/{shop.ours}/plan", headers=shop.bearer(who))).json()
        assert found["current"]["plan"] == {"id": pro["id"], "name": "Pro"}
        plans = [choice["plan"] for choice in found["choices"]]
        assert plans == [{"id": pro["id"], "name": "Pro"}, {"id": best["id"], "name": "Max"}, None]
    assert (await client.get(f"/api/plans/{pro['id']}", headers=shop.bearer("operator"))).json()["companies"] == 1
    theirs = (await client.get(f"/api/companies/{shop.theirs}/plan", headers=shop.bearer("theirs"))).json()
    assert theirs == {"company_id": shop.theirs, "current": None, "choices": []}


async def test_a_member_sees_the_plans_it_has_or_had_and_another_s_as_if_there_were_none(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    own, foreign = await make(client, shop, "Nosso"), await make(client, shop, "Alheio")
    await give(client, shop, shop.ours, "Nosso")
    await give(client, shop, shop.theirs, "Alheio")
    for who in ("ours", "key_ours"):
        listed = (await client.get("/api/plans", headers=shop.bearer(who))).json()
        assert [(plan["name"], plan["companies"]) for plan in listed["plans"]] == [("Nosso", None)]
        assert (await client.get(f"/api/plans/{own['id']}", headers=shop.bearer(who))).status_code == 200
        answers = [
            await client.get(f"/api/plans/{number}", headers=shop.bearer(who))
            for number in (foreign["id"], 987654321, "x")
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "plan_not_found")}
        for method, path, body in (
            ("POST", "/api/plans", {"name": "x"}),
            ("POST", f"/api/plans/{own['id']}/limits", {"messages": 1}),
            ("PUT", f"/api/companies/{shop.ours}/plan", {"plan": None}),
            ("POST", f"/api/companies/{shop.ours}/suspend", None),
        ):
            refused = await client.request(method, path, json=body, headers=shop.bearer(who))
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), path


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({}, 422, "missing_field", "/name"),
        ({"name": "42"}, 422, "invalid_name", "/name"),
        ({"name": "Pro", "messages": 0}, 422, "invalid_plan_limit", "/messages"),
        ({"name": "Pro", "messages": "5"}, 422, "invalid_value", "/messages"),
        ({"name": "Pro", "messages": 1.5}, 422, "invalid_value", "/messages"),
        ({"name": "Pro", "messages": True}, 422, "invalid_value", "/messages"),
        ({"name": "Pro", "tokens": 10**18}, 422, "invalid_plan_limit", "/tokens"),
        ({"name": "Pro", "cost": 5}, 422, "invalid_value", "/cost"),
        ({"name": "Pro", "cost": "1,5"}, 422, "invalid_amount", "/cost"),
        ({"name": "Pro", "cost": "-1"}, 422, "negative_amount", "/cost"),
        ({"name": "Pro", "cost": "0.00"}, 422, "invalid_plan_limit", "/cost"),
        ({"name": "Pro", "cost": "0.0000000000001"}, 422, "too_precise", "/cost"),
        ({"name": "Pro", "currency": "EUR"}, 422, "unknown_currency", "/currency"),
        ({"name": "Pro", "thresholds": []}, 422, "invalid_thresholds", "/thresholds"),
        ({"name": "Pro", "thresholds": [80, 80]}, 422, "invalid_thresholds", "/thresholds"),
        ({"name": "Pro", "thresholds": [80.5]}, 422, "invalid_value", "/thresholds/0"),
        ({"name": "Pro", "thresholds": list(range(1, 200))}, 422, "too_long", "/thresholds"),
        ({"name": "Pro", "hard": "yes"}, 422, "invalid_value", "/hard"),
        ({"name": "Pro", "limit": 5}, 422, "unknown_field", "/limit"),
        ({"name": "Taken"}, 409, "plan_exists", "/name"),
    ],
)
async def test_a_plan_that_cannot_be_taken_says_which_field_is_at_fault(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    await make(client, shop, "Taken")
    answer = await client.post("/api/plans", json=body, headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "nothing_to_change"),
        ({"from": "2100-01-01"}, 422, "nothing_to_change"),
        ({"messages": 5, "from": "2020-01-01"}, 422, "effective_date_in_past"),
        ({"messages": 5, "from": "3000-01-01"}, 422, "day_out_of_range"),
        ({"messages": 5, "from": "20990101"}, 422, "invalid_value"),
        ({"messages": 5, "from": 20990101}, 422, "invalid_value"),
        ({"messages": 5, "effective_from": "2099-01-01"}, 422, "unknown_field"),
        ({"name": "Max"}, 422, "unknown_field"),
        ({"thresholds": []}, 422, "invalid_thresholds"),
    ],
)
async def test_a_change_that_cannot_be_taken_is_refused(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    made = await make(client, shop, messages=10)
    answer = await client.post(f"/api/plans/{made['id']}/limits", json=body, headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"plan": "Max"}, 404, "plan_not_found"),
        ({"plan": 987654321}, 404, "plan_not_found"),
        ({"plan": 2**70}, 404, "plan_not_found"),
        ({"plan": True}, 422, "invalid_value"),
        ({"plan": ["Pro"]}, 422, "invalid_value"),
        ({}, 422, "missing_field"),
        ({"plan": "Pro", "from": "2020-01-01"}, 422, "effective_date_in_past"),
        ({"plan": "Dollars"}, 422, "currency_mismatch"),
    ],
)
async def test_a_choice_that_cannot_be_taken_is_refused(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    await make(client, shop, messages=10)
    await make(client, shop, "Dollars", cost="5.00", currency="USD")
    path = f"/api/companies/{shop.ours}/plan"
    answer = await client.put(path, json=body, headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_company_that_does_not_exist_has_no_plan_and_cannot_be_suspended(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    await make(client, shop)
    for number in ("987654321", "x", "9" * 18):
        answers = [await client.get(f"/api/companies/{number}/plan", headers=shop.bearer("operator"))]
        answers.append(
            await client.put(
                f"/api/companies/{number}/plan", json={"plan": "Pro"}, headers=shop.bearer("operator")
            )
        )
        answers += [
            await client.post(f"/api/companies/{number}/{verb}", headers=shop.bearer("operator"))
            for verb in ("suspend", "reactivate")
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "company_not_found")}


async def test_a_company_is_suspended_and_reactivated_and_again_is_no_error(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    operator, path = shop.bearer("operator"), f"/api/companies/{shop.ours}"
    for verb, status in (("suspend", "suspended"), ("suspend", "suspended"), ("reactivate", "active")):
        answer = await client.post(f"{path}/{verb}", headers=operator)
        assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert (await client.get(path, headers=shop.bearer("ours"))).json()["status"] == status
    assert (await client.get(f"/api/companies/{shop.theirs}", headers=operator)).json()["status"] == "active"


async def test_the_summary_holds_the_contract_s_plan_and_alerts(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    plan = await make(client, shop, messages=100, cost="4.50")
    await give(client, shop, shop.ours, "Pro")
    now = application.clock()
    key = await application.access.authenticate(shop.tokens["key_operator"], now)
    sent = event("1", subject=shop.ours, messages=85, tokens_input=1000)
    assert (await application.ingest.submit(key, [(0, sent)], now=now)).accepted == 1
    answer = await client.get("/api/analytics/summary", headers=shop.bearer("key_ours"))
    found = answer.json()["plan"]
    assert (found["id"], found["name"], found["currency"]) == (plan["id"], "Pro", "BRL")
    assert (found["thresholds"], found["hard"]) == ([80, 100], False)
    of = {limit["metric"]: limit for limit in found["limits"]}
    assert of.keys() == {"messages", "cost"}
    expected = {"limit": 100, "used": 85, "percent": "85.00", "state": "warning", "lower_bound": False}
    assert of["messages"].items() >= expected.items()
    assert of["cost"].items() >= {"limit": "4.50", "used": "4.27", "percent": "94.88", "state": "warning"}.items()
    assert of["messages"]["forecast"] == {
        "outcome": "unknown", "reason": "too_little_data", "earliest": None, "likely": None, "latest": None,
        "percent_at_end": None,
    }  # fmt: skip
    alerts = answer.json()["alerts"]
    assert {(alert["kind"], alert["metric"], alert["threshold"], alert["level"]) for alert in alerts} == {
        ("limit", "messages", 80, "warning"),
        ("limit", "cost", 80, "warning"),
    }
    keys = {
        "id", "company_id", "kind", "metric", "threshold", "level", "period_start", "used", "limit", "percent",
        "fired_at", "resolved_at",
    }  # fmt: skip
    assert alerts[0].keys() >= keys
    assert date.fromisoformat(alerts[0]["period_start"]).day == 1
