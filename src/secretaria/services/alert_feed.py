"""Keeps the alert feeds in Valkey as PostgreSQL has them. Runs in each worker; several at once do no harm.

Once a second: companies with alerts nobody was told of. Valkey first, the mark in PostgreSQL after it, so that a crash
anywhere leads to the same feed being written again; a mark is not set on an alert that changed meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from secretaria.core.errors import Unavailable
from secretaria.store import alerts as store
from secretaria.store.alert_feed import FEED_ALERTS_MAX, FEED_DAYS, AlertFeed, Feed
from secretaria.store.alerts import Alert, Waiting
from secretaria.store.database import Database, transaction

POLL_INTERVAL_S: Final = 1.0
PAGE_COMPANIES_MAX: Final = 100
CANCEL_AGAIN_AFTER_S: Final = 0.5
_NOT_IN_FEED: Final = frozenset({"acknowledged_at", "acknowledged_by"})

_log = structlog.get_logger(__name__)


def feed_json(alert: Alert) -> bytes:
    """Return an alert as the feed and its channel tell it: the API's keys, but for who has seen it."""
    told = {key: value for key, value in store.as_json(alert).items() if key not in _NOT_IN_FEED}
    return msgspec.json.encode(told)


class AlertFeedKeeper:
    """Writes what is new; all of it when Valkey was flushed or restarted, and once an hour."""

    def __init__(self, database: Database, feed: AlertFeed, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._down = False

    def start(self) -> None:
        """Begin to keep the feeds, unless that was begun."""
        self._task = self._task or asyncio.create_task(self._keep(), name="alert-feeds")

    async def stop(self) -> None:
        """Stop and close the connections; what was not written is written by the next to start."""
        pending = {self._task} if self._task is not None else set()
        while pending:
            # Asked again until it ends: the Valkey client can swallow a cancellation that meets its own timeout.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_AFTER_S)
        self._task = None
        await self._feed.close()

    async def step(self) -> int:
        """Bring the feeds up to date and return how many were written. Raises Unavailable."""
        rebuilt = 0 if await self._feed.is_whole() else await self._rebuild()
        return rebuilt + await self._write_news()

    async def _keep(self) -> None:
        while True:
            try:
                await self.step()
                self._down = False
            except Unavailable as error:
                if not self._down:
                    _log.warning("alert_feeds_waiting", error=error.message)
                self._down = True
            except Exception:  # noqa: BLE001 - without this loop no feed would be written any more
                _log.exception("alert_feeds_broke")
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _rebuild(self) -> int:
        """Write the feeds of all companies with alerts of late; the mark is set when nothing was lost on the way."""
        rebuild = await self._feed.begin()
        since = self._clock() - timedelta(days=FEED_DAYS)
        written = after = 0
        while True:
            async with transaction(self._database.operator) as connection:
                ids = await store.read_companies_since(connection, since, after=after, limit=PAGE_COMPANIES_MAX)
            written += await self._write(ids)
            if not await self._feed.goes_on(rebuild):
                return written
            if len(ids) < PAGE_COMPANIES_MAX:
                break
            after = ids[-1]
        if await self._feed.end(rebuild):
            _log.info("alert_feeds_rebuilt", feeds=written)
        return written

    async def _write_news(self) -> int:
        written = after = 0
        while True:
            async with transaction(self._database.operator) as connection:
                ids = await store.read_unpublished_companies(connection, after=after, limit=PAGE_COMPANIES_MAX)
            written += await self._write(ids)
            if len(ids) < PAGE_COMPANIES_MAX:
                return written
            after = ids[-1]

    async def _write(self, company_ids: Sequence[int]) -> int:
        """1. Read feeds in one statement. 2. Write each and tell its news. 3. Mark the news as told."""
        if not company_ids:
            return 0
        async with transaction(self._database.operator) as connection:
            waiting = await store.read_feeds(connection, company_ids, newest=FEED_ALERTS_MAX)
        written = 0
        for company_id, of in waiting.items():
            if not await self._feed.write(_feed(company_id, of)):
                continue  # a newer version is there; what it lacks comes with the next pass
            written += 1
            if of.news:
                async with transaction(self._database.operator) as connection:
                    await store.set_published(connection, company_id, of.news)
        return written


def _feed(company_id: int, of: Waiting) -> Feed:
    newest, news = ([feed_json(alert) for alert in alerts] for alerts in (of.newest, of.news))
    return Feed(company_id, of.version, newest, news)
