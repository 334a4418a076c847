"""The routes of Configurações, one module a tab; the tab bar itself is templates/components/tabs.html."""

from typing import Final

from secretaria.web.panel import (
    audit_pages,
    card_pages,
    company_settings,
    delivery_pages,
    endpoint_pages,
    key_pages,
    plan_pages,
    settings_pages,
    user_pages,
)

ROUTERS: Final = (
    company_settings.router, settings_pages.router, card_pages.router, key_pages.router, user_pages.router,
    audit_pages.router, plan_pages.router, endpoint_pages.router, delivery_pages.router,
)  # fmt: skip
