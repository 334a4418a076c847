"""Probes: does the process turn, and can it serve. They say nothing that a stranger may not know."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from secretaria.bootstrap import Application
from secretaria.core.errors import ConfigurationError, Unavailable
from secretaria.store.database import transaction
from secretaria.store.migrations import read_missing
from secretaria.web.api.routes import PublicRoute
from secretaria.web.auth import application_of

router = APIRouter(tags=["Health"], route_class=PublicRoute)

CHECK_TIMEOUT_S = 3.0
RETRY_AFTER_S = 2


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer 200 as long as the process turns."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when requests can be served, "degraded" without Valkey; 503 without PostgreSQL or a migration."""
    application = application_of(request)
    (postgresql, migrations), valkey = await asyncio.gather(
        _check_database(application), application.live.ping()
    )
    checks = {"postgresql": postgresql, "migrations": migrations, "valkey": "ok" if valkey else "down"}
    if postgresql != "ok" or migrations != "ok":
        answer = {"status": "unavailable", "checks": checks}
        return JSONResponse(answer, 503, {"Retry-After": str(RETRY_AFTER_S)})
    return JSONResponse({"status": "ready" if valkey else "degraded", "checks": checks})


async def _check_database(application: Application) -> tuple[str, str]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S), transaction(application.database.operator) as connection:
            return "ok", "missing" if await read_missing(connection) else "ok"
    except ConfigurationError:
        return "ok", "unknown_history"
    except (Unavailable, TimeoutError):
        return "down", "unknown"
