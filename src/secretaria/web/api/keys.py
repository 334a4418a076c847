"""API keys: made, listed, revoked."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from secretaria.core.access import DEFAULT_SCOPES, Caller
from secretaria.services.access import KEY_NAME_CHARS_MAX
from secretaria.store.api_keys import ApiKey
from secretaria.web.api.routes import ApiRoute, Body, Number
from secretaria.web.auth import application_of, caller_of

router = APIRouter(prefix="/api/keys", tags=["Keys"], route_class=ApiRoute)

SCOPES_MAX = 20


class KeyBody(Body):
    """A key to make. Without company_id (or with 0) it is of the caller's own scope: operator or company."""

    company_id: int | None = Field(default=None, ge=0, lt=2**63)
    scopes: list[str] = Field(default=sorted(DEFAULT_SCOPES), min_length=1, max_length=SCOPES_MAX)
    name: str = Field(default="", max_length=KEY_NAME_CHARS_MAX)


class KeyOut(BaseModel):
    """A key, without its secret; company_id is null for the operator's own."""

    id: str
    company_id: int | None
    name: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyOut":
        """Return what is shown of a key."""
        return cls(
            id=key.key_id,
            company_id=key.company_id or None,
            name=key.name,
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            revoked_at=key.revoked_at,
        )


class NewKeyOut(KeyOut):
    """A key just made; `key` is shown here and nowhere again."""

    key: str


class KeysOut(BaseModel):
    """Keys by company, newest first."""

    keys: list[KeyOut]


@router.post("", status_code=201)
async def create_key(
    request: Request, body: KeyBody, caller: Annotated[Caller, Depends(caller_of)]
) -> NewKeyOut:
    """Make a key. Scope keys:write; only the operator gives more than usage:write and analytics:read."""
    made = await application_of(request).access.create_api_key(
        caller, body.company_id, scopes=body.scopes, name=body.name
    )
    return NewKeyOut(**KeyOut.of(made.key).model_dump(), key=made.text)


@router.get("")
async def list_keys(
    request: Request, caller: Annotated[Caller, Depends(caller_of)], company_id: Number | None = None
) -> KeysOut:
    """List keys: a company's (0: the operator's own), or all that the caller may see."""
    found = await application_of(request).access.list_api_keys(caller, company_id)
    return KeysOut(keys=[KeyOut.of(key) for key in found])


@router.delete("/{key_id}", status_code=204)
async def revoke_key(request: Request, key_id: str, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
    """Revoke a key: refused everywhere within a second. Again is no error."""
    await application_of(request).access.revoke_api_key(caller, key_id)
    return Response(status_code=204)
