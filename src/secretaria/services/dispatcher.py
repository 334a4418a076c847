"""Delivers the outbox: leases endpoints that have something due, makes the attempts, writes what came of each.

Any number of these may run: a lease gives an endpoint to one of them, and its number fences what that one writes. At
least once: whoever dies between an attempt and its mark leaves both to be done again under the same message_id.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import psycopg
import structlog

from secretaria import failpoint
from secretaria.core.access import PROCESS
from secretaria.core.delivery import (
    JITTER_PERMILLE_MAX,
    Channel,
    DeliveryStatus,
    DisabledReason,
    EventType,
    Outcome,
    Settled,
    settle,
)
from secretaria.core.errors import ConfigurationError, SecretariaError
from secretaria.services import counts
from secretaria.services.courier import Courier
from secretaria.services.deliveries import News, enqueue, shown_address
from secretaria.store import audit, deliveries
from secretaria.store import delivery_endpoints as endpoints
from secretaria.store.database import CONNECT_TIMEOUT_S, Connection, Database, transaction
from secretaria.store.deliveries import CHANNEL, Attempt, Delivery
from secretaria.store.delivery_endpoints import Endpoint

POLL_S: Final = 1.0
"""How often it looks by itself: what became due, and what a lost notification told of."""

ATTEMPT_MAX_S: Final = 30.0
LEASE: Final = timedelta(seconds=45)
"""Longer than any attempt and its mark. When a worker was killed, its endpoints wait for this long."""

SLOW_AFTER_S: Final = 0.5
STOP_WAIT_S: Final = 15.0
"""How long attempts under way may go on after the stop: as long as a webhook takes at most."""

LISTEN_AGAIN_S: Final = 1.0

Key = tuple[int, int]
"""(company_id, endpoint_id)."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """How much one dispatcher does at once.

    A healthy endpoint gets several attempts at once, a failing one a single one, and the two have slots of their own.
    A healthy endpoint that takes longer than SLOW_AFTER_S hands its slot on, so that many that die together delay
    nobody either: there are slow_max of those beside.
    """

    healthy_max: int = 32
    failing_max: int = 32
    slow_max: int = 64
    attempts_each: int = 4


@dataclass(slots=True)
class _Slots:
    """Which endpoints are being served, by kind of slot."""

    limits: DispatchLimits
    healthy: set[Key] = field(default_factory=set)
    failing: set[Key] = field(default_factory=set)
    slow: set[Key] = field(default_factory=set)

    def free(self, *, is_failing: bool) -> int:
        """Return how many more endpoints may be served."""
        if is_failing:
            return self.limits.failing_max - len(self.failing)
        return self.limits.healthy_max - len(self.healthy)

    def taken(self, key: Key) -> bool:
        """Tell whether an endpoint is being served here."""
        return key in self.healthy or key in self.failing or key in self.slow

    @contextlib.contextmanager
    def hold(self, key: Key, *, is_failing: bool) -> Iterator[None]:
        """Occupy a slot, whichever it is handed on to meanwhile."""
        (self.failing if is_failing else self.healthy).add(key)
        try:
            yield
        finally:
            for kind in (self.healthy, self.failing, self.slow):
                kind.discard(key)

    def hand_on(self, key: Key) -> bool:
        """Move a slow endpoint out of the way of the prompt ones; False while there is no room for it."""
        if key not in self.healthy:
            return True
        if len(self.slow) >= self.limits.slow_max:
            return False
        self.healthy.discard(key)
        self.slow.add(key)
        return True


def random_jitter() -> int:
    """Return a jitter in thousandths, either way."""
    return secrets.randbelow(2 * JITTER_PERMILLE_MAX + 1) - JITTER_PERMILLE_MAX


class Dispatcher:
    """Runs beside the jobs of a worker. clock gives an aware UTC now, couriers carry what each channel takes."""

    def __init__(
        self,
        database: Database,
        couriers: Mapping[Channel, Courier],
        *,
        url: str,
        clock: Callable[[], datetime],
        jitter: Callable[[], int] = random_jitter,
        limits: DispatchLimits = DispatchLimits(),
    ) -> None:
        self._database = database
        self._couriers = couriers
        self._url = url
        self._clock = clock
        self._jitter = jitter
        self._limits = limits
        self._slots = _Slots(limits)
        self._serving: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; then nothing new is taken, and attempts under way get STOP_WAIT_S to end."""
        listening = asyncio.create_task(self._listen())
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self._take_due()
                except (SecretariaError, psycopg.Error) as error:
                    _log.warning("deliveries_not_read", error=str(error).strip())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_S)
        finally:
            listening.cancel()
            stopping.cancel()
            await asyncio.gather(listening, stopping, return_exceptions=True)
            await self._drain()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _drain(self) -> None:
        """Let what is under way end; what does not is cut off, and made again when its lease is over."""
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=STOP_WAIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _listen(self) -> None:
        """Be woken by commits that put something before an endpoint; the connection is made anew when it breaks."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    application_name="secretaria_deliveries",
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    self._wake.set()
                    async for _ in connection.notifies():
                        self._wake.set()
            except psycopg.Error as error:
                _log.warning("deliveries_not_heard", error=str(error).strip())
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _take_due(self) -> None:
        """Begin to serve endpoints with something due, as far as slots are free: the healthy first."""
        for is_failing in (False, True):
            free = self._slots.free(is_failing=is_failing)
            if free <= 0:
                continue
            async with transaction(self._database.operator) as connection:
                due = await endpoints.read_due(connection, self._clock(), is_failing=is_failing, limit=free)
            for key in due:
                if not self._slots.taken(key):
                    self._begin(key, is_failing=is_failing)

    def _begin(self, key: Key, *, is_failing: bool) -> None:
        # The slot is taken before the task first runs: the next look must not begin it again.
        slot = contextlib.ExitStack()
        slot.enter_context(self._slots.hold(key, is_failing=is_failing))
        task = asyncio.create_task(self._serve(key))
        self._serving.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            slot.close()
            self._serving.discard(task)
            self._wake.set()

        task.add_done_callback(ended)
        if not is_failing:
            asyncio.get_running_loop().call_later(SLOW_AFTER_S, self._hand_on, key, task)

    def _hand_on(self, key: Key, task: asyncio.Task[None]) -> None:
        if task.done():
            return
        if self._slots.hand_on(key):
            self._wake.set()
        else:
            asyncio.get_running_loop().call_later(SLOW_AFTER_S, self._hand_on, key, task)

    async def _serve(self, key: Key) -> None:
        """One turn of an endpoint: lease it, make what is due, give it back."""
        try:
            endpoint, due = await self._lease(key)
            if endpoint is None:
                return
            failpoint.reach("delivery.leased")
            results = await asyncio.gather(*(self._deliver(endpoint, of) for of in due), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            async with transaction(self._database.operator) as connection:
                await endpoints.release(connection, endpoint)
        except (SecretariaError, psycopg.Error) as error:
            # The lease runs out by itself: until then this endpoint is left alone.
            _log.warning("delivery_not_marked", company_id=key[0], endpoint_id=key[1], error=str(error).strip())
            await asyncio.sleep(POLL_S)
        except Exception:  # noqa: BLE001 - one endpoint's trouble must not end the others' deliveries
            _log.exception("delivery_broke", company_id=key[0], endpoint_id=key[1])
            await asyncio.sleep(POLL_S)

    async def _lease(self, key: Key) -> tuple[Endpoint | None, list[Delivery]]:
        now = self._clock()
        async with transaction(self._database.operator) as connection:
            endpoint = await endpoints.lease(connection, *key, now=now, until=now + LEASE)
            if endpoint is None:
                return None, []
            limit = self._limits.attempts_each if endpoint.failing_since is None else 1
            return endpoint, await deliveries.read_due(connection, *key, now, limit=limit)

    async def _deliver(self, endpoint: Endpoint, delivery: Delivery) -> None:
        at = self._clock()
        outcome = await self._attempt(endpoint, delivery, at)
        failpoint.reach("delivery.sent")
        settled = await self._settle(endpoint, delivery, outcome, at)
        if settled is not None:
            counts.count_attempt(endpoint.channel, settled.status)

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery, at: datetime) -> Outcome:
        """Let the channel's courier try once; whatever goes wrong on our side is an outcome too, and shown."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            async with asyncio.timeout(ATTEMPT_MAX_S):
                courier = self._couriers.get(endpoint.channel)
                if courier is None:
                    raise ConfigurationError("nothing carries this channel", code="channel_not_set_up")
                return await courier.send(endpoint, delivery, at)
        except TimeoutError:
            error = "timeout"
        except SecretariaError as failed:
            error = failed.code
        except Exception:  # noqa: BLE001 - it would come round again at once; as an outcome it waits its turn
            _log.exception("courier_broke", company_id=endpoint.company_id, endpoint_id=endpoint.endpoint_id)
            error = "internal"
        return Outcome(False, None, error, round((loop.time() - started_s) * 1000))

    async def _settle(self, leased: Endpoint, made: Delivery, outcome: Outcome, at: datetime) -> Settled | None:
        """Write an attempt and all that follows from it in one transaction; None when the lease was taken over."""
        now = self._clock()
        async with transaction(self._database.operator) as connection:
            # 1. The endpoint first, as everyone who touches its deliveries does; the lease's number is the fence.
            endpoint = await endpoints.lock_leased(connection, leased)
            delivery = await deliveries.read(connection, made.company_id, made.delivery_id, lock=True)
            if endpoint is None or delivery is None:
                _log.warning("delivery_lease_lost", company_id=made.company_id, delivery_id=made.delivery_id)
                return None
            # 2. As it stands by now: somebody may have asked for a redelivery, which is then this attempt.
            settled = settle(
                outcome,
                event_type=delivery.event_type,
                attempt=delivery.next_attempt,
                failing_since=endpoint.failing_since,
                now=now,
                jitter_permille=self._jitter(),
            )
            kept = Attempt(
                delivery.attempts + 1, at, outcome.duration_ms, outcome.status_code, outcome.error, _text(outcome.head)
            )
            await deliveries.insert_attempt(connection, delivery, kept)
            await self._write(connection, endpoint, delivery, settled, now=now)
            # 3. A success means that it is back: whatever waits for it goes out now.
            if outcome.succeeded:
                await deliveries.release(connection, endpoint.company_id, endpoint.endpoint_id, now=now)
            if settled.disabled is not None:
                await disable(connection, endpoint, settled.disabled, now=now)
            failpoint.reach("delivery.marked")
        return settled

    async def _write(
        self, connection: Connection, endpoint: Endpoint, delivery: Delivery, settled: Settled, *, now: datetime
    ) -> None:
        is_delivered = settled.status is DeliveryStatus.DELIVERED
        cancelled = delivery.status is DeliveryStatus.CANCELLED and not is_delivered
        await deliveries.settle(
            connection,
            delivery,
            status=DeliveryStatus.CANCELLED if cancelled else settled.status,
            next_attempt_at=settled.next_attempt_at,
            delivered_at=now if is_delivered else None,
        )
        await endpoints.settle(
            connection,
            endpoint,
            failing_since=settled.failing_since,
            held_until=settled.held_until,
            succeeded_at=now if is_delivered else None,
        )


