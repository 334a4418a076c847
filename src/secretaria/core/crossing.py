"""Crossings: which alerts a period's usage fires and resolves, and at which quantities that has to be asked again.

Pure: services/crossings.py reads what stands, asks here, and writes the answer in the transaction that moved the usage.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import Final

from secretaria.core import money
from secretaria.core.limit import CRITICAL_PERCENT, crossed
from secretaria.core.plan import LimitMetric, PlanLimits

RESOLVED_BELOW_PERCENT: Final = 1
"""An alert is resolved this many points below its line, so that usage that sways around it does not flap."""

_WHOLE: Final = Context(prec=money.MONEY_DIGITS, rounding=ROUND_CEILING)


class AlertKind(StrEnum):
    """limit: a threshold of a plan's limit was crossed. not_priced: something was used that has no price."""

    LIMIT = "limit"
    NOT_PRICED = "not_priced"


class AlertLevel(StrEnum):
    """warning below 100 %, critical from there on."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Line:
    """What can be crossed once a period: a threshold of a metric's limit. For not_priced threshold and limit are 0."""

    kind: AlertKind
    metric: LimitMetric
    threshold: int
    limit: Decimal

    @property
    def level(self) -> AlertLevel:
        """How serious a crossing of it is."""
        return AlertLevel.CRITICAL if self.threshold >= CRITICAL_PERCENT else AlertLevel.WARNING


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that nobody resolved yet; its line's limit is the one that held when it fired."""

    alert_id: int
    line: Line


@dataclass(frozen=True, slots=True)
class Used:
    """What a period has used. None: not looked at this time, so nothing is decided about it."""

    messages: int
    tokens: int
    cost: Decimal | None = None
    not_priced: Mapping[LimitMetric, int] | None = None

    def of(self, metric: LimitMetric) -> Decimal | None:
        """Return a metric's quantity."""
        quantities = {LimitMetric.MESSAGES: self.messages, LimitMetric.TOKENS: self.tokens}
        return self.cost if metric == LimitMetric.COST else Decimal(quantities[metric])


@dataclass(frozen=True, slots=True)
class Decision:
    """Lines to fire an alert for, and open alerts that are over."""

    fired: tuple[Line, ...]
    resolved: tuple[OpenAlert, ...]


def decide(
    used: Used, limits: PlanLimits | None, unresolved: Iterable[OpenAlert], *, may_resolve: bool
) -> Decision:
    """Return what to fire and what to resolve.

    A line fires when it is crossed and no alert of its metric and threshold is open, whatever limit that one had: a
    jump from 70 % to 130 % fires 80 and 100. Of a limit of 100 with its 80 % alert open: at 79 it stays, at 78 a
    correction or another limit resolves it (may_resolve), and the next crossing is another alert.
    """
    standing = list(unresolved)
    taken = {(alert.line.kind, alert.line.metric, alert.line.threshold) for alert in standing}
    lines = limit_lines(limits)
    crossed_now = [line for line in lines if _is_crossed(used, line)]
    fired = [line for line in crossed_now if (line.kind, line.metric, line.threshold) not in taken]
    for metric, quantity in (used.not_priced or {}).items():
        if quantity > 0 and (AlertKind.NOT_PRICED, metric, 0) not in taken:
            fired.append(Line(AlertKind.NOT_PRICED, metric, 0, Decimal(0)))
    resolved = [alert for alert in standing if may_resolve and _is_over(used, lines, alert)]
    return Decision(tuple(fired), tuple(resolved))


def limit_lines(limits: PlanLimits | None) -> list[Line]:
    """Return every line of a plan's limits: metrics in order, thresholds ascending."""
    if limits is None:
        return []
    return [
        Line(AlertKind.LIMIT, metric, threshold, limit)
        for metric in LimitMetric
        if (limit := limits.limit_of(metric)) is not None
        for threshold in limits.thresholds
    ]


def _is_crossed(used: Used, line: Line) -> bool:
    quantity = used.of(line.metric)
    return quantity is not None and crossed(quantity, line.limit, line.threshold)


def _is_over(used: Used, lines: Collection[Line], alert: OpenAlert) -> bool:
    line = alert.line
    if line.kind == AlertKind.NOT_PRICED:
        return used.not_priced is not None and not used.not_priced.get(line.metric)
    now = next((other for other in lines if (other.metric, other.threshold) == (line.metric, line.threshold)), None)
    if now is None:
        return True  # the plan has no such line any more
    quantity = used.of(line.metric)
    if quantity is None:
        return False
    return money.product(quantity, 100) <= money.product(now.limit, now.threshold - RESOLVED_BELOW_PERCENT)


def next_line(used: Used, limits: PlanLimits | None, metric: LimitMetric) -> Decimal | None:
    """Return the quantity of a metric that crosses its next line, None when no line is left.

    Of a limit of 84 messages 67.2 is 80 %: the 68th message crosses, so 68.
    """
    amounts = [
        money.divided(money.product(line.limit, line.threshold), 100)
        for line in limit_lines(limits)
        if line.metric == metric and not _is_crossed(used, line)
    ]
    if not amounts:
        return None
    lowest = min(amounts)
    return lowest if metric == LimitMetric.COST else lowest.to_integral_value(context=_WHOLE)
