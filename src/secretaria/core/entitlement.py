"""May a company send more? What it used and what campaigns hold, against the limits of its plan; pure.

A soft plan warns and never refuses; an unlimited metric never does; a suspended company sends nothing. What happened is
recorded all the same: this is asked before something is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from secretaria.core import limit as limits_of
from secretaria.core import money
from secretaria.core.crossing import Used
from secretaria.core.limit import LimitState
from secretaria.core.plan import LimitMetric, PlanLimits

SUSPENDED: Final = "suspended"
"""A company's status while the operator lets it send nothing."""

_ZERO: Final = Decimal(0)


class RefusalReason(StrEnum):
    """Why a company may not send."""

    SUSPENDED = "suspended"
    LIMIT_REACHED = "limit_reached"


@dataclass(frozen=True, slots=True)
class Quantities:
    """Messages both ways, tokens both ways, and cost in the company's currency."""

    messages: int = 0
    tokens: int = 0
    cost: Decimal = _ZERO

    def of(self, metric: LimitMetric) -> Decimal:
        """Return a metric's quantity."""
        quantities = {LimitMetric.MESSAGES: self.messages, LimitMetric.TOKENS: self.tokens}
        return self.cost if metric == LimitMetric.COST else Decimal(quantities[metric])


NOTHING: Final = Quantities()


@dataclass(frozen=True, slots=True)
class MetricEntitlement:
    """One metric of the month. limit, remaining and percent are None where it is unlimited, and so is a cost used that
    nothing limits. remaining is what is neither used nor reserved; percent and state are of what was used.
    """

    metric: LimitMetric
    used: Decimal | None
    limit: Decimal | None
    reserved: Decimal
    remaining: Decimal | None
    percent: Decimal | None
    state: LimitState
    allowed: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether more may be sent. hard: the plan refuses at its limits, and does not only warn."""

    allowed: bool
    reason: RefusalReason | None
    hard: bool
    metrics: tuple[MetricEntitlement, ...]

    @property
    def remaining(self) -> Mapping[str, Decimal | None]:
        """What is neither used nor reserved of each metric, by its name; None: unlimited."""
        return {row.metric.value: row.remaining for row in self.metrics}


def decide(
    *, suspended: bool, limits: PlanLimits | None, used: Used, reserved: Quantities, wanted: Quantities = NOTHING
) -> Decision:
    """Tell whether a company may send more, and whether what is wanted still fits.

    Of a hard limit of 100 with 60 used and 30 reserved, 10 fit and 11 do not; with 40 reserved nothing does.
    """
    hard = limits is not None and limits.hard
    metrics = tuple(_metric(metric, limits, used, reserved, wanted) for metric in LimitMetric)
    reason = None
    if suspended:
        reason = RefusalReason.SUSPENDED
    elif not all(row.allowed for row in metrics):
        reason = RefusalReason.LIMIT_REACHED
    return Decision(reason is None, reason, hard, metrics)


def lacking(decision: Decision, wanted: Quantities) -> list[LimitMetric]:
    """Return the metrics of a hard plan that what is wanted would pass; only what is asked for is looked at."""
    if not decision.hard:
        return []
    return [
        row.metric
        for row in decision.metrics
        if wanted.of(row.metric) and row.remaining is not None and wanted.of(row.metric) > row.remaining
    ]


def _metric(
    metric: LimitMetric, limits: PlanLimits | None, used: Used, reserved: Quantities, wanted: Quantities
) -> MetricEntitlement:
    quantity, held = used.of(metric), reserved.of(metric)
    limit = None if limits is None else limits.limit_of(metric)
    if limits is None or limit is None:
        return MetricEntitlement(metric, quantity, None, held, None, None, LimitState.NORMAL, allowed=True)
    if quantity is None:
        raise ValueError(f"{metric} has a limit, and what was used of it was not looked at")
    # Corrections may take what was used below zero; that much more may be used.
    left = money.total([limit, quantity.copy_negate(), held.copy_negate()])
    return MetricEntitlement(
        metric,
        quantity,
        limit,
        held,
        max(left, _ZERO),
        limits_of.percent(quantity, limit),
        limits_of.state(quantity, limit, limits.thresholds),
        allowed=not limits.hard or (left > 0 and wanted.of(metric) <= left),
    )
