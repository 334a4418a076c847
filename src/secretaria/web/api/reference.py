"""The API's description: /openapi.json, and /docs as a page that needs no script and nothing from elsewhere."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from jinja2 import Environment, FileSystemLoader

from secretaria.services.figures import History, Summary
from secretaria.web.api import usage
from secretaria.web.api.entitlements import EntitlementState
from secretaria.web.errors import PROBLEM_JSON, TITLES

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "templates"
METHODS = ("get", "post", "put", "patch", "delete")
SCHEMA_DEPTH_MAX = 8
_REF = "#/components/schemas/"
_FIGURES = {
    "/api/analytics/summary": Summary,
    "/api/analytics/history": History,
    "/api/entitlements": EntitlementState,
}
_PUBLIC = {
    "/api/auth/login", "/healthz", "/readyz", "/webhooks/whatsapp", "/webhooks/whatsapp/{integration_id}",
}  # fmt: skip
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable, `detail` is for people.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901 pointer into the body"},
                    "parameter": {"type": "string", "description": "name of a parameter in the address"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once: FastAPI's, the ingest route, the figures and the errors."""
    if app.openapi_schema is None:
        app.openapi_schema = _describe(app)
    return app.openapi_schema


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    path_item, components = usage.openapi_path()
    document["paths"] = {usage.PATH: path_item, **document["paths"]}
    figures, figure_components = msgspec.json.schema_components(
        list(_FIGURES.values()), ref_template=_REF + "{name}"
    )
    for path, schema in zip(_FIGURES, figures, strict=True):
        document["paths"][path]["get"]["responses"]["200"]["content"] = {"application/json": {"schema": schema}}
    all_components = document.setdefault("components", {})
    schemas = all_components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= components | figure_components | {"Problem": _PROBLEM}
    all_components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a panel token."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "panel_token"},
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _add_errors(path, method, operation)
    return document


def _add_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    problem = {PROBLEM_JSON: {"schema": {"$ref": _REF + "Problem"}}}
    responses = operation["responses"]
    if path != usage.PATH:
        responses.pop("422", None)
    statuses = [400, 429, 503] if path == "/api/auth/login" else [400, 503]
    if path.startswith("/webhooks/"):  # a signature, or a verify token, is the credential there
        statuses += [401, 403, 413]
    if path not in _PUBLIC:
        operation.setdefault("security", [{"bearer": []}, {"cookie": []}])
        statuses += [401, 403]
    if "{" in path or "company_id" in {parameter["name"] for parameter in operation.get("parameters", [])}:
        statuses.append(404)
    if method != "get" or operation.get("parameters"):
        statuses.append(422)
    if path not in {"/healthz", "/readyz"}:
        for status in statuses:
            responses.setdefault(str(status), {"description": TITLES[status], "content": problem})
    operation["responses"] = dict(sorted(responses.items()))


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Serve the document."""
    return Response(msgspec.json.encode(openapi_of(request.app)), media_type="application/json")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Serve the page."""
    return Response(_page(msgspec.json.encode(openapi_of(request.app))), media_type="text/html")


@router.get("/docs/reference.css")
async def stylesheet() -> Response:
    """Serve the page's style."""
    css = (FOLDER / "reference.css").read_bytes()
    return Response(css, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@lru_cache(maxsize=1)
def _page(document: bytes) -> str:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["type"] = type_text
    environment.filters["pretty"] = lambda value: msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return environment.get_template("reference.html").render(api=msgspec.json.decode(document), methods=METHODS)


def type_text(schema: dict[str, Any], depth: int = 0) -> str:
    """Say a JSON Schema's type in a few words: "string, date-time", "UsageEvent or array of UsageEvent"."""
    if depth > SCHEMA_DEPTH_MAX:
        return "…"
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REF)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(type_text(option, depth + 1) for option in options))
    if "enum" in schema:
        return " | ".join(msgspec.json.encode(value).decode() for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {type_text(schema.get('items') or {}, depth + 1)}"
    return f"{kind}, {schema['format']}" if "format" in schema else str(kind)
