"""The real application behind a real uvicorn in a thread, that can be stopped and started again on its port."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from secretaria.bootstrap import Application, utc_now
from secretaria.bootstrap import application as build_application
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from secretaria.web.server import Server, listen

START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10


class PanelServer:
    """One server on one port; `run` calls into its application from the test's thread."""

    def __init__(
        self, settings: Settings, endpoints: Endpoints, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._endpoints = endpoints
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._application: Application | None = None
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Serve; returns once requests are answered."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._thread_main, args=(ready,), name="panel-server")
        self._thread.start()
        assert ready.wait(START_TIMEOUT_S), "the server did not start"
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop as SIGTERM would, and fail when that takes too long."""
        if self._thread is None:
            return
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        assert not self._thread.is_alive(), "the server did not stop"
        self._thread = None

    def run(self, step: Callable[[Application], Awaitable[Any]]) -> Any:
        """Run a step inside the server's loop and return what it returns."""
        assert self._loop is not None
        assert self._application is not None
        return asyncio.run_coroutine_threadsafe(_as_coroutine(step(self._application)), self._loop).result(30)

    def _thread_main(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._failure = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        async with build_application(self._settings, self._endpoints, clock=self._clock) as application:
            self._application, self._loop = application, asyncio.get_running_loop()
            self._server = Server(application)
            with contextlib.closing(listen("127.0.0.1", self.port)) as listener:
                serving = asyncio.create_task(self._server.serve(sockets=[listener]))
                while not (self._server.started or serving.done()):
                    await asyncio.sleep(0.02)
                ready.set()
                await serving


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
