"""Hands mails to the operator's SMTP server (SMTP_URL): one mail to one address, within one deadline.

Answers tell whether another try can help: what the server says of the recipient or of the content is final when it is
a 5xx; a refused login or sender is the operator's to repair, so the mail waits.
"""

import asyncio
import ssl
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import SMTPUTF8
from email.utils import format_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from secretaria.core.account import check_email
from secretaria.core.errors import InvalidInput
from secretaria.core.mail_server import MailSecurity, MailServer, parse_mail_server, parse_sender
from secretaria.settings import Settings

DEADLINE_S: Final = 27.0
"""From connecting to the server's last word, whatever it does in between: with GOODBYE_S inside an attempt's 30 s."""

GOODBYE_S: Final = 2.0
SUBJECT_CHARS_MAX: Final = 200
ANSWER_CHARS_MAX: Final = 500
REFUSED_FROM: Final = 500
ACCEPTED: Final = 250

NOT_SET_UP: Final = "mail_not_set_up"
_NO_ADDRESS: Final = frozenset('<>()[]",:;\\')
_BIDI_MARKS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail; media_type is like application/pdf."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One mail to one address. message_id is ours, without a host: a second try of the same mail carries the same."""

    to: str
    subject: str
    text: str
    html: str
    message_id: str
    written_at: datetime
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class MailAnswer:
    """What became of one try: the server's reply code and text, or why there was none.

    error is None when the mail was accepted; permanent tells that another try of this mail will not help.
    """

    status_code: int | None
    error: str | None
    text: str
    permanent: bool = False


class MailSender:
    """Sends through the server of SMTP_URL; a connection a mail, as they are few."""

    def __init__(self, settings: Settings) -> None:
        self._server = parse_mail_server(settings.smtp_url) if settings.smtp_url else None
        self._sender = Address(*_name_and_address(settings.mail_from)) if settings.mail_from else None
        self._host = _own_host(settings.public_url)

    @property
    def is_set_up(self) -> bool:
        """Tell whether there is a server to send through."""
        return self._server is not None and self._sender is not None

    async def send(self, mail: OutgoingMail) -> MailAnswer:
        """Try once to hand in the mail; never raises for what the server, the network or the address does."""
        if self._server is None or self._sender is None:
            return MailAnswer(None, NOT_SET_UP, "mail is not set up: SMTP_URL and MAIL_FROM are missing")
        try:
            message = build_message(mail, self._sender, self._host)
        except (ValueError, MessageError) as error:
            return MailAnswer(None, "invalid_address", f"no mail can go to this address: {error}", permanent=True)
        client = _client(self._server, self._host)
        try:
            async with asyncio.timeout(DEADLINE_S):
                text = await _hand_in(client, self._server, message)
            await _say_goodbye(client)
        except (SMTPException, OSError, ValueError) as error:  # ValueError: characters no address may hold
            return _answer_to(error)
        finally:
            client.close()
        return MailAnswer(ACCEPTED, None, _shortened(text))


def build_message(mail: OutgoingMail, sender: Address, host: str) -> EmailMessage:
    """Return the mail with text, HTML and attachments. Raises ValueError when `to` is no address."""
    to = _address(mail.to)
    message = EmailMessage(policy=SMTP_POLICY if to.username.isascii() else SMTPUTF8)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = header_text(mail.subject)
    message["Date"] = format_datetime(mail.written_at)
    message["Message-ID"] = f"<{mail.message_id}@{host}>"
    # RFC 3834: no out-of-office answers, please.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    for attachment in mail.attachments:
        maintype, _, subtype = attachment.media_type.partition("/")
        name = header_text(attachment.name)
        message.add_attachment(attachment.content, maintype=maintype, subtype=subtype, filename=name)
    return message


def header_text(text: str) -> str:
    """Return text that stays one line of a header: no line breaks, controls or marks that turn the direction round.

    The email package decodes =?utf-8?q?...?= in what it is given, line breaks and all, and does not look again.
    """
    kept = (
        " " if unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} else character
        for character in text
        if character not in _BIDI_MARKS
    )
    return " ".join("".join(kept).replace("=?", "= ?").split())[:SUBJECT_CHARS_MAX]


def _address(text: str) -> Address:
    try:
        local, _, domain = check_email(text).rpartition("@")
    except InvalidInput as error:
        raise ValueError(error.message) from None
    if not _NO_ADDRESS.isdisjoint(text):
        raise ValueError("an e-mail address holds no brackets, quotes, commas, colons or backslashes")
    return Address(username=local, domain=domain.encode("idna").decode("ascii"))


def _name_and_address(sender: str) -> tuple[str, str, str]:
    name, address = parse_sender(sender)
    user, _, domain = address.rpartition("@")
    return name, user, domain


def _own_host(public_url: str) -> str:
    """Return how this machine names itself to servers and in Message-IDs: PUBLIC_URL's host."""
    host = urlsplit(public_url).hostname or "localhost"
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return host.encode("idna").decode("ascii")
        except UnicodeError:  # a name no server could have: then ours does not matter
            return "localhost"
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _client(server: MailServer, host: str) -> SMTP:
    return SMTP(
        hostname=server.host,
        port=server.port,
        local_hostname=host,
        timeout=DEADLINE_S,
        use_tls=server.security is MailSecurity.TLS,
        start_tls=False,  # done below, where it is not left to what the server offers
        # The system's certificates, and those SSL_CERT_FILE names.
        tls_context=None if server.security is MailSecurity.NONE else ssl.create_default_context(),
    )


async def _hand_in(client: SMTP, server: MailServer, message: EmailMessage) -> str:
    await client.connect()
    if server.security is MailSecurity.STARTTLS:
        await client.starttls()
    if server.username is not None and server.password is not None:
        await client.login(server.username, server.password)
    _, text = await client.send_message(message)
    return text


async def _say_goodbye(client: SMTP) -> None:
    """Leave politely; the mail is accepted, so nothing that happens here matters."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await client.quit()
    except (SMTPException, OSError):
        client.close()


def _answer_to(error: SMTPException | OSError | ValueError) -> MailAnswer:
    if isinstance(error, SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, SMTPResponseException):
        final = isinstance(error, SMTPRecipientRefused | SMTPDataError) and error.code >= REFUSED_FROM
        kind = "login_refused" if isinstance(error, SMTPAuthenticationError) else "refused"
        return MailAnswer(error.code, kind, _shortened(error.message), permanent=final)
    text = _shortened(str(error) or type(error).__name__)
    if isinstance(error, TimeoutError):
        return MailAnswer(None, "timeout", f"no answer within {DEADLINE_S:.0f} s")
    # A certificate that is not believed is a ValueError too.
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return MailAnswer(None, "tls_failed", text)
    if isinstance(error, OSError):
        return MailAnswer(None, "connection_failed", text)
    if isinstance(error, SMTPNotSupported | ValueError):
        return MailAnswer(None, "invalid_address", text, permanent=True)
    return MailAnswer(None, "server_unsuitable", text)  # no STARTTLS, no way to log in


def _shortened(text: str) -> str:
    return header_text(text)[:ANSWER_CHARS_MAX]
