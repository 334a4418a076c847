"""Where mail is handed in (SMTP_URL) and whom it is from (MAIL_FROM). outbound/mail.py speaks to the server."""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from secretaria.core.account import check_email
from secretaria.core.errors import InvalidInput

PORTS: Final = {"smtp": 587, "smtps": 465}
_FORM: Final = "must be a URL like smtp://user:password@mail.example.com:587 or smtps://..."
_LOOPBACK_NAME: Final = "localhost"
_SENDER: Final = re.compile(r'(?:"?(?P<name>[^"<>]*?)"?\s*<(?P<address>[^<>]+)>|(?P<alone>[^<>]+))')
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", re.ASCII)


class MailSecurity(StrEnum):
    """How the connection is encrypted; the certificate is checked in the first two."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes mail for the world; the password stays out of its repr."""

    host: str
    port: int
    security: MailSecurity
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port}, {self.security})"


def parse_mail_server(url: str) -> MailServer:
    """Return what smtp://user:password@host:port (STARTTLS) or smtps:// (TLS at once) names.

    `?starttls=never` sends in the clear and is for this machine only. Raises ValueError, which never repeats the URL:
    it may carry a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(_FORM)
    if (parts.username is None) != (parts.password is None) or parts.username == "":
        raise ValueError("names a user and a password, or neither; special characters in them are written as %40")
    return MailServer(
        parts.hostname,
        port or PORTS[parts.scheme],
        _security(parts.scheme, parts.query, parts.hostname),
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )


def parse_sender(text: str) -> tuple[str, str]:
    """Return (name, address) of `Secretaria <alertas@example.com>`, the name empty where there is none.

    Raises ValueError for anything else, and for what is not printable: it stands in a header.
    """
    found = _SENDER.fullmatch(text.strip())
    address = (found["address"] or found["alone"]).strip() if found else ""
    name = (found["name"] or "").strip() if found else ""
    try:
        check_email(address)
    except InvalidInput:
        address = ""
    if not _ADDRESS.fullmatch(address) or not name.isprintable():
        raise ValueError("must be an address like alertas@example.com or Secretaria <alertas@example.com>")
    return name, address


def _security(scheme: str, query: str, host: str) -> MailSecurity:
    usual = MailSecurity.TLS if scheme == "smtps" else MailSecurity.STARTTLS
    if not query:
        return usual
    if scheme != "smtp" or parse_qsl(query, keep_blank_values=True) != [("starttls", "never")]:
        raise ValueError("knows one parameter, after smtp:// only: ?starttls=never")
    if not _is_loopback(host):
        raise ValueError("sends in the clear (?starttls=never) to this machine only, like smtp://127.0.0.1:1025")
    return MailSecurity.NONE


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == _LOOPBACK_NAME
