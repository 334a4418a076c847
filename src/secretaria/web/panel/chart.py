"""Geometry of the panel's column charts, in percentages of the plot; the templates draw it, live updates move it.

Four intervals always, so that a live update never adds or removes an element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

INTERVALS: Final = 4
COLUMN_SHARE: Final = Decimal("0.56")
_STEPS: Final = tuple(Decimal(step) for step in ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8", "10"))


@dataclass(frozen=True, slots=True)
class Column:
    """Where one column stands; its height is a mark and may change."""

    id: str
    x: str
    width: str
    middle: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The fixed part of a chart: element ids of its ticks, from zero up, and its columns."""

    ticks: tuple[str, ...]
    columns: tuple[Column, ...]


def layout(name: str, columns: int) -> Chart:
    """Return the places of that many columns and of five ticks."""
    slot = Decimal(100) / columns
    return Chart(
        ticks=tuple(f"{name}-marca{number}" for number in range(INTERVALS + 1)),
        columns=tuple(
            Column(
                id=f"{name}-{number}",
                x=_percent(slot * number + slot * (1 - COLUMN_SHARE) / 2),
                width=_percent(slot * COLUMN_SHARE),
                middle=_percent(slot * number + slot / 2),
            )
            for number in range(columns)
        ),
    )


def tick_step(largest: Decimal, *, whole: bool) -> Decimal:
    """Return the smallest round step (1, 1.5, 2, 2.5 ... times a power of ten) of which four reach the largest value.

    whole is for what is counted: no tick stands between two whole numbers.
    """
    if largest <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb((largest / INTERVALS).adjusted())
    for factor in _STEPS:
        step = factor * power
        if step * INTERVALS >= largest and not (whole and step != step.to_integral_value()):
            return step
    return max(power * 10, Decimal(1)) if not whole else (largest / INTERVALS).to_integral_value(ROUND_CEILING)


def heights(values: Sequence[Decimal], top: Decimal) -> list[dict[str, str]]:
    """Return y and height of each column, from the zero line up; zero and less draw nothing."""
    marks = []
    for value in values:
        share = min(max(value, Decimal(0)) / top * 100, Decimal(100)) if top > 0 else Decimal(0)
        height = _percent(share)
        marks.append({"y": _percent(100 - Decimal(height[:-1])), "height": height})
    return marks


def _percent(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.01')):f}%"
