"""GET /metrics: who may read it, that it tells what happened, and that it names no company, address or id."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from secretaria.bootstrap import Application
from secretaria.core.delivery import Channel, Outcome
from secretaria.embedded.servers import Endpoints
from secretaria.services.courier import Courier
from secretaria.services.dispatcher import Dispatcher
from tests.shop import event_json
from tests.web.conftest import BASE_URL, Shop

pytestmark = pytest.mark.anyio

ELSEWHERE = ("203.0.113.7", 40_000)
SOON_S = 10.0


def from_address(app: FastAPI, address: tuple[str, int]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=address), base_url=BASE_URL)


async def read(client: httpx2.AsyncClient, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0)


async def test_this_machine_reads_it_others_need_the_operators_credential(app: FastAPI, shop: Shop) -> None:
    async with from_address(app, ("127.0.0.1", 4_000)) as near, from_address(app, ELSEWHERE) as far:
        assert (await near.get("/metrics")).status_code == 200
        assert (await far.get("/metrics")).status_code == 401
        assert (await far.get("/metrics", headers=shop.bearer("key_operator"))).status_code == 200
        assert (await far.get("/metrics", headers=shop.bearer("operator"))).status_code == 200
        for who in ("ours", "key_ours"):
            assert (await far.get("/metrics", headers=shop.bearer(who))).status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_a_proxy_on_this_machine_does_not_open_it_to_its_visitors(app: FastAPI, header: str) -> None:
    async with from_address(app, ("127.0.0.1", 4_000)) as near:
        assert (await near.get("/metrics", headers={header: "203.0.113.7"})).status_code == 401


async def test_other_networks_are_a_setting(
    application: Application, app: FastAPI
) -> None:
    object.__setattr__(application.settings, "metrics_allowed", "203.0.113.0/24")
    async with from_address(app, ELSEWHERE) as far, from_address(app, ("127.0.0.1", 4_000)) as near:
        assert (await far.get("/metrics")).status_code == 200
        assert (await near.get("/metrics")).status_code == 401


async def test_it_counts_events_groups_and_requests_by_what_became_of_them(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    before = await read(client)
    batch = [event_json("a-1", subject=shop.ours), event_json("a-2", subject=shop.ours), event_json("", subject=1)]
    headers = shop.bearer("key_operator")
    assert (await client.post("/api/usage", json=batch, headers=headers)).json()["accepted"] == 2
    assert (await client.post("/api/usage", json=batch[:2], headers=headers)).json()["duplicates"] == 2
    nobody = await client.post("/api/usage", json=event_json("a-3", subject=987654321), headers=headers)
    assert nobody.status_code == 422
    after = await read(client)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("secretaria_events_total", outcome="accepted") == 2
    assert grown("secretaria_events_total", outcome="duplicate") == 2
    assert grown("secretaria_events_total", outcome="rejected") == 2
    assert grown("secretaria_events_rejected_total", code="company_not_found") == 1
    assert grown("secretaria_ingest_group_events_sum") == 4
    assert grown("secretaria_ingest_group_events_count") == grown("secretaria_ingest_group_seconds_count") == 2
    usage = {"method": "POST", "route": "/api/usage"}
    assert grown("secretaria_http_requests_total", **usage, status="200") == 2
    assert grown("secretaria_http_requests_total", **usage, status="422") == 1
    assert grown("secretaria_http_request_seconds_count", route="/api/usage") == 3


async def test_routes_are_named_by_their_templates_and_what_strangers_make_up_is_one(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    await client.get(f"/api/companies/{shop.ours}", headers=shop.bearer("ours"))
    await client.get("/made/up/by/a/stranger")
    await client.request("BREW", "/pot")
    found = await read(client)
    route = "/api/companies/{company_id}"
    assert value(found, "secretaria_http_requests_total", method="GET", route=route, status="200") >= 1
    assert value(found, "secretaria_http_requests_total", method="other", route="none", status="404") >= 1
    text = (await client.get("/metrics")).text
    assert "stranger" not in text
    assert "BREW" not in text
    assert "company_id=" not in text
    assert "Nossa" not in text


async def test_it_tells_what_waits_what_was_attempted_and_which_jobs_there_are(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    found = await read(client)
    assert value(found, "secretaria_database_up") == 1
    assert value(found, "secretaria_deliveries_waiting") == len(shop.deliveries)
    assert 0 <= value(found, "secretaria_delivery_oldest_waiting_seconds") < 60
    assert value(found, "secretaria_webhook_payloads", state="new") == 0
    before = value(found, "secretaria_delivery_attempts_total", channel="mail", result="delivered")

    class Carrier:
        async def send(self, *_: object) -> Outcome:
            return Outcome(True, 250, None, 1)

    couriers: dict[Channel, Courier] = {Channel.MAIL: Carrier()}
    dispatcher = Dispatcher(
        application.database, couriers, url=endpoints.database_url, clock=application.clock
    )
    stop = asyncio.Event()
    running = asyncio.create_task(dispatcher.run(stop))
    async with asyncio.timeout(SOON_S):
        while True:
            found = await read(client)
            done = value(found, "secretaria_delivery_attempts_total", channel="mail", result="delivered") - before
            if done == len(shop.deliveries):
                break
            await asyncio.sleep(0.05)
    stop.set()
    await running


async def test_it_answers_without_the_database_and_says_so(
    client: httpx2.AsyncClient, application: Application
) -> None:
    await application.database.operator.close()
    found = await read(client)
    assert value(found, "secretaria_database_up") == 0
    assert ("secretaria_deliveries_waiting", ()) not in found
    assert any(name == "secretaria_build_info" for name, _ in found)


COUNT = """
import os, sys
from secretaria.services import counts
counts.count_group(10, [], seconds=0.01, queued=int(sys.argv[1]))
print(os.getpid(), flush=True)
sys.stdin.read()
"""
TELL = """
from prometheus_client.exposition import generate_latest
from secretaria.services import counts
print(generate_latest(counts.gathered()).decode())
"""


def test_processes_that_share_the_folder_are_added_up_and_a_dead_ones_queue_is_forgotten(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"), "PATH": "/usr/bin:/bin"}

    def tell() -> str:
        return subprocess.run(
            [sys.executable, "-c", TELL], env=environment, capture_output=True, text=True, check=True
        ).stdout

    counting = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, queued], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for queued in ("3", "4")
    ]
    for process in counting:
        assert process.stdout is not None
        assert process.stdout.readline()
    both = tell()
    assert 'secretaria_events_total{outcome="accepted"} 20.0' in both
    assert "secretaria_ingest_queued_events 7.0" in both
    counting[0].kill()
    counting[0].communicate()
    one = tell()
    counting[1].communicate()
    assert 'secretaria_events_total{outcome="accepted"} 20.0' in one
    assert "secretaria_ingest_queued_events 4.0" in one
