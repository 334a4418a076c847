"""What a person looks at: a period by hour, day or week, beside an earlier one cut at the same hour; one snapshot."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import InvalidInput
from secretaria.core.period import Period, day_end, day_start, local_day, local_hour, month_of, week_of
from secretaria.core.price import PriceBook
from secretaria.services.figures import CompanyFigures, company_figures, interval, local_time
from secretaria.services.period_figures import (
    Bucket,
    Dimension,
    Narrowing,
    Share,
    begun_part,
    narrowed_columns,
    read_book,
    read_company,
    read_shares,
)
from secretaria.services.rated_cells import (
    NOTHING,
    Figures,
    Question,
    RatedCell,
    RatedDays,
    Sum,
    joined,
    read_rated,
    sum_of,
    sums_by,
)
from secretaria.services.scope import company_transaction
from secretaria.store import period_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.period_reads import Cell, Column

HOURLY_DAYS_MAX: Final = 31
DAILY_DAYS_MAX: Final = 400
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


class Step(StrEnum):
    """How long a bucket is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


DAYS_MAX_BY: Final = {Step.HOUR: HOURLY_DAYS_MAX, Step.DAY: DAILY_DAYS_MAX}


class Comparison(StrEnum):
    """What a period is held against: the same days a month earlier, the days right before it, nothing."""

    MONTH = "month"
    BEFORE = "before"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A view to read. comparison None: MONTH for a month from its first day on, else BEFORE."""

    period: Period
    step: Step = Step.DAY
    dimension: Dimension = Dimension.CATEGORY
    comparison: Comparison | None = None
    narrowed: Narrowing = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Previous:
    """The earlier period. Where ours is unfinished its last day is cut after as many whole hours as ours has had.

    total is up to there, and ours what our own period came to at the same point. buckets stand beside ours one to
    one, None where the earlier period has none, was cut, or the company was not in use yet. is_whole: it was in use
    from the earlier period's first day on.
    """

    period: Period
    until: datetime
    is_cut: bool
    total: Figures
    ours: Figures
    buckets: tuple[Figures | None, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class PeriodView:
    """A company's period up to now. begun: the part of the period that has begun. first_day: of any use at all."""

    company: CompanyFigures
    wanted: Wanted
    begun: Period
    as_of: datetime
    version: int
    currency: str
    total: Figures
    buckets: tuple[Bucket, ...]
    shares: tuple[Share, ...]
    previous: Previous | None
    first_day: date | None
    last_day: date | None


class PeriodViews:
    """Reads views."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: Caller, company_id: int, wanted: Wanted, now: datetime) -> PeriodView:
        """Return a view. Raises InvalidInput (as PeriodReads.read, and step_too_fine), NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            return await read_view(connection, await read_company(connection, company_id), wanted, now)


async def read_view(connection: Connection, company: Company, wanted: Wanted, now: datetime) -> PeriodView:
    """Return a view in the caller's own snapshot; raises InvalidInput."""
    view, _ = await _read(connection, company, wanted, now, until=None)
    return view


async def read_view_and_month(
    connection: Connection, company: Company, wanted: Wanted, now: datetime
) -> tuple[PeriodView, list[RatedCell]]:
    """Return a view, and the cells by day of the whole month that today is in, which most views have read anyway."""
    today = local_day(company.schedule, now)
    month = month_of(today)
    is_held = wanted.period.start <= month.start and today < wanted.period.end
    if is_held and wanted.step == Step.DAY and not wanted.narrowed:
        view, cells = await _read(connection, company, wanted, now, until=month.end)
        return view, [of for of in cells if of.cell.line.day in month]
    view = await read_view(connection, company, wanted, now)
    book = await read_book(connection, company, month)
    return view, await read_rated(connection, company.company_id, book, Question(month, coarse=True))


