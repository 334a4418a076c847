"""Days, weeks and months of a company's zone: the traps one by one, then all zones against the raw zone files."""

import struct
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretaria.core.errors import InvalidInput
from secretaria.core.period import (
    DAY_FIRST,
    DAY_LAST,
    DayFinder,
    Period,
    ZoneSchedule,
    day_end,
    day_of,
    day_start,
    local_day,
    local_hour,
    month_of,
    next_day_start,
    valid_timezone,
    week_of,
)

ZONES = sorted(name for name in available_timezones() if valid_timezone(name))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# zone, local day, its first instant in UTC, its length in hours and minutes
TRAPS = [
    ("America/Sao_Paulo", "2026-11-20", "2026-11-20T03:00", "24:00"),
    ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00", "23:00"),  # 00:00 does not exist
    ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00", "25:00"),  # 23:00 to 24:00 twice
    ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00", "24:00"),
    ("Asia/Kolkata", "2026-11-20", "2026-11-19T18:30", "24:00"),
    ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", "24:00"),
    ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", "00:00"),  # skipped over the date line
    ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", "24:00"),
    ("Pacific/Kwajalein", "1969-09-30", "1969-09-29T13:00", "47:00"),  # lived nearly twice
    ("Pacific/Kwajalein", "1993-08-21", "1993-08-21T12:00", "00:00"),
    ("Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00", "24:30"),
    ("Australia/Lord_Howe", "2024-10-06", "2024-10-05T13:30", "23:30"),
    ("America/St_Johns", "2006-10-29", "2006-10-29T02:30", "25:00"),  # midnight twice, a minute into the day
    ("America/St_Johns", "2006-04-02", "2006-04-02T03:30", "23:00"),
    ("America/Santiago", "2024-09-08", "2024-09-08T04:00", "23:00"),
    ("America/Santiago", "2024-04-06", "2024-04-06T03:00", "25:00"),
    ("America/Asuncion", "2024-10-06", "2024-10-06T04:00", "23:00"),
    ("America/Toronto", "1919-03-31", "1919-03-31T04:30", "23:30"),  # the gap starts before midnight
    ("Africa/Monrovia", "1972-01-07", "1972-01-07T00:44:30", "23:15:30"),  # offsets with seconds
    ("UTC", "2024-02-29", "2024-02-29T00:00", "24:00"),
]


@pytest.mark.parametrize(("zone", "day", "start", "length"), TRAPS)
def test_a_day_starts_at_the_first_instant_of_its_local_clock(zone: str, day: str, start: str, length: str) -> None:
    schedule, local = ZoneSchedule.single(zone), date.fromisoformat(day)
    parts = [int(part) for part in length.split(":")] + [0]
    hours = timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2])
    assert day_start(schedule, local) == utc(start)
    assert day_start(schedule, local).utcoffset() == timedelta(0)
    assert day_end(schedule, local) - day_start(schedule, local) == hours


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"])
def test_the_last_second_and_midnight_fall_on_different_days(zone: str) -> None:
    schedule = ZoneSchedule.single(zone)
    midnight = day_start(schedule, date(2026, 11, 20))
    assert local_day(schedule, midnight) == date(2026, 11, 20)
    assert local_hour(schedule, midnight) == (date(2026, 11, 20), 0)
    assert local_hour(schedule, midnight - timedelta(seconds=1)) == (date(2026, 11, 19), 23)
    assert local_hour(schedule, midnight - MICROSECOND) == (date(2026, 11, 19), 23)


def test_an_instant_of_the_repeated_evening_stays_in_the_day_that_has_begun() -> None:
    # St. John's, 2006: at 00:01 of the 29th the clock went back to 23:01 of the 28th.
    schedule = ZoneSchedule.single("America/St_Johns")
    assert local_hour(schedule, utc("2006-10-29T02:30:30")) == (date(2006, 10, 29), 0)
    assert local_hour(schedule, utc("2006-10-29T02:31:30")) == (date(2006, 10, 29), 0)
    assert local_hour(schedule, utc("2006-10-29T03:30:00")) == (date(2006, 10, 29), 1)


