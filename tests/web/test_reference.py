"""/openapi.json and /docs: everything we answer is described, and the page needs nothing from elsewhere."""

import re

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

pytestmark = pytest.mark.anyio


async def test_every_api_route_is_described_the_plain_one_too(app: FastAPI, client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    described = {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    served = {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or set()
        if (route.path or "").startswith("/api/") and method != "HEAD"
    }
    assert served <= described
    assert "POST /api/usage" in described


async def test_the_ingest_route_shows_its_formats_results_and_an_example(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    usage = document["paths"]["/api/usage"]["post"]
    assert set(usage["requestBody"]["content"]) == {
        "application/json", "application/cloudevents+json", "application/cloudevents-batch+json",
    }  # fmt: skip
    assert usage["requestBody"]["content"]["application/json"]["example"]["specversion"] == "1.0"
    assert {"200", "400", "401", "403", "409", "413", "415", "422", "503"} <= usage["responses"].keys()
    schemas = document["components"]["schemas"]
    assert {"UsageEvent", "UsageData", "IngestResult", "Summary", "History", "Problem"} <= schemas.keys()
    assert "wamid" in schemas["UsageData"]["properties"]


async def test_every_reference_in_the_document_leads_somewhere(client: httpx2.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= schemas.keys()


async def test_every_route_but_the_open_ones_asks_for_a_credential_and_tells_of_problems(
    client: httpx2.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in {"/healthz", "/readyz"}:
                continue
            assert "application/problem+json" in operation["responses"]["400"]["content"], path
            if path != "/api/auth/login" and not path.startswith("/webhooks/"):
                assert operation["security"], path


async def test_the_page_shows_every_route_and_loads_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    document = (await client.get("/openapi.json")).json()
    for path in document["paths"]:
        assert path in page
    assert "UsageEvent" in page
    for forbidden in ("<script", "style=", "http://", "https://", "onclick"):
        assert forbidden not in page, forbidden
    assert len(re.findall(r'id="([^"]+)"', page)) == len(set(re.findall(r'id="([^"]+)"', page)))
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert (await client.get("/docs/reference.css")).headers["content-type"].startswith("text/css")
