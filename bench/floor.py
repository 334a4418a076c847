"""`secretaria web` with two routes more, the floors of bench/pages.py: same stack, same credential, one SELECT 1.

The page is the smallest the panel has (its frame, a heading, a sentence); the answer of the API is one key of JSON.
"""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from secretaria.bootstrap import Application
from secretaria.cli import app as command_line
from secretaria.store.database import transaction
from secretaria.web import server
from secretaria.web.api.routes import ApiRoute
from secretaria.web.auth import application_of, caller_of
from secretaria.web.panel.problems import PanelRoute
from secretaria.web.panel.render import Visitor, page

PAGE_PATH = "/_/floor"
API_PATH = "/api/floor"

_pages = APIRouter(route_class=PanelRoute, include_in_schema=False)
_api = APIRouter(route_class=ApiRoute, include_in_schema=False)
_create_app = server.create_app


async def _select_1(application: Application) -> int:
    async with transaction(application.database.door) as connection:
        cursor = await connection.execute("SELECT 1")
        row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


@_pages.get(PAGE_PATH)
async def floor_page(request: Request) -> Response:
    """Authenticate, SELECT 1, render the panel's smallest page."""
    await caller_of(request)
    one = await _select_1(application_of(request))
    values = {"heading": one, "explanation": "SELECT 1", "reference": "", "action": "", "action_url": "/"}
    visitor = Visitor("floor@example.com", is_operator=False)
    return page(request, "problem.html", values, locale="pt-BR", visitor=visitor)


@_api.get(API_PATH)
async def floor_api(request: Request) -> dict[str, int]:
    """Authenticate, SELECT 1, answer one key."""
    await caller_of(request)
    return {"one": await _select_1(application_of(request))}


def _with_floor(application: Application):  # type: ignore[no-untyped-def]
    app = _create_app(application)
    app.include_router(_pages)
    app.include_router(_api)
    return app


if __name__ == "__main__":
    server.create_app = _with_floor
    command_line(["web", "--quiet"])