def test_a_skipped_day_owns_no_instant() -> None:
    schedule = ZoneSchedule.single("Pacific/Apia")
    assert local_day(schedule, utc("2011-12-30T09:59:59")) == date(2011, 12, 29)
    assert local_day(schedule, utc("2011-12-30T10:00:00")) == date(2011, 12, 31)
    assert next_day_start(schedule, utc("2011-12-30T09:59:59")) == utc("2011-12-30T10:00")


# old zone, new zone from 2026-05-10 on, length of that day, length of the next, both in hours
CHANGES = [
    ("America/Sao_Paulo", "Asia/Tokyo", 12, 24),
    ("Asia/Tokyo", "America/Sao_Paulo", 36, 24),
    ("Pacific/Kiritimati", "Pacific/Pago_Pago", 49, 24),
    ("Pacific/Pago_Pago", "Pacific/Kiritimati", 0, 23),  # 25 hours forward: no day ends before it begins
]


@pytest.mark.parametrize(("old", "new", "hours", "hours_next"), CHANGES)
def test_a_zone_change_stretches_or_shortens_the_day_it_falls_on(
    old: str, new: str, hours: int, hours_next: int
) -> None:
    changed = date(2026, 5, 10)
    schedule = ZoneSchedule(((date(2020, 1, 1), old), (changed, new)))
    before, after = ZoneSchedule.single(old), ZoneSchedule.single(new)
    starts = [day_start(schedule, changed + count * ONE_DAY) for count in range(4)]
    assert starts[0] == day_start(before, changed)
    assert starts[1] - starts[0] == timedelta(hours=hours)
    assert starts[2] - starts[1] == timedelta(hours=hours_next)
    assert starts[2:] == [day_start(after, changed + count * ONE_DAY) for count in (2, 3)]
    assert day_start(schedule, date(1999, 1, 1)) == day_start(before, date(1999, 1, 1))


# An oracle that shares nothing with the product: it reads the compiled zone files themselves.


