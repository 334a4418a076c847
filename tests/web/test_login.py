"""Coming in and going out: reliability B066, B099 to B110."""

from datetime import timedelta

import httpx2
import psycopg
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.web.app import create_app
from tests.web.conftest import BASE_URL, PASSWORD, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

OURS = "ours@example.com"


async def login(client: httpx2.AsyncClient, email: str = OURS, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/api/auth/login", json={"email": email, "password": password})


async def test_a_login_gives_a_token_and_the_same_as_a_cookie_that_scripts_cannot_read(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    answer = await login(client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["user"] == {
        "id": body["user"]["id"], "email": OURS, "role": "member", "company_id": shop.ours, "locale": "pt-BR"
    }  # fmt: skip
    cookie = answer.headers["set-cookie"]
    assert f"panel_token={body['token']};" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    me = await client.get("/api/auth/me")
    assert me.json()["company_id"] == shop.ours
    client.cookies.clear()
    by_header = await client.get("/api/auth/me", headers={"Authorization": f"Bearer {body['token']}"})
    assert by_header.json() == me.json()


async def test_the_cookie_is_secure_when_people_come_over_tls(
    application: Application, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(application.settings, "public_url", "https://painel.example.com")
    transport = httpx2.ASGITransport(create_app(application))
    async with httpx2.AsyncClient(transport=transport, base_url="https://painel.example.com") as client:
        answer = await login(client)
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


async def test_an_address_in_other_letters_is_the_same_account(client: httpx2.AsyncClient, shop: Shop) -> None:
    assert (await login(client, "OURS@Example.COM")).status_code == 200


@pytest.mark.parametrize(
    ("email", "password"),
    [(OURS, "wrong password"), ("nobody@example.com", PASSWORD), (OURS, PASSWORD + " "), (OURS, PASSWORD.upper())],
)
async def test_an_unknown_account_and_a_wrong_password_are_the_same_answer(
    client: httpx2.AsyncClient, shop: Shop, email: str, password: str
) -> None:
    answer = await login(client, email, password)
    assert answer.status_code == 401
    assert answer.json()["code"] == "wrong_credentials"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"email": "a@b.c\r\nBcc: d@e.f", "password": PASSWORD}, 422, "invalid_email"),
        ({"email": "a" * 400 + "@example.com", "password": PASSWORD}, 422, "invalid_email"),
        ({"email": "no address", "password": PASSWORD}, 422, "invalid_email"),
        ({"email": OURS, "password": "x" * 1025}, 422, "invalid_password"),
        ({"email": OURS, "password": "a\0b"}, 422, "nul_character"),
        ({"email": OURS, "password": 12345678}, 422, "invalid_value"),
        ({"email": OURS}, 422, "missing_field"),
        ({"email": OURS, "password": PASSWORD, "role": "operator"}, 422, "unknown_field"),
        # The table says 422 for 1 MiB of password; the body's own limit comes first.
        ({"email": OURS, "password": "x" * 1024 * 1024}, 413, "body_too_large"),
    ],
)
async def test_what_can_be_no_login_is_refused_without_repeating_it(
    client: httpx2.AsyncClient, shop: Shop, body: dict[str, object], status: int, code: str
) -> None:
    answer = await client.post("/api/auth/login", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "xxxx" not in answer.text
    assert "12345678" not in answer.text


@pytest.mark.parametrize("password", [" leading space", "p" * 64, "🔑" * 16, "p" * 1024, "ação çedilha"])
async def test_a_password_is_taken_exactly_as_it_is(
    client: httpx2.AsyncClient, application: Application, shop: Shop, password: str
) -> None:
    await application.access.set_password(PROCESS, OURS, password)
    assert (await login(client, password=password)).status_code == 200
    assert (await login(client, password=password[1:])).status_code == 401


async def test_logout_counts_at_once_and_takes_the_cookie_back(client: httpx2.AsyncClient, shop: Shop) -> None:
    token = (await login(client)).json()["token"]
    answer = await client.post("/api/auth/logout", headers=SAME_ORIGIN)
    assert answer.status_code == 204
    assert 'panel_token="";' in answer.headers["set-cookie"]
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"panel_token={token}"}):
        assert (await client.get("/api/auth/me", headers=headers)).status_code == 401


async def test_a_program_with_a_cookie_jar_logs_in_and_out(client: httpx2.AsyncClient, shop: Shop) -> None:
    await login(client)
    assert (await client.post("/api/auth/logout")).status_code == 204
    assert (await client.get("/api/auth/me")).status_code == 401


