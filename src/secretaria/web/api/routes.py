"""How API routes read a request: who is asking, then the body, strictly (inbound/strict_json.py), then FastAPI."""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from secretaria.core.access import Caller
from secretaria.core.errors import InvalidInput, NotFound, UnsupportedFormat
from secretaria.inbound.strict_json import load, media_type_of, refuse_strings
from secretaria.web.auth import caller_of

ID_DIGITS_MAX = 18
_DIGITS = re.compile(rf"[0-9]{{1,{ID_DIGITS_MAX}}}", re.ASCII)


class ApiRoute(APIRoute):
    """A route for authenticated callers. A stranger is refused before the body is looked at."""

    public: ClassVar[bool] = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()
        reads_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            if not self.public:
                await caller_of(request)
            if reads_body:
                await _check_body(request)
            return await handler(request)

        return strict


class PublicRoute(ApiRoute):
    """A route for everyone."""

    public = True


class Body(BaseModel):
    """A request's JSON object: no type is coerced and no unknown field ignored."""

    model_config = ConfigDict(strict=True, extra="forbid")


def digits(value: object) -> int:
    """Return a number written in ASCII digits; int() alone would take "1_0", " 1" and other scripts' digits."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    raise ValueError("must be a whole number from 0, written in digits")


def path_company_id(text: str) -> int:
    """Return a company id out of a path; what is no id is a company that does not exist."""
    if not _DIGITS.fullmatch(text):
        raise NotFound("no such company", code="company_not_found")
    return int(text)


def company_asked_for(caller: Caller, company_id: int | None) -> int:
    """Return the company a request is about: the one it names, else the credential's own."""
    if company_id is not None:
        return company_id
    if caller.is_operator:
        raise InvalidInput("say which company", code="missing_field", pointer="company_id")
    return caller.company_id


Number = Annotated[int, BeforeValidator(digits), Field(json_schema_extra={"minimum": 0})]


async def _check_body(request: Request) -> None:
    if media_type_of(request.headers) != "application/json":
        raise UnsupportedFormat("Content-Type must be application/json, in UTF-8")
    value = load(await request.body())
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object", code="expected_object")
    refusal = refuse_strings(value)
    if refusal is not None:
        raise InvalidInput(refusal[1], code=refusal[0])
    # What request.json() will find: a second, laxer parser must not read the body differently.
    request._json = value
