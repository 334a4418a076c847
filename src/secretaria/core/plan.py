"""Plans: what a company may use in a calendar month before people are told, or before campaigns are refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from msgspec import UNSET, UnsetType

from secretaria.core.errors import InvalidInput
from secretaria.core.limit import THRESHOLDS

THRESHOLD_PERCENT_MAX: Final = 1_000
THRESHOLDS_MAX: Final = 10
QUANTITY_LIMIT_MAX: Final = 10**15


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


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What one version of a plan says, as in PlanLimits; `checked` before it is stored."""

    messages: int | None = None
    tokens: int | None = None
    cost: Decimal | None = None
    thresholds: tuple[int, ...] = THRESHOLDS
    hard: bool = False

    def checked(self) -> "PlanTerms":
        """Return the terms with their thresholds ascending. Raises InvalidInput."""
        for name, quantity in (("messages", self.messages), ("tokens", self.tokens)):
            if quantity is not None and not 1 <= quantity <= QUANTITY_LIMIT_MAX:
                raise InvalidInput(
                    f"a limit of {name} is 1 to {QUANTITY_LIMIT_MAX}", code="invalid_plan_limit", pointer=f"/{name}"
                )
        if self.cost is not None and not (self.cost.is_finite() and self.cost > 0):
            raise InvalidInput("a limit of the cost is above 0", code="invalid_plan_limit", pointer="/cost")
        return replace(self, thresholds=valid_thresholds(self.thresholds))


@dataclass(frozen=True, slots=True)
class TermsChange:
    """What a new version says otherwise than the one it follows; UNSET keeps, None lifts the limit."""

    messages: int | UnsetType | None = UNSET
    tokens: int | UnsetType | None = UNSET
    cost: Decimal | UnsetType | None = UNSET
    thresholds: tuple[int, ...] | UnsetType = UNSET
    hard: bool | UnsetType = UNSET

    def __bool__(self) -> bool:
        return any(value is not UNSET for value in (self.messages, self.tokens, self.cost, self.thresholds, self.hard))

    def applied_to(self, terms: PlanTerms) -> PlanTerms:
        """Return the terms that this change makes of earlier ones; raises as PlanTerms.checked."""
        return PlanTerms(
            terms.messages if isinstance(self.messages, UnsetType) else self.messages,
            terms.tokens if isinstance(self.tokens, UnsetType) else self.tokens,
            terms.cost if isinstance(self.cost, UnsetType) else self.cost,
            terms.thresholds if isinstance(self.thresholds, UnsetType) else self.thresholds,
            terms.hard if isinstance(self.hard, UnsetType) else self.hard,
        ).checked()


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """Terms that hold from a day on; of two of one day the later written (the higher id) holds."""

    version_id: int
    effective_from: date
    terms: PlanTerms
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan with its versions, by day. companies: how many have it now; None for those who may not know."""

    plan_id: int
    name: str
    currency: str
    created_at: datetime
    versions: tuple[PlanVersion, ...]
    companies: int | None = None

    def version_on(self, day: date) -> PlanVersion:
        """Return what holds on a day; the first version covers all earlier days."""
        begun = [version for version in self.versions if version.effective_from <= day]
        if begun:
            return max(begun, key=lambda version: (version.effective_from, version.version_id))
        return min(self.versions, key=lambda version: (version.effective_from, -version.version_id))


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """A company's plan from a local day on; plan_id and name are None for none."""

    plan_id: int | None
    name: str | None
    effective_from: date
    created_at: datetime


def choice_on(choices: Sequence[PlanChoice], day: date) -> PlanChoice | None:
    """Return the choice that holds on a day; choices are by day, of one day the later written last."""
    return next((choice for choice in reversed(choices) if choice.effective_from <= day), None)


def valid_thresholds(thresholds: Iterable[int]) -> tuple[int, ...]:
    """Return percentages ascending. Raises InvalidInput (invalid_thresholds)."""
    found = sorted(thresholds)
    in_range = all(1 <= threshold <= THRESHOLD_PERCENT_MAX for threshold in found)
    if not 1 <= len(found) <= THRESHOLDS_MAX or len(set(found)) < len(found) or not in_range:
        raise InvalidInput(
            f"thresholds are 1 to {THRESHOLDS_MAX} different whole percentages from 1 to {THRESHOLD_PERCENT_MAX}",
            code="invalid_thresholds",
            pointer="/thresholds",
        )
    return tuple(found)
