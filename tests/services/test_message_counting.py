"""Messages become sums: whatever the order, the repeats and the batches, the same rows; and the sums equal the facts."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.shop import event, key_of, make_company, rows

from secretaria.bootstrap import Application
from secretaria.core.event import Direction
from secretaria.core.whatsapp import Contact, MessageUpdate, Pricing, Status
from secretaria.embedded.servers import Endpoints
from secretaria.services.message_counting import CountedMessages, count_messages
from secretaria.store import events as events_store
from secretaria.store.database import transaction
from secretaria.store.recompute import recompute

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
T0 = NOW.replace(hour=15, minute=0, second=0, microsecond=0) - timedelta(days=3)  # noon in São Paulo
OUT, IN = Direction.OUTBOUND, Direction.INBOUND


def update(wamid: str, status: str, minutes: float = 0, **known: Any) -> MessageUpdate:
    direction = known.pop("direction", OUT)
    known.setdefault("account_id", 1)
    known.setdefault("country", "BR")
    return MessageUpdate(wamid, direction, Status(status), T0 + timedelta(minutes=minutes), **known)


def priced(category: str, kind: str = "regular") -> Pricing:
    return Pricing(category, kind)


async def count(application: Application, company_id: int, updates: Sequence[MessageUpdate]) -> CountedMessages:
    async with transaction(application.database.ingest) as connection:
        direct = await events_store.bypasses_row_level_security(connection)
        return await count_messages(connection, [(company_id, one) for one in updates], direct=direct, now=NOW)


def sums(admin_url: str, company_id: int) -> Counter[tuple[Any, ...]]:
    """{(day, direction, category, market, pricing type): messages} without what came to nothing."""
    found = rows(
        admin_url,
        "SELECT d.day, s.direction, s.category, s.market, s.pricing_type, sum(d.messages)::int FROM usage_daily d "
        "JOIN usage_series s USING (company_id, series_id) WHERE company_id = %s GROUP BY 1, 2, 3, 4, 5 "
        "HAVING sum(d.messages) <> 0",
        company_id,
    )
    return Counter({row[:5]: row[5] for row in found})


async def assert_sums_equal_facts(application: Application) -> None:
    async with transaction(application.database.operator) as connection:
        assert await recompute(connection, None) == []


@pytest.fixture
def admin_url(endpoints: Endpoints) -> str:
    assert endpoints.admin_url is not None
    return endpoints.admin_url


@pytest.fixture
def company_id(admin_url: str) -> int:
    return make_company(admin_url)


def day_of(at: datetime) -> date:
    return (at - timedelta(hours=3)).date()


async def test_a_message_counts_when_sent_moves_when_priced_and_goes_when_failed(
    application: Application, admin_url: str, company_id: int
) -> None:
    today = day_of(T0)
    await count(application, company_id, [update("A", "sent")])
    assert sums(admin_url, company_id) == {(today, "outbound", "OTHER", "BR", None): 1}
    await count(application, company_id, [update("A", "delivered", 1, pricing=priced("utility"))])
    assert sums(admin_url, company_id) == {(today, "outbound", "UTILITY", "BR", "regular"): 1}
    await count(application, company_id, [update("B", "sent", pricing=priced("marketing")), update("B", "failed", 2)])
    await count(application, company_id, [update("A", "failed", 3)])
    assert sums(admin_url, company_id) == {(today, "outbound", "UTILITY", "BR", "regular"): 1}
    await assert_sums_equal_facts(application)


async def test_a_repeated_report_changes_nothing(application: Application, admin_url: str, company_id: int) -> None:
    report = [update("A", "sent", pricing=priced("utility"))]
    first = await count(application, company_id, report)
    again = await count(application, company_id, report * 3)
    assert (first.changed, again.changed) == (frozenset({(company_id, "A")}), frozenset())
    assert rows(admin_url, "SELECT count(*) FROM usage_events") == [(1,)]


async def test_an_earlier_time_that_arrives_late_moves_the_message_to_its_day(
    application: Application, admin_url: str, company_id: int
) -> None:
    await count(application, company_id, [update("A", "read", 24 * 60, pricing=priced("utility"))])
    assert [key[0] for key in sums(admin_url, company_id)] == [day_of(T0) + timedelta(days=1)]
    await count(application, company_id, [update("A", "sent")])
    assert sums(admin_url, company_id) == {(day_of(T0), "outbound", "UTILITY", "BR", "regular"): 1}
    await assert_sums_equal_facts(application)


def random_reports(chance: random.Random) -> list[MessageUpdate]:
    """A handful of messages over three days with every kind of life."""
    found: list[MessageUpdate] = []
    for number in range(12):
        wamid, begin = f"wamid.{number}", chance.randrange(0, 3 * 24 * 60)
        contact = Contact(f"customer{number % 3}", "1234")
        if chance.random() < 0.35:
            found.append(update(wamid, "received", begin, direction=IN, contact=contact))
            continue
        category = chance.choice(["utility", "marketing", "authentication", "service"])
        for place, status in enumerate(chance.sample(["sent", "delivered", "read", "failed"], chance.randrange(1, 5))):
            pricing = priced(category) if chance.random() < 0.6 else None
            found.append(update(wamid, status, begin + 30 * place, contact=contact, pricing=pricing))
    return found


def oracle(reports: Sequence[MessageUpdate]) -> Counter[tuple[Any, ...]]:
    """Count by hand: no state, no sums, just the reports of each message read as a person would."""
    found: Counter[tuple[Any, ...]] = Counter()
    for wamid in {report.wamid for report in reports}:
        own = [report for report in reports if report.wamid == wamid]
        words = {report.status.value for report in own}
        day = day_of(min(report.at for report in own))
        if "received" in words:
            found[day, "inbound", None, "BR", None] += 1
        elif words & {"delivered", "read"} or ("sent" in words and "failed" not in words):
            prices = [report.pricing for report in own if report.pricing is not None]
            category = (prices[0].category or "").upper() if prices else "OTHER"
            found[day, "outbound", category, "BR", prices[0].type if prices else None] += 1
    return found


def answers(admin_url: str, company_id: int) -> list[tuple[Any, ...]]:
    return rows(
        admin_url, "SELECT sum(response_ms)::bigint, sum(response_count)::bigint FROM usage_daily WHERE company_id = %s",
        company_id,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_repeats_and_batches_end_in_the_same_sums_as_counting_by_hand(
    application: Application, admin_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    reports = random_reports(chance)
    timed = set()
    for _ in range(4):
        company_id = make_company(admin_url)
        arrivals = reports + chance.choices(reports, k=10)
        chance.shuffle(arrivals)
        while arrivals:
            size = chance.randrange(1, 8)
            await count(application, company_id, arrivals[:size])
            del arrivals[:size]
        assert sums(admin_url, company_id) == oracle(reports)
        timed.add(tuple(answers(admin_url, company_id)[0]))
    assert len(timed) == 1
    await assert_sums_equal_facts(application)


async def test_an_answer_is_timed_whichever_message_is_told_first(
    application: Application, admin_url: str
) -> None:
    customer = Contact("customer", "1234")
    reports = [
        update("Q1", "received", 0, direction=IN, contact=customer),
        update("Q2", "received", 4, direction=IN, contact=customer),
        update("A1", "sent", 5, contact=customer),
        update("A2", "sent", 6, contact=customer),
        update("X", "sent", 1, contact=Contact("someone else", "9999")),
    ]
    for order in (reports, reports[::-1], [*reports[2:], *reports[:2]]):
        company_id = make_company(admin_url)
        for report in order:
            await count(application, company_id, [report])
        assert answers(admin_url, company_id) == [(5 * 60_000, 1)]
    await assert_sums_equal_facts(application)


async def test_a_failed_answer_answers_nothing(application: Application, admin_url: str, company_id: int) -> None:
    customer = Contact("customer", "1234")
    await count(application, company_id, [
        update("Q", "received", 0, direction=IN, contact=customer), update("A1", "sent", 2, contact=customer),
        update("A2", "sent", 9, contact=customer),
    ])  # fmt: skip
    assert answers(admin_url, company_id) == [(2 * 60_000, 1)]
    await count(application, company_id, [update("A1", "failed", 3, contact=customer)])
    assert answers(admin_url, company_id) == [(9 * 60_000, 1)]
    await assert_sums_equal_facts(application)


BOT = {"direction": "outbound", "messages": 1, "tokens_input": 120, "wamid": "A", "category": "SERVICE"}


@pytest.mark.parametrize("bot_first", [True, False])
async def test_a_message_told_by_the_bot_and_by_meta_counts_once_with_the_bots_tokens(
    application: Application, admin_url: str, company_id: int, bot_first: bool
) -> None:
    async def tell_bot() -> None:
        told = event("bot-1", time=T0 + timedelta(seconds=1), response_ms=900, **BOT)
        await application.ingest.submit(key_of(company_id), [(0, told)], now=NOW)

    if bot_first:
        await tell_bot()
    await count(application, company_id, [update("A", "sent"), update("A", "delivered", 1, pricing=priced("utility"))])
    if not bot_first:
        await tell_bot()
    assert sums(admin_url, company_id) == {(day_of(T0), "outbound", "UTILITY", "BR", "regular"): 1}
    assert rows(admin_url, "SELECT sum(tokens_input)::int, sum(response_count)::int FROM usage_daily") == [(120, 1)]
    await assert_sums_equal_facts(application)


async def test_what_the_bot_said_of_the_category_holds_until_meta_says_its_own(
    application: Application, admin_url: str, company_id: int
) -> None:
    await application.ingest.submit(key_of(company_id), [(0, event("bot-1", time=T0, **BOT))], now=NOW)
    await count(application, company_id, [update("A", "sent")])
    assert sums(admin_url, company_id) == {(day_of(T0), "outbound", "SERVICE", "BR", None): 1}


async def test_a_bots_correction_leaves_alone_what_meta_counts(
    application: Application, admin_url: str, company_id: int
) -> None:
    await application.ingest.submit(key_of(company_id), [(0, event("bot-1", time=T0, **BOT))], now=NOW)
    await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
    corrected = event(
        "fix-1", type="usage.corrected", messages=1, tokens_input=500, corrects={"source": "bot-1", "id": "bot-1"}
    )
    result = await application.ingest.submit(key_of(company_id), [(0, corrected)], now=NOW)
    assert result.accepted == 1
    assert sums(admin_url, company_id) == {(day_of(T0), "outbound", "UTILITY", "BR", "regular"): 1}
    assert rows(admin_url, "SELECT sum(tokens_input)::int FROM usage_daily") == [(500,)]
    await assert_sums_equal_facts(application)


async def test_a_message_whose_row_is_gone_is_not_counted_again(
    application: Application, admin_url: str, company_id: int
) -> None:
    await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("DELETE FROM messages")
    again = await count(application, company_id, [update("A", "delivered", 1)])
    assert again.changed == frozenset()
    assert sum(sums(admin_url, company_id).values()) == 1


async def test_a_company_that_is_not_there_is_left_out(application: Application, company_id: int) -> None:
    counted = await count(application, company_id + 999, [update("A", "sent")])
    assert (counted.versions, counted.changed) == ({}, frozenset())


async def test_once_metas_webhook_counts_an_account_usage_events_add_tokens_only(
    application: Application, admin_url: str, company_id: int
) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency, messages_from) "
            "VALUES (%s, '1', 'Conta', 'BRL', %s)",
            (company_id, T0),
        )
    told = {"direction": "outbound", "messages": 1, "tokens_input": 10, "account_id": 1, "category": "UTILITY"}
    events = [
        event("before", time=T0 - timedelta(seconds=1), **told),
        event("after", time=T0, **told),
        event("after-2", time=T0, wamid="A", **told),
        event("other", time=T0, **(told | {"account_id": 2})),
    ]
    result = await application.ingest.submit(key_of(company_id), list(enumerate(events)), now=NOW)
    assert result.accepted == 4
    assert sum(sums(admin_url, company_id).values()) == 2
    assert rows(admin_url, "SELECT sum(tokens_input)::int FROM usage_daily") == [(40,)]
    assert rows(admin_url, "SELECT account_id, day, messages::int FROM usage_uncounted") == [(1, day_of(T0), 2)]
    await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
    assert sum(sums(admin_url, company_id).values()) == 3
    fix = event("fix-1", type="usage.corrected", messages=1, tokens_input=7, corrects={"source": "bot-1", "id": "after"})
    await application.ingest.submit(key_of(company_id), [(0, fix)], now=NOW)
    assert sum(sums(admin_url, company_id).values()) == 3
    await assert_sums_equal_facts(application)


async def test_the_event_that_counts_a_message_is_the_one_taken_over(
    application: Application, admin_url: str, company_id: int
) -> None:
    tokens = event("t-1", time=T0 - timedelta(days=1), direction="outbound", tokens_input=5, wamid="A")
    await application.ingest.submit(key_of(company_id), [(0, tokens)], now=NOW)
    await application.ingest.submit(key_of(company_id), [(0, event("bot-1", time=T0, **BOT))], now=NOW)
    await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
    assert sums(admin_url, company_id) == {(day_of(T0), "outbound", "UTILITY", "BR", "regular"): 1}
    await assert_sums_equal_facts(application)


@pytest.mark.parametrize("bot_first", [True, False])
async def test_a_message_has_one_response_time_the_bots_or_ours(
    application: Application, admin_url: str, company_id: int, bot_first: bool
) -> None:
    customer = Contact("customer", "1234")
    reports = [update("Q", "received", 0, direction=IN, contact=customer), update("A", "sent", 5, contact=customer)]
    told = event("bot-1", time=T0, response_ms=900, **BOT)
    if bot_first:
        await application.ingest.submit(key_of(company_id), [(0, told)], now=NOW)
    await count(application, company_id, reports)
    if not bot_first:
        await application.ingest.submit(key_of(company_id), [(0, told)], now=NOW)
    assert answers(admin_url, company_id) == [(900 if bot_first else 300_000, 1)]
    await count(application, company_id, [update("A", "failed", 6, contact=customer)])
    assert answers(admin_url, company_id) == [(900, 1) if bot_first else (0, 0)]
    await assert_sums_equal_facts(application)


async def test_a_batch_that_ends_in_an_error_leaves_nothing_and_the_next_counts_all(
    application: Application, admin_url: str, company_id: int
) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE period_counters ADD CONSTRAINT broken CHECK (messages_outbound < 0) NOT VALID")
        with pytest.raises(psycopg.errors.CheckViolation):
            await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
        assert rows(admin_url, "SELECT count(*) FROM messages") == [(0,)]
        connection.execute("ALTER TABLE period_counters DROP CONSTRAINT broken")
    await count(application, company_id, [update("A", "sent", pricing=priced("utility"))])
    assert sum(sums(admin_url, company_id).values()) == 1
    await assert_sums_equal_facts(application)


async def test_past_so_many_series_a_day_templates_fold_and_prices_do_not(
    application: Application, admin_url: str, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secretaria.services.message_counting.SERIES_A_DAY_MAX", 3)
    reports = [
        update(f"{category}{number}", "sent", template_id=number, pricing=priced(category))
        for category in ("utility", "marketing")
        for number in range(1, 5)
    ]
    for report in [*reports, *reports]:
        await count(application, company_id, [report])
    for report in reports:
        await count(application, company_id, [update(report.wamid, "delivered", 1)])
    today = day_of(T0)
    assert sums(admin_url, company_id) == {
        (today, "outbound", "UTILITY", "BR", "regular"): 4,
        (today, "outbound", "MARKETING", "BR", "regular"): 4,
    }
    folded_ones = "SELECT count(*) FROM usage_series WHERE cost_center = 'other' AND template_id IS NULL"
    assert rows(admin_url, folded_ones) == [(2,)]
    await assert_sums_equal_facts(application)
