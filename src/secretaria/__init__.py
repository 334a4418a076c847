"""Usage, cost and limits of WhatsApp and LLM assistants, per client company."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secretaria.inprocess import AnalyticsService, BillingService

__all__ = ["AnalyticsService", "BillingService"]


def __getattr__(name: str) -> object:
    """Import the services on first use: `import secretaria` alone opens nothing and costs nothing."""
    if name in __all__:
        from secretaria import inprocess

        return getattr(inprocess, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
