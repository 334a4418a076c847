"""Argon2id in threads, a few at a time: a flood of logins may wait, the event loop and its neighbours may not."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from secretaria.core.errors import Unavailable

# OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1 at least.
MEMORY_KIB = 19 * 1024
TIME_COST = 2
PARALLELISM = 1
CONCURRENT_MAX = 2
WAITING_MAX = 200
RETRY_AFTER_S = 2


GENERATED_GROUPS = 4
GENERATED_GROUP_CHARS = 5
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"


def generated_password() -> str:
    """Return a first password of 99 bits that can be read aloud: no l, o, i, 0 or 1."""
    groups = ("".join(secrets.choice(_READABLE) for _ in range(GENERATED_GROUP_CHARS)) for _ in range(GENERATED_GROUPS))
    return "-".join(groups)


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")


# Well formed, as costly to verify as any other, and made from no password.
_NOBODYS_HASH = (
    f"$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p={PARALLELISM}${_b64(b'secretaria dummy')}${_b64(bytes(32))}"
)


class Passwords:
    """Hashes and verifies; at most CONCURRENT_MAX at once and WAITING_MAX in line."""

    def __init__(self) -> None:
        self._argon2 = PasswordHash(
            (Argon2Hasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM),)
        )
        self._turns = asyncio.Semaphore(CONCURRENT_MAX)
        self._in_line = 0

    async def hash(self, password: bytes) -> str:
        """Return the encoded hash."""
        async with self._turn():
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, password: bytes, password_hash: str | None) -> bool:
        """Tell whether the password is right; without a hash (no such user) the no takes as long."""
        async with self._turn():
            return await asyncio.to_thread(self._argon2.verify, password, password_hash or _NOBODYS_HASH)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._in_line >= WAITING_MAX:
            raise Unavailable("too many logins at once; try again", retry_after_s=RETRY_AFTER_S)
        self._in_line += 1
        try:
            async with self._turns:
                yield
        finally:
            self._in_line -= 1
