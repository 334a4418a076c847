"""Alerts fire once: decided with the usage that causes them, whoever writes, whatever changes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis
from tests.shop import NOW, OPERATOR, event, key_of, make_company, rows

from secretaria.bootstrap import Application
from secretaria.core.access import Scope
from secretaria.embedded.servers import Endpoints
from secretaria.services import alerts, crossings
from secretaria.services.ingest import IngestService
from secretaria.store import companies
from secretaria.store.database import Database, transaction
from secretaria.store.live import Live
from secretaria.store.partitions import ensure_months

pytestmark = pytest.mark.anyio

WRITERS = 16
PERIODS = 200
FIRED = (
    "SELECT metric, threshold, episode, resolved_at IS NOT NULL FROM alerts WHERE company_id = %s "
    "AND kind = 'limit' ORDER BY alert_id"
)


def make_plan(
    url: str,
    company_id: int,
    *,
    messages: int | None = None,
    tokens: int | None = None,
    cost: str | None = None,
    thresholds: tuple[int, ...] = (80, 100),
    since: date = date(2026, 1, 1),
) -> None:
    """Give a company a plan of its own, straight in the database, as if it had always had it."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "INSERT INTO plans (name, currency, created_at) VALUES (gen_random_uuid()::text, 'BRL', now()) RETURNING plan_id"
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO plan_limits (plan_id, effective_from, messages, tokens, cost, thresholds, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, now())",
            (row[0], since, messages, tokens, cost and Decimal(cost), list(thresholds)),
        )
        connection.execute(
            "INSERT INTO company_plans (company_id, plan_id, effective_from, created_at) VALUES (%s, %s, %s, now())",
            (company_id, row[0], since),
        )


async def change_plan(database: Database, company_id: int, url: str, **limits: Any) -> None:
    """Change the plan the way a service does: under the head's lock, decided in the same transaction."""
    async with transaction(database.operator) as connection:
        await companies.lock_heads(connection, [company_id])
        await asyncio.to_thread(make_plan, url, company_id, **limits)
        await companies.raise_versions(connection, [company_id])
        await crossings.settings_changed(connection, [company_id], now=NOW)


@pytest.fixture
async def ingest(endpoints: Endpoints) -> AsyncIterator[IngestService]:
    async with running(endpoints) as service:
        yield service


@asynccontextmanager
async def running(endpoints: Endpoints) -> AsyncIterator[IngestService]:
    """An ingest path with pools of its own, as another process would have."""
    database, live = Database.create(endpoints.database_url), Live(endpoints.redis_url)
    await database.open()
    service = IngestService(database, live)
    service.start()
    yield service
    await service.close()
    await live.close()
    await database.close()


async def send(service: IngestService, company_id: int, *events: Any, now: datetime = NOW) -> list[dict[str, Any]]:
    result, alerts = await service.submit_telling_alerts(key_of(company_id), list(enumerate(events)), now=now)
    assert not result.rejected
    return [{"metric": str(alert.metric), "threshold": alert.threshold, "used": alert.used} for alert in alerts]


def fired(endpoints: Endpoints, company_id: int) -> list[tuple[Any, ...]]:
    return rows(endpoints.admin_url, FIRED, company_id)


async def test_a_crossing_fires_in_the_transaction_of_the_event_that_caused_it(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10)
    assert await send(ingest, company, event("1", messages=7)) == []
    assert await send(ingest, company, event("2", messages=1)) == [{"metric": "messages", "threshold": 80, "used": 8}]
    assert await send(ingest, company, event("3", messages=1)) == []
    assert await send(ingest, company, event("4", messages=1)) == [{"metric": "messages", "threshold": 100, "used": 10}]
    assert await send(ingest, company, event("5", messages=100)) == []
    assert fired(endpoints, company) == [("messages", 80, 1, False), ("messages", 100, 1, False)]


