"""What limits would do at once, told before anybody saves them: the alerts they fire and resolve with today's usage."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.crossing import AlertKind, AlertLevel
from secretaria.core.plan import PlanLimits, PlanTerms
from secretaria.services import crossings
from secretaria.services.scope import operator_transaction
from secretaria.store import plans
from secretaria.store.database import Database

FORESEEN_COMPANIES_MAX: Final = crossings.DECIDED_AT_ONCE_MAX
"""Of more companies nothing is foreseen: somebody waits for the answer."""

_BEHIND_UTC: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """Alerts that would fire and be resolved now, over all companies looked at; too_many: nobody looked."""

    companies: int
    warning: int = 0
    critical: int = 0
    resolved: int = 0
    too_many: bool = False


class PlanPreviews:
    """Reads only; for operators, who alone change plans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_company(
        self, caller: Caller, company_id: int, terms: PlanTerms | None, currency: str, now: datetime
    ) -> PlanPreview:
        """Foresee what a company's month would fire under these terms; None: under no plan."""
        return await self._foresee(caller, [company_id], terms, currency, now)

    async def of_plan(
        self, caller: Caller, plan_id: int, terms: PlanTerms, currency: str, now: datetime
    ) -> PlanPreview:
        """Foresee what other terms would fire in all companies that have the plan, or will have it."""
        _require_editor(caller)
        async with operator_transaction(self._database, caller) as connection:
            holders = await plans.read_holders(connection, plan_id, since=now.date() - _BEHIND_UTC)
        if len(holders) > FORESEEN_COMPANIES_MAX:
            return PlanPreview(len(holders), too_many=True)
        return await self._foresee(caller, holders, terms, currency, now)

    async def _foresee(
        self, caller: Caller, company_ids: list[int], terms: PlanTerms | None, currency: str, now: datetime
    ) -> PlanPreview:
        _require_editor(caller)
        limits = None if terms is None else _limits(terms.checked(), currency, now.date())
        async with operator_transaction(self._database, caller, snapshot=True) as connection:
            decisions = await crossings.foresee(connection, company_ids, limits, now=now)
        fired = [line.level for of in decisions.values() for line in of.fired if line.kind == AlertKind.LIMIT]
        over = [alert for of in decisions.values() for alert in of.resolved if alert.line.kind == AlertKind.LIMIT]
        counts = fired.count(AlertLevel.WARNING), fired.count(AlertLevel.CRITICAL), len(over)
        return PlanPreview(len(company_ids), *counts)


def _require_editor(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


def _limits(terms: PlanTerms, currency: str, day: date) -> PlanLimits:
    """Return the terms as limits of a plan that need not exist yet: a decision asks for neither id nor name."""
    return PlanLimits(
        0, "", currency, terms.messages, terms.tokens, terms.cost, terms.thresholds, terms.hard, day
    )
