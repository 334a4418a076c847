"""HTTP/1.1 as uvicorn reads it, with deadlines and limits on what comes in before the application sees anything.

What cannot be read is answered as problem+json and the connection closed: nothing after a broken request is trusted.
A closing connection still takes in, and throws away, what the client is sending, so that it gets to read its answer.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import structlog
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from secretaria.web.door import NO_STORE, SECURITY_HEADERS
from secretaria.web.errors import problem

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of a connection, and how many connections it may have."""

    url_bytes_max: int = 8 * 1024
    header_bytes_max: int = 16 * 1024
    headers_max: int = 100
    header_timeout_s: float = 10.0
    body_idle_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    linger_s: float = 2.0
    linger_bytes_max: int = 4 * 1024 * 1024
    connections_max: int = 2_048
    connections_per_address_max: int = 1_024


class Phase(Enum):
    """Where the incoming side of a connection stands."""

    IDLE = "between requests"
    HEAD = "within a request's head"
    BODY = "within a request's body"
    ENDED = "closing: what still comes is thrown away"


class Refused(Exception):
    """The request being read is refused with this answer."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


MALFORMED = Refused(400, "malformed_http", "this is not a well-formed HTTP/1.1 request")
TIMEOUT = Refused(408, "timeout", "the request did not arrive in time")


class _LingeringTransport:
    """A transport whose close lets the client finish: end of answer first, then a pause, then the end.

    Closing a socket with unread input resets the connection, and the reset overtakes the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: "GuardedProtocol") -> None:
        self._transport = transport
        self._protocol = protocol
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Tell whether nothing more can be sent."""
        return self._protocol.phase is Phase.ENDED or self._transport.is_closing()

    def close(self) -> None:
        """Close now, or, while the client is still sending, in a moment."""
        if self._protocol.phase is Phase.ENDED:
            return
        sending = self._protocol.phase is not Phase.IDLE
        self._protocol.phase = Phase.ENDED
        if not sending or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._protocol.loop.call_later(self._protocol.limits.linger_s, self._transport.close)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Make a class of your own with `guarded`: it holds the limits and counts the connections."""

    limits = Limits()
    open_by_address: Counter[str]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless there are too many, or too many from there."""
        self.phase = Phase.IDLE
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = self._header_bytes = self._thrown_away = 0
        self._started = self._heard = self.loop.time()
        self._refusal: Refused | None = None
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self)))
        address = self.client[0] if self.client else ""
        self._address = address
        self.open_by_address[address] += 1
        if (
            self.open_by_address[address] > self.limits.connections_per_address_max
            or self.open_by_address.total() > self.limits.connections_max
        ):
            self.phase = Phase.ENDED
            transport.abort()
            return
        self._arm(self.limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        self.phase = Phase.ENDED
        self.open_by_address[self._address] -= 1
        if self.open_by_address[self._address] <= 0:
            del self.open_by_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; then, if the request is not complete, see to its deadline."""
        if self.phase is Phase.ENDED:
            self._throw_away(data)
            return
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self._disarm()
            self._head_bytes, self._started = 0, self.loop.time()
        self._heard = self.loop.time()
        if self.phase is Phase.HEAD:
            self._head_bytes += len(data)
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        phase: Phase = self.phase  # the parser has moved it
        if phase is Phase.IDLE:
            self._disarm()
        elif phase is Phase.HEAD:
            if self._head_bytes > self.limits.header_bytes_max + self.limits.url_bytes_max:
                self._refuse(_too_many_headers(self.limits))
            elif self._deadline is None:
                self._arm(self.limits.header_timeout_s)
        elif phase is Phase.BODY and self._deadline is None:
            self._arm(self.limits.body_idle_timeout_s)

    # What the parser finds

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self.phase = Phase.HEAD
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        super().on_url(url)
        if len(self.url) > self.limits.url_bytes_max:
            detail = f"an address has at most {self.limits.url_bytes_max} bytes"
            raise self._stop(Refused(414, "uri_too_long", detail))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self.limits.header_bytes_max or len(self.headers) > self.limits.headers_max:
            raise self._stop(_too_many_headers(self.limits))

    def on_headers_complete(self) -> None:
        """Refuse what two readers could read differently, then let the application start."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1 or any(coding.lower() != b"chunked" for coding in codings):
            detail = "one Content-Length, or one Transfer-Encoding: chunked, says where a body ends"
            raise self._stop(Refused(400, "ambiguous_framing", detail))
        if self.parser.get_method() == b"CONNECT":
            raise self._stop(
                Refused(405, "method_not_allowed", "this server is no proxy", {"Allow": "GET, POST, DELETE"})
            )
        self._disarm()
        self.phase = Phase.BODY
        self._started = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request has arrived."""
        super().on_message_complete()
        if self.phase is not Phase.ENDED:
            self.phase = Phase.IDLE

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not go on with (uvicorn calls this)."""
        del msg
        self._refuse(self._refusal or MALFORMED)

    # Refusals

    def _stop(self, refusal: Refused) -> Refused:
        self._refusal = refusal
        return refusal

    def _refuse(self, refusal: Refused) -> None:
        self._disarm()
        if self.phase is Phase.ENDED:
            return
        running = self.cycle is not None and not self.cycle.response_complete
        if running and self.phase is not Phase.BODY:
            # An earlier request of this connection is still being answered; the connection ends with that answer.
            self.cycle.keep_alive = False
            return
        answered = self.phase is Phase.BODY and (not running or self.cycle.response_started)
        if running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not answered:
            self.transport.write(_raw_answer(refusal, self.server_state.default_headers))
        address = self.client[0] if self.client else None
        _log.info("request_refused", status=refusal.status, code=refusal.code, client=address)
        self.transport.close()

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > self.limits.linger_bytes_max:
            self.transport.abort()

    # Deadlines

    def _arm(self, delay_s: float) -> None:
        self._deadline = self.loop.call_later(max(delay_s, 0.0), self._on_deadline)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        now = self.loop.time()
        if self.phase is Phase.IDLE:
            if self.cycle is None:
                self.transport.close()  # connected, and never said a word
        elif self.phase is Phase.HEAD:
            self._refuse(TIMEOUT)
        elif self.phase is Phase.BODY:
            if self.flow.read_paused:
                # It is we who are not reading: the client is not late.
                self._heard = now
            idle_left = self._heard + self.limits.body_idle_timeout_s - now
            left = min(idle_left, self._started + self.limits.body_timeout_s - now)
            if left > 0 or self.flow.read_paused:
                self._arm(left if left > 0 else self.limits.body_idle_timeout_s)
            else:
                self._refuse(TIMEOUT)


def guarded(limits: Limits = Limits()) -> type[GuardedProtocol]:
    """Return a protocol class for one server: its limits, and the count of its connections."""
    return type("ServedProtocol", (GuardedProtocol,), {"limits": limits, "open_by_address": Counter()})


def _too_many_headers(limits: Limits) -> Refused:
    detail = f"at most {limits.headers_max} headers of {limits.header_bytes_max} bytes together"
    return Refused(431, "headers_too_large", detail)


def _raw_answer(refusal: Refused, server_headers: list[tuple[bytes, bytes]]) -> bytes:
    request_id = os.urandom(8).hex()
    answer: Response = problem(
        refusal.status,
        code=refusal.code,
        detail=refusal.detail,
        request_id=request_id,
        headers={**(refusal.headers or {}), "Connection": "close"},
    )
    own = [NO_STORE, (b"x-request-id", request_id.encode())]
    headers = [*server_headers, *answer.raw_headers, *SECURITY_HEADERS, *own]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[refusal.status] + lines + b"\r\n" + bytes(answer.body)