async def test_a_jump_makes_both_and_each_metric_has_its_own(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10, tokens=1000)
    await send(ingest, company, event("1", messages=7, tokens_input=300, tokens_output=400))
    told = await send(ingest, company, event("2", messages=6, tokens_output=650))
    assert [(alert["metric"], alert["threshold"]) for alert in told] == [
        ("messages", 80), ("messages", 100), ("tokens", 80), ("tokens", 100),
    ]  # fmt: skip


async def test_a_company_without_a_plan_fires_nothing_and_is_asked_for_once(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    await send(ingest, company, event("1", messages=10**6))
    assert fired(endpoints, company) == []
    counters = "SELECT decided, messages_alert_at, cost_alert_at FROM period_counters WHERE company_id = %s"
    assert rows(endpoints.admin_url, counters, company) == [(True, None, None)]


async def test_a_cost_crossing_uses_the_exact_cost_and_computes_it_only_when_the_bound_is_reached(
    application: Application, endpoints, monkeypatch
) -> None:
    company = (await application.companies.create(OPERATOR, "Custo", timezone="America/Sao_Paulo", currency="BRL", now=NOW)).company_id
    make_plan(endpoints.admin_url, company, cost="10")  # a message is 0.05, the dearest card message 0.475
    rated: list[int] = []
    rate = crossings.rate

    def counting_rate(lines: Any, book: Any) -> Any:
        rated.append(1)
        return rate(lines, book)

    monkeypatch.setattr(crossings, "rate", counting_rate)
    told = []
    for number in range(200):
        told += await send(application.ingest, company, event(str(number), messages=1))
    assert [(alert["threshold"], alert["used"]) for alert in told] == [(80, Decimal("8.00")), (100, Decimal("10.00"))]
    assert len(rated) < 100, "most groups must not compute the cost"


async def test_a_correction_resolves_and_a_later_crossing_is_another_alert(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=100)
    await send(ingest, company, event("1", messages=78), event("2", messages=5))
    void = event("c1", type="usage.corrected", corrects={"source": "bot-1", "id": "2"}, messages=0)
    await send(ingest, company, void)
    assert fired(endpoints, company) == [("messages", 80, 1, True)]
    assert await send(ingest, company, event("3", messages=2)) == [{"metric": "messages", "threshold": 80, "used": 80}]
    assert fired(endpoints, company) == [("messages", 80, 1, True), ("messages", 80, 2, False)]


async def test_a_raised_limit_arms_again_and_a_lowered_one_fires_what_is_crossed(application, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=100)
    await send(application.ingest, company, event("1", messages=85))
    await change_plan(application.database, company, endpoints.admin_url, messages=200, since=date(2026, 1, 2))
    assert fired(endpoints, company) == [("messages", 80, 1, True)]
    assert await send(application.ingest, company, event("2", messages=75)) == [
        {"metric": "messages", "threshold": 80, "used": 160}
    ]
    await change_plan(application.database, company, endpoints.admin_url, messages=150, since=date(2026, 1, 3))
    assert fired(endpoints, company) == [
        ("messages", 80, 1, True), ("messages", 80, 1, False), ("messages", 100, 1, False),
    ]  # fmt: skip


async def test_late_usage_crosses_in_its_own_month(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url, timezone="UTC")
    make_plan(endpoints.admin_url, company, messages=10)
    month_start = NOW.replace(day=1, hour=12)
    late = month_start - timedelta(days=1) if NOW - month_start < timedelta(days=33) else NOW
    await send(ingest, company, event("1", messages=9), event("2", messages=9, time=late))
    starts = rows(endpoints.admin_url, "SELECT period_start FROM alerts WHERE company_id = %s ORDER BY 1", company)
    assert len({start for (start,) in starts}) == len(starts) == 2


async def test_16_writers_over_200_contended_periods_fire_each_line_exactly_once(endpoints: Endpoints) -> None:
    of = [make_company(endpoints.admin_url, f"Empresa {number}") for number in range(PERIODS)]
    for company in of:
        make_plan(endpoints.admin_url, company, messages=50)
    operator = OPERATOR

    async def write(service: IngestService, writer: int) -> None:
        dice = random.Random(writer)
        for turn in range(5):
            events = [event(f"{writer}-{turn}", subject=company) for company in of]
            dice.shuffle(events)
            await service.submit(operator, list(enumerate(events)), now=NOW)
            if turn == 2 and writer == 0:
                with redis.Redis.from_url(endpoints.redis_url) as client:
                    client.flushall()

    async with running(endpoints) as one, running(endpoints) as two, running(endpoints) as three, running(endpoints) as four:
        services = [one, two, three, four]
        await asyncio.gather(*(write(services[writer % 4], writer) for writer in range(WRITERS)))
    counts = rows(
        endpoints.admin_url,
        "SELECT threshold, count(*), count(DISTINCT company_id), min(used)::int, max(used)::int FROM alerts GROUP BY 1 ORDER BY 1",
    )
    assert [(threshold, alerts, companies) for threshold, alerts, companies, *_ in counts] == [
        (80, PERIODS, PERIODS), (100, PERIODS, PERIODS),
    ]  # fmt: skip
    assert rows(endpoints.admin_url, "SELECT DISTINCT messages_outbound FROM period_counters") == [(WRITERS * 5,)]


async def test_the_sweeper_finds_nothing_in_normal_running(application: Application, endpoints: Endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10)
    await send(application.ingest, company, event("1", messages=12))
    swept = await application.alerts.sweep(NOW)
    assert (swept.decided, swept.checked, swept.missed) == (0, 1, 0)
    assert (await application.alerts.sweep(NOW + timedelta(minutes=11))).checked == 0, "nothing moved since"


async def test_the_sweeper_fires_a_crossing_that_was_missed(application: Application, endpoints: Endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10)
    await send(application.ingest, company, event("1", messages=1))
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute("UPDATE period_counters SET messages_alert_at = NULL")
    await send(application.ingest, company, event("2", messages=12))
    assert fired(endpoints, company) == []
    assert (await application.alerts.sweep(NOW)).missed == 2
    assert len(fired(endpoints, company)) == 2


async def test_a_plan_that_begins_later_is_held_from_that_day_on(application: Application, endpoints: Endpoints) -> None:
    company = make_company(endpoints.admin_url, timezone="UTC")
    noon = NOW.replace(day=10, hour=12)
    tomorrow = noon + timedelta(days=1)
    make_plan(endpoints.admin_url, company, messages=100, since=noon.date())
    make_plan(endpoints.admin_url, company, messages=10, since=tomorrow.date())
    await send(application.ingest, company, event("1", messages=12, time=noon), now=noon)
    assert (await application.alerts.sweep(noon)).decided == 0
    assert fired(endpoints, company) == []
    assert (await application.alerts.sweep(tomorrow)).decided == 1
    assert [threshold for _, threshold, *_ in fired(endpoints, company)] == [80, 100]
    assert (await application.alerts.sweep(tomorrow)).decided == 0


async def test_what_has_no_price_fires_once_and_is_resolved_by_a_price(application: Application, endpoints: Endpoints) -> None:
    company = make_company(endpoints.admin_url)
    await send(application.ingest, company, event("1", messages=3))
    await application.alerts.sweep(NOW)
    await send(application.ingest, company, event("2", messages=3))
    await application.alerts.sweep(NOW + timedelta(minutes=11))
    kinds = "SELECT kind, metric, used::int, resolved_at IS NOT NULL FROM alerts ORDER BY alert_id"
    assert rows(endpoints.admin_url, kinds) == [("not_priced", "messages", 3, False)]
    await application.companies.sync_prices(NOW)
    assert rows(endpoints.admin_url, kinds) == [("not_priced", "messages", 3, True)]


async def test_two_transactions_that_each_see_one_below_the_line_do_not_both_stay_silent(endpoints: Endpoints) -> None:
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=84, thresholds=(100,))
    async with running(endpoints) as one, running(endpoints) as two:
        await send(one, company, event("0", messages=82))
        await asyncio.gather(send(one, company, event("1", messages=1)), send(two, company, event("2", messages=1)))
    assert fired(endpoints, company) == [("messages", 100, 1, False)]


