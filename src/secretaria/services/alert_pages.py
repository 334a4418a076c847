"""Alerts for the panel: lists with what stands beside them, what is open, and what an open page was not told yet."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from secretaria.core.access import OPERATOR_COMPANY_ID, Caller, Scope
from secretaria.core.delivery import DeliveryStatus
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import alert_pages as store
from secretaria.store import companies
from secretaria.store.alert_pages import AlertKey, Wanted
from secretaria.store.alerts import Alert
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database, transaction

PAGE_ALERTS: Final = 50
COMPANIES_OFFERED_MAX: Final = 200
NEWS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of alerts, newest first, and what is shown beside them; next_before is None on the last page.

    delivered counts deliveries by status, people are the e-mails of those who acknowledged, as far as the reader may
    know them; offered are companies that have alerts, of which a list can be asked.
    """

    alerts: list[Alert]
    companies: dict[int, Company]
    delivered: dict[AlertKey, dict[DeliveryStatus, int]]
    people: dict[str, str]
    offered: list[tuple[int, str]]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open: for the caller in all, for one company of theirs, and the newest critical alert of that one.

    newest_id: alerts above it came later than this.
    """

    open: int
    open_of_company: int
    newest_id: int
    critical: Alert | None
    company: Company | None


@dataclass(frozen=True, slots=True)
class AlertNews:
    """Open alerts beyond what was seen of each company, newest first, and how many are open."""

    alerts: list[Alert]
    companies: dict[int, Company]
    open_by_company: dict[int, int]
    open: int


class AlertPages:
    """Reads what the panel shows of alerts; alerts.py acknowledges them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, caller: Caller, wanted: Wanted) -> AlertPage:
        """Return a page; without a company of all, for operators. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        if wanted.company_id is None:
            caller.require_operator()
        home = OPERATOR_COMPANY_ID if wanted.company_id is None else wanted.company_id
        async with company_transaction(self._database, caller, home, snapshot=True) as connection:
            if wanted.company_id is not None and await companies.read(connection, wanted.company_id) is None:
                raise company_not_found()
            found = await store.read_page(connection, wanted, limit=PAGE_ALERTS + 1)
            alerts = found[:PAGE_ALERTS]
            about = {alert.company_id for alert in alerts}
            homes = {*about, OPERATOR_COMPANY_ID} if caller.is_operator else {caller.company_id}
            keys = [(alert.company_id, alert.alert_id) for alert in alerts]
            return AlertPage(
                alerts=alerts,
                companies=await _companies(connection, about),
                delivered=await store.read_delivered(connection, keys, homes) if keys else {},
                people=await _people(connection, alerts, homes),
                offered=await _offered(connection, wanted) if caller.is_operator else [],
                next_before=alerts[-1].alert_id if len(found) > PAGE_ALERTS else None,
            )

    async def standing(self, caller: Caller, company_id: int | None = None) -> Standing:
        """Return what is open for the caller; another's company counts as none."""
        caller.require_scope(Scope.ANALYTICS_READ)
        mine = company_id if caller.is_operator or company_id == caller.company_id else None
        async with company_transaction(self._database, caller, caller.company_id) as connection:
            of = None if caller.is_operator else caller.company_id
            counts = await store.count(connection, of=of, company_id=mine)
            critical = None
            if mine is not None and counts.open_of_company:
                critical = await store.read_open_critical(connection, mine)
            company = await companies.read(connection, critical.company_id) if critical else None
        return Standing(counts.open, counts.open_of_company, counts.newest_id, critical, company)

    async def newest_id(self, company_ids: Collection[int]) -> int:
        """Return the newest id of these companies' alerts; the caller has been let through to them before."""
        async with transaction(self._database.operator) as connection:
            return await store.read_newest_id(connection, company_ids)

    async def news(self, seen: Mapping[int, int]) -> AlertNews:
        """Return open alerts above the id each company was seen up to, NEWS_MAX at most.

        Callers have been let through to these companies before; only what is theirs may reach them.
        """
        async with transaction(self._database.operator) as connection:
            alerts = await store.read_open_after(connection, seen, limit=NEWS_MAX)
            by_company = await store.count_open_each(connection, seen.keys())
            counts = await store.count(connection, of=None, company_id=None)
            about = await _companies(connection, {alert.company_id for alert in alerts})
        return AlertNews(alerts, about, by_company, counts.open)


async def _companies(connection: Connection, company_ids: Collection[int]) -> dict[int, Company]:
    found = await companies.read_some(connection, sorted(company_ids)) if company_ids else []
    return {company.company_id: company for company in found}


async def _people(connection: Connection, alerts: Collection[Alert], homes: Collection[int]) -> dict[str, str]:
    """Return {"user:3": e-mail} of those who acknowledged and whom the reader may know."""
    user_ids = {
        int(number)
        for alert in alerts
        for kind, _, number in [(alert.acknowledged_by or "").partition(":")]
        if kind == "user" and number.isdigit()
    }
    if not user_ids:
        return {}
    emails = await store.read_emails(connection, sorted(user_ids), homes)
    return {f"user:{user_id}": email for user_id, email in emails.items()}


async def _offered(connection: Connection, wanted: Wanted) -> list[tuple[int, str]]:
    return await store.read_companies(connection, open_only=wanted.open_only, limit=COMPANIES_OFFERED_MAX)
