"""The alert feeds against real Valkeys: told once they are there, written whole, and rebuilt whatever happens to them."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import structlog
from tests.shop import make_company

from secretaria import jobs
from secretaria.bootstrap import Application
from secretaria.core.crossing import AlertKind, Line
from secretaria.core.errors import Unavailable
from secretaria.core.plan import LimitMetric
from secretaria.embedded.account import service_account
from secretaria.embedded.binaries import find_valkey
from secretaria.embedded.servers import Endpoints
from secretaria.services import alert_feed
from secretaria.services.alert_feed import AlertFeedKeeper, feed_json
from secretaria.store import alerts as store
from secretaria.store.alert_feed import FEED_ALERTS_MAX, MARKER, AlertFeed, Feed
from secretaria.store.alerts import Alert, NewAlert
from secretaria.store.database import transaction

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = date(2026, 11, 1)
SOON_S = 5.0
_limits = itertools.count(100)


@pytest.fixture
async def feed(endpoints: Endpoints) -> AsyncIterator[AlertFeed]:
    made = AlertFeed(endpoints.redis_url)
    yield made
    await made.close()


@pytest.fixture
def keeper(application: Application, feed: AlertFeed) -> AlertFeedKeeper:
    return AlertFeedKeeper(application.database, feed, lambda: NOW)


@pytest.fixture
def valkey(endpoints: Endpoints) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(endpoints.redis_url) as client:
        yield client


@pytest.fixture
def company_id(endpoints: Endpoints) -> int:
    assert endpoints.admin_url is not None
    return make_company(endpoints.admin_url)


async def fire(application: Application, company_id: int, *, now: datetime = NOW) -> Alert:
    """An alert of a limit of its own, so that any number of them may be open."""
    line = Line(AlertKind.LIMIT, LimitMetric.MESSAGES, 80, Decimal(next(_limits)))
    new = NewAlert(company_id, line, MONTH, 1, Decimal(80), Decimal("80.5"), None, "Essencial")
    async with transaction(application.database.ingest) as connection:
        # One at a time may be open of a line: the one before ends.
        await connection.execute(
            "UPDATE alerts SET resolved_at = %s WHERE company_id = %s AND resolved_at IS NULL", (now, company_id)
        )
        (alert,) = await store.insert(connection, [new], now=now)
    return alert


async def resolve(application: Application, alert: Alert) -> Alert:
    async with transaction(application.database.ingest) as connection:
        (resolved,) = await store.resolve(connection, [(alert, Decimal(70))], now=NOW + timedelta(minutes=5))
    return resolved


async def unpublished(application: Application, company_id: int) -> list[int]:
    async with transaction(application.database.operator) as connection:
        found = await store.read_feeds(connection, [company_id], newest=FEED_ALERTS_MAX)
    return [alert.alert_id for alert in found[company_id].news]


async def newest_first(application: Application, company_id: int) -> list[Any]:
    """The feed as it should be, read by another way than the keeper's."""
    async with transaction(application.database.operator) as connection:
        alerts = await store.read_recent(connection, company_id, limit=FEED_ALERTS_MAX)
    return [json.loads(feed_json(alert)) for alert in alerts]


def kept(valkey: redis.Redis, company_id: int) -> list[Any]:
    return [json.loads(entry) for entry in valkey.lrange(f"alerts:{company_id}", 0, -1)]


@contextlib.contextmanager
def hearing(valkey: redis.Redis, company_id: int) -> Iterator[list[Any]]:
    """Collect what is published for a company while the block runs; complete once the block has ended."""
    heard: list[Any] = []
    with valkey.pubsub() as pubsub:
        pubsub.subscribe(f"alerts:{company_id}")
        assert pubsub.get_message(timeout=SOON_S)["type"] == "subscribe"
        yield heard
        valkey.publish(f"alerts:{company_id}", "null")
        while (message := pubsub.get_message(timeout=SOON_S)) is not None and message["data"] != b"null":
            heard.append(json.loads(message["data"]))


async def test_it_writes_an_alert_to_the_feed_and_tells_those_who_listen(
    application: Application, keeper: AlertFeedKeeper, valkey: redis.Redis, company_id: int
) -> None:
    await keeper.step()
    alert = await fire(application, company_id)
    with hearing(valkey, company_id) as heard:
        assert await keeper.step() == 1
        assert await keeper.step() == 0
    expected = {
        "id": alert.alert_id, "company_id": company_id, "kind": "limit", "metric": "messages", "threshold": 80,
        "level": "warning", "period_start": "2026-11-01", "used": 80, "limit": int(alert.limit or 0),
        "percent": "80.50", "currency": None, "plan": "Essencial", "fired_at": "2026-11-20T12:00:00+00:00",
        "resolved_at": None,
    }  # fmt: skip
    assert kept(valkey, company_id) == [expected]
    assert heard == [expected]
    assert await unpublished(application, company_id) == []


