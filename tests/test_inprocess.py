"""AnalyticsService and BillingService take the same path as POST /api/usage, sync and async, from any thread."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import secretaria
from secretaria import AnalyticsService, BillingService
from secretaria.bootstrap import application
from secretaria.core.access import PROCESS
from secretaria.core.entitlement import Quantities
from secretaria.core.errors import NotFound
from secretaria.core.plan import PlanTerms
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from tests.shop import NOW


@pytest.fixture
def company_id(endpoints: Endpoints, settings: Settings) -> int:
    async def create() -> int:
        async with application(settings, endpoints) as running:
            return (await running.companies.create(PROCESS, "Clínica Sorriso", now=NOW)).company_id

    return asyncio.run(create())


@pytest.fixture
def billing(endpoints: Endpoints, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[BillingService]:
    monkeypatch.setenv("DATABASE_URL", endpoints.database_url)
    monkeypatch.setenv("REDIS_URL", endpoints.redis_url)
    service = BillingService()
    yield service
    service.close()


def test_recording_answers_with_status_and_exact_cost_once(billing: BillingService, company_id: int) -> None:
    usage = {"event_id": "1", "direction": "outbound", "messages": 1, "tokens_input": 120, "tokens_output": 80}
    first = billing.record_usage(company_id, **usage)
    assert (first.status, first.cost, first.currency, first.alerts) == ("accepted", Decimal("0.054"), "BRL", [])
    again = billing.record_usage(company_id, **usage)
    assert (again.status, again.cost) == ("duplicate", Decimal(0))
    conflict = billing.record_usage(company_id, **(usage | {"messages": 2}))
    assert (conflict.status, conflict.code, conflict.cost) == ("rejected", "id_conflict", None)
    summary = billing.analytics.summary(company_id)
    assert (summary.daily.messages.total, summary.daily.tokens.total) == (1, 200)


def test_the_async_form_does_the_same_and_many_threads_may_share_one_service(
    billing: BillingService, company_id: int
) -> None:
    async def record() -> list[str]:
        results = await asyncio.gather(
            *(
                billing.arecord_usage(company_id, event_id=str(number % 20), direction="inbound", messages=1)
                for number in range(40)
            )
        )
        return [result.status for result in results]

    statuses = asyncio.run(record())
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (20, 20)
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(
                lambda number: billing.record_usage(
                    company_id, event_id=str(number), direction="inbound", messages=1
                ).status,
                range(30),
            )
        )
    assert found.count("accepted") == 10


@pytest.mark.parametrize(
    ("usage", "code"),
    [
        ({"messages": -1}, "invalid_usage"),
        ({"messages": 0}, "nothing_used"),
        ({"messages": 1, "event_id": "with space"}, "invalid_identifier"),
        ({"messages": 1, "direction": "sideways"}, "invalid_usage"),
        ({"messages": 1, "time": NOW + timedelta(hours=1)}, "timestamp_in_future"),
    ],
)
def test_what_cannot_be_counted_comes_back_with_a_code(
    billing: BillingService, company_id: int, usage: dict[str, object], code: str
) -> None:
    result = billing.record_usage(company_id, **({"event_id": "x", "direction": "inbound"} | usage))  # type: ignore[arg-type]
    assert (result.status, result.code) == ("rejected", code)


def test_it_tells_what_may_be_sent_and_usage_settles_its_reservation(
    billing: BillingService, company_id: int, endpoints: Endpoints, settings: Settings
) -> None:
    async def reserve() -> UUID:
        async with application(settings, endpoints) as running:
            plan = await running.plans.create(PROCESS, "Curto", PlanTerms(messages=10, hard=True), now=NOW)
            await running.plans.assign(PROCESS, company_id, plan.plan_id, now=NOW)
            made = await running.reservations.reserve(PROCESS, company_id, Quantities(messages=4), running.clock())
            return made.reservation.reservation_id

    held = asyncio.run(reserve())
    found = billing.can_send(company_id, messages=6)
    assert (found.allowed, found.reason, found.metrics["messages"].remaining) == (True, None, 6)
    assert billing.can_send(company_id, messages=7).reason == "limit_reached"
    assert asyncio.run(billing.acan_send(company_id, messages=7)).allowed is False
    usage = {"event_id": "1", "direction": "outbound", "messages": 4}
    assert billing.record_usage(company_id, reservation_id=held, **usage).status == "accepted"
    assert billing.record_usage(company_id, reservation_id=str(held), **usage).status == "duplicate"
    rejected = billing.record_usage(company_id, event_id="2", direction="outbound", messages=1, reservation_id="x")
    assert rejected.code == "invalid_usage"
    time.sleep(1.0)  # the longest an answer may lag
    found = billing.can_send(company_id)
    assert (found.metrics["messages"].used, found.metrics["messages"].reserved) == (4, 0)
    with pytest.raises(NotFound):
        billing.can_send(999)


def test_an_unknown_company_is_rejected_and_has_no_figures(billing: BillingService) -> None:
    assert billing.record_usage(999, event_id="1", direction="inbound", messages=1).code == "company_not_found"
    with pytest.raises(NotFound):
        billing.analytics.history(999)


def test_usage_without_a_price_has_no_cost_instead_of_a_cost_of_zero(
    billing: BillingService, company_id: int
) -> None:
    result = billing.record_usage(company_id, event_id="1", direction="outbound", messages=1, category="SURPRISE")
    assert (result.status, result.cost, result.not_priced) == ("accepted", None, True)


def test_importing_the_package_opens_nothing_and_knows_its_two_names() -> None:
    assert secretaria.AnalyticsService is AnalyticsService
    with pytest.raises(AttributeError):
        _ = secretaria.Nothing


def test_on_an_empty_data_folder_it_makes_its_own_database(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with BillingService() as service:
        assert service.record_usage(1, event_id="1", direction="inbound", messages=1).code == "company_not_found"
    assert settings.secretaria_data_dir.exists()
