"""One application, two companies, and everyone who may stand at the door: operators, members, keys, strangers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest
from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS, Scope
from secretaria.core.account import Role
from secretaria.web.app import create_app
from secretaria.web.auth import COOKIE

BASE_URL = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery staple"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Shop:
    """Two companies that must not know of each other, and the tokens of everyone around them."""

    ours: int
    theirs: int
    tokens: dict[str, str] = field(default_factory=dict)
    key_ids: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    endpoints: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, int] = field(default_factory=dict)

    def bearer(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    def cookie(self, who: str) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.tokens[who]}"}


@pytest.fixture
def app(application: Application) -> FastAPI:
    return create_app(application)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as made:
        yield made


@pytest.fixture
async def shop(application: Application) -> Shop:
    """operator, ours and theirs are people; the key_ tokens are API keys."""
    now = application.clock()
    companies = [await application.companies.create(PROCESS, name, now=now) for name in ("Nossa", "Alheia")]
    shop = Shop(ours=companies[0].company_id, theirs=companies[1].company_id)
    access = application.access
    for who, company_id in (("operator", None), ("ours", shop.ours), ("theirs", shop.theirs)):
        role = Role.MEMBER if company_id else Role.OPERATOR
        email = f"{who}@example.com"
        await access.create_user(PROCESS, email, role=role, company_id=company_id, password=PASSWORD)
        shop.tokens[who] = (await access.panel_token(PROCESS, email)).token
        made = await access.create_api_key(PROCESS, company_id, list(Scope) if not company_id else ["analytics:read"])
        shop.tokens[f"key_{who}"], shop.key_ids[f"key_{who}"] = made.text, made.key.key_id
    for who, company_id in (("ours", shop.ours), ("theirs", shop.theirs)):
        account = await application.accounts.create(PROCESS, company_id, f"number-of-{who}", "Recepção", now=now)
        shop.accounts[who] = account.account_id
        endpoints, address = application.delivery_endpoints, f"{who}@example.com"
        for name in (who, f"spare_{who}"):
            added = await endpoints.create(PROCESS, company_id, "mail", address, now=now)
            shop.endpoints[name] = added.endpoint.endpoint_id
        shop.deliveries[who] = await endpoints.test(PROCESS, shop.endpoints[who], now)
    spare = await access.create_api_key(PROCESS, shop.ours)
    shop.key_ids["spare"] = spare.key.key_id
    return shop
