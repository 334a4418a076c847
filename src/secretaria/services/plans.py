"""Plans: named, dated limits, and which company has which from when. The operator writes, members read their own.

A change holds from its first day on, today included: a raised limit lets its alerts fire anew at once, a lowered one
fires what is crossed already. Every write is one transaction with its audit line and the alerts it decides.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from secretaria.core import money
from secretaria.core.access import Caller, Scope
from secretaria.core.errors import DuplicateKey, InvalidInput, NotFound, TooLarge
from secretaria.core.period import DAY_LAST, DEFAULT_TIMEZONE, ZoneSchedule, local_day
from secretaria.core.plan import Plan, PlanChoice, PlanTerms, TermsChange, choice_on
from secretaria.services import crossings
from secretaria.services.companies import CURRENCIES, valid_name
from secretaria.services.scope import COMPANY_ID_MAX, company_not_found, company_transaction, operator_transaction
from secretaria.store import audit, companies, plans
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.heads import read_versions

PAGE_PLANS_MAX: Final = 100
VERSIONS_MAX: Final = 500
CHOICES_MAX: Final = 1_000
PLAN_NAME_CHARS_MAX: Final = 100
NO_PLAN: Final = "none"
"""What the command line calls no plan; so no plan is named so."""

TOLD_COMPANIES_MAX: Final = 1_000
"""Open pages of more companies than this look by themselves, within a second."""

_OPERATOR_ZONE: Final = ZoneSchedule.single(DEFAULT_TIMEZONE)
# Every local day that is still going on, anywhere, began no earlier than this many days before the UTC date.
_BEHIND_UTC: Final = timedelta(days=1)

Tell = Callable[[dict[int, int]], None]


@dataclass(frozen=True, slots=True)
class PlanHistory:
    """A company's plans: the choice that holds on its today (None: never had one), and all choices, by day."""

    today: date
    current: PlanChoice | None
    choices: list[PlanChoice]


