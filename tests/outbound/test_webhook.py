"""The webhook client against real servers that behave as badly as customers' endpoints do (F1 to F20)."""

import asyncio
import gzip
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from tests.outbound.hostile_endpoint import (
    Authority,
    Behaviour,
    Endpoint,
    drip,
    endpoint,
    never_answer,
    never_read,
    pieces,
    read_request,
)
from tests.outbound.lying_dns import Ear, LyingDns, silent_dns

from secretaria.core.standard_webhook import create_secret
from secretaria.core.standard_webhook import headers as signed
from secretaria.outbound import resolver, webhook
from secretaria.outbound.webhook import Answer, WebhookClient

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BODY = b'{"type":"usage.limit.warning"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same deadlines, in less time."""
    monkeypatch.setattr(webhook, "DEADLINE_S", 0.6)
    monkeypatch.setattr(webhook, "BODY_TIMEOUT_S", 0.2)


async def post(url: str, client: WebhookClient | None = None, body: bytes = BODY) -> Answer:
    """Post as for the operator, whose URL may be on this machine."""
    return await (client or WebhookClient()).post(url, body, {"webhook-id": "alert-1"}, private_allowed=True, now=NOW)


async def answered(answer: bytes) -> Answer:
    async with endpoint(answer) as there:
        return await post(there.url())


async def test_a_webhook_arrives_signed_and_with_our_headers() -> None:
    secret = create_secret()
    async with endpoint(OK) as there:
        headers = signed("alert-7", datetime.now(UTC), BODY, [secret])
        answer = await WebhookClient().post(there.url() + "?a=b", BODY, headers, private_allowed=True, now=NOW)
    assert (answer.succeeded, answer.status_code, answer.error, answer.head) == (True, 200, None, "ok")
    assert there.requests[0].startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert there.header("host") == f"127.0.0.1:{there.port}"
    assert there.header("content-type") == "application/json"
    assert there.header("user-agent") == "Secretaria-Webhooks/1"
    assert there.header("accept-encoding") == "identity"
    assert there.header("secretaria-hop") == "1"
    received = {name: there.header(name) or "" for name in headers}
    assert Webhook(secret).verify(there.requests[0].split(b"\r\n\r\n")[1], received)


@pytest.mark.long
async def test_the_real_deadline_f1_14_s_succeed_and_f2_f3_f4_and_all_that_stalls_end_at_15_s() -> None:
    """All at once, in real time: none delays another."""
    lost_name = WebhookClient(resolve=silent_dns)
    async with (
        endpoint(pieces(OK, first=14.0)) as slow,
        endpoint(never_answer) as silent,
        endpoint(never_read) as deaf,
        endpoint(drip(OK, 1.0)) as dripping,
    ):
        started = time.monotonic()
        answers = await asyncio.gather(
            post(slow.url()),
            post(silent.url()),
            post(deaf.url(), body=b"x" * 8_000_000),
            post(dripping.url()),
            post(deaf.url("https")),
            post("http://nowhere.example.com/", lost_name),
        )
        assert time.monotonic() - started < 16.0
    first, *others = answers
    assert (first.status_code, first.succeeded, first.head) == (200, True, "ok")
    assert 14_000 <= first.duration_ms < 15_000
    assert [(one.status_code, one.error, one.succeeded) for one in others] == [(None, "timeout", False)] * 5
    assert all(15_000 <= one.duration_ms < 16_000 for one in others)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(never_answer, id="F2 accepts, never answers"),
        pytest.param(never_read, id="F3 never reads"),
        pytest.param(drip(OK, 0.1), id="F4 a byte of the head now and then"),
        pytest.param(pieces(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 6, pause_s=0.2), id="interim answers only"),
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\nx: ", *[b"y"] * 50, pause_s=0.1), id="a header that goes on"),
    ],
)
@pytest.mark.usefixtures("impatient")
async def test_a_head_that_does_not_come_is_a_timeout_and_the_connection_is_cut(behaviour: Behaviour) -> None:
    async with endpoint(behaviour) as there:
        answer = await post(there.url(), body=b"x" * 3_000_000)
        if behaviour is not never_read:
            await asyncio.wait_for(there.ended.wait(), 5)
    assert (answer.status_code, answer.error) == (None, "timeout")
    assert 600 <= answer.duration_ms < 1_500


