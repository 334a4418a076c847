"""The check is never older than a second, in any process; reservations never oversell; usage settles what it names."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.shop import OPERATOR, event, key_of, rows

from secretaria.bootstrap import Application, utc_now
from secretaria.bootstrap import application as build_application
from secretaria.core.access import PROCESS, Scope
from secretaria.core.entitlement import Quantities
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotEntitled, NotFound, TooLarge, Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.services import entitlements, housekeeping, reservations
from secretaria.services.entitlements import Entitlement
from secretaria.services.reservations import Reserved
from secretaria.settings import Settings
from secretaria.store import companies, rate_cards
from secretaria.store.database import transaction
from secretaria.store.rate_cards import NewVersion

pytestmark = pytest.mark.anyio

LEFT = "SELECT messages_left, tokens_left, cost_left FROM reservations WHERE reservation_id = %s"
ONE_SECOND_S = 1.0


@pytest.fixture
async def other(application: Application, settings: Settings, endpoints: Endpoints) -> AsyncIterator[Application]:
    """A second process on the same database, as far as its memory goes."""
    async with build_application(settings, endpoints) as built:
        yield built


async def company_of(application: Application, **limits: Any) -> int:
    """A company with the prices of the settings (0.05 a message, 0.02 a thousand tokens) and a plan of these limits."""
    made = await application.companies.create(PROCESS, f"Nossa {uuid4()}", now=application.clock())
    if limits:
        await give_plan(application, made.company_id, **limits)
    return made.company_id


async def give_plan(
    application: Application,
    company_id: int,
    *,
    messages: int | None = None,
    tokens: int | None = None,
    cost: str | None = None,
    hard: bool = True,
    since: date = date(2020, 1, 1),
) -> None:
    """Give a company a plan of its own, under its head's lock."""
    async with transaction(application.database.operator) as connection:
        await companies.lock_heads(connection, [company_id])
        cursor = await connection.execute(
            "INSERT INTO plans (name, currency, created_at) VALUES (gen_random_uuid()::text, 'BRL', now()) "
            "RETURNING plan_id"
        )
        row = await cursor.fetchone()
        assert row is not None
        await connection.execute(
            "INSERT INTO plan_limits (plan_id, effective_from, messages, tokens, cost, hard, created_at) "
            "VALUES (%s, '2020-01-01', %s, %s, %s, %s, now())",
            (row[0], messages, tokens, cost and Decimal(cost), hard),
        )
        await connection.execute(
            "INSERT INTO company_plans (company_id, plan_id, effective_from, created_at) VALUES (%s, %s, %s, now())",
            (company_id, row[0], since),
        )
        await companies.raise_settings_versions(connection, [company_id])


async def use(application: Application, company_id: int, **data: Any) -> None:
    data.setdefault("messages", 1)
    result = await application.ingest.submit(
        key_of(company_id), [(0, event(str(uuid4()), **data))], now=application.clock()
    )
    assert (result.accepted, result.rejected) == (1, [])


async def check(application: Application, company_id: int, now: datetime | None = None) -> Entitlement:
    return await application.entitlements.check(key_of(company_id), company_id, now or application.clock())


async def reserve(application: Application, company_id: int, now: datetime | None = None, **wanted: Any) -> Reserved:
    options = {name: wanted.pop(name) for name in ("lasts", "reservation_id") if name in wanted}
    return await application.reservations.reserve(
        key_of(company_id), company_id, Quantities(**wanted), now or application.clock(), **options
    )


async def seen_within_a_second(application: Application, company_id: int, *, allowed: bool) -> None:
    """What was committed before this call is answered by everything that is asked from one second on."""
    committed_s = time.monotonic()
    while (found := await check(application, company_id)).allowed is not allowed:
        asked_s = time.monotonic()
        assert asked_s - committed_s < ONE_SECOND_S, found
        await asyncio.sleep(0.02)


async def answered_from_memory(application: Application, company_id: int, *, since_s: float) -> None:
    """Ask until there is no answer; one that comes later than a second after `since_s` was too old."""
    while await check(application, company_id):
        assert time.monotonic() - since_s < ONE_SECOND_S, "a stale yes"
        await asyncio.sleep(0.02)


# --- the check -------------------------------------------------------------------------------------------------------


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
    assert (await check(application, company)).metrics["messages"].used == 1


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


# --- reservations ----------------------------------------------------------------------------------------------------


