"""Valkey: tells other processes that a company's version moved. Carries (company, version) and nothing else (law 1).

Losing it loses nothing: readers also ask PostgreSQL for versions once a second (services/live.py).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from secretaria.core.errors import Unavailable

CHANNEL = "secretaria:versions"
CONNECT_TIMEOUT_S = 1.0
OPERATION_TIMEOUT_S = 1.0

_log = structlog.get_logger(__name__)


class Live:
    """A connection to Valkey that may be down at any time."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.from_url(
            url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=OPERATION_TIMEOUT_S
        )
        self._down = False

    async def publish(self, versions: Mapping[int, int]) -> bool:
        """Tell that these companies moved to these versions; False when Valkey is down (logged once a fall)."""
        message = " ".join(f"{company_id}:{version}" for company_id, version in versions.items())
        try:
            await self._redis.publish(CHANNEL, message)
        except (RedisError, OSError) as error:
            if not self._down:
                _log.warning("valkey_down", error=str(error))
            self._down = True
            return False
        self._down = False
        return True

    async def ping(self) -> bool:
        """Tell whether Valkey answers."""
        try:
            return bool(await self._redis.ping())
        except (RedisError, OSError):
            return False

    async def subscribe(self) -> AsyncIterator[dict[int, int]]:
        """Yield what others publish; ends with Unavailable when the connection falls."""
        try:
            async with self._redis.pubsub() as pubsub:
                await pubsub.subscribe(CHANNEL)
                while True:
                    message = await pubsub.get_message(
                        ignore_subscribe_messages=True, timeout=OPERATION_TIMEOUT_S
                    )
                    if message is not None:
                        yield parse_versions(message["data"])
        except (RedisError, OSError) as error:
            raise Unavailable("Valkey is not reachable right now; versions are read from PostgreSQL") from error

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


def parse_versions(message: bytes) -> dict[int, int]:
    """Return {company_id: version} of a published message; what is not of that form is passed over."""
    found = {}
    for part in message.decode("ascii", "replace").split():
        company, _, version = part.partition(":")
        if company.isascii() and company.isdigit() and version.isascii() and version.isdigit():
            found[int(company)] = int(version)
    return found
