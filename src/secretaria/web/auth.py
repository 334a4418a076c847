"""Who is asking: a Bearer token or the panel's cookie, never both, never from the address line.

The rules of reliability B099 to B106. A cookie is sent by the browser whoever made it send the request, so requests
that change something must then come from our own pages: Sec-Fetch-Site says so, or the Origin does. Every browser
of the last years sends one of them with such a request. Where neither is there, it is a program with a cookie jar, or
a very old browser, whose forms we still refuse: by their content type, or by a foreign Referer.
"""

from datetime import datetime
from http.cookies import CookieError, SimpleCookie
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from secretaria.bootstrap import Application
from secretaria.core.access import Caller
from secretaria.core.errors import Malformed, NotAllowed, NotAuthenticated
from secretaria.services.authentication import refused
from secretaria.services.credential import TOKEN_CHARS_MAX
from secretaria.settings import Settings

COOKIE = "panel_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
SECRETS_IN_URL = frozenset({"api_key", "apikey", "token", "access_token", "panel_token"})

_log = structlog.get_logger(__name__)


def application_of(request: Request) -> Application:
    """Return the running application."""
    return cast("Application", request.app.state.application)


async def caller_of(request: Request) -> Caller:
    """Return who sent the request, once per request; raises NotAuthenticated, Malformed or NotAllowed."""
    known = getattr(request.state, "caller", None)
    if known is None:
        known = await authenticate(application_of(request), request.scope)
        request.state.caller = known
    return cast("Caller", known)


async def authenticate(application: Application, scope: Scope) -> Caller:
    """As caller_of, for plain ASGI routes."""
    token, from_cookie = token_of(scope)
    if from_cookie:
        require_same_origin(scope, application.settings)
    return await application.access.authenticate(token, application.clock())


def token_of(scope: Scope) -> tuple[str, bool]:
    """Return the request's token and whether a cookie brought it; raises NotAuthenticated or Malformed.

    A missing, doubled, overlong, foreign-scheme or non-ASCII header all give the same refusal.
    """
    authorizations: list[bytes] = []
    cookies: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorizations.append(value)
        elif name == b"cookie":
            cookies.append(value)
    if scope["query_string"]:
        _refuse_secrets_in_url(scope)
    cookie = _panel_cookie(cookies) if cookies else None
    if authorizations and cookie is not None:
        raise Malformed("send an Authorization header or the cookie, not both", code="ambiguous_credentials")
    if authorizations:
        return _bearer(authorizations), False
    if cookie is None:
        raise refused()
    return cookie, True


def require_same_origin(scope: Scope, settings: Settings) -> None:
    """Refuse (NotAllowed, cross_site) a request that changes something and does not come from our own pages."""
    if scope["method"] in SAFE_METHODS:
        return
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    own = _own_origins(scope, headers.get(b"host", ""), settings)
    if b"sec-fetch-site" in headers:
        allowed = headers[b"sec-fetch-site"] in ("same-origin", "none")
    elif b"origin" in headers:
        allowed = headers[b"origin"].lower() in own
    elif b"referer" in headers:
        allowed = _origin_of(headers[b"referer"]) in own
    else:
        allowed = headers.get(b"content-type", "").partition(";")[0].strip().lower() not in FORM_TYPES
    if not allowed:
        raise NotAllowed(
            "with the cookie, changes are taken from this server's own pages only (Sec-Fetch-Site or Origin); "
            "programs send Authorization: Bearer",
            code="cross_site",
        )


def set_panel_cookie(response: Response, token: str, expires_at: datetime, settings: Settings) -> None:
    """Hand the token to the browser where scripts cannot read it."""
    response.set_cookie(
        COOKIE, token, expires=expires_at, path="/", httponly=True, samesite="lax", secure=is_https(settings)
    )


def clear_panel_cookie(response: Response, settings: Settings) -> None:
    """Take the token back from the browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=is_https(settings))


def is_https(settings: Settings) -> bool:
    """Tell whether people reach this server over TLS."""
    return urlsplit(settings.public_url).scheme == "https"


def _bearer(values: list[bytes]) -> str:
    if len(values) != 1 or len(values[0]) > TOKEN_CHARS_MAX or not values[0].isascii():
        raise refused()
    scheme, _, token = values[0].decode("ascii").partition(" ")
    if scheme.lower() != "bearer":
        raise refused()
    return token.strip()


def _panel_cookie(values: list[bytes]) -> str | None:
    if not any(COOKIE.encode() in value for value in values):
        return None
    try:
        found = [SimpleCookie(value.decode("latin-1")).get(COOKIE) for value in values]
    except CookieError:
        return None
    tokens = [morsel.value for morsel in found if morsel is not None]
    return tokens[0] if len(tokens) == 1 else None


def _refuse_secrets_in_url(scope: Scope) -> None:
    names = {name.lower() for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
    if names & SECRETS_IN_URL:
        # What stood in an address stands in logs and histories: whoever owns it should know.
        _log.warning("credential_in_url", path=scope["path"], client=(scope.get("client") or ("unknown",))[0])
        raise NotAuthenticated(
            "a key in the address is not read, and is now known to every log on the way: revoke it, "
            "and send the new one as Authorization: Bearer",
            code="credential_in_url",
        )


def _own_origins(scope: Scope, host: str, settings: Settings) -> set[str]:
    """The origins of our own pages. Host was checked against the list of our names before (web/door.py)."""
    return {f"{scope['scheme']}://{host}".lower(), _origin_of(settings.public_url)}


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()
