"""The demo goes the way of any other usage, and leaves nothing behind."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from tests.shop import event, rows

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import NotAuthenticated
from secretaria.core.plan import PlanTerms
from secretaria.services import demo
from secretaria.services.demo import DemoService
from secretaria.services.demo_plans import MONTH_DAYS_MIN, DemoPlan, DemoPlans, _terms
from secretaria.store.partitions import ensure_months

pytestmark = pytest.mark.anyio

COUNTS = "SELECT count(*), sum(messages)::bigint FROM usage_events"
TABLES_OF_COMPANIES = (
    "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' "
    "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
)


@pytest.fixture
def service(application: Application, monkeypatch: pytest.MonkeyPatch) -> DemoService:
    monkeypatch.setattr(demo, "HISTORY_DAYS", 3)
    return DemoService(
        application.database,
        access=application.access,
        companies=application.companies,
        ingest=application.ingest,
        ensure_month=lambda month: bool(ensure_months(application.endpoints.owner_url, month, month)),
        clock=application.clock,
        plans=DemoPlans(application.plans, application.analytics),
    )


def ignore(*_: object) -> None:
    pass


async def test_a_history_made_twice_is_made_once(service, endpoints):
    access = await service.prepare(None)
    accepted = await service.fill(None, ignore)
    assert accepted > 500
    (before,) = rows(endpoints.admin_url, COUNTS)
    assert before[0] == accepted
    again = await service.prepare(access)
    assert again == access
    assert await service.fill(None, ignore) < 50  # what has happened meanwhile
    assert len(await service.read_companies()) == 5


async def test_a_gap_is_filled_from_where_the_figures_end(service, application, endpoints):
    await service.prepare(None)
    now = application.clock()
    first = await service.fill(now - timedelta(hours=30), ignore)
    oldest = rows(endpoints.admin_url, "SELECT min(occurred_at) FROM usage_events")[0][0]
    assert first > 0
    assert oldest >= now - timedelta(hours=30)


async def test_progress_ends_at_the_whole(service):
    await service.prepare(None)
    seen: list[tuple[int, int]] = []
    await service.fill(None, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


async def test_demo_companies_are_priced_and_real_ones_stay_not_priced(service, application, monkeypatch):
    monkeypatch.delenv("BILLING_COST_PER_MESSAGE")
    monkeypatch.delenv("BILLING_COST_PER_THOUSAND_TOKENS")
    unset = application.settings.model_copy(
        update={"billing_cost_per_message": None, "billing_cost_per_thousand_tokens": None}
    )
    application.companies._settings = unset
    real = await application.companies.create(PROCESS, "Real", now=application.clock())
    access = await service.prepare(None)
    await service.fill(None, ignore)
    now = application.clock()
    await application.ingest.submit(PROCESS, [(0, event("1", subject=real.company_id, messages=2))], now=now)
    made_up = (await application.analytics.history(PROCESS, access.company_id, "week", now)).points
    assert all(point.not_priced.messages == 0 for point in made_up)
    summary = await application.analytics.summary(PROCESS, real.company_id, now)
    assert (summary.daily.cost, summary.daily.not_priced.messages) == (None, 2)


async def test_it_sends_live_traffic_until_it_is_stopped_or_removed(service, endpoints, monkeypatch):
    monkeypatch.setattr(demo, "LIVE_GAP_S", (0.001, 0.002))
    await service.prepare(None)
    sent = asyncio.Event()
    stopped = False

    def note(_: datetime) -> None:
        nonlocal stopped
        stopped = True
        sent.set()

    task = asyncio.create_task(service.send_live(lambda: stopped, note))
    async with asyncio.timeout(10):
        await sent.wait()
    assert rows(endpoints.admin_url, COUNTS)[0] == (1, 1)
    await service.remove(None)
    stopped = False
    async with asyncio.timeout(10):
        await task


async def test_removing_the_demo_leaves_no_row_of_it_but_the_audit_log_and_every_row_of_others(service, application, endpoints):
    real = await application.companies.create(PROCESS, "Clínica Sorriso", now=application.clock())
    await application.ingest.submit(
        PROCESS, [(0, event("1", subject=real.company_id, messages=2))], now=application.clock()
    )
    await application.access.create_api_key(PROCESS, real.company_id)
    tables = [name for (name,) in rows(endpoints.admin_url, TABLES_OF_COMPANIES)]
    count = {
        name: f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t WHERE company_id = %s"
        for name in tables
    }
    before = {name: rows(endpoints.admin_url, count[name], real.company_id) for name in tables}
    access = await service.prepare(None)
    await service.fill(None, ignore)
    await application.access.create_user(
        PROCESS, "member@example.com", role="member", company_id=access.company_id, password="correct horse"
    )
    await application.access.panel_token(PROCESS, "member@example.com")
    await application.reports.close(PROCESS, access.company_id, application.clock())
    removed = await service.remove(access)
    assert len(removed) == 5
    for company in removed:
        assert {
            name: rows(endpoints.admin_url, count[name], company.company_id)[0][0]
            for name in tables if not name.startswith("audit_")
        } == dict.fromkeys((name for name in tables if not name.startswith("audit_")), 0)
        assert (await application.audit.verify(PROCESS, company.company_id)).broken is None
    assert {name: rows(endpoints.admin_url, count[name], real.company_id) for name in tables} == before
    with pytest.raises(NotAuthenticated):
        await application.access.login(access.email, access.password, None, datetime.now(UTC))
    assert await service.remove(None) == []


async def test_a_demo_made_again_after_its_removal_has_a_login_that_works(service, application):
    first = await service.prepare(None)
    await service.remove(first)
    second = await service.prepare(None)
    assert second.email != first.email
    login = await application.access.login(second.email, second.password, None, application.clock())
    assert login.caller.is_operator
    caller = await application.access.authenticate(second.api_key, application.clock())
    assert caller.company_id == second.company_id


async def test_one_company_is_near_its_limits_one_past_them_and_one_has_room(service, application):
    await service.prepare(None)
    await service.fill(None, ignore)
    now = application.clock()
    expected = {
        "Clínica Sorriso (demo)": "warning",
        "Auto Peças Sul (demo)": "critical",
        "Escola Alfa (demo)": "normal",
    }
    if now.astimezone(ZoneInfo("America/Manaus")).day >= MONTH_DAYS_MIN:
        for wanted, company in await service.read_companies():
            summary = await application.analytics.summary(PROCESS, company.company_id, now)
            states = {limit.state for limit in summary.plan.limits} if summary.plan else set()
            assert states == ({expected[wanted.name]} if wanted.name in expected else set())
            levels = {alert.level for alert in summary.alerts if alert.kind == "limit"}
            assert levels == {
                "warning": {"warning"},
                "critical": {"warning", "critical"},
            }.get(expected.get(wanted.name, ""), set())


async def test_a_plan_chosen_by_people_stays_and_one_of_an_earlier_demo_is_used_again(service, application):
    access = await service.prepare(None)
    await service.fill(None, ignore)
    now = application.clock()
    await application.plans.assign(PROCESS, access.company_id, None, now=now)
    await service.fill(now, ignore)
    assert (await application.plans.history(PROCESS, access.company_id, now)).current.plan_id is None
    before = await application.plans.list(PROCESS, now=now)
    await service.remove(access)
    await service.prepare(None)
    await service.fill(None, ignore)
    after = await application.plans.list(PROCESS, now=now)
    assert [plan.name for plan in after] == [plan.name for plan in before]
    assert [plan.companies for plan in after] == [1, 1, 1]


def test_the_limits_of_a_young_month_are_those_of_five_days_of_the_last_week():
    block = SimpleNamespace(
        messages=SimpleNamespace(total=3), tokens=SimpleNamespace(total=0), cost=None,
        start=datetime(2026, 11, 4, tzinfo=UTC),
    )  # fmt: skip
    young = SimpleNamespace(current=block, daily=block)
    week = SimpleNamespace(messages=7000, tokens=70, cost="700.00")
    assert _terms(DemoPlan("x", 50), young, week) == PlanTerms(10_000, 100, Decimal(1000))
    block.start = datetime(2026, 11, 5, tzinfo=UTC)
    assert _terms(DemoPlan("x", 50), young, week) == PlanTerms(6, 1, Decimal(1))
