"""Plans and their dated limits, and which company has which: the operator writes, members read their own."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from secretaria.core import money
from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.core.limit import THRESHOLDS
from secretaria.core.plan import Plan, PlanChoice, PlanTerms, PlanVersion, TermsChange
from secretaria.services.plans import PAGE_PLANS_MAX, operator_day, plan_not_found
from secretaria.web.api.routes import ApiRoute, Body, Number, digits, path_company_id
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/plans", tags=["Plans"], route_class=ApiRoute)
of_companies = APIRouter(prefix="/api/companies", tags=["Plans"], route_class=ApiRoute)

TEXT_CHARS_MAX = 1_000
THRESHOLDS_SENT_MAX = 100
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _day(value: object) -> object:
    """Read a day written YYYY-MM-DD; other ways to write one are refused, not guessed."""
    if value is None:
        return None
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    raise ValueError("must be a day, written YYYY-MM-DD")


Day = Annotated[date | None, BeforeValidator(_day), Field(default=None, alias="from")]


def _plan(value: object) -> object:
    known = value is None or (isinstance(value, int) and not isinstance(value, bool))
    if known or (isinstance(value, str) and len(value) <= TEXT_CHARS_MAX):
        return value
    raise ValueError("must be a plan's id, its name, or null for none")


class PlanBody(Body):
    """A plan to make. A limit that is absent or null is unlimited; cost is a text such as "1500.00"."""

    name: str = Field(max_length=TEXT_CHARS_MAX)
    messages: int | None = None
    tokens: int | None = None
    cost: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    currency: str = Field(default="BRL", max_length=TEXT_CHARS_MAX)
    thresholds: list[int] = Field(default=list(THRESHOLDS), max_length=THRESHOLDS_SENT_MAX)
    hard: bool = False


class LimitsBody(Body):
    """What changes, from a day on (absent: today): a field left out keeps its value, null lifts the limit."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_alias=True, validate_by_name=False)

    messages: int | None = None
    tokens: int | None = None
    cost: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    thresholds: list[int] = Field(default=[], max_length=THRESHOLDS_SENT_MAX)
    hard: bool = False
    effective_from: Day

    def change(self) -> TermsChange:
        """Return what was sent, as a change."""
        sent = self.model_fields_set
        return TermsChange(
            messages=self.messages if "messages" in sent else UNSET,
            tokens=self.tokens if "tokens" in sent else UNSET,
            cost=_amount(self.cost) if "cost" in sent else UNSET,
            thresholds=tuple(self.thresholds) if "thresholds" in sent else UNSET,
            hard=self.hard if "hard" in sent else UNSET,
        )


class ChoiceBody(Body):
    """A plan by its id or name, or null for none, from one of the company's days on (absent: its today)."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_alias=True, validate_by_name=False)

    plan: Annotated[int | str | None, BeforeValidator(_plan)]
    effective_from: Day


class LimitsOut(BaseModel):
    """Limits from a day on; null is unlimited."""

    messages: int | None
    tokens: int | None
    cost: str | None
    thresholds: list[int]
    hard: bool
    effective_from: date
    created_at: datetime

    @classmethod
    def of(cls, version: PlanVersion) -> "LimitsOut":
        """Return what is shown of a version."""
        terms = version.terms
        return cls(
            messages=terms.messages,
            tokens=terms.tokens,
            cost=None if terms.cost is None else money.exact_text(terms.cost),
            thresholds=list(terms.thresholds),
            hard=terms.hard,
            effective_from=version.effective_from,
            created_at=version.created_at,
        )


class PlanOut(BaseModel):
    """A plan: the limits of today, and all of them by day. companies have it now; null for members."""

    id: int
    name: str
    currency: str
    companies: int | None
    limits: LimitsOut
    versions: list[LimitsOut]
    created_at: datetime

    @classmethod
    def of(cls, plan: Plan, now: datetime) -> "PlanOut":
        """Return what is shown of a plan."""
        return cls(
            id=plan.plan_id,
            name=plan.name,
            currency=plan.currency,
            companies=plan.companies,
            limits=LimitsOut.of(plan.version_on(operator_day(now))),
            versions=[LimitsOut.of(version) for version in plan.versions],
            created_at=plan.created_at,
        )


class PlansOut(BaseModel):
    """A page by id; next_after is null on the last page."""

    plans: list[PlanOut]
    next_after: int | None


class ChosenPlanOut(BaseModel):
    """A plan's id and name."""

    id: int
    name: str


