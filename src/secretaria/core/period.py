"""The company's calendar: the local day of an instant, and where days, weeks and months begin and end.

The only place that knows time zones (law 7). All others work with local dates and aware UTC instants.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from secretaria.core.errors import InvalidInput

DEFAULT_TIMEZONE: Final = "America/Sao_Paulo"

# Days outside are typing errors; the margin keeps every conversion inside what datetime can hold.
DAY_FIRST: Final = date(1900, 1, 1)
DAY_LAST: Final = date(2999, 12, 31)

ZONE_CHANGES_MAX: Final = 1_000

# No clock is a full day away from UTC: when the UTC date begins, its eve has begun everywhere, and the day
# after tomorrow begins nowhere before it ends. So the local day is one of these, counted from the UTC date.
_DAY_SHIFTS: Final = (timedelta(days=1), timedelta(0), timedelta(days=-1))

_ONE_DAY: Final = timedelta(days=1)
_ONE_HOUR: Final = timedelta(hours=1)
_ONE_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US: Final = 3_600_000_000

_AREAS: Final = frozenset(
    [
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    ]
)
_UTC_NAMES: Final = frozenset(("UTC", "Etc/UTC"))


@cache
def _zone_names() -> frozenset[str]:
    names = (name for name in available_timezones() if name.partition("/")[0] in _AREAS and "/" in name)
    return frozenset(names) | _UTC_NAMES


def valid_timezone(name: str) -> bool:
    """Tell whether a name is an IANA region (Area/Location), UTC or Etc/UTC; EST5EDT and paths are not."""
    return name in _zone_names()


@dataclass(frozen=True, slots=True)
class ZoneSchedule:
    """The dated zones of one company: (effective_from, IANA name), sorted; the first covers all earlier days.

    A row of day D takes effect at the old zone's midnight that begins D; D ends at the new zone's midnight.
    Raises InvalidInput (unknown_timezone, invalid_zone_schedule).
    """

    rows: tuple[tuple[date, str], ...]
    _changes: tuple[date, ...] = field(init=False, repr=False, compare=False)
    _zones: tuple[ZoneInfo, ...] = field(init=False, repr=False, compare=False)
    _floors: tuple[datetime, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.rows) <= ZONE_CHANGES_MAX or any(a[0] >= b[0] for a, b in pairwise(self.rows)):
            raise InvalidInput("time zones must be sorted by distinct dates", code="invalid_zone_schedule")
        for _, name in self.rows:
            if not valid_timezone(name):
                raise InvalidInput("not an IANA time zone such as America/Sao_Paulo", code="unknown_timezone")
        zones = tuple(ZoneInfo(name) for _, name in self.rows)
        # A change day begins in the old zone; no later day may begin before it, however far the clock jumps.
        floors = [datetime.min.replace(tzinfo=UTC)]
        for old, (changed, _) in zip(zones, self.rows[1:], strict=False):
            floors.append(max(floors[-1], _midnight(old, changed)))
        object.__setattr__(self, "_changes", tuple(changed for changed, _ in self.rows))
        object.__setattr__(self, "_zones", zones)
        object.__setattr__(self, "_floors", tuple(floors))

    @classmethod
    def single(cls, timezone: str) -> "ZoneSchedule":
        """Build the schedule of a company that never changed its zone."""
        return cls(((DAY_FIRST, timezone),))

    def start_of(self, day: date) -> datetime:
        """Return day_start without its range check."""
        row = max(bisect_left(self._changes, day) - 1, 0)
        return max(_midnight(self._zones[row], day), self._floors[row])


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    """Return the first instant at which the zone's clock shows 00:00 of the day, or anything later."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    first = local.astimezone(UTC)  # fold=0: of two midnights, the first
    if first.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return first
    return _after_gap(zone, local)


