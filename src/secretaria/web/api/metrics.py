"""GET /metrics, for Prometheus: what the processes counted, and how the service stands in the database.

Served to the operator's credentials and to the addresses of METRICS_ALLOWED; a proxy on this machine is no reason to
believe that its visitors stand here too.
"""

import asyncio
import platform
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from secretaria.bootstrap import Application
from secretaria.core.errors import Unavailable
from secretaria.services import counts
from secretaria.settings import Settings
from secretaria.store.database import transaction
from secretaria.store.service_state import ServiceState, read_state
from secretaria.web.api.routes import PublicRoute
from secretaria.web.auth import application_of, caller_of

STATE_KEPT_S = 5.0
STATE_WAIT_S = 3.0
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")

router = APIRouter(tags=["Health"], route_class=PublicRoute)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Show counters and gauges in Prometheus' text format; no figure of a company. Operator's, or METRICS_ALLOWED."""
    application = application_of(request)
    if not _is_allowed_address(request, application.settings):
        (await caller_of(request)).require_operator()
    counts.count_pool_waits(application.database)
    state = await _state(request.app.state, application)
    text = await asyncio.to_thread(_text, state)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _is_allowed_address(request: Request, settings: Settings) -> bool:
    if not settings.trusted_proxies and any(name in request.headers for name in FORWARDED):
        return False  # who stands behind that proxy is not known
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    return any(address in network for network in _networks(settings.metrics_allowed))


@lru_cache(maxsize=1)
def _networks(allowed: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part) for part in allowed.split(","))


class _Kept:
    """The last look into the database: many that scrape do not make many queries."""

    def __init__(self) -> None:
        self.state: ServiceState | None = None
        self.until_s = 0.0
        self.lock = asyncio.Lock()


async def _state(kept_in: object, application: Application) -> ServiceState | None:
    """Return how the service stands, at most STATE_KEPT_S old; None when the database does not say."""
    kept: _Kept = getattr(kept_in, "metrics_state", None) or _Kept()
    kept_in.metrics_state = kept  # type: ignore[attr-defined]
    loop = asyncio.get_running_loop()
    async with kept.lock:
        if loop.time() >= kept.until_s:
            try:
                async with asyncio.timeout(STATE_WAIT_S), transaction(application.database.operator) as connection:
                    kept.state = await read_state(connection, application.clock())
            except (Unavailable, TimeoutError):
                kept.state = None
            kept.until_s = loop.time() + STATE_KEPT_S
        return kept.state


def _text(state: ServiceState | None) -> bytes:
    shown = CollectorRegistry(auto_describe=False)
    shown.register(_StateCollector(state))
    return generate_latest(counts.gathered()) + generate_latest(shown)


class _StateCollector:
    """What one look into the database found, as metrics; without it only that it is away."""

    def __init__(self, state: ServiceState | None) -> None:
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: the registry is made for one answer."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return the metrics (the client library calls this)."""
        info = GaugeMetricFamily("secretaria_build_info", "The version.", labels=["version", "python"])
        info.add_metric([version("secretaria"), platform.python_version()], 1)
        yield info
        up = self._state is not None
        yield GaugeMetricFamily("secretaria_database_up", "Whether PostgreSQL answered this scrape.", value=int(up))
        if self._state is not None:
            yield from _state_metrics(self._state)


def _state_metrics(state: ServiceState) -> Iterator[Metric]:
    fired = CounterMetricFamily(
        "secretaria_alerts_fired", "Alerts since the beginning.", labels=["kind", "metric", "threshold"]
    )
    for labels, number in sorted(state.alerts_fired.items()):
        fired.add_metric(list(labels), number)
    yield fired
    single = {
        "secretaria_alerts_open": ("Alerts not resolved.", state.alerts_open),
        "secretaria_deliveries_waiting": ("Deliveries before active endpoints.", state.deliveries_waiting),
        "secretaria_delivery_oldest_waiting_seconds": ("Age of the oldest of these.", state.oldest_waiting_s),
        "secretaria_delivery_oldest_due_seconds": ("How late the latest next attempt is.", state.oldest_due_s),
    }
    for name, (text, value) in single.items():
        yield GaugeMetricFamily(name, text, value=value)
    by_label = {
        "secretaria_webhook_payloads": ("Payloads of Meta's not counted yet.", "state", state.webhook_payloads),
        "secretaria_jobs": ("Jobs kept by the job library.", "status", state.jobs),
    }
    for name, (text, label, numbers) in by_label.items():
        family = GaugeMetricFamily(name, text, labels=[label])
        for word, number in sorted(numbers.items()):
            family.add_metric([word], number)
        yield family
