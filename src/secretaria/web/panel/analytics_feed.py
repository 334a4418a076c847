"""The stream of "Analytics e Consumo": the strings of one address, read again when its company moves."""

from collections.abc import Mapping

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import NotFound
from secretaria.core.period import local_day
from secretaria.services.period_view import PeriodView
from secretaria.store.companies import Company
from secretaria.web.panel.analytics_query import EVERY_ROW, parse
from secretaria.web.panel.analytics_view import shown
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import (
    VALUES_EVERY_S,
    SharedReadings,
    Snapshot,
    reader_of,
    shared_summary,
    with_plan,
)


class AnalyticsFeed:
    """The page of one address, read again when the company moves; many readers of one address share a reading."""

    values_every_s = VALUES_EVERY_S

    def __init__(
        self, application: Application, shared: SharedReadings, company: Company, given: Mapping[str, str], locale: str
    ) -> None:
        self._application = application
        self._shared = shared
        self._company = company
        self._given = given
        self._locale = locale
        self.company_ids = frozenset({company.company_id})

    async def values(self) -> Snapshot:
        """Return the cards, the plan's bars and the breakdown."""
        view, found = await self._shown()
        company_id = self._company.company_id
        summary = await shared_summary(self._application, self._shared, company_id)
        mine = {key: text for key, text in found.texts.items() if not _is_chart(key)}
        show = Format(self._locale, view.company.timezone)
        today = local_day(self._company.schedule, view.as_of)
        mine_with_plan = with_plan(View(mine, dict(found.marks)), summary.plan_month, show)
        versions = {company_id: min(view.version, summary.version)}
        return Snapshot(mine_with_plan, view.as_of, versions, show, today)

    async def days(self) -> View:
        """Return the chart and the table behind it."""
        _, found = await self._shown()
        return View({key: text for key, text in found.texts.items() if _is_chart(key)}, {})

    async def _shown(self) -> tuple[PeriodView, View]:
        company_id, sentences, now = self._company.company_id, texts(self._locale), self._application.clock()
        query = parse(self._given, local_day(self._company.schedule, now), sentences)

        async def read() -> PeriodView:
            return await self._application.views.read(reader_of(company_id), company_id, query.wanted, now)

        view = await self._shared.get(("analytics", company_id, query.query(), query.dates()["ate"]), read)
        every_row = self._given.get("linhas") == EVERY_ROW
        show = Format(self._locale, view.company.timezone)
        return view, shown(view, query, show, sentences, every_row=every_row).view


def _is_chart(key: str) -> bool:
    return key.startswith("grafico-") or (key[0] == "b" and key[1:2].isdigit())


async def open_feed(
    application: Application, shared: SharedReadings, caller: Caller, company_id: int, given: Mapping[str, str], *,
    locale: str,
) -> AnalyticsFeed:  # fmt: skip
    """Return the feed of a company's page; raises NotFound for another's and for one that does not exist."""
    caller.require_company(company_id)
    if company_id < 1:
        raise NotFound("no such company", code="company_not_found")
    company = await application.companies.get(caller, company_id)
    return AnalyticsFeed(application, shared, company, given, locale)