class ChoiceOut(BaseModel):
    """The plan of a company from a local day on; null: none."""

    plan: ChosenPlanOut | None
    effective_from: date
    created_at: datetime

    @classmethod
    def of(cls, choice: PlanChoice) -> "ChoiceOut":
        """Return what is shown of a choice."""
        plan = None if choice.plan_id is None else ChosenPlanOut(id=choice.plan_id, name=choice.name or "")
        return cls(plan=plan, effective_from=choice.effective_from, created_at=choice.created_at)


class CompanyPlanOut(BaseModel):
    """current holds today (null: none was ever chosen); choices by day, those of days to come among them."""

    company_id: int
    current: ChoiceOut | None
    choices: list[ChoiceOut]


@router.post("", status_code=201)
async def create_plan(
    request: Request, response: Response, body: PlanBody, caller: Annotated[Caller, Depends(caller_of)]
) -> PlanOut:
    """Make a plan. Operator's credentials with companies:write."""
    application = application_of(request)
    now = application.clock()
    terms = PlanTerms(body.messages, body.tokens, _amount(body.cost), tuple(body.thresholds), body.hard)
    plan = await application.plans.create(caller, body.name, terms, currency=body.currency, now=now)
    response.headers["Location"] = f"/api/plans/{plan.plan_id}"
    return PlanOut.of(plan, now)


@router.get("")
async def list_plans(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    limit: Number = PAGE_PLANS_MAX,
    after: Number = 0,
) -> PlansOut:
    """List plans by id; a company's credential sees the one it has."""
    if not 1 <= limit <= PAGE_PLANS_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_PLANS_MAX}", code="invalid_limit", pointer="limit")
    application = application_of(request)
    now = application.clock()
    page = await application.plans.list(caller, limit=limit, after=after, now=now)
    last = page[-1].plan_id if len(page) == limit and caller.is_operator else None
    return PlansOut(plans=[PlanOut.of(plan, now) for plan in page], next_after=last)


@router.get("/{plan_id}")
async def get_plan(request: Request, plan_id: str, caller: Annotated[Caller, Depends(caller_of)]) -> PlanOut:
    """Return one plan with its dated limits; a company's credential sees those it has or had."""
    application = application_of(request)
    now = application.clock()
    return PlanOut.of(await application.plans.get(caller, _path_plan_id(plan_id), now=now), now)


@router.post("/{plan_id}/limits")
async def change_limits(
    request: Request, plan_id: str, body: LimitsBody, caller: Annotated[Caller, Depends(caller_of)]
) -> PlanOut:
    """Let other limits hold from a day on, for every company that has the plan. Operator's, companies:write."""
    application = application_of(request)
    now = application.clock()
    caller.require_operator()
    plan = await application.plans.change(
        caller, _path_plan_id(plan_id), body.change(), effective_from=body.effective_from, now=now
    )
    return PlanOut.of(plan, now)


@of_companies.put("/{company_id}/plan")
async def choose_plan(
    request: Request, company_id: str, body: ChoiceBody, caller: Annotated[Caller, Depends(caller_of)]
) -> ChoiceOut:
    """Let a company have a plan, or none, from one of its days on. Operator's credentials with companies:write."""
    application = application_of(request)
    caller.require_operator()
    choice = await application.plans.assign(
        caller,
        path_company_id(company_id),
        body.plan,
        effective_from=body.effective_from,
        now=application.clock(),
    )
    return ChoiceOut.of(choice)


@of_companies.get("/{company_id}/plan")
async def get_company_plan(
    request: Request, company_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyPlanOut:
    """Return which plan a company has, and which it had and will have."""
    application = application_of(request)
    number = path_company_id(company_id)
    found = await application.plans.history(caller, number, application.clock())
    return CompanyPlanOut(
        company_id=number,
        current=None if found.current is None else ChoiceOut.of(found.current),
        choices=[ChoiceOut.of(choice) for choice in found.choices],
    )


def _path_plan_id(text: str) -> int:
    try:
        return digits(text)
    except ValueError:
        raise plan_not_found() from None


def _amount(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return money.parse_amount(text)
    except InvalidInput as error:
        error.pointer = "/cost"
        raise
