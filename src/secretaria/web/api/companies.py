"""Companies: made by the operator, read by those they belong to."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput
from secretaria.core.period import DEFAULT_TIMEZONE
from secretaria.services.companies import PAGE_COMPANIES_MAX
from secretaria.store.companies import Company
from secretaria.web.api.routes import ApiRoute, Body, Number, path_company_id
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/companies", tags=["Companies"], route_class=ApiRoute)

TEXT_CHARS_MAX = 1_000


class CompanyBody(Body):
    """A company to make. The time zone is an IANA name, the currency BRL or USD, tax_id a CNPJ."""

    name: str = Field(max_length=TEXT_CHARS_MAX)
    legal_name: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    tax_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    timezone: str = Field(default=DEFAULT_TIMEZONE, max_length=TEXT_CHARS_MAX)
    currency: str = Field(default="BRL", max_length=TEXT_CHARS_MAX)


class CompanyChangeBody(Body):
    """What changes of a company: a field left out stays, null removes legal_name or tax_id."""

    name: str = Field(default="", max_length=TEXT_CHARS_MAX)
    legal_name: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    tax_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    timezone: str = Field(default="", max_length=TEXT_CHARS_MAX)
    currency: str = Field(default="", max_length=TEXT_CHARS_MAX)


class CompanyOut(BaseModel):
    """A company; demo marks what `secretaria up --demo` made."""

    id: int
    name: str
    legal_name: str | None
    tax_id: str | None
    status: str
    timezone: str
    currency: str
    demo: bool
    created_at: datetime

    @classmethod
    def of(cls, company: Company) -> "CompanyOut":
        """Return what is shown of a company."""
        return cls(
            id=company.company_id,
            name=company.name,
            legal_name=company.legal_name,
            tax_id=company.tax_id,
            status=company.status,
            timezone=company.timezone,
            currency=company.currency,
            demo=company.demo,
            created_at=company.created_at,
        )


class CompaniesOut(BaseModel):
    """A page by id; next_after is null on the last page."""

    companies: list[CompanyOut]
    next_after: int | None


@router.post("", status_code=201)
async def create_company(
    request: Request, response: Response, body: CompanyBody, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyOut:
    """Make a company. Operator's credentials with companies:write."""
    application = application_of(request)
    company = await application.companies.create(
        caller, body.name, timezone=body.timezone, currency=body.currency, legal_name=body.legal_name,
        tax_id=body.tax_id, now=application.clock(),
    )  # fmt: skip
    response.headers["Location"] = f"/api/companies/{company.company_id}"
    return CompanyOut.of(company)


@router.get("")
async def list_companies(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    limit: Number = PAGE_COMPANIES_MAX,
    after: Number = 0,
) -> CompaniesOut:
    """List companies by id; a company's credential sees its own."""
    if not 1 <= limit <= PAGE_COMPANIES_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_COMPANIES_MAX}", code="invalid_limit", pointer="limit")
    page = await application_of(request).companies.list(caller, limit=limit, after=after)
    last = page[-1].company_id if len(page) == limit else None
    return CompaniesOut(companies=[CompanyOut.of(company) for company in page], next_after=last)


@router.get("/{company_id}")
async def get_company(
    request: Request, company_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyOut:
    """Return one company."""
    return CompanyOut.of(await application_of(request).companies.get(caller, path_company_id(company_id)))


@router.patch("/{company_id}")
async def change_company(
    request: Request, company_id: str, body: CompanyChangeBody, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyOut:
    """Change a company. Another time zone holds from its next local day on. Operator's, companies:write."""
    caller.require_operator()
    application = application_of(request)
    change = {name: getattr(body, name) for name in sorted(body.model_fields_set)}
    return CompanyOut.of(
        await application.companies.update(caller, path_company_id(company_id), change, application.clock())
    )


@router.post("/{company_id}/suspend")
async def suspend_company(
    request: Request, company_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyOut:
    """Let entitlement checks of the company say no; its usage is counted all the same. Operator's, companies:write."""
    caller.require_operator()
    return CompanyOut.of(await application_of(request).companies.suspend(caller, path_company_id(company_id)))


@router.post("/{company_id}/reactivate")
async def reactivate_company(
    request: Request, company_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> CompanyOut:
    """End a suspension. Operator's credentials with companies:write."""
    caller.require_operator()
    return CompanyOut.of(await application_of(request).companies.reactivate(caller, path_company_id(company_id)))
