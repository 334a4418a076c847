"""One signed POST to a URL that a stranger chose. Whatever is there does us no harm, and we are back in time.

asyncio streams and h11 in place of an HTTP client: redirects, proxies of the environment, cookies, kept connections and
decompression cannot be left on by mistake, because none is there; and we open the socket ourselves, to the very address
that was checked (docs/decisions/0015-webhook-client.md).
"""

import asyncio
import codecs
import re
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import h11
import httpx2

from secretaria.core.address import is_public
from secretaria.core.errors import InvalidInput
from secretaria.core.webhook_url import WebhookUrl, not_allowed, parse
from secretaria.outbound.resolver import Resolve, resolve_here, resolve_worldwide

DEADLINE_S: Final = 15.0
"""For all of it: name, connection, TLS and the answer's head, however slowly its bytes come."""

CONNECT_TIMEOUT_S: Final = 4.0
"""For one address while there is another to try."""

BODY_TIMEOUT_S: Final = 2.0
"""For the part of the body that is shown: the status has come, so it is no longer waited for."""

RESOLVE_TIMEOUT_S: Final = 5.0
"""At save, where somebody waits."""

CONNECTS_MAX: Final = 3
READ_BYTES: Final = 8 * 1024
HEAD_BYTES_MAX: Final = 16 * 1024
ANSWER_BYTES_MAX: Final = 64 * 1024
INTERIM_ANSWERS_MAX: Final = 8
SHOWN_BYTES: Final = 1_000
RETRY_AFTER_CHARS_MAX: Final = 64
RETRY_AFTER_DIGITS_MAX: Final = 10

USER_AGENT: Final = "Secretaria-Webhooks/1"
HOP_HEADER: Final = "secretaria-hop"
"""Sent with every webhook, so that our own door can tell one that came round in a circle."""

_NOT_TO_BE_GIVEN: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", HOP_HEADER)
)


class Failure(StrEnum):
    """Why there is no answer to go by. redirect_refused has a status all the same."""

    URL_NOT_ALLOWED = "url_not_allowed"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    DNS_FAILED = "dns_failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TLS_FAILED = "tls_failed"
    CONNECTION_LOST = "connection_lost"
    TIMEOUT = "timeout"
    BROKEN_ANSWER = "broken_answer"
    REDIRECT_REFUSED = "redirect_refused"


class _Failed(Exception):
    """The attempt ends here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one POST. status_code is None without an HTTP answer; error is a Failure, or None.

    head is the start of the answer's body, printable; retry_after_s is as it was asked for, without bounds.
    """

    status_code: int | None
    error: str | None
    duration_ms: int
    head: str = ""
    retry_after_s: int | None = None

    @property
    def succeeded(self) -> bool:
        """Tell whether the receiver has taken it."""
        return self.status_code is not None and 200 <= self.status_code <= 299


def check_url(url: str, *, private_allowed: bool = False, own_hosts: Collection[str] = ()) -> str:
    """Return the URL as it is written once and for all; raises InvalidInput (url_not_allowed) saying what to do.

    Strangers' URLs: https, port 443 or 8443, a public name or address, none of own_hosts. private_allowed, for the
    operator's own: http, any port, any address.
    """
    parsed = parse(url, private_allowed=private_allowed)
    if not private_allowed:
        if parsed.literal is not None and not is_public(parsed.literal):
            raise not_allowed("the address is private or reserved: use one that the whole internet can reach")
        if parsed.host in _lower(own_hosts):
            raise not_allowed("this is our own address: use the address of the system that is to be told")
    return parsed.text


async def check_resolves(url: str, *, private_allowed: bool = False, resolve: Resolve | None = None) -> None:
    """Raise InvalidInput (url_not_allowed) when the name has no address, or any that is not public.

    For whoever types it in: post() asks again, for names change. With private_allowed nothing is asked.
    """
    parsed = parse(url, private_allowed=private_allowed)
    if private_allowed:
        return
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            await _addresses(parsed, private_allowed=False, resolve=resolve)
    except TimeoutError:
        raise not_allowed("the name is not answered for: check its spelling, or try again later") from None
    except _Failed as failed:
        if failed.failure is Failure.ADDRESS_NOT_ALLOWED:
            raise not_allowed("the name leads to a private or reserved address: use a public one") from None
        raise not_allowed("the name has no address: check its spelling") from None


