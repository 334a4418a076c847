"""Charts of documents as SVG text, in points: zero baseline, round ticks, horizontal grid, the largest value labelled.

They read in black and white: series differ in lightness, what is unfinished is hatched, and a table stands behind each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from html import escape
from math import ceil
from typing import Final

from secretaria.reports.font import FAMILY

INTERVALS: Final = 4
COLUMNS_MAX: Final = 62
"""With more buckets than this columns are too thin, and a line is drawn."""

INK, QUIET, GRID = "#15202b", "#465361", "#d5dce4"
SERIES: Final = ("#1850a4", "#e0a873")
_TEXT_PT: Final = 7.5
_LABEL_PT: Final = 36
_COLUMN_SHARE: Final = 0.68
_COLUMN_PT_MAX: Final = 34.0
_STEPS: Final = tuple(Decimal(step) for step in ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8", "10"))

Amounts = Sequence[Decimal | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One value a bucket, oldest first; None: nothing was measured. The last bucket may be unfinished."""

    name: str
    values: Amounts


@dataclass(frozen=True, slots=True)
class Plot:
    """What a chart is drawn on: the buckets' names, how a value is written on a tick, and the paper it takes."""

    labels: Sequence[str]
    written: Callable[[Decimal], str]
    width: float
    height: float
    unfinished: bool = False
    unit: Decimal = Decimal(1)
    """Ticks are multiples of it: what a tick's text can tell apart."""


def tick_step(largest: Decimal, unit: Decimal) -> Decimal:
    """Return the smallest step (1, 1.5, 2, 2.5 ... times a power of ten) of which four reach the largest value.

    It is a multiple of unit.
    """
    if largest <= 0:
        return unit
    power = Decimal(1).scaleb((largest / INTERVALS).adjusted())
    for factor in _STEPS:
        step = factor * power
        if step * INTERVALS >= largest and step % unit == 0:
            return step
    return (largest / INTERVALS / unit).to_integral_value(ROUND_CEILING) * unit


def stacked_chart(plot: Plot, series: Sequence[Series]) -> str:
    """Return columns of the series on top of each other; with more than COLUMNS_MAX buckets a line of their sum."""
    sums = [sum((of.values[place] or Decimal(0) for of in series), Decimal(0)) for place in range(len(plot.labels))]
    if len(sums) > COLUMNS_MAX:
        return line_chart(plot, sums)
    frame = _Frame(plot, max(sums, default=Decimal(0)), legend=len(series) > 1)
    marks = []
    for place in range(len(sums)):
        below = Decimal(0)
        for number, of in enumerate(series):
            value = max(of.values[place] or Decimal(0), Decimal(0))
            if value:
                marks.append(frame.column(place, below, value, number))
            below += value
    names = [of.name for of in series] if len(series) > 1 else []
    legend = [frame.legend(number, names) for number in range(len(names))]
    return frame.drawn([*legend, *marks, *frame.largest(sums)])


def line_chart(plot: Plot, values: Amounts) -> str:
    """Return a line with a gap where nothing was measured; up to COLUMNS_MAX buckets have their points."""
    frame = _Frame(plot, max((value for value in values if value is not None), default=Decimal(0)), legend=False)
    marks, run = [], list[str]()
    for place, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{frame.middle(place):.2f},{frame.y(value):.2f}")
            continue
        if len(run) > 1:
            marks.append(f'<polyline points="{" ".join(run)}" fill="none" stroke="{SERIES[0]}" stroke-width="1.2"/>')
        run = []
    if len(values) <= COLUMNS_MAX:
        marks += [frame.point(place, value) for place, value in enumerate(values) if value is not None]
    return frame.drawn([*marks, *frame.largest(values)])


