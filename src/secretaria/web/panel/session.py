"""Coming and going: login, logout, language and theme. Plain forms, which work without JavaScript."""

import contextlib
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from secretaria.core.errors import InvalidInput, NotAllowed, NotAuthenticated, TooManyAttempts
from secretaria.web.auth import (
    application_of,
    caller_of,
    clear_panel_cookie,
    is_https,
    require_same_origin,
    set_panel_cookie,
    token_of,
)
from secretaria.web.panel.i18n import LOCALES, texts
from secretaria.web.panel.problems import LOGIN_PATH, PanelRoute, problem_page
from secretaria.web.panel.render import LOCALE_COOKIE, THEME_COOKIE, THEMES, locale_of, own_path, page

PREFERENCE_COOKIE_AGE_S: Final = 365 * 24 * 3600
FORM_CHARS_MAX: Final = 2_000

router = APIRouter(route_class=PanelRoute, include_in_schema=False)
probes = APIRouter(include_in_schema=False)

FormText = Annotated[str, Form(max_length=FORM_CHARS_MAX)]


@router.get(LOGIN_PATH)
async def login_form(request: Request, voltar: str = "/") -> Response:
    """Show the login; whoever is logged in goes on."""
    try:
        await caller_of(request)
    except NotAuthenticated:
        return _login_page(request, own_path(voltar))
    return RedirectResponse(own_path(voltar), 303)


@router.post(LOGIN_PATH)
async def login(request: Request, email: FormText = "", senha: FormText = "", voltar: FormText = "/") -> Response:
    """Open a session and go where the visitor wanted to; one answer for every wrong pair."""
    application, back = application_of(request), own_path(voltar)
    require_same_origin(request.scope, application.settings)
    address = request.client.host if request.client else None
    _ = texts(locale_of(request)).gettext
    try:
        opened = await application.access.login(email.strip(), senha, address, application.clock())
    except (NotAuthenticated, InvalidInput):
        return _login_page(request, back, email=email, problem=_("E-mail ou senha incorretos."), status=422)
    except TooManyAttempts as error:
        minutes = -(-error.retry_after_s // 60)
        problem = _("Muitas tentativas. Tente de novo em %(minutos)s min.") % {"minutos": minutes}
        response = _login_page(request, back, email=email, problem=problem, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    response = RedirectResponse(back, 303)
    set_panel_cookie(response, opened.token, opened.expires_at, application.settings)
    return response


def _login_page(request: Request, back: str, *, email: str = "", problem: str = "", status: int = 200) -> Response:
    form_url = LOGIN_PATH if back == "/" else f"{LOGIN_PATH}?{urlencode({'voltar': back})}"
    values = {"back": back, "email": email, "problem": problem, "here_url": form_url}
    return page(request, "login.html", values, locale=locale_of(request), status=status)


@router.post("/sair")
async def logout(request: Request) -> Response:
    """End the session at once and everywhere; without one there is nothing to end."""
    application = application_of(request)
    require_same_origin(request.scope, application.settings)
    response = RedirectResponse(LOGIN_PATH, 303)
    with contextlib.suppress(NotAuthenticated, NotAllowed):
        token, _ = token_of(request.scope)
        await application.access.logout(token, application.clock())
    clear_panel_cookie(response, application.settings)
    return response


@router.post("/idioma")
async def choose_language(request: Request, idioma: FormText = "", voltar: FormText = "/") -> Response:
    """Remember the language: in the browser, and for a logged-in user in their row."""
    if idioma not in LOCALES:
        return problem_page(request, 422)
    application = application_of(request)
    require_same_origin(request.scope, application.settings)
    with contextlib.suppress(NotAuthenticated):
        await application.access.set_locale(await caller_of(request), idioma)
    return _remember(request, LOCALE_COOKIE, idioma, voltar)


@router.post("/tema")
async def choose_theme(request: Request, tema: FormText = "", voltar: FormText = "/") -> Response:
    """Remember the theme in the browser."""
    if tema not in THEMES:
        return problem_page(request, 422)
    require_same_origin(request.scope, application_of(request).settings)
    return _remember(request, THEME_COOKIE, tema, voltar)


def _remember(request: Request, cookie: str, value: str, back: str) -> Response:
    response = RedirectResponse(own_path(back), 303)
    response.set_cookie(
        cookie,
        value,
        max_age=PREFERENCE_COOKIE_AGE_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(application_of(request).settings),
    )
    return response


@probes.get("/_/sessao")
async def session_probe(request: Request) -> Response:
    """Tell live.js whether the session still counts: 200, or 401 as problem+json."""
    await caller_of(request)
    return JSONResponse({"session": "open"})
