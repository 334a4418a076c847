"""WhatsApp accounts, their templates, and the account card: today's messages and cost by category."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.money import exact_text
from secretaria.services.account_details import CATEGORIES, AccountDetails, CategoryDetail, UsedPrice
from secretaria.services.accounts import PAGE_ACCOUNTS_MAX, PRODUCT_CARD, account_not_found
from secretaria.store.accounts import Account
from secretaria.store.templates import Template
from secretaria.web.api.routes import ApiRoute, Body, Number, company_asked_for, path_company_id
from secretaria.web.auth import application_of, caller_of

accounts = APIRouter(prefix="/api/whatsapp-accounts", tags=["WhatsApp accounts"], route_class=ApiRoute)
templates = APIRouter(prefix="/api/templates", tags=["Templates"], route_class=ApiRoute)

TEXT_CHARS_MAX = 1_000
PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})
_SYMBOLS = {"BRL": "R$", "USD": "US$"}


def _day(value: object) -> date:
    """Return a day written YYYY-MM-DD and in no other way."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        return date.fromisoformat(value)
    raise ValueError("must be a day, YYYY-MM-DD")


class AccountBody(Body):
    """An account to make: the company, Meta's phone_number_id, the WABA's currency and the card that prices it."""

    company_id: int = Field(ge=1, lt=2**63)
    phone_number_id: str = Field(max_length=TEXT_CHARS_MAX)
    name: str = Field(max_length=TEXT_CHARS_MAX)
    waba_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    currency: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    rate_card: str = Field(default=PRODUCT_CARD, max_length=TEXT_CHARS_MAX)


class AccountOut(BaseModel):
    """An account. messages_from: since when Meta's webhook counts its messages; null: usage events do."""

    id: int
    company_id: int
    phone_number_id: str
    waba_id: str | None
    name: str
    currency: str
    rate_card: str
    quality_rating: str | None
    messages_from: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> "AccountOut":
        """Return what is shown of an account."""
        return cls(
            id=account.account_id,
            company_id=account.company_id,
            phone_number_id=account.phone_number_id,
            waba_id=account.waba_id,
            name=account.name,
            currency=account.currency,
            rate_card=account.rate_card,
            quality_rating=account.quality_rating,
            messages_from=account.messages_from,
            created_at=account.created_at,
        )


class AccountsOut(BaseModel):
    """A page by id; next_after is null on the last page."""

    accounts: list[AccountOut]
    next_after: int | None


class TemplateBody(Body):
    """A template to make, with its category so far."""

    account_id: int = Field(ge=1, lt=2**63)
    name: str = Field(max_length=TEXT_CHARS_MAX)
    category: str = Field(max_length=TEXT_CHARS_MAX)
    language: str = Field(default="", max_length=32)


class TemplateOut(BaseModel):
    """A template; category is the one Meta set last."""

    id: int
    account_id: int
    name: str
    language: str
    category: str
    quality: str | None
    created_at: datetime

    @classmethod
    def of(cls, template: Template) -> "TemplateOut":
        """Return what is shown of a template."""
        return cls(
            id=template.template_id,
            account_id=template.account_id,
            name=template.name,
            language=template.language,
            category=template.category,
            quality=template.quality,
            created_at=template.created_at,
        )


class TemplatesOut(BaseModel):
    """A page by id; next_after is null on the last page."""

    templates: list[TemplateOut]
    next_after: int | None


@accounts.post("", status_code=201)
async def create_account(
    request: Request, response: Response, body: AccountBody, caller: Annotated[Caller, Depends(caller_of)]
) -> AccountOut:
    """Make a WhatsApp account. Operator's credentials with companies:write."""
    application = application_of(request)
    account = await application.accounts.create(
        caller,
        body.company_id,
        body.phone_number_id,
        body.name,
        waba_id=body.waba_id,
        currency=body.currency,
        rate_card=body.rate_card,
        now=application.clock(),
    )
    response.headers["Location"] = f"/api/whatsapp-accounts/{account.account_id}/details"
    return AccountOut.of(account)


@accounts.get("")
async def list_accounts(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    company_id: Number | None = None,
    limit: Number = PAGE_ACCOUNTS_MAX,
    after: Number = 0,
) -> AccountsOut:
    """List a company's accounts by id."""
    _check_limit(limit)
    company = company_asked_for(caller, company_id)
    page = await application_of(request).accounts.list(caller, company, after=after, limit=limit)
    last = page[-1].account_id if len(page) == limit else None
    return AccountsOut(accounts=[AccountOut.of(account) for account in page], next_after=last)


@accounts.get("/{account_id}/details")
async def account_details(
    request: Request,
    account_id: str,
    caller: Annotated[Caller, Depends(caller_of)],
    date: Annotated[date | None, BeforeValidator(_day)] = None,
) -> Response:
    """Return the account's card: today in the company's zone, or another local day, by category."""
    application = application_of(request)
    found = await application.account_details.details(
        caller, _account_id(account_id), application.clock(), day=date
    )
    body = {"success": True, "data": described(found)}
    return Response(msgspec.json.encode(body), media_type="application/json")


