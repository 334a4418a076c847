"""The URL of a webhook endpoint: the one parser that both the check at save and the connection go through.

It takes what there is exactly one way to read. What browsers and libraries disagree about (a backslash, 127.1, a
full-width dot, a second @) is refused, not repaired: the part that is checked would not be the part that is called.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from secretaria.core.errors import InvalidInput

URL_CHARS_MAX: Final = 2_000
HOST_CHARS_MAX: Final = 253
PORT_MAX: Final = 65_535
PORTS: Final = (443, 8443)
"""Where strangers' endpoints may listen: other ports belong to services that are not webhooks."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CHARACTERS: Final = re.compile(r"[!-~]*")
_NEVER_IN_A_URL: Final = frozenset('\\"<>^`{|}')
_PARTS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?P<fragment>#.*)?"
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_LOOKS_LIKE_A_NUMBER: Final = re.compile(r"(?:.*\.)?[0-9][^.]*")
"""inet_aton's notations end in a number (127.1, 2130706433, 0x7f000001, 0177.0.0.1); no top-level domain begins so."""

_PRIVATE_NAMES: Final = (
    "localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """A URL taken apart: host in lower case and without brackets, literal when it is an address, target from / on."""

    scheme: str
    host: str
    port: int
    target: str
    literal: IPv4Address | IPv6Address | None

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own: what stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The one way this URL is written."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse(url: str, *, private_allowed: bool = False) -> WebhookUrl:
    """Take a URL apart; raises InvalidInput (url_not_allowed) with what to do about it.

    private_allowed, for the operator's own URL: http, any port, and names that only the operator's network knows.
    Whether the address of a literal, or of what a name resolves to, may be called is not decided here.
    """
    if len(url) > URL_CHARS_MAX:
        raise not_allowed(f"a URL has at most {URL_CHARS_MAX} characters")
    if not _CHARACTERS.fullmatch(url) or _NEVER_IN_A_URL.intersection(url):
        raise not_allowed("write the URL without spaces, \\ and accents: names in their xn-- form, the rest as %XX")
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise not_allowed("write the whole URL, as in https://example.com/webhook")
    scheme = parts["scheme"].lower()
    if scheme != "https" and not (private_allowed and scheme == "http"):
        raise not_allowed("the URL must begin with https://")
    if parts["fragment"] is not None:
        raise not_allowed("remove the part from # on: it is never sent")
    host, port, literal = _host_and_port(parts["authority"], scheme, private_allowed=private_allowed)
    target = parts["target"]
    return WebhookUrl(scheme, host, port, target if target.startswith("/") else f"/{target}", literal)


def not_allowed(message: str) -> InvalidInput:
    """Make the one error for a URL that we do not call."""
    return InvalidInput(message, code="url_not_allowed", pointer="/url")


def _host_and_port(
    authority: str, scheme: str, *, private_allowed: bool
) -> tuple[str, int, IPv4Address | IPv6Address | None]:
    if "@" in authority:
        raise not_allowed("remove the user name and password: webhooks are signed instead")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise not_allowed("write the host as in example.com or example.com:8443")
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if port not in (range(1, PORT_MAX + 1) if private_allowed else PORTS):
        ports = f"1 to {PORT_MAX}" if private_allowed else " or ".join(map(str, PORTS))
        raise not_allowed(f"the port must be {ports}")
    host = found["host"].lower()
    literal = _literal(host)
    if literal is not None:
        return str(literal), port, literal
    if len(host) > HOST_CHARS_MAX or not _NAME.fullmatch(host):
        raise not_allowed("the host is not a name like example.com")
    if not private_allowed and ("." not in host or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))):
        raise not_allowed("the host must be a name that the whole internet knows, like example.com")
    return host, port, None


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that host is, None for a name; an address must be written the one way it is shown."""
    try:
        if host.startswith("["):
            return IPv6Address("" if "%" in host else host[1:-1])  # a scope names an interface of ours
        if _LOOKS_LIKE_A_NUMBER.fullmatch(host):
            return IPv4Address(host)
    except AddressValueError:
        raise not_allowed("the host is not an address that is written plainly, like 198.51.100.7") from None
    return None
