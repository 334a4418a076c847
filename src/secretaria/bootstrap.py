"""Opens the servers and builds pools, clients and services from settings, once a process; takes them down in order."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg

from secretaria.core.delivery import Channel
from secretaria.core.errors import ConfigurationError, Unavailable
from secretaria.embedded.runtime import endpoints as found_endpoints
from secretaria.embedded.servers import Endpoints
from secretaria.outbound.mail import MailSender
from secretaria.outbound.meta_graph import MetaGraph
from secretaria.outbound.webhook import WebhookClient
from secretaria.services.access import AccessService
from secretaria.services.account_details import AccountDetailsReads
from secretaria.services.accounts import AccountService
from secretaria.services.alert_feed import AlertFeedKeeper
from secretaria.services.alert_pages import AlertPages
from secretaria.services.alerts import AlertService
from secretaria.services.analytics import AnalyticsReads
from secretaria.services.analytics_page import AnalyticsPageReads
from secretaria.services.audit import AuditReads
from secretaria.services.companies import CompanyService
from secretaria.services.courier import Courier, WebhookCourier
from secretaria.services.deliveries import DeliveryService
from secretaria.services.delivery_log import DeliveryLogReads
from secretaria.services.dispatcher import Dispatcher
from secretaria.services.endpoints import EndpointService
from secretaria.services.entitlements import EntitlementService
from secretaria.services.exchange_rates import ExchangeRateService
from secretaria.services.explain import ExplainReads
from secretaria.services.exports import ExportService
from secretaria.services.first_run import FirstRunReads
from secretaria.services.ingest import IngestService
from secretaria.services.integrations import IntegrationService
from secretaria.services.live import LiveHub
from secretaria.services.mail import MailCourier
from secretaria.services.messages import MessageService
from secretaria.services.meta import MetaService
from secretaria.services.meta_beside import MetaBesideReads
from secretaria.services.operator_endpoint import OperatorEndpoint
from secretaria.services.overview import OverviewService
from secretaria.services.period_figures import PeriodReads
from secretaria.services.period_view import PeriodViews
from secretaria.services.plan_preview import PlanPreviews
from secretaria.services.plans import PlanService
from secretaria.services.prices_in_force import PricesInForceReads
from secretaria.services.rate_cards import RateCardService
from secretaria.services.recording import RecordingService
from secretaria.services.report_archive import ReportArchive
from secretaria.services.reports import ReportService
from secretaria.services.reservations import ReservationService
from secretaria.services.signing import Signing
from secretaria.services.webhooks import WebhookService
from secretaria.settings import Settings
from secretaria.store import migrations, partitions
from secretaria.store.alert_feed import AlertFeed
from secretaria.store.database import CONNECT_TIMEOUT_S, CONNECTIONS_EACH_MAX, Database, check_server, transaction
from secretaria.store.live import Live


def utc_now() -> datetime:
    """Return the moment, aware: the one clock of the doors."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Application:
    """What a door needs to serve: connections, services and the clock."""

    settings: Settings
    endpoints: Endpoints
    database: Database
    live: Live
    ingest: IngestService
    alerts: AlertService
    alert_pages: AlertPages
    access: AccessService
    companies: CompanyService
    plans: PlanService
    plan_previews: PlanPreviews
    recording: RecordingService
    analytics: AnalyticsReads
    analytics_page: AnalyticsPageReads
    reports: ReportService
    archive: ReportArchive
    exports: ExportService
    accounts: AccountService
    account_details: AccountDetailsReads
    messages: MessageService
    webhooks: WebhookService
    rate_cards: RateCardService
    prices_in_force: PricesInForceReads
    periods: PeriodReads
    views: PeriodViews
    overview: OverviewService
    first_run: FirstRunReads
    explain: ExplainReads
    meta_beside: MetaBesideReads
    exchange_rates: ExchangeRateService
    integrations: IntegrationService
    meta: MetaService
    delivery_endpoints: EndpointService
    operator_endpoint: OperatorEndpoint
    deliveries: DeliveryService
    delivery_log: DeliveryLogReads
    webhook_client: WebhookClient
    dispatcher: Dispatcher
    alert_feeds: AlertFeedKeeper
    audit: AuditReads
    entitlements: EntitlementService
    reservations: ReservationService
    hub: LiveHub
    clock: Callable[[], datetime]


@asynccontextmanager
async def application(
    settings: Settings,
    endpoints: Endpoints,
    *,
    clock: Callable[[], datetime] = utc_now,
    connections_max: int = CONNECTIONS_EACH_MAX,
) -> AsyncIterator[Application]:
    """Yield the running application; on leaving, what was taken in is written before the connections close.

    Raises ConfigurationError when the server would acknowledge what is not on disk (store/database.py).
    """
    built = _build(settings, endpoints, clock=clock, connections_max=connections_max)
    await built.database.open()
    try:
        async with transaction(built.database.operator) as connection:
            await check_server(connection)
        for part in (built.ingest, built.hub, built.entitlements):
            part.start()
        yield built
    finally:
        ends = built.hub.stop, built.entitlements.stop, built.alert_feeds.stop, built.meta.close
        for end in (*ends, built.webhook_client.close, built.ingest.close, built.live.close, built.database.close):
            await end()


