"""Standard Webhooks 1.0.0: secrets, and the three headers a receiver checks a message by.

The signature covers id, time and body, so that none of them can be changed or sent again later.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
import re
import secrets as random_bytes
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from secretaria.core.errors import InvalidInput

PREFIX: Final = "whsec_"
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
SECRET_BYTES: Final = 32
"""Of the secrets we make: as many as the hash has."""

SECRETS_MAX: Final = 5
"""In use at once for an endpoint: each rotation adds one, and takes the oldest away when its overlap ends."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_:-]{1,255}")


def create_secret() -> str:
    """Make a secret: whsec_ and base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(random_bytes.token_bytes(SECRET_BYTES)).decode("ascii")


def check_secret(secret: str) -> None:
    """Raise InvalidInput unless it is whsec_ and base64 of 24 to 64 bytes. Nothing of it is repeated in the message."""
    _key(secret)


def headers(message_id: str, sent_at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return webhook-id, webhook-timestamp and webhook-signature, with a signature by each secret, in their order.

    sent_at is aware and of this attempt; message_id stays the same over all attempts. A dot in the id would let two
    messages have one signature, so it is refused (ValueError).
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("a message id is letters, digits, _, : and -")
    if sent_at.tzinfo is None:
        raise ValueError("the timestamp has no time zone")
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise ValueError(f"a message is signed with 1 to {SECRETS_MAX} secrets")
    unix_s = (sent_at - _EPOCH) // timedelta(seconds=1)
    signed = f"{message_id}.{unix_s}.".encode("ascii") + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(unix_s),
        "webhook-signature": " ".join(_signature(_key(secret), signed) for secret in secrets),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


def _key(secret: str) -> bytes:
    message = f"a secret is {PREFIX} and base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} random bytes"
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    # Exactly one way to write a key: receivers that compare secrets as text must not meet a second one.
    written_so = secret == PREFIX + base64.b64encode(key).decode("ascii")
    if not written_so or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise InvalidInput(message, code="invalid_secret", pointer="/secret")
    return key
