"""The ingest path: who may write for whom, what is admitted, and the lanes that count it.

One path for the HTTP route, the Python services and the file import. Nothing here asks the database once per event.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

import msgspec
import psycopg
import structlog

from secretaria.core.access import Caller, Scope
from secretaria.core.admission import Rejection, Window, refuse_content
from secretaria.core.errors import NotAllowed, Unavailable
from secretaria.core.event import UsageEvent, epoch_us
from secretaria.core.usage import PreparedEvent, prepare
from secretaria.services import counts
from secretaria.services.counting import (
    DAY_SERIES_CACHED_MAX,
    DUPLICATE,
    NO_COMPANY,
    SERIES_CACHED_MAX,
    CompanySettings,
    Counted,
    Group,
    Outcome,
    StaleSettingsError,
    settings_of,
)
from secretaria.services.lane import Lane, Part
from secretaria.store import events as store
from secretaria.store.alerts import Alert
from secretaria.store.database import Database, transaction
from secretaria.store.live import Live

LANES = 2
COMPANIES_CACHED_MAX = 50_000
STALE_RETRIES_MAX = 3
REPEATER_MEMORY_S = 30.0
MONTHS_REREAD_AFTER_S = 1.0
DEAD_CONNECTIONS_MAX = 8
PUBLISH_EVERY_S = 0.05
COMPANY_ID_DIGITS_MAX = 18
YIELD_EVERY_EVENTS = 48
NOBODY = -1  # the company of an operator's event that names none that could exist
_MAY_BE_TRIED_AGAIN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)
_DAY_US = 86_400 * 1_000_000
_EPOCH_DAY = date(1970, 1, 1)

_log = structlog.get_logger(__name__)


class IngestResult(msgspec.Struct):
    """The three add up to the batch. `rejected` is in the order of the batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]


class Submitted(NamedTuple):
    """What became of a batch, and the alerts that fired in the transactions that counted it, of its companies."""

    result: IngestResult
    alerts: list[Alert]