async def test_concurrent_reserves_of_two_processes_never_oversell(
    application: Application, other: Application
) -> None:
    """16 clients, 30 rounds: each round's plan has room for fewer than they want; what is granted never passes it."""
    generator = random.Random(4)
    granted_in_all = 0
    for number in range(30):
        limit = generator.randint(20, 60)
        company = await company_of(application, messages=limit, tokens=limit * 10)
        await use(application, company, messages=generator.randint(1, 9))
        wanted = [generator.randint(1, 9) for _ in range(16)]

        answers = await asyncio.gather(
            *(
                reserve((application, other)[place % 2], company, messages=amount, tokens=amount * 10)
                for place, amount in enumerate(wanted)
            ),
            return_exceptions=True,
        )
        granted = sum(answer.reservation.held.messages for answer in answers if isinstance(answer, Reserved))
        refused = [answer for answer in answers if not isinstance(answer, Reserved)]
        assert {getattr(error, "code", error) for error in refused} <= {"limit_reached"}
        granted_in_all += granted
        used = int((await check(application, company)).metrics["messages"].used or 0)
        held = rows(
            application.endpoints.admin_url or "",
            "SELECT sum(messages_left)::int, sum(tokens_left)::int FROM reservations WHERE company_id = %s",
            company,
        )
        assert held == [(granted, granted * 10)]
        assert used + granted <= limit, f"round {number}: {used} used, {granted} held of {limit}"
        if used + sum(wanted) >= limit:
            assert used + granted > limit - 9, "what fits is granted"
    assert granted_in_all > 600


async def test_reserves_and_usage_meet_at_the_head_and_count_each_other(
    application: Application, other: Application
) -> None:
    company = await company_of(application, messages=100)
    await asyncio.gather(*(use(application, company, messages=5) for _ in range(10)))
    made = await reserve(other, company, messages=30)
    assert made.remaining["messages"] == 20
    found = await check(other, company)
    assert (found.metrics["messages"].used, found.metrics["messages"].reserved) == (50, 30)
    with pytest.raises(NotEntitled) as refusal:
        await reserve(application, company, messages=21)
    assert refusal.value.remaining == {"messages": 20, "tokens": None, "cost": None}
    await reserve(application, company, messages=20)
    await seen_within_a_second(other, company, allowed=False)


async def test_an_id_of_the_callers_makes_one_reservation_however_often_it_is_sent(application: Application) -> None:
    company, wanted_id = await company_of(application, messages=10), uuid4()
    made = await asyncio.gather(*(reserve(application, company, messages=6, reservation_id=wanted_id) for _ in range(8)))
    assert len({row.reservation.created_at for row in made}) == 1
    assert {row.remaining["messages"] for row in made} == {Decimal(4)}
    for other_content in ({"messages": 5}, {"messages": 6, "tokens": 1}, {"messages": 6, "lasts": timedelta(hours=2)}):
        with pytest.raises(DuplicateKey) as refusal:
            await reserve(application, company, reservation_id=wanted_id, **other_content)
        assert refusal.value.code == "id_conflict"
    elsewhere = await company_of(application, messages=10)
    assert (await reserve(application, elsewhere, messages=3, reservation_id=wanted_id)).remaining["messages"] == 7


async def test_what_expires_or_is_released_counts_no_more(application: Application) -> None:
    company, now = await company_of(application, messages=10), application.clock()
    first = (await reserve(application, company, now, messages=6, lasts=timedelta(minutes=1))).reservation
    second = (await reserve(application, company, now, messages=4)).reservation
    assert not (await check(application, company, now)).allowed
    just_before, then = first.expires_at - timedelta(microseconds=1), first.expires_at
    assert (await check(application, company, just_before)).metrics["messages"].reserved == 10
    assert (await check(application, company, then)).metrics["messages"].reserved == 4
    await application.reservations.release(key_of(company), company, second.reservation_id, then)
    await application.reservations.release(key_of(company), company, second.reservation_id, then)
    assert (await check(application, company, then)).metrics["messages"].reserved == 0
    assert (await reserve(application, company, then, messages=10)).remaining["messages"] == 0
    shown = await application.reservations.read(key_of(company), company, second.reservation_id)
    assert (shown.released_at, shown.left.messages) == (then, 4)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "nothing_wanted"),
        ({"messages": -1}, "invalid_value"),
        ({"messages": 10**12 + 1}, "invalid_value"),
        ({"messages": 1, "lasts": timedelta(seconds=59)}, "invalid_value"),
        ({"messages": 1, "lasts": timedelta(days=7, seconds=1)}, "invalid_value"),
    ],
)
async def test_a_reservation_holds_something_for_a_minute_to_a_week(
    application: Application, wanted: dict[str, Any], code: str
) -> None:
    company = await company_of(application)
    with pytest.raises(InvalidInput) as refusal:
        await reserve(application, company, **wanted)
    assert refusal.value.code == code


async def test_open_reservations_have_a_number_at_most(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "RESERVATIONS_OPEN_MAX", 2)
    company, now = await company_of(application), application.clock()
    for _ in range(2):
        await reserve(application, company, now, messages=1, lasts=timedelta(minutes=1))
    with pytest.raises(TooLarge):
        await reserve(application, company, now, messages=1)
    await reserve(application, company, now + timedelta(minutes=1), messages=1)


async def test_housekeeping_removes_reservations_a_hundred_days_after_they_expired(application: Application) -> None:
    company, now = await company_of(application), application.clock()
    held = (await reserve(application, company, now, messages=1)).reservation
    for moment, left in ((timedelta(days=100), 1), (timedelta(days=100, seconds=1), 0)):
        await housekeeping.remove_expired(application.database, held.expires_at + moment)
        assert rows(application.endpoints.admin_url or "", "SELECT count(*)::int FROM reservations") == [(left,)]


