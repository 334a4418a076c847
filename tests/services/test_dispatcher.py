"""Deliveries over real HTTP: what becomes of them when endpoints behave as endpoints do (F1 to F20 and beyond)."""

import asyncio
import gzip
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.receiver import Receiver, answer, receiving
from tests.services.dispatching import START, Post, until

from secretaria.bootstrap import Application
from secretaria.core.delivery import ATTEMPTS_MAX, WAITS, Channel, Outcome
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.webhook import WebhookClient
from secretaria.store import delivery_endpoints
from secretaria.store.database import transaction
from secretaria.store.deliveries import Delivery
from secretaria.store.delivery_endpoints import Endpoint

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def post(application: Application, endpoints: Endpoints) -> Post:
    assert endpoints.admin_url is not None
    return Post(application, endpoints.admin_url)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def after_attempts(post: Post, endpoint_id: int, number: int) -> None:
    await until(lambda: len(post.attempts(endpoint_id)) >= number)


async def arrived(receiver: Receiver, path: str, number: int, *, within_s: float = 30) -> None:
    await until(lambda: len(receiver.at(path)) >= number, within_s)


# F1 to F6: slow, silent, endless


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def a_byte_a_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 60:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65_536)
        await writer.drain()


async def test_slow_silent_and_endless_endpoints_end_as_they_should_and_delay_nobody(
    post: Post, receiver: Receiver
) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    receiver.answers = {
        "/f1": answer(200, after_s=14),
        "/f2": never,
        "/f4": a_byte_a_second,
        "/f5": endless,
        "/f6": answer(200, "Content-Encoding: gzip", body=bomb),
    }
    async with receiving() as deaf:
        deaf.reads = False
        ids = {path: await post.add(receiver.url(path)) for path in ("/f1", "/f2", "/f4", "/f5", "/f6")}
        ids["/f3"] = await post.add(deaf.url("/f3"))
        prompt = await post.add(receiver.url("/prompt"), company_id=2)
        async with post.dispatching():
            await post.tell("alert_1")
            await until(lambda: len(receiver.received) >= 5)
            began = time.monotonic()
            for number in range(20):  # while the others hang
                await post.tell(f"alert_{number}", company_id=2)
                await arrived(receiver, "/prompt", number + 1, within_s=1)
            assert time.monotonic() - began < 14
            for endpoint_id in ids.values():
                await after_attempts(post, endpoint_id, 1)
    outcomes = {path: post.attempts(endpoint_id) for path, endpoint_id in ids.items()}
    assert outcomes == {
        "/f1": [(200, None)], "/f2": [(None, "timeout")], "/f3": [(None, "timeout")], "/f4": [(None, "timeout")],
        "/f5": [(200, None)], "/f6": [(200, None)],
    }  # fmt: skip
    for path in ("/f1", "/f5", "/f6"):
        assert post.delivery(ids[path])[:2] == ("delivered", 1)
    for path in ("/f2", "/f3", "/f4"):
        assert post.delivery(ids[path]) == ("waiting", 1, START + 5 * SECOND)
    assert set(post.attempts(prompt)) == {(200, None)}
    ((most,),) = post.rows("SELECT max(length(answer)) FROM delivery_attempts")
    assert most <= 1_000


async def test_many_that_die_together_delay_nobody(post: Post, receiver: Receiver) -> None:
    receiver.answers = {"/dead": never}
    for company_id in range(10, 60):  # more than there are slots for healthy ones
        await post.add(receiver.url("/dead"), company_id=company_id)
    await post.add(receiver.url("/prompt"))
    client = WebhookClient()
    async with post.dispatching(post.dispatcher(client=client)):
        for company_id in range(10, 60):
            await post.tell("alert_1", company_id=company_id)
        await arrived(receiver, "/dead", 50, within_s=5)
        for number in range(5):
            await post.tell(f"alert_{number}")
            await arrived(receiver, "/prompt", number + 1, within_s=1)
        await client.close()


# F7 to F10: redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(post: Post, receiver: Receiver, status: int) -> None:
    targets = ("http://127.0.0.1:{port}/in", "http://elsewhere.test/", "/in", "http://169.254.169.254/")
    for number, target in enumerate(targets):
        receiver.answers[f"/{number}"] = answer(status, f"Location: {target.format(port=receiver.port)}")
    ids = [await post.add(receiver.url(f"/{number}")) for number in range(4)]
    async with post.dispatching():
        await post.tell("alert_1")
        for endpoint_id in ids:
            await after_attempts(post, endpoint_id, 1)
    assert [post.attempts(of) for of in ids] == [[(status, "redirect_refused")]] * 4
    assert receiver.at("/in") == []
    assert receiver.connections == 4


# F11 to F16: refusals


