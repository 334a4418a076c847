"""The demo's plans: a company near 80 % of its limits, one past 100 %, one with room, whatever the day of the month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

from secretaria.core.access import PROCESS
from secretaria.core.errors import DuplicateKey
from secretaria.core.plan import PlanTerms, TermsChange
from secretaria.services.analytics import AnalyticsReads
from secretaria.services.demo_history import NAME_MARK, DemoCompany
from secretaria.services.figures import HistoryPoint, Summary
from secretaria.services.plans import PlanService
from secretaria.store.companies import Company

MONTH_DAYS_MIN: Final = 5
"""A younger month says too little: so many days at the pace of the last whole week stand for it."""

_ROUND: Final = Context(prec=3, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A plan, and what percentage of its limits the company that has it is to have used."""

    name: str
    percent: int
    hard: bool = False


PLANS: Final = {
    "Clínica Sorriso" + NAME_MARK: DemoPlan("Profissional" + NAME_MARK, 82),
    "Auto Peças Sul" + NAME_MARK: DemoPlan("Essencial" + NAME_MARK, 106),
    "Escola Alfa" + NAME_MARK: DemoPlan("Campus" + NAME_MARK, 45, hard=True),
}


class DemoPlans:
    """Makes the plans and gives them to the demo's companies, once their usage is there."""

    def __init__(self, plans: PlanService, analytics: AnalyticsReads) -> None:
        self._plans = plans
        self._analytics = analytics

    async def prepare(self, pairs: Sequence[tuple[DemoCompany, Company]], now: datetime) -> None:
        """Give each company its plan, unless it was ever given one: what people chose since stays."""
        for wanted, company in pairs:
            plan = PLANS.get(wanted.name)
            if plan is None or (await self._plans.history(PROCESS, company.company_id, now)).choices:
                continue
            summary = await self._analytics.summary(PROCESS, company.company_id, now)
            history = await self._analytics.history(PROCESS, company.company_id, "month", now)
            await self._make(plan, _terms(plan, summary, history.points[-2]), currency=company.currency, now=now)
            await self._plans.assign(PROCESS, company.company_id, plan.name, now=now)

    async def _make(self, plan: DemoPlan, terms: PlanTerms, *, currency: str, now: datetime) -> None:
        try:
            await self._plans.create(PROCESS, plan.name, terms, currency=currency, now=now)
        except DuplicateKey:  # of an earlier demo: plans stay when companies are removed
            change = TermsChange(terms.messages, terms.tokens, terms.cost, terms.thresholds, terms.hard)
            await self._plans.change(PROCESS, plan.name, change, now=now)


def _terms(plan: DemoPlan, summary: Summary, week: HistoryPoint) -> PlanTerms:
    """Return limits of which the month so far is the wanted percentage, or will soon be in a month that is young."""
    this_month, is_young = summary.current, summary.daily.start.day < MONTH_DAYS_MIN

    def limit(used: int | str | None, used_of_week: int | str | None) -> Decimal:
        amount = Decimal(used_of_week or 0) * MONTH_DAYS_MIN / 7 if is_young else Decimal(used or 0)
        return max(_ROUND.plus(amount * 100 / plan.percent), Decimal(1))

    return PlanTerms(
        messages=int(limit(this_month.messages.total, week.messages)),
        tokens=int(limit(this_month.tokens.total, week.tokens)),
        cost=limit(this_month.cost, week.cost),
        hard=plan.hard,
    )
