"""Counted once, for ever, in the company's days; what fails, fails alone."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import psycopg
import pytest
from tests.shop import NOW, OPERATOR, event, key_of, make_company, rows

from secretaria.core.access import Scope
from secretaria.core.errors import NotAllowed, Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.services import counting
from secretaria.services import ingest as ingest_module
from secretaria.services.ingest import IngestResult, IngestService
from secretaria.store.database import Database

pytestmark = pytest.mark.anyio

TOTALS = "SELECT sum(messages)::int, sum(tokens_input)::int, sum(tokens_output)::int FROM usage_daily"


@pytest.fixture
async def ingest(endpoints: Endpoints) -> AsyncIterator[IngestService]:
    database = Database.create(endpoints.database_url)
    await database.open()
    service = IngestService(database, None)
    service.start()
    yield service
    await service.close()
    await database.close()


async def send(service: IngestService, caller, *events, now: datetime = NOW) -> IngestResult:
    return await service.submit(caller, list(enumerate(events)), now=now)


def codes(result: IngestResult) -> list[tuple[int, str]]:
    return [(rejection.index, rejection.code) for rejection in result.rejected]


async def test_an_event_is_stored_with_its_sums_hour_day_and_month(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    result = await send(
        ingest,
        key_of(company),
        event("1", messages=1, tokens_input=120, tokens_output=80, response_ms=850, model="gpt-4o"),
        event("2", messages=2, direction="inbound"),
    )
    assert (result.accepted, result.duplicates, result.rejected) == (2, 0, [])
    assert rows(endpoints.admin_url, TOTALS) == [(3, 120, 80)]
    assert rows(endpoints.admin_url, TOTALS.replace("usage_daily", "usage_hourly")) == [(3, 120, 80)]
    counters = "SELECT messages_inbound, messages_outbound, tokens_input, tokens_output FROM period_counters"
    assert rows(endpoints.admin_url, counters) == [(2, 1, 120, 80)]
    assert rows(endpoints.admin_url, "SELECT sum(response_ms)::int, sum(response_count)::int FROM usage_daily") == [
        (850, 1)
    ]


async def test_a_repeat_is_a_duplicate_in_the_same_batch_the_next_and_years_later(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    first = event("1", time=NOW)
    assert (await send(ingest, caller, first, first)).duplicates == 1
    assert (await send(ingest, caller, first)).duplicates == 1
    later = NOW + timedelta(days=1200)
    backfill = key_of(caller.company_id, Scope.USAGE_WRITE, Scope.USAGE_BACKFILL)
    assert (await send(ingest, backfill, first, now=later)).duplicates == 1
    assert rows(endpoints.admin_url, TOTALS) == [(1, 0, 0)]


async def test_the_same_id_with_other_content_is_told_and_changes_nothing(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    result = await send(ingest, caller, event("1", messages=1), event("1", messages=2), event("1", messages=1))
    assert (result.accepted, result.duplicates, codes(result)) == (1, 1, [(1, "id_conflict")])
    result = await send(ingest, caller, event("1", messages=2), event("1", messages=1))
    assert (result.accepted, result.duplicates, codes(result)) == (0, 1, [(0, "id_conflict")])
    assert rows(endpoints.admin_url, TOTALS) == [(1, 0, 0)]


async def test_the_same_id_of_another_source_or_company_is_another_event(ingest, endpoints) -> None:
    one, two = make_company(endpoints.admin_url), make_company(endpoints.admin_url)
    result = await send(
        ingest,
        OPERATOR,
        event("1", subject=one),
        event("1", subject=two),
        event("1", subject=one, source="bot-2"),
    )
    assert result.accepted == 3


async def test_a_few_repeats_among_new_ones_leave_exactly_the_new_ones(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    await send(ingest, caller, *(event(str(number)) for number in range(0, 300, 3)))
    for _ in range(2):
        result = await send(ingest, caller, *(event(str(number)) for number in range(300)))
    assert (result.accepted, result.duplicates) == (0, 300)
    assert rows(endpoints.admin_url, TOTALS) == [(300, 0, 0)]
    assert rows(endpoints.admin_url, "SELECT count(*)::int FROM usage_events") == [(300,)]


async def test_a_foreign_subject_refuses_the_whole_request_whether_or_not_it_exists(ingest, endpoints) -> None:
    own, other = make_company(endpoints.admin_url), make_company(endpoints.admin_url)
    for subject in (other, 999_999):
        with pytest.raises(NotAllowed, match="own company"):
            await send(ingest, key_of(own), event("1"), event("2", subject=subject))
    assert rows(endpoints.admin_url, "SELECT count(*)::int FROM usage_events") == [(0,)]


async def test_an_operator_names_the_company_and_an_unknown_one_is_rejected_alone(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    result = await send(
        ingest,
        OPERATOR,
        event("1"),
        event("2", subject=999_999),
        event("3", subject=company),
        event("4", subject="x"),
    )
    assert result.accepted == 1
    assert codes(result) == [(0, "subject_required"), (1, "company_not_found"), (3, "company_not_found")]


async def test_days_turn_at_the_companys_midnight(ingest, endpoints) -> None:
    base = (NOW - timedelta(days=3)).date()
    for timezone, offset in (("America/Sao_Paulo", "-03:00"), ("Asia/Kolkata", "+05:30"), ("Pacific/Apia", "+13:00")):
        company = make_company(endpoints.admin_url, timezone=timezone)
        tomorrow = base + timedelta(days=1)
        await send(
            ingest,
            key_of(company),
            event("late", time=f"{base}T23:59:59{offset}"),
            event("early", time=f"{tomorrow}T00:00:00{offset}"),
        )
        found = rows(endpoints.admin_url, "SELECT day, hour FROM usage_hourly WHERE company_id = %s ORDER BY 1", company)
        assert found == [(base, 23), (tomorrow, 0)]


async def test_times_outside_the_window_are_rejected_unless_the_key_may_backfill(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    result = await send(
        ingest,
        caller,
        event("1", time=NOW + timedelta(minutes=6)),
        event("2", time=NOW - timedelta(days=36)),
        event("3", time=NOW + timedelta(minutes=4)),
        event("4", time="9999-12-31T23:59:59-14:00"),
        event("5", time="0001-01-01T00:00:00+14:00"),
    )
    assert result.accepted == 1
    assert codes(result) == [
        (0, "timestamp_in_future"),
        (1, "timestamp_too_old"),
        (3, "timestamp_in_future"),
        (4, "timestamp_too_old"),
    ]
    backfill = key_of(caller.company_id, Scope.USAGE_WRITE, Scope.USAGE_BACKFILL)
    result = await send(
        ingest, backfill, event("6", time=NOW - timedelta(days=60)), event("7", time=NOW - timedelta(days=2000))
    )
    assert (result.accepted, codes(result)) == (1, [(1, "timestamp_too_old")])


async def test_a_key_without_the_scope_writes_nothing(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    with pytest.raises(NotAllowed) as refused:
        await send(ingest, key_of(company, Scope.ANALYTICS_READ), event("1"))
    assert refused.value.code == "scope_missing"


async def test_a_correction_replaces_quantities_on_the_originals_day_once(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    day = NOW - timedelta(days=5)
    await send(ingest, caller, event("1", time=day, messages=3, tokens_input=100, response_ms=900))
    fix = event("c1", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=1, tokens_input=40)
    assert (await send(ingest, caller, fix, fix)).duplicates == 1
    assert (await send(ingest, caller, fix)).duplicates == 1
    assert rows(endpoints.admin_url, TOTALS) == [(1, 40, 0)]
    assert rows(endpoints.admin_url, "SELECT count(DISTINCT day)::int, sum(response_count)::int FROM usage_daily") == [
        (1, 0)
    ]
    void = event("c2", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=0, tokens_input=0)
    assert (await send(ingest, caller, void)).accepted == 1
    assert rows(endpoints.admin_url, TOTALS) == [(0, 0, 0)]
    restore = event("c3", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=2)
    await send(ingest, caller, restore)
    assert rows(endpoints.admin_url, TOTALS) == [(2, 0, 0)]
    assert rows(endpoints.admin_url, "SELECT messages_outbound, tokens_input FROM period_counters") == [(2, 0)]


async def test_a_correction_may_arrive_in_the_same_batch_and_before_its_original(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    fix = event("c1", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=1)
    assert (await send(ingest, caller, fix, event("1", messages=5))).accepted == 2
    assert rows(endpoints.admin_url, TOTALS) == [(1, 0, 0)]


async def test_a_correction_of_nothing_or_of_a_correction_is_rejected_and_may_be_sent_again(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    other = key_of(make_company(endpoints.admin_url))
    fix = event("c1", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=1)
    assert codes(await send(ingest, caller, fix)) == [(0, "original_not_found")]
    await send(ingest, other, event("1", messages=5))
    assert codes(await send(ingest, caller, fix)) == [(0, "original_not_found")]
    await send(ingest, caller, event("1", messages=5))
    assert (await send(ingest, caller, fix)).accepted == 1
    again = event("c2", type="usage.corrected", corrects={"source": "bot-1", "id": "c1"}, messages=1)
    assert codes(await send(ingest, caller, again)) == [(0, "original_not_found")]
    turned = event(
        "c3", type="usage.corrected", corrects={"source": "bot-1", "id": "1"}, messages=1, direction="inbound"
    )
    assert codes(await send(ingest, caller, turned)) == [(0, "direction_mismatch")]


async def test_one_wamid_is_one_message_and_later_reports_add_only_what_lacked(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url))
    await send(ingest, caller, event("1", messages=1, wamid="wamid.A=="))
    result = await send(
        ingest,
        caller,
        event("2", messages=1, tokens_input=70, wamid="wamid.A==", source="bot-2"),
        event("3", messages=1, tokens_input=9, response_ms=500, wamid="wamid.A=="),
        event("4", messages=1, wamid="wamid.B=="),
        event("5", messages=1, wamid="wamid.B=="),
    )
    assert result.accepted == 4
    assert rows(endpoints.admin_url, TOTALS) == [(2, 70, 0)]
    assert rows(endpoints.admin_url, "SELECT sum(response_ms)::int, sum(response_count)::int FROM usage_daily") == [
        (500, 1)
    ]


async def test_two_writers_with_the_same_ids_in_opposite_order_never_deadlock(endpoints) -> None:
    companies = [make_company(endpoints.admin_url) for _ in range(5)]
    events = [event(str(number), subject=companies[number % 5]) for number in range(1_000)]
    databases = [Database.create(endpoints.database_url) for _ in range(2)]
    services = [IngestService(database, None) for database in databases]
    for database, service in zip(databases, services, strict=True):
        await database.open()
        service.start()
    try:
        for turn in range(40):
            fresh = [event(f"{turn}-{number}", subject=companies[number % 5]) for number in range(25)] + events
            one, two = await asyncio.gather(
                send(services[0], OPERATOR, *fresh), send(services[1], OPERATOR, *reversed(fresh))
            )
            assert one.accepted + two.accepted == (1_025 if turn == 0 else 25)
            assert one.rejected == two.rejected == []
    finally:
        for database, service in zip(databases, services, strict=True):
            await service.close()
            await database.close()
    assert rows(endpoints.admin_url, TOTALS) == [(1_000 + 40 * 25, 0, 0)]
    assert rows(endpoints.admin_url, "SELECT count(*)::int FROM event_identities") == [(1_000 + 40 * 25,)]


async def test_a_request_that_cannot_be_written_fails_alone(ingest, endpoints) -> None:
    caller = key_of(make_company(endpoints.admin_url), Scope.USAGE_WRITE, Scope.USAGE_BACKFILL)
    past = NOW - timedelta(days=70)
    assert (await send(ingest, caller, event("warm", time=past))).accepted == 1
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE usage_events_{past:%Y_%m}".encode())
    results = await asyncio.gather(
        send(ingest, caller, event("a")),
        send(ingest, caller, event("poison", time=past), event("with-poison")),
        send(ingest, caller, event("b"), event("c")),
        return_exceptions=True,
    )
    assert isinstance(results[0], IngestResult)
    assert results[0].accepted == 1
    assert isinstance(results[1], Unavailable)
    assert isinstance(results[2], IngestResult)
    assert results[2].accepted == 2
    found = {event_id for (event_id,) in rows(endpoints.admin_url, "SELECT event_id FROM usage_events")}
    assert found == {"a", "b", "c"}
    assert rows(endpoints.admin_url, "SELECT count(*)::int FROM event_identities") == [(4,)]


async def test_a_zone_change_made_elsewhere_is_seen_by_the_next_group(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    await send(ingest, key_of(company), event("1"))
    day = (NOW - timedelta(days=2)).date()
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO company_timezones (company_id, effective_from, timezone) VALUES (%s, '2001-01-01', 'Asia/Tokyo')",
            (company,),
        )
        connection.execute("UPDATE company_heads SET settings_version = settings_version + 1, version = version + 1")
    await send(ingest, key_of(company), event("2", time=f"{day}T00:30:00+09:00"))
    assert rows(endpoints.admin_url, "SELECT day, hour FROM usage_events WHERE event_id = '2'") == [(day, 0)]


async def test_past_the_limit_template_and_cost_centre_fold_but_prices_never(ingest, endpoints, monkeypatch) -> None:
    monkeypatch.setattr(counting, "SERIES_A_DAY_MAX", 5)
    caller = key_of(make_company(endpoints.admin_url))
    await send(ingest, caller, *(event(str(number), cost_center=f"team-{number}") for number in range(9)))
    await send(ingest, caller, *(event(f"m{number}", model=f"model-{number}") for number in range(3)))
    found = dict(
        rows(
            endpoints.admin_url,
            "SELECT coalesce(s.cost_center, s.model), d.messages::int FROM usage_daily d JOIN usage_series s "
            "USING (company_id, series_id)",
        )
    )
    assert sum(found.values()) == 12
    assert found["other"] == 4
    assert {"model-0", "model-1", "model-2"} <= found.keys()


async def test_a_role_without_bypassrls_counts_the_same(endpoints) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE walled NOLOGIN")
        connection.execute("GRANT walled TO secretaria WITH INHERIT FALSE, SET TRUE")
    try:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("ALTER ROLE secretaria_ingest NOBYPASSRLS")
        database = Database.create(endpoints.database_url)
        await database.open()
        service = IngestService(database, None)
        service.start()
        company = make_company(endpoints.admin_url)
        first = await send(service, key_of(company), event("1"), event("2", wamid="w"))
        second = await send(service, key_of(company), event("1"), event("3"))
        await service.close()
        await database.close()
    finally:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("ALTER ROLE secretaria_ingest BYPASSRLS")
            connection.execute("DROP OWNED BY walled")
            connection.execute("DROP ROLE walled")
    assert (first.accepted, second.accepted, second.duplicates) == (2, 1, 1)
    assert rows(endpoints.admin_url, TOTALS) == [(3, 0, 0)]


async def test_eight_clients_sending_everything_three_times_shuffled_count_each_event_once(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    chance = random.Random(7)
    events = [
        event(str(number), messages=number % 3, tokens_input=number + 1, time=NOW - timedelta(minutes=number * 7))
        for number in range(1_000)
    ]

    async def client() -> None:
        mine = events * 3
        chance.shuffle(mine)
        for begin in range(0, len(mine), 100):
            result = await send(ingest, key_of(company), *mine[begin : begin + 100])
            assert result.accepted + result.duplicates == 100

    await asyncio.gather(*(client() for _ in range(8)))
    assert rows(endpoints.admin_url, TOTALS) == [
        (sum(number % 3 for number in range(1_000)), sum(range(1_001)), 0)
    ]


async def test_a_full_queue_says_so_at_once(endpoints, monkeypatch) -> None:
    monkeypatch.setattr("secretaria.services.lane.QUEUE_EVENTS_MAX", 10)
    company = make_company(endpoints.admin_url)
    database = Database.create(endpoints.database_url)
    await database.open()
    service = IngestService(database, None)
    service.start()
    with pytest.raises(Unavailable) as refused:
        await send(service, key_of(company), *(event(str(number)) for number in range(11)))
    await service.close()
    await database.close()
    assert refused.value.code == "overloaded"


async def test_a_commit_whose_result_is_unknown_is_503_and_the_retry_says_duplicate(ingest, endpoints) -> None:
    company = make_company(endpoints.admin_url)
    await send(ingest, key_of(company), event("warm"))
    with psycopg.connect(endpoints.admin_url, autocommit=True) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT * FROM company_heads FOR UPDATE")
        waiting = asyncio.create_task(send(ingest, key_of(company), event("1")))
        while not rows(endpoints.admin_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        with psycopg.connect(endpoints.admin_url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        with pytest.raises(Unavailable):
            await waiting
        blocker.execute("ROLLBACK")
    for _ in range(20):
        try:
            result = await send(ingest, key_of(company), event("1"))
            break
        except Unavailable:
            await asyncio.sleep(0.1)
    assert result.accepted + result.duplicates == 1
    assert rows(endpoints.admin_url, TOTALS) == [(2, 0, 0)]


assert ingest_module.LANES >= 2
