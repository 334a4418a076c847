"""Meta's figures, pulled from a real server: kept as they came, marked stale when it fails, and never another's."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from tests.shop import OPERATOR, rows

from secretaria.bootstrap import Application
from secretaria.core.meta_cost import CostSource, reconcile
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.fake_graph import (
    AD_ACCOUNT_ID,
    PHONE_NUMBER_ID,
    WABA_ID,
    FakeGraph,
    Fault,
    Number,
    World,
    point,
)
from secretaria.outbound.meta_graph import MetaGraph
from secretaria.services import meta
from secretaria.services.integrations import IntegrationService
from secretaria.services.meta import MetaService
from secretaria.services.meta_figures import MetaAccount, read_account
from secretaria.store.database import transaction
from secretaria.store.integrations import Part, State

pytestmark = pytest.mark.anyio

TOKEN = "EAAtestcanary0123456789"
PHONE = "5511988880001"
# 12:10 in São Paulo, a Friday.
NOW = datetime(2026, 11, 20, 15, 10, tzinfo=UTC)
TODAY = date(2026, 11, 20)
FIRST = TODAY - timedelta(days=31)
EVERYTHING = {"access_token": TOKEN, "waba_id": WABA_ID, "ad_account_id": AD_ACCOUNT_ID}


@pytest.fixture
def fake() -> Iterator[FakeGraph]:
    with FakeGraph() as graph:
        graph.world.points = figures(UTILITY="0.50", MARKETING="2.00")
        graph.world.spend = {TODAY: "7.25", TODAY - timedelta(days=1): "4.00"}
        yield graph


@pytest.fixture
async def connections(application: Application) -> IntegrationService:
    return IntegrationService(application.database, application.settings)


@pytest.fixture
async def service(application: Application, connections: IntegrationService, fake: FakeGraph) -> Any:
    made = MetaService(application.database, connections, MetaGraph(fake.url))
    yield made
    await made.close()


@pytest.fixture
async def company_id(application: Application, connections: IntegrationService) -> int:
    made = await application.companies.create(OPERATOR, "Clínica", now=NOW - timedelta(days=60))
    await connections.put(OPERATOR, made.company_id, EVERYTHING, NOW)
    return made.company_id


def figures(**a_day: str) -> Any:
    """Every UTC noon a point of each category, whatever is asked for: 12:00 UTC is 09:00 in São Paulo."""

    def points(start: int, end: int) -> Iterator[dict[str, Any]]:
        noon = start - start % 86_400 + 43_200
        for begin in range(noon if noon >= start else noon + 86_400, end, 86_400):
            for category, cost in a_day.items():
                yield point(begin, PHONE, category, 10, cost=Decimal(cost))

    return points


async def account(
    application: Application, company_id: int, now: datetime = NOW, *, is_only_account: bool = True
) -> MetaAccount:
    async with transaction(application.database.door, company_id=company_id) as connection:
        return await read_account(
            connection,
            company_id,
            PHONE_NUMBER_ID,
            first=FIRST,
            last=TODAY,
            currency="BRL",
            is_only_account=is_only_account,
            now=now,
        )


async def test_the_first_pull_reaches_back_a_month_and_the_next_one_three_days(
    service: MetaService, company_id: int, fake: FakeGraph, endpoints: Endpoints
) -> None:
    assert await service.sync(company_id, NOW) == {Part.MESSAGES: State.OK, Part.PROFILE: State.OK, Part.ADS: State.OK}
    asked = "SELECT min(day), max(day), count(DISTINCT day) FROM meta_costs WHERE source = 'messages'"
    assert rows(endpoints.admin_url, asked) == [(FIRST, TODAY, 32)]
    fake.seen.clear()
    await service.sync(company_id, NOW + timedelta(minutes=15))
    since = [one.query["time_range"] for one in fake.seen if one.path.endswith("/insights")]
    assert since == ['{"since": "2026-11-17", "until": "2026-11-20"}']
    start = [one.query["fields"] for one in fake.seen if one.query.get("fields", "").startswith("pricing_analytics")]
    midnight = int(datetime(2026, 11, 17, 3, tzinfo=UTC).timestamp())
    assert [field.startswith(f"pricing_analytics.start({midnight})") for field in start] == [True]


async def test_after_a_silence_what_was_not_pulled_whole_is_pulled_again(
    service: MetaService, company_id: int, fake: FakeGraph
) -> None:
    await service.sync(company_id, NOW)
    fake.seen.clear()
    await service.sync(company_id, NOW + timedelta(days=9))
    since = [one.query["time_range"] for one in fake.seen if one.path.endswith("/insights")]
    assert since == ['{"since": "2026-11-20", "until": "2026-11-29"}']


async def test_figures_are_converted_at_the_days_rate_and_replace_past_days_only(
    service: MetaService, company_id: int, application: Application
) -> None:
    await service.sync(company_id, NOW)
    found = await account(application, company_id)
    yesterday = TODAY - timedelta(days=1)
    past = reconcile(yesterday, {"UTILITY": Decimal("2.70")}, found.days[yesterday], today=TODAY, choice=found.choice)
    assert (past.total, past.cost_source) == (Decimal("12.50"), CostSource.META)
    assert [(line.category, line.estimated, line.amount) for line in past.lines] == [
        ("MARKETING", Decimal(0), Decimal("10.00")),
        ("UTILITY", Decimal("2.70"), Decimal("2.50")),
    ]
    rate = found.days[yesterday].categories["UTILITY"].rate
    assert rate is not None
    assert (rate.base, rate.quote, rate.rate, rate.source) == ("USD", "BRL", Decimal("5.00"), "USD_TO_BRL")
    now = reconcile(TODAY, {"UTILITY": Decimal("2.70")}, found.days[TODAY], today=TODAY, choice=found.choice)
    assert (now.total, now.cost_source) == (Decimal("2.70"), CostSource.ESTIMATED)
    assert now.ads is not None
    assert (now.ads.amount, now.ads.converted, now.ads_are_total) == (Decimal("7.25"), Decimal("36.25"), False)
    assert (found.as_of, found.stale_since, found.reconnect) == (NOW, None, False)


async def test_the_operators_choices_decide_today(
    service: MetaService, company_id: int, application: Application, connections: IntegrationService
) -> None:
    ours = {"UTILITY": Decimal("2.70"), "SERVICE": Decimal("1.00")}
    for change, total, source in (
        ({"today_source": "meta"}, "13.50", CostSource.MIXED),
        ({"total_source": "ads"}, "36.25", CostSource.META),
    ):
        await connections.put(OPERATOR, company_id, change, NOW)
        await service.sync(company_id, NOW)
        found = await account(application, company_id)
        day = reconcile(TODAY, ours, found.days[TODAY], today=TODAY, choice=found.choice)
        assert (day.total, day.cost_source) == (Decimal(total), source)
    # Of two accounts neither owns the ad spend.
    found = await account(application, company_id, is_only_account=False)
    assert not reconcile(TODAY, ours, found.days[TODAY], today=TODAY, choice=found.choice).ads_are_total


async def test_a_half_hour_belongs_to_the_companys_day(
    service: MetaService, application: Application, connections: IntegrationService, fake: FakeGraph, endpoints: Endpoints
) -> None:
    made = await application.companies.create(OPERATOR, "Delhi", timezone="Asia/Kolkata", now=NOW - timedelta(days=60))
    midnight = int(datetime(2026, 11, 18, 18, 30, tzinfo=UTC).timestamp())  # 00:00 on the 19th in Kolkata

    def points(start: int, end: int) -> Iterator[dict[str, Any]]:
        for begin in (midnight - 1_800, midnight):
            if start <= begin < end:
                yield point(begin, PHONE, "UTILITY", 1, cost=Decimal("0.01"))

    fake.world.points = points
    await connections.put(OPERATOR, made.company_id, EVERYTHING, NOW)
    await service.sync(made.company_id, NOW)
    found = rows(endpoints.admin_url, "SELECT day, volume FROM meta_costs WHERE source = 'messages' ORDER BY day")
    assert found == [(date(2026, 11, 18), 1), (date(2026, 11, 19), 1)]


async def test_what_meta_said_before_stays_and_the_newest_counts(
    service: MetaService, company_id: int, fake: FakeGraph, application: Application, endpoints: Endpoints
) -> None:
    await service.sync(company_id, NOW)
    count = "SELECT count(*) FROM meta_costs"
    version = "SELECT version FROM company_heads"
    (before,), (seen,) = rows(endpoints.admin_url, count)[0], rows(endpoints.admin_url, version)[0]
    await service.sync(company_id, NOW + timedelta(minutes=15))
    assert rows(endpoints.admin_url, count) == [(before,)]
    assert rows(endpoints.admin_url, version) == [(seen,)]
    fake.world.points = figures(UTILITY="0.60")
    await service.sync(company_id, NOW + timedelta(minutes=30))
    # Four days: UTILITY changed, MARKETING gone.
    assert rows(endpoints.admin_url, count) == [(before + 8,)]
    assert rows(endpoints.admin_url, version) == [(seen + 1,)]
    said = (await account(application, company_id)).days[TODAY].categories
    assert {name: one.amount for name, one in said.items()} == {"MARKETING": Decimal(0), "UTILITY": Decimal("0.60")}
    with psycopg.connect(endpoints.database_url, options="-c role=secretaria_operator") as connection:
        assert connection.execute("DELETE FROM meta_costs").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE meta_costs SET amount = 0")


@pytest.mark.parametrize(
    ("fault", "state", "wait"),
    [
        (Fault.LIMITED, State.BACKING_OFF, timedelta(minutes=19)),
        (Fault.BROKEN, State.BACKING_OFF, timedelta(minutes=1)),
        (Fault.HTML, State.BACKING_OFF, timedelta(minutes=1)),
        (Fault.UNKNOWN_ID, State.REFUSED, timedelta(hours=6)),
        (Fault.EXPIRED, State.RECONNECT, None),
        (Fault.FORBIDDEN, State.RECONNECT, None),
    ],
)
async def test_when_meta_fails_the_figures_stay_and_say_since_when_they_are_stale(
    service: MetaService,
    company_id: int,
    fake: FakeGraph,
    application: Application,
    connections: IntegrationService,
    fault: Fault,
    state: State,
    wait: timedelta | None,
) -> None:
    await service.sync(company_id, NOW)
    before = await account(application, company_id)
    fake.world.faults["*"] = fault
    later = NOW + timedelta(minutes=15)
    assert set((await service.sync(company_id, later)).values()) == {state}
    after = await account(application, company_id, later)
    assert after.days == before.days
    assert after.stale_since == NOW
    assert after.reconnect == (state is State.RECONNECT)
    shown = await connections.get(OPERATOR, company_id)
    assert {part.next_attempt_at for part in shown.parts} == {None if wait is None else later + wait}
    fake.world.faults.clear()
    await service.sync(company_id, later + timedelta(hours=1))
    assert (await account(application, company_id, later + timedelta(hours=1))).stale_since is None


async def test_waits_double_and_end_with_the_first_success(
    service: MetaService, company_id: int, fake: FakeGraph, connections: IntegrationService
) -> None:
    fake.world.faults["*"] = Fault.BROKEN
    now, waits = NOW, []
    for _ in range(12):
        await service.sync(company_id, now)
        due = (await connections.get(OPERATOR, company_id)).parts[0].next_attempt_at
        assert due is not None
        waits.append((due - now) // timedelta(minutes=1))
        now = due
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]
    fake.world.faults.clear()
    await service.sync(company_id, now)
    part = (await connections.get(OPERATOR, company_id)).parts[0]
    assert (part.failures, part.next_attempt_at) == (0, now + timedelta(minutes=15))


async def test_a_part_without_permission_does_not_hold_up_the_others_but_a_dead_token_does(
    service: MetaService, company_id: int, fake: FakeGraph
) -> None:
    fake.world.faults["insights"] = Fault.FORBIDDEN
    states = await service.sync(company_id, NOW)
    assert states == {Part.MESSAGES: State.OK, Part.PROFILE: State.OK, Part.ADS: State.RECONNECT}
    fake.world.faults = {"waba": Fault.EXPIRED}
    fake.seen.clear()
    assert set((await service.sync(company_id, NOW)).values()) == {State.RECONNECT}
    assert len(fake.seen) == 1


async def test_figures_nobody_renews_grow_stale_by_themselves(
    service: MetaService, company_id: int, application: Application
) -> None:
    await service.sync(company_id, NOW)
    assert (await account(application, company_id, NOW + timedelta(minutes=59))).stale_since is None
    assert (await account(application, company_id, NOW + timedelta(hours=1))).stale_since == NOW


async def test_the_account_shows_name_quality_and_picture_and_keeps_them_through_a_failure(
    service: MetaService, company_id: int, fake: FakeGraph, endpoints: Endpoints
) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency) VALUES (%s, %s, 'A', 'BRL')",
            (company_id, PHONE_NUMBER_ID),
        )
    shown = "SELECT display_name, quality_rating, waba_id, picture_type, length(picture) > 100 FROM whatsapp_accounts"
    await service.sync(company_id, NOW)
    first = ("Clínica Sorriso", "GREEN", WABA_ID, "image/png", True)
    assert rows(endpoints.admin_url, shown) == [first]
    fake.world.numbers = [Number(quality_rating="RED")]
    fake.world.faults["whatsapp_business_profile"] = Fault.BROKEN
    await service.sync(company_id, NOW + timedelta(days=2))
    assert rows(endpoints.admin_url, shown) == [(first[0], "RED", *first[2:])]
    pictures = [one for one in fake.seen if one.path == "/picture.png"]
    assert len(pictures) == 1
    fake.world.faults["whatsapp_business_profile"] = Fault.EMPTY
    await service.sync(company_id, NOW + timedelta(days=2, minutes=15))
    assert rows(endpoints.admin_url, shown) == [(first[0], "RED", WABA_ID, None, None)]


async def test_what_is_due_is_pulled_once_by_however_many_workers(
    service: MetaService, company_id: int, fake: FakeGraph
) -> None:
    asked = await asyncio.gather(*(service.sync_due(NOW) for _ in range(3)))
    assert sum(asked) >= 1
    assert len([one for one in fake.seen if one.path.endswith("/phone_numbers")]) == 1
    assert await service.sync_due(NOW + timedelta(minutes=14)) == 0
    assert await service.sync_due(NOW + timedelta(minutes=15)) == 1


async def test_a_slow_company_does_not_keep_the_others_waiting_for_ever(
    service: MetaService,
    company_id: int,
    application: Application,
    connections: IntegrationService,
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meta, "PASS_TIMEOUT_S", 0.6)
    await connections.put(OPERATOR, company_id, {"access_token": "EAAslowslowslow"}, NOW)
    other = await application.companies.create(OPERATOR, "Outra", now=NOW - timedelta(days=60))
    await connections.put(OPERATOR, other.company_id, {"access_token": TOKEN, "ad_account_id": AD_ACCOUNT_ID}, NOW)
    assert await service.sync_due(NOW) == 2
    states = "SELECT company_id, state FROM meta_sync ORDER BY company_id, part"
    assert rows(endpoints.admin_url, states) == [(company_id, "backing_off")] * 3 + [(other.company_id, "ok")]


async def test_an_answer_for_a_connection_that_was_changed_meanwhile_is_dropped(
    service: MetaService, company_id: int, connections: IntegrationService, endpoints: Endpoints
) -> None:
    pull = service._pull

    async def changing(*arguments: Any) -> Any:
        outcome = await pull(*arguments)
        await connections.put(OPERATOR, company_id, {"business_id": "42"}, NOW)
        return outcome

    service._pull = changing  # type: ignore[method-assign]
    assert await service.sync(company_id, NOW) == {}
    assert rows(endpoints.admin_url, "SELECT DISTINCT state FROM meta_sync") == [("waiting",)]
    assert rows(endpoints.admin_url, "SELECT count(*) FROM meta_costs") == [(0,)]


async def test_a_removed_connection_leaves_its_figures_and_nothing_else(
    service: MetaService, company_id: int, connections: IntegrationService, application: Application, endpoints: Endpoints
) -> None:
    await service.sync(company_id, NOW)
    await connections.remove(OPERATOR, company_id)
    await connections.remove(OPERATOR, company_id)
    for table in ("integrations", "meta_sync", "meta_profiles"):
        assert rows(endpoints.admin_url, f"SELECT count(*) FROM {table}") == [(0,)]
    assert rows(endpoints.admin_url, "SELECT count(*) > 0 FROM meta_costs") == [(True,)]
    assert await account(application, company_id) == MetaAccount()
    assert await service.sync(company_id, NOW) == {}


async def test_no_company_sees_anothers_figures(
    service: MetaService, company_id: int, application: Application
) -> None:
    await service.sync(company_id, NOW)
    other = await application.companies.create(OPERATOR, "Outra", now=NOW)
    async with transaction(application.database.door, company_id=other.company_id) as connection:
        for table in ("integrations", "meta_sync", "meta_days", "meta_costs", "meta_profiles"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
            assert await cursor.fetchone() == (0,)
    assert await account(application, other.company_id) == MetaAccount()


async def test_demo_companies_ask_the_made_up_graph_and_real_ones_never(
    application: Application, connections: IntegrationService, company_id: int, fake: FakeGraph, endpoints: Endpoints
) -> None:
    made = await application.companies.create(OPERATOR, "Demo", demo=True, now=NOW)
    await connections.put(OPERATOR, made.company_id, EVERYTHING, NOW)
    with FakeGraph(World(numbers=[Number(verified_name="Demo")])) as made_up:
        service = MetaService(application.database, connections, MetaGraph(fake.url), MetaGraph(made_up.url))
        assert set((await service.sync(made.company_id, NOW)).values()) == {State.OK}
        assert fake.seen == []
        made_up.seen.clear()
        assert set((await service.sync(company_id, NOW)).values()) == {State.OK}
        assert made_up.seen == []
        assert {check.outcome for check in await service.test(OPERATOR, made.company_id, NOW)} == {"ok"}
        await service.close()
    profile = "SELECT verified_name FROM meta_profiles ORDER BY company_id"
    assert rows(endpoints.admin_url, profile) == [("Clínica Sorriso",), ("Demo",)]


async def test_a_demo_company_never_asks_meta_itself(
    application: Application, connections: IntegrationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await application.companies.create(OPERATOR, "Demo", demo=True, now=NOW)
    await connections.put(OPERATOR, made.company_id, EVERYTHING, NOW)

    async def never(*_: object) -> None:
        pytest.fail("somebody asked")

    monkeypatch.setattr(MetaGraph, "_get", never)
    alone = MetaService(application.database, connections, MetaGraph("https://graph.facebook.com"))
    assert await alone.sync(made.company_id, NOW) == {}
    assert {check.outcome for check in await alone.test(OPERATOR, made.company_id, NOW)} == {"not_configured"}
    await alone.close()
