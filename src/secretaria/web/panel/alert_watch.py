"""New alerts for open pages: one reading for all that ask, at most one each READ_EVERY_S, begun after they ask.

Ingest writes an alert and raises its company's version in one transaction, so whoever heard of the version finds it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.crossing import AlertLevel
from secretaria.core.errors import NotFound
from secretaria.core.period import local_day
from secretaria.services.alert_pages import AlertNews
from secretaria.store.alerts import Alert
from secretaria.web.panel.alert_words import toast
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import Format
from secretaria.web.panel.live_view import VALUES_EVERY_S, Snapshot

READ_EVERY_S: Final = 0.5
TOASTS_MAX: Final = 3


class AlertWatch:
    """One per process."""

    def __init__(self, read: Callable[[Mapping[int, int]], Awaitable[AlertNews]]) -> None:
        self._read = read
        self._wanted: dict[int, int] = {}
        self._next: asyncio.Task[AlertNews] | None = None
        self._begun_at = -READ_EVERY_S

    async def after(self, seen: Mapping[int, int]) -> AlertNews:
        """Return what is newer than each company {company_id: alert_id} was seen up to, and possibly more."""
        for company_id, alert_id in seen.items():
            self._wanted[company_id] = min(self._wanted.get(company_id, alert_id), alert_id)
        if self._next is None:
            self._next = asyncio.ensure_future(self._read_next())
        # A stream that ends must not take the reading from the others.
        return await asyncio.shield(self._next)

    async def _read_next(self) -> AlertNews:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(self._begun_at + READ_EVERY_S - loop.time(), 0))
        # From here on whoever asks gets the next reading: this one may not see what they heard of.
        wanted, self._wanted, self._next = self._wanted, {}, None
        self._begun_at = loop.time()
        return await self._read(wanted)


class PageAlerts:
    """What one open page was told of alerts, and what it has not been told yet.

    is_list: its alerts are of several companies, each has to be named. all_open: its reader may know how many are open
    in all.
    """

    def __init__(
        self, watch: AlertWatch, company_ids: Collection[int], locale: str, *, seen: int, is_list: bool, all_open: bool
    ) -> None:
        self._watch = watch
        self._seen = dict.fromkeys(company_ids, seen)
        self._locale = locale
        self._is_list = is_list
        self._all_open = all_open

    async def news(self) -> tuple[View, list[dict[str, Any]]]:
        """Return how many are open, and toasts for what is new, oldest first."""
        found = await self._watch.after(self._seen)
        mine = [of for of in found.alerts if of.company_id in self._seen and of.alert_id > self._seen[of.company_id]]
        for alert in mine:
            self._seen[alert.company_id] = max(self._seen[alert.company_id], alert.alert_id)
        toasts = [
            toast(alert, found.companies[alert.company_id], self._locale, name_company=self._is_list)
            for alert in _chosen(mine)
            if alert.company_id in found.companies
        ]
        return View(self._counts(found)), toasts

    def _counts(self, found: AlertNews) -> dict[str, str]:
        counts = {"alertas-todas": found.open} if self._all_open else {}
        if not self._is_list:
            counts["alertas-empresa"] = sum(found.open_by_company.get(company_id, 0) for company_id in self._seen)
        return {key: f"({number})" if number else "" for key, number in counts.items()}


class AlertsFeed:
    """A company's list of alerts: its rows stay as they are read, toasts and counts are news."""

    values_every_s = VALUES_EVERY_S

    def __init__(self, application: Application, caller: Caller, company_id: int, locale: str) -> None:
        self._application = application
        self._caller = caller
        self._company_id = company_id
        self._locale = locale
        self.company_ids = frozenset({company_id})

    async def values(self) -> Snapshot:
        """Return no strings, but up to when the list is complete."""
        now = self._application.clock()
        company = await self._application.companies.get(self._caller, self._company_id)
        show, today = Format(self._locale, company.timezone), local_day(company.schedule, now)
        return Snapshot(View(), now, {self._company_id: company.version}, show, today)

    async def days(self) -> View:
        """Return nothing: the page has no charts."""
        return View()


async def open_feed(application: Application, caller: Caller, company_id: int, *, locale: str) -> AlertsFeed:
    """Return the feed of a company's list; raises NotFound for another's and for one that does not exist."""
    caller.require_company(company_id)
    if company_id < 1:
        raise NotFound("no such company", code="company_not_found")
    feed = AlertsFeed(application, caller, company_id, locale)
    await feed.values()
    return feed


def _chosen(alerts: Collection[Alert]) -> list[Alert]:
    """Return the TOASTS_MAX alerts to show, oldest first; the others are in the list."""
    by_weight = sorted(alerts, key=lambda of: (of.level != AlertLevel.CRITICAL, -of.alert_id))
    return sorted(by_weight[:TOASTS_MAX], key=lambda of: of.alert_id)
