"""When a limit will be reached at the pace of the month's complete days, with a range; silent with too little data.

Exact: ratios of integers, so that a date never depends on how a division was rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from secretaria.core import money

COMPLETE_DAYS_MIN: Final = 3
WEEKDAY_DAYS_MIN: Final = 14
"""From so many complete days on each weekday has a pace of its own: it has been seen twice."""

TOO_LITTLE_DATA: Final = "too_little_data"

# 1.28 standard deviations either way: the day lies in the range four times in five.
_SPREAD_SQUARED: Final = Fraction(164, 100)
_ONE_DAY: Final = timedelta(days=1)
_ZERO: Final = Fraction(0)


class ForecastOutcome(StrEnum):
    """reached: it is at 100 % already. expected, not_expected: within the period. unknown: nothing to go by."""

    REACHED = "reached"
    EXPECTED = "expected"
    NOT_EXPECTED = "not_expected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Forecast:
    """On which local day 100 % is reached: earliest <= likely <= latest, each None where not within the period.

    percent_at_end is what the period is expected to end at, cut to two decimals, and None with the reason why not.
    """

    outcome: ForecastOutcome
    earliest: date | None = None
    likely: date | None = None
    latest: date | None = None
    percent_at_end: Decimal | None = None
    reason: str | None = None


def forecast(
    daily: Sequence[tuple[date, Decimal]],
    used: Decimal,
    limit: Decimal,
    today: date,
    period_end: date,
    *,
    today_so_far: Decimal | None = None,
) -> Forecast:
    """Return when `used` will reach the limit before period_end (exclusive).

    daily are the period's complete days, those without usage as zeros; today_so_far is what today has already, and
    None stands for what `used` holds beyond the complete days.
    Of a limit of 1000 with 100 on each of ten days and nothing yet today: reached on the tenth day from today.
    """
    is_reached = used >= limit
    if len(daily) < COMPLETE_DAYS_MIN:
        outcome = ForecastOutcome.REACHED if is_reached else ForecastOutcome.UNKNOWN
        return Forecast(outcome, reason=TOO_LITTLE_DATA)
    pace = _Pace.of(daily)
    so_far = Fraction(used) if today_so_far is None else Fraction(today_so_far)
    if today_so_far is None:
        so_far -= sum((Fraction(value) for _, value in daily), _ZERO)
    missing = Fraction(limit) - Fraction(used)
    earliest = likely = latest = None
    expected, day, days = _ZERO, today, 0
    while day < period_end:
        expected += pace.on(day) if days else max(pace.on(day) - max(so_far, _ZERO), _ZERO)
        days += 1
        gap, spread_squared = missing - expected, pace.spread_squared(days)
        if earliest is None and (gap <= 0 or gap * gap <= spread_squared):
            earliest = day
        if likely is None and gap <= 0:
            likely = day
        if latest is None and gap <= 0 and gap * gap >= spread_squared:
            latest = day
        day += _ONE_DAY
    percent_at_end = _percent_at_end(Fraction(used) + expected, limit)
    if is_reached:
        return Forecast(ForecastOutcome.REACHED, percent_at_end=percent_at_end)
    outcome = ForecastOutcome.EXPECTED if likely else ForecastOutcome.NOT_EXPECTED
    return Forecast(outcome, earliest, likely, latest, percent_at_end)


@dataclass(frozen=True, slots=True)
class _Pace:
    """What a day is expected to use, and how far the days so far lie from that."""

    count: int
    mean: Fraction
    by_weekday: dict[int, Fraction]
    variance: Fraction

    @classmethod
    def of(cls, daily: Sequence[tuple[date, Decimal]]) -> "_Pace":
        values = [(day.weekday(), max(Fraction(value), _ZERO)) for day, value in daily]
        mean = _mean([value for _, value in values])
        weekdays: dict[int, list[Fraction]] = {}
        if len(values) >= WEEKDAY_DAYS_MIN:
            for weekday, value in values:
                weekdays.setdefault(weekday, []).append(value)
        by_weekday = {weekday: _mean(found) for weekday, found in weekdays.items()}
        squares = sum(((value - by_weekday.get(weekday, mean)) ** 2 for weekday, value in values), _ZERO)
        return cls(len(values), mean, by_weekday, squares / (len(values) - max(len(by_weekday), 1)))

    def on(self, day: date) -> Fraction:
        return self.by_weekday.get(day.weekday(), self.mean)

    def spread_squared(self, days: int) -> Fraction:
        """Return the square of how far the sum of the next days may lie from what is expected.

        Its variance is that of the days themselves and of the mean they are expected at.
        """
        return _SPREAD_SQUARED * self.variance * (days + Fraction(days * days, self.count))


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, _ZERO) / len(values)


def _percent_at_end(used: Fraction, limit: Decimal) -> Decimal:
    """Cut, never rounded up: 100 is shown only where it is expected to be reached."""
    return money.divided(Decimal(int(used * 100 * 100 / Fraction(limit))), 100)
