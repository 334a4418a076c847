"""Companies with plans and usage, made by the operator on one day, for tests of limits."""

from datetime import UTC, date, datetime
from typing import Any

from secretaria.bootstrap import Application
from secretaria.core.plan import Plan, PlanTerms
from tests.shop import OPERATOR, event

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = date(2026, 11, 20)


async def make(application: Application, *names: str, **options: Any) -> list[int]:
    return [
        (await application.companies.create(OPERATOR, name, now=NOW, **options)).company_id for name in names
    ]


async def plan(application: Application, name: str = "Pro", **terms: Any) -> Plan:
    currency = terms.pop("currency", "BRL")
    return await application.plans.create(OPERATOR, name, PlanTerms(**terms), currency=currency, now=NOW)


async def use(application: Application, company_id: int, name: str, messages: int, now: datetime = NOW) -> None:
    sent = event(name, subject=company_id, messages=messages)
    assert (await application.ingest.submit(OPERATOR, [(0, sent)], now=now)).accepted == 1