async def test_acknowledging_keeps_the_first_who_did(application: Application, endpoints: Endpoints) -> None:
    company, other = make_company(endpoints.admin_url), make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10)
    await send(application.ingest, company, event("1", messages=8))
    ((alert_id,),) = rows(endpoints.admin_url, "SELECT alert_id FROM alerts")
    reader = key_of(company, Scope.ANALYTICS_READ)
    first = await application.alerts.acknowledge(reader, company, alert_id, datetime.now(UTC))
    again = await application.alerts.acknowledge(OPERATOR, company, alert_id, datetime.now(UTC))
    assert (again.acknowledged_at, again.acknowledged_by) == (first.acknowledged_at, "test")
    stranger = key_of(other, Scope.ANALYTICS_READ)
    with pytest.raises(Exception, match="no such"):
        await application.alerts.acknowledge(stranger, company, alert_id, datetime.now(UTC))
    with pytest.raises(Exception, match="no such alert"):
        await application.alerts.acknowledge(stranger, other, alert_id, datetime.now(UTC))


# --- who decides first, after a change of settings -------------------------------------------------------------------

LIMITS = (
    "SELECT threshold, limit_amount::int, resolved_at IS NOT NULL FROM alerts WHERE company_id = %s "
    "AND kind = 'limit' ORDER BY alert_id"
)