async def _read(
    connection: Connection, company: Company, wanted: Wanted, now: datetime, *, until: date | None
) -> tuple[PeriodView, list[RatedCell]]:
    """Return a view, and its own cells with those of later days (clocks ahead of ours) before `until`."""
    company_id, columns = company.company_id, narrowed_columns(wanted.narrowed)
    begun = begun_part(company, wanted.period, now)
    require_step(wanted.step, begun)
    before = earlier_period(begun, wanted.comparison)
    around = Period(begun.start, max(begun.end, until or begun.end))
    whole = around if before is None else Period(min(before.start, begun.start), max(before.end, around.end))
    book = await read_book(connection, company, whole)
    reading = _Reading(connection, company, book, wanted.step, columns, now, around)
    every = await reading.cells(around, of=around)
    cells = every if around == begun else [of for of in every if of.cell.line.day in begun]
    sums = sums_by(cells, reading.place_in(begun))
    used = await period_reads.read_days_used(connection, company_id)
    previous = None if before is None else await reading.previous(begun, before, sums, first_used=used[0])
    shares = await read_shares(connection, company_id, book, begun, wanted.dimension, by_day=cells, narrowed=columns)
    view = PeriodView(
        company=company_figures(company, local_day(company.schedule, now)),
        wanted=wanted,
        begun=begun,
        as_of=local_time(company.schedule, now),
        version=company.version,
        currency=book.currency,
        total=joined(sums.values()),
        buckets=reading.buckets(begun, sums),
        shares=shares,
        previous=previous,
        first_day=used[0],
        last_day=used[1],
    )
    return view, every


def require_step(step: Step, period: Period) -> None:
    """Refuse what would be more points than anyone can look at: InvalidInput (step_too_fine)."""
    days_max = DAYS_MAX_BY.get(step)
    if days_max is not None and (period.end - period.start).days > days_max:
        raise InvalidInput(f"by {step}, at most {days_max} days", code="step_too_fine", pointer="step")


def earlier_period(period: Period, comparison: Comparison | None) -> Period | None:
    """Return what a period is held against: 1-20 November against 1-20 October, October against September."""
    first = month_of(period.start)
    if comparison is None:
        begins_month = period.start == first.start and period.end <= first.end
        comparison = Comparison.MONTH if begins_month else Comparison.BEFORE
    if comparison == Comparison.NONE or period.start == period.end:
        return None
    if comparison == Comparison.BEFORE:
        return Period(period.start - (period.end - period.start), period.start)
    last = period.end - _DAY
    if period.start == first.start and period.end == first.end:
        return month_of(first.start - _DAY)
    return Period(_month_back(period.start), _month_back(last) + _DAY)


