"""The hub: what moved reaches whoever watches it, and nobody else; with Valkey, without it, and past its limits."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from secretaria.bootstrap import Application, utc_now
from secretaria.core.access import PROCESS, Caller
from secretaria.core.errors import NotFound, Unavailable
from secretaria.services import live
from secretaria.services.live import LiveHub, Stream
from secretaria.store.database import transaction
from secretaria.store.live import Live

pytestmark = pytest.mark.anyio

SOON_S = 5.0


async def company_of(application: Application) -> int:
    made = await application.companies.create(PROCESS, "Nossa", now=application.clock())
    return made.company_id


async def raise_version(application: Application, company_id: int) -> int:
    async with transaction(application.database.operator) as connection:
        cursor = await connection.execute(
            "UPDATE company_heads SET version = version + 1 WHERE company_id = %s RETURNING version", (company_id,)
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def settle(stream: Stream) -> None:
    """Take what the stream begins with, and the first look at the database."""
    assert await stream.changes(SOON_S)
    while await stream.changes(live.POLL_INTERVAL_S * 1.5):
        pass


@pytest.fixture
async def deaf_hub(application: Application) -> AsyncIterator[LiveHub]:
    """A hub without Valkey."""
    hub = LiveHub(application.database, None, utc_now)
    hub.start()
    yield hub
    await hub.stop()


async def test_a_stream_begins_with_everything_it_watches(application: Application) -> None:
    company_id = await company_of(application)
    with application.hub.open(PROCESS, [company_id]) as stream:
        assert await stream.changes(0) == {company_id}


async def test_a_moved_version_wakes_those_who_watch_it_without_valkey(
    application: Application, deaf_hub: LiveHub
) -> None:
    ours, theirs = await company_of(application), await company_of(application)
    with deaf_hub.open(PROCESS, [ours]) as watching, deaf_hub.open(PROCESS, [theirs]) as other:
        await settle(watching)
        await other.changes(0)
        await raise_version(application, ours)
        assert await watching.changes(SOON_S) == {ours}
        assert await other.changes(0) == frozenset()
        assert deaf_hub.checked_at is not None


async def test_what_is_published_arrives_before_the_next_look(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_INTERVAL_S", 600.0)
    hub = LiveHub(application.database, application.live, utc_now)
    hub.start()
    company_id = await company_of(application)
    try:
        with hub.open(PROCESS, [company_id]) as stream:
            async with asyncio.timeout(SOON_S):
                while hub.checked_at is None:
                    await asyncio.sleep(0.01)
                await stream.changes(0)
                await application.live.publish({company_id: 10**6, 10**9: 3})
                while await stream.changes(0.1) == frozenset():  # the subscription may have begun after the message
                    await application.live.publish({company_id: 10**6, 10**9: 3})
            assert not hub.is_current({company_id: 10**6 - 1})
            assert hub.is_current({company_id: 10**6})
            await application.live.publish({company_id: 5})
            assert await stream.changes(0.2) == frozenset(), "an older version is no news"
    finally:
        await hub.stop()


async def test_a_hub_goes_on_when_valkey_cannot_be_reached(application: Application) -> None:
    nowhere = Live("redis://127.0.0.1:1/0")
    hub = LiveHub(application.database, nowhere, utc_now)
    hub.start()
    company_id = await company_of(application)
    with hub.open(PROCESS, [company_id]) as stream:
        await settle(stream)
        await raise_version(application, company_id)
        assert await stream.changes(SOON_S) == {company_id}
    await hub.stop()
    await nowhere.close()


async def test_a_look_that_breaks_is_not_the_last_one(
    application: Application, deaf_hub: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    company_id = await company_of(application)
    looks: list[Exception] = [Unavailable("away"), ZeroDivisionError("broken")]

    async def read_versions(_connection: object, company_ids: list[int]) -> dict[int, int]:
        if looks:
            raise looks.pop()
        return dict.fromkeys(company_ids, 7)

    monkeypatch.setattr(live, "read_versions", read_versions)
    monkeypatch.setattr(live, "POLL_INTERVAL_S", 0.05)
    with deaf_hub.open(PROCESS, [company_id]) as stream:
        await stream.changes(0)
        assert await stream.changes(SOON_S) == {company_id}
        assert looks == []


async def test_a_member_watches_its_own_company_and_no_other(application: Application) -> None:
    ours, theirs = await company_of(application), await company_of(application)
    member = Caller(ours, "user:1", frozenset())
    with pytest.raises(NotFound), application.hub.open(member, [ours, theirs]):
        pass
    with application.hub.open(member, [ours]) as stream:
        assert stream.company_ids == {ours}


async def test_a_user_a_process_and_a_stream_have_limits(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, ana, bia = application.hub, Caller(0, "user:1", frozenset()), Caller(0, "user:2", frozenset())
    monkeypatch.setattr(live, "STREAMS_PER_USER_MAX", 1)
    with hub.open(ana, [1]), hub.open(bia, [1]):
        with pytest.raises(Unavailable) as refusal, hub.open(ana, [1]):
            pass
        assert refusal.value.code == "too_many_streams"
    monkeypatch.setattr(live, "STREAMS_MAX", 1)
    with hub.open(ana, [1]), pytest.raises(Unavailable), hub.open(bia, [1]):
        pass
    with pytest.raises(Unavailable), hub.open(ana, range(live.COMPANIES_PER_STREAM_MAX + 1)):
        pass
    with hub.open(ana, [1]):
        pass


async def test_a_stopped_hub_ends_its_streams_and_takes_no_more(application: Application) -> None:
    with application.hub.open(PROCESS, [1]) as stream:
        await stream.changes(0)
        waiting = asyncio.create_task(stream.changes(600))
        await asyncio.sleep(0)
        await application.hub.stop()
        async with asyncio.timeout(SOON_S):
            assert await waiting == frozenset()
        assert stream.closed
    with pytest.raises(Unavailable), application.hub.open(PROCESS, [1]):
        pass


async def test_a_slow_reader_costs_a_set_and_not_a_queue(application: Application) -> None:
    with application.hub.open(PROCESS, [1, 2]) as stream:
        for _ in range(10_000):
            stream.tell(1)
            stream.tell(2)
        assert await stream.changes(0) == {1, 2}
        assert await stream.changes(0) == frozenset()


async def test_an_idle_hub_asks_nothing(application: Application, deaf_hub: LiveHub) -> None:
    company_id = await company_of(application)
    with deaf_hub.open(PROCESS, [company_id]) as stream:
        await settle(stream)
    assert deaf_hub.checked_at is None
    await asyncio.sleep(live.POLL_INTERVAL_S * 1.5)
    assert deaf_hub.checked_at is None
