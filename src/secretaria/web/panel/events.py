"""The stream behind a page's figures (server-sent events): ready strings by element id, and a heartbeat.

A stream answers to its session: it ends when that is revoked, when the reader no longer reads, when the server stops.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Final

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.access import Scope as AccessScope
from secretaria.core.errors import NotAuthenticated, NotFound, Unavailable
from secretaria.services.live import LiveHub, Stream
from secretaria.services.scope import COMPANY_ID_MAX
from secretaria.web.auth import application_of, caller_of, token_of
from secretaria.web.errors import problem_response, request_id_of
from secretaria.web.panel import account_feed, alert_watch, analytics_feed, first_run_feed, overview_feed
from secretaria.web.panel.alert_watch import PageAlerts
from secretaria.web.panel.figures import BEGUN, View, watermark
from secretaria.web.panel.i18n import texts
from secretaria.web.panel.live_view import CompanyFeed, Feed, SharedReadings, Snapshot
from secretaria.web.panel.overview_query import CURSOR_CHARS_MAX, SEARCH_CHARS_MAX
from secretaria.web.panel.render import locale_of

HEARTBEAT_S: Final = 10.0
DAYS_EVERY_S: Final = 15.0
REFRESH_EVERY_S: Final = 60.0  # a day that turns changes figures though nothing was sent
READ_AGAIN_S: Final = 1.0
SEND_TIMEOUT_S: Final = 10.0

_log = structlog.get_logger(__name__)
router = APIRouter(include_in_schema=False)


class _Shown:
    """What this page shows already: only differences are sent."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._marks: dict[str, dict[str, str]] = {}

    def differences(self, view: View) -> dict[str, Any]:
        """Return what is new in the view, and remember it."""
        changed_texts = {key: text for key, text in view.texts.items() if self._texts.get(key) != text}
        changed_marks = {key: marks for key, marks in view.marks.items() if self._marks.get(key) != marks}
        self._texts |= changed_texts
        self._marks |= changed_marks
        return {"texts": changed_texts, "marks": changed_marks, "late": view.late}