class _Frame:
    """The plot's inside: where values and buckets lie, and what is drawn around them."""

    def __init__(self, plot: Plot, largest: Decimal, *, legend: bool) -> None:
        self._plot = plot
        step = tick_step(largest, plot.unit)
        self._ticks = [step * number for number in range(INTERVALS + 1)]
        names = [plot.written(tick) for tick in self._ticks]
        self._left = max(len(name) for name in names) * _TEXT_PT * 0.64 + 6
        self._top, self._bottom = (24.0 if legend else 12.0), plot.height - 13.0
        self._slot = (plot.width - self._left) / max(len(plot.labels), 1)
        self._names = names

    def y(self, value: Decimal) -> float:
        share = float(value / self._ticks[-1])
        return self._bottom - share * (self._bottom - self._top)

    def middle(self, place: int) -> float:
        return self._left + self._slot * (place + 0.5)

    def column(self, place: int, below: Decimal, value: Decimal, number: int) -> str:
        """Draw one segment; a white line parts it from the one below."""
        width = min(self._slot * _COLUMN_SHARE, _COLUMN_PT_MAX)
        top, bottom = self.y(below + value), self.y(below)
        gap = 0.6 if below and bottom - top > 1.2 else 0.0
        shape = (
            f'<rect x="{self.middle(place) - width / 2:.2f}" y="{top:.2f}" width="{width:.2f}" '
            f'height="{max(bottom - top - gap, 0.3):.2f}" '
        )
        if self._plot.unfinished and place == len(self._plot.labels) - 1:
            return f'{shape}fill="url(#hatch{number})" stroke="{SERIES[number]}" stroke-width="0.5"/>'
        return f'{shape}fill="{SERIES[number]}"/>'

    def point(self, place: int, value: Decimal) -> str:
        hollow = self._plot.unfinished and place == len(self._plot.labels) - 1
        fill = "#ffffff" if hollow else SERIES[0]
        at = f'cx="{self.middle(place):.2f}" cy="{self.y(value):.2f}"'
        return f'<circle {at} r="1.6" fill="{fill}" stroke="{SERIES[0]}" stroke-width="0.8"/>'

    def legend(self, number: int, names: Sequence[str]) -> str:
        before = sum(len(name) * _TEXT_PT * 0.56 + 20 for name in names[:number])
        x = self._left + before
        return (
            f'<rect x="{x:.2f}" y="2" width="7" height="7" fill="{SERIES[number]}"/>'
            f"{_text(x + 10, 8.3, names[number], 'start', QUIET)}"
        )

    def largest(self, values: Amounts) -> list[str]:
        """Label the first of the largest values."""
        known = [(value, -place) for place, value in enumerate(values) if value]
        if not known:
            return []
        value, place = max(known)
        name = self._plot.written(value)
        half = len(name) * _TEXT_PT * 0.29
        x = min(max(self.middle(-place), self._left + half), self._plot.width - half)
        return [_text(x, self.y(value) - 3, name, "middle", INK, bold=True)]

    def drawn(self, marks: Sequence[str]) -> str:
        plot = self._plot
        width, height = f"{plot.width:.2f}", f"{plot.height:.2f}"
        size = f'viewBox="0 0 {width} {height}" width="{width}pt" height="{height}pt"'
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}><defs>']
        for number, color in enumerate(SERIES):
            lines.append(_hatch(number, color))
        lines.append("</defs>")
        for tick, name in zip(self._ticks, self._names, strict=True):
            y = self.y(tick)
            color = QUIET if tick == 0 else GRID
            lines.append(
                f'<line x1="{self._left:.2f}" y1="{y:.2f}" x2="{plot.width:.2f}" y2="{y:.2f}" stroke="{color}" '
                f'stroke-width="0.5"/>{_text(self._left - 4, y + 2.6, name, "end", QUIET)}'
            )
        return "".join([*lines, *marks, *self._bucket_names(), "</svg>"])

    def _bucket_names(self) -> list[str]:
        labels = self._plot.labels
        every = max(1, ceil(_LABEL_PT / self._slot))
        names = []
        for place in range(0, len(labels), every):
            half = len(labels[place]) * _TEXT_PT * 0.29
            x = min(max(self.middle(place), half), self._plot.width - half)
            names.append(_text(x, self._plot.height - 3, labels[place], "middle", QUIET))
        return names


def _hatch(number: int, color: str) -> str:
    return (
        f'<pattern id="hatch{number}" width="3" height="3" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="3" height="3" fill="#ffffff"/><rect width="1.2" height="3" fill="{color}"/></pattern>'
    )


def _text(x: float, y: float, text: str, anchor: str, color: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-family="{FAMILY}" font-size="{_TEXT_PT}" fill="{color}" '
        f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
    )