@accounts.get("/{account_id}/picture", response_class=Response)
async def account_picture(
    request: Request, account_id: str, caller: Annotated[Caller, Depends(caller_of)]
) -> Response:
    """Serve the profile picture as it was last fetched from Meta."""
    content, media_type = await application_of(request).accounts.picture(caller, _account_id(account_id))
    if media_type not in PICTURE_TYPES:
        raise NotFound("the account has no picture", code="picture_not_found")
    return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


@templates.post("", status_code=201)
async def create_template(
    request: Request, body: TemplateBody, caller: Annotated[Caller, Depends(caller_of)]
) -> TemplateOut:
    """Make a message template. Operator's credentials with companies:write."""
    application = application_of(request)
    template = await application.accounts.create_template(
        caller, body.account_id, body.name, category=body.category, language=body.language, now=application.clock()
    )
    return TemplateOut.of(template)


@templates.get("")
async def list_templates(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    *,
    company_id: Number | None = None,
    account_id: Number | None = None,
    limit: Number = PAGE_ACCOUNTS_MAX,
    after: Number = 0,
) -> TemplatesOut:
    """List a company's templates by id; with account_id, that account's."""
    _check_limit(limit)
    company = company_asked_for(caller, company_id)
    page = await application_of(request).accounts.list_templates(
        caller, company, account_id=account_id, after=after, limit=limit
    )
    last = page[-1].template_id if len(page) == limit else None
    return TemplatesOut(templates=[TemplateOut.of(template) for template in page], next_after=last)


def described(details: AccountDetails) -> dict[str, Any]:
    """Return the card's data: the contract's keys, texts for people beside exact amounts."""
    account = details.account
    picture = f"/api/whatsapp-accounts/{account.account_id}/picture" if account.has_picture else None
    data: dict[str, Any] = {
        "id": account.account_id,
        "name": account.name,
        "whatsapp_display_name": account.display_name,
        "whatsapp_profile_picture": picture,
        "quality_rating": account.quality_rating,
        "stats_spending_today": money_text(details.total_shown, details.currency),
        "stats_inbound": details.inbound,
        "stats_other": details.other,
        "stats_awaiting_delivery": details.awaiting_delivery,
        "spending_today_exact": exact_text(details.cost.total),
        "costs_exact": {name.lower(): exact_text(of.line.amount) for name, of in details.categories.items()},
    }
    for name in CATEGORIES:
        of = details.categories[name]
        data[f"stats_{name.lower()}"] = of.messages
        data[f"cost_{name.lower()}"] = money_text(of.shown, details.currency)
    return data | {
        "company_id": account.company_id,
        "phone_number_id": account.phone_number_id,
        "currency": details.currency,
        "account_currency": account.currency,
        "date": details.day,
        "not_priced": details.not_priced,
        "lower_bound": details.not_priced > 0,
        "messages_from": account.messages_from,
        "messages_uncounted": details.uncounted,
        "rate_card": account.rate_card,
        "prices": [_price(price) for price in details.prices],
        "lines": [_line(of) for of in details.categories.values()],
        "estimated_total_exact": exact_text(details.cost.estimated_total),
        "difference_exact": exact_text(details.cost.difference),
        "ads": _ads(details),
        "cost_source": details.cost.cost_source.value,
        "as_of": details.as_of,
        "meta_connected": details.meta.connected,
        "meta_reconnect": details.meta.reconnect,
        "meta_as_of": details.meta.as_of,
        "stale_since": details.meta.stale_since,
        "version": details.version,
    }


def _line(detail: CategoryDetail) -> dict[str, Any]:
    line = detail.line
    return {
        "category": line.category,
        "messages": detail.messages,
        "not_priced": detail.not_priced,
        "estimated": exact_text(line.estimated),
        "meta": None if line.meta is None else exact_text(line.meta),
        "difference": None if line.difference is None else exact_text(line.difference),
        "source": line.source.value,
    }


def _ads(details: AccountDetails) -> dict[str, Any] | None:
    """Ad spend stands beside the messages: it is the total only where the operator chose that."""
    spend = details.cost.ads
    if spend is None:
        return None
    return {
        "amount": None if spend.amount is None else exact_text(spend.amount),
        "currency": spend.currency,
        "converted": None if spend.converted is None else exact_text(spend.converted),
        "exchange_rate": None if spend.rate is None else exact_text(spend.rate.rate),
        "exchange_rate_source": None if spend.rate is None else spend.rate.source,
        "timezone": details.meta.ads_timezone,
        "is_total": details.cost.ads_are_total,
    }


def _price(price: UsedPrice) -> dict[str, Any]:
    return {
        "category": price.category,
        "card": price.card,
        "unit_price": exact_text(price.unit_price),
        "currency": price.price_currency,
        "source": price.source,
        "effective_from": price.effective_from,
        "exchange_rate": exact_text(price.exchange_rate),
        "exchange_rate_source": price.exchange_rate_source,
        "exchange_rate_from": price.exchange_rate_from,
    }


def money_text(amount: Decimal, currency: str) -> str:
    """Write an amount of whole cents as the contract has it: "R$ 1.234,56", with an ordinary space."""
    digits = f"{abs(amount):,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")
    return f"{'-' if amount < 0 else ''}{_SYMBOLS.get(currency, currency)} {digits}"


def _account_id(text: str) -> int:
    try:
        return path_company_id(text)
    except NotFound as error:
        raise account_not_found() from error


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_ACCOUNTS_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_ACCOUNTS_MAX}", code="invalid_limit", pointer="limit")
