"""The entitlement check is never older than a second, in any process, and never a guess."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from tests.entitled import ONE_SECOND_S, check, company_of, give_plan, reserve, seen_within_a_second, use
from tests.shop import OPERATOR, key_of

from secretaria.bootstrap import Application, utc_now
from secretaria.bootstrap import application as build_application
from secretaria.core.access import PROCESS, Scope
from secretaria.core.entitlement import Quantities
from secretaria.core.errors import NotAllowed, NotEntitled, NotFound, Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.services import entitlements
from secretaria.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(application: Application, settings: Settings, endpoints: Endpoints) -> AsyncIterator[Application]:
    """A second process on the same database, as far as its memory goes."""
    async with build_application(settings, endpoints) as built:
        yield built


async def answered_from_memory(application: Application, company_id: int, *, since_s: float) -> None:
    """Ask until there is no answer; one that comes later than a second after `since_s` was too old."""
    while await check(application, company_id):
        assert time.monotonic() - since_s < ONE_SECOND_S, "a stale yes"
        await asyncio.sleep(0.02)


async def test_without_a_plan_everything_is_allowed_and_nothing_limited(application: Application) -> None:
    company = await company_of(application)
    await use(application, company, messages=3, tokens_input=5)
    found = await check(application, company)
    assert (found.allowed, found.reason, found.status, found.currency) == (True, None, "active", "BRL")
    assert {name: (row.used, row.limit, row.remaining) for name, row in found.metrics.items()} == {
        "messages": (3, None, None), "tokens": (5, None, None), "cost": (None, None, None),
    }  # fmt: skip


async def test_a_hard_limit_is_seen_by_every_process_within_a_second(
    application: Application, other: Application
) -> None:
    company = await company_of(application, messages=10)
    assert (await check(other, company)).allowed
    await use(application, company, messages=9)
    assert (await check(application, company)).reason is None
    await use(application, company, messages=1)
    await seen_within_a_second(other, company, allowed=False)
    found = await check(other, company)
    assert (found.reason, found.metrics["messages"].used, found.metrics["messages"].remaining) == ("limit_reached", 10, 0)
    await use(application, company, messages=5)


async def test_a_hard_limit_of_cost_is_held_against_the_exact_cost(application: Application) -> None:
    company = await company_of(application, cost="0.10")
    await use(application, company, messages=1, tokens_input=2_499)
    found = await check(application, company)
    assert (found.allowed, found.metrics["cost"].used) == (True, Decimal("0.09998"))
    await use(application, company, messages=0, tokens_input=1)
    await seen_within_a_second(application, company, allowed=False)
    assert (await check(application, company)).metrics["cost"].percent == 100


async def test_a_soft_limit_never_refuses(application: Application) -> None:
    company = await company_of(application, messages=1, hard=False)
    await use(application, company, messages=50)
    found = await check(application, company)
    assert (found.allowed, found.metrics["messages"].state, found.metrics["messages"].remaining) == (True, "critical", 0)
    assert (await reserve(application, company, messages=1_000)).remaining["messages"] == 0


async def test_a_suspension_is_seen_by_every_process_within_a_second_and_so_is_its_end(
    application: Application, other: Application
) -> None:
    company = await company_of(application, messages=10)
    for process in (application, other):
        assert (await check(process, company)).allowed
    await application.companies.suspend(PROCESS, company)
    await seen_within_a_second(other, company, allowed=False)
    found = await check(other, company)
    assert (found.reason, found.status) == ("suspended", "suspended")
    await use(application, company, messages=1)
    with pytest.raises(NotEntitled) as refusal:
        await reserve(other, company, messages=1)
    assert refusal.value.code == "suspended"
    await application.companies.reactivate(PROCESS, company)
    await seen_within_a_second(other, company, allowed=True)
    assert (await check(other, company)).metrics["messages"].used == 1, "what happened meanwhile was counted"


async def test_a_new_month_and_tomorrows_plan_hold_from_the_companys_own_midnight(application: Application) -> None:
    company = await company_of(application, messages=10)
    last_second = datetime(2026, 12, 1, 2, 59, 59, tzinfo=UTC)  # 23:59:59 in São Paulo
    with psycopg.connect(application.endpoints.admin_url or "") as connection:
        connection.execute(
            "INSERT INTO period_counters (company_id, period_start, messages_inbound, messages_outbound, tokens_input, "
            "tokens_output) VALUES (%s, '2026-11-01', 0, 10, 0, 0)",
            (company,),
        )
    await give_plan(application, company, messages=7, since=date(2026, 12, 1))
    before = await check(application, company, last_second)
    assert (before.allowed, before.metrics["messages"].limit) == (False, 10)
    after = await check(application, company, last_second + timedelta(seconds=1))
    assert (after.allowed, after.metrics["messages"].limit, after.metrics["messages"].used) == (True, 7, 0)
    assert not (await check(application, company, last_second)).allowed


async def test_what_is_asked_for_is_kept_warm_and_no_question_has_to_read(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = await company_of(application, messages=10)
    service, read, readings = application.entitlements, application.entitlements._read, []

    async def counted(company_id: int, now: datetime) -> Any:
        readings.append(company_id)
        return await read(company_id, now)

    monkeypatch.setattr(service, "_read", counted)
    ended_s = time.monotonic() + 2.5
    while time.monotonic() < ended_s:
        found = await check(application, company)
        assert utc_now() - found.as_of < timedelta(seconds=ONE_SECOND_S)
        await asyncio.sleep(0.05)
    assert len(readings) <= 2, "the first question, and at most one while the machine was busy"


async def test_without_warming_an_old_answer_is_read_anew(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entitlements, "WARM_EVERY_S", 600.0)
    company = await company_of(application, messages=1)
    await application.entitlements.stop()
    assert (await check(application, company)).allowed
    await use(application, company, messages=1)
    await asyncio.sleep(ONE_SECOND_S)
    assert not (await check(application, company)).allowed


async def test_more_companies_than_are_watched_are_answered_all_the_same(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entitlements, "WATCHED_COMPANIES_MAX", 2)
    found = [await company_of(application, messages=10) for _ in range(4)]
    for _ in range(2):
        assert [(await check(application, company)).allowed for company in found] == [True] * 4
    assert len(application.entitlements._entries) == 2


async def test_who_is_not_asked_for_is_watched_no_longer(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = await company_of(application)
    await check(application, company)
    monkeypatch.setattr(entitlements, "WATCHED_FOR_S", 0.0)
    async with asyncio.timeout(5):
        while application.entitlements._entries:
            await asyncio.sleep(0.05)
    assert not application.entitlements._watching.is_set()


async def test_without_postgresql_there_is_no_answer_and_never_a_stale_yes(
    application: Application, endpoints: Endpoints
) -> None:
    company = await company_of(application, messages=10)
    assert (await check(application, company)).allowed
    name, admin = psycopg.conninfo.conninfo_to_dict(endpoints.admin_url or "")["dbname"], endpoints.admin_url or ""
    with psycopg.connect(admin.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (str(name),)
            )
            down_s = time.monotonic()
            with pytest.raises(Unavailable) as refusal:
                await answered_from_memory(application, company, since_s=down_s)
            assert refusal.value.retry_after_s >= 1
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    async with asyncio.timeout(30):
        while True:
            try:
                assert (await check(application, company)).allowed
                break
            except Unavailable:
                await asyncio.sleep(0.2)


async def test_who_may_ask_and_who_may_hold(application: Application) -> None:
    ours, theirs = await company_of(application), await company_of(application)
    now, service = application.clock(), application.entitlements
    for scope in (Scope.ANALYTICS_READ, Scope.USAGE_WRITE):
        assert (await service.check(key_of(ours, scope), ours, now)).allowed
        with pytest.raises(NotFound):
            await service.check(key_of(ours, scope), theirs, now)
    assert (await service.check(OPERATOR, ours, now)).allowed
    with pytest.raises(NotAllowed):
        await service.check(key_of(ours, Scope.KEYS_WRITE), ours, now)
    for nobody in (0, 987654321, 2**63):
        with pytest.raises(NotFound):
            await service.check(OPERATOR, nobody, now)
    reader = key_of(ours, Scope.ANALYTICS_READ)
    with pytest.raises(NotAllowed):
        await application.reservations.reserve(reader, ours, Quantities(1), now)
    with pytest.raises(NotFound):
        await application.reservations.reserve(key_of(ours), theirs, Quantities(1), now)
    held = (await reserve(application, theirs, messages=1)).reservation.reservation_id
    for act in (application.reservations.read(key_of(ours), ours, held),
                application.reservations.release(key_of(ours), ours, held, now)):  # fmt: skip
        with pytest.raises(NotFound) as refusal:
            await act
        assert refusal.value.code == "reservation_not_found"
