"""AnalyticsService and BillingService: Secretaria for a Python program in the same process, sync and async.

They take the path of POST /api/usage, on a thread of their own, so that they can be called from any code.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec

from secretaria.bootstrap import Application, application, opened_database
from secretaria.core.access import PROCESS
from secretaria.core.admission import refuse_text
from secretaria.core.entitlement import Quantities
from secretaria.core.errors import InvalidInput
from secretaria.core.event import RECORDED, UsageEvent
from secretaria.services.entitlements import Entitlement
from secretaria.services.figures import History, Summary
from secretaria.services.recording import RecordedUsage, RecordStatus
from secretaria.settings import Settings

START_WAIT_S = 120.0

_Result = TypeVar("_Result")


class AnalyticsService:
    """Records usage and reads figures.

    Finds the database as every command does: DATABASE_URL, else a running copy on SECRETARIA_DATA_DIR, else an
    embedded one for as long as this object lives. Connects at the first call. Safe to share between threads.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._application: Application | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._servers = ExitStack()
        self._lock = threading.Lock()

    def record_usage(self, company_id: int, *, event_id: str, direction: str, **usage: Any) -> RecordedUsage:
        """Count one event; see BillingService.record_usage."""
        return self._submit(self._record(company_id, event_id=event_id, direction=direction, **usage)).result()

    async def arecord_usage(self, company_id: int, *, event_id: str, direction: str, **usage: Any) -> RecordedUsage:
        """As record_usage, for asyncio programs."""
        future = self._submit(self._record(company_id, event_id=event_id, direction=direction, **usage))
        return await asyncio.wrap_future(future)

    def can_send(self, company_id: int, *, messages: int = 1, tokens: int = 0) -> Entitlement:
        """Tell whether a company may send; see BillingService.can_send."""
        return self._submit(self._can_send(company_id, messages, tokens)).result()

    async def acan_send(self, company_id: int, *, messages: int = 1, tokens: int = 0) -> Entitlement:
        """As can_send, for asyncio programs."""
        return await asyncio.wrap_future(self._submit(self._can_send(company_id, messages, tokens)))

    def summary(self, company_id: int) -> Summary:
        """Return what GET /api/analytics/summary does. Raises NotFound."""
        return self._submit(self._summary(company_id)).result()

    async def asummary(self, company_id: int) -> Summary:
        """As summary, for asyncio programs."""
        return await asyncio.wrap_future(self._submit(self._summary(company_id)))

    def history(self, company_id: int, period: str = "week") -> History:
        """Return what GET /api/analytics/history does: 7 days ("week") or 8 weeks ("month"). Raises NotFound."""
        return self._submit(self._history(company_id, period)).result()

    async def ahistory(self, company_id: int, period: str = "week") -> History:
        """As history, for asyncio programs."""
        return await asyncio.wrap_future(self._submit(self._history(company_id, period)))

    def close(self) -> None:
        """Write what is under way and close the connections."""
        with self._lock:
            if self._loop is not None and self._stop is not None and self._thread is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
                self._thread.join()
            self._loop = self._application = self._thread = self._stop = None
            self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _record(
        self, company_id: int, *, source: str = "python", time: datetime | None = None, **usage: Any
    ) -> RecordedUsage:
        running = self._running()
        try:
            event = _event(company_id, source=source, time=time, **usage)
        except (msgspec.ValidationError, InvalidInput) as error:
            code = error.code if isinstance(error, InvalidInput) else "invalid_usage"
            return RecordedUsage(RecordStatus.REJECTED, None, None, code=code, message=str(error))
        return await running.recording.record(PROCESS, company_id, event, running.clock())

    async def _can_send(self, company_id: int, messages: int, tokens: int) -> Entitlement:
        running, wanted = self._running(), Quantities(messages, tokens)
        return await running.entitlements.check(PROCESS, company_id, running.clock(), wanted=wanted)

    async def _summary(self, company_id: int) -> Summary:
        running = self._running()
        return await running.analytics.summary(PROCESS, company_id, running.clock())

    async def _history(self, company_id: int, period: str) -> History:
        running = self._running()
        return await running.analytics.history(PROCESS, company_id, period, running.clock())

    def _running(self) -> Application:
        if self._application is None:
            raise RuntimeError("this service was closed")
        return self._application

    def _submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        try:
            with self._lock:
                if self._loop is None:
                    self._start()
                loop = self._loop
        except BaseException:
            work.close()
            raise
        if loop is None:
            raise AssertionError("the loop was started above")
        return asyncio.run_coroutine_threadsafe(work, loop)

    def _start(self) -> None:
        # The servers belong to the calling thread's process, not to the loop: they outlive a failed start-up cleanly.
        settings = self._settings or Settings.load()
        found = self._servers.enter_context(opened_database(settings))
        ready: Future[None] = Future()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with AsyncExitStack() as stack:
                try:
                    self._application = await stack.enter_async_context(application(settings, found))
                except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
                    ready.set_exception(error)
                    return
                ready.set_result(None)
                await self._stop.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), name="secretaria", daemon=True)
        self._thread.start()
        try:
            ready.result(START_WAIT_S)
        except BaseException:
            self._loop = self._stop = self._thread = None
            self._servers.close()
            raise


