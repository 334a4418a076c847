"""URLs and name servers that would lead a webhook into our own network: not one opens a connection.

Each URL meets a listener that is really there on every local address and port it could mean, and the interpreter's own
report of every connection and look-up attempted.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from tests.outbound.hostile_endpoint import Authority, Endpoint, endpoint
from tests.outbound.lying_dns import Ear, LyingDns, silent_dns

from secretaria.core import webhook_url
from secretaria.core.errors import InvalidInput
from secretaria.outbound.webhook import Answer, WebhookClient, check_resolves, check_url

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PUBLIC = "93.184.215.14"


@pytest.fixture
async def inside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    """A server on all addresses of this machine, whose port is one that strangers may name."""
    async with endpoint(OK, host="") as there:
        monkeypatch.setattr(webhook_url, "PORTS", (443, 8443, there.port))
        yield there


@cache
def plain() -> WebhookClient:
    """One for all: to read the system's certificates takes longer than the rest."""
    return WebhookClient()


async def post(url: str, client: WebhookClient | None = None, *, private_allowed: bool = False) -> Answer:
    return await (client or plain()).post(url, b"{}", {}, private_allowed=private_allowed, now=NOW)


# P stands for the port on which the server listens.
OTHER_SCHEMES = [
    "http://example.com/", "HTTP://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:P/_x",
    "javascript:alert(1)", "data:text/plain,x", "ws://example.com/", "unix:///run/x.sock", "//127.0.0.1:P/",
    "127.0.0.1:P", "example.com/hook", "https:/127.0.0.1:P/", "https:127.0.0.1:P", "https:///127.0.0.1:P/", "https://",
    "https", "", "httpss://example.com/", "view-source:https://127.0.0.1/", "jar:https://127.0.0.1!/",
]  # fmt: skip
AUTHORITIES = [
    "https://user:pass@example.com/", "https://user@127.0.0.1:P/", "https://example.com@127.0.0.1:P/",
    "https://example.com:443@127.0.0.1:P/", r"https://example.com\@127.0.0.1:P/", r"https://127.0.0.1:P\@example.com/",
    r"https://example.com\.127.0.0.1:P/", "https://@127.0.0.1:P/", "https://example.com#@127.0.0.1:P/",
    "https://example.com/#x", "https://127.0.0.1:P#.example.com/", "https://exam\tple.com/", "https://127.0.0.1\t:P/",
    "https://exam\nple.com/", "https://example.com/\r\nhost: 127.0.0.1", " https://127.0.0.1:P/", "https://127.0.0.1:P/ ",
    "https://127.0.0.1:P\x00.example.com/", "https://127.0.0.1%00.example.com:P/", "https://%31%32%37.0.0.1:P/",
    "https://[::1/", "https://::1]:P/", "https://[::1]P/", "https://[[::1]]:P/", "https://[::1]example.com:P/",
    "https://example.com[::1]:P/", "https://127.0.0.1:P:443/", "https://example.com:/", "https://example.com:443:P/",
]  # fmt: skip
PORTS = [
    f"https://example.com:{port}/" for port in ("22", "25", "80", "5432", "6379", "8000", "9200", "0", "00443", "65536")
] + ["https://example.com:99999/", "https://example.com:-443/", "https://example.com:4x3/", "https://example.com:٤٤٣/"]
NAMES = [
    "https://localhost:P/", "https://LOCALHOST:P/", "https://localhost.:P/", "https://localhost.localdomain:P/",
    "https://x.localhost:P/", "https://printer.local/", "https://metadata.google.internal/", "https://metadata/",
    "https://redis:P/", "https://nas.lan/", "https://router.home.arpa/", "https://wiki.corp/", "https://a.intranet/",
    "https://example.com./", "https://.example.com/", "https://example..com/", "https://-a.example.com/",
    "https://a-.example.com/", "https://" + "a" * 64 + ".com/", "https://" + "a." * 126 + "com/", "https://./",
    "https://*.example.com/", "https://exa$mple.com/", "https://example。com/", "https://127。0。0。1:P/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:P/", "https://exаmple.com/", "https://padaria-são-joão.com.br/", "https://example.com/ação",
    "https://example.com/" + "a" * 2_000, 'https://example.com/"x', "https://example.com/<x>", "https://example.com/{x}", r"https://example.com/a\b",
]  # fmt: skip
LITERALS = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1",
    "017700000001", "127.0.0.01", "127.0.0.1.", "127.0.0.1.1", "256.0.0.1", "0", "0.0.0.0", "00000000", "①②⑦.0.0.1",
    "１２７.0.0.1", "127.0.0.٠", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1",
    "169.254.169.254", "2852039166", "0xa9fea9fe", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:0:7f00:1]",
    "[::ffff:8.8.8.8]", "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::808:808]", "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[2002:808:808::]", "[2001::1]", "[2001:0:53aa:64c:0:0:80ff:fffe]", "[2001:db8::1]", "[3fff::1]",
    "[5f00::1]", "[100::1]", "[4000::1]", "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%eth0]", "[fe80::1%25lo]",
    "[::1%lo]", "[fec0::1]", "[ff02::1]", "[1::2::3]", "[127.0.0.1]", "[v1.x]", "[]",
]  # fmt: skip
HOSTILE = [*OTHER_SCHEMES, *AUTHORITIES, *PORTS, *NAMES, *(f"https://{literal}:P/" for literal in LITERALS)]


