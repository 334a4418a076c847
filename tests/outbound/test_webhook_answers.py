"""What the webhook client makes of answers: those that are not HTTP, and what of a body is shown to people."""

import asyncio
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.outbound.hostile_endpoint import endpoint, read_request

from secretaria.outbound.webhook import Answer, WebhookClient

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@cache
def client() -> WebhookClient:
    """One for all: to read the system's certificates takes longer than the rest."""
    return WebhookClient()


async def post(url: str, body: bytes = b"{}") -> Answer:
    return await client().post(url, body, {}, private_allowed=True, now=NOW)


async def answered(answer: bytes) -> Answer:
    async with endpoint(answer) as there:
        return await post(there.url())


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "broken_answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "broken_answer"),
        (b"+PONG\r\n-ERR unknown command\r\n", "broken_answer"),
        (b"<html>no head at all</html>", "broken_answer"),
        (b"HTTP/1.1 000 Zero\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 20 Short\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 2000 Long\r\n\r\n", "broken_answer"),
        (b"HTTP/2 200\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + OK, "broken_answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 9_000 + b"\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "broken_answer"),
        (b"HTTP/1.1 200 OK\r\nx: a\r\n\tb\rc\x00\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", "broken_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n", "broken_answer"),
        (b"\r\n" * 100_000, "broken_answer"),
        (b"\x00" * 100_000, "broken_answer"),
    ],
)
async def test_an_answer_that_is_not_http_is_a_failure_and_no_more(sent: bytes, error: str) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with endpoint(behave) as there:
        answer = await post(there.url())
    assert (answer.status_code, answer.error, answer.head) == (None, error, "")
    assert answer.duration_ms < 2_000


@given(
    head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 \r\nretry-after: "]), rest=st.binary(max_size=300)
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_whatever_raise(head: bytes, rest: bytes) -> None:
    answer = asyncio.run(answered(head + rest))
    assert answer.succeeded == (answer.status_code is not None and answer.error is None and answer.status_code < 300)
    assert answer.head == "" or answer.head.isprintable()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"a\x00b\x1b[31mc\r\nd\x7f\x9b", "a b [31mc  d \N{REPLACEMENT CHARACTER}"),
        ("n\u00e3o \u202egnp.exe \u200bx\u2028y\u0085z".encode(), "n\u00e3o  gnp.exe  x y z"),
        (b"\xff\xfe\xfa", "\N{REPLACEMENT CHARACTER}" * 3),
        (b"x" * 999 + "\u00e3".encode() + b"y" * 500, "x" * 999),
        (b"x" * 5_000, "x" * 1_000),
    ],
)
async def test_what_is_shown_of_a_body_is_short_and_has_no_control_characters(body: bytes, shown: str) -> None:
    answer = await answered(b"HTTP/1.1 500 Broken\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert answer.head == shown


async def test_an_answer_before_the_body_was_read_is_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()

    async with endpoint(refuse) as there:
        answer = await post(there.url(), body=b"x" * 8_000_000)
    assert (answer.status_code, answer.error) == (413, None)


async def test_early_hints_and_a_few_interim_answers_are_passed_over() -> None:
    answer = await answered(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3 + OK)
    assert (answer.status_code, answer.head) == (200, "ok")
