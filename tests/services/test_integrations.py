"""Connections: secrets go in and never come out, whoever looks where."""

import base64
import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import structlog
from tests.shop import OPERATOR, key_of, rows

from secretaria.bootstrap import Application
from secretaria.core.access import Scope
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.fake_graph import AD_ACCOUNT_ID, PHONE_NUMBER_ID, WABA_ID, FakeGraph, Fault
from secretaria.outbound.meta_graph import MetaGraph
from secretaria.services.integrations import IntegrationService
from secretaria.services.meta import MetaService
from secretaria.services.secret_box import SecretUnreadable
from secretaria.settings import Settings
from secretaria.store import integrations
from secretaria.store.database import transaction
from secretaria.web import logs

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 15, 10, tzinfo=UTC)
SECRETS = {
    "access_token": "EAAcanarytoken0123456789tail",
    "app_secret": "canaryappsecret0123456789tail",
    "verify_token": "canaryverify0123456789tail",
}
EVERYTHING = SECRETS | {"waba_id": WABA_ID, "ad_account_id": AD_ACCOUNT_ID, "business_id": "987"}


@pytest.fixture
def connections(application: Application) -> IntegrationService:
    return IntegrationService(application.database, application.settings)


@pytest.fixture
async def company_id(application: Application) -> int:
    return (await application.companies.create(OPERATOR, "Clínica", now=NOW)).company_id


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything any library logs from DEBUG on, through the pipeline that serves."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    logs.configure(logging.DEBUG)
    structlog.configure(cache_logger_on_first_use=False)  # or loggers used here would stay like this in later tests
    written = io.StringIO()
    assert isinstance(root.handlers[0], logging.StreamHandler)
    root.handlers[0].setStream(written)
    yield written
    root.handlers, root.level = before, level
    root.setLevel(level)
    structlog.reset_defaults()


def traces() -> list[str]:
    """The secrets, without the four characters that are shown, as text, as base64 and as hex."""
    bare = [secret[:-4] for secret in SECRETS.values()]
    return bare + [base64.b64encode(one.encode()).decode()[:20] for one in bare] + [one.encode().hex() for one in bare]


def everything_stored(admin_url: str) -> str:
    with psycopg.connect(admin_url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        found = [connection.execute(f"SELECT t::text FROM {name} t".encode()).fetchall() for (name,) in names]
    return repr(found)


async def test_no_secret_is_in_logs_tables_answers_or_errors(
    application: Application,
    connections: IntegrationService,
    company_id: int,
    endpoints: Endpoints,
    log: io.StringIO,
) -> None:
    told: list[str] = []
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency) VALUES (%s, %s, 'A', 'BRL')",
            (company_id, PHONE_NUMBER_ID),
        )
    with FakeGraph() as fake:
        service = MetaService(application.database, connections, MetaGraph(fake.url))
        told.append(repr(await connections.put(OPERATOR, company_id, EVERYTHING, NOW)))
        told.append(repr(await service.sync(company_id, NOW)))
        for fault in (*Fault, None):
            fake.world.faults = {} if fault in (None, Fault.SLOW) else {"*": fault}
            told.append(repr(await service.test(OPERATOR, company_id, NOW)))
            told.append(repr(await service.sync(company_id, NOW)))
        assert {one.token for one in fake.seen} == {SECRETS["access_token"], ""}
        await service.close()
    told.append(repr(await connections.get(OPERATOR, company_id)))
    for name, secret in SECRETS.items():
        with pytest.raises(InvalidInput) as raised:
            await connections.put(OPERATOR, company_id, {name: secret + " x"}, NOW)
        told.append(repr(raised.value))
    blind = IntegrationService(application.database, Settings(secretaria_secret_key="quite another key here"))
    shown = await blind.get(OPERATOR, company_id)
    assert shown.unreadable == ("access_token", "app_secret", "verify_token")
    with pytest.raises(SecretUnreadable) as unreadable:
        blind.open(shown.integration, "access_token")
    told += [repr(shown), repr(unreadable.value)]
    assert "meta_part_failed" in log.getvalue()
    assert "HTTP Request" in log.getvalue()
    for place in (log.getvalue(), everything_stored(endpoints.admin_url), "".join(told)):
        assert place
        assert [trace for trace in traces() if trace in place] == []


