"""Serves the application with uvicorn and stops it in order: streams end, answers finish, then connections close."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from secretaria.bootstrap import application as build_application
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from secretaria.web.app import create_app

SHUTDOWN_GRACE_S: Final = 3
KEEP_ALIVE_S: Final = 30


class Server(uvicorn.Server):
    """uvicorn that ends open streams when it stops, and leaves the process to its caller.

    uvicorn waits for every open response, and a page's stream never ends by itself. On a signal it would also raise
    that signal again and so skip whatever its caller still has to close.
    """

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then let uvicorn finish what is under way."""
        self._end_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to stop; outside the main thread nobody sends us any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings, endpoints: Endpoints) -> None:
    """Serve on HOST and PORT until a signal; returns when all is closed."""
    config = uvicorn.Config(
        "secretaria",  # replaced below: the application exists only inside the loop
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )

    async def run() -> None:
        async with build_application(settings, endpoints) as application:
            config.app = create_app(application)
            await Server(config, application.hub.end_streams).serve()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())