class BillingService:
    """Usage with its cost, and the alerts it raises. Delegates cost and storage to an AnalyticsService."""

    def __init__(self, analytics: AnalyticsService | None = None) -> None:
        self.analytics = analytics or AnalyticsService()

    def record_usage(
        self,
        company_id: int,
        *,
        event_id: str,
        direction: str,
        messages: int = 0,
        tokens_input: int = 0,
        tokens_output: int = 0,
        response_ms: int | None = None,
        category: str | None = None,
        account_id: int | None = None,
        template_id: int | None = None,
        model: str | None = None,
        cost_center: str | None = None,
        wamid: str | None = None,
        reservation_id: UUID | str | None = None,
        source: str = "python",
        time: datetime | None = None,
    ) -> RecordedUsage:
        """Count one event once, for ever, and return its status, incremental cost and alerts.

        (source, event_id) is its identity: calling again is safe. direction is inbound or outbound; response_ms are
        milliseconds; time is aware (now when absent); reservation_id names what was held for it. What
        cannot be counted comes back as rejected with a code.
        Raises Unavailable when the database is down: call again.
        """
        return self.analytics.record_usage(company_id, **_arguments(locals()))

    async def arecord_usage(
        self,
        company_id: int,
        *,
        event_id: str,
        direction: str,
        messages: int = 0,
        tokens_input: int = 0,
        tokens_output: int = 0,
        response_ms: int | None = None,
        category: str | None = None,
        account_id: int | None = None,
        template_id: int | None = None,
        model: str | None = None,
        cost_center: str | None = None,
        wamid: str | None = None,
        reservation_id: UUID | str | None = None,
        source: str = "python",
        time: datetime | None = None,
    ) -> RecordedUsage:
        """As record_usage, for asyncio programs."""
        return await self.analytics.arecord_usage(company_id, **_arguments(locals()))

    def can_send(self, company_id: int, *, messages: int = 1, tokens: int = 0) -> Entitlement:
        """Tell whether a company may send this much more: not suspended, and within the hard limits of its plan.

        The answer (allowed, reason, metrics) comes from memory and is at most a second old. What other campaigns have
        reserved is not free. Raises NotFound, and Unavailable when the database is down: never a stale yes.
        """
        return self.analytics.can_send(company_id, messages=messages, tokens=tokens)

    async def acan_send(self, company_id: int, *, messages: int = 1, tokens: int = 0) -> Entitlement:
        """As can_send, for asyncio programs."""
        return await self.analytics.acan_send(company_id, messages=messages, tokens=tokens)

    def close(self) -> None:
        """Close the AnalyticsService."""
        self.analytics.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in ("self", "company_id")}


def _event(company_id: int, *, event_id: str, source: str, time: datetime | None, **usage: Any) -> UsageEvent:
    event = msgspec.convert(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": RECORDED,
            "subject": str(company_id),
            "data": usage,
            **({} if time is None else {"time": time}),
        },
        UsageEvent,
    )
    refusal = refuse_text(event)
    if refusal is not None:
        code, message = refusal
        raise InvalidInput(message, code=code)
    return event
