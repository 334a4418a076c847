"""Panel tokens (pt_<session id>_<secret>) and API keys (sk_<key id>_<secret>): how they are made, read and compared.

The secret has 256 random bits, so its SHA-256 is enough to keep; comparison is on bytes and in constant time.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

SECRET_BYTES = 32
ID_BYTES = 8
TOKEN_CHARS_MAX = 128

_TOKEN = re.compile(r"(pt|sk)_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)


class CredentialKind(StrEnum):
    """What a token's prefix says it is."""

    SESSION = "pt"
    API_KEY = "sk"


@dataclass(frozen=True, slots=True)
class Credential:
    """A token taken apart. `id` is public; the secret itself is not kept."""

    kind: CredentialKind
    id: str
    secret_hash: bytes = field(repr=False)

    def matches(self, secret_hash: bytes) -> bool:
        """Tell whether this is the secret that was stored."""
        return hmac.compare_digest(self.secret_hash, secret_hash)


def create(kind: CredentialKind) -> tuple[str, Credential]:
    """Return a new token's text, to be shown once, and what to store of it."""
    public_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    return f"{kind.value}_{public_id}_{secret}", Credential(kind, public_id, _hash(secret))


def parse(text: str) -> Credential | None:
    """Take a token apart; None when it is not of that form."""
    match = _TOKEN.fullmatch(text) if len(text) <= TOKEN_CHARS_MAX else None
    if match is None:
        return None
    return Credential(CredentialKind(match[1]), match[2], _hash(match[3]))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()
