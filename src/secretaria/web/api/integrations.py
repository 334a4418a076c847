"""A company's connection to Meta: entered, tested and removed by the operator. Secrets go in and never come out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from secretaria.core.access import Caller
from secretaria.services.integrations import Shown
from secretaria.services.meta import Check
from secretaria.store.integrations import PartState
from secretaria.web.api.routes import ApiRoute, Body, Number
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/integrations/meta", tags=["Integrations"], route_class=ApiRoute)

TEXT_CHARS_MAX = 2_000


class MetaBody(Body):
    """What to change: a field left out keeps its value, null removes it."""

    ad_account_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    business_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    waba_id: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    access_token: str | None = Field(default=None, max_length=TEXT_CHARS_MAX, repr=False)
    app_secret: str | None = Field(default=None, max_length=TEXT_CHARS_MAX, repr=False)
    verify_token: str | None = Field(default=None, max_length=TEXT_CHARS_MAX, repr=False)
    total_source: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    today_source: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)


class PartOut(BaseModel):
    """How a part stands; meta_code is that of Meta's last error, next_attempt_at null until the operator acts."""

    part: str
    state: str
    meta_code: int | None
    succeeded_at: datetime | None
    stale_since: datetime | None
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, part: PartState) -> "PartOut":
        """Return what is shown of a part."""
        return cls(
            part=part.part.value,
            state=part.state.value,
            meta_code=part.meta_code,
            succeeded_at=part.succeeded_at,
            stale_since=part.stale_since,
            next_attempt_at=part.next_attempt_at,
        )


class MetaOut(BaseModel):
    """A connection; secrets are masked, null where none is set, and named in `unreadable` where none can be opened."""

    company_id: int
    integration_id: int
    ad_account_id: str | None
    business_id: str | None
    waba_id: str | None
    access_token: str | None
    app_secret: str | None
    verify_token: str | None
    unreadable: list[str]
    total_source: str
    today_source: str
    parts: list[PartOut]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, shown: Shown) -> "MetaOut":
        """Return what is shown of a connection."""
        found = shown.integration
        return cls(
            company_id=found.company_id,
            integration_id=found.integration_id,
            ad_account_id=found.ad_account_id,
            business_id=found.business_id,
            waba_id=found.waba_id,
            access_token=shown.masked["access_token"],
            app_secret=shown.masked["app_secret"],
            verify_token=shown.masked["verify_token"],
            unreadable=list(shown.unreadable),
            total_source=found.choice.total_source.value,
            today_source=found.choice.today_source.value,
            parts=[PartOut.of(part) for part in shown.parts],
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


class CheckOut(BaseModel):
    """One part of a test: outcome is ok, not_configured, back_off, refused or reconnect."""

    part: str
    outcome: str
    meta_code: int | None
    detail: str

    @classmethod
    def of(cls, check: Check) -> "CheckOut":
        """Return what is shown of a check."""
        return cls(
            part=check.part.value, outcome=check.outcome, meta_code=check.meta_code, detail=check.detail
        )


class TestOut(BaseModel):
    """What Meta answered, part by part; ok when every part that is set up answered."""

    ok: bool
    checks: list[CheckOut]


@router.get("")
async def get_meta(
    request: Request, company_id: Number, caller: Annotated[Caller, Depends(caller_of)]
) -> MetaOut:
    """Return a company's connection to Meta. Operator's credentials with companies:write."""
    return MetaOut.of(await application_of(request).integrations.get(caller, company_id))


@router.put("")
async def put_meta(
    request: Request, company_id: Number, body: MetaBody, caller: Annotated[Caller, Depends(caller_of)]
) -> MetaOut:
    """Connect a company to Meta, or change the connection; everything is then asked of Meta anew."""
    application = application_of(request)
    change = body.model_dump(include=body.model_fields_set)
    return MetaOut.of(await application.integrations.put(caller, company_id, change, application.clock()))


@router.delete("", status_code=204)
async def delete_meta(
    request: Request, company_id: Number, caller: Annotated[Caller, Depends(caller_of)]
) -> Response:
    """Forget a company's connection and its secrets; figures that were pulled stay. Again is no error."""
    await application_of(request).integrations.remove(caller, company_id)
    return Response(status_code=204)


@router.post("/test")
async def test_meta(
    request: Request, company_id: Number, caller: Annotated[Caller, Depends(caller_of)]
) -> TestOut:
    """Ask Meta for a little of each part and say what it answered; nothing is kept."""
    application = application_of(request)
    checks = await application.meta.test(caller, company_id, application.clock())
    asked = [check for check in checks if check.outcome != "not_configured"]
    ok = bool(asked) and all(check.outcome == "ok" for check in asked)
    return TestOut(ok=ok, checks=[CheckOut.of(check) for check in checks])
