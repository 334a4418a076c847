"""Our estimate beside Meta's figure, a day at a time, and which of them is shown (account details only); pure.

Meta's cost of messages replaces ours per category, for days that had ended when they were pulled; for today only when
the operator chose it. Ad spend is delivery of ads, not of messages: it is the total only where the operator chose that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from secretaria.core import money
from secretaria.core.price import ExchangeRate


class CostSource(StrEnum):
    """Whose figures an amount is made of."""

    ESTIMATED = "estimated"
    META = "meta"
    MIXED = "mixed"


class TotalSource(StrEnum):
    """What the operator takes a day's total from."""

    MESSAGES = "messages"
    ADS = "ads"


class TodaySource(StrEnum):
    """What the operator takes today's categories from; Meta's are late by an unstated time."""

    ESTIMATED = "estimated"
    META = "meta"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator chose; the defaults hold without a connection to Meta."""

    total_source: TotalSource = TotalSource.MESSAGES
    today_source: TodaySource = TodaySource.ESTIMATED


DEFAULT_CHOICE: Final = Choice()


@dataclass(frozen=True, slots=True)
class MetaFigure:
    """A figure of Meta's in its own currency, and in ours by the rate named.

    amount is None where Meta tells no cost, converted also where no rate is known.
    """

    volume: int
    amount: Decimal | None
    currency: str
    converted: Decimal | None
    rate: ExchangeRate | None


@dataclass(frozen=True, slots=True)
class MetaDay:
    """What Meta said of a day, by category (ours where we know Meta's, else Meta's own word).

    whole: the messages were pulled after the day had ended; ads_whole: so was the spend.
    """

    categories: Mapping[str, MetaFigure]
    whole: bool
    ads: MetaFigure | None = None
    ads_whole: bool = False


@dataclass(frozen=True, slots=True)
class CategoryLine:
    """A category's two figures, the one shown, and difference = Meta's less ours."""

    category: str
    estimated: Decimal
    meta: Decimal | None
    amount: Decimal
    source: CostSource

    @property
    def difference(self) -> Decimal | None:
        """Return how much more Meta says, or None where it says nothing."""
        return None if self.meta is None else money.total((self.meta, self.estimated.copy_negate()))


@dataclass(frozen=True, slots=True)
class DayCost:
    """A day as account details show it. The lines add up to the total, except where ads are the total."""

    day: date
    lines: tuple[CategoryLine, ...]
    total: Decimal
    estimated_total: Decimal
    ads: MetaFigure | None
    ads_are_total: bool
    cost_source: CostSource

    @property
    def difference(self) -> Decimal:
        """Return how much more is shown than we estimated."""
        return money.total((self.total, self.estimated_total.copy_negate()))


def reconcile(
    day: date, estimated: Mapping[str, Decimal], meta: MetaDay | None, *, today: date, choice: Choice = DEFAULT_CHOICE
) -> DayCost:
    """Decide a day. estimated is our rating by category, in the currency MetaFigure.converted is in.

    Yesterday, ours UTILITY 10.50 and MARKETING 23.75; Meta says UTILITY 10.20 and nothing else, pulled after midnight:
    10.20 + 0 = 10.20, source meta. Pulled before midnight: 34.25, estimated. Where Meta counted MARKETING but told no
    cost: 10.20 + 23.75 = 33.95, mixed.
    """
    lines = tuple(
        _line(name, estimated.get(name), meta, replaces=_replaces(day, meta, today, choice))
        for name in sorted({*estimated, *(meta.categories if meta else ())})
    )
    estimated_total = money.total(estimated.values())
    ads = meta.ads if meta else None
    if meta and ads and ads.converted is not None and _ads_replace(day, meta, today, choice):
        return DayCost(day, lines, ads.converted, estimated_total, ads, True, CostSource.META)
    total = money.total(line.amount for line in lines)
    # A category that nobody counted anything in says nothing of where the others' figures come from.
    sources = (line.source for line in lines if line.estimated or line.meta is not None)
    return DayCost(day, lines, total, estimated_total, ads, False, source_of(sources))


def source_of(sources: Iterable[CostSource]) -> CostSource:
    """Return the source of a sum of amounts; of nothing at all it is our estimate."""
    found = set(sources)
    return CostSource.MIXED if len(found) > 1 else found.pop() if found else CostSource.ESTIMATED


def _replaces(day: date, meta: MetaDay | None, today: date, choice: Choice) -> bool:
    # A day without a single figure is one Meta has not come to yet, not one it gave away.
    if meta is None or not meta.categories:
        return False
    return meta.whole if day < today else day == today and choice.today_source is TodaySource.META


def _ads_replace(day: date, meta: MetaDay, today: date, choice: Choice) -> bool:
    return choice.total_source is TotalSource.ADS and (day == today or (day < today and meta.ads_whole))


def _line(name: str, ours: Decimal | None, meta: MetaDay | None, *, replaces: bool) -> CategoryLine:
    estimated = Decimal(0) if ours is None else ours
    figure = meta.categories.get(name) if meta else None
    theirs = figure.converted if figure else None
    if meta and replaces and figure is None and meta.whole:
        theirs = Decimal(0)  # of a whole day, what Meta does not list it did not charge
    if replaces and theirs is not None:
        return CategoryLine(name, estimated, theirs, theirs, CostSource.META)
    return CategoryLine(name, estimated, theirs, estimated, CostSource.ESTIMATED)