def _after_gap(zone: ZoneInfo, local: datetime) -> datetime:
    """Return the instant at which the zone's clock jumps over the given local time (to the second)."""
    low, high = local.replace(fold=1).astimezone(UTC), local.astimezone(UTC)
    seconds = range((high - low) // timedelta(seconds=1) + 1)
    reached = local.replace(tzinfo=None)

    def has_jumped(second: int) -> bool:
        instant = low + timedelta(seconds=second)
        return instant.astimezone(zone).replace(tzinfo=None) >= reached

    return low + timedelta(seconds=bisect_left(seconds, True, key=has_jumped))


def day_start(schedule: ZoneSchedule, day: date) -> datetime:
    """Return the first instant (aware UTC) of a local day: the clock reaches 00:00 of it, or a later time.

    America/Sao_Paulo 2018-11-04 had no midnight and starts at 01:00 -02:00; Pacific/Apia 2011-12-30 was
    skipped and starts and ends at one instant. Raises InvalidInput (day_out_of_range).
    """
    if not DAY_FIRST <= day <= DAY_LAST:
        raise _out_of_range()
    return schedule.start_of(day)


def day_end(schedule: ZoneSchedule, day: date) -> datetime:
    """Return the exclusive end (aware UTC) of a local day: the start of the next one."""
    if not DAY_FIRST <= day <= DAY_LAST:
        raise _out_of_range()
    return schedule.start_of(day + _ONE_DAY)


def _out_of_range() -> InvalidInput:
    return InvalidInput(f"days from {DAY_FIRST} to {DAY_LAST} are supported", code="day_out_of_range")


def local_day(schedule: ZoneSchedule, instant: datetime) -> date:
    """Return the local day an aware instant belongs to: the last day that has begun by then."""
    if instant.utcoffset() is None:
        raise ValueError("an instant needs an offset")
    instant = instant.astimezone(UTC)
    today = instant.date()
    if not DAY_FIRST <= today <= DAY_LAST:
        raise _out_of_range()
    return next(today + shift for shift in _DAY_SHIFTS if schedule.start_of(today + shift) <= instant)


def local_hour(schedule: ZoneSchedule, instant: datetime) -> tuple[date, int]:
    """Return the local day and the whole hours since it began, which need not be what the clock shows."""
    day = local_day(schedule, instant)
    return day, (instant - schedule.start_of(day)) // _ONE_HOUR


def next_day_start(schedule: ZoneSchedule, now: datetime) -> datetime:
    """Return the instant, always after now, at which the local day of now ends and the next begins."""
    return schedule.start_of(local_day(schedule, now) + _ONE_DAY)


class DayFinder:
    """local_hour for the hot path: the day starts around each instant are kept as integers and bisected."""

    # One stretch of 32 days costs about 0.1 ms once, then answers each call in well under a microsecond.
    STRETCH_DAYS: Final = 32
    STRETCHES_MAX: Final = 512
    _STRETCH_US: Final = STRETCH_DAYS * 24 * _HOUR_US
    # Local days run from one behind the UTC date to one ahead of it.
    _DAYS_EACH: Final = STRETCH_DAYS + len(_DAY_SHIFTS)

    __slots__ = ("_schedule", "_stretches")

    def __init__(self, schedule: ZoneSchedule) -> None:
        self._schedule = schedule
        self._stretches: dict[int, tuple[list[int], list[date]]] = {}

    def find(self, instant_us: int) -> tuple[date, int]:
        """Return (local day, whole hours since it began) of microseconds since 1970-01-01 UTC."""
        number = instant_us // self._STRETCH_US
        stretch = self._stretches.get(number)
        if stretch is None:
            stretch = self._load(number)
        starts, days = stretch
        index = bisect_right(starts, instant_us) - 1
        return days[index], (instant_us - starts[index]) // _HOUR_US

    def _load(self, number: int) -> tuple[list[int], list[date]]:
        try:
            begin = _EPOCH + timedelta(microseconds=number * self._STRETCH_US)
        except OverflowError:
            raise _out_of_range() from None
        first = local_day(self._schedule, begin)
        days = [first + timedelta(days=count) for count in range(self._DAYS_EACH)]
        starts = [(self._schedule.start_of(day) - _EPOCH) // _ONE_MICROSECOND for day in days]
        if len(self._stretches) >= self.STRETCHES_MAX:
            self._stretches.clear()
        self._stretches[number] = starts, days
        return starts, days


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open range of local days [start, end). Raises InvalidInput (invalid_period) when end < start."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidInput("a period must not end before it starts", code="invalid_period")

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def bounds(self, schedule: ZoneSchedule) -> tuple[datetime, datetime]:
        """Return the instants (aware UTC) at which the period starts and, exclusively, ends."""
        return day_start(schedule, self.start), day_start(schedule, self.end)

    def days(self) -> list[date]:
        """Return every local day, oldest first; days the zone skipped are among them."""
        return [self.start + timedelta(days=count) for count in range((self.end - self.start).days)]


def day_of(day: date) -> Period:
    """Return the period of one local day."""
    return Period(day, day + _ONE_DAY)


def week_of(day: date) -> Period:
    """Return the week, Monday to Sunday, that holds a day."""
    monday = day - timedelta(days=day.weekday())
    return Period(monday, monday + timedelta(days=7))


def month_of(day: date) -> Period:
    """Return the calendar month that holds a day."""
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1))
