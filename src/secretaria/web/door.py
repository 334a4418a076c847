"""What every request passes first and every answer last: request id, host list, size limits, headers, one log line.

Plain ASGI, because the ingest path goes through it too.
"""

import asyncio
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secretaria.core.access import Caller
from secretaria.core.errors import Malformed, TooLarge, Unavailable
from secretaria.services.counts import count_request
from secretaria.settings import Settings
from secretaria.web.auth import is_https
from secretaria.web.errors import internal_error, problem, problem_response
from secretaria.web.webhooks import WEBHOOK_BODY_BYTES_MAX, WEBHOOK_PATH

BODY_BYTES_MAX = 1024 * 1024
QUERY_FIELDS_MAX = 50
HOSTS_REMEMBERED_MAX = 256
PATH_LOGGED_CHARS_MAX = 200
COUNTED_LINE_EVERY_S = 60.0
CLIENT_CLOSED = 499  # in the log only: nobody was there to be answered

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With no-referrer, browsers would send "Origin: null" with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
NO_STORE = (b"cache-control", b"no-store")

# Counted, and told once a minute: a line an event would cost more than the event, and bots check before each message.
INGEST = "ingest_requests"
COUNTED_PATHS = {"/api/usage": INGEST, "/api/entitlements": "entitlement_checks"}
# Probes come every few seconds, and with the address of a container or a load balancer in Host.
PROBE_PATHS = frozenset({"/healthz", "/readyz"})
QUIET_PATHS = PROBE_PATHS | {"/metrics"}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})(?::[0-9]{1,5})?", re.ASCII)
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound here

_log = structlog.get_logger(__name__)


class Door:
    """The outermost of our middleware; only the framework's last resort stands outside it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = [*SECURITY_HEADERS, *([STRICT_TRANSPORT] if is_https(settings) else [])]
        self._is_own_name = own_names(settings)
        self._counted: Counter[tuple[str, int]] = Counter()
        self._counted_since = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is not HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = os.urandom(8).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()
        status = 0

        async def send_complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._complete(message.get("headers", ()), request_id)
            await send(message)

        try:
            refusal = self._refuse(scope, request_id)
            if refusal is not None:
                await refusal(scope, receive, send_complete)
            else:
                await self._app(scope, _bounded(scope, receive), send_complete)
        except ClientDisconnect:
            status = status or CLIENT_CLOSED
        except asyncio.CancelledError:
            # The server stops and waited long enough. What was under way may or may not be done: never a 500.
            if not status:
                stopping = Unavailable("the server is stopping; send it again", code="stopping")
                await problem_response(stopping, request_id)(scope, receive, send_complete)
            raise
        except Exception as error:
            if status:
                raise  # half an answer is out: the connection must break, so that nobody takes it for a whole one
            await internal_error(error, scope)(scope, receive, send_complete)
        finally:
            self._report(scope, status, time.monotonic() - started)

    def _refuse(self, scope: Scope, request_id: str) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        own = self._is_own_name(hosts[0]) if len(hosts) == 1 else None
        if own is None:
            error = Malformed("exactly one well-formed Host header is needed", code="invalid_host")
            return problem_response(error, request_id)
        if not own and scope["path"] not in PROBE_PATHS:
            detail = "this server does not go by that name; PUBLIC_URL sets the name it goes by"
            return problem(421, code="unknown_host", detail=detail, request_id=request_id)
        bytes_max = body_bytes_max(scope["path"])
        if _declared_bytes(scope) > bytes_max:
            return problem_response(_too_large(bytes_max), request_id)
        if scope["query_string"]:
            refusal = _refuse_query(scope["query_string"])
            return None if refusal is None else problem_response(refusal, request_id)
        return None

    def _complete(self, headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
        complete = [*headers, *self._headers, (b"x-request-id", request_id.encode())]
        if not any(name == b"cache-control" for name, _ in headers):
            complete.append(NO_STORE)
        return complete

    def _report(self, scope: Scope, status: int, elapsed_s: float) -> None:
        path = scope["path"]
        count_request(scope["method"], route_of(scope), status, seconds=elapsed_s)
        if path in COUNTED_PATHS or path.startswith(WEBHOOK_PATH):
            self._count(COUNTED_PATHS.get(path, INGEST), status)
            return
        if path in QUIET_PATHS and status == 200:
            return
        caller = cast("Caller | None", scope["state"].get("caller"))
        _log.info(
            "request",
            method=scope["method"],
            path=path[:PATH_LOGGED_CHARS_MAX],
            status=status,
            elapsed_ms=round(elapsed_s * 1000, 1),
            request_id=scope["state"]["request_id"],
            caller=None if caller is None else caller.identity,
        )

    def _count(self, event: str, status: int) -> None:
        self._counted[event, status] += 1
        elapsed_s = time.monotonic() - self._counted_since
        if elapsed_s >= COUNTED_LINE_EVERY_S:
            for name in sorted({name for name, _ in self._counted}):
                by_status = {str(key): count for (of, key), count in sorted(self._counted.items()) if of == name}
                _log.info(name, seconds=round(elapsed_s), by_status=by_status)
            self._counted.clear()
            self._counted_since = time.monotonic()


def route_of(scope: Scope) -> str:
    """Return the template of the route that answered: paths themselves hold ids, and strangers make up any number."""
    if scope["path"] in COUNTED_PATHS:
        return str(scope["path"])
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "other" if "endpoint" in scope else "none"  # plain routes (files of the panel), and nobody's


def own_names(settings: Settings) -> Callable[[bytes], bool | None]:
    """Return a test of Host values: True for our names, False for others, None for what is no host.

    Ours are localhost, the host part of PUBLIC_URL and HOST; a server bound to every address also answers to any
    literal address, since no foreign name can be made to point there by DNS. Ports are not compared: forwarding and
    proxies change them.
    """
    names = {"localhost", "127.0.0.1", "::1", settings.host.lower(), urlsplit(settings.public_url).hostname or ""}
    any_literal = settings.host in _ANY_ADDRESS
    if any_literal:
        names.add(socket.gethostname().lower())

    @lru_cache(maxsize=HOSTS_REMEMBERED_MAX)
    def test(value: bytes) -> bool | None:
        match = _HOST.fullmatch(value.decode("latin-1"))
        if match is None:
            return None
        name = match[1].strip("[]").rstrip(".").lower()
        return name in names or (any_literal and _is_literal(name))

    return test


def _is_literal(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else sys.maxsize
    return 0


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Return receive, stopped at the path's limit when the body does not say how long it is."""
    if not any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        return receive
    bytes_max = body_bytes_max(scope["path"])
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > bytes_max:
            raise _too_large(bytes_max)
        return message

    return bounded


def body_bytes_max(path: str) -> int:
    """Return how long a body may be: Meta sends up to a thousand updates in one webhook."""
    return WEBHOOK_BODY_BYTES_MAX if path.startswith(WEBHOOK_PATH) else BODY_BYTES_MAX


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"a body has at most {bytes_max} bytes", code="body_too_large")


def _refuse_query(query: bytes) -> Malformed | None:
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return Malformed(f"at most {QUERY_FIELDS_MAX} parameters", code="too_many_parameters")
    names = [name for name, _ in fields]
    if len(set(names)) == len(names):
        return None
    twice = next(name for name in names if names.count(name) > 1)
    return Malformed("a parameter stands twice in the address", code="duplicate_parameter", pointer=twice[:64])
