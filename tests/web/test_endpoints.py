"""Endpoints and their log over HTTP; who may what is in test_routes.py."""

import httpx2
import pytest

from secretaria.bootstrap import Application
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio


async def test_an_endpoint_is_made_shown_changed_and_removed(client: httpx2.AsyncClient, shop: Shop) -> None:
    ours = shop.bearer("ours")
    # A literal public address: nothing is asked of a name server, and nothing is sent.
    body = {"address": "https://93.184.215.14/x?key=s3cret", "description": "ERP"}
    made = await client.post("/api/endpoints", json=body, headers=ours)
    assert made.status_code == 201
    shown = made.json()
    assert shown["secret"].startswith("whsec_")
    assert (shown["channel"], shown["company_id"], shown["status"]) == ("webhook", shop.ours, "active")
    assert shown["address"] == "https://93.184.215.14/x?…"
    assert shown["events"] == [
        "usage.limit.warning", "usage.limit.critical", "usage.limit.resolved", "usage.not_priced",
        "usage.not_priced.resolved",
    ]  # fmt: skip
    path = made.headers["location"]
    secret = shown.pop("secret")
    assert (await client.get(path, headers=ours)).json() == shown
    listed = (await client.get("/api/endpoints", headers=ours)).json()["endpoints"]
    assert [of["id"] for of in listed] == [shop.endpoints["ours"], shop.endpoints["spare_ours"], shown["id"]]
    rotated = await client.post(f"{path}/rotate", headers=ours)
    assert rotated.json()["secret"] not in (None, secret)
    changed = await client.patch(path, json={"events": ["usage.limit.critical"]}, headers=ours)
    assert changed.json() == {**shown, "events": ["usage.limit.critical"]}
    assert (await client.delete(path, headers=ours)).status_code == 204
    gone = await client.get(path, headers=ours)
    assert (gone.status_code, gone.json()["code"]) == (404, "endpoint_not_found")


async def test_a_test_and_its_redelivery_stand_in_the_log(client: httpx2.AsyncClient, shop: Shop) -> None:
    ours, endpoint_id = shop.bearer("ours"), shop.endpoints["ours"]
    delivery_id = (await client.post(f"/api/endpoints/{endpoint_id}/test", headers=ours)).json()["delivery_id"]
    page = (await client.get(f"/api/deliveries?endpoint_id={endpoint_id}&limit=1", headers=ours)).json()
    assert [of["id"] for of in page["deliveries"]] == [delivery_id]
    assert page["next_after"] == delivery_id
    older = (await client.get(f"/api/deliveries?after={delivery_id}&status=waiting", headers=ours)).json()
    assert [of["id"] for of in older["deliveries"]] == [shop.deliveries["ours"]]
    assert older["next_after"] is None
    log = (await client.get(f"/api/deliveries/{delivery_id}", headers=ours)).json()
    assert (log["type"], log["status"], log["attempts"], log["log"]) == ("test.ping", "waiting", 0, [])
    assert log["body"]["data"] == {"endpoint_id": endpoint_id, "company_id": shop.ours}
    again = await client.post(f"/api/deliveries/{delivery_id}/redeliver", headers=ours)
    assert (again.status_code, again.json()["message_id"]) == (202, log["message_id"])


async def test_the_operators_own_is_company_0_and_nobody_elses(client: httpx2.AsyncClient, shop: Shop) -> None:
    operator = shop.bearer("operator")
    body = {"company_id": 0, "channel": "mail", "address": "nos@example.com", "events": ["report.weekly"]}
    made = await client.post("/api/endpoints", json=body, headers=operator)
    assert (made.status_code, made.json()["company_id"], made.json()["secret"]) == (201, None, None)
    await client.post(f"{made.headers['location']}/test", headers=operator)
    log = (await client.get("/api/deliveries?company_id=0", headers=operator)).json()["deliveries"]
    assert [of["endpoint_id"] for of in log] == [made.json()["id"]]
    for path in ("/api/endpoints?company_id=0", "/api/deliveries?company_id=0", made.headers["location"]):
        assert (await client.get(path, headers=shop.bearer("ours"))).status_code == 404
    mine = await client.post("/api/endpoints", json=body, headers=shop.bearer("ours"))
    assert (mine.status_code, mine.json()["code"]) == (404, "company_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"address": "http://93.184.215.14/x"}, "url_not_allowed"),
        ({"address": "https://10.0.0.1/x"}, "url_not_allowed"),
        ({"address": "https://[::ffff:127.0.0.1]/x"}, "url_not_allowed"),
        ({"address": "x", "channel": "mail"}, "invalid_email"),
        ({"address": "https://93.184.215.14/x", "events": ["endpoint.disabled"]}, "unknown_event"),
        ({"address": "https://93.184.215.14/x", "private_allowed": True}, "unknown_field"),
        ({}, "missing_field"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_a_422(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, object], code: str
) -> None:
    answer = await client.post("/api/endpoints", json=body, headers=shop.bearer("ours"))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_everything_since_an_instant_is_delivered_again(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    path = f"/api/endpoints/{shop.endpoints['ours']}/redeliver"
    since = application.clock().replace(microsecond=0).isoformat()
    answer = await client.post(path, json={"since": since}, headers=shop.bearer("ours"))
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 0})  # tests are not sent again
    last, first = "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"  # in UTC neither is a day there is
    too_far = ("2020-01-01T00:00:00Z", last, first)
    for wrong, code in ((since[:19], "invalid_value"), *((of, "day_out_of_range") for of in too_far)):
        answer = await client.post(path, json={"since": wrong}, headers=shop.bearer("ours"))
        assert (answer.status_code, answer.json()["code"]) == (422, code)
