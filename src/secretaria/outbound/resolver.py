"""Names to addresses, by the system's resolver, in threads that nothing else waits for."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

LOOKUPS_AT_ONCE_MAX: Final = 16

# Not the loop's own threads: a name server that never answers holds one for half a minute, and those also check
# passwords and write files.
_LOOKUPS: Final = ThreadPoolExecutor(LOOKUPS_AT_ONCE_MAX, thread_name_prefix="resolver")

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a name to its addresses, as text. Raises OSError when the name has none."""


async def resolve_worldwide(name: str) -> Sequence[str]:
    """Resolve a name that the whole internet knows: the search domains of our own network are not tried."""
    return await resolve_here(f"{name}.")


async def resolve_here(name: str) -> Sequence[str]:
    """Resolve a name as every program on this machine does."""
    return await asyncio.get_running_loop().run_in_executor(_LOOKUPS, _look_up, name)


def _look_up(name: str) -> list[str]:
    rows = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))
