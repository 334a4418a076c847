"""Bands of a month's quantity and who gets which part of one: whole numbers only, whatever the order (law 4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from secretaria.core import money


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of a month's quantity, (above, up_to], and its unit price; up_to None has no end."""

    above: int
    up_to: int | None
    unit_price: Decimal

    def filled(self, quantity: int) -> int:
        """Return how much of a quantity since the month's start lies in the band."""
        return filled(quantity, above=self.above, up_to=self.up_to)


def filled(quantity: int, *, above: int, up_to: int | None) -> int:
    """Return how much of a quantity lies in (above, up_to]: of 1,100 in (0, 1,000] lies 1,000."""
    return max((quantity if up_to is None else min(quantity, up_to)) - above, 0)


def band_cost(quantity_before: int, quantity_after: int, bands: Iterable[Band]) -> Decimal:
    """Price what a day added to the month's quantity, (before, after], each unit by the band it lies in.

    From 900 to 1,100 with the first 1,000 free and 0.035 above: 100 x 0 + 100 x 0.035 = 3.50. A day whose
    corrections take away more than it used is a negative cost.
    """
    return money.total(
        money.product(band.unit_price, band.filled(quantity_after) - band.filled(quantity_before)) for band in bands
    )


def split(units: int, weights: Sequence[int]) -> list[int]:
    """Share units out by weight, whole ones by largest remainder, the earlier weight first on a tie.

    100 units over 600, 300 and 100 are 60, 30 and 10; 1 over 1 and 1 is 1 and 0. Weights that add up to nothing
    share nothing.
    """
    whole = sum(weights)
    if whole == 0 or units == 0:
        return [0] * len(weights)
    shares = [units * weight // whole for weight in weights]
    remainders = [units * weight % whole for weight in weights]
    # The sign of a remainder is that of the whole: of negative ones the lowest is the largest.
    by_remainder = sorted(range(len(weights)), key=lambda index: abs(remainders[index]), reverse=True)
    for index in by_remainder[: units - sum(shares)]:
        shares[index] += 1
    return shares


def spread(before: int, quantities: Sequence[int], lower_bounds: Sequence[int]) -> list[list[int]]:
    """Return for each quantity of one day how much of it lies in each band.

    The bands begin at the lower bounds (the first at 0), the last has no end; `before` is the month's quantity when
    the day begins. Each quantity's parts add up to it, each band's parts to what the day puts into the band: 150 and
    50 on top of 900 with a bound at 1,000 are [75, 75] and [25, 25].
    """
    after, left = before + sum(quantities), list(quantities)
    parts: list[list[int]] = [[] for _ in quantities]
    for above, up_to in pairwise(lower_bounds):
        units = filled(after, above=above, up_to=up_to) - filled(before, above=above, up_to=up_to)
        for index, share in enumerate(split(units, left)):
            parts[index].append(share)
            left[index] -= share
    for index, rest in enumerate(left):
        parts[index].append(rest)
    return parts
