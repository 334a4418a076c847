"""The prices a report names: one line for each price and rate, whatever the uses it was taken for."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from secretaria.core import money
from secretaria.reports.labels import Labels
from secretaria.reports.report import PriceLine

MESSAGES = "messages"


def by_price(lines: Sequence[PriceLine]) -> list[PriceLine]:
    """Return the lines with those of one price and rate as one, the dearest first; amounts add up as before.

    Charged messages keep their category, which their card is told by; what differs within a line is not named in it.
    """
    groups: dict[tuple[object, ...], list[PriceLine]] = {}
    for line in lines:
        price = (line.unit_price, line.per, line.currency, line.source, line.effective_from, line.rate)
        category = line.category if line.metric == MESSAGES and line.unit_price else None
        groups.setdefault((line.metric, category, *price), []).append(line)
    return sorted((_as_one(some) for some in groups.values()), key=lambda line: -(line.amount or Decimal(0)))


def _as_one(some: Sequence[PriceLine]) -> PriceLine:
    return replace(
        some[0],
        category=_shared([line.category for line in some]),
        market=_shared([line.market for line in some]),
        model=_shared([line.model for line in some]),
        direction=_shared([line.direction for line in some]),
        quantity=sum(line.quantity for line in some),
        amount=money.total(line.amount for line in some if line.amount is not None),
    )


def _shared(values: Sequence[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None


def price_name(say: Labels, line: PriceLine) -> str:
    """Return what was charged in words: "Mensagens · Enviadas · Marketing · BR"."""
    parts = [say(line.metric), say.known(line.direction or "") if line.metric == MESSAGES else line.model]
    if line.metric == MESSAGES:
        parts += [say.known(line.category or "") or line.category, line.market]
    return " · ".join(part for part in parts if part)
