"""Errors as people and programs see them: one table from type to status, RFC 9457 problem+json everywhere.

`detail` is for people and may change; `code` is for programs and does not. Nothing here repeats what was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from secretaria.core.errors import (
    ConfigurationError,
    DeliveryError,
    DuplicateKey,
    InvalidInput,
    Malformed,
    NotAllowed,
    NotAuthenticated,
    NotEntitled,
    NotFound,
    SecretariaError,
    TooLarge,
    TooManyAttempts,
    Unavailable,
    UnsupportedFormat,
)

PROBLEM_JSON = "application/problem+json"
ERRORS_SHOWN_MAX = 50
RETRY_AFTER_S = 1

# The most specific class wins: each is looked up along its method resolution order.
STATUS_OF: dict[type[Exception], int] = {
    Malformed: 400,
    NotAuthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    DuplicateKey: 409,
    NotEntitled: 409,
    TooLarge: 413,
    UnsupportedFormat: 415,
    InvalidInput: 422,
    TooManyAttempts: 429,
    Unavailable: 503,
    DeliveryError: 503,
    ConfigurationError: 503,
}
TITLES = {
    400: "The request cannot be read",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long",
    409: "In conflict with what is there",
    413: "Too large",
    414: "The address is too long",
    415: "This format is not read here",
    421: "Not this server",
    422: "The request was read, but cannot be taken",
    429: "Too many attempts",
    431: "Too many headers",
    500: "An error on our side",
    503: "Not available right now",
}
_CODES = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 408: "timeout", 500: "internal"}
# pydantic's error types that have a name of ours; all others are invalid_value.
_FIELD_CODES = {
    "missing": "missing_field",
    "extra_forbidden": "unknown_field",
    "string_too_long": "too_long",
    "too_long": "too_long",
}

_log = structlog.get_logger(__name__)


def request_id_of(scope: Scope) -> str:
    """Return the id that web/door.py gave this request."""
    return str(scope.get("state", {}).get("request_id", ""))


def status_of(error: Exception) -> int:
    """Return the HTTP status of one of our errors."""
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Return an RFC 9457 answer; members stand beside the standard ones."""
    body = {
        "type": f"urn:secretaria:error:{code}",
        "title": TITLES.get(status, "The request was refused"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **members,
    }
    return Response(msgspec.json.encode(body), status, dict(headers or {}), PROBLEM_JSON)


def problem_response(error: SecretariaError, request_id: str, **members: Any) -> Response:
    """Return the answer to one of our errors; also for plain ASGI routes, and with members of their own."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, TooManyAttempts | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="secretaria"'
    elif status == 413:
        headers["Connection"] = "close"  # what is left of the body is not waited for
    if error.pointer is not None:
        members.setdefault("errors", [_field_error(error.pointer, error.code, error.message)])
    detail = error.message if not isinstance(error, ConfigurationError) else "the server is not set up completely"
    return problem(status, code=error.code, detail=detail, request_id=request_id, headers=headers, **members)


def unavailable(request_id: str) -> Response:
    """Return the answer to a database that is gone: the same request may be sent again."""
    return problem_response(
        Unavailable("the database is not reachable right now; try again", retry_after_s=RETRY_AFTER_S), request_id
    )


def internal_error(error: BaseException, scope: Scope) -> Response:
    """Log an error nobody expected, once, and return an answer that says nothing about it but its request id."""
    request_id = request_id_of(scope)
    _log.error(
        "unexpected_error",
        request_id=request_id,
        method=scope.get("method"),
        path=scope.get("path"),
        exc_info=(type(error), error, error.__traceback__),
    )
    return problem(
        500, code="internal", detail="an unexpected error; it was logged under this request_id", request_id=request_id
    )


def install(app: FastAPI) -> None:
    """Let every error of the application's routes be answered from here."""
    for kind in (SecretariaError, HTTPException, RequestValidationError, OperationalError, InterfaceError):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request.scope)
    if isinstance(error, SecretariaError):
        return problem_response(error, request_id)
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors(), request_id)
    if isinstance(error, HTTPException):
        # FastAPI wraps what was raised while it read the body.
        if isinstance(error.__cause__, SecretariaError):
            return problem_response(error.__cause__, request_id)
        code = _CODES.get(error.status_code, "http_error")
        detail = _DETAILS.get(error.status_code) or str(error.detail)
        return problem(
            error.status_code, code=code, detail=detail, request_id=request_id, headers=error.headers
        )
    _log.warning("database_unavailable", request_id=request_id, error=type(error).__name__)
    return unavailable(request_id)


_DETAILS = {404: "there is nothing here", 405: "this address has no such method; Allow lists those it has"}


def _invalid(found: Sequence[Any], request_id: str) -> Response:
    errors = []
    for item in found[:ERRORS_SHOWN_MAX]:
        place, *path = item["loc"]
        code = _FIELD_CODES.get(item["type"], "invalid_value")
        # A value error's message is ours; pydantic's own never hold the value that was sent.
        detail = str(item["msg"]).removeprefix("Value error, ")
        if place == "body":
            pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
        else:
            pointer = str(path[-1]) if path else str(place)
        errors.append(_field_error(pointer, code, detail))
    codes = {error["code"] for error in errors}
    code = codes.pop() if len(codes) == 1 else "invalid_input"
    first = errors[0]
    where = first.get("pointer") or first.get("parameter")
    return problem(
        422, code=code, detail=f"{where}: {first['detail']}", request_id=request_id, errors=errors
    )


def _field_error(pointer: str, code: str, detail: str) -> dict[str, str]:
    """Name the field by RFC 6901 pointer into the body, or the parameter by its name."""
    place = "pointer" if pointer.startswith("/") or not pointer else "parameter"
    return {place: pointer, "code": code, "detail": detail}