async def test_a_login_makes_a_session_of_its_own_whatever_the_browser_brought(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    client.cookies.set("panel_token", "pt_0123456789abcdef_" + "a" * 43)
    first = (await login(client)).json()["token"]
    second = (await login(client)).json()["token"]
    assert len({first, second, "pt_0123456789abcdef_" + "a" * 43}) == 3


async def test_a_new_password_and_a_removal_end_every_session(
    client: httpx2.AsyncClient, application: Application, shop: Shop
) -> None:
    assert (await client.get("/api/auth/me", headers=shop.bearer("ours"))).status_code == 200
    await application.access.set_password(PROCESS, OURS, "another password")
    assert (await client.get("/api/auth/me", headers=shop.bearer("ours"))).status_code == 401
    assert (await login(client)).status_code == 401
    token = (await login(client, password="another password")).json()["token"]
    client.cookies.clear()
    await application.access.disable_user(PROCESS, OURS)
    assert (await client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert (await login(client, password="another password")).status_code == 401


async def test_a_session_ends_after_two_weeks(application: Application, client: httpx2.AsyncClient, shop: Shop) -> None:
    token = (await login(client)).json()["token"]
    access, now = application.access, application.clock()
    assert (await access.authenticate(token, now + timedelta(days=13))).company_id == shop.ours
    with pytest.raises(Exception, match="panel session is needed"):
        await access.authenticate(token, now + timedelta(days=14, seconds=1))


REFUSED_HEADERS = [
    [],
    [("Authorization", "")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer ")],
    [("Authorization", "Basic b3VyczpvdXJz")],
    [("Authorization", "Bearer nonsense")],
    [("Authorization", "Bearer sk_0123456789abcdef_" + "a" * 43)],
    [("Authorization", "Bearer pt_0123456789abcdef_" + "a" * 43)],
    [("Authorization", "Bearer " + "a" * 10 * 1024)],
    [("Authorization", b"Bearer \xe9\xff")],
    [("Cookie", "panel_token=nonsense")],
    [("Cookie", "other=1")],
]


async def test_every_credential_that_does_not_count_gets_the_one_answer(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    key = shop.tokens["key_ours"]
    doubled = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    wrong_secret = [("Authorization", f"Bearer {key[:-2]}{'A' if key[-2] != 'A' else 'B'}{key[-1]}")]
    shapes = set()
    for headers in [*REFUSED_HEADERS, doubled, wrong_secret]:
        answer = await client.get("/api/auth/me", headers=headers)
        assert answer.status_code == 401, headers
        body = answer.json()
        body.pop("request_id")
        shapes.add((repr(body), answer.headers["www-authenticate"]))
    assert len(shapes) == 1


async def test_a_header_and_a_cookie_at_once_are_refused(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await client.get("/api/auth/me", headers=shop.bearer("ours") | shop.cookie("ours"))
    assert (answer.status_code, answer.json()["code"]) == (400, "ambiguous_credentials")


@pytest.mark.parametrize("name", ["api_key", "token", "access_token", "Panel_Token"])
async def test_a_key_in_the_address_is_refused_and_told_why(client: httpx2.AsyncClient, shop: Shop, name: str) -> None:
    answer = await client.get("/api/auth/me", params={name: shop.tokens["key_ours"]}, headers=shop.bearer("ours"))
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_in_url")
    assert shop.tokens["key_ours"] not in answer.text


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": BASE_URL}, False),
        ({"Origin": BASE_URL}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": BASE_URL + ".evil.example"}, False),
        ({"Referer": BASE_URL + "/empresas"}, True),
        ({"Referer": "https://evil.example/form"}, False),
        ({"Referer": "http://[::1"}, False),
        # A program with a cookie jar: no browser sends JSON to another site without asking us first.
        ({}, True),
    ],
)
async def test_with_the_cookie_only_our_own_pages_change_something(
    client: httpx2.AsyncClient, shop: Shop, headers: dict[str, str], allowed: bool
) -> None:
    answer = await client.post("/api/keys", json={}, headers=shop.cookie("ours") | headers)
    assert answer.status_code == (201 if allowed else 403), answer.text
    assert allowed or answer.json()["code"] == "cross_site"
    # A form that another site sends as text/plain says cross-site too, and reading stays possible.
    assert (await client.get("/api/keys", headers=shop.cookie("ours") | headers)).status_code == 200


async def test_a_form_of_another_site_changes_nothing(client: httpx2.AsyncClient, shop: Shop) -> None:
    headers = shop.cookie("ours") | {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
    assert (await client.post("/api/keys", content='{"name": "x"}', headers=headers)).status_code == 403
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = shop.cookie("ours") | {"Content-Type": content_type}
        assert (await client.post("/api/keys", content='{"name": "x"}', headers=headers)).status_code == 403
    # Logging a visitor into a foreign account is refused as well.
    answer = await client.post(
        "/api/auth/login", json={"email": OURS, "password": PASSWORD}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


async def test_the_sixth_wrong_password_waits_and_so_does_the_right_one(
    client: httpx2.AsyncClient, shop: Shop, owner_url: str
) -> None:
    for _ in range(5):
        assert (await login(client, password="wrong password")).status_code == 401
    for password in ("wrong password", PASSWORD):
        answer = await login(client, password=password)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert 0 < int(answer.headers["retry-after"]) <= 360
    # Another account from the same place is not held back by this one.
    assert (await login(client, "theirs@example.com")).status_code == 200
    with psycopg.connect(owner_url) as connection:
        stored = connection.execute("SELECT string_agg(subject, ' ') FROM login_failures").fetchone()
    assert stored is not None
    assert OURS not in stored[0]
