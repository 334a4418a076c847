"""Reservations never oversell, end by themselves, and are used up by the usage that names them."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.entitled import check, company_of, reserve, seen_within_a_second, use
from tests.shop import event, key_of, rows

from secretaria.bootstrap import Application
from secretaria.bootstrap import application as build_application
from secretaria.core.access import PROCESS
from secretaria.core.errors import DuplicateKey, InvalidInput, NotEntitled, TooLarge
from secretaria.embedded.servers import Endpoints
from secretaria.services import housekeeping, reservations
from secretaria.services.reservations import Reserved
from secretaria.settings import Settings
from secretaria.store import rate_cards
from secretaria.store.database import transaction
from secretaria.store.rate_cards import NewVersion

pytestmark = pytest.mark.anyio

LEFT = "SELECT messages_left, tokens_left, cost_left FROM reservations WHERE reservation_id = %s"


@pytest.fixture
async def other(application: Application, settings: Settings, endpoints: Endpoints) -> AsyncIterator[Application]:
    """A second process on the same database, as far as its memory goes."""
    async with build_application(settings, endpoints) as built:
        yield built


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
