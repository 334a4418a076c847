"""What goes wrong is answered in one shape, logged once, and says nothing it should not: reliability B023 to B037."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.web import logs
from tests.web.conftest import BASE_URL, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

KEYS = {"type", "title", "status", "detail", "code", "request_id"}
SECRET = "canary-do-not-show"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the process would write to stderr."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level, before = root.handlers, root.level, structlog.get_config()
    logs.configure()
    structlog.configure(cache_logger_on_first_use=False)
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_an_unexpected_error_is_logged_once_and_answered_with_its_request_id(
    app: FastAPI, client: httpx2.AsyncClient, logged: io.StringIO
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(f"{SECRET} postgresql://user:{SECRET}@host/db")

    answer = await client.get("/broken")
    body = answer.json()
    assert (answer.status_code, body["code"], set(body)) == (500, "internal", KEYS)
    assert SECRET not in answer.text
    errors = [line for line in lines(logged) if line["level"] == "error"]
    assert [error["request_id"] for error in errors] == [body["request_id"]] == [answer.headers["x-request-id"]]
    assert "RuntimeError" in errors[0]["exception"]
    assert f"user:{SECRET}" not in errors[0]["exception"]


async def test_half_an_answer_is_broken_off_not_completed(app: FastAPI, client: httpx2.AsyncClient) -> None:
    from collections.abc import AsyncIterator

    from fastapi.responses import StreamingResponse

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("cut")

        return StreamingResponse(parts())

    with pytest.raises(RuntimeError, match="cut"):
        await client.get("/half")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "expected_object"),
        (b"null", 422, "expected_object"),
        (b"[]", 422, "expected_object"),
        (b'"x"', 422, "expected_object"),
        (b"123", 422, "expected_object"),
        (b'{"name": "a"', 400, "malformed_json"),
        (b'{"name": "a",}', 400, "malformed_json"),
        (b'{"name": "a"} x', 400, "malformed_json"),
        (b"{'name': 'a'}", 400, "malformed_json"),
        (b'{"name": NaN}', 400, "malformed_json"),
        (b'{"name": -Infinity}', 400, "malformed_json"),
        (b'{"name": 1e400}', 422, "invalid_value"),
        (b'{"name": "a", "name": "b"}', 400, "duplicate_key"),
        (b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "too_deep"),
        (b'{"name": ' + b"9" * 5_000 + b"}", 422, "invalid_value"),
        (b"{" + b",".join(b'"k%d":1' % number for number in range(1_000)) + b"}", 422, "too_many_properties"),
        (b'\xef\xbb\xbf{"name": "a"}', 400, "byte_order_mark"),
        ('{"name": "a"}'.encode("utf-16"), 400, "invalid_utf8"),
        (b'{"name": "\xff"}', 400, "invalid_utf8"),
        (b'{"name": "\\ud800"}', 422, "invalid_unicode"),
        (b'{"name": "a\\u0000b"}', 422, "nul_character"),
        (b'{"name": "a\nb"}', 400, "malformed_json"),
        (b'{"name": "a\\nb"}', 422, "invalid_name"),
        (b'{"name": "a", "__proto__": {}}', 422, "unknown_field"),
        (b'{"name": 1}', 422, "invalid_value"),
        (b'{"name": ["a"]}', 422, "invalid_value"),
        (b'{"name": ""}', 422, "invalid_name"),
        (b'{"name": "a", "timezone": "Mars/Phobos"}', 422, "unknown_timezone"),
        (b'{"name": "a", "timezone": "../UTC"}', 422, "unknown_timezone"),
        (b'{"name": "a", "currency": "usd"}', 422, "unknown_currency"),
    ],
)
async def test_a_body_that_cannot_be_taken_is_refused_by_name_and_leaves_no_row(
    client: httpx2.AsyncClient, shop: Shop, content: bytes, status: int, code: str
) -> None:
    headers = shop.bearer("operator") | {"Content-Type": "application/json"}
    answer = await client.post("/api/companies", content=content, headers=headers)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert body.keys() - {"errors"} == KEYS
    listed = await client.get("/api/companies", headers=shop.bearer("operator"))
    assert len(listed.json()["companies"]) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
async def test_a_format_we_do_not_read_is_a_415(
    client: httpx2.AsyncClient, shop: Shop, headers: dict[str, str]
) -> None:
    answer = await client.post("/api/companies", content=b'{"name": "a"}', headers=shop.bearer("operator") | headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_stranger_is_refused_before_the_body_is_looked_at(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/api/companies", content=b"{")).status_code == 401


async def test_every_wrong_field_is_named(client: httpx2.AsyncClient, shop: Shop) -> None:
    body = {"name": 5, "balance": 1, "timezone": None}
    answer = (await client.post("/api/companies", json=body, headers=shop.bearer("operator"))).json()
    assert answer["code"] == "invalid_input"
    assert {(error["pointer"], error["code"]) for error in answer["errors"]} == {
        ("/name", "invalid_value"), ("/balance", "unknown_field"), ("/timezone", "invalid_value"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/analytics/summary?company_id=1_0", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=%C2%B2", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=%D9%A1", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=-1", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=+1", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=1.0", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=", 422, "invalid_value"),
        ("/api/analytics/summary?company_id=" + "9" * 40, 422, "invalid_value"),
        ("/api/analytics/summary?company_id=" + "9" * 18, 404, "company_not_found"),
        ("/api/analytics/summary?company_id=0", 404, "company_not_found"),
        ("/api/analytics/summary", 422, "missing_field"),
        ("/api/analytics/history?company_id={ours}", 422, "missing_field"),
        ("/api/analytics/history?company_id={ours}&period=day", 422, "unknown_period"),
        ("/api/companies/abc", 404, "company_not_found"),
        ("/api/companies/%00", 404, "company_not_found"),
        ("/api/companies/" + "9" * 40, 404, "company_not_found"),
        ("/api/companies?limit=0", 422, "invalid_limit"),
        ("/api/companies?limit=-1", 422, "invalid_value"),
        ("/api/companies?limit=1000000000", 422, "invalid_limit"),
        ("/api/companies?limit=abc", 422, "invalid_value"),
        ("/api/companies?limit=1&limit=2", 400, "duplicate_parameter"),
        ("/api/keys?company_id=987654321", 404, "company_not_found"),
        ("/api/nothing", 404, "not_found"),
    ],
)
async def test_a_parameter_that_cannot_be_taken_is_refused_by_name(
    client: httpx2.AsyncClient, shop: Shop, path: str, status: int, code: str
) -> None:
    answer = await client.get(path.format(ours=shop.ours), headers=shop.bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_says_which_are_right(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/api/auth/me")
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, "method_not_allowed", "GET")


async def test_companies_come_in_pages(client: httpx2.AsyncClient, shop: Shop) -> None:
    first = (await client.get("/api/companies?limit=1", headers=shop.bearer("operator"))).json()
    assert [company["id"] for company in first["companies"]] == [shop.ours]
    after = first["next_after"]
    rest = (await client.get(f"/api/companies?after={after}", headers=shop.bearer("operator"))).json()
    assert [company["id"] for company in rest["companies"]] == [shop.theirs]
    assert rest["next_after"] is None


async def test_without_the_database_requests_get_a_503_and_the_probes_say_so(
    app: FastAPI, application: Application, shop: Shop
) -> None:
    await application.database.close()
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        answers = [
            await client.get("/api/auth/me", headers=shop.bearer("ours")),
            await client.post("/api/auth/login", json={"email": "a@example.com", "password": "whatever"}),
            await client.post("/api/keys", json={}, headers=shop.cookie("ours") | SAME_ORIGIN),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
            assert int(answer.headers["retry-after"]) >= 1
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["postgresql"]) == (503, "down")
        assert (await client.get("/healthz")).status_code == 200


async def test_ready_tells_what_it_looked_at(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready", "checks": {"postgresql": "ok", "migrations": "ok", "valkey": "ok"}
    }  # fmt: skip


async def test_without_valkey_it_is_degraded_but_ready(application: Application, client: httpx2.AsyncClient) -> None:
    await application.live.close()
    application.live.__init__("redis://127.0.0.1:1/0")  # type: ignore[misc]
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_a_missing_migration_is_not_ready(client: httpx2.AsyncClient, owner_url: str) -> None:
    import psycopg

    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)"
        )
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["migrations"]) == (503, "missing")


async def test_logs_are_one_json_object_a_line_and_hold_no_secret(
    client: httpx2.AsyncClient, shop: Shop, logged: io.StringIO
) -> None:
    token, key = shop.tokens["ours"], shop.tokens["key_ours"]
    await client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    await client.get("/api/auth/me", headers=shop.cookie("ours"))
    client.cookies.clear()
    await client.get("/api/auth/me", params={"api_key": key})
    await client.get("/a%0d%0aForged: line%1b[31m")
    await client.post("/api/auth/login", json={"email": "ours@example.com", "password": SECRET})
    structlog.get_logger("test").warning(
        f"seen {key}", headers={"authorization": token, "list": [{"password": SECRET}]}, url="postgresql://u:pw1@h/d"
    )
    logging.getLogger("library").warning("key %s", key)
    written = logged.getvalue()
    for secret in (token, key, SECRET, "pw1", token.rsplit("_", 1)[1]):
        assert secret not in written
    found = lines(logged)
    requests = [line for line in found if line["event"] == "request"]
    assert [line["path"] for line in requests].count("/api/auth/me") == 3
    assert any("Forged" in line["path"] for line in requests)
    assert requests[0]["caller"].startswith("user:")
    assert all("timestamp" in line and "level" in line for line in found)


async def test_ingest_requests_are_counted_not_logged_one_by_one(
    client: httpx2.AsyncClient, logged: io.StringIO
) -> None:
    for _ in range(3):
        assert (await client.post("/api/usage", json={})).status_code == 401
    assert [line for line in lines(logged) if line["event"] == "request"] == []
