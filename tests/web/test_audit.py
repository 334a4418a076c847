"""GET /api/audit: newest first, page by page, the operator's over all companies and a member's over its own."""

from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio


async def lines_of(client: httpx2.AsyncClient, headers: dict[str, str], **query: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, int] = {}
    while True:
        answer = await client.get("/api/audit", params={**query, **after, "limit": 3}, headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["lines"]
        if page["next_after"] is None:
            return found
        after = {"after": page["next_after"]}


async def test_pages_tile_the_log_newest_first(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await application.access.revoke_api_key(PROCESS, shop.key_ids["spare"])
    ours = await lines_of(client, shop.bearer("ours"))
    assert [line["line"] for line in ours] == list(range(len(ours), 0, -1))
    assert {line["company_id"] for line in ours} == {shop.ours}
    assert (ours[0]["action"], ours[0]["actor"], ours[0]["subject"]) == (
        "api_key.revoked", "process", shop.key_ids["spare"],
    )  # fmt: skip
    assert ours[0]["detail"]["before"]["scopes"] == ["analytics:read", "usage:write"]
    assert len(ours[0]["hash"]) == 64
    assert await lines_of(client, shop.bearer("operator"), company_id=shop.ours) == ours
    everything = await lines_of(client, shop.bearer("operator"))
    assert [line["id"] for line in everything] == sorted((line["id"] for line in everything), reverse=True)
    assert {line["company_id"] for line in everything} == {0, shop.ours, shop.theirs}
    verified = [await application.audit.verify(PROCESS, company) for company in (0, shop.ours, shop.theirs)]
    assert sum(one.lines for one in verified) == len(everything)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_limit"), ("limit=201", 422, "invalid_limit"), ("after=x", 422, "invalid_value"),
        ("company_id=987654321", 404, "company_not_found"), ("company_id=0", 404, "company_not_found"),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_answered_says_why(
    client: httpx2.AsyncClient, shop: Shop, query: str, status: int, code: str
) -> None:
    answer = await client.get(f"/api/audit?{query}", headers=shop.bearer("ours"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_no_line_holds_a_password_a_key_or_a_hash(client: httpx2.AsyncClient, shop: Shop) -> None:
    text = str(await lines_of(client, shop.bearer("operator")))
    for token in shop.tokens.values():
        assert token not in text
        assert token.rsplit("_", 1)[-1] not in text
    assert "argon2" not in text