async def disable(connection: Connection, endpoint: Endpoint, reason: DisabledReason, *, now: datetime) -> None:
    """Send nothing more to an endpoint, and tell its owner and the operator by mail."""
    if not await endpoints.disable(connection, endpoint, reason, now=now):
        return
    data = {
        "endpoint_id": endpoint.endpoint_id,
        "company_id": endpoint.company_id,
        "channel": endpoint.channel.value,
        "address": shown_address(endpoint.address),
        "reason": reason.value,
        "failing_since": endpoint.failing_since,
        "disabled_at": now,
    }
    key = f"endpoint_{endpoint.endpoint_id}_disabled_{endpoint.lease}"
    news = News(endpoint.company_id, None, EventType.ENDPOINT_DISABLED.value, key, data)
    await enqueue(connection, [news], now=now)
    await audit.insert(
        connection, endpoint.company_id, actor=PROCESS.identity, action="endpoint.disabled",
        subject=f"endpoint:{endpoint.endpoint_id}", detail={"reason": reason.value},
    )  # fmt: skip
    _log.warning(
        "endpoint_disabled", company_id=endpoint.company_id, endpoint_id=endpoint.endpoint_id, reason=reason.value
    )


def _text(answer: str) -> str:
    """Return text as PostgreSQL takes it."""
    return answer.replace("\0", "�").encode("utf-8", "replace").decode()
