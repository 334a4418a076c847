"""Published exchange rates: from which local day a publication holds, and when the newest one is too old (law 5)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core.period import ZoneSchedule, local_day
from secretaria.core.price import ExchangeRate

PTAX: Final = "PTAX"

# Friday's closing holds until Tuesday's after a Monday without one; carnival takes a day more.
STALE_AFTER: Final = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class PublishedRate:
    """One unit of base cost `rate` units of quote when the source published it (aware UTC)."""

    source: str
    base: str
    quote: str
    rate: Decimal
    published_at: datetime

    def __post_init__(self) -> None:
        if not self.rate.is_finite() or self.rate <= 0 or self.published_at.utcoffset() is None:
            raise ValueError("a published rate is above zero, at an instant with an offset")

    def holds_from(self, schedule: ZoneSchedule) -> date:
        """Return the first local day that began after the publication."""
        return local_day(schedule, self.published_at) + timedelta(days=1)

    @property
    def named_source(self) -> str:
        """The source with the date of the publication, as it is kept with a company's rates: PTAX 2026-11-19."""
        return f"{self.source} {self.published_at.astimezone(UTC).date().isoformat()}"

    def is_stale(self, now: datetime) -> bool:
        """Tell whether something newer should have been published by now."""
        return now - self.published_at > STALE_AFTER


def is_published(rate: ExchangeRate) -> bool:
    """Tell whether a company's rate comes from a publication."""
    return rate.source.startswith(f"{PTAX} ")


def is_stale_on(rate: ExchangeRate, day: date) -> bool:
    """Tell whether a published rate is the last one known rather than the last one there was before a day."""
    return is_published(rate) and day - rate.effective_from >= STALE_AFTER