async def test_it_keeps_the_newest_hundred_and_tells_of_all_in_order(
    application: Application, keeper: AlertFeedKeeper, valkey: redis.Redis, company_id: int
) -> None:
    fired = [await fire(application, company_id) for _ in range(FEED_ALERTS_MAX + 5)]
    with hearing(valkey, company_id) as heard:
        await keeper.step()
    ids = [alert.alert_id for alert in fired]
    assert [of["id"] for of in kept(valkey, company_id)] == ids[:-101:-1]
    assert [of["id"] for of in heard] == ids
    assert await unpublished(application, company_id) == []


async def test_it_writes_and_tells_again_when_an_alert_is_resolved(
    application: Application, keeper: AlertFeedKeeper, valkey: redis.Redis, company_id: int
) -> None:
    alert = await fire(application, company_id)
    await keeper.step()
    await resolve(application, alert)
    with hearing(valkey, company_id) as heard:
        assert await keeper.step() == 1
    assert [of["resolved_at"] for of in heard] == ["2026-11-20T12:05:00+00:00"]
    assert kept(valkey, company_id) == heard == await newest_first(application, company_id)


async def test_a_flush_brings_all_feeds_back_and_tells_nobody_twice(
    application: Application, keeper: AlertFeedKeeper, endpoints: Endpoints, valkey: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(alert_feed, "PAGE_COMPANIES_MAX", 2)
    assert endpoints.admin_url is not None
    ours = [make_company(endpoints.admin_url) for _ in range(5)]
    for of in ours:
        await fire(application, of)
    forgotten = make_company(endpoints.admin_url)
    await fire(application, forgotten, now=NOW - timedelta(days=101))
    await keeper.step()
    valkey.flushall()
    with hearing(valkey, ours[0]) as heard:
        assert await keeper.step() == len(ours)
    assert heard == []
    for of in ours:
        assert kept(valkey, of) == await newest_first(application, of)
    assert not valkey.exists(f"alerts:{forgotten}")
    assert await keeper.step() == 0


class FlushedFeed(AlertFeed):
    """Its Valkey is flushed after the first feed it writes."""

    flushed = False

    async def write(self, feed: Feed) -> bool:
        taken = await super().write(feed)
        if not self.flushed:
            self.flushed = True
            await self._redis.flushall()
        return taken


async def test_a_flush_in_the_middle_of_a_rebuild_begins_it_anew(
    application: Application, endpoints: Endpoints, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_feed, "PAGE_COMPANIES_MAX", 2)
    assert endpoints.admin_url is not None
    ours = [make_company(endpoints.admin_url) for _ in range(3)]
    for of in ours:
        await fire(application, of)
    feed = FlushedFeed(endpoints.redis_url)
    keeper = AlertFeedKeeper(application.database, feed, lambda: NOW)
    await keeper.step()
    assert not valkey.exists(MARKER)
    await keeper.step()
    assert await feed.is_whole()
    for of in ours:
        assert kept(valkey, of) == await newest_first(application, of)
    assert valkey.keys(f"{MARKER}:*") == []
    await feed.close()


async def test_a_flush_after_the_last_page_leaves_no_mark(feed: AlertFeed, valkey: redis.Redis) -> None:
    rebuild = await feed.begin()
    assert await feed.goes_on(rebuild)
    valkey.flushall()
    assert not await feed.goes_on(rebuild)
    assert not await feed.end(rebuild)
    assert not await feed.is_whole()


async def test_two_keepers_at_once_lose_nothing_and_leave_the_feed_right(
    application: Application, endpoints: Endpoints, valkey: redis.Redis, company_id: int
) -> None:
    feeds = [AlertFeed(endpoints.redis_url) for _ in range(2)]
    keepers = [AlertFeedKeeper(application.database, feed, lambda: NOW) for feed in feeds]
    fired: list[int] = []

    async def firing() -> None:
        for turn in range(30):
            alert = await fire(application, company_id)
            fired.append(alert.alert_id)
            if turn % 3 == 0:
                await resolve(application, alert)
            if turn == 15:
                valkey.flushall()

    with hearing(valkey, company_id) as heard:
        going = asyncio.create_task(firing())
        while not going.done():
            await asyncio.gather(*(keeper.step() for keeper in keepers))
        await going
        await asyncio.gather(*(keeper.step() for keeper in keepers))
    assert set(fired) == {of["id"] for of in heard}
    assert {of["id"] for of in heard if of["resolved_at"]} >= set(fired[:-1])
    assert kept(valkey, company_id) == await newest_first(application, company_id)
    assert await unpublished(application, company_id) == []
    for feed in feeds:
        await feed.close()


async def test_a_stale_writer_loses(
    application: Application, keeper: AlertFeedKeeper, feed: AlertFeed, valkey: redis.Redis, company_id: int
) -> None:
    alert = await fire(application, company_id)
    async with transaction(application.database.operator) as connection:
        read = await store.read_feeds(connection, [company_id], newest=FEED_ALERTS_MAX)
    await resolve(application, alert)
    await keeper.step()
    stale = Feed(company_id, read[company_id].version, [feed_json(alert)], [feed_json(alert)])
    with hearing(valkey, company_id) as heard:
        assert not await feed.write(stale)
    assert heard == []
    assert kept(valkey, company_id) == await newest_first(application, company_id)
    assert kept(valkey, company_id)[0]["resolved_at"] is not None


async def test_a_crash_before_the_mark_writes_the_same_again(
    application: Application, keeper: AlertFeedKeeper, endpoints: Endpoints, valkey: redis.Redis,
    company_id: int,
) -> None:  # fmt: skip
    await keeper.step()
    await fire(application, company_id)
    assert endpoints.admin_url is not None
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("REVOKE UPDATE ON alerts FROM secretaria_operator")
        connection.execute("REVOKE UPDATE (resolved_at, resolved_used, published) ON alerts FROM secretaria_operator")
        with hearing(valkey, company_id) as heard:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await keeper.step()
            connection.execute("GRANT UPDATE (published) ON alerts TO secretaria_operator")
            assert await keeper.step() == 1
    assert len(heard) == 1
    assert kept(valkey, company_id) == heard
    assert await unpublished(application, company_id) == []


async def test_an_alert_that_changed_or_is_held_by_somebody_is_not_marked(
    application: Application, company_id: int
) -> None:
    alert = await fire(application, company_id)
    await resolve(application, alert)
    async with transaction(application.database.operator) as connection:
        await store.set_published(connection, company_id, [alert])
    assert await unpublished(application, company_id) == [alert.alert_id]
    now_resolved = replace(alert, resolved_at=NOW)
    async with transaction(application.database.ingest) as holding:
        await holding.execute("SELECT 1 FROM alerts WHERE company_id = %s FOR UPDATE", (company_id,))
        async with asyncio.timeout(SOON_S), transaction(application.database.operator) as connection:
            await store.set_published(connection, company_id, [now_resolved])
    assert await unpublished(application, company_id) == [alert.alert_id]
    async with transaction(application.database.operator) as connection:
        await store.set_published(connection, company_id, [now_resolved])
    assert await unpublished(application, company_id) == []


async def test_keys_of_another_type_are_replaced(
    application: Application, keeper: AlertFeedKeeper, valkey: redis.Redis, company_id: int
) -> None:
    await fire(application, company_id)
    valkey.set(f"alerts:{company_id}", "not ours")
    valkey.rpush(f"alerts:{company_id}:version", "not ours")
    await keeper.step()
    assert kept(valkey, company_id) == await newest_first(application, company_id)
    valkey.set(f"alerts:{company_id}:version", "not ours")
    await fire(application, company_id)
    await keeper.step()
    assert kept(valkey, company_id) == await newest_first(application, company_id)


class OwnValkey:
    """A Valkey of the test's own, to be killed and restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder / 'v.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_valkey(service_account(self.folder))
        self._process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", "v.sock", "--dir", self.folder, "--save", ""],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + SOON_S
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    made = OwnValkey(tmp_path)
    yield made
    made.kill()


@pytest.mark.parametrize("saved", [False, True], ids=["empty", "older"])
async def test_a_valkey_restarted_empty_or_with_an_older_state_is_brought_up_to_date(
    application: Application, own_valkey: OwnValkey, company_id: int, saved: bool
) -> None:
    own_valkey.start()
    feed = AlertFeed(own_valkey.url)
    keeper = AlertFeedKeeper(application.database, feed, lambda: NOW)
    await fire(application, company_id)
    await keeper.step()
    if saved:
        with own_valkey.client() as client:
            client.save()
    await fire(application, company_id)
    await keeper.step()
    assert await unpublished(application, company_id) == []
    own_valkey.kill()
    with pytest.raises(Unavailable):
        await keeper.step()
    own_valkey.start()
    with own_valkey.client() as client:
        assert len(kept(client, company_id)) == int(saved)
        await keeper.step()
        assert kept(client, company_id) == await newest_first(application, company_id)
    await feed.close()


async def test_a_valkey_that_is_down_is_waited_for_with_one_line_a_fall(
    application: Application, own_valkey: OwnValkey, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_feed, "POLL_INTERVAL_S", 0.02)
    feed = AlertFeed(own_valkey.url)
    keeper = AlertFeedKeeper(application.database, feed, lambda: NOW)
    with structlog.testing.capture_logs() as lines:
        keeper.start()
        await fire(application, company_id)
        await asyncio.sleep(0.3)
        assert await unpublished(application, company_id) != []
        own_valkey.start()
        async with asyncio.timeout(SOON_S):
            while await unpublished(application, company_id):
                await asyncio.sleep(0.02)
        await keeper.stop()
    assert [line["event"] for line in lines] == ["alert_feeds_waiting", "alert_feeds_rebuilt"]
    with own_valkey.client() as client:
        assert kept(client, company_id) == await newest_first(application, company_id)
    await feed.close()


async def test_the_worker_keeps_the_feeds(
    application: Application, valkey: redis.Redis, company_id: int
) -> None:
    stop = asyncio.Event()
    worker = asyncio.create_task(jobs.run_worker(application, stop=stop))
    await fire(application, company_id)
    async with asyncio.timeout(SOON_S):
        while not kept(valkey, company_id):
            await asyncio.sleep(0.02)
    stop.set()
    await worker
    assert kept(valkey, company_id) == await newest_first(application, company_id)