# --- settled by usage ------------------------------------------------------------------------------------------------


def left(application: Application, reservation_id: UUID) -> tuple[Any, ...]:
    return rows(application.endpoints.admin_url or "", LEFT, reservation_id)[0]


async def test_usage_that_names_a_reservation_uses_it_up_and_no_further(application: Application) -> None:
    company = await company_of(application, messages=100, tokens=10_000, cost="10.00")
    held = (await reserve(application, company, messages=3, tokens=500, cost=Decimal("0.12"))).reservation.reservation_id
    named = {"reservation_id": str(held)}
    await use(application, company, messages=1, tokens_input=100, tokens_output=100, **named)
    assert left(application, held) == (2, 300, Decimal("0.066"))
    await asyncio.gather(*(use(application, company, messages=1, tokens_input=200, **named) for _ in range(5)))
    assert left(application, held) == (0, 0, 0)
    found = await check(application, company)
    assert (found.metrics["messages"].used, found.metrics["messages"].reserved) == (6, 0)
    assert found.metrics["cost"].used == Decimal("0.324")


async def test_a_repeat_settles_nothing_and_a_batch_settles_by_the_sum(application: Application) -> None:
    company = await company_of(application, messages=100)
    first, second = [(await reserve(application, company, messages=10)).reservation.reservation_id for _ in range(2)]
    batch = [event(str(number), reservation_id=str((first, second)[number % 2])) for number in range(7)]
    for _ in range(3):
        await application.ingest.submit(key_of(company), list(enumerate([*batch, batch[0]])), now=application.clock())
    assert (left(application, first)[0], left(application, second)[0]) == (6, 7)
    assert (await check(application, company)).metrics["messages"].used == 7


async def test_what_cannot_be_settled_is_counted_all_the_same(application: Application) -> None:
    ours, theirs = await company_of(application, messages=100), await company_of(application, messages=100)
    foreign = (await reserve(application, theirs, messages=10)).reservation.reservation_id
    released = (await reserve(application, ours, messages=10)).reservation.reservation_id
    await application.reservations.release(key_of(ours), ours, released, application.clock())
    for named in (foreign, released, uuid4()):
        await use(application, ours, reservation_id=str(named))
    assert (left(application, foreign)[0], left(application, released)[0]) == (10, 10)
    assert (await check(application, ours)).metrics["messages"].used == 3
    result = await application.ingest.submit(
        key_of(ours),
        [(0, event("c", type="usage.corrected", corrects={"source": "bot-1", "id": "x"}, direction=None,
                   messages=1, reservation_id=str(released)))],
        now=application.clock(),
    )  # fmt: skip
    assert [row.code for row in result.rejected] == ["unexpected_field"]


async def test_a_held_cost_falls_by_what_the_month_costs_more_where_prices_come_in_bands(
    application: Application,
) -> None:
    """The first 10 messages of a month cost 1.00 each, the others 0.50: of 12 more after 4, 6 x 1.00 + 6 x 0.50."""
    now = application.clock()
    since, start = now - timedelta(days=20), (now - timedelta(days=90)).date()
    bands = (("Brazil", "UTILITY", 0, Decimal("1.00")), ("Brazil", "UTILITY", 10, Decimal("0.50")))
    card = NewVersion("test", "BRL", start, start, "test", None, 0, (), "test", bands)
    async with transaction(application.database.operator) as connection:
        await rate_cards.insert(connection, card, now=since)
    company = (await application.companies.create(PROCESS, "Nossa", now=since)).company_id
    await application.rate_cards.activate(PROCESS, company, card="test", now=since)
    held = (await reserve(application, company, cost=Decimal(20), messages=20)).reservation.reservation_id
    sent = {"category": "UTILITY", "country": "BR", "time": now}
    await use(application, company, messages=4, **sent)
    await use(application, company, messages=12, reservation_id=str(held), **sent)
    assert left(application, held) == (8, 0, Decimal("11.00"))


async def test_a_message_that_metas_webhook_counts_uses_up_its_reservation_too(application: Application) -> None:
    company, now = await company_of(application, messages=100), application.clock()
    account = await application.accounts.create(PROCESS, company, "106540352242922", "Recepção", now=now)
    with psycopg.connect(application.endpoints.admin_url or "") as connection:
        connection.execute(
            "UPDATE whatsapp_accounts SET messages_from = %s WHERE company_id = %s", (now - timedelta(hours=1), company)
        )
    held = (await reserve(application, company, messages=10)).reservation.reservation_id
    named = {"account_id": account.account_id, "wamid": "wamid.A", "category": "UTILITY", "reservation_id": str(held)}
    await use(application, company, messages=1, tokens_input=5, **named)
    assert left(application, held)[0] == 9
    found = await check(application, company)
    assert (found.metrics["messages"].used, found.metrics["messages"].reserved) == (0, 9)
