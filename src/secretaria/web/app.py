"""The one ASGI application: ingest, API, documents and panel behind one door."""

from importlib.metadata import version

from fastapi import FastAPI

from secretaria.bootstrap import Application
from secretaria.web import errors, webhooks
from secretaria.web.api import (
    accounts,
    alerts,
    analytics,
    audit,
    companies,
    endpoints,
    entitlements,
    exports,
    health,
    integrations,
    keys,
    login,
    messages,
    metrics,
    plans,
    reference,
)
from secretaria.web.api.usage import usage_route
from secretaria.web.door import Door
from secretaria.web.panel.pages import install as install_panel

DESCRIPTION = "Usage, cost and limits of WhatsApp and LLM assistants, per client company, as they happen."


def create_app(application: Application) -> FastAPI:
    """Build the application; only its settings are looked at before the first request."""
    app = FastAPI(
        title="Secretaria",
        version=version("secretaria"),
        description=DESCRIPTION,
        # Served by web/api/reference.py: FastAPI's own pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would be built from the Host header, and no path is mended on the way to the router.
        redirect_slashes=False,
    )
    app.state.application = application
    errors.install(app)
    app.add_middleware(Door, settings=application.settings)
    # First, because it is the hot one; plain ASGI, so web/api/reference.py writes its part of the description.
    app.add_route("/api/usage", usage_route, methods=["POST"], include_in_schema=False)
    for router in (
        login.public, login.router, companies.router, keys.router, integrations.router, analytics.router, health.router,
    ):  # fmt: skip
        app.include_router(router)
    app.include_router(alerts.router)
    app.include_router(exports.router)
    for router in (accounts.accounts, accounts.templates, messages.router, webhooks.router, audit.router):
        app.include_router(router)
    for router in (endpoints.router, endpoints.deliveries):
        app.include_router(router)
    for router in (plans.router, plans.of_companies, entitlements.router):
        app.include_router(router)
    app.include_router(metrics.router)
    app.include_router(reference.router)
    install_panel(app)
    app.openapi = lambda: reference.openapi_of(app)  # type: ignore[method-assign]
    return app
