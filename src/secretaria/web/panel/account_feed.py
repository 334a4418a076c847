"""The cards of a company's accounts: read once for the page, and again for its stream."""

from dataclasses import dataclass
from typing import Final

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import NotFound
from secretaria.core.period import local_day
from secretaria.services.account_details import AccountDetails
from secretaria.services.figures import CompanyFigures, company_figures
from secretaria.store.companies import Company
from secretaria.web.panel import account_cards
from secretaria.web.panel.figures import View
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import VALUES_EVERY_S, SharedReadings, Snapshot, reader_of

CARDS_PAGE: Final = 10


@dataclass(frozen=True, slots=True)
class Cards:
    """A page of a company's cards, by account id; next_after is None on the last page."""

    company: Company
    figures: CompanyFigures
    details: tuple[AccountDetails, ...]
    next_after: int | None

    def view(self, show: Format) -> View:
        """Return the strings of all of them."""
        view = View()
        for of in self.details:
            view.texts.update(account_cards.card(of, show, texts(show.locale)).texts)
        return view


async def read_cards(application: Application, caller: Caller, company_id: int, *, after: int = 0) -> Cards:
    """Read up to CARDS_PAGE cards. Raises NotFound and NotAllowed."""
    now = application.clock()
    company = await application.companies.get(caller, company_id)
    listed = await application.account_details.page(caller, company_id, now, after=after, limit=CARDS_PAGE + 1)
    found = listed[:CARDS_PAGE]
    next_after = found[-1].account.account_id if len(listed) > CARDS_PAGE else None
    figures = company_figures(company, local_day(company.schedule, now))
    return Cards(company, figures, tuple(found), next_after)


class AccountsFeed:
    """The cards that were on the page when it was opened; a new account is there after a reload."""

    values_every_s = VALUES_EVERY_S

    def __init__(
        self, application: Application, shared: SharedReadings, company_id: int, *, after: int, locale: str
    ) -> None:
        self._application = application
        self._shared = shared
        self._company_id = company_id
        self._after = after
        self._locale = locale
        self.company_ids = frozenset({company_id})

    async def values(self) -> Snapshot:
        """Return the cards."""
        now = self._application.clock()
        cards = await self._shared.get(("cards", self._company_id, self._after), self._read)
        show = Format(self._locale, cards.figures.timezone)
        # Each was read at a moment of its own: what is oldest decides whether to read again.
        versions = {self._company_id: min([cards.company.version, *(of.version for of in cards.details)])}
        as_of = min((of.as_of for of in cards.details), default=now)
        return Snapshot(cards.view(show), as_of, versions, show, local_day(cards.company.schedule, as_of))

    async def days(self) -> View:
        """Return nothing: the page has no charts."""
        return View()

    async def _read(self) -> Cards:
        return await read_cards(self._application, reader_of(self._company_id), self._company_id, after=self._after)


async def open_feed(
    application: Application, shared: SharedReadings, caller: Caller, company_id: int, *, after: int, locale: str
) -> AccountsFeed:
    """Return the feed of a company's cards; raises NotFound for another's and for one that does not exist."""
    caller.require_company(company_id)
    if company_id < 1:
        raise NotFound("no such company", code="company_not_found")
    feed = AccountsFeed(application, shared, company_id, after=after, locale=locale)
    await feed.values()
    return feed
