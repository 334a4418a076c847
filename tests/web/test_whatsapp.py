"""Meta's webhook, POST /api/messages and the account card, from the outside."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.bootstrap import application as build_application
from secretaria.core.access import PROCESS
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from secretaria.store.database import transaction
from secretaria.store.recompute import recompute
from secretaria.web.app import create_app
from tests.shop import rows
from tests.web.conftest import BASE_URL, Shop
from tests.web.meta_payloads import HOOK, NUMBER, SECRET, TOKEN, WABA, envelope, hook, now_s, signature, status

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"whatsapp_app_secret": SECRET, "whatsapp_verify_token": TOKEN})


@pytest.fixture
def admin_url(endpoints: Endpoints) -> str:
    assert endpoints.admin_url is not None
    return endpoints.admin_url


@pytest.fixture
async def account_id(application: Application, shop: Shop) -> int:
    made = await application.accounts.create(
        PROCESS, shop.ours, NUMBER, "Recepção", waba_id=WABA, now=application.clock()
    )
    return made.account_id


async def post(client: httpx2.AsyncClient, payload: Any, path: str = HOOK) -> httpx2.Response:
    body = json.dumps(payload).encode()
    return await client.post(path, content=body, headers={"X-Hub-Signature-256": signature(body)})


async def details(client: httpx2.AsyncClient, shop: Shop, account_id: int, who: str = "ours") -> dict[str, Any]:
    answer = await client.get(f"/api/whatsapp-accounts/{account_id}/details", headers=shop.bearer(who))
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"] is True
    found: dict[str, Any] = answer.json()["data"]
    return found


def states(admin_url: str) -> list[tuple[Any, ...]]:
    return rows(admin_url, "SELECT state, numbers, error FROM webhook_payloads ORDER BY payload_id")


async def test_the_handshake_is_answered_to_who_knows_the_token(client: httpx2.AsyncClient) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": TOKEN}
    answer = await client.get(HOOK, params=query)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    for wrong in ({"hub.verify_token": "other"}, {"hub.verify_token": "é"}, {"hub.mode": "x"}, {"hub.challenge": "<b>"}):
        assert (await client.get(HOOK, params=query | wrong)).status_code == 403
    assert (await client.get(HOOK)).status_code == 403
    assert (await client.get(f"{HOOK}/7", params=query)).status_code == 403


@pytest.mark.parametrize(
    "header",
    [None, b"", b"sha256=", b"sha256=" + b"0" * 64, "sha256=\u00e9".encode(), b"\xff", b"0" * 64],
)
async def test_what_is_not_signed_is_refused_and_not_kept(
    client: httpx2.AsyncClient, account_id: int, admin_url: str, header: bytes | None
) -> None:
    headers: list[tuple[bytes, bytes]] = [] if header is None else [(b"X-Hub-Signature-256", header)]
    answer = await client.post(HOOK, content=json.dumps(hook(status("A", "sent"))).encode(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
    assert states(admin_url) == []


async def test_a_signature_of_another_secret_or_of_other_bytes_is_refused(client: httpx2.AsyncClient) -> None:
    body = json.dumps(hook(status("A", "sent"))).encode()
    for wrong in (signature(body, "other"), signature(body + b" ")):
        assert (await client.post(HOOK, content=body, headers={"X-Hub-Signature-256": wrong})).status_code == 401
    for path in (f"{HOOK}/7", f"{HOOK}/x", f"{HOOK}/{10**30}"):
        assert (await client.post(path, content=body, headers={"X-Hub-Signature-256": signature(body)})).status_code == 401


async def test_a_signed_status_is_on_the_card_when_it_is_answered(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, admin_url: str
) -> None:
    assert (await post(client, hook(status("A", "sent", category="utility")))).status_code == 200
    card = await details(client, shop, account_id)
    assert (card["stats_utility"], card["cost_utility"], card["stats_spending_today"]) == (1, "R$ 0,11", "R$ 0,11")
    assert (card["spending_today_exact"], card["costs_exact"]["utility"]) == ("0.105", "0.105")
    assert (card["cost_source"], card["currency"], card["stale_since"]) == ("estimated", "BRL", None)
    assert [price["unit_price"] for price in card["prices"]] == ["0.021"]
    assert card["prices"][0]["exchange_rate"] == "5.00"
    assert states(admin_url) == [("done", [], None)]
    assert card["stats_awaiting_delivery"] == 1
    for _ in range(3):
        assert (await post(client, hook(status("A", "delivered", category="utility")))).status_code == 200
    card = await details(client, shop, account_id)
    assert (card["stats_utility"], card["stats_awaiting_delivery"]) == (1, 0)


@pytest.mark.parametrize(
    ("rounding", "costs"),
    [
        ("exact", ["R$ 10,50", "R$ 23,75", "R$ 0,70", "R$ 0,00", "R$ 34,95"]),
        ("cents_down", ["R$ 10,00", "R$ 23,50", "R$ 0,70", "R$ 0,00", "R$ 34,20"]),
    ],
)
async def test_the_golden_day_is_34_95_exact_and_34_20_with_unit_prices_cut_to_cents(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, rounding: str, costs: list[str]
) -> None:
    chosen_at = application.clock() - timedelta(days=2)
    await application.rate_cards.activate(
        PROCESS, shop.ours, card="product", unit_price_rounding=rounding, now=chosen_at
    )
    statuses = [
        status(f"{category}.{number}", "delivered", category=category)
        for category, count in (("utility", 100), ("marketing", 50), ("authentication", 10))
        for number in range(count)
    ]
    assert (await post(client, hook(*statuses))).status_code == 200
    card = await details(client, shop, account_id)
    assert [card[f"stats_{name}"] for name in ("utility", "marketing", "authentication", "service")] == [100, 50, 10, 0]
    shown = [card[f"cost_{name}"] for name in ("utility", "marketing", "authentication", "service")]
    assert [*shown, card["stats_spending_today"]] == costs


async def test_a_thousand_statuses_are_answered_within_a_second(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application
) -> None:
    payload = hook(*(status(f"wamid.{number}", "sent", category="utility") for number in range(1000)))
    started = time.perf_counter()
    assert (await post(client, payload)).status_code == 200
    assert time.perf_counter() - started < 1
    assert (await details(client, shop, account_id))["stats_utility"] == 1000
    async with transaction(application.database.operator) as connection:
        assert await recompute(connection, None) == []


async def test_a_body_of_four_megabytes_is_read_and_a_longer_one_refused(
    client: httpx2.AsyncClient, account_id: int
) -> None:
    assert (await post(client, hook(status("A", "sent")) | {"padding": "x" * 3_900_000})).status_code == 200
    answer = await post(client, {"padding": "x" * 4_300_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null"])
async def test_what_is_signed_and_no_object_is_malformed(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post(HOOK, content=body, headers={"X-Hub-Signature-256": signature(body)})
    assert answer.status_code == 400


async def test_nothing_personal_is_written(client: httpx2.AsyncClient, account_id: int, admin_url: str) -> None:
    question = {"from": "5511987654321", "id": "wamid.Q", "timestamp": str(now_s()), "type": "text",
                "text": {"body": "meu segredo"}}  # fmt: skip
    payload = hook(messages=[question])
    payload["entry"][0]["changes"][0]["value"]["contacts"] = [{"profile": {"name": "Maria"}, "wa_id": "5511987654321"}]
    assert (await post(client, payload)).status_code == 200
    for table in ("webhook_payloads", "messages", "usage_events", "whatsapp_events"):
        text = str(rows(admin_url, f"SELECT t::text FROM {table} t"))
        assert not any(private in text for private in ("segredo", "Maria", "5511987654321")), table
    assert rows(admin_url, "SELECT phone_last4, country, direction FROM messages") == [("4321", "BR", "inbound")]


async def test_numbers_not_known_yet_are_set_aside_and_counted_once_their_account_is_there(
    client: httpx2.AsyncClient, shop: Shop, application: Application, admin_url: str
) -> None:
    assert (await post(client, hook(status("A", "sent", category="marketing")))).status_code == 200
    assert states(admin_url) == [("set_aside", [NUMBER], None)]
    assert (await application.webhooks.sweep(application.clock())).counted == 0
    made = await application.accounts.create(PROCESS, shop.ours, NUMBER, "Recepção", now=application.clock())
    assert (await application.webhooks.sweep(application.clock())).counted == 1
    assert (await application.webhooks.sweep(application.clock())).counted == 0
    assert states(admin_url) == [("done", [], None)]
    assert (await details(client, shop, made.account_id))["stats_marketing"] == 1


async def test_what_could_not_be_counted_is_kept_and_swept(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, admin_url: str
) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE usage_daily ADD CONSTRAINT broken CHECK (messages < 0) NOT VALID")
        assert (await post(client, hook(status("A", "sent", category="utility")))).status_code == 200
        assert [state for state, _, _ in states(admin_url)] == ["new"]
        assert (await application.webhooks.sweep(application.clock())).failed == 1
        connection.execute("ALTER TABLE usage_daily DROP CONSTRAINT broken")
    assert (await application.webhooks.sweep(application.clock())).counted == 1
    assert states(admin_url) == [("done", [], None)]
    assert (await details(client, shop, account_id))["stats_utility"] == 1


@pytest.fixture
async def without_database(
    settings: Settings, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    async with build_application(settings, endpoints) as built:
        transport = httpx2.ASGITransport(create_app(built))
        await built.database.close()
        async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as made:
            yield made


async def test_without_a_database_the_answer_is_503(without_database: httpx2.AsyncClient) -> None:
    assert (await post(without_database, hook(status("A", "sent")))).status_code == 503


async def test_webhooks_of_one_number_sent_at_once_count_each_message_once(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application
) -> None:
    words = ("sent", "delivered", "read")
    payloads = [hook(status(f"wamid.{number}", word, category="service")) for number in range(12) for word in words]
    answers = await asyncio.gather(*(post(client, payload) for payload in payloads))
    assert {answer.status_code for answer in answers} == {200}
    await application.webhooks.sweep(application.clock())
    assert (await details(client, shop, account_id))["stats_service"] == 12


async def test_a_recategorised_template_prices_what_is_sent_after_it(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application
) -> None:
    made = await client.post(
        "/api/templates", headers=shop.bearer("operator"),
        json={"account_id": account_id, "name": "lembrete", "category": "UTILITY", "language": "pt_BR"},
    )  # fmt: skip
    assert made.status_code == 201
    changed = now_s() - 60
    value = {"message_template_id": 278077987957091, "message_template_name": "lembrete",
             "message_template_language": "pt_BR", "previous_category": "UTILITY", "new_category": "MARKETING"}  # fmt: skip
    notice = value | {"correct_category": "MARKETING", "new_category": "UTILITY"}
    quality = {"message_template_id": 278077987957091, "new_quality_score": "RED", "previous_quality_score": "GREEN"}
    for told in (notice, value, value, quality):
        payload = envelope(told, "template_category_update", time=changed)
        assert (await post(client, payload)).status_code == 200
    found = (await client.get("/api/templates", headers=shop.bearer("ours"))).json()["templates"]
    assert [(row["name"], row["category"], row["quality"]) for row in found] == [("lembrete", "MARKETING", "RED")]
    sent = [
        {"id": "1", "account_id": account_id, "direction": "outbound", "template_id": found[0]["id"],
         "sent_at": datetime.fromtimestamp(changed + shift, UTC).isoformat()}
        for shift in (-1,)
    ] + [{"id": "2", "account_id": account_id, "direction": "outbound", "template_id": found[0]["id"]}]  # fmt: skip
    key = await application.access.create_api_key(PROCESS, shop.ours, ["usage:write"])
    answer = await client.post("/api/messages", json=sent, headers={"Authorization": f"Bearer {key.text}"})
    assert answer.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    card = await details(client, shop, account_id)
    assert card["stats_utility"] + card["stats_marketing"] == 2
    assert card["stats_marketing"] >= 1


async def test_account_events_are_kept_once(client: httpx2.AsyncClient, account_id: int, admin_url: str) -> None:
    value = {"event": "VOLUME_BASED_PRICING_TIER_UPDATE",
             "volume_tier_info": {"tier": "25000001:50000000", "pricing_category": "UTILITY"}}  # fmt: skip
    for _ in range(2):
        assert (await post(client, envelope(value, "account_update", time=now_s() // 100 * 100))).status_code == 200
    assert rows(admin_url, "SELECT kind, detail->>'event' FROM whatsapp_events") == [
        ("account_update", "VOLUME_BASED_PRICING_TIER_UPDATE")
    ]


@pytest.fixture
async def sender(application: Application, shop: Shop) -> dict[str, str]:
    made = await application.access.create_api_key(PROCESS, shop.ours, ["usage:write"])
    return {"Authorization": f"Bearer {made.text}"}


async def test_messages_sent_by_a_system_count_once_beside_metas(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, sender: dict[str, str]
) -> None:
    message = {"account_id": account_id, "wamid": "wamid.A", "direction": "outbound", "category": "UTILITY"}
    own = {"account_id": account_id, "id": "mine-1", "direction": "inbound"}
    answer = await client.post("/api/messages", json=[message, own], headers=sender)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "duplicates": 0, "rejected": []})
    again = await client.post("/api/messages", json=message, headers=sender)
    assert again.json() == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert (await post(client, hook(status("wamid.A", "delivered", category="marketing")))).status_code == 200
    card = await details(client, shop, account_id)
    assert (card["stats_utility"], card["stats_marketing"], card["stats_inbound"]) == (0, 1, 1)
    late = await client.post("/api/messages", json=own | {"id": "mine-2"}, headers=sender)
    assert (late.status_code, late.json()["code"]) == (422, "counted_by_webhook")
    failed = message | {"wamid": "wamid.B"}
    await client.post("/api/messages", json=[failed, failed | {"status": "failed"}], headers=sender)
    assert (await details(client, shop, account_id))["stats_utility"] == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"wamid": None}, "missing_field"),
        ({"id": "x"}, "missing_field"),
        ({"account_id": 987654321}, "account_not_found"),
        ({"template_id": 987654321}, "template_not_found"),
        ({"category": "OFFER"}, "unknown_category"),
        ({"direction": "inbound", "status": "sent"}, "invalid_status"),
        ({"status": "received"}, "invalid_status"),
        ({"status": "warning"}, "invalid_value"),
        ({"country": "br"}, "invalid_value"),
        ({"wamid": "a b"}, "invalid_identifier"),
        ({"text": "hello"}, "unknown_field"),
        ({"account_id": "1"}, "invalid_value"),
        ({"sent_at": "2026-11-20"}, "invalid_value"),
        ({"sent_at": "2020-01-01T00:00:00Z"}, "timestamp_too_old"),
        ({"sent_at": "2999-01-01T00:00:00Z"}, "timestamp_in_future"),
    ],
)
async def test_a_message_that_cannot_be_taken_is_refused_alone(
    client: httpx2.AsyncClient, account_id: int, sender: dict[str, str], change: dict[str, Any], code: str
) -> None:
    good = {"account_id": account_id, "wamid": "wamid.A", "direction": "outbound", "category": "UTILITY"}
    answer = await client.post("/api/messages", json=good | change, headers=sender)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    both = await client.post("/api/messages", json=[good | change, good | {"wamid": "wamid.B"}], headers=sender)
    assert (both.status_code, both.json()["accepted"]) == (200, 1)
    assert [(row["index"], row["code"]) for row in both.json()["rejected"]] == [(0, code)]


async def test_a_message_s_unknown_status_is_told_what_there_is_and_not_repeated(
    client: httpx2.AsyncClient, account_id: int, sender: dict[str, str]
) -> None:
    message = {"account_id": account_id, "wamid": "wamid.A", "direction": "outbound", "status": "secret"}
    answer = await client.post("/api/messages", json=message, headers=sender)
    assert "status is one of sent, delivered, read" in answer.text
    assert "secret\"" not in answer.text


async def test_one_number_is_one_account_of_whichever_company(
    client: httpx2.AsyncClient, shop: Shop, account_id: int
) -> None:
    body = {"company_id": shop.theirs, "phone_number_id": NUMBER, "name": "Outra"}
    answer = await client.post("/api/whatsapp-accounts", json=body, headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (409, "number_taken")
    made = await client.post(
        "/api/whatsapp-accounts", json=body | {"phone_number_id": "2"}, headers=shop.bearer("operator")
    )
    assert made.status_code == 201
    mine = (await client.get("/api/whatsapp-accounts", headers=shop.bearer("ours"))).json()["accounts"]
    assert [account["id"] for account in mine] == [shop.accounts["ours"], account_id]


async def test_erasing_a_customer_keeps_the_totals_and_later_webhooks_count_nothing_again(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, admin_url: str
) -> None:
    other = status("wamid.B", "sent", category="utility", recipient_id="5511911112222")
    await post(client, hook(status("wamid.A", "sent", category="utility"), other))
    assert await application.messages.erase(PROCESS, shop.ours, phone="+55 (11) 98765-4321") == 1
    assert rows(admin_url, "SELECT wamid FROM messages") == [("wamid.B",)]
    assert states(admin_url) == []
    await post(client, hook(status("wamid.A", "delivered", category="utility")))
    assert (await details(client, shop, account_id))["stats_utility"] == 2
    assert await application.messages.erase(PROCESS, shop.ours) == 1
    assert (await details(client, shop, account_id))["stats_utility"] == 2
    async with transaction(application.database.operator) as connection:
        assert await recompute(connection, None) == []


async def test_message_rows_past_their_time_go_and_the_totals_stay(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, admin_url: str
) -> None:
    await post(client, hook(status("wamid.A", "sent", category="utility")))
    assert await application.messages.remove_expired(application.clock()) == 0
    later = application.clock() + timedelta(days=application.settings.message_retention_days + 1)
    assert await application.messages.remove_expired(later) == 1
    assert await application.webhooks.remove_expired(later) == 1
    assert (await details(client, shop, account_id))["stats_utility"] == 1
    assert rows(admin_url, "SELECT count(*) FROM messages") == [(0,)]


async def test_an_account_of_another_company_does_not_exist(
    client: httpx2.AsyncClient, app: FastAPI, shop: Shop, account_id: int
) -> None:
    for path in (f"{account_id}/details", f"{account_id}/picture", "987654321/details", "x/details"):
        answer = await client.get(f"/api/whatsapp-accounts/{path}", headers=shop.bearer("theirs"))
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")


async def test_a_past_day_is_shown_and_a_day_to_come_or_misspelt_is_refused(
    client: httpx2.AsyncClient, shop: Shop, account_id: int
) -> None:
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    await post(client, hook(status("A", "sent", at=int(two_days_ago.timestamp()), category="utility")))
    path = f"/api/whatsapp-accounts/{account_id}/details?date="
    day = (two_days_ago - timedelta(hours=3)).date()
    found = (await client.get(f"{path}{day}", headers=shop.bearer("ours"))).json()["data"]
    assert (found["date"], found["stats_utility"], found["spending_today_exact"]) == (str(day), 1, "0.105")
    assert found["lines"][-1] == {
        "category": "UTILITY", "messages": 1, "not_priced": 0, "estimated": "0.105", "meta": None, "difference": None,
        "source": "estimated",
    }  # fmt: skip
    assert (await details(client, shop, account_id))["stats_utility"] == 0
    for wrong in ("2999-01-01", "2000-01-01", "20261120", "2026-13-01", "x", ""):
        answer = await client.get(f"{path}{wrong}", headers=shop.bearer("ours"))
        assert answer.status_code == 422, wrong


async def test_metas_figure_of_a_whole_day_replaces_the_estimate_and_stands_beside_it(
    client: httpx2.AsyncClient, application: Application, shop: Shop, account_id: int, admin_url: str
) -> None:
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    await post(client, hook(status("A", "sent", at=int(two_days_ago.timestamp()), category="utility")))
    day = (two_days_ago - timedelta(hours=3)).date()
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO integrations (company_id, kind, waba_id, created_at, updated_at) "
            "VALUES (%s, 'meta', %s, now(), now())",
            (shop.ours, WABA),
        )
        connection.execute(
            "INSERT INTO meta_profiles (company_id, phone_number_id, display_phone_number, verified_name, "
            "quality_rating, pulled_at) VALUES (%s, %s, '1555', 'Sorriso', 'GREEN', now())",
            (shop.ours, NUMBER),
        )
        connection.execute(
            "INSERT INTO meta_days (company_id, source, scope, day, timezone, whole, pulled_at) "
            "VALUES (%s, 'messages', %s, %s, 'America/Sao_Paulo', true, now())",
            (shop.ours, WABA, day),
        )
        connection.execute(
            "INSERT INTO meta_costs (company_id, source, scope, day, phone, category, pricing_type, volume, amount, "
            "currency, pulled_at) VALUES (%s, 'messages', %s, %s, '1555', 'UTILITY', 'REGULAR', 1, 0.02, 'USD', now())",
            (shop.ours, WABA, day),
        )
    path = f"/api/whatsapp-accounts/{account_id}/details?date={day}"
    found = (await client.get(path, headers=shop.bearer("ours"))).json()["data"]
    assert (found["cost_utility"], found["spending_today_exact"], found["cost_source"]) == ("R$ 0,10", "0.10", "meta")
    assert (found["estimated_total_exact"], found["difference_exact"]) == ("0.105", "-0.005")
    assert found["meta_connected"] is True


async def test_an_integrations_own_secret_speaks_for_its_numbers_only_and_no_other_secret_does(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, admin_url: str
) -> None:
    secrets = {"waba_id": WABA, "app_secret": "a-secret-of-its-own", "verify_token": "its-own-token"}
    shown = await application.integrations.put(PROCESS, shop.ours, secrets, application.clock())
    path = f"{HOOK}/{shown.integration.integration_id}"
    query = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": "its-own-token"}
    assert (await client.get(path, params=query)).text == "1"
    assert (await client.get(path, params=query | {"hub.verify_token": TOKEN})).status_code == 403

    async def send(payload: Any, where: str, secret: str) -> int:
        body = json.dumps(payload).encode()
        headers = {"X-Hub-Signature-256": signature(body, secret)}
        return (await client.post(where, content=body, headers=headers)).status_code

    told = hook(status("A", "sent", category="utility"))
    assert await send(told, path, SECRET) == 401
    assert await send(told, HOOK, "a-secret-of-its-own") == 401
    assert await send(told, HOOK, SECRET) == 200  # signed, but not by who speaks for this number
    theirs = hook(status("B", "sent", category="utility"), number="number-of-theirs")
    assert await send(theirs, path, "a-secret-of-its-own") == 200
    assert [state for state, _, _ in states(admin_url)] == ["set_aside", "set_aside"]
    assert (await application.webhooks.sweep(application.clock())).counted == 0
    assert (await details(client, shop, account_id))["stats_utility"] == 0
    assert await send(told, path, "a-secret-of-its-own") == 200
    assert (await details(client, shop, account_id))["stats_utility"] == 1


async def test_webhooks_count_the_same_for_a_role_that_row_level_security_holds(
    client: httpx2.AsyncClient, shop: Shop, account_id: int, application: Application, admin_url: str
) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE secretaria_ingest NOBYPASSRLS")
    try:
        assert (await post(client, hook(status("A", "sent", category="utility")))).status_code == 200
        value = {"message_template_id": 1, "message_template_name": "x", "new_category": "MARKETING"}
        assert (await post(client, envelope(value, "template_category_update"))).status_code == 200
        assert (await post(client, hook(status("B", "sent"), number="nobody's"))).status_code == 200
        assert (await application.webhooks.sweep(application.clock())).failed == 0
    finally:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("ALTER ROLE secretaria_ingest BYPASSRLS")
    assert [state for state, _, _ in states(admin_url)] == ["done", "done", "set_aside"]
    assert (await details(client, shop, account_id))["stats_utility"] == 1
    assert rows(admin_url, "SELECT name FROM templates") == [("x",)]
