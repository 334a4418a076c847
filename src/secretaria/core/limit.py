"""How near a plan's limit is: the share used, and which of its lines are crossed."""

from collections.abc import Iterable
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Final

from secretaria.core import money

THRESHOLDS: Final = (80, 100)
CRITICAL_PERCENT: Final = 100
PERCENT_PLACES: Final = 2
_CUT: Final = Context(prec=money.MONEY_DIGITS, rounding=ROUND_FLOOR)


class LimitState(StrEnum):
    """What people are shown beside a limit."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"


def crossed(used: Decimal | int, limit: Decimal | int, threshold: int) -> bool:
    """Tell whether used reaches a percentage of the limit: of 84, 67 is below 80 %, 68 is not."""
    return money.product(used, 100) >= money.product(limit, threshold)


def state(used: Decimal | int, limit: Decimal | int, thresholds: Iterable[int] = THRESHOLDS) -> LimitState:
    """Return normal, warning (a threshold below 100 is crossed) or critical (one from 100 on is)."""
    reached = [threshold for threshold in thresholds if crossed(used, limit, threshold)]
    if not reached:
        return LimitState.NORMAL
    return LimitState.CRITICAL if max(reached) >= CRITICAL_PERCENT else LimitState.WARNING


def percent(used: Decimal | int, limit: Decimal | int) -> Decimal:
    """Return the share used, cut (never rounded up) to two decimals, so that 100 is shown only once reached.

    A limit of 0 is full from the start: 100.
    """
    if not limit:
        return Decimal(100)
    return money.cut(_CUT.divide(money.product(used, 100), limit), PERCENT_PLACES)
