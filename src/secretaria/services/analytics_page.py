"""What the page "Analytics e Consumo" shows, read in one snapshot: all its blocks are of one moment."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from secretaria.core.access import Caller, Scope
from secretaria.core.period import local_day, month_of
from secretaria.services.accounts import PAGE_ACCOUNTS_MAX, require_reader
from secretaria.services.analytics import SUMMARY_ALERTS_MAX
from secretaria.services.figures import AlertFigures, PlanMonth, interval
from secretaria.services.meta_beside import MetaBeside, read_meta_beside
from secretaria.services.period_figures import read_company
from secretaria.services.period_view import PeriodView, Wanted, read_view_and_month
from secretaria.services.plan_usage import read_plan_usage_of
from secretaria.services.scope import company_transaction
from secretaria.store import accounts, alerts
from secretaria.store.alerts import Alert
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database

RECENT_ALERTS: Final = 3


@dataclass(frozen=True, slots=True)
class AnalyticsPage:
    """The blocks of the page. meta is None where the view is narrowed: Meta's figure cannot be told apart.

    accounts counts up to PAGE_ACCOUNTS_MAX.
    """

    company: Company
    view: PeriodView
    month: PlanMonth
    meta: MetaBeside | None
    recent: list[Alert]
    accounts: int


class AnalyticsPageReads:
    """Reads the page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, caller: Caller, company_id: int, wanted_of: Callable[[Company], Wanted], now: datetime
    ) -> AnalyticsPage:
        """Return the blocks of what is wanted, which the company's own day decides.

        Raises InvalidInput (as PeriodViews.read), NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        require_reader(caller)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            company = await read_company(connection, company_id)
            wanted = wanted_of(company)
            view, cells = await read_view_and_month(connection, company, wanted, now)
            plan = await read_plan_usage_of(connection, company, now=now, cells=cells)
            period = month_of(local_day(company.schedule, now))
            newest = await alerts.read_recent(connection, company_id, limit=SUMMARY_ALERTS_MAX, since=period.start)
            fired = [msgspec.convert(alerts.as_json(alert), AlertFigures) for alert in newest]
            return AnalyticsPage(
                company=company,
                view=view,
                month=PlanMonth(interval(company.schedule, period), plan, fired),
                meta=await _meta(connection, company, wanted, now),
                recent=await alerts.read_recent(connection, company_id, limit=RECENT_ALERTS),
                accounts=len(await accounts.read_page(connection, company_id, after=0, limit=PAGE_ACCOUNTS_MAX)),
            )


async def _meta(connection: Connection, company: Company, wanted: Wanted, now: datetime) -> MetaBeside | None:
    return None if wanted.narrowed else await read_meta_beside(connection, company, wanted.period, now)