class IngestService:
    """Admits events and counts them; `start` before the first submit, `close` to drain."""

    def __init__(self, database: Database, live: Live | None) -> None:
        self._database = database
        self._live = live
        self._companies: dict[int, CompanySettings] = {}
        self._months: frozenset[str] = frozenset()
        self._days_with_room: set[int] = set()
        self._months_read_at = -MONTHS_REREAD_AFTER_S
        self._day_series: set[tuple[int, date, int]] = set()
        self._repeaters: dict[int, float] = {}
        self._direct_copy: bool | None = None
        self._lanes: list[Lane] = []
        self._unpublished: dict[int, int] = {}
        self._publisher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the lanes in the running loop."""
        self._lanes = [Lane(self._write) for _ in range(LANES)]
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        """Write what is queued and tell the last versions."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        if self._publisher is not None:
            await self._publisher

    async def submit(
        self,
        caller: Caller,
        events: Sequence[tuple[int, UsageEvent]],
        *,
        now: datetime,
        rejected: Iterable[Rejection] = (),
    ) -> IngestResult:
        """Count (index, event) pairs and return when they are on disk: submit_telling_alerts without the alerts."""
        return (await self.submit_telling_alerts(caller, events, now=now, rejected=rejected)).result

    async def submit_telling_alerts(
        self,
        caller: Caller,
        events: Sequence[tuple[int, UsageEvent]],
        *,
        now: datetime,
        rejected: Iterable[Rejection] = (),
    ) -> Submitted:
        """Count (index, event) pairs and return when they are on disk; `rejected` are items refused before.

        Raises NotAllowed (scope missing, a subject that is not the key's company), Unavailable (the database is down,
        the queue full, or the commit's result unknown: the retry then says duplicate).
        """
        caller.require_scope(Scope.USAGE_WRITE)
        companies = _companies_of(caller, events)
        await self._load_companies(set(companies))
        received = (epoch_us(now), now.isoformat())
        window = Window.around(received[0], backfill=Scope.USAGE_BACKFILL in caller.scopes)
        rejections = list(rejected)
        admitted: list[tuple[int, PreparedEvent]] = []
        for (index, event), company_id in zip(events, companies, strict=True):
            if index % YIELD_EVERY_EVENTS == YIELD_EVERY_EVENTS - 1:
                # Let the lanes hand PostgreSQL its next statement: it must not wait for a whole batch to be read.
                await asyncio.sleep(0)
            occurred_us = None if event.time is None else epoch_us(event.time)
            refusal = refuse_content(event)
            if refusal is None and occurred_us is not None:
                refusal = window.refuse(occurred_us)
                if refusal is None and occurred_us // _DAY_US not in self._days_with_room:
                    refusal = await self._refuse_month(occurred_us)
            settings = self._companies.get(company_id)
            if refusal is None and settings is not None:
                row = prepare(event, occurred_us, company_id=company_id, days=settings.days, received=received)
                admitted.append((index, row))
            else:
                code, message = refusal or _refuse_company(event)
                rejections.append(Rejection(index, event.id, code, message))
        refused = tuple(rejections)
        submitted = await self._count(admitted, rejections, received)
        if refused:
            counts.count_rejections(refused)
        return submitted

    async def _count(
        self, admitted: Sequence[tuple[int, PreparedEvent]], rejections: list[Rejection], received: tuple[int, str]
    ) -> Submitted:
        shares: list[list[tuple[int, PreparedEvent]]] = [[] for _ in range(LANES)]
        for pair in admitted:
            shares[pair[1].company_id % LANES].append(pair)
        pending: list[tuple[list[tuple[int, PreparedEvent]], Part]] = []
        for lane, share in zip(self._lanes, shares, strict=True):
            if share:
                part = Part([row for _, row in share], received)
                lane.submit(part)
                pending.append((share, part))
        results = await asyncio.gather(*(part.done for _, part in pending), return_exceptions=True)
        duplicates = 0
        for (share, _), outcomes in zip(pending, results, strict=True):
            if isinstance(outcomes, BaseException):
                raise outcomes
            for place, outcome in outcomes.items():
                if outcome is DUPLICATE:
                    duplicates += 1
                else:
                    index, row = share[place]
                    rejections.append(Rejection(index, row.event.id, outcome.code, outcome.message))
        rejections.sort(key=lambda rejection: rejection.index)
        refused_late = sum(len(outcomes) for outcomes in results if isinstance(outcomes, dict))
        alerts = [alert for _, part in pending for alert in part.alerts]
        return Submitted(IngestResult(len(admitted) - refused_late, duplicates, rejections), alerts)

    async def _load_companies(self, company_ids: set[int]) -> None:
        missing = company_ids - self._companies.keys()
        if not missing:
            return
        async with transaction(self._database.operator) as connection:
            zones = await store.read_zones(connection, missing)
        if len(self._companies) + len(zones) > COMPANIES_CACHED_MAX:
            self._companies.clear()
        for company_id, (version, rows) in zones.items():
            self._companies[company_id] = settings_of(version, rows)

    def forget_months(self) -> None:
        """Look again for partitions at the next event: the caller has just made one."""
        self._months_read_at = -MONTHS_REREAD_AFTER_S

    async def _refuse_month(self, occurred_us: int) -> tuple[str, str] | None:
        """Refuse an instant whose UTC month has no partition; the catalogue is read at most once a second."""
        day = occurred_us // _DAY_US
        if time.monotonic() - self._months_read_at >= MONTHS_REREAD_AFTER_S:
            async with transaction(self._database.operator) as connection:
                self._months = await store.read_months(connection)
            self._months_read_at = time.monotonic()
        month = (_EPOCH_DAY + timedelta(days=day)).strftime("%Y_%m")
        if month not in self._months:
            return "timestamp_too_old", "no room is prepared for this month: `secretaria import` prepares it"
        self._days_with_room.add(day)
        return None

    # --- one group, one transaction ----------------------------------------------------------------------------------

    async def _write(self, parts: Sequence[Part]) -> list[dict[int, Outcome]]:
        """Count the parts in one transaction and return each one's outcomes by its own places."""
        rows = [row for part in parts for row in part.rows]
        places: Sequence[int] = range(len(rows))
        gone: dict[int, Outcome] = {}
        now = datetime.fromisoformat(max(parts, key=lambda part: part.received).received[1])
        began_s = time.monotonic()
        for attempt in range(STALE_RETRIES_MAX + 1):
            try:
                counted = await self._write_rows([rows[place] for place in places] if gone else rows, now=now)
            except StaleSettingsError as error:
                if attempt == STALE_RETRIES_MAX:
                    raise Unavailable("the companies' settings keep changing; send it again") from error
                rows = await self._prepare_again(parts, error.company_ids)
                gone = {place: NO_COMPANY for place, row in enumerate(rows) if row.company_id not in self._companies}
                places = [place for place in range(len(rows)) if place not in gone]
                continue
            self._remember(counted)
            _hand_out(counted.alerts, parts)
            outcomes = gone | {places[place]: outcome for place, outcome in counted.outcomes.items()}
            queued = sum(lane.queued_events for lane in self._lanes)
            counts.count_group(len(rows), outcomes.values(), seconds=time.monotonic() - began_s, queued=queued)
            return _by_part(parts, outcomes)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _write_rows(self, rows: Sequence[PreparedEvent], *, now: datetime) -> Counted:
        """Count the rows in one transaction, on a live connection.

        The pool's connections may all have died with the last server; one that fails before it held a lock has done
        nothing and is replaced. Later, or when none is to be had, it is Unavailable: the commit may have happened.
        """
        for attempt in range(DEAD_CONNECTIONS_MAX + 1):
            group: Group | None = None
            try:
                async with self._database.ingest.connection() as connection:
                    if self._direct_copy is None:
                        self._direct_copy = await store.bypasses_row_level_security(connection)
                    group = Group(
                        connection,
                        rows,
                        self._companies,
                        day_series=self._day_series,
                        repeaters=self._recent_repeaters(),
                        direct_copy=self._direct_copy,
                        now=now,
                    )
                    return await group.count_and_commit()
            except _MAY_BE_TRIED_AGAIN:
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if group is not None and not group.holds_heads and attempt < DEAD_CONNECTIONS_MAX:
                    continue
                _log.warning("database_unavailable", error=str(error))
                raise Unavailable(
                    "the database is not reachable right now; send it again", code="database_down"
                ) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _prepare_again(self, parts: Sequence[Part], company_ids: set[int]) -> list[PreparedEvent]:
        """Read these companies' settings again and return all rows prepared by what holds now, in their order."""
        for company_id in company_ids:
            self._companies.pop(company_id, None)
        await self._load_companies({row.company_id for part in parts for row in part.rows})
        for part in parts:
            part.rows = [
                prepare(
                    row.event,
                    None if row.event.time is None else epoch_us(row.event.time),
                    company_id=row.company_id,
                    days=self._companies[row.company_id].days,
                    received=part.received,
                )
                if row.company_id in self._companies
                else row
                for row in part.rows
            ]
        return [row for part in parts for row in part.rows]

    def _recent_repeaters(self) -> set[int]:
        if self._repeaters:
            now = time.monotonic()
            self._repeaters = {company: until for company, until in self._repeaters.items() if until > now}
        return set(self._repeaters)

    def _remember(self, counted: Counted) -> None:
        """Keep what the committed transaction made true."""
        for (company_id, dimensions), series_id in counted.series.items():
            settings = self._companies.get(company_id)
            if settings is not None:
                if len(settings.series) >= SERIES_CACHED_MAX:
                    settings.series.clear()
                settings.series[dimensions] = series_id
        if len(self._day_series) > DAY_SERIES_CACHED_MAX:
            self._day_series.clear()
        self._day_series |= counted.day_series
        self._repeaters |= dict.fromkeys(counted.repeaters, time.monotonic() + REPEATER_MEMORY_S)
        self.tell(counted.versions)

    def tell(self, versions: dict[int, int]) -> None:
        """Gather the new versions and publish them soon, off the path of the answer."""
        if self._live is None:
            return
        self._unpublished |= versions
        if self._publisher is None or self._publisher.done():
            self._publisher = asyncio.create_task(self._publish(self._live))

    async def _publish(self, live: Live) -> None:
        while self._unpublished:
            versions, self._unpublished = self._unpublished, {}
            await live.publish(versions)
            await asyncio.sleep(PUBLISH_EVERY_S)