def _lower(hosts: Collection[str]) -> frozenset[str]:
    return frozenset(host.lower() for host in hosts)


class WebhookClient:
    """Posts webhooks, each over a connection of its own. resolve replaces the system's resolver."""

    def __init__(self, *, own_hosts: Collection[str] = (), resolve: Resolve | None = None) -> None:
        self._own_hosts = _lower(own_hosts)
        self._resolve = resolve
        # The authorities that all our clients trust, SSL_CERT_FILE included.
        self._tls = httpx2.create_ssl_context()
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_alpn_protocols(["http/1.1"])
        self._open: set[asyncio.StreamWriter] = set()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, private_allowed: bool, now: datetime
    ) -> Answer:
        """POST once; returns within DEADLINE_S and never raises for what the other side does.

        Raises ValueError for headers that are not the caller's to set. private_allowed as in check_url.
        """
        started = time.monotonic()
        deadline_s = asyncio.get_running_loop().time() + DEADLINE_S
        response: h11.Response | None = None
        head, failure = b"", Failure.CONNECTION_LOST
        try:
            target = self._target(url, private_allowed=private_allowed)
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
            request = _request(connection, target, body, headers)
            async with asyncio.timeout_at(deadline_s):
                addresses = await _addresses(target, private_allowed=private_allowed, resolve=self._resolve)
                reader, writer = await self._connect(addresses, target)
            exchange = _Exchange(connection, reader)
            with self._cut_off_afterwards(writer):
                writer.write(request)  # not drained: who answers before reading it all is heard too
                response = await exchange.response(deadline_s)
                head = await exchange.start_of_body(deadline_s)
        except _Failed as failed:
            failure = failed.failure
        except OSError as error:
            failure = _failure_of(error)
        duration_ms = round((time.monotonic() - started) * 1000)
        if response is None:
            return Answer(None, failure.value, duration_ms)
        redirect = Failure.REDIRECT_REFUSED.value if 300 <= response.status_code <= 399 else None
        return Answer(response.status_code, redirect, duration_ms, _printable(head), _retry_after_s(response, now))

    async def close(self) -> None:
        """Cut the connections that are open; their posts end as connection_lost."""
        for writer in tuple(self._open):
            writer.transport.abort()

    @contextmanager
    def _cut_off_afterwards(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        """Abort, not close: that waits for the other side to read what is left and to say goodbye in TLS."""
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def _target(self, url: str, *, private_allowed: bool) -> WebhookUrl:
        """Parse the URL again: rules may be stricter by now than when it was saved."""
        try:
            target = parse(url, private_allowed=private_allowed)
        except InvalidInput as error:
            raise _Failed(Failure.URL_NOT_ALLOWED) from error
        if target.host in self._own_hosts and not private_allowed:
            raise _Failed(Failure.ADDRESS_NOT_ALLOWED)
        return target

    async def _connect(
        self, addresses: Sequence[IPv4Address | IPv6Address], target: WebhookUrl
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that takes it. TLS and its certificate go by the name, the socket never does."""
        tls = self._tls if target.scheme == "https" else None
        tried = addresses[:CONNECTS_MAX]
        failure = Failure.UNREACHABLE
        for number, address in enumerate(tried, start=1):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S if number < len(tried) else None):
                    return await asyncio.open_connection(
                        str(address),
                        target.port,
                        limit=READ_BYTES,
                        ssl=tls,
                        server_hostname=target.host if tls else None,
                    )
            except OSError as error:
                failure = _failure_of(error)
        raise _Failed(failure)


class _Exchange:
    """The answer's side of one connection, byte by counted byte."""

    def __init__(self, connection: h11.Connection, reader: asyncio.StreamReader) -> None:
        self._connection = connection
        self._reader = reader
        self._received_bytes = 0

    async def response(self, deadline_s: float) -> h11.Response:
        """Read up to the head of the answer, past the interim ones (100 Continue, 103 Early Hints)."""
        async with asyncio.timeout_at(deadline_s):
            for _ in range(INTERIM_ANSWERS_MAX + 1):
                event = await self._next_event()
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    break
        raise _Failed(Failure.BROKEN_ANSWER if self._received_bytes else Failure.CONNECTION_LOST)

    async def start_of_body(self, deadline_s: float) -> bytes:
        """Return the first SHOWN_BYTES of the body, or what had come of them when it ended, broke off or took too long.

        The rest is read past up to ANSWER_BYTES_MAX: many a receiver takes a connection that is cut off for a failure.
        """
        shown = bytearray()
        until_s = min(deadline_s, asyncio.get_running_loop().time() + BODY_TIMEOUT_S)
        try:
            async with asyncio.timeout_at(until_s):
                while isinstance(event := await self._next_event(), h11.Data):
                    shown += event.data[: SHOWN_BYTES - len(shown)]
        except (OSError, _Failed):
            pass  # the status stands: the receiver has said what became of it
        return bytes(shown)

    async def _next_event(self) -> object:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(READ_BYTES)
                self._received_bytes += len(data)
                if self._received_bytes > ANSWER_BYTES_MAX:
                    raise _Failed(Failure.BROKEN_ANSWER)
                self._connection.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise _Failed(Failure.BROKEN_ANSWER if self._received_bytes else Failure.CONNECTION_LOST) from error
        return event


async def _addresses(
    target: WebhookUrl, *, private_allowed: bool, resolve: Resolve | None
) -> list[IPv4Address | IPv6Address]:
    """Return where the name leads; one address that is not public spoils them all."""
    if target.literal is not None:
        texts: Sequence[str] = (str(target.literal),)
    else:
        ask = resolve or (resolve_here if private_allowed else resolve_worldwide)
        try:
            texts = await ask(target.host)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Failed(Failure.DNS_FAILED) from error
    if not texts:
        raise _Failed(Failure.DNS_FAILED)
    try:
        found = [ip_address(text) for text in texts]
    except ValueError as error:
        raise _Failed(Failure.ADDRESS_NOT_ALLOWED) from error
    if not private_allowed and not all(map(is_public, found)):
        raise _Failed(Failure.ADDRESS_NOT_ALLOWED)
    return found


def _request(connection: h11.Connection, target: WebhookUrl, body: bytes, headers: Mapping[str, str]) -> bytes:
    given = {name.lower(): value for name, value in headers.items()}
    if not _NOT_TO_BE_GIVEN.isdisjoint(given):
        raise ValueError(f"not the caller's to set: {sorted(_NOT_TO_BE_GIVEN.intersection(given))}")
    ours = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
    }
    fixed = {"connection": "close", HOP_HEADER: "1", "content-length": str(len(body))}
    fields = {"host": target.authority, **ours, **given, **fixed}
    try:
        request = h11.Request(method="POST", target=target.target, headers=list(fields.items()))
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(connection.send(event) or b"" for event in events)
    except h11.LocalProtocolError as error:
        raise ValueError(f"no header has such a name or value: {error}") from error


def _failure_of(error: OSError) -> Failure:
    if isinstance(error, ssl.SSLError):
        return Failure.TLS_FAILED
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    return Failure.CONNECTION_LOST if isinstance(error, ConnectionError) else Failure.UNREACHABLE


def _retry_after_s(response: h11.Response, now: datetime) -> int | None:
    """Read Retry-After, seconds or an HTTP date (RFC 9110, 10.2.3); None when absent or neither."""
    values = [value.decode("latin-1").strip() for name, value in response.headers if name == b"retry-after"]
    value = values[0][:RETRY_AFTER_CHARS_MAX] if values else ""
    if re.fullmatch(rf"[0-9]{{1,{RETRY_AFTER_DIGITS_MAX}}}", value):
        return int(value)
    try:
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)  # asctime's form names no zone and means GMT
        return max(0, -((now - when) // timedelta(seconds=1)))
    except (ValueError, TypeError, OverflowError):
        return None


def _printable(start: bytes) -> str:
    """Decode what is shown to people: no control characters, nothing that turns the text around."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(start)  # a character cut in two is left out
    return "".join(character if character.isprintable() else " " for character in text)