async def test_usage_that_decides_first_after_a_change_of_many_companies_resolves_what_it_ended(
    application: Application, endpoints: Endpoints, monkeypatch
) -> None:
    monkeypatch.setattr(crossings, "DECIDED_AT_ONCE_MAX", 0)
    company = make_company(endpoints.admin_url)
    make_plan(endpoints.admin_url, company, messages=10)
    await send(application.ingest, company, event("1", messages=10))
    await change_plan(application.database, company, endpoints.admin_url, messages=1000, since=date(2026, 1, 2))
    await send(application.ingest, company, event("2", messages=1))
    assert rows(endpoints.admin_url, LIMITS, company) == [(80, 10, True), (100, 10, True)]
    assert await send(application.ingest, company, event("3", messages=900)) == [
        {"metric": "messages", "threshold": 80, "used": 911}
    ]


async def test_usage_on_the_day_another_limit_begins_leaves_it_to_the_sweeper_to_resolve(
    application: Application, endpoints: Endpoints
) -> None:
    company = make_company(endpoints.admin_url, timezone="UTC")
    noon = NOW.replace(day=10, hour=12)
    tomorrow = noon + timedelta(days=1)
    make_plan(endpoints.admin_url, company, messages=10)
    make_plan(endpoints.admin_url, company, messages=1000, since=tomorrow.date())
    await send(application.ingest, company, event("1", messages=9, time=noon), now=noon)
    await send(application.ingest, company, event("2", messages=1, time=tomorrow), now=tomorrow)
    assert (await application.alerts.sweep(tomorrow)).decided == 1
    assert rows(endpoints.admin_url, LIMITS, company) == [(80, 10, True)]
    assert await send(application.ingest, company, event("3", messages=900, time=tomorrow), now=tomorrow) == [
        {"metric": "messages", "threshold": 80, "used": 910}
    ]


