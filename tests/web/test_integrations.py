"""The connection to Meta over HTTP: entered, shown masked, tested, removed; no secret in any body."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.outbound.fake_graph import AD_ACCOUNT_ID, WABA_ID, FakeGraph, Fault
from secretaria.outbound.meta_graph import MetaGraph
from secretaria.services.meta import MetaService
from secretaria.web.app import create_app
from tests.web.conftest import BASE_URL, Shop

pytestmark = pytest.mark.anyio

PATH = "/api/integrations/meta"
SECRETS = {
    "access_token": "EAAcanarytoken0123456789tail",
    "app_secret": "canaryappsecret0123456789tail",
    "verify_token": "canaryverify0123456789tail",
}
EVERYTHING = SECRETS | {"waba_id": WABA_ID, "ad_account_id": AD_ACCOUNT_ID, "business_id": "987"}


@pytest.fixture
async def connected(application: Application) -> AsyncIterator[tuple[httpx2.AsyncClient, FakeGraph, list[str]]]:
    """A client whose server asks the fake Graph API, and every body that it answered."""
    bodies: list[str] = []

    async def keep(response: httpx2.Response) -> None:
        await response.aread()
        bodies.append(response.text + repr(response.headers))

    with FakeGraph() as fake:
        meta = MetaService(application.database, application.integrations, MetaGraph(fake.url))
        app = create_app(replace(application, meta=meta))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL, event_hooks={"response": [keep]}) as client:
            yield client, fake, bodies
        await meta.close()


async def test_a_connection_is_made_shown_tested_and_removed_without_a_secret_in_any_body(
    connected: tuple[httpx2.AsyncClient, FakeGraph, list[str]], shop: Shop
) -> None:
    client, fake, bodies = connected
    to = {"params": {"company_id": shop.ours}, "headers": shop.bearer("operator")}
    missing = await client.get(PATH, **to)
    assert (missing.status_code, missing.json()["code"]) == (404, "integration_not_found")
    made = await client.put(PATH, json=EVERYTHING, **to)
    assert made.status_code == 200, made.text
    body = made.json()
    assert {name: body[name] for name in SECRETS} == dict.fromkeys(SECRETS, "••••tail")
    assert (body["ad_account_id"], body["total_source"], body["today_source"]) == (AD_ACCOUNT_ID, "messages", "estimated")
    assert {part["part"]: part["state"] for part in body["parts"]} == dict.fromkeys(("ads", "messages", "profile"), "waiting")
    assert (await client.get(PATH, **to)).json() == body

    tested = (await client.post(f"{PATH}/test", **to)).json()
    assert tested["ok"]
    assert {check["part"]: check["outcome"] for check in tested["checks"]} == dict.fromkeys(("messages", "ads", "profile"), "ok")
    fake.world.faults["insights"] = Fault.FORBIDDEN
    tested = (await client.post(f"{PATH}/test", **to)).json()
    assert not tested["ok"]
    assert [(check["outcome"], check["meta_code"]) for check in tested["checks"]] == [("ok", None), ("reconnect", 200), ("ok", None)]
    fake.world.faults["*"] = Fault.EXPIRED
    tested = (await client.post(f"{PATH}/test", **to)).json()
    assert {check["meta_code"] for check in tested["checks"]} == {190}

    changed = (await client.put(PATH, json={"total_source": "ads", "verify_token": None}, **to)).json()
    assert (changed["total_source"], changed["verify_token"], changed["app_secret"]) == ("ads", None, "••••tail")
    for wrong in ({"access_token": SECRETS["access_token"] + " x"}, {"app_secret": 5}, {"secret": SECRETS["app_secret"]}):
        assert (await client.put(PATH, json=wrong, **to)).status_code == 422
    for _ in range(2):
        assert (await client.delete(PATH, **to)).status_code == 204
    assert (await client.post(f"{PATH}/test", **to)).status_code == 404
    assert len(bodies) > 10
    assert [secret for secret in SECRETS.values() if secret[:-4] in "".join(bodies)] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"ad_account_id": "123"}, "invalid_ad_account_id"),
        ({"waba_id": "abc"}, "invalid_meta_id"),
        ({"access_token": "••••tail"}, "invalid_secret"),
        ({"today_source": "maybe"}, "invalid_choice"),
        ({"waba_id": 123}, "invalid_value"),
        ({"access_token": "x" * 2_001}, "too_long"),
        ({"access_tokens": "x"}, "unknown_field"),
    ],
)
async def test_what_cannot_be_is_named_by_its_field(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, Any], code: str
) -> None:
    answer = await client.put(PATH, params={"company_id": shop.ours}, json=body, headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(body))}"
