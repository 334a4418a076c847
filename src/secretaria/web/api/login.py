"""Login, logout, and who am I."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from secretaria.core.access import Caller
from secretaria.core.account import Role
from secretaria.store.users import User
from secretaria.web.api.routes import ApiRoute, Body, PublicRoute
from secretaria.web.auth import (
    application_of,
    caller_of,
    clear_panel_cookie,
    require_same_origin,
    set_panel_cookie,
    token_of,
)

public = APIRouter(prefix="/api/auth", tags=["Access"], route_class=PublicRoute)
router = APIRouter(prefix="/api/auth", tags=["Access"], route_class=ApiRoute)


class LoginBody(Body):
    """An account's address and password."""

    email: str
    password: str


class UserOut(BaseModel):
    """A person; company_id is null for operators."""

    id: int
    email: str
    role: Role
    company_id: int | None
    locale: str

    @classmethod
    def of(cls, user: User) -> "UserOut":
        """Return what is shown of a user."""
        return cls(
            id=user.user_id,
            email=user.email,
            role=user.role,
            company_id=user.company_id or None,
            locale=user.locale,
        )


class LoginOut(BaseModel):
    """The token is shown once. It also came as the cookie panel_token."""

    token: str
    expires_at: datetime
    user: UserOut


class MeOut(BaseModel):
    """Whom the credential stands for; user is null for API keys, company_id for the operator's."""

    company_id: int | None
    role: Role
    scopes: list[str]
    user: UserOut | None


@public.post("/login")
async def login(request: Request, response: Response, body: LoginBody) -> LoginOut:
    """Open a session: a token for programs and the cookie for the browser. Failures are throttled."""
    application = application_of(request)
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        # A browser: another site must not log its visitor into an account of its choice.
        require_same_origin(request.scope, application.settings)
    address = request.client.host if request.client else None
    opened = await application.access.login(body.email, body.password, address, application.clock())
    set_panel_cookie(response, opened.token, opened.expires_at, application.settings)
    return LoginOut(token=opened.token, expires_at=opened.expires_at, user=UserOut.of(opened.user))


@router.post("/logout", status_code=204)
async def logout(request: Request, response: Response) -> None:
    """End the session at once, on every process."""
    application = application_of(request)
    token, _ = token_of(request.scope)
    await application.access.logout(token, application.clock())
    clear_panel_cookie(response, application.settings)


@router.get("/me")
async def me(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> MeOut:
    """Tell whom the credential stands for and what it may do."""
    user = await application_of(request).access.user_of(caller)
    return MeOut(
        company_id=caller.company_id or None,
        role=Role.OPERATOR if caller.is_operator else Role.MEMBER,
        scopes=sorted(caller.scopes),
        user=None if user is None else UserOut.of(user),
    )
