"""Valkey: each company's newest alerts under `alerts:{company_id}`, and word of new ones on the channel of that name.

Derived from PostgreSQL and rebuilt when it is lost (services/alert_feed.py); whoever reads it needs no login of ours.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from secretaria.core.errors import Unavailable
from secretaria.store.live import CONNECT_TIMEOUT_S, OPERATION_TIMEOUT_S

FEED_ALERTS_MAX: Final = 100
FEED_DAYS: Final = 100
"""A feed that nothing was added to for so long goes, and is not rebuilt."""

MARKER: Final = "secretaria:feeds"
MARKER_S: Final = 3_600
"""Once an hour all feeds are written again: what was evicted or deleted by hand comes back too."""

REBUILD_S: Final = 900
_DAY_S: Final = 86_400

# An older version is refused whole. The same version again was published by whoever wrote it first: the same alerts.
_WRITE: Final = """
if redis.call('TYPE', KEYS[2]).ok ~= 'string' then redis.call('DEL', KEYS[2]) end
local stored = tonumber(redis.call('GET', KEYS[2]) or '-1')
local version, seconds, kept = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if stored and stored > version then return 0 end
redis.call('DEL', KEYS[1])
for at = 4, 3 + kept do redis.call('RPUSH', KEYS[1], ARGV[at]) end
redis.call('EXPIRE', KEYS[1], seconds)
redis.call('SET', KEYS[2], ARGV[1], 'EX', seconds)
if stored ~= version then
    for at = 4 + kept, #ARGV do redis.call('PUBLISH', KEYS[1], ARGV[at]) end
end
return 1
"""

# Only while what was begun is still there: a flush in between took it, and with it the feeds written before.
_END: Final = """
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """A company's feed at a version: its newest alerts, newest first; news, oldest first: those nobody was told of."""

    company_id: int
    version: int
    newest: Sequence[bytes]
    news: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One go at writing all feeds, on the server process that it began on."""

    key: str
    server: str


class AlertFeed:
    """The feeds in Valkey, which may be down at any time: every call raises Unavailable then."""

    def __init__(self, url: str) -> None:
        # No retries of its own: the keeper comes again each second.
        self._redis = redis.asyncio.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=OPERATION_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    async def is_whole(self) -> bool:
        """Tell whether the feeds were all written, lately, on the server that answers now.

        A server that was restarted, or took over from another, may hold an older state: its run_id differs.
        """
        with _reached():
            return await self._redis.get(MARKER) == (await self._server()).encode()

    async def begin(self) -> Rebuild:
        """Begin to write all feeds; several may do so at once."""
        with _reached():
            rebuild = Rebuild(f"{MARKER}:rebuild:{secrets.token_hex(8)}", await self._server())
            await self._redis.set(rebuild.key, "", ex=REBUILD_S)
            return rebuild

    async def goes_on(self, rebuild: Rebuild) -> bool:
        """Tell whether everything written since begin() is still there."""
        with _reached():
            return bool(await self._redis.expire(rebuild.key, REBUILD_S))

    async def end(self, rebuild: Rebuild) -> bool:
        """Mark the feeds as whole; False when a flush came in between, and it has to be begun again."""
        with _reached():
            return bool(await self._run(_END, [rebuild.key, MARKER], [rebuild.server, MARKER_S]))

    async def write(self, feed: Feed) -> bool:
        """Replace a feed in one step and publish its news; False when a newer version is there, and nothing is done."""
        key = f"alerts:{feed.company_id}"
        values = [feed.version, FEED_DAYS * _DAY_S, len(feed.newest), *feed.newest, *feed.news]
        with _reached():
            return bool(await self._run(_WRITE, [key, f"{key}:version"], values))

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _server(self) -> str:
        found: dict[str, Any] = await self._redis.info("server")
        return str(found.get("run_id", ""))

    async def _run(self, script: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        return await self._redis.eval(script, len(keys), *keys, *values)


@contextlib.contextmanager
def _reached() -> Any:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"Valkey does not take the alert feeds: {error or type(error).__name__}") from error
