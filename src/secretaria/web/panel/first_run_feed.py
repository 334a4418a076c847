"""The ticks of a company's first steps: they come by the stream of whichever of its pages is open."""

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.store.first_run import FirstSteps
from secretaria.web.panel.figures import View
from secretaria.web.panel.first_run_words import steps_view
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import Feed, SharedReadings, Snapshot, reader_of


class SteppedFeed:
    """A page's feed with the steps beside it."""

    def __init__(
        self,
        application: Application,
        shared: SharedReadings,
        caller: Caller,
        feed: Feed,
        *,
        company_id: int,
        locale: str,
    ) -> None:
        self._application = application
        self._shared = shared
        self._reader = caller if caller.is_operator else reader_of(company_id)
        self._feed = feed
        self._company_id = company_id
        self._texts = texts(locale)
        self.values_every_s = feed.values_every_s
        self.company_ids = feed.company_ids

    async def values(self) -> Snapshot:
        """Return the page's figures and the steps."""
        snapshot = await self._feed.values()
        key = ("first_run", self._company_id, self._reader.is_operator)
        steps = steps_view(await self._shared.get(key, self._read), self._texts)
        view = View(snapshot.view.texts | steps.texts, snapshot.view.marks | steps.marks, snapshot.view.late)
        return Snapshot(view, snapshot.as_of, snapshot.versions, snapshot.show, snapshot.today)

    async def days(self) -> View:
        """Return what the page's own feed says."""
        return await self._feed.days()

    async def _read(self) -> FirstSteps:
        application = self._application
        return await application.first_run.read(self._reader, self._company_id, application.clock())


async def with_steps(
    application: Application, shared: SharedReadings, caller: Caller, feed: Feed, *, locale: str
) -> Feed:
    """Return the feed of a company's page with its steps while some are left; any other feed as it is."""
    if len(feed.company_ids) != 1:
        return feed
    (company_id,) = feed.company_ids
    steps = await application.first_run.read(caller, company_id, application.clock())
    return feed if all(steps.done) else SteppedFeed(
        application, shared, caller, feed, company_id=company_id, locale=locale
    )