class PlanService:
    """Keeps plans and who has them. tell publishes the new versions of companies whose limits changed."""

    def __init__(self, database: Database, *, tell: Tell) -> None:
        self._database = database
        self._tell = tell

    async def create(
        self, caller: Caller, name: str, terms: PlanTerms, *, currency: str = "BRL", now: datetime
    ) -> Plan:
        """Make a plan whose first limits hold from today.

        Raises InvalidInput (invalid_name, unknown_currency, invalid_plan_limit, invalid_thresholds), DuplicateKey
        (plan_exists), NotAllowed.
        """
        _require_editor(caller)
        name, terms = _valid_new(name, currency), terms.checked()
        today = operator_day(now)
        async with operator_transaction(self._database, caller) as connection:
            plan_id = await plans.insert(connection, name, terms, currency=currency, effective_from=today, now=now)
            if plan_id is None:
                raise _plan_exists()
            after = {"name": name, "currency": currency, **_described(terms, today)}
            await _note(connection, caller, "plan.created", plan_id, before=None, after=after)
            return await _counted(connection, plan_id, now)

    async def require_new(self, caller: Caller, name: str, currency: str) -> None:
        """Raise what create() would for a plan's name and currency; nothing is written."""
        _require_editor(caller)
        name = _valid_new(name, currency)
        async with operator_transaction(self._database, caller) as connection:
            if await plans.read(connection, name) is not None:
                raise _plan_exists()

    async def list(
        self, caller: Caller, limit: int = PAGE_PLANS_MAX, after: int = 0, *, now: datetime
    ) -> list[Plan]:
        """Return up to `limit` plans with an id above `after`, by id, and how many companies have each now.

        A member's list holds the plan its company has today, or nothing. limit is held to 1 to PAGE_PLANS_MAX.
        """
        caller.require_scope(Scope.ANALYTICS_READ)
        limit = min(max(limit, 1), PAGE_PLANS_MAX)
        if not caller.is_operator:
            current = (await self.history(caller, caller.company_id, now)).current
            plan_id = current.plan_id if current else None
            return [await self.get(caller, plan_id, now=now)] if plan_id is not None and plan_id > after else []
        async with operator_transaction(self._database, caller) as connection:
            page = await plans.read_page(connection, after=after, limit=limit)
            counts = await plans.count_companies(connection, [plan.plan_id for plan in page], now=now)
        return [replace(plan, companies=counts.get(plan.plan_id, 0)) for plan in page]

    async def get(self, caller: Caller, plan: int | str, *, now: datetime) -> Plan:
        """Return a plan by id or name. A member sees those its company has or had. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        if caller.is_operator:
            async with operator_transaction(self._database, caller) as connection:
                return await _counted(connection, (await _read_plan(connection, plan)).plan_id, now)
        async with company_transaction(self._database, caller, caller.company_id) as connection:
            found = await _read_plan(connection, plan)
            choices = await plans.read_choices(connection, caller.company_id, limit=CHOICES_MAX)
        if found.plan_id not in {choice.plan_id for choice in choices}:
            raise plan_not_found()
        return found

    async def change(
        self,
        caller: Caller,
        plan: int | str,
        change: TermsChange,
        *,
        effective_from: date | None = None,
        now: datetime,
    ) -> Plan:
        """Let other limits hold from a day on (None: today), for every company that has the plan by then.

        What is said already changes nothing. Raises NotFound (plan_not_found), InvalidInput (nothing_to_change,
        effective_date_in_past, day_out_of_range, currency_mismatch, as create), TooLarge (too_many_versions),
        NotAllowed.
        """
        _require_editor(caller)
        if not change:
            raise InvalidInput("say which limit changes, and to what", code="nothing_to_change")
        start = _valid_start(effective_from, today=operator_day(now))
        async with operator_transaction(self._database, caller) as connection:
            found = await _locked_plan(connection, plan)
            before = found.version_on(start)
            terms = change.applied_to(before.terms)
            if terms == before.terms:
                return await _counted(connection, found.plan_id, now)
            if len(found.versions) >= VERSIONS_MAX:
                raise TooLarge(f"a plan has at most {VERSIONS_MAX} versions", code="too_many_versions")
            holders = await plans.read_holders(connection, found.plan_id, since=now.date() - _BEHIND_UTC)
            locked = await companies.lock_heads(connection, holders)
            if terms.cost is not None and await plans.read_currencies(connection, locked) - {found.currency}:
                raise _currency_mismatch(f"companies that are not in {found.currency} have this plan")
            await plans.insert_version(connection, found.plan_id, terms, effective_from=start, now=now)
            told = _described(before.terms, before.effective_from), _described(terms, start)
            await _note(connection, caller, "plan.changed", found.plan_id, before=told[0], after=told[1])
            versions = await _settings_moved(connection, locked, now=now)
            changed = await _counted(connection, found.plan_id, now)
        self._tell(versions)
        return changed

    async def assign(
        self,
        caller: Caller,
        company_id: int,
        plan: int | str | None,
        *,
        effective_from: date | None = None,
        now: datetime,
    ) -> PlanChoice:
        """Let a company have a plan, or none, from one of its local days on (None: its today).

        What it has on that day already changes nothing; a choice of a later day stays. Raises NotFound
        (company_not_found, plan_not_found), InvalidInput (effective_date_in_past, day_out_of_range,
        currency_mismatch), NotAllowed.
        """
        _require_editor(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            chosen = None if plan is None else await _locked_plan(connection, plan, shared=True)
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            company = await _read_company(connection, company_id)
            start = _valid_start(effective_from, today=local_day(company.schedule, now))
            if chosen is not None:
                _require_currency(chosen, company, start)
            choices = await plans.read_choices(connection, company_id, limit=CHOICES_MAX)
            before = choice_on(choices, start)
            plan_id, name = (chosen.plan_id, chosen.name) if chosen else (None, None)
            if before is None and chosen is None:
                return PlanChoice(None, None, start, now)
            if before is not None and before.plan_id == plan_id:
                return before
            await plans.insert_choice(connection, company_id, plan_id, effective_from=start, now=now)
            detail = {"before": _described_choice(before), "after": {"plan": name, "effective_from": str(start)}}
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="company_plan.set",
                subject=f"company:{company_id}",
                detail=detail,
            )
            versions = await _settings_moved(connection, [company_id], now=now)
        self._tell(versions)
        return PlanChoice(plan_id, name, start, now)

    async def history(self, caller: Caller, company_id: int, now: datetime) -> PlanHistory:
        """Return which plans a company has, had and will have. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            company = await _read_company(connection, company_id)
            choices = await plans.read_choices(connection, company_id, limit=CHOICES_MAX)
        today = local_day(company.schedule, now)
        return PlanHistory(today, choice_on(choices, today), choices)