async def test_the_sweeper_calls_nothing_missed_that_waits_to_be_decided(
    application: Application, endpoints: Endpoints, monkeypatch
) -> None:
    monkeypatch.setattr(crossings, "DECIDED_AT_ONCE_MAX", 0)
    monkeypatch.setattr(alerts, "SWEEP_COMPANIES_MAX", 2)
    monkeypatch.setattr(alerts, "SWEEP_PASSES_MAX", 1)
    of = [make_company(endpoints.admin_url, f"Empresa {number}") for number in range(6)]
    for company in of:
        make_plan(endpoints.admin_url, company, messages=100)
        await send(application.ingest, company, event("1", messages=85))
        await change_plan(application.database, company, endpoints.admin_url, messages=90, since=date(2026, 1, 2))
    for minute in range(4):
        swept = await application.alerts.sweep(NOW + timedelta(minutes=minute))
        assert swept.missed == 0
    for company in of:
        assert rows(endpoints.admin_url, LIMITS, company) == [(80, 100, False)]
        await change_plan(application.database, company, endpoints.admin_url, messages=1000, since=date(2026, 1, 3))
    for minute in range(4):
        assert (await application.alerts.sweep(NOW + timedelta(minutes=20 + minute))).missed == 0
    assert [rows(endpoints.admin_url, LIMITS, company) for company in of] == [[(80, 100, True)]] * 6


async def test_a_sweep_decides_more_than_one_pass_reads(application: Application, endpoints: Endpoints, monkeypatch) -> None:
    monkeypatch.setattr(crossings, "DECIDED_AT_ONCE_MAX", 0)
    monkeypatch.setattr(alerts, "SWEEP_COMPANIES_MAX", 2)
    of = [make_company(endpoints.admin_url, f"Empresa {number}") for number in range(5)]
    for company in of:
        make_plan(endpoints.admin_url, company, messages=100)
        await send(application.ingest, company, event("1", messages=85))
        await change_plan(application.database, company, endpoints.admin_url, messages=1000, since=date(2026, 1, 2))
    swept = await application.alerts.sweep(NOW)
    assert (swept.decided, swept.missed) == (5, 0)
    assert [rows(endpoints.admin_url, LIMITS, company) for company in of] == [[(80, 100, True)]] * 5
    again = await application.alerts.sweep(NOW + timedelta(minutes=11))
    assert (again.decided, again.checked, again.missed) == (0, 0, 0), "nothing moved since"


async def test_a_first_price_resolves_what_had_none_in_earlier_months_too(
    application: Application, endpoints: Endpoints
) -> None:
    company = make_company(endpoints.admin_url, timezone="UTC")
    before = (NOW.replace(day=1) - timedelta(days=70)).replace(hour=12)
    ensure_months(endpoints.owner_url, before.date(), before.date())
    await send(application.ingest, company, event("1", messages=3, time=before), now=before)
    await application.alerts.sweep(before)
    await application.companies.sync_prices(NOW)
    kinds = "SELECT kind, used::int, resolved_at IS NOT NULL FROM alerts"
    assert rows(endpoints.admin_url, kinds) == [("not_priced", 3, True)]


async def test_a_correction_that_voids_what_had_no_price_resolves_its_alert(
    application: Application, endpoints: Endpoints
) -> None:
    company = make_company(endpoints.admin_url)
    await send(application.ingest, company, event("1", messages=3))
    await application.alerts.sweep(NOW)
    void = event("c1", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=0)
    await send(application.ingest, company, void)
    assert rows(endpoints.admin_url, "SELECT kind, resolved_at IS NOT NULL FROM alerts") == [("not_priced", True)]


async def test_a_company_whose_head_is_held_keeps_the_sweeper_from_no_other(
    application: Application, endpoints: Endpoints
) -> None:
    held, other = make_company(endpoints.admin_url), make_company(endpoints.admin_url)
    for company in (held, other):
        make_plan(endpoints.admin_url, company, messages=10)
        await send(application.ingest, company, event("1", messages=1))
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute("UPDATE period_counters SET decided = false")
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute("SELECT FROM company_heads WHERE company_id = %s FOR NO KEY UPDATE", (held,))
        assert (await application.alerts.sweep(NOW)).decided == 1
        undecided = "SELECT company_id FROM period_counters WHERE NOT decided"
        assert rows(endpoints.admin_url, undecided) == [(held,)]
    assert (await application.alerts.sweep(NOW)).decided == 1
