"""What open pages show, read once for all of them: many streams on one company cost one reading."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

from secretaria.bootstrap import Application
from secretaria.core.access import Caller, Scope
from secretaria.services.analytics import HistoryPeriod
from secretaria.services.figures import History, PlanMonth, Summary
from secretaria.settings import Settings
from secretaria.web.panel import figures, plan_view
from secretaria.web.panel.figures import PeriodUsage, View
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts

READ_EVERY_S: Final = 1.0
READINGS_KEPT_MAX: Final = 2_000
COMPANIES_PAGE: Final = 50
VALUES_EVERY_S: Final = 2.0
ROWS_EVERY_S: Final = 5.0

Reading = TypeVar("Reading")


@dataclass(slots=True)
class _Entry(Generic[Reading]):
    task: asyncio.Task[Reading]
    begun_at: float


class SharedReadings:
    """Readings under way or at most READ_EVERY_S old serve everyone who asks for the same."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry[Any]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Reading]]) -> Reading:
        """Return the shared reading of `key`, beginning one when there is none young enough."""
        now = asyncio.get_running_loop().time()
        entry = self._entries.get(key)
        if entry is None or (entry.task.done() and now - entry.begun_at >= READ_EVERY_S):
            entry = _Entry(asyncio.ensure_future(_started(read)), now)
            self._make_room()
            self._entries[key] = entry
        # A stream that ends must not take the reading from the others.
        reading: Reading = await asyncio.shield(entry.task)
        return reading

    def _make_room(self) -> None:
        if len(self._entries) >= READINGS_KEPT_MAX:
            self._entries = {key: entry for key, entry in self._entries.items() if not entry.task.done()}


async def _started(read: Callable[[], Awaitable[Reading]]) -> Reading:
    return await read()


def search_text(typed: str) -> str:
    """Return what a reader looks for: control characters have no place in a name, nor in a query."""
    return "".join(character for character in typed if character.isprintable()).strip()


def reader_of(company_id: int) -> Caller:
    """Return who reads a company's figures for its streams: nobody's rights but reading that company's own."""
    return Caller(company_id=company_id, identity="process", scopes=frozenset({Scope.ANALYTICS_READ}))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Strings of a page, the moment they are of, and the version of each company they were read at."""

    view: View
    as_of: datetime
    versions: dict[int, int]
    show: Format
    today: date


class Feed(Protocol):
    """What a page's stream follows and sends."""

    @property
    def values_every_s(self) -> float:
        """How often figures may change on the screen."""

    @property
    def company_ids(self) -> frozenset[int]:
        """The companies whose versions the stream follows."""

    async def values(self) -> Snapshot:
        """Return the figures."""

    async def days(self) -> View:
        """Return what moves seldom (charts); empty when the page has none."""


class CompanyFeed:
    """The page of one company."""

    values_every_s = VALUES_EVERY_S

    def __init__(
        self, application: Application, shared: SharedReadings, caller: Caller, company_id: int, *, locale: str
    ) -> None:
        self._application = application
        self._shared = shared
        self._company_id = company_id
        self._locale = locale
        self._unset = unset_prices(application.settings, caller)
        self.company_ids = frozenset({company_id})

    async def values(self) -> Snapshot:
        """Return the cards."""
        summary = await shared_summary(self._application, self._shared, self._company_id)
        show = Format(self._locale, summary.company.timezone)
        begun = await has_begun(self._application, reader_of(self._company_id), summary)
        view = company_cards(summary, show, unset=self._unset, begun=begun)
        return Snapshot(view, summary.as_of, {self._company_id: summary.version}, show, summary.daily.start.date())

    async def days(self) -> View:
        """Return the charts and their table."""
        history = await self._shared.get(("days", self._company_id), self._read_history)
        return company_days(history, Format(self._locale, history.company.timezone))

    async def _read_history(self) -> History:
        analytics, now = self._application.analytics, self._application.clock()
        return await analytics.history(reader_of(self._company_id), self._company_id, HistoryPeriod.WEEK, now)


async def shared_summary(application: Application, shared: SharedReadings, company_id: int) -> Summary:
    """Return a company's summary, read once for all streams that show a part of it."""

    async def read() -> Summary:
        return await application.analytics.summary(reader_of(company_id), company_id, application.clock())

    return await shared.get(("summary", company_id), read)


def unset_prices(settings: Settings, caller: Caller) -> tuple[str, ...]:
    """Return the names of the price settings that are not set, to the operator only: nobody else can set them."""
    if not caller.is_operator:
        return ()
    prices = {
        "BILLING_COST_PER_MESSAGE": settings.billing_cost_per_message,
        "BILLING_COST_PER_THOUSAND_TOKENS": settings.billing_cost_per_thousand_tokens,
    }
    return tuple(name for name, price in prices.items() if price is None)


async def has_begun(application: Application, caller: Caller, summary: Summary) -> bool:
    """Tell whether the company ever used anything; only an empty month leaves that to be asked."""
    if any(of.messages.total or of.tokens.total for of in (summary.current, summary.weekly)):
        return True
    return await application.analytics.has_usage(caller, summary.company.id)


def company_cards(summary: Summary, show: Format, *, unset: Sequence[str], begun: bool) -> View:
    """Return the cards of a company's page with the sentences around them."""
    sentences = texts(show.locale)
    periods = {
        "hoje": PeriodUsage.of_block(summary.daily),
        "semana": PeriodUsage.of_block(summary.weekly),
        "mes": PeriodUsage.of_block(summary.current),
    }
    view = figures.cards(periods, show, sentences)
    view.texts["sem-preco-frase"] = figures.not_priced_sentence(periods["mes"], show, sentences, unset=unset)
    cards = (f"{period}-{card}" for period in figures.PERIODS for card in figures.CARDS)
    figures.mark_begun(view, cards, begun=begun)
    return with_plan(view, summary.plan_month, show)


def with_plan(view: View, month: PlanMonth, show: Format) -> View:
    """Add the plan's bars to a page's strings and marks."""
    bars = plan_view.bars(month, show, texts(show.locale))
    view.texts.update(bars.texts)
    view.marks.update(bars.marks)
    return view


def company_days(history: History, show: Format) -> View:
    """Return the charts of a company's page and the table behind them."""
    points = [PeriodUsage.of_point(point, history.currency) for point in history.points]
    return figures.days(points, show, texts(show.locale))
