"""Mails through a real SMTP server on loopback: in the clear, STARTTLS, TLS at once, and everything it may answer."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.smtp_server import PASSWORD, USER, Mailbox, certificate, smtp_server

from secretaria.core.errors import ConfigurationError
from secretaria.core.mail_server import MailSecurity, parse_mail_server, parse_sender
from secretaria.outbound import mail as outbound
from secretaria.outbound.mail import Attachment, MailSender, OutgoingMail, header_text
from secretaria.settings import Settings

pytestmark = pytest.mark.anyio

SenderTo = Callable[[str], MailSender]
WRITTEN = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def a_mail(**changes: object) -> OutgoingMail:
    values: dict[str, object] = {
        "to": "dona@example.com",
        "subject": "Aviso: Clínica Sorriso passou de 80% do limite",
        "text": "Olá, 80%.\n",
        "html": "<p>Olá, 80%.</p>\n",
        "message_id": "alert_12_1_5",
        "written_at": WRITTEN,
    }
    return OutgoingMail(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with smtp_server() as serving:
        yield serving


@pytest.fixture
def sender_to(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> SenderTo:
    def made(url: str) -> MailSender:
        monkeypatch.setenv("SMTP_URL", url)
        monkeypatch.setenv("MAIL_FROM", "Secretaria <alertas@example.com>")
        monkeypatch.setenv("PUBLIC_URL", "https://painel.example.com/")
        return MailSender(Settings.load())

    return made


@pytest.fixture
def sender(mailbox: Mailbox, sender_to: SenderTo) -> MailSender:
    return sender_to(f"smtp://127.0.0.1:{mailbox.port}?starttls=never")


async def test_a_mail_arrives_with_both_its_bodies_and_a_stable_id(sender: MailSender, mailbox: Mailbox) -> None:
    for _ in range(2):
        answer = await sender.send(a_mail())
        assert (answer.status_code, answer.error, answer.permanent) == (250, None, False)
    first, second = mailbox.mails
    assert mailbox.envelopes[0] == ("alertas@example.com", ["dona@example.com"])
    assert first["From"] == "Secretaria <alertas@example.com>"
    assert first["To"] == "dona@example.com"
    assert first["Subject"] == "Aviso: Clínica Sorriso passou de 80% do limite"
    assert first["Message-ID"] == second["Message-ID"] == "<alert_12_1_5@painel.example.com>"
    assert first["Date"] == second["Date"] == "Fri, 20 Nov 2026 12:00:00 +0000"
    assert first["Auto-Submitted"] == "auto-generated"
    text, html = first.get_body(("plain",)), first.get_body(("html",))
    assert text is not None
    assert text.get_content().strip() == "Olá, 80%."
    assert html is not None
    assert html.get_content().strip() == "<p>Olá, 80%.</p>"


async def test_attachments_arrive_byte_for_byte(sender: MailSender, mailbox: Mailbox) -> None:
    content = b"%PDF-1.7\r\n.\r\n" + bytes(range(256)) * 50
    await sender.send(a_mail(attachments=(Attachment("relatório.pdf", "application/pdf", content),)))
    (found,) = mailbox.mails[0].iter_attachments()
    assert (found.get_content_type(), found.get_filename(), found.get_content()) == (
        "application/pdf", "relatório.pdf", content,
    )  # fmt: skip


@pytest.mark.parametrize(
    "evil",
    [
        "Clínica\r\nBcc: victim@example.com",
        "Clínica\nBcc: victim@example.com\n\n<b>body</b>",
        "Clínica\r\n\r\nbody",
        "Clínica\u2028Bcc: victim@example.com",
        "Clínica\u0085Bcc: victim@example.com",
        "Clínica\x0bBcc: victim@example.com",
        "Clínica\x00\x1bBcc: victim@example.com",
        "=?utf-8?q?Cl=0D=0ABcc:_victim@example.com?=",
        "Clínica " * 200 + "\r\nBcc: victim@example.com",
    ],
)
async def test_no_name_adds_a_header_or_a_recipient(sender: MailSender, mailbox: Mailbox, evil: str) -> None:
    answer = await sender.send(a_mail(subject=f"Aviso: {evil}", attachments=(Attachment(evil, "text/plain", b"x"),)))
    assert answer.error is None
    ((_, recipients),) = mailbox.envelopes
    assert recipients == ["dona@example.com"]
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert {name.lower() for name in mail} - {"x-peer", "x-mailfrom", "x-rcptto"} == {
        "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
    }  # fmt: skip
    assert mail["Subject"].isprintable()
    assert "body" not in (mail.get_body(("plain",)) or mail).get_content()


@pytest.mark.parametrize(
    "address",
    [
        "dona@example.com\r\nRCPT TO:<victim@example.com>",
        "dona@example.com>\r\nDATA",
        "dona@example.com, victim@example.com",
        "dona <dona@example.com> SIZE=1",
        "dona@example.com> <victim@example.com",
        "@",
        "dona",
        "dona@@example.com",
        "dona,victim@example.com",
        "dona<victim@example.com",
    ],
)
async def test_an_address_that_is_none_is_a_permanent_error_and_nothing_is_sent(
    sender: MailSender, mailbox: Mailbox, address: str
) -> None:
    answer = await sender.send(a_mail(to=address))
    assert (answer.error, answer.permanent) == ("invalid_address", True)
    assert mailbox.mails == []


async def test_an_address_of_another_alphabet_arrives(sender: MailSender, mailbox: Mailbox) -> None:
    assert (await sender.send(a_mail(to="joão@exemplo.com.br"))).error is None
    assert (await sender.send(a_mail(to="dona@clínica.com.br"))).error is None
    assert [to for _, to in mailbox.envelopes] == [["joão@exemplo.com.br"], ["dona@xn--clnica-4va.com.br"]]
    assert mailbox.mails[0]["To"] == "joão@exemplo.com.br"


@pytest.mark.parametrize(
    ("at", "reply", "permanent"),
    [
        ("recipient", "550 5.1.1 no such mailbox", True),
        ("recipient", "450 4.2.0 greylisted, come back", False),
        ("data", "554 5.7.1 looks like spam", True),
        ("data", "451 4.3.0 try later", False),
        ("sender", "550 5.7.1 not your domain", False),
        ("sender", "451 4.3.0 try later", False),
    ],
)
async def test_what_the_server_refuses_is_final_only_where_another_try_cannot_help(
    sender: MailSender, mailbox: Mailbox, at: str, reply: str, permanent: bool
) -> None:
    setattr(mailbox, f"answer_to_{at}", reply)
    answer = await sender.send(a_mail())
    assert (answer.status_code, answer.error, answer.permanent) == (int(reply[:3]), "refused", permanent)
    assert answer.text == reply[4:]
    assert mailbox.mails == []
    setattr(mailbox, f"answer_to_{at}", "250 OK")
    assert (await sender.send(a_mail())).error is None


async def test_a_login_goes_through_starttls_with_a_certificate_that_is_checked(
    sender_to: SenderTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certificate(tmp_path)
    async with smtp_server(starttls=context, login=True) as mailbox:
        sender = sender_to(f"smtp://{LOGIN}127.0.0.1:{mailbox.port}")
        distrusted = await sender.send(a_mail())
        assert (distrusted.error, distrusted.permanent) == ("tls_failed", False)
        assert mailbox.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert (await sender.send(a_mail())).error is None
        assert (mailbox.logins, mailbox.encrypted) == ([USER], [True])


async def test_smtps_encrypts_at_once_and_another_names_certificate_is_refused(
    sender_to: SenderTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with smtp_server(tls=context) as mailbox:
        assert (await sender_to(f"smtps://127.0.0.1:{mailbox.port}").send(a_mail())).error is None
        assert mailbox.encrypted == [True]
    (tmp_path / "other").mkdir()
    context, trusted = certificate(tmp_path / "other", host="192.0.2.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with smtp_server(tls=context) as mailbox:
        answer = await sender_to(f"smtps://127.0.0.1:{mailbox.port}").send(a_mail())
        assert (answer.error, mailbox.mails) == ("tls_failed", [])


async def test_nothing_is_sent_in_the_clear_to_a_server_without_starttls(sender_to: SenderTo, mailbox: Mailbox) -> None:
    answer = await sender_to(f"smtp://127.0.0.1:{mailbox.port}").send(a_mail())
    assert (answer.error, answer.permanent, mailbox.mails) == ("server_unsuitable", False, [])
    assert "STARTTLS" in answer.text


async def test_a_wrong_password_lets_the_mail_wait(
    sender_to: SenderTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with smtp_server(starttls=context, login=True) as mailbox:
        answer = await sender_to(f"smtp://{quote(USER)}:canary@127.0.0.1:{mailbox.port}").send(a_mail())
        assert (answer.status_code, answer.error, answer.permanent) == (535, "login_refused", False)
        assert "canary" not in repr(answer)
        assert mailbox.mails == []


async def test_a_server_that_falls_silent_costs_one_deadline(
    sender: MailSender, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "DEADLINE_S", 0.2)
    mailbox.goes_on.clear()
    answer = await sender.send(a_mail())
    assert (answer.error, answer.permanent) == ("timeout", False)
    mailbox.goes_on.set()


async def test_a_server_that_drips_its_greeting_costs_one_deadline(
    sender_to: SenderTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "DEADLINE_S", 0.3)

    ended = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"220-still here\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        ended.set()

    async with asyncio.timeout(5), await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await sender_to(f"smtp://127.0.0.1:{port}?starttls=never").send(a_mail())
        await ended.wait()
    assert answer.error == "timeout"


async def test_a_server_that_takes_its_time_at_each_step_costs_one_deadline(
    sender_to: SenderTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "DEADLINE_S", 0.5)
    ended = asyncio.Event()

    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 slow.test\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                await asyncio.sleep(0.2)
                writer.write(b"354 go on\r\n" if line.startswith(b"DATA") else b"250 slow.test\r\n")
        writer.close()
        ended.set()

    async with asyncio.timeout(10), await asyncio.start_server(dawdle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await sender_to(f"smtp://127.0.0.1:{port}?starttls=never").send(a_mail())
        await ended.wait()
    assert answer.error == "timeout"


async def test_no_server_and_no_such_name_let_the_mail_wait(sender_to: SenderTo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = await sender_to(f"smtp://127.0.0.1:{taken.getsockname()[1]}").send(a_mail())
    assert (answer.error, answer.permanent) == ("connection_failed", False)


async def test_without_a_server_it_says_so(settings: Settings) -> None:
    sender = MailSender(settings)
    answer = await sender.send(a_mail())
    assert not sender.is_set_up
    assert (answer.error, answer.permanent) == ("mail_not_set_up", False)
    assert "SMTP_URL" in answer.text


def test_a_servers_url_is_read_with_its_defaults() -> None:
    server = parse_mail_server("smtp://me%40x.com:p%3A%2Fw@mail.example.com")
    assert (server.host, server.port, server.security) == ("mail.example.com", 587, MailSecurity.STARTTLS)
    assert (server.username, server.password) == ("me@x.com", "p:/w")
    assert "p:/w" not in repr(server)
    assert parse_mail_server("smtps://mail.example.com/").port == 465
    assert parse_mail_server("smtp://[::1]:1025?starttls=never").security is MailSecurity.NONE


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example.com",
        "smtp://",
        "smtp://:587",
        "mail.example.com:587",
        "smtp://mail.example.com:canary",
        "smtp://mail.example.com/canary",
        "smtp://user@mail.example.com",
        "smtp://mail.example.com?starttls=never",
        "smtp://localhost.example.com?starttls=never",
        "smtp://10.0.0.1?starttls=never",
        "smtp://127.0.0.1?starttls=canary",
        "smtp://127.0.0.1?starttls=never&verify=no",
        "smtps://127.0.0.1?starttls=never",
    ],
)
def test_a_url_that_would_not_do_stops_the_start_without_repeating_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MAIL_FROM", "a@example.com")
    monkeypatch.setenv("SMTP_URL", url)
    with pytest.raises(ConfigurationError, match="SMTP_URL: ") as refused:
        Settings.load()
    assert "canary" not in str(refused.value)


def test_a_server_needs_an_address_to_send_from(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://mail.example.com")
    with pytest.raises(ConfigurationError, match="SMTP_URL: needs MAIL_FROM"):
        Settings.load()
    monkeypatch.setenv("MAIL_FROM", "Secretaria")
    with pytest.raises(ConfigurationError, match="MAIL_FROM: must be an address"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alertas@example.com", ("", "alertas@example.com")),
        ("<alertas@example.com>", ("", "alertas@example.com")),
        ("Secretaria Virtual <alertas@example.com>", ("Secretaria Virtual", "alertas@example.com")),
        ('"Clínica, Ltda." <a.b+c@x-y.com.br>', ("Clínica, Ltda.", "a.b+c@x-y.com.br")),
    ],
)
def test_a_sender_is_an_address_with_or_without_a_name(text: str, expected: tuple[str, str]) -> None:
    assert parse_sender(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "a@", "a@b, c@d", "a b@c.com", "A\r\nBcc: x@y <a@b.com>", "<a@b.com> x", "a@b<c"]
)
def test_a_sender_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        parse_sender(text)


def test_a_headers_text_keeps_letters_of_every_script_and_turns_no_direction() -> None:
    assert header_text("Clínica  Sorriso 😀 日本") == "Clínica Sorriso 😀 日本"
    assert header_text("abc\u202ecba") == "abccba"
    assert len(header_text("x" * 999)) == outbound.SUBJECT_CHARS_MAX
