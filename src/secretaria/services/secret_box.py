"""Secrets that must be read again (tokens of other services): AES-256-GCM, sealed to the place they are kept in.

The keys never enter the database: each is derived (HKDF-SHA256) from SECRETARIA_SECRET_KEY, or from a retired one that
still opens what it sealed. A sealed value moved to another table, company, row or column does not open.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secretaria.core.errors import ConfigurationError
from secretaria.settings import Settings, retired_secret_keys, secret_key

FORMAT: Final = b"\x01"
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
MASK: Final = "••••"
MASKED_CHARS_MIN: Final = 12
"""A shorter secret shows none of its characters: four would be a good part of it."""

_KEY_INFO: Final = b"secretaria sealed secrets, key"
_ID_INFO: Final = b"secretaria sealed secrets, key id"


class SecretUnreadable(ConfigurationError):
    """No key at hand opens it: the key was changed without naming the old one, or the value was moved."""

    code = "secret_unreadable"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value is kept; it opens nowhere else."""

    table: str
    company_id: int
    row_id: str
    column: str


class SecretBox:
    """Seals with the current key and opens with any it knows."""

    def __init__(self, current: str, retired: Sequence[str] = ()) -> None:
        self._keys = {_derive(key, _ID_INFO, KEY_ID_BYTES): _derive(key, _KEY_INFO, KEY_BYTES) for key in retired}
        self._current_id = _derive(current, _ID_INFO, KEY_ID_BYTES)
        self._keys[self._current_id] = _derive(current, _KEY_INFO, KEY_BYTES)

    @classmethod
    def of(cls, settings: Settings) -> "SecretBox":
        """Return the box of this installation."""
        return cls(secret_key(settings), retired_secret_keys(settings))

    def seal(self, plain: str, place: Place) -> bytes:
        """Return format, key id, nonce and ciphertext with its tag."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self._keys[self._current_id]).encrypt(nonce, plain.encode(), _bound(place, self._current_id))
        return FORMAT + self._current_id + nonce + sealed

    def open(self, sealed: bytes, place: Place) -> str:
        """Return the secret; raises SecretUnreadable, which says nothing of it."""
        key_id = sealed[1 : 1 + KEY_ID_BYTES]
        key = self._keys.get(key_id)
        if sealed[:1] != FORMAT or key is None:
            raise _unreadable(place)
        body = sealed[1 + KEY_ID_BYTES :]
        try:
            return AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _bound(place, key_id)).decode()
        except (InvalidTag, ValueError):
            raise _unreadable(place) from None

    @property
    def current_id(self) -> bytes:
        """The id of the key that seals."""
        return self._current_id


def masked(secret: str) -> str:
    """Return what is shown of a secret: its last four characters, or nothing of a short one."""
    return MASK + (secret[-4:] if len(secret) >= MASKED_CHARS_MIN else "")


def _derive(key: str, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key.encode())


def _bound(place: Place, key_id: bytes) -> bytes:
    return json.dumps([place.table, place.company_id, place.row_id, place.column, key_id.hex()]).encode()


def _unreadable(place: Place) -> SecretUnreadable:
    return SecretUnreadable(
        f"{place.table}.{place.column} of company {place.company_id} cannot be opened: set SECRETARIA_SECRET_KEY to "
        "the key that sealed it, name that key in SECRETARIA_RETIRED_SECRET_KEYS, or enter the secret again"
    )
