"""What an e-mail address, a password, a role and a language may be; pure."""

import ipaddress
import unicodedata
from enum import StrEnum

from secretaria.core.access import MEMBER_SCOPES, Scope
from secretaria.core.errors import InvalidInput

EMAIL_CHARS_MAX = 254  # RFC 5321, section 4.5.3.1.3
PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 1024
IPV6_NETWORK_BITS = 64
LOCALES = ("pt-BR", "en")


class Role(StrEnum):
    """Operators act for every company; a member sees one."""

    OPERATOR = "operator"
    MEMBER = "member"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a user of this role may do."""
        return frozenset(Scope) if self is Role.OPERATOR else MEMBER_SCOPES


def check_email(email: str) -> str:
    """Return the address as sent, or raise InvalidInput (invalid_email).

    Only what could not be an address or would break a header is refused: one @ with something on both sides, no
    white space or control characters, at most 254 characters.
    """
    local, at, domain = email.rpartition("@")
    if not (local and at and domain) or len(email) > EMAIL_CHARS_MAX or "@" in local:
        raise InvalidInput("this is not an e-mail address", code="invalid_email", pointer="/email")
    if any(character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in email):
        raise InvalidInput(
            "an e-mail address holds no spaces or control characters", code="invalid_email", pointer="/email"
        )
    return email


def normalise_email(email: str) -> str:
    """Return the form in which two spellings are one account: NFC and lower case."""
    return unicodedata.normalize("NFC", email).lower()


def check_password(password: str) -> bytes:
    """Return the password's bytes, exactly as sent, or raise InvalidInput (invalid_password)."""
    try:
        encoded = password.encode()
    except UnicodeEncodeError:
        raise _bad_password("a password is Unicode text") from None
    if len(encoded) > PASSWORD_BYTES_MAX:
        raise _bad_password(f"a password has at most {PASSWORD_BYTES_MAX} bytes")
    if "\0" in password:
        raise _bad_password("a password holds no NUL character")
    return encoded


def check_new_password(password: str) -> bytes:
    """As check_password, and at least PASSWORD_CHARS_MIN characters long."""
    encoded = check_password(password)
    if len(password) < PASSWORD_CHARS_MIN:
        raise _bad_password(f"a password has at least {PASSWORD_CHARS_MIN} characters")
    return encoded


def check_locale(locale: str) -> str:
    """Return the language, or raise InvalidInput (unknown_locale)."""
    if locale not in LOCALES:
        known = " or ".join(LOCALES)
        raise InvalidInput(f"the language is {known}", code="unknown_locale", pointer="/locale")
    return locale


def network_of(address: str | None) -> str:
    """Return what counts as one place on the network: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))
    return str(parsed)


def _bad_password(message: str) -> InvalidInput:
    return InvalidInput(message, code="invalid_password", pointer="/password")
