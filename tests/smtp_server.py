"""A real SMTP server on loopback, for tests: keeps what it takes, and answers what a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "alertas@example.com", "s3nha@/:?"


class Mailbox:
    """What the server took. Answers set beforehand are given instead of the usual 250."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.answer_to_sender = self.answer_to_recipient = self.answer_to_data = "250 OK"
        self.logins: list[str] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.encrypted: list[bool] = []

    # The names and arguments are those aiosmtpd calls.
    async def handle_MAIL(self, *called: Any) -> str:  # noqa: N802
        _, _, envelope, address, _ = called
        await self.goes_on.wait()
        if self.answer_to_sender.startswith("250"):
            envelope.mail_from = address
        return self.answer_to_sender

    async def handle_RCPT(self, *called: Any) -> str:  # noqa: N802
        _, _, envelope, address, _ = called
        if self.answer_to_recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.answer_to_recipient

    async def handle_DATA(self, *called: Any) -> str:  # noqa: N802
        server, _, envelope = called
        if self.answer_to_data.startswith("250"):
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
            self.mails.append(message_from_bytes(envelope.content, policy=default))
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return self.answer_to_data

    def authenticate(self, *called: Any) -> AuthResult:
        sent = called[-1]
        assert isinstance(sent, LoginPassword)
        self.logins.append(sent.login.decode())
        return AuthResult(success=(sent.login, sent.password) == (USER.encode(), PASSWORD.encode()), handled=False)


@asynccontextmanager
async def smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: bool = False
) -> AsyncIterator[Mailbox]:
    """Serve on a free port of 127.0.0.1: in the clear, with STARTTLS, or with TLS at once."""
    mailbox = Mailbox()

    def connection() -> SMTP:
        return SMTP(
            mailbox,
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=mailbox.authenticate if login else None,
            auth_required=login,
            auth_require_tls=starttls is not None,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=tls)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()


def certificate(folder: Path, *, host: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for an address; return the server's context and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "trusted.pem", folder / "key.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(trusted, private)
    return context, trusted