async def test_410_disables_at_once_tells_by_mail_and_keeps_what_waits(post: Post, receiver: Receiver) -> None:
    receiver.answers["/gone"] = answer(410)
    gone = await post.add(receiver.url("/gone?key=s3cret"))
    receiver.answers["/gone?key=s3cret"] = answer(410)
    mails = _Mails()
    owners = await post.add("dono@example.com", channel=Channel.MAIL, events=["endpoint.disabled"])
    operators = await post.add("nos@example.com", company_id=0, channel=Channel.MAIL, events=["endpoint.disabled"])
    async with post.dispatching(post.dispatcher(mail=mails)):
        await post.tell("alert_1")
        await until(lambda: len(mails.sent) == 2)
        assert post.endpoint(gone, "status", "disabled_reason", "disabled_at") == ("disabled", "gone", START)
        await post.tell("alert_2")
        post.move(30 * DAY)
        await asyncio.sleep(0.3)
    assert post.attempts(gone) == [(410, None)]
    assert post.delivery(gone) == ("waiting", 1, START + 5 * SECOND)
    assert sorted(of.endpoint_id for of in mails.sent) == [owners, operators]
    told = json.loads(mails.sent[0].body)
    assert told["type"] == "endpoint.disabled"
    assert (told["data"]["endpoint_id"], told["data"]["reason"]) == (gone, "gone")
    assert "s3cret" not in mails.sent[0].body
    assert post.rows("SELECT actor, action, subject FROM audit_log") == [
        ("process", "endpoint.disabled", f"endpoint:{gone}")
    ]