def plan_not_found() -> NotFound:
    """Build the answer for a plan that does not exist, and to members for one their company never had."""
    return NotFound("no such plan", code="plan_not_found")


def operator_day(now: datetime) -> date:
    """Return the operator's today, on which a plan's limits begin: plans are of no company, so of no company's zone."""
    return local_day(_OPERATOR_ZONE, now)


def _require_editor(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


def _plan_exists() -> DuplicateKey:
    return DuplicateKey("there is a plan of this name already", code="plan_exists", pointer="/name")


def _valid_new(name: str, currency: str) -> str:
    name = _valid_plan_name(name)
    if currency not in CURRENCIES:
        raise InvalidInput("the currency is BRL or USD", code="unknown_currency", pointer="/currency")
    return name


def _valid_plan_name(name: str) -> str:
    """Digits alone would be an id, and `none` no plan."""
    name = valid_name(name)
    if len(name) > PLAN_NAME_CHARS_MAX or name.isdigit() or name.casefold() == NO_PLAN:
        raise InvalidInput(
            f"a plan's name has 1 to {PLAN_NAME_CHARS_MAX} characters, not digits alone, and is not {NO_PLAN}",
            code="invalid_name",
            pointer="/name",
        )
    return name


def _valid_start(wanted: date | None, *, today: date) -> date:
    start = wanted or today
    if start < today:
        raise InvalidInput(
            f"days that have begun keep their limits: from {today} on, or later", code="effective_date_in_past"
        )
    if start > DAY_LAST:
        raise InvalidInput(f"days up to {DAY_LAST} are supported", code="day_out_of_range")
    return start


async def _read_plan(connection: Connection, plan: int | str) -> Plan:
    impossible = isinstance(plan, int) and not 0 <= plan <= COMPANY_ID_MAX
    found = None if impossible else await plans.read(connection, plan)
    if found is None:
        raise plan_not_found()
    return found


async def _locked_plan(connection: Connection, plan: int | str, *, shared: bool = False) -> Plan:
    """Lock a plan, then read it: its name never changes, its limits do. No head may be locked before."""
    plan_id = (await _read_plan(connection, plan)).plan_id
    await plans.lock(connection, plan_id, shared=shared)
    return await _read_plan(connection, plan_id)


async def _read_company(connection: Connection, company_id: int) -> Company:
    company = await companies.read(connection, company_id)
    if company is None:
        raise company_not_found()
    return company


async def _counted(connection: Connection, plan_id: int, now: datetime) -> Plan:
    found = await _read_plan(connection, plan_id)
    counts = await plans.count_companies(connection, [plan_id], now=now)
    return replace(found, companies=counts.get(plan_id, 0))


def _require_currency(plan: Plan, company: Company, start: date) -> None:
    """A limit of the cost is an amount of the plan's currency: nothing else is held against it."""
    coming = [version for version in plan.versions if version.effective_from > start]
    has_cost = any(version.terms.cost is not None for version in (plan.version_on(start), *coming))
    if has_cost and plan.currency != company.currency:
        raise _currency_mismatch(f"the plan limits the cost in {plan.currency}, the company is in {company.currency}")


def _currency_mismatch(message: str) -> InvalidInput:
    return InvalidInput(message, code="currency_mismatch")


async def _settings_moved(connection: Connection, company_ids: Collection[int], *, now: datetime) -> dict[int, int]:
    """Decide what the new limits mean for companies whose heads are locked; return the versions to tell."""
    ids = sorted(company_ids)
    await companies.raise_settings_versions(connection, ids)
    await crossings.settings_changed(connection, ids, now=now)
    return await read_versions(connection, ids[:TOLD_COMPANIES_MAX])


async def _note(
    connection: Connection,
    caller: Caller,
    action: str,
    plan_id: int,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> None:
    await audit.insert(
        connection,
        caller.company_id,
        actor=caller.identity,
        action=action,
        subject=f"plan:{plan_id}",
        detail={"before": before, "after": after},
    )


def _described(terms: PlanTerms, start: date) -> dict[str, Any]:
    return {
        "messages": terms.messages,
        "tokens": terms.tokens,
        "cost": None if terms.cost is None else money.exact_text(terms.cost),
        "thresholds": list(terms.thresholds),
        "hard": terms.hard,
        "effective_from": str(start),
    }


def _described_choice(choice: PlanChoice | None) -> dict[str, Any] | None:
    return None if choice is None else {"plan": choice.name, "effective_from": str(choice.effective_from)}