def _build(
    settings: Settings, endpoints: Endpoints, *, clock: Callable[[], datetime], connections_max: int
) -> Application:
    database = Database.create(endpoints.database_url, connections_max=connections_max)
    live = Live(endpoints.redis_url)
    ingest = IngestService(database, live)
    hub = LiveHub(database, live, clock)
    entitlements = EntitlementService(database, clock)
    accounts = AccountService(database)
    integrations = IntegrationService(database, settings)
    meta = _meta(database, settings, integrations)
    signing = Signing(settings)
    own_hosts = [urlsplit(settings.public_url).hostname or ""]
    webhook_client = WebhookClient(own_hosts=own_hosts)
    archive = ReportArchive(database, settings)
    webhooks, mail = WebhookCourier(webhook_client, signing), _mail(database, settings, archive)
    couriers: dict[Channel, Courier] = {Channel.WEBHOOK: webhooks, Channel.MAIL: mail}
    alert_feeds = AlertFeedKeeper(database, AlertFeed(endpoints.redis_url), clock)
    return Application(
        settings=settings,
        endpoints=endpoints,
        database=database,
        live=live,
        ingest=ingest,
        alerts=AlertService(database, tell=ingest.tell),
        alert_pages=AlertPages(database),
        access=AccessService(database, clock=clock),
        companies=CompanyService(database, settings, tell=ingest.tell),
        plans=PlanService(database, tell=ingest.tell), plan_previews=PlanPreviews(database),
        recording=RecordingService(database, ingest),
        analytics=AnalyticsReads(database, settings), analytics_page=AnalyticsPageReads(database),
        reports=ReportService(database, settings),
        archive=archive,
        exports=ExportService(database, settings),
        accounts=accounts,
        account_details=AccountDetailsReads(database, accounts),
        messages=MessageService(database, settings, tell=ingest.tell),
        webhooks=WebhookService(database, settings, tell=ingest.tell, secrets_of=integrations.webhook_secrets),
        rate_cards=RateCardService(database), prices_in_force=PricesInForceReads(database),
        periods=PeriodReads(database), views=PeriodViews(database), explain=ExplainReads(database),
        overview=OverviewService(database), first_run=FirstRunReads(database),
        meta_beside=MetaBesideReads(database), exchange_rates=ExchangeRateService(database, settings),
        integrations=integrations,
        meta=meta,
        delivery_endpoints=EndpointService(database, signing, own_hosts=own_hosts),
        operator_endpoint=OperatorEndpoint(database, settings, signing),
        deliveries=DeliveryService(database), delivery_log=DeliveryLogReads(database),
        webhook_client=webhook_client,
        dispatcher=Dispatcher(database, couriers, url=endpoints.database_url, clock=clock),
        alert_feeds=alert_feeds,
        audit=AuditReads(database),
        entitlements=entitlements,
        reservations=ReservationService(database, entitlements),
        hub=hub,
        clock=clock,
    )


def _meta(database: Database, settings: Settings, integrations: IntegrationService) -> MetaService:
    demo_graph = MetaGraph(settings.demo_graph_url) if settings.demo_graph_url else None
    return MetaService(database, integrations, MetaGraph(settings.meta_graph_url), demo_graph)


def _mail(database: Database, settings: Settings, archive: ReportArchive) -> MailCourier:
    return MailCourier(database, MailSender(settings), settings.public_url, archive.attachments)


@contextmanager
def opened_database(settings: Settings, *, migrated: bool = True) -> Iterator[Endpoints]:
    """Servers that are up and, unless said otherwise, migrated.

    Our own are migrated here; those of DATABASE_URL only by `secretaria migrate` (ConfigurationError).
    """
    with found_endpoints(settings) as found:
        missing = pending_migrations(found) if migrated else []
        if missing and settings.database_url:
            raise ConfigurationError(f"the database lacks {len(missing)} migrations: run `secretaria migrate`")
        if missing:
            migrate_database(found, utc_now())
        yield found


def migrate_database(found: Endpoints, instant: datetime) -> list[str]:
    """Apply what is missing, let the serving user act as its roles, make the months around now; return the names."""
    try:
        with psycopg.connect(found.database_url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            user = connection.info.user
        applied = migrations.migrate(found.owner_url, serving_user=user)
    except psycopg.OperationalError as error:
        raise _unreachable(error) from error
    partitions.ensure_around(found.owner_url, instant.date())
    return applied


def pending_migrations(found: Endpoints) -> list[str]:
    """Return the migrations a database lacks; raises Unavailable when it cannot be reached."""
    try:
        with psycopg.connect(found.owner_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
                return [migration.name for migration in migrations.read_folder()]
            try:
                return migrations.pending(connection)
            except psycopg.errors.InsufficientPrivilege:
                # Only DATABASE_URL is known: the serving user reads the history as the operator.
                connection.execute("SET ROLE secretaria_operator")
                return migrations.pending(connection)
    except psycopg.OperationalError as error:
        raise _unreachable(error) from error


def _unreachable(error: psycopg.OperationalError) -> Unavailable:
    return Unavailable(f"cannot reach the database: {str(error).splitlines()[0]}")