class PageStream:
    """One open page: waits for its companies to move, and writes what changed, not more often than the page needs.

    Alerts are not gathered: they are written as soon as they are read.
    """

    def __init__(self, application: Application, feed: Feed, alerts: PageAlerts, token: str, locale: str) -> None:
        self._application = application
        self._feed = feed
        self._alerts = alerts
        self._token = token
        self._texts = texts(locale)
        self._shown = _Shown()
        self._snapshot: Snapshot | None = None
        self._values_due = self._days_due = self._alerts_due = True
        self._next_values = self._next_days = self._next_refresh = self._next_alerts = 0.0

    async def events(self, hub: LiveHub, stream: Stream) -> AsyncGenerator[bytes]:
        """Yield the events until the stream closes or the session ends."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while not stream.closed:
            due = [next_beat]
            due += [self._next_values] if self._values_due else []
            due += [self._next_days] if self._days_due else []
            due += [self._next_alerts] if self._alerts_due else []
            if await stream.changes(min(due) - loop.time()):
                self._values_due = self._days_due = self._alerts_due = True
            if news := await self._read_alerts(loop.time()):
                yield news
            view = await self._read(hub, loop.time())
            if view is not None:
                yield self._event("valores", view, hub)
            if loop.time() >= next_beat and not stream.closed:
                if not await self._session_open():
                    yield b"event: fim\ndata: {}\n\n"
                    return
                next_beat = loop.time() + HEARTBEAT_S
                yield self._event("pulso", View(), hub)

    async def _read_alerts(self, now: float) -> bytes:
        """Return the event of what is new, or nothing; a database that is away leaves it due."""
        if not self._alerts_due or now < self._next_alerts:
            return b""
        try:
            counts, toasts = await self._alerts.news()
        except Unavailable:
            self._next_alerts = now + READ_AGAIN_S
            return b""
        self._alerts_due = False
        changed = self._shown.differences(counts)["texts"]
        if not changed and not toasts:
            return b""
        return _written("alerta", {"texts": changed, "alerts": toasts})

    async def _read(self, hub: LiveHub, now: float) -> View | None:
        """Return what is due; a database that is away leaves it due, and the watermark old."""
        view = View()
        try:
            if (self._values_due or now >= self._next_refresh) and now >= self._next_values:
                await self._read_values(view, hub, now)
            if self._days_due and now >= self._next_days:
                self._next_days = now + DAYS_EVERY_S
                days = await self._feed.days()
                self._days_due = self._values_due
                view.texts.update(days.texts)
                view.marks.update(days.marks)
        except Unavailable:
            self._next_values = self._next_days = now + self._feed.values_every_s
        return view if view.texts else None

    async def _read_values(self, view: View, hub: LiveHub, now: float) -> None:
        self._next_values = now + self._feed.values_every_s
        self._next_refresh = now + REFRESH_EVERY_S
        before, self._snapshot = self._snapshot, await self._feed.values()
        self._values_due = not hub.is_current(self._snapshot.versions)
        if before is not None and _redrawn(before, self._snapshot):
            self._days_due, self._next_days = True, now
        view.texts.update(self._snapshot.view.texts)
        view.marks.update(self._snapshot.view.marks)

    def _event(self, name: str, view: View, hub: LiveHub) -> bytes:
        now = self._application.clock()
        if self._snapshot is not None:
            complete_until = self._snapshot.as_of
            if hub.checked_at is not None and not self._values_due:
                complete_until = max(complete_until, hub.checked_at)
            mark = watermark(complete_until, now, self._snapshot.show, self._texts)
            view = View({**view.texts, **mark.texts}, view.marks, mark.late)
        return _written(name, self._shown.differences(view))

    async def _session_open(self) -> bool:
        try:
            await self._application.access.authenticate(self._token, self._application.clock())
        except NotAuthenticated:
            return False
        except Unavailable:
            return True  # The database is away: whoever was let in stays until it can be asked.
        return True


def _redrawn(before: Snapshot, now: Snapshot) -> bool:
    """Tell whether the charts cannot wait: a day turned, or the first event of all uncovers them."""
    return before.today != now.today or before.view.marks.get(BEGUN) != now.view.marks.get(BEGUN)


def _written(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class EventStreamResponse(Response):
    """Writes a page's events; a reader that takes nothing for SEND_TIMEOUT_S is let go."""

    def __init__(self, hub: LiveHub, caller: Caller, feed: Feed, page_stream: PageStream) -> None:
        self._hub = hub
        self._caller = caller
        self._feed = feed
        self._page_stream = page_stream
        super().__init__(
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until either side ends it; without room for another stream, say so and end."""
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(self._hub.open(self._caller, self._feed.company_ids))
            except Unavailable as error:
                await problem_response(error, request_id_of(scope))(scope, receive, send)
                return
            gone = asyncio.create_task(_until_gone(receive, stream))
            try:
                await self._write(stream, send)
            finally:
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone

    async def _write(self, stream: Stream, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        events = self._page_stream.events(self._hub, stream)
        async with contextlib.aclosing(events):
            async for event in events:
                try:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send(_body(event, more=True))
                except TimeoutError:
                    _log.info("live_reader_too_slow", identity=self._caller.identity)
                    return
                except OSError:
                    return
        await send(_body(b"", more=False))


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _until_gone(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()


@router.get("/_/eventos")
async def events(
    request: Request,
    *,
    escopo: Annotated[str, Query(max_length=20)] = "",
    empresa: Annotated[int, Query(ge=0)] = 0,
    apos: Annotated[int, Query(ge=0, le=COMPANY_ID_MAX)] = 0,
    q: Annotated[str, Query(max_length=SEARCH_CHARS_MAX)] = "",
    depois: Annotated[str, Query(max_length=CURSOR_CHARS_MAX)] = "",
    alerta: Annotated[int | None, Query(ge=0, le=COMPANY_ID_MAX)] = None,
) -> Response:
    """Follow a company (escopo=empresa&empresa=7), its cards (contas) or rows of the list (empresas&ids=1.2.3).

    analytics&empresa=7 and empresas take the page's own query beside it (analytics_query.py, overview_query.py; of the
    list's place, apos there, depois here). alerta is the newest alert that the
    page has seen; without it what stands when the stream opens.
    """
    del q, depois  # their lengths are checked here; the feed reads them with the rest of the query
    application, caller = application_of(request), await caller_of(request)
    token, _ = token_of(request.scope)
    user = await application.access.user_of(caller)
    locale = locale_of(request, user.locale if user else None)
    shared: SharedReadings = request.app.state.live_readings
    wanted: dict[str, Any] = {"escopo": escopo, "empresa": empresa, "apos": apos}
    wanted["query"] = request.query_params
    feed = await _feed_of(application, shared, caller, wanted, locale)
    if escopo != "empresas":
        feed = await first_run_feed.with_steps(application, shared, caller, feed, locale=locale)
    seen = await application.alert_pages.newest_id(feed.company_ids) if alerta is None else alerta
    alerts = PageAlerts(
        request.app.state.alert_watch, feed.company_ids, locale, seen=seen, is_list=escopo == "empresas",
        all_open=caller.is_operator,
    )
    return EventStreamResponse(application.hub, caller, feed, PageStream(application, feed, alerts, token, locale))


async def _feed_of(
    application: Application, shared: SharedReadings, caller: Caller, wanted: Mapping[str, Any], locale: str
) -> Feed:
    caller.require_scope(AccessScope.ANALYTICS_READ)
    if wanted["escopo"] == "empresas":
        return await overview_feed.open_feed(application, shared, caller, wanted["query"], locale=locale)
    if wanted["escopo"] == "contas":
        return await account_feed.open_feed(
            application, shared, caller, wanted["empresa"], after=wanted["apos"], locale=locale
        )
    if wanted["escopo"] == "alertas":
        return await alert_watch.open_feed(application, caller, wanted["empresa"], locale=locale)
    if wanted["escopo"] == "analytics":
        return await analytics_feed.open_feed(
            application, shared, caller, wanted["empresa"], wanted["query"], locale=locale
        )
    if wanted["escopo"] != "empresa":
        raise NotFound("there is nothing here")
    caller.require_company(wanted["empresa"])
    feed = CompanyFeed(application, shared, caller, wanted["empresa"], locale=locale)
    await feed.values()  # a company that does not exist is a 404, not a stream of nothing
    return feed
