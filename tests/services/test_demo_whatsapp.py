"""The demo's WhatsApp accounts are fed by signed webhooks, count each message once, and go with the demo."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from tests.shop import rows

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import NotFound, Unavailable
from secretaria.core.whatsapp import Status
from secretaria.inbound.whatsapp import signature_of
from secretaria.outbound.fake_graph import FakeGraph
from secretaria.services import demo, demo_messages, demo_whatsapp
from secretaria.services.demo import DemoService
from secretaria.services.demo_messages import CONNECTED, TEMPLATES, DemoAccount, DemoMessage, accounts_of, meta_world
from secretaria.services.demo_plans import DemoPlans
from secretaria.services.demo_whatsapp import DemoWhatsApp
from secretaria.settings import Settings
from secretaria.store.database import transaction
from secretaria.store.partitions import ensure_months
from secretaria.store.recompute import recompute

pytestmark = pytest.mark.anyio

SECRET = "an app secret"
MESSAGES = "SELECT count(*), sum(messages)::bigint FROM messages"
BY_BOT = "SELECT count(*) FROM usage_events WHERE wamid IS NOT NULL AND source = 'demo'"
PAYLOADS = "SELECT count(*) FROM webhook_payloads"


@pytest.fixture
def graph() -> Iterator[FakeGraph]:
    with FakeGraph(meta_world()) as graph:
        yield graph


@pytest.fixture
def settings(settings: Settings, graph: FakeGraph) -> Settings:
    return settings.model_copy(update={"whatsapp_app_secret": SECRET, "meta_graph_url": graph.url})


@pytest.fixture
def whatsapp(application: Application) -> DemoWhatsApp:
    async def deliver(body: bytes, signature: bytes) -> None:
        await application.webhooks.receive(body, signature, integration_id=None, now=application.clock())

    return DemoWhatsApp(
        accounts=application.accounts,
        integrations=application.integrations,
        ingest=application.ingest,
        app_secret=SECRET,
        deliver=deliver,
        has_fake_graph=True,
    )


@pytest.fixture
def service(application: Application, whatsapp: DemoWhatsApp, monkeypatch: pytest.MonkeyPatch) -> DemoService:
    monkeypatch.setattr(demo, "HISTORY_DAYS", 2)
    monkeypatch.setattr(demo_messages, "WHATSAPP_DAYS", 2)
    return DemoService(
        application.database,
        access=application.access,
        companies=application.companies,
        ingest=application.ingest,
        ensure_month=lambda month: bool(ensure_months(application.endpoints.owner_url, month, month)),
        clock=application.clock,
        plans=DemoPlans(application.plans, application.analytics),
        whatsapp=whatsapp,
    )


def ignore(*_: object) -> None:
    pass


async def recomputed(application: Application) -> list[str]:
    async with transaction(application.database.operator) as connection:
        return [str(difference) for difference in await recompute(connection, None)]


async def test_the_last_days_come_through_the_webhook_and_once(service, application, endpoints):
    access = await service.prepare(None)
    await service.fill(application.clock(), ignore)  # accounts that are new have their days even so
    assert (await service.prepare(access)) == access
    accounts = await application.accounts.list(PROCESS, access.company_id)
    assert [row.phone_number_id for row in accounts] == [row.phone_number_id for row in accounts_of(CONNECTED)]
    assert all(row.messages_from is not None for row in accounts)
    templates = await application.accounts.list_templates(PROCESS, access.company_id)
    assert len(templates) == len(TEMPLATES) * len(accounts)
    told, counted = rows(endpoints.admin_url, MESSAGES)[0]
    assert told >= counted > 0
    now = application.clock()
    for _, company in await service.read_companies():
        summary = await application.analytics.summary(PROCESS, company.company_id, now)
        assert (summary.current.avg_response_ms or 0) < 15_000
    await service.fill(None, ignore)
    again = rows(endpoints.admin_url, MESSAGES)[0]
    assert (again[0] - told, again[1] - counted) < (50, 50)  # what has happened meanwhile
    assert await recomputed(application) == []


async def test_what_a_bot_and_the_webhook_tell_of_one_message_counts_once(
    service, whatsapp, application, endpoints, monkeypatch
):
    def questions_only(account: DemoAccount, key: str, at: datetime, dice: random.Random) -> list[DemoMessage]:
        for number in range(1_000):
            made = demo_messages.turn_of(account, f"{key}-{number}", at, dice)
            if len(made) == 2 and made[1].outcome is Status.READ:
                return made
        raise AssertionError("no question in a thousand turns")

    monkeypatch.setattr(demo_whatsapp, "turn_of", questions_only)
    monkeypatch.setattr(demo_whatsapp, "accounts_of", lambda wanted: accounts_of(wanted)[:1])
    access = await service.prepare(None)
    await whatsapp.learn(await service.read_companies())
    now = application.clock()
    for _ in range(3):
        assert await whatsapp.begin(CONNECTED, now - timedelta(minutes=5), random.Random(7))
    assert rows(endpoints.admin_url, MESSAGES)[0] == (3, 3)  # the questions
    for minutes in (4, 3, 2):
        assert await whatsapp.tell_due(now - timedelta(minutes=minutes))
    assert rows(endpoints.admin_url, MESSAGES)[0] == (6, 6)
    assert rows(endpoints.admin_url, BY_BOT) == [(3,)]
    account_id = (await application.accounts.list(PROCESS, access.company_id))[0].account_id
    details = await application.account_details.details(PROCESS, account_id, now)
    assert (details.categories["SERVICE"].messages, details.inbound, details.uncounted) == (3, 3, 0)
    summary = await application.analytics.summary(PROCESS, access.company_id, now)
    assert summary.daily.messages.total == 6
    assert summary.daily.tokens.input > 0
    assert await recomputed(application) == []


async def test_what_could_not_be_delivered_is_told_again(service, whatsapp, application, endpoints, monkeypatch):
    await service.prepare(None)
    await whatsapp.learn(await service.read_companies())
    deliver = whatsapp._deliver

    async def refuse(body: bytes, signature: bytes) -> None:
        raise Unavailable("nobody is there")

    monkeypatch.setattr(whatsapp, "_deliver", refuse)
    now = application.clock()
    with pytest.raises(Unavailable):
        await whatsapp.begin(CONNECTED, now - timedelta(minutes=2), random.Random(1))
    assert rows(endpoints.admin_url, PAYLOADS) == [(0,)]
    monkeypatch.setattr(whatsapp, "_deliver", deliver)
    assert await whatsapp.tell_due(now)
    told = rows(endpoints.admin_url, MESSAGES)[0][0]
    assert told in (1, 2)
    assert await whatsapp.tell_due(now)
    assert rows(endpoints.admin_url, MESSAGES)[0][0] == told
    assert await recomputed(application) == []


async def test_removing_the_demo_removes_its_webhooks_and_no_others(service, whatsapp, application, endpoints):
    access = await service.prepare(None)
    await service.fill(None, ignore)
    body = b'{"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": []}]}'
    await application.webhooks.receive(
        body, signature_of(body, SECRET), integration_id=None, now=application.clock()
    )
    assert rows(endpoints.admin_url, PAYLOADS)[0][0] > 1
    await whatsapp.learn(await service.read_companies())
    await whatsapp.begin(CONNECTED, application.clock(), random.Random(3))
    removed = await service.remove(access)
    assert rows(endpoints.admin_url, PAYLOADS) == [(1,)]
    tables = ("whatsapp_accounts", "templates", "template_categories", "messages", "integrations", "meta_sync", "directory")
    for company in removed:
        for table in tables:
            found = rows(endpoints.admin_url, f"SELECT count(*) FROM {table} WHERE company_id = %s", company.company_id)
            assert (table, found) == (table, [(0,)])
    # Traffic that goes on meanwhile sees that the company is gone, and tells nothing of it.
    assert not await whatsapp.begin(CONNECTED, application.clock(), random.Random(3))
    await whatsapp.learn(await service.read_companies())
    assert await whatsapp.tell_due(application.clock() + timedelta(hours=1))
    assert rows(endpoints.admin_url, PAYLOADS) == [(1,)]
    assert (await service.prepare(None)).company_id not in {company.company_id for company in removed}


async def test_the_connected_company_shows_what_the_made_up_graph_says(service, application):
    access = await service.prepare(None)
    await application.meta.sync_due(application.clock())
    accounts = await application.accounts.list(PROCESS, access.company_id)
    assert [row.quality_rating for row in accounts] == ["GREEN", "YELLOW"]
    assert accounts[0].display_name == f"{CONNECTED.name} {accounts[0].name}"
    others = [company for wanted, company in await service.read_companies() if wanted is not CONNECTED]
    with pytest.raises(NotFound):
        await application.integrations.get(PROCESS, others[0].company_id)
