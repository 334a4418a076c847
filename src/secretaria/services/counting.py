"""Counts one group of events in the caller's transaction: heads, identities, facts, sums. The heart of the product.

Everything is decided after the heads are locked, from what the database holds then; caches only save questions whose
answers cannot have changed (the heads' settings_version proves it).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec

from secretaria import failpoint
from secretaria.core.event import Direction, identity_of
from secretaria.core.period import DayFinder, ZoneSchedule, month_of
from secretaria.core.price import Dimensions
from secretaria.core.usage import PreparedEvent, SentDimensions, dimensions_of, folded, sum_deltas
from secretaria.services import crossings, settlement
from secretaria.store import events as store
from secretaria.store import series as series_store
from secretaria.store.alerts import Alert
from secretaria.store.database import Connection
from secretaria.store.events import Key

SERIES_A_DAY_MAX = 2_000
SERIES_CACHED_MAX = 20_000
DAY_SERIES_CACHED_MAX = 500_000


@dataclass(slots=True)
class CompanySettings:
    """What the write path knows of a company, true for one settings_version of its head."""

    settings_version: int
    days: DayFinder
    series: dict[SentDimensions, int] = field(default_factory=dict)


class StaleSettingsError(Exception):
    """These companies' zones or prices changed since they were read, or the companies went: prepare and count again."""

    def __init__(self, company_ids: set[int]) -> None:
        super().__init__(f"settings of {sorted(company_ids)} changed")
        self.company_ids = company_ids


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event that was not accepted. code is duplicate, or why it was rejected."""

    code: str
    message: str


DUPLICATE = Outcome("duplicate", "counted before")
ID_CONFLICT = Outcome("id_conflict", "an event with this source and id was counted before, with other content")
NO_COMPANY = Outcome("company_not_found", "no such company")
NO_ORIGINAL = Outcome("original_not_found", "data.corrects names no recorded event of this company")
OTHER_DIRECTION = Outcome("direction_mismatch", "a correction keeps the original's direction")


class Counted(msgspec.Struct):
    """A counted group, not committed yet: an Outcome per event that was not accepted, the heads' new versions, what
    may be cached once the transaction has committed, and the alerts that fired.
    """

    outcomes: dict[int, Outcome]
    versions: dict[int, int]
    series: dict[tuple[int, SentDimensions], int]
    day_series: set[tuple[int, date, int]]
    repeaters: set[int]
    alerts: list[Alert]


class Group:
    """The steps over one group of prepared events, in the order of the locks."""

    def __init__(
        self,
        connection: Connection,
        rows: Sequence[PreparedEvent],
        settings: Mapping[int, CompanySettings],
        *,
        day_series: set[tuple[int, date, int]],
        repeaters: set[int],
        direct_copy: bool,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._settings = settings
        self._day_series = day_series
        self._repeaters = repeaters
        self._direct = direct_copy
        self._now = now
        self._heads: dict[int, store.Head] = {}
        # Until then nothing can have been done: a connection that turns out dead may simply be replaced.
        self.holds_heads = False
        self._counted = Counted({}, {}, {}, set(), set(), [])

    async def count_and_commit(self) -> Counted:
        """Run every step and commit. Raises StaleSettingsError, or psycopg.Error: then nothing of it is there.

        While PostgreSQL works, other requests are read by the same thread, so every wait for an answer also waits for
        that thread: statements whose answers are not needed at once travel together.
        """
        if not self._rows:
            return self._counted
        firsts, followers, corrections = self._first_of_each()
        stored = await self._begin(firsts, corrections)
        self.holds_heads = True
        stored |= await self._claim(firsts, stored, corrections)
        self._refuse_repeats(firsts, followers, stored)
        refused = self._counted.outcomes
        rows = [
            self._rows[place] for place in firsts.values() if place not in corrections and place not in refused
        ]
        await self._find_series(rows)
        await self._fold_excess(rows)
        await self._leave_messages_to_webhooks(rows)
        await self._count_messages_once(rows)
        if rows:
            await store.add_events(self._connection, rows, direct=self._direct)
        differences: list[PreparedEvent] = []
        for place in corrections:
            if place not in refused:
                difference = await self._correct(place)
                if difference is not None:
                    await store.add_events(self._connection, [difference], direct=self._direct)
                    differences.append(difference)
        if rows or differences:
            await self._add_up([*rows, *differences], corrected=differences)
        failpoint.reach("group.counted")
        await self._connection.commit()
        failpoint.reach("group.committed")
        return self._counted

    async def _add_up(self, rows: Sequence[PreparedEvent], *, corrected: Iterable[PreparedEvent]) -> None:
        """Add to the sums, and decide about alerts where they say so; only corrections take an alert back."""
        due = dict.fromkeys(await store.add_sums(self._connection, sum_deltas(rows), heads=self._heads), False)
        await settlement.settle(self._connection, rows)
        due |= {(row.company_id, month_of(row.day).start): True for row in corrected}
        if due:
            self._counted.alerts = await crossings.decide(self._connection, due, now=self._now)

    async def _begin(self, firsts: Mapping[Key, int], corrections: Collection[int]) -> dict[Key, str]:
        """Lock the heads; look up corrections (their original is read first) and companies that just repeated."""
        company_ids = {row.company_id for row in self._rows}
        doubtful = [self._rows[place] for place in corrections]
        if self._repeaters:
            doubtful += [
                self._rows[place]
                for (company_id, _), place in firsts.items()
                if company_id in self._repeaters and place not in corrections
            ]
        self._heads, stored = await store.begin_group(self._connection, company_ids, doubtful)
        changed = {
            company_id
            for company_id in company_ids
            if company_id not in self._heads
            or company_id not in self._settings
            or self._settings[company_id].settings_version != self._heads[company_id].settings_version
        }
        if changed:
            raise StaleSettingsError(changed)
        self._counted.versions = {company_id: head.version for company_id, head in self._heads.items()}
        return stored

    async def _claim(
        self, firsts: Mapping[Key, int], stored: Mapping[Key, str], corrections: Collection[int]
    ) -> dict[Key, str]:
        """Claim the identities of all but corrections straight away; returns those that were taken.

        Where one is taken, the claim is undone, all are looked up, and the rest is claimed: with the heads locked,
        nobody can claim one of them in between.
        """
        rows = [
            self._rows[place] for key, place in firsts.items() if place not in corrections and key not in stored
        ]
        if not rows or await store.add_identities(self._connection, rows, direct=self._direct):
            return {}
        taken = await store.existing_hashes(self._connection, rows)
        rest = [row for row in rows if (row.company_id, row.identity) not in taken]
        if rest and not await store.add_identities(self._connection, rest, direct=self._direct):
            raise AssertionError("an identity was claimed by someone who did not hold its company's head")
        return taken

    def _first_of_each(self) -> tuple[dict[Key, int], dict[Key, list[int]], dict[int, None]]:
        """Return the places of each identity's first event, of those that repeat it, and of the corrections."""
        firsts: dict[Key, int] = {}
        followers: dict[Key, list[int]] = {}
        corrections: dict[int, None] = {}
        for place, row in enumerate(self._rows):
            key = (row.company_id, row.identity)
            if firsts.setdefault(key, place) != place:
                followers.setdefault(key, []).append(place)
            elif row.event.data.corrects is not None:
                corrections[place] = None
        return firsts, followers, corrections

    def _refuse_repeats(
        self, firsts: Mapping[Key, int], followers: Mapping[Key, list[int]], stored: Mapping[Key, str]
    ) -> None:
        """Tell what was counted before, and what stands twice in this group, by comparing contents."""
        for key, content in stored.items():
            self._compare(firsts[key], content)
        for key, places in followers.items():
            content = stored.get(key, self._rows[firsts[key]].content_hash)
            for place in places:
                self._compare(place, content)

    def _compare(self, place: int, content: str) -> None:
        row = self._rows[place]
        self._counted.repeaters.add(row.company_id)
        self._counted.outcomes[place] = DUPLICATE if row.content_hash == content else ID_CONFLICT

    async def _find_series(self, rows: Sequence[PreparedEvent]) -> None:
        settings = self._settings
        missing: list[PreparedEvent] = []
        for row in rows:
            series_id = settings[row.company_id].series.get(row.dimensions)
            if series_id is None:
                missing.append(row)
            else:
                row.series_id = series_id
        if missing:
            known = {(row.company_id, row.dimensions): dimensions_of(row.dimensions) for row in missing}
            found = await series_store.intern_series(
                self._connection, [(company_id, dimensions) for (company_id, _), dimensions in known.items()]
            )
            self._counted.series = {key: found[key[0], dimensions] for key, dimensions in known.items()}
            for row in missing:
                row.series_id = self._counted.series[row.company_id, row.dimensions]

    async def _fold_excess(self, rows: Sequence[PreparedEvent]) -> None:
        """Past SERIES_A_DAY_MAX series a company and day, template and cost centre fold into one."""
        unseen: dict[tuple[int, date], dict[int, None]] = {}
        for row in rows:
            if (row.company_id, row.day, row.series_id) not in self._day_series:
                unseen.setdefault((row.company_id, row.day), {})[row.series_id] = None
        if not unseen:
            return
        counts = await series_store.count_day_series(self._connection, unseen)
        for (company_id, day), series_ids in unseen.items():
            if counts[company_id, day] + len(series_ids) > SERIES_A_DAY_MAX:
                await self._fold_day(company_id, day, rows)
        self._counted.day_series = {(row.company_id, row.day, row.series_id) for row in rows}

    async def _fold_day(self, company_id: int, day: date, rows: Sequence[PreparedEvent]) -> None:
        in_use = await series_store.read_day_series(self._connection, company_id, day)
        excess: list[tuple[PreparedEvent, Dimensions]] = []
        for row in rows:
            if row.company_id != company_id or row.day != day or row.series_id in in_use:
                continue
            if len(in_use) < SERIES_A_DAY_MAX:
                in_use.add(row.series_id)
                continue
            dimensions = dimensions_of(row.dimensions)
            if dimensions.template_id is not None or dimensions.cost_center is not None:
                excess.append((row, folded(dimensions)))
        if excess:
            wanted = [(company_id, dimensions) for _, dimensions in excess]
            found = await series_store.intern_series(self._connection, wanted)
            for row, dimensions in excess:
                row.series_id = found[company_id, dimensions]

    async def _leave_messages_to_webhooks(self, rows: list[PreparedEvent]) -> None:
        """An account's messages come from one source: once Meta's webhook tells of them, events add the rest only.

        The source is dated: an event of a time before the account's first webhook counts its message still.
        """
        told = [(place, row.company_id, account_id) for place, row in enumerate(rows)
                if (account_id := row.event.data.account_id) is not None and row.messages]  # fmt: skip
        if not told:
            return
        starts = await store.read_webhook_starts(
            self._connection, {(company_id, account_id) for _, company_id, account_id in told}
        )
        uncounted: dict[tuple[int, date, int], int] = {}
        for place, company_id, account_id in told:
            row, start = rows[place], starts.get((company_id, account_id))
            if start is not None and datetime.fromisoformat(row.occurred_at) >= start:
                key = (company_id, row.day, account_id)
                uncounted[key] = uncounted.get(key, 0) + row.messages
                rows[place] = msgspec.structs.replace(row, messages=0)
        if uncounted:
            await store.add_uncounted(self._connection, uncounted)

    async def _count_messages_once(self, rows: list[PreparedEvent]) -> None:
        """One wamid is one message however it is reported: a later report adds only what the earlier lacked."""
        reports = [
            (place, wamid) for place, row in enumerate(rows) if (wamid := row.event.data.wamid) is not None
        ]
        if not reports:
            return
        keys = list({(rows[place].company_id, wamid): None for place, wamid in reports})
        states = await store.read_messages(self._connection, keys)
        firsts: dict[tuple[int, str], PreparedEvent] = {}
        for place, wamid in reports:
            key = (rows[place].company_id, wamid)
            rows[place], states[key] = _add_report(rows[place], states.get(key))
            if key not in firsts or rows[place].messages:
                firsts[key] = rows[place]
        await store.write_messages(self._connection, [(firsts[key], states[key]) for key in sorted(firsts)])

    async def _correct(self, place: int) -> PreparedEvent | None:
        """Claim one correction and return the difference it makes on its original's day, None where it is refused.

        The event stores the difference, so that sums stay sums.
        """
        row = self._rows[place]
        reference = row.event.data.corrects
        if reference is None:
            raise ValueError("a correction without corrects passed admission")
        identity = identity_of(reference.source, reference.id)
        original = await store.read_original(self._connection, row.company_id, identity)
        direction = row.event.data.direction
        if original is None:
            self._counted.outcomes[place] = NO_ORIGINAL
            return None
        if direction is not None and (direction == Direction.INBOUND) != original.inbound:
            self._counted.outcomes[place] = OTHER_DIRECTION
            return None
        if not await store.add_identities(self._connection, [row], direct=self._direct):
            raise AssertionError("an identity was claimed by someone who did not hold its company's head")
        return msgspec.structs.replace(
            row,
            series_id=original.series_id,
            corrects=identity,
            dimensions=(Direction.INBOUND if original.inbound else Direction.OUTBOUND, *row.dimensions[1:]),
            day=original.day,
            hour=original.hour,
            messages=0 if original.settled else row.messages - original.messages,
            tokens_input=row.tokens_input - original.tokens_input,
            tokens_output=row.tokens_output - original.tokens_output,
            response_ms=row.response_ms - original.response_ms,
            response_count=row.response_count - original.response_count,
        )


def _add_report(
    row: PreparedEvent, before: store.CountedMessage | None
) -> tuple[PreparedEvent, store.CountedMessage]:
    """Return the row without what was counted of its message before, and what is counted with it.

    The row is copied, not changed: a group that is rolled back is counted again from the same rows.
    """
    if before is None:
        before = store.CountedMessage(counted=False, tokens=False, response=False)
    row = msgspec.structs.replace(
        row,
        messages=0 if before.counted else row.messages,
        tokens_input=0 if before.tokens else row.tokens_input,
        tokens_output=0 if before.tokens else row.tokens_output,
        response_ms=0 if before.response else row.response_ms,
        response_count=0 if before.response else row.response_count,
    )
    return row, store.CountedMessage(
        counted=before.counted or row.messages > 0,
        tokens=before.tokens or row.tokens_input + row.tokens_output > 0,
        response=before.response or row.response_count > 0,
    )


def settings_of(settings_version: int, zones: tuple[tuple[date, str], ...]) -> CompanySettings:
    """Return a company's settings as read from the database."""
    return CompanySettings(settings_version, DayFinder(ZoneSchedule(zones)))