def _companies_of(caller: Caller, events: Sequence[tuple[int, UsageEvent]]) -> list[int]:
    """Return each event's company, NOBODY where an operator's event names none; a foreign subject refuses all."""
    if caller.is_operator:
        known: dict[str | None, int] = {}
        for _, event in events:
            if event.subject not in known:
                known[event.subject] = _company_id(event.subject)
        return [known[event.subject] for _, event in events]
    own = str(caller.company_id)
    for _, event in events:
        if event.subject is not None and event.subject != own:
            raise NotAllowed("this key writes for its own company only: leave subject out", code="foreign_subject")
    return [caller.company_id] * len(events)


def _company_id(subject: str | None) -> int:
    if subject is None or len(subject) > COMPANY_ID_DIGITS_MAX or not (subject.isascii() and subject.isdigit()):
        return NOBODY
    return int(subject)


def _refuse_company(event: UsageEvent) -> tuple[str, str]:
    if event.subject is None:
        return "subject_required", "an operator's key names the company in subject"
    return NO_COMPANY.code, NO_COMPANY.message


def _hand_out(alerts: Sequence[Alert], parts: Sequence[Part]) -> None:
    """Give each part the alerts of its companies: a group is one moment, whoever's event crossed the line."""
    for part in parts if alerts else ():
        companies = {row.company_id for row in part.rows}
        part.alerts = [alert for alert in alerts if alert.company_id in companies]


def _by_part(parts: Sequence[Part], outcomes: dict[int, Outcome]) -> list[dict[int, Outcome]]:
    """Return each part's outcomes by its own places."""
    results: list[dict[int, Outcome]] = [{} for _ in parts]
    ends = list(accumulate(len(part.rows) for part in parts))
    for place, outcome in outcomes.items():
        number = bisect_right(ends, place)
        begin = ends[number - 1] if number else 0
        results[number][place - begin] = outcome
    return results
