"""The stream behind the list of companies: the rows on the screen, the counts, and whether the order moved."""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.services.overview import PAGE_COMPANIES, OverviewRows
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import ROWS_EVERY_S, SharedReadings, Snapshot
from secretaria.web.panel.overview_query import ListQuery
from secretaria.web.panel.overview_words import counts_view, moved, rows_view

IDS_GLUE: Final = "."
PLACE: Final = "depois"
"""What the stream calls the page's own apos, which is a number in other streams."""

_ID_DIGITS_MAX: Final = 19


class OverviewFeed:
    """The rows that were on the page when it was opened, in the place they had there."""

    values_every_s = ROWS_EVERY_S

    def __init__(
        self,
        application: Application,
        shared: SharedReadings,
        caller: Caller,
        query: ListQuery,
        shown: tuple[int, ...],
        *,
        locale: str,
    ) -> None:
        self._application = application
        self._shared = shared
        self._caller = caller
        self._query = query
        self._shown = shown
        self._show = Format(locale)
        self.company_ids = frozenset(shown)

    async def values(self) -> Snapshot:
        """Return the rows and the counts."""
        found = await self._shared.get(("overview", self._query, self._shown), self._read)
        words = texts(self._show.locale)
        view = rows_view(found.rows, self._show, words)
        view.texts.update(counts_view(found.counts, found.as_of, self._show, words).texts)
        view.texts["ordem-mudou"] = moved(self._shown, found.order, words)
        versions = {row.company_id: row.standing.version for row in found.rows if row.standing}
        return Snapshot(view, found.as_of, versions, self._show, self._show.local(found.as_of).date())

    async def days(self) -> View:
        """Return nothing: the columns of the days come with the rows."""
        return View()

    async def _read(self) -> OverviewRows:
        application = self._application
        return await application.overview.rows(
            self._caller, self._shown, self._query.wanted, application.clock()
        )


async def open_feed(
    application: Application, shared: SharedReadings, caller: Caller, parameters: Mapping[str, str], *, locale: str
) -> OverviewFeed:
    """Return the feed of the rows named by ids=1.2.3, else of the page asked for; NotAllowed but for the operator."""
    caller.require_operator()
    query = ListQuery.of({**parameters, "apos": parameters.get(PLACE, "")})
    named = parameters.get("ids", "")
    if named:
        return OverviewFeed(application, shared, caller, query, _ids(named), locale=locale)
    page = await application.overview.page(caller, query.wanted, application.clock())
    shown = tuple(row.company_id for row in page.rows)
    return OverviewFeed(application, shared, caller, query, shown, locale=locale)


def scope_of(query: ListQuery, shown: Iterable[int]) -> str:
    """Return the stream's address for these rows of a page."""
    asked = query.parameters()
    place = {PLACE: asked.pop("apos")} if "apos" in asked else {}
    return urlencode({"escopo": "empresas", "ids": IDS_GLUE.join(map(str, shown)), **asked, **place})


def _ids(text: str) -> tuple[int, ...]:
    parts = text.split(IDS_GLUE, PAGE_COMPANIES)
    if len(parts) > PAGE_COMPANIES or any(
        not (part.isascii() and part.isdigit() and len(part) <= _ID_DIGITS_MAX and int(part) <= COMPANY_ID_MAX)
        for part in parts
    ):
        raise InvalidInput("ids is a list of company ids", code="invalid_identifier", pointer="ids")
    return tuple(int(part) for part in parts)