async def test_the_search_for_secrets_would_find_them(endpoints: Endpoints, company_id: int) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO audit_log (company_id, actor, action, subject) VALUES (%s, 'x', 'x', %s)",
            (company_id, SECRETS["access_token"]),
        )
        connection.execute(
            "INSERT INTO integrations (company_id, kind, app_secret, created_at, updated_at) "
            "VALUES (%s, 'meta', %s, now(), now())",
            (company_id, SECRETS["app_secret"].encode()),
        )
    stored = everything_stored(endpoints.admin_url)
    assert len([trace for trace in traces() if trace in stored]) == 2


async def test_secrets_are_shown_masked_kept_when_left_out_and_removed_by_null(
    connections: IntegrationService, company_id: int
) -> None:
    shown = await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    assert shown.masked == dict.fromkeys(SECRETS, "••••tail")
    shown = await connections.put(OPERATOR, company_id, {"waba_id": "1", "app_secret": None, "verify_token": " "}, NOW)
    assert shown.masked == {"access_token": "••••tail", "app_secret": None, "verify_token": None}
    assert (shown.integration.waba_id, shown.integration.ad_account_id) == ("1", AD_ACCOUNT_ID)
    assert connections.open(shown.integration, "access_token") == SECRETS["access_token"]
    assert [part.part.value for part in shown.parts] == ["ads", "messages", "profile"]
    shown = await connections.put(OPERATOR, company_id, {"waba_id": None}, NOW)
    assert [part.part.value for part in shown.parts] == ["ads"]
    shown = await connections.put(OPERATOR, company_id, {"access_token": None}, NOW)
    assert shown.parts == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ad_account_id": "1234567890"}, "invalid_ad_account_id"),
        ({"ad_account_id": "act_"}, "invalid_ad_account_id"),
        ({"ad_account_id": "act_12/insights"}, "invalid_ad_account_id"),
        ({"ad_account_id": "act_١٢"}, "invalid_ad_account_id"),
        ({"waba_id": "../me"}, "invalid_meta_id"),
        ({"business_id": "act_1"}, "invalid_meta_id"),
        ({"access_token": "••••tail"}, "invalid_secret"),
        ({"access_token": "EAA with space"}, "invalid_secret"),
        ({"verify_token": "x" * 1_025}, "invalid_secret"),
        ({"total_source": "both"}, "invalid_choice"),
        ({"today_source": "ads"}, "invalid_choice"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_changes(
    connections: IntegrationService, company_id: int, change: dict[str, str], code: str
) -> None:
    before = await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    with pytest.raises(InvalidInput) as raised:
        await connections.put(OPERATOR, company_id, change, NOW)
    assert (raised.value.code, raised.value.pointer) == (code, f"/{next(iter(change))}")
    assert await connections.get(OPERATOR, company_id) == before


@pytest.mark.parametrize("other", ["company", "row", "column"])
async def test_a_ciphertext_moved_by_someone_with_the_database_does_not_open(
    application: Application, connections: IntegrationService, company_id: int, endpoints: Endpoints, other: str
) -> None:
    await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    thief = (await application.companies.create(OPERATOR, "Outra", now=NOW)).company_id
    await connections.put(OPERATOR, thief, {"access_token": "EAAofthethief000000"}, NOW)
    statements = {
        "company": "UPDATE integrations t SET access_token = s.access_token FROM integrations s "
        f"WHERE s.company_id = {company_id} AND t.company_id = {thief}",
        "row": f"UPDATE integrations SET integration_id = DEFAULT WHERE company_id = {company_id}",
        "column": f"UPDATE integrations SET access_token = app_secret WHERE company_id = {company_id}",
    }
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(statements[other].encode())
    shown = await connections.get(OPERATOR, thief if other == "company" else company_id)
    assert "access_token" in shown.unreadable
    assert shown.masked["access_token"] is None
    with pytest.raises(SecretUnreadable):
        connections.open(shown.integration, "access_token")


async def test_after_a_change_of_key_the_worker_seals_anew_and_the_old_key_can_go(
    application: Application, connections: IntegrationService, company_id: int, settings: Settings
) -> None:
    await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    old = (settings.secretaria_data_dir / "secret.key").read_text().strip()
    key = "the key that comes next"
    both = IntegrationService(
        application.database, Settings(secretaria_secret_key=key, secretaria_retired_secret_keys=old)
    )
    assert (await both.get(OPERATOR, company_id)).unreadable == ()
    assert (await both.reseal(), await both.reseal()) == (1, 0)
    new = IntegrationService(application.database, Settings(secretaria_secret_key=key))
    shown = await new.get(OPERATOR, company_id)
    assert {name: new.open(shown.integration, name) for name in SECRETS} == SECRETS
    assert await connections.reseal() == 0  # with a key it does not know, it leaves things as they are


async def test_every_change_is_in_the_audit_log_by_name_and_not_by_value(
    connections: IntegrationService, company_id: int, endpoints: Endpoints
) -> None:
    await connections.put(OPERATOR, company_id, SECRETS | {"waba_id": WABA_ID}, NOW)
    await connections.put(OPERATOR, company_id, {"app_secret": None}, NOW)
    await connections.put(OPERATOR, company_id, {"verify_token": SECRETS["verify_token"]}, NOW)
    await connections.remove(OPERATOR, company_id)
    made = dict.fromkeys(SECRETS, "set") | {"waba_id": WABA_ID, "total_source": "messages", "today_source": "estimated"}
    found = rows(
        endpoints.admin_url, "SELECT actor, action, detail FROM audit_log WHERE starts_with(action, 'integration.') ORDER BY audit_id"
    )
    assert found == [
        ("test", "integration.created", {"before": dict.fromkeys(made), "after": made}),
        ("test", "integration.changed", {"before": {"app_secret": "set"}, "after": {"app_secret": None}}),
        ("test", "integration.changed", {"before": {"verify_token": "set"}, "after": {"verify_token": "replaced"}}),
        ("test", "integration.removed", {"before": {k: v for k, v in made.items() if k != "app_secret"}, "after": {}}),
    ]


async def test_the_webhook_finds_its_secrets_by_the_connection_alone(
    application: Application, connections: IntegrationService, company_id: int
) -> None:
    shown = await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    integration_id = shown.integration.integration_id
    found = await connections.webhook_secrets(integration_id)
    assert found is not None
    assert (found.company_id, found.app_secret, found.verify_token) == (
        company_id, SECRETS["app_secret"], SECRETS["verify_token"],
    )  # fmt: skip
    assert SECRETS["app_secret"] not in repr(found)
    assert await connections.webhook_secrets(integration_id + 1) is None
    await connections.remove(OPERATOR, company_id)
    assert await connections.webhook_secrets(integration_id) is None
    async with transaction(application.database.door, company_id=company_id) as connection:
        assert await integrations.read(connection, company_id) is None


async def test_accounts_answer_at_the_connections_own_webhook_while_it_has_an_app_secret(
    connections: IntegrationService, company_id: int, endpoints: Endpoints
) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency) VALUES (%s, '1', 'A', 'BRL')",
            (company_id,),
        )
    statement = "SELECT integration_id FROM whatsapp_accounts"
    for change, has_own in (({"waba_id": "1"}, False), ({"app_secret": "s3cret-of-its-own"}, True), ({"app_secret": None}, False)):
        shown = await connections.put(OPERATOR, company_id, change, NOW)
        expected = shown.integration.integration_id if has_own else None
        assert rows(endpoints.admin_url, statement) == [(expected,)]


async def test_only_the_operator_touches_connections(
    application: Application, connections: IntegrationService, company_id: int
) -> None:
    await connections.put(OPERATOR, company_id, EVERYTHING, NOW)
    member = key_of(company_id, *Scope)
    stranger = key_of(company_id + 1, *Scope)
    calls: list[Any] = [
        lambda caller: connections.get(caller, company_id),
        lambda caller: connections.put(caller, company_id, {"waba_id": "1"}, NOW),
        lambda caller: connections.remove(caller, company_id),
        lambda caller: application.meta.test(caller, company_id, NOW),
    ]
    for call in calls:
        for caller in (member, stranger):
            with pytest.raises(NotAllowed):
                await call(caller)
    with pytest.raises(NotFound) as raised:
        await connections.get(OPERATOR, company_id + 1)
    assert raised.value.code == "company_not_found"