class _Mails:
    """A courier that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Delivery] = []

    async def send(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> Outcome:
        assert endpoint.channel is Channel.MAIL
        assert now.tzinfo is UTC
        self.sent.append(delivery)
        return Outcome(True, 250, None, 1)


@pytest.mark.parametrize(
    ("status", "headers", "waits"),
    [
        (429, ["Retry-After: 120"], 120),  # F12
        (503, ["Retry-After: Fri, 20 Nov 2026 12:07:00 GMT"], 420),  # F13
        (503, ["Retry-After: 1000000000"], 3_600),  # F14
        (503, ["Retry-After: -1"], 5),
        (503, ["Retry-After: soon"], 5),
        (404, [], 5),  # F15
    ],
)
async def test_it_comes_again_when_the_answer_says_or_the_schedule(
    post: Post, receiver: Receiver, status: int, headers: Sequence[str], waits: int
) -> None:
    receiver.answers["/x"] = answer(status, *headers)
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_1")
        await after_attempts(post, endpoint_id, 1)
        assert post.delivery(endpoint_id) == ("waiting", 1, START + waits * SECOND)
        del receiver.answers["/x"]
        post.move((waits - 1) * SECOND)
        if waits > 5:  # the endpoint asked for patience: for whatever comes
            await post.tell("alert_2")
        await asyncio.sleep(0.3)
        assert len(receiver.at("/x")) == 1
        post.move(SECOND)
        await after_attempts(post, endpoint_id, 3 if waits > 5 else 2)
    assert {of.id for of in receiver.at("/x")} >= {f"alert_1_1_{endpoint_id}"}


async def test_a_404_is_tried_twelve_times_and_ends_in_a_dead_letter_that_is_shown(
    post: Post, receiver: Receiver
) -> None:
    receiver.answers["/x"] = answer(404, body=b"no such hook\x00")
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_1")
        for attempt, wait in enumerate((*WAITS, DAY), start=1):
            await after_attempts(post, endpoint_id, attempt)
            post.move(wait)
        await asyncio.sleep(0.3)
    assert post.delivery(endpoint_id)[:2] == ("dead", ATTEMPTS_MAX)
    assert post.endpoint(endpoint_id, "status", "failing_since") == ("active", START)
    assert len(receiver.received) == ATTEMPTS_MAX
    assert len({(of.id, of.body) for of in receiver.received}) == 1
    assert post.rows("SELECT DISTINCT answer FROM delivery_attempts") == [("no such hook ",)]
    times = [at for (at,) in post.rows("SELECT at FROM delivery_attempts ORDER BY attempt")]
    assert [after - before for before, after in pairwise(times)] == list(WAITS)


async def test_500_for_six_days_disables_after_five(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(500)
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        for hour in range(0, 6 * 24, 4):
            if post.endpoint(endpoint_id, "status") == ("active",):
                await post.tell(f"alert_{hour}")
                await until(lambda: post.rows("SELECT count(*) FROM deliveries WHERE attempts = 0") == [(0,)])
            post.move(timedelta(hours=4))
            await asyncio.sleep(0.05)
    assert post.endpoint(endpoint_id, "status", "disabled_reason") == ("disabled", "failing")
    ((disabled_at, failing_since),) = post.rows("SELECT disabled_at, failing_since FROM delivery_endpoints")
    assert timedelta(days=5) <= disabled_at - failing_since <= timedelta(days=5, hours=4)
    ((waiting,),) = post.rows("SELECT count(*) FROM deliveries WHERE status = 'waiting'")
    assert waiting > 0


# F17 to F20: certificates, ports and names


def self_signed(folder: Path, *, until: datetime) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 30 * DAY)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    format_, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, format_, none))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def test_a_bad_certificate_and_a_closed_port_are_failures_that_are_tried_again(
    post: Post, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with receiving(tls=self_signed(tmp_path, until=datetime.now(UTC) - DAY)) as receiver:
            bad = await post.add(receiver.url("/x"))
            refused = await post.add(f"http://127.0.0.1:{closed.getsockname()[1]}/x")
            async with post.dispatching():
                await post.tell("alert_1")
                await after_attempts(post, bad, 1)
                await after_attempts(post, refused, 1)
                post.move(5 * SECOND)
                await after_attempts(post, bad, 2)
                await after_attempts(post, refused, 2)
            assert receiver.received == []
    assert post.attempts(bad) == [(None, "tls_failed")] * 2
    assert post.attempts(refused) == [(None, "refused")] * 2


async def test_a_name_that_comes_back_gets_what_waited(post: Post, receiver: Receiver) -> None:
    known: list[str] = []

    async def resolve(name: str) -> Sequence[str]:
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return known

    endpoint_id = await post.add(f"http://hooks.example.test:{receiver.port}/x")
    async with post.dispatching(post.dispatcher(resolve=resolve)):
        await post.tell("alert_1", "alert_2", "alert_3")
        await after_attempts(post, endpoint_id, 3)
        known.append("127.0.0.1")
        post.move(5 * SECOND)
        await until(lambda: len(receiver.received) == 3)
        await after_attempts(post, endpoint_id, 6)
    assert sorted(set(post.attempts(endpoint_id)), key=str) == [(200, None), (None, "dns_failed")]


async def test_a_name_that_flips_to_loopback_after_the_check_is_not_connected_to(
    post: Post, receiver: Receiver
) -> None:
    async def resolve(name: str) -> Sequence[str]:
        return ["127.0.0.1"]

    endpoint_id = await post.add("https://flips.example.com/x", private_allowed=False)
    literal = await post.add(f"https://127.0.0.1:{receiver.port}/x", private_allowed=False)
    async with post.dispatching(post.dispatcher(resolve=resolve)):
        await post.tell("alert_1")
        await after_attempts(post, endpoint_id, 1)
        await after_attempts(post, literal, 1)
    assert post.attempts(endpoint_id) == [(None, "address_not_allowed")]
    assert post.attempts(literal)[0][1] in ("address_not_allowed", "url_not_allowed")
    assert receiver.connections == 0


# Outages, several workers, kills


async def test_after_an_outage_every_alert_arrives_under_one_id_each(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(503)
    endpoint_id = await post.add(receiver.url("/x"))
    keys = [f"alert_{number}" for number in range(30)]
    async with post.dispatching():
        for start in range(0, 30, 5):
            await post.tell(*keys[start : start + 5])
            post.move(timedelta(hours=1))
            await asyncio.sleep(0.1)
        await until(lambda: post.rows("SELECT count(*) FROM deliveries WHERE attempts = 0") == [(0,)])
        before = len(receiver.received)
        del receiver.answers["/x"]
        await post.tell("alert_30")  # the one that finds it back releases all the others, hours before their time
        await until(lambda: post.rows("SELECT count(*) FROM deliveries WHERE status <> 'delivered'") == [(0,)])
    arrived = [of.id for of in receiver.received[before:]]
    assert sorted(arrived) == sorted(f"{key}_1_{endpoint_id}" for key in [*keys, "alert_30"])
    assert post.endpoint(endpoint_id, "failing_since", "succeeded_at") == (None, post.now)


async def test_two_dispatchers_never_make_the_same_attempt(post: Post, receiver: Receiver) -> None:
    receiver.answers["/slow"] = answer(200, after_s=0.05)
    ids = [await post.add(receiver.url(f"/{of}"), company_id=of) for of in range(1, 11)]
    ids.append(await post.add(receiver.url("/slow")))
    async with post.dispatching(post.dispatcher(), post.dispatcher(), post.dispatcher()):
        for number in range(20):
            for company_id in range(1, 11):
                await post.tell(f"alert_{number}", company_id=company_id)
        await until(lambda: post.rows("SELECT count(*) FROM deliveries WHERE status <> 'delivered'") == [(0,)])
    assert len(receiver.received) == 20 * 11
    assert len({of.id for of in receiver.received}) == 20 * 11
    assert receiver.most_at_once["/slow"] <= 4
    assert {post.endpoint(of, "leased_until") for of in ids} == {(None,)}


async def test_a_failing_endpoint_gets_one_attempt_at_a_time(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(500, after_s=0.1)
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_0")
        await after_attempts(post, endpoint_id, 1)
        receiver.most_at_once.clear()
        await post.tell(*(f"alert_{number}" for number in range(1, 9)))
        await after_attempts(post, endpoint_id, 9)
    assert receiver.most_at_once["/x"] == 1


async def test_what_was_sent_and_not_marked_is_sent_again_under_the_same_id(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = await post.add(receiver.url("/x"))
    first = post.dispatcher()

    async def killed(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(first, "_settle", killed)
    stop = asyncio.Event()
    running = asyncio.create_task(first.run(stop))
    await post.tell("alert_1")
    await until(lambda: len(receiver.received) == 1)
    running.cancel()  # its lease stays, as a killed process leaves it
    for task in list(first._serving):
        task.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert post.delivery(endpoint_id)[:2] == ("waiting", 0)
    async with post.dispatching():
        await asyncio.sleep(0.3)
        assert len(receiver.received) == 1
        post.move(46 * SECOND)
        await until(lambda: post.delivery(endpoint_id)[0] == "delivered")
    first_time, second_time = receiver.received
    assert first_time.id == second_time.id
    assert first_time.body == second_time.body
    assert first_time.headers["webhook-signature"] != second_time.headers["webhook-signature"]  # another time
    assert post.attempts(endpoint_id) == [(200, None)]


async def test_whoever_lost_the_lease_writes_nothing(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(410, after_s=0.5)
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_1")
        await until(lambda: len(receiver.received) == 1)
        # Another worker takes the endpoint over, as it would of one that hangs.
        later = post.now + 46 * SECOND
        async with transaction(post.application.database.operator) as connection:
            taken = await delivery_endpoints.lease(connection, 1, endpoint_id, now=later, until=later + DAY)
        assert taken is not None
        await asyncio.sleep(1)
    assert post.attempts(endpoint_id) == []
    assert post.delivery(endpoint_id) == ("waiting", 0, START)
    assert post.endpoint(endpoint_id, "status", "failing_since", "lease") == ("active", None, 2)


async def test_a_stop_lets_attempts_under_way_end_and_takes_nothing_new(post: Post, receiver: Receiver) -> None:
    receiver.answers["/x"] = answer(200, after_s=1)
    endpoint_id = await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_1")
        await until(lambda: len(receiver.received) == 1)
    assert post.delivery(endpoint_id)[0] == "delivered"
    await post.tell("alert_2")
    await asyncio.sleep(0.2)
    assert len(receiver.received) == 1


async def test_it_hears_of_news_again_when_its_connection_was_cut(post: Post, receiver: Receiver) -> None:
    await post.add(receiver.url("/x"))
    async with post.dispatching():
        await post.tell("alert_1")
        await until(lambda: len(receiver.received) == 1)
        listeners = (
            "FROM pg_stat_activity WHERE application_name = 'secretaria_deliveries' AND datname = current_database()"
        )
        post.execute(f"SELECT pg_terminate_backend(pid) {listeners}")
        await post.tell("alert_2")
        await until(lambda: len(receiver.received) == 2, within_s=2.5)
        await until(lambda: post.rows(f"SELECT count(*) {listeners}") == [(1,)])


async def test_the_first_attempt_comes_well_within_a_second(post: Post, receiver: Receiver) -> None:
    await post.add(receiver.url("/x"))
    took_s = []
    async with post.dispatching():
        await post.tell("warm-up")
        await until(lambda: len(receiver.received) == 1)
        for number in range(50):
            began = time.monotonic()
            await post.tell(f"alert_{number}")
            await arrived(receiver, "/x", number + 2)
            took_s.append(receiver.received[-1].at_s - began)
    assert max(took_s) < 1


async def test_a_channel_that_nothing_carries_and_a_courier_that_breaks_are_shown_as_failures(post: Post) -> None:
    class Broken:
        async def send(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> Outcome:
            raise ZeroDivisionError(endpoint, delivery, now)

    endpoint_id = await post.add("dono@example.com", channel=Channel.MAIL)
    async with post.dispatching():
        await post.tell("alert_1")
        await after_attempts(post, endpoint_id, 1)
    post.move(5 * SECOND)
    async with post.dispatching(post.dispatcher(mail=Broken())):
        await after_attempts(post, endpoint_id, 2)
    assert post.attempts(endpoint_id) == [(None, "channel_not_set_up"), (None, "internal")]
    assert post.delivery(endpoint_id) == ("waiting", 2, post.now + 20 * SECOND)
