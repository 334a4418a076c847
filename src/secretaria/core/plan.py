"""Plans: what a company may use in a calendar month before people are told, or before campaigns are refused."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class LimitMetric(StrEnum):
    """What a limit is held against: messages both ways, tokens both ways, the derived cost."""

    MESSAGES = "messages"
    TOKENS = "tokens"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """A plan's limits in force on some day, for a company of the plan's currency. None: unlimited.

    thresholds are percentages, ascending (80, 100). hard: at 100 % the entitlement check says no; usage that happened
    is counted all the same.
    """

    plan_id: int
    name: str
    currency: str
    messages: int | None
    tokens: int | None
    cost: Decimal | None
    thresholds: tuple[int, ...]
    hard: bool
    effective_from: date

    def limit_of(self, metric: LimitMetric) -> Decimal | None:
        """Return the metric's limit, None where it is unlimited."""
        quantities = {LimitMetric.MESSAGES: self.messages, LimitMetric.TOKENS: self.tokens}
        limit = self.cost if metric == LimitMetric.COST else quantities[metric]
        return None if limit is None else Decimal(limit)