@pytest.mark.usefixtures("impatient")
async def test_f3_what_was_not_read_by_the_deadline_is_dropped_and_not_kept_for_later() -> None:
    given_up, received = asyncio.Event(), 0

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await given_up.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        while data := await reader.read(65_536):
            received += len(data)

    async with endpoint(read_late) as there:
        answer = await post(there.url(), body=b"x" * 32_000_000)
        given_up.set()
        await asyncio.wait_for(there.ended.wait(), 10)
    assert answer.error == "timeout"
    # The system's own buffers pass on what they had.
    assert received < 16_000_000


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", b"taken"), id="stalls"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n\r\ntaken", 0.0), id="has no end"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ntaken", id="is cut short"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ntaken\r\nzz\r\n", id="turns to garbage"
        ),
    ],
)
@pytest.mark.usefixtures("impatient")
async def test_a_status_stands_whatever_becomes_of_the_body(behaviour: Behaviour | bytes) -> None:
    """It was taken: to send it again for the sake of a courtesy would deliver it twice."""
    async with endpoint(behaviour) as there:
        answer = await post(there.url())
    assert (answer.status_code, answer.error, answer.head, answer.succeeded) == (200, None, "taken", True)
    assert answer.duration_ms < 1_500


@pytest.mark.parametrize("chunked", [False, True])
async def test_f5_a_body_of_10_gb_is_cut_after_64_kib(chunked: bool) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        kind = b"transfer-encoding: chunked" if chunked else b"content-length: 10000000000"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
        block = b"a" * 65_536
        for _ in range(10_000_000_000 // len(block)):
            writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            await writer.drain()
            there.sent_bytes += len(block)

    async with endpoint(flood) as there:
        answer = await post(there.url())
        await asyncio.wait_for(there.ended.wait(), 5)
    assert (answer.status_code, answer.head) == (200, "a" * 1_000)
    # What the system's own buffers took on top is a few megabytes at most.
    assert there.sent_bytes < 16_000_000
    assert answer.duration_ms < 2_000


async def test_f6_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    kind = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    answer = await answered(kind + bomb)
    assert answer.succeeded
    assert len(answer.head) <= 1_000
    assert answer.duration_ms < 2_000


@pytest.mark.parametrize(
    ("status", "where"),
    [
        pytest.param(301, "http://127.0.0.1:{port}/", id="F7 301 to 127.0.0.1"),
        pytest.param(302, "http://localhost:{port}/elsewhere", id="F8 302 to another host"),
        pytest.param(307, "http://127.0.0.1:{port}/", id="F9 307"),
        pytest.param(302, "http://169.254.169.254/latest/meta-data/", id="F10 chain to the metadata address"),
        pytest.param(308, "/hook", id="308 to itself"),
        pytest.param(303, "//127.0.0.1:{port}/", id="303 without a scheme"),
        pytest.param(300, "http://127.0.0.1:{port}/", id="300"),
        pytest.param(399, "http://127.0.0.1:{port}/", id="399"),
    ],
)
async def test_a_redirect_is_a_failure_and_not_followed(status: int, where: str, ear: Ear) -> None:
    async with endpoint(OK) as inside:
        location = where.format(port=inside.port)
        answer_of = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\nrefresh: 0; url={location}\r\ncontent-length: 0\r\n\r\n"
        async with endpoint(answer_of.encode()) as there:
            answer = await post(there.url())
    assert (answer.status_code, answer.error, answer.succeeded) == (status, "redirect_refused", False)
    assert (there.accepted, inside.accepted) == (1, 0)
    assert ear.connects == [("127.0.0.1", there.port)]


@pytest.mark.parametrize(
    ("head", "retry_after_s"),
    [
        pytest.param("410 Gone", None, id="F11 410"),
        pytest.param("429 Too Many\r\nretry-after: 120", 120, id="F12 429 Retry-After 120"),
        pytest.param("503 Busy\r\nretry-after: Fri, 20 Nov 2026 12:05:00 GMT", 300, id="F13 503 with a date"),
        pytest.param("503 Busy\r\nretry-after: Friday, 20-Nov-26 12:05:00 GMT", 300, id="F13 an obsolete date"),
        pytest.param("503 Busy\r\nretry-after: Fri Nov 20 12:05:00 2026", 300, id="F13 asctime"),
        pytest.param("503 Busy\r\nretry-after: Fri, 20 Nov 2026 11:00:00 GMT", 0, id="F13 a date gone by"),
        pytest.param("503 Busy\r\nretry-after: 1e9", None, id="F14 1e9"),
        pytest.param("503 Busy\r\nretry-after: -1", None, id="F14 -1"),
        pytest.param("503 Busy\r\nretry-after: soon", None, id="F14 text"),
        pytest.param("503 Busy\r\nretry-after: 1000000000", 1_000_000_000, id="F14 30 years: for the caller to bound"),
        pytest.param("503 Busy\r\nretry-after: " + "9" * 5_000, None, id="F14 5,000 digits"),
        pytest.param("503 Busy\r\nretry-after: ٣", None, id="F14 a digit of another script"),
        pytest.param("503 Busy\r\nretry-after: Fri, 20 Nov 99999 12:05:00 GMT", None, id="F14 no such year"),
        pytest.param("503 Busy\r\nretry-after: Fri, 31 Feb 2026 12:05:00 GMT", None, id="F14 no such day"),
        pytest.param("503 Busy\r\nretry-after: 5\r\nretry-after: 9", 5, id="F14 two of them"),
        pytest.param("404 Not Found", None, id="F15 404"),
        pytest.param("500 Broken", None, id="F16 500"),
        pytest.param("204 No Content", None, id="204"),
        pytest.param("299 Odd", None, id="299"),
        pytest.param("999 Odd", None, id="999"),
    ],
)
async def test_an_answer_is_told_as_it_came(head: str, retry_after_s: int | None) -> None:
    answer = await answered(f"HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n".encode())
    status_code = int(head[:3])
    assert (answer.status_code, answer.error) == (status_code, None)
    assert answer.retry_after_s == retry_after_s
    assert answer.succeeded is (200 <= status_code <= 299)


async def test_f17_a_good_certificate_is_taken_and_the_name_goes_into_sni_and_host(authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server("hooks.example.com")
    context.sni_callback = lambda _, name, __: names.append(name)
    client = WebhookClient(resolve=LyingDns(hooks_example_com=[["127.0.0.1"]]))
    async with endpoint(OK, tls=context) as there:
        answer = await post(there.url("https", "hooks.example.com"), client)
    assert (answer.status_code, answer.error) == (200, None)
    assert names == ["hooks.example.com"]
    assert there.header("host") == f"hooks.example.com:{there.port}"


async def test_f17_a_certificate_for_the_address_is_taken_where_the_url_holds_the_address(authority: Authority) -> None:
    async with endpoint(OK, tls=authority.server("127.0.0.1")) as there:
        assert (await post(there.url("https"))).succeeded


@pytest.mark.parametrize("fault", ["expired", "other name", "the address, not the name", "other authority", "no TLS"])
async def test_f17_a_bad_certificate_is_refused_and_nothing_is_sent(
    fault: str, authority: Authority, tmp_path: Path
) -> None:
    contexts = {
        "expired": authority.server("hooks.example.com", expired=True),
        "other name": authority.server("example.com", "hooks.example.org"),
        "the address, not the name": authority.server("127.0.0.1"),
        "other authority": Authority(tmp_path, "stranger").server("hooks.example.com"),
        "no TLS": None,
    }
    client = WebhookClient(resolve=LyingDns(hooks_example_com=[["127.0.0.1"]]))

    async def not_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.requests.append(await reader.read(5))
        writer.write(b"HTTP/1.1 400 Speak HTTP\r\n\r\n")
        await reader.read()

    async with endpoint(not_tls if fault == "no TLS" else OK, tls=contexts[fault]) as there:
        answer = await post(there.url("https", "hooks.example.com"), client)
    assert (answer.status_code, answer.error) == (None, "tls_failed")
    assert b"POST " not in b"".join(there.requests)


async def test_old_tls_is_not_spoken(authority: Authority) -> None:
    context = authority.server("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    async with endpoint(OK, tls=context) as there:
        _, writer = await asyncio.open_connection("127.0.0.1", there.port, ssl=lax)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.1"
        writer.transport.abort()
        answer = await post(there.url("https"))
    assert answer.status_code is None
    assert answer.error in {"tls_failed", "connection_lost"}
    assert there.requests == []


async def test_f18_a_closed_port_is_refused() -> None:
    async with endpoint(OK) as there:
        url = there.url()
    answer = await post(url)
    assert (answer.status_code, answer.error) == (None, "refused")


async def test_f19_a_name_that_vanished_fails_and_is_found_once_it_is_back() -> None:
    dns = LyingDns(hooks_example_com=[None, [], ["127.0.0.1"]])
    client = WebhookClient(resolve=dns)
    async with endpoint(OK) as there:
        url = there.url(host="hooks.example.com")
        answers = [await post(url, client) for _ in range(3)]
    assert [(one.status_code, one.error) for one in answers] == [
        (None, "dns_failed"),
        (None, "dns_failed"),
        (200, None),
    ]
    assert there.accepted == 1


async def test_a_dead_address_is_passed_over_for_the_next_of_the_name() -> None:
    client = WebhookClient(resolve=LyingDns(hooks_example_com=[["127.0.0.9", "127.0.0.1"]]))
    async with endpoint(OK) as there:
        answer = await post(there.url(host="hooks.example.com"), client)
    assert answer.succeeded


async def test_of_a_hundred_addresses_three_are_tried(ear: Ear) -> None:
    client = WebhookClient(resolve=LyingDns(hooks_example_com=[[f"127.0.1.{number}" for number in range(100)]]))
    answer = await post("http://hooks.example.com:9/", client)
    assert answer.error == "refused"
    assert len(ear.connects) == 3


async def test_cookies_are_not_kept_and_no_connection_is_used_twice() -> None:
    client = WebhookClient()
    async with endpoint(b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n") as there:
        for _ in range(2):
            assert (await post(there.url(), client)).succeeded
    assert there.accepted == 2
    assert there.header("cookie") is None
    assert there.header("connection") == "close"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint(OK) as proxy, endpoint(OK) as there:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        assert (await post(there.url())).succeeded
    assert (proxy.accepted, there.accepted) == (0, 1)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "Secretaria-Hop"])
async def test_headers_that_frame_the_message_are_not_the_callers_to_set(name: str, ear: Ear) -> None:
    with pytest.raises(ValueError, match="not the caller's"):
        await WebhookClient().post("http://127.0.0.1/", BODY, {name: "1"}, private_allowed=True, now=NOW)
    assert ear.connects == []


@pytest.mark.parametrize(
    ("name", "value"), [("x", "a\r\nb: c"), ("x\r\nb", "c"), ("x", "a\x00"), ("x y", "z"), ("x", "\u2028")]
)
async def test_a_header_cannot_bring_another_one_in(name: str, value: str, ear: Ear) -> None:
    with pytest.raises(ValueError):
        await WebhookClient().post("http://127.0.0.1/", BODY, {name: value}, private_allowed=True, now=NOW)
    assert ear.connects == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_cancelled_post_leaves_no_connection_behind(scheme: str) -> None:
    async with endpoint(lambda reader, _: reader.read()) as there:  # type: ignore[arg-type,return-value]
        task = asyncio.create_task(post(there.url(scheme)))
        while not there.accepted:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _gone(there)


async def test_closing_the_client_ends_what_is_under_way() -> None:
    client = WebhookClient()
    async with endpoint(never_answer) as there:
        task = asyncio.create_task(post(there.url(), client))
        while not there.accepted:
            await asyncio.sleep(0.01)
        await client.close()
        answer = await task
        await _gone(there)
    assert (answer.status_code, answer.error) == (None, "connection_lost")


async def _gone(there: Endpoint) -> None:
    await asyncio.wait_for(there.ended.wait(), 5)


@pytest.mark.usefixtures("impatient")
async def test_name_servers_that_never_answer_hold_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    stuck = threading.Event()
    monkeypatch.setattr(resolver, "_look_up", lambda _: ["127.0.0.1"] if stuck.wait(20) else [])
    client = WebhookClient()
    urls = [f"http://n{number}.example.com:9/" for number in range(resolver.LOOKUPS_AT_ONCE_MAX * 2)]
    try:
        answers = await asyncio.gather(*(post(url, client) for url in urls))
        assert {one.error for one in answers} == {"timeout"}
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 1) == "free"
        async with endpoint(OK) as there:
            assert (await post(there.url(), client)).succeeded
    finally:
        stuck.set()
