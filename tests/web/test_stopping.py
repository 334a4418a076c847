"""A request that the server gives up on while it stops is answered 503: nobody may take it for a fault of theirs."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from secretaria.settings import Settings
from secretaria.web.door import Door

pytestmark = pytest.mark.anyio


async def test_a_request_cut_off_by_a_stop_is_503_and_the_stop_goes_on(settings: Settings) -> None:
    started = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def waits_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/usage",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-length", b"0")],
    }
    task = asyncio.create_task(Door(waits_for_ever, settings)(scope, receive, send))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"1"
    assert b'"code":"stopping"' in sent[1]["body"]