def test_there_are_far_more_than_eighty_hostile_urls() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 150


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
async def test_a_hostile_url_is_refused_at_save_and_opens_no_connection_when_posted_to(
    url: str, inside: Endpoint, ear: Ear
) -> None:
    url = url.replace("P", str(inside.port))
    with pytest.raises(InvalidInput) as refused:
        check_url(url)
    assert refused.value.code == "url_not_allowed"
    assert len(url) < 10 or url not in refused.value.message
    # A name server that would tell an inside address for anything: what is refused is never even looked up.
    dns = LyingDns()
    dns.says("example.com", ["127.0.0.1"])
    for client in (plain(), WebhookClient(resolve=dns)):
        answer = await post(url, client)
        assert (answer.status_code, answer.head) == (None, "")
        assert answer.error in {"url_not_allowed", "address_not_allowed"}
    with pytest.raises(InvalidInput):
        await check_resolves(url, resolve=dns)
    assert (ear.connects, ear.lookups, dns.asked, inside.accepted) == ([], [], [], 0)


@pytest.mark.parametrize("literal", ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_the_listener_would_have_been_reached_had_private_addresses_been_allowed(
    literal: str, inside: Endpoint
) -> None:
    """What the test above counts can be counted."""
    answer = await post(f"http://{literal}:{inside.port}/", private_allowed=True)
    assert answer.succeeded
    assert inside.accepted == 1


INSIDE_ANSWERS = [
    ["127.0.0.1"], ["127.0.0.2"], ["0.0.0.0"], ["::1"], ["::"], ["10.1.2.3"], ["172.20.0.2"], ["192.168.1.1"],
    ["169.254.169.254"], ["100.64.1.1"], ["100.100.100.200"], ["168.63.129.16"], ["192.0.0.192"], ["198.18.5.5"],
    ["224.0.0.251"], ["255.255.255.255"], ["fd00:ec2::254"], ["fe80::1"], ["fe80::1%lo"], ["2606:4700::1%lo"], ["fec0::1"],
    ["ff02::fb"], ["::ffff:127.0.0.1"], ["::ffff:10.0.0.1"], ["::ffff:93.184.215.14"], ["::127.0.0.1"],
    ["64:ff9b::7f00:1"], ["64:ff9b::a9fe:a9fe"], ["64:ff9b:1::a00:1"], ["2002:7f00:1::"], ["2001:0:53aa:64c::80ff:fffe"],
    ["2001:db8::1"], ["3fff::1"], ["5f00::1"],
    [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "2606:2800:21f::1", "::1"], [PUBLIC] * 50 + ["10.0.0.1"],
    [PUBLIC, "64:ff9b::7f00:1"], [PUBLIC, "not an address"], ["127.1"], ["2130706433"], ["0x7f000001"], [""], ["localhost"],
]  # fmt: skip


@pytest.mark.parametrize("addresses", INSIDE_ANSWERS, ids=lambda addresses: ",".join(addresses)[:60])
async def test_a_name_with_any_address_that_is_not_public_is_refused_at_save_and_at_connect(
    addresses: list[str], inside: Endpoint, ear: Ear
) -> None:
    dns = LyingDns(hooks_example_com=[addresses])
    url = f"https://hooks.example.com:{inside.port}/"
    assert check_url(url) == url
    with pytest.raises(InvalidInput, match="private or reserved"):
        await check_resolves(url, resolve=dns)
    answer = await post(url, WebhookClient(resolve=dns))
    assert (answer.status_code, answer.error) == (None, "address_not_allowed")
    assert (ear.connects, inside.accepted, len(dns.asked)) == ([], 0, 2)


@pytest.mark.parametrize(
    "later", [["127.0.0.1"], ["::1"], ["169.254.169.254"], [PUBLIC, "127.0.0.1"], ["64:ff9b::7f00:1"]]
)
async def test_f20_a_name_that_was_public_at_save_and_is_inside_at_connect_is_refused(
    later: list[str], inside: Endpoint, ear: Ear
) -> None:
    dns = LyingDns(hooks_example_com=[[PUBLIC], later])
    url = f"https://hooks.example.com:{inside.port}/"
    await check_resolves(url, resolve=dns)
    answer = await post(url, WebhookClient(resolve=dns))
    assert (answer.status_code, answer.error) == (None, "address_not_allowed")
    assert (ear.connects, inside.accepted) == ([], 0)


async def test_f20_a_name_that_flips_after_its_check_at_connect_is_asked_once_and_the_checked_address_is_called(
    inside: Endpoint, ear: Ear
) -> None:
    dns = LyingDns(hooks_example_com=[[PUBLIC], ["127.0.0.1"]])
    answer = await post(f"https://hooks.example.com:{inside.port}/", WebhookClient(resolve=dns))
    # The ear keeps the connection on this machine, so it ends as refused.
    assert answer.error == "refused"
    assert ear.connects == [(PUBLIC, inside.port)]
    assert (ear.lookups, dns.asked, inside.accepted) == ([], ["hooks.example.com"], 0)


async def test_the_system_is_asked_for_the_whole_name_so_that_our_own_search_domains_are_not_tried(ear: Ear) -> None:
    with pytest.raises(InvalidInput):
        await check_resolves("https://no-such-name.invalid/")
    assert ear.lookups == [str(b"no-such-name.invalid.")]


async def test_localhost_by_another_name_is_refused_by_what_the_system_resolves(inside: Endpoint, ear: Ear) -> None:
    """A real look-up: systems answer for ip6-localhost and the like out of their own files."""
    client = WebhookClient(resolve=_as_localhost)
    answer = await post(f"https://hooks.example.com:{inside.port}/", client)
    assert (answer.error, ear.connects, inside.accepted) == ("address_not_allowed", [], 0)


async def _as_localhost(_: str) -> list[str]:
    rows = await asyncio.get_running_loop().getaddrinfo("localhost", None)
    return [str(row[4][0]) for row in rows]


@pytest.mark.parametrize("said", [None, []], ids=["no such name", "no address"])
async def test_a_name_without_an_address_is_refused_at_save_and_fails_at_connect(said: list[str] | None) -> None:
    dns = LyingDns(hooks_example_com=[said])
    with pytest.raises(InvalidInput, match="no address"):
        await check_resolves("https://hooks.example.com/", resolve=dns)
    assert (await post("https://hooks.example.com/", WebhookClient(resolve=dns))).error == "dns_failed"


async def test_a_name_server_that_never_answers_is_given_up_on_at_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secretaria.outbound.webhook.RESOLVE_TIMEOUT_S", 0.1)
    with pytest.raises(InvalidInput, match="try again later"):
        await check_resolves("https://hooks.example.com/", resolve=silent_dns)


@pytest.mark.parametrize("host", ["painel.example.com", "PAINEL.example.com", "93.184.215.14"])
async def test_our_own_host_is_refused_for_strangers_at_save_and_at_connect(host: str, ear: Ear) -> None:
    own = {"Painel.example.com", "93.184.215.14"}
    url = f"https://{host}/webhooks/whatsapp"
    with pytest.raises(InvalidInput, match="our own"):
        check_url(url, own_hosts=own)
    client = WebhookClient(own_hosts=own, resolve=LyingDns(painel_example_com=[[PUBLIC]]))
    assert (await post(url, client)).error == "address_not_allowed"
    assert ear.connects == []


async def test_the_operators_own_url_may_be_on_the_same_machine_as_we_are(inside: Endpoint) -> None:
    client = WebhookClient(own_hosts={"127.0.0.1"})
    assert (await post(f"http://127.0.0.1:{inside.port}/alerts", client, private_allowed=True)).succeeded


@pytest.mark.parametrize(
    "url", ["https://127.1/", "https://u:p@n8n/", "https://n8n/#x", "ftp://n8n/", "http://[::1%lo]/"]
)
async def test_the_operators_own_url_too_is_written_in_one_way_only(url: str, ear: Ear) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, private_allowed=True)
    assert (await post(url, private_allowed=True)).error == "url_not_allowed"
    assert (ear.connects, ear.lookups) == ([], [])


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443", "https://example.com/"),
        ("https://example.com:8443/a/b?c=d&e=%20", "https://example.com:8443/a/b?c=d&e=%20"),
        ("https://example.com?a=b", "https://example.com/?a=b"),
        ("https://example.com/a/../b//c;d=e@f:g", "https://example.com/a/../b//c;d=e@f:g"),
        ("https://xn--padaria-so-joo-5fbg.com.br/", "https://xn--padaria-so-joo-5fbg.com.br/"),
        ("https://hooks_1.example.com/", "https://hooks_1.example.com/"),
        ("https://1.example.com/", "https://1.example.com/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700:4700:0:0:0:0:1111]:8443/", "https://[2606:4700:4700::1111]:8443/"),
        ("https://example.com/" + "a" * 1_980, "https://example.com/" + "a" * 1_980),
    ],
)
def test_a_url_of_the_internet_is_taken_and_written_in_one_way(url: str, written: str) -> None:
    assert check_url(url) == written
    assert check_url(written) == written


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://127.0.0.1:5678/webhook", "http://127.0.0.1:5678/webhook"),
        ("http://n8n:80", "http://n8n/"),
        ("https://automacao.local:9000/x", "https://automacao.local:9000/x"),
        ("http://[fd00::7]:8080/x", "http://[fd00::7]:8080/x"),
    ],
)
async def test_the_operators_own_url_may_be_private(url: str, written: str) -> None:
    assert check_url(url, private_allowed=True) == written
    await check_resolves(url, private_allowed=True)
    with pytest.raises(InvalidInput):
        check_url(url)


async def test_what_a_stranger_may_call_is_reached_by_tls_to_the_checked_address(
    inside: Endpoint, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a stranger's URL, with one address of this machine let through as if it were public."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setattr("secretaria.outbound.webhook.is_public", lambda address: str(address) == "127.0.0.3")
    client = WebhookClient(resolve=LyingDns(hooks_example_com=[["127.0.0.3"]]))
    async with endpoint(OK, tls=authority.server("hooks.example.com"), host="127.0.0.3") as there:
        monkeypatch.setattr(webhook_url, "PORTS", (there.port,))
        answer = await post(there.url("https", "hooks.example.com"), client)
    assert answer.succeeded
    assert ear.connects == [("127.0.0.3", there.port)]
    assert (ear.lookups, inside.accepted) == ([], 0)
