"""The stream behind a page, message by message, as a client that can also be slow, gone or no longer welcome."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import Message

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import Unavailable
from secretaria.core.event import Direction, UsageData, UsageEvent
from secretaria.services import live
from secretaria.services.analytics import AnalyticsReads
from secretaria.web.panel import events
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

SOON_S = 8.0


class Reader:
    """One open stream: `next` gives its events, `hang_up` leaves, `stuck` reads nothing more."""

    def __init__(self, app: FastAPI, query: str, headers: dict[str, str]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._events: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.stuck = False
        scope = {
            "type": "http", "method": "GET", "path": "/_/eventos", "raw_path": b"/_/eventos", "scheme": "http",
            "query_string": query.encode(), "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
            "http_version": "1.1", "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8000"), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
        }  # fmt: skip
        self._asked = False
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        for block in message["body"].decode().split("\n\n"):
            if block.startswith("event: "):
                name, data = block.split("\n", 1)
                self._events.put_nowait((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        if not message.get("more_body"):
            self._events.put_nowait(None)

    async def next(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(SOON_S):
            event = await self._events.get()
        assert event is not None, "the stream ended"
        return event

    async def next_values(self) -> dict[str, Any]:
        while True:
            name, data = await self.next()
            if name == "valores":
                return data

    async def end(self) -> list[str]:
        """Return the names of the events until the stream ends."""
        names = []
        async with asyncio.timeout(SOON_S):
            while (event := await self._events.get()) is not None:
                names.append(event[0])
            await self.task
        return names

    def hang_up(self) -> None:
        self._gone.set()


@asynccontextmanager
async def reading(app: FastAPI, query: str, headers: dict[str, str]) -> AsyncIterator[Reader]:
    reader = Reader(app, query, headers)
    try:
        yield reader
    finally:
        reader.hang_up()
        reader.stuck = False
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(reader.task, return_exceptions=True)


async def send_usage(application: Application, company_id: int, event_id: str, messages: int) -> None:
    data = UsageData(direction=Direction.OUTBOUND, messages=messages)
    event = UsageEvent(
        specversion="1.0", id=event_id, source="teste", type="usage.recorded", subject=str(company_id), data=data
    )
    result = await application.ingest.submit(PROCESS, [(0, event)], now=application.clock())
    assert result.accepted == 1


def one_company(company_id: int) -> str:
    return f"escopo=empresa&empresa={company_id}"


async def test_it_sends_everything_first_and_then_only_what_changed(
    app: FastAPI, application: Application, shop: Shop
) -> None:
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        first = await reader.next_values()
        assert (first["texts"]["hoje-enviadas"], first["marks"]["uso"]) == ("—", {"data-kind": "never"})
        assert first["texts"]["mensagens-marca0"] == "0"
        assert first["texts"]["dados-ate"].startswith("Dados completos até ")
        assert reader.status == 200
        assert reader.headers["content-type"].startswith("text/event-stream")
        assert reader.headers["cache-control"] == "no-store"
        await send_usage(application, shop.ours, "1", 7)
        second = await reader.next_values()
        assert second["texts"]["hoje-enviadas"] == "7"
        assert second["texts"]["hoje-custo"] == "R$\u00a00,35"
        assert second["texts"]["hoje-recebidas"] == "0"
        # The first event uncovers the charts: they come with it, not when their own turn comes.
        assert (second["marks"]["uso"], second["texts"]["d6-mensagens"]) == ({"data-kind": "begun"}, "7")
        await send_usage(application, shop.ours, "2", 7)
        third = await reader.next_values()
        assert third["texts"]["hoje-enviadas"] == "14"
        assert "hoje-recebidas" not in third["texts"]


async def test_strings_come_in_the_language_of_the_reader(app: FastAPI, application: Application, shop: Shop) -> None:
    await send_usage(application, shop.ours, "1", 7)
    cookie = {"Cookie": f"{shop.cookie('ours')['Cookie']}; panel_locale=en"}
    async with reading(app, one_company(shop.ours), cookie) as reader:
        assert (await reader.next_values())["texts"]["hoje-custo"] == "R$0.35"


async def test_the_list_follows_the_companies_on_its_page_and_no_others(
    app: FastAPI, application: Application, shop: Shop
) -> None:
    async with reading(app, "escopo=empresas&apos=0&q=nossa", shop.cookie("operator")) as reader:
        first = await reader.next_values()
        assert [key for key in first["texts"] if key.endswith("-custo")] == [f"e{shop.ours}-custo"]
        await send_usage(application, shop.theirs, "1", 7)
        await send_usage(application, shop.ours, "2", 9)
        assert (await reader.next_values())["texts"][f"e{shop.ours}-enviadas"] == "9"


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        ("ours", "escopo=empresa&empresa={theirs}", 404),
        ("ours", "escopo=empresa&empresa=987654321", 404),
        ("operator", "escopo=empresa&empresa=987654321", 404),
        ("operator", "escopo=empresa&empresa=99999999999999999999999", 404),
        ("ours", "escopo=empresas", 403),
        ("ours", "escopo=tudo", 404),
        ("ours", "", 404),
        ("operator", "escopo=empresa&empresa=abc", 422),
        ("operator", "escopo=empresas&apos=-1", 422),
    ],
)
async def test_a_stream_is_refused_before_it_begins(
    client: httpx2.AsyncClient, shop: Shop, who: str, query: str, status: int
) -> None:
    answer = await client.get(f"/_/eventos?{query.format(theirs=shop.theirs)}", headers=shop.cookie(who))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_another_company_s_stream_is_refused_like_one_that_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    bodies = []
    for company_id in (shop.theirs, 987_654_321):
        body = (await client.get(f"/_/eventos?{one_company(company_id)}", headers=shop.cookie("ours"))).json()
        bodies.append({key: value for key, value in body.items() if key != "request_id"})
    assert bodies[0] == bodies[1]


async def test_a_stream_beyond_the_limit_is_told_to_come_back(
    app: FastAPI, client: httpx2.AsyncClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAMS_PER_USER_MAX", 1)
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        await reader.next_values()
        answer = await client.get(f"/_/eventos?{one_company(shop.ours)}", headers=shop.cookie("ours"))
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")
        assert answer.headers["retry-after"]


async def test_a_heartbeat_carries_the_watermark_and_a_revoked_session_ends_the_stream(
    app: FastAPI, application: Application, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.2)
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        while (await reader.next())[0] != "pulso":
            pass
        await application.access.logout(shop.tokens["ours"], application.clock())
        assert (await reader.end())[-1] == "fim"


async def test_a_stream_outlives_a_database_that_is_away_for_a_while(
    app: FastAPI, application: Application, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.2)
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        await reader.next_values()
        with monkeypatch.context() as away:

            async def refuse(*_args: object, **_named: object) -> None:
                raise Unavailable("away")

            away.setattr(AnalyticsReads, "summary", refuse)
            await send_usage(application, shop.ours, "1", 7)
            for _ in range(5):
                assert (await reader.next())[0] == "pulso"
        assert (await reader.next_values())["texts"]["hoje-enviadas"] == "7"


async def test_a_reader_that_takes_nothing_is_let_go(
    app: FastAPI, application: Application, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SEND_TIMEOUT_S", 0.2)
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        await reader.next_values()
        reader.stuck = True
        await send_usage(application, shop.ours, "1", 7)
        async with asyncio.timeout(SOON_S):
            await reader.task


async def test_a_reader_that_leaves_frees_its_place(app: FastAPI, application: Application, shop: Shop) -> None:
    async with reading(app, one_company(shop.ours), shop.cookie("ours")) as reader:
        await reader.next_values()
        reader.hang_up()
        async with asyncio.timeout(SOON_S):
            await reader.task
    assert application.hub.streams == 0


async def test_many_streams_on_one_company_share_its_readings(
    app: FastAPI, application: Application, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    read = AnalyticsReads.summary

    async def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return await read(*args)

    monkeypatch.setattr(AnalyticsReads, "summary", counted)
    readers = [Reader(app, one_company(shop.ours), shop.cookie("ours")) for _ in range(live.STREAMS_PER_USER_MAX)]
    for reader in readers:
        await reader.next_values()
    assert calls <= 2
    for reader in readers:
        reader.hang_up()
    await asyncio.gather(*(reader.task for reader in readers))