def _month_back(day: date) -> date:
    month = month_of(day.replace(day=1) - _DAY)
    return min(month.start + timedelta(days=day.day - 1), month.end - _DAY)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the steps of one view share. around: the days read of our own period."""

    connection: Connection
    company: Company
    book: PriceBook
    step: Step
    narrowed: Mapping[Column, object]
    now: datetime
    around: Period
    known: RatedDays = field(default_factory=dict)

    async def cells(self, period: Period, *, of: Period) -> list[RatedCell]:
        """Return the cells of whole days, as fine as the step; `of` is the period they are a part of."""
        stretches = None
        if self.step == Step.WEEK:
            stretches = [bucket.start for bucket in week_parts(period)]
        return await self._rated(period, of=of, stretches=stretches, hourly=self.step == Step.HOUR)

    async def _rated(
        self, period: Period, *, of: Period, stretches: Sequence[date] | None = None, hourly: bool = False
    ) -> list[RatedCell]:
        if period.start == period.end:
            return []
        question = Question(
            period, stretches=stretches, narrowed=self.narrowed, hourly=hourly, coarse=True, rated=of
        )
        return await read_rated(self.connection, self.company.company_id, self.book, question, self.known)

    async def previous(
        self, begun: Period, before: Period, sums: Mapping[int, Sum], *, first_used: date | None
    ) -> Previous:
        """Return the earlier period beside ours: [1-19 October and 20 October until 14:00] beside 1-20 November.

        sums are those of our own buckets.
        """
        today, hour = local_hour(self.company.schedule, self.now)
        is_cut = begun.end > today
        until = day_start(self.company.schedule, before.end)
        ours = list(sums.values())
        if is_cut:
            cut_day = before.end - _DAY
            until = min(day_start(self.company.schedule, cut_day) + hour * _HOUR, until)
            theirs = await self.cells(Period(before.start, cut_day), of=before)
            theirs += await self._until(cut_day, hour, of=before)
            ours = await self._ours_until(begun, sums, (today, hour))
        else:
            theirs = await self.cells(before, of=before)
        by_bucket = sums_by(theirs, self.place_in(before))
        # Nothing is known of buckets before the first use; one that begins where the period was cut is not compared.
        cut_at = (before.end - _DAY, hour) if is_cut else (before.end, 0)
        known_from = (first_used or before.end, 0)
        known = [known_from <= place < cut_at for place in self._places(before)]
        return Previous(
            before, local_time(self.company.schedule, until), is_cut, joined(by_bucket.values()), joined(ours),
            tuple(
                _figures(by_bucket, number) if number < len(known) and known[number] else None
                for number in range(len(self._places(begun)))
            ),
            first_used is not None and first_used <= before.start,
        )  # fmt: skip

    async def _ours_until(self, begun: Period, sums: Mapping[int, Sum], cut_at: tuple[date, int]) -> list[Sum]:
        """Return the sums of our own period up to an hour of today: whole buckets, and what is between."""
        if self.step == Step.WEEK:
            cells = await self.cells(Period(begun.start, cut_at[0]), of=self.around)
            whole = [sum_of(cells)]
        else:
            is_hourly = self.step == Step.HOUR
            places, end = self._places(begun), cut_at if is_hourly else (cut_at[0], 0)
            whole = [of for number, of in sums.items() if places[number] < end]
            if is_hourly:
                return whole
        return [*whole, sum_of(await self._until(*cut_at, of=self.around))]

    async def _until(self, day: date, hour: int, *, of: Period) -> list[RatedCell]:
        if hour == 0:
            return []
        found = await self._rated(Period(day, day + _DAY), of=of, hourly=True)
        return [rated for rated in found if (rated.cell.hour or 0) < hour]

    def _places(self, period: Period) -> list[tuple[date, int]]:
        """Return where each bucket of a period begins: its first day, and the hour of that day."""
        if self.step == Step.WEEK:
            return [(part.start, 0) for part in week_parts(period)]
        if self.step == Step.DAY:
            return [(day, 0) for day in period.days()]
        return [(day, hour) for day in period.days() for hour in range(self._hours(day))]

    def _hours(self, day: date) -> int:
        """Return the hours of a day that have begun."""
        start = day_start(self.company.schedule, day)
        end = min(day_end(self.company.schedule, day), self.now)
        return max(-((start - end) // _HOUR), 0)

    def place_in(self, period: Period) -> "_Place":
        """Return what finds the bucket of a cell."""
        return _Place(self._places(period))

    def buckets(self, period: Period, sums: Mapping[int, Sum]) -> tuple[Bucket, ...]:
        """Return the buckets of a period, gaps as zeros."""
        made = []
        for number, (day, hour) in enumerate(self._places(period)):
            start, end = self._bounds(period, day, hour)
            made.append(Bucket(start, end, day, _figures(sums, number), unfinished=end > self.now))
        return tuple(made)

    def _bounds(self, period: Period, day: date, hour: int) -> tuple[datetime, datetime]:
        schedule = self.company.schedule
        if self.step != Step.HOUR:
            last = min(week_of(day).end, period.end) if self.step == Step.WEEK else day + _DAY
            bounds = interval(schedule, Period(day, last))
            return bounds.start, bounds.end
        start = day_start(schedule, day) + hour * _HOUR
        end = min(start + _HOUR, day_end(schedule, day))
        return local_time(schedule, start), local_time(schedule, end)


def _figures(sums: Mapping[int, Sum], number: int) -> Figures:
    return sums[number].figures if number in sums else NOTHING


class _Place:
    """Finds the bucket a cell falls in."""

    __slots__ = ("_starts",)

    def __init__(self, starts: list[tuple[date, int]]) -> None:
        self._starts = starts

    def __call__(self, cell: Cell) -> int:
        """Return the number of the last bucket that begins no later than the cell."""
        return bisect_right(self._starts, (cell.line.day, cell.hour or 0)) - 1


def week_parts(period: Period) -> list[Period]:
    """Return the weeks, Monday to Sunday, that a period touches, each cut to it."""
    parts = []
    start = period.start
    while start < period.end:
        end = min(week_of(start).end, period.end)
        parts.append(Period(start, end))
        start = end
    return parts
