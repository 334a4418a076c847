"""Coming in and going out: reliability B099 to B110."""

import httpx2
import pytest

from tests.web.conftest import PASSWORD, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio


async def login(client: httpx2.AsyncClient, email: str = "ours@example.com", password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/api/auth/login", json={"email": email, "password": password})


async def test_a_login_gives_a_token_and_the_same_as_a_cookie_that_scripts_cannot_read(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    answer = await login(client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["user"]["email"] == "ours@example.com"
    cookie = answer.headers["set-cookie"]
    assert f"panel_token={body['token']};" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    me = await client.get("/api/auth/me")
    assert me.status_code == 200, me.text
    assert me.json()["company_id"] == shop.ours