@cache
def transitions(zone: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return when the offset changes (epoch seconds) and the offset from each of these instants on."""
    places = [Path(folder, zone) for folder in TZPATH]
    found = next((place for place in places if place.exists()), None)
    raw = found.read_bytes() if found else files("tzdata").joinpath("zoneinfo", zone).read_bytes()
    first = struct.unpack(">6l", raw[20:44])
    second_at = 44 + first[3] * 5 + first[4] * 6 + first[5] + first[2] * 8 + first[1] + first[0]
    _, _, _, time_count, type_count, _ = struct.unpack(">6l", raw[second_at + 20 : second_at + 44])
    at = second_at + 44
    times = struct.unpack(f">{time_count}q", raw[at : at + time_count * 8])
    kinds = raw[at + time_count * 8 : at + time_count * 9]
    types_at = at + time_count * 9
    offsets = [struct.unpack_from(">lbb", raw, types_at + 6 * kind)[0] for kind in range(type_count)]
    return times, tuple(offsets[kind] for kind in kinds)


def oracle_start(zone: str, day: date) -> int:
    """Return the first epoch second at which the clock shows the day's midnight or later."""
    times, offsets = transitions(zone)
    midnight = (day - date(1970, 1, 1)).days * 86400
    for index in range(max(bisect_right(times, midnight - 2 * 86400) - 1, 0), len(times)):
        until = times[index + 1] if index + 1 < len(times) else midnight + 3 * 86400
        reached = max(times[index], midnight - offsets[index])
        if reached < until:
            return reached
    raise AssertionError("no such midnight")


def test_every_day_near_every_clock_change_of_every_zone_starts_where_the_zone_file_says() -> None:
    compared = 0
    for zone in {transitions(zone): zone for zone in ZONES}.values():  # aliases once
        schedule = ZoneSchedule.single(zone)
        for instant in transitions(zone)[0][1:-1]:
            if not -2_200_000_000 < instant < 4_000_000_000:
                continue
            near = (EPOCH + timedelta(seconds=instant)).date()
            for day in (near + shift * ONE_DAY for shift in (-1, 0, 1, 2)):
                assert day_start(schedule, day) == EPOCH + timedelta(seconds=oracle_start(zone, day)), zone
                compared += 1
    assert compared > 50_000


@pytest.mark.parametrize(
    "zone",
    ["America/Sao_Paulo", "America/Santiago", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe",
     "Pacific/Apia", "Africa/Casablanca", "Europe/Dublin"],
)  # fmt: skip
def test_sixty_years_of_days_weeks_and_months_tile_the_line(zone: str) -> None:
    schedule = ZoneSchedule.single(zone)
    years = Period(date(1980, 1, 1), date(2040, 1, 1))
    starts = {day: day_start(schedule, day) for day in [*years.days(), years.end]}
    for day, next_day in pairwise(starts):
        assert starts[day] <= starts[next_day]
        if starts[day] < starts[next_day]:
            assert local_day(schedule, starts[day]) == day
            assert local_day(schedule, starts[next_day] - MICROSECOND) == day
    assert sum((b - a for a, b in pairwise(starts.values())), timedelta()) == starts[years.end] - starts[years.start]


days = st.dates(date(1950, 1, 1), date(2100, 12, 31))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[ZoneSchedule, date]:
    """Draw a company that changed its zone up to four times within days, and a day near the changes."""
    day = draw(days)
    changes = draw(st.lists(st.integers(-6, 6), max_size=4, unique=True).map(sorted))
    rows = [(day + change * ONE_DAY, draw(st.sampled_from(ZONES))) for change in changes]
    first = (date(1940, 1, 1), draw(st.sampled_from(ZONES)))
    return ZoneSchedule((first, *rows)), day


@given(schedules(), st.integers(-6 * 86400 * 10**6, 6 * 86400 * 10**6))
@settings(deadline=None, max_examples=300)
def test_every_instant_belongs_to_exactly_one_day_week_and_month(
    drawn: tuple[ZoneSchedule, date], shift_us: int
) -> None:
    schedule, day = drawn
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(microseconds=shift_us)
    near = Period(day - 15 * ONE_DAY, day + 15 * ONE_DAY).days()
    owners = [one for one in near if day_start(schedule, one) <= instant < day_end(schedule, one)]
    assert owners == [local_day(schedule, instant)]
    for period_of in (day_of, week_of, month_of):
        own = period_of(owners[0])
        previous, following = period_of(own.start - ONE_DAY), period_of(own.end)
        assert owners[0] in own
        assert (previous.end, following.start) == (own.start, own.end)
        assert previous.bounds(schedule)[1] == own.bounds(schedule)[0] <= instant < own.bounds(schedule)[1]
        assert own.bounds(schedule)[1] == following.bounds(schedule)[0]
    assert instant < next_day_start(schedule, instant) == day_end(schedule, owners[0])


@given(schedules())
@settings(deadline=None, max_examples=200)
def test_no_day_ends_before_it_starts_whatever_the_zone_changes(drawn: tuple[ZoneSchedule, date]) -> None:
    schedule, day = drawn
    starts = [day_start(schedule, day + shift * ONE_DAY) for shift in range(-12, 13)]
    assert starts == sorted(starts)


@given(schedules(), st.integers(-40 * 86400, 40 * 86400), st.integers(-1, 1))
@settings(deadline=None, max_examples=300)
def test_the_day_finder_agrees_with_local_hour(drawn: tuple[ZoneSchedule, date], shift_s: int, shift_us: int) -> None:
    schedule, day = drawn
    finder = DayFinder(schedule)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    edges = [day_start(schedule, day + shift * ONE_DAY) for shift in range(-7, 8)]
    for instant in [noon + timedelta(seconds=shift_s), *edges, *(edge + timedelta(hours=1) for edge in edges)]:
        exact = instant + timedelta(microseconds=shift_us)
        assert finder.find((exact - EPOCH) // MICROSECOND) == local_hour(schedule, exact)


def test_the_day_finder_forgets_rather_than_grows() -> None:
    finder = DayFinder(ZoneSchedule.single("America/Sao_Paulo"))
    stretch_us = DayFinder.STRETCH_DAYS * 86400 * 10**6
    for number in range(DayFinder.STRETCHES_MAX + 10):
        instant_us = number * stretch_us
        assert finder.find(instant_us)[0] == (EPOCH + timedelta(microseconds=instant_us, hours=-3)).date()
    assert len(finder._stretches) <= DayFinder.STRETCHES_MAX


@pytest.mark.parametrize("instant_us", [57406 * 366 * 86400 * 10**6, 10**40, -(10**40), -(10**18)])
def test_the_day_finder_refuses_an_instant_no_calendar_holds(instant_us: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        DayFinder(ZoneSchedule.single("UTC")).find(instant_us)
    assert caught.value.code == "day_out_of_range"


def test_an_instant_without_an_offset_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="offset"):
        local_day(ZoneSchedule.single("UTC"), datetime(2026, 1, 1))  # noqa: DTZ001  the mistake itself


def test_days_outside_the_supported_centuries_are_refused() -> None:
    schedule = ZoneSchedule.single("America/Sao_Paulo")
    assert day_start(schedule, DAY_FIRST) < day_end(schedule, DAY_LAST)
    for day in (DAY_FIRST - ONE_DAY, DAY_LAST + ONE_DAY, date.min, date.max):
        for edge in (day_start, day_end):
            with pytest.raises(InvalidInput, match="supported"):
                edge(schedule, day)
    with pytest.raises(InvalidInput, match="supported"):
        local_day(schedule, datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize("name", ["America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "America/Argentina/Ushuaia",
                                  "Europe/Lisbon", "UTC", "Etc/UTC"])  # fmt: skip
def test_it_accepts_the_names_of_places(name: str) -> None:
    assert valid_timezone(name)


@pytest.mark.parametrize("name", ["Mars/Phobos", "EST5EDT", "EST", "MST7MDT", "CST6CDT", "../UTC", "/etc/localtime",
                                  "posix/America/Sao_Paulo", "right/UTC", "posixrules", "localtime", "Factory", "",
                                  "GMT", "Etc/GMT+3", "Brazil/East", "US/Eastern", "america/sao_paulo", "America",
                                  "America/", "America/Sao_Paulo\0", " UTC", "-03:00", "BRT3"])  # fmt: skip
def test_it_refuses_zone_names_that_are_not_places(name: str) -> None:
    assert not valid_timezone(name)
    with pytest.raises(InvalidInput) as caught:
        ZoneSchedule.single(name)
    assert caught.value.code == "unknown_timezone"


def test_a_schedule_needs_rows_sorted_by_distinct_dates() -> None:
    one, two = (date(2026, 1, 1), "UTC"), (date(2026, 1, 2), "Asia/Kolkata")
    for rows in ((), (two, one), (one, one)):
        with pytest.raises(InvalidInput) as caught:
            ZoneSchedule(rows)
        assert caught.value.code == "invalid_zone_schedule"
    assert ZoneSchedule((one, two)) == ZoneSchedule((one, two))


def test_weeks_run_from_monday_and_months_end_where_the_next_begins() -> None:
    assert week_of(date(2026, 11, 22)) == Period(date(2026, 11, 16), date(2026, 11, 23))
    assert week_of(date(2026, 11, 23)) == Period(date(2026, 11, 23), date(2026, 11, 30))
    assert month_of(date(2024, 2, 29)) == Period(date(2024, 2, 1), date(2024, 3, 1))
    assert month_of(date(2026, 12, 31)) == Period(date(2026, 12, 1), date(2027, 1, 1))
    assert day_of(date(2026, 12, 31)).days() == [date(2026, 12, 31)]
    assert date(2027, 1, 1) not in day_of(date(2026, 12, 31))


def test_a_period_must_not_end_before_it_starts() -> None:
    assert Period(date(2026, 1, 1), date(2026, 1, 1)).days() == []
    with pytest.raises(InvalidInput) as caught:
        Period(date(2026, 1, 2), date(2026, 1, 1))
    assert caught.value.code == "invalid_period"
