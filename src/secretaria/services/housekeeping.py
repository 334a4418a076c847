"""What grows by itself and is worth nothing any more, and the partitions that must be there before they are needed."""

from datetime import UTC, datetime
from typing import Final

import anyio
import psycopg
import structlog

from secretaria.services import reservations
from secretaria.store import login_failures, partitions, sessions
from secretaria.store.database import Database, transaction

SESSIONS_BATCH_MAX: Final = 1_000
SESSIONS_BATCHES_MAX: Final = 100

_log = structlog.get_logger(__name__)


async def remove_expired(database: Database, now: datetime) -> int:
    """Remove sessions that have ended, failed logins no limit looks at, reservations that expired long ago.

    Returns the number of sessions.
    """
    removed = 0
    for _ in range(SESSIONS_BATCHES_MAX):
        async with transaction(database.operator) as connection:
            count = await sessions.delete_expired(connection, now, limit=SESSIONS_BATCH_MAX)
        removed += count
        if count < SESSIONS_BATCH_MAX:
            break
    async with transaction(database.operator) as connection:
        await login_failures.clean(connection, now)
    await reservations.remove_old(database, now)
    return removed


async def ensure_partitions(owner_url: str | None, now: datetime) -> list[str]:
    """Make the event partitions of the months around now; return those made.

    Only the owner may: without its URL, or when it is refused, an error is logged while there is time to act
    (partitions.MONTHS_AHEAD), and ingest goes on.
    """
    if not owner_url:
        _log.error("partitions_not_made", reason="DATABASE_OWNER_URL is not set", run="secretaria migrate")
        return []
    try:
        made = await anyio.to_thread.run_sync(partitions.ensure_around, owner_url, now.astimezone(UTC).date())
    except psycopg.Error as error:
        _log.error("partitions_not_made", reason=str(error).strip(), run="secretaria migrate")
        return []
    if made:
        _log.info("partitions_made", partitions=made)
    return made
