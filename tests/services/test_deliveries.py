"""The outbox against real servers: who is told, once, in the transaction that made the news."""

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from secretaria.services.deliveries import News, enqueue
from secretaria.store.database import transaction

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS = ["usage.limit.warning", "usage.limit.critical"]


def add_endpoint(endpoints: Endpoints, company_id: int, *, events: list[str] = LIMITS, status: str = "active") -> int:
    assert endpoints.admin_url is not None
    with psycopg.connect(endpoints.admin_url) as connection:
        row = connection.execute(
            "INSERT INTO delivery_endpoints (company_id, channel, address, events, status, created_at) "
            "VALUES (%s, 'webhook', 'https://example.com/x', %s, %s, %s) RETURNING endpoint_id",
            (company_id, events, status, NOW),
        ).fetchone()
    assert row is not None
    return int(row[0])


def rows(endpoints: Endpoints, query: str) -> list[tuple[object, ...]]:
    assert endpoints.admin_url is not None
    with psycopg.connect(endpoints.admin_url) as connection:
        return connection.execute(query).fetchall()


def news(company_id: int, key: str = "alert_12", event_type: str = "usage.limit.warning") -> News:
    return News(company_id, 12, event_type, key, {"id": 12, "used": Decimal("34.20")})


async def test_it_puts_news_before_the_company_and_the_operator_once(
    application: Application, endpoints: Endpoints
) -> None:
    ours, theirs, operators = (add_endpoint(endpoints, company_id) for company_id in (1, 2, 0))
    add_endpoint(endpoints, 1, status="disabled")
    add_endpoint(endpoints, 1, events=["usage.limit.critical"])
    for made in (4, 0):
        async with transaction(application.database.ingest) as connection:
            assert await enqueue(connection, [news(1), news(2)], now=NOW) == made
    found = rows(endpoints, "SELECT company_id, endpoint_id, message_id, about_company_id FROM deliveries ORDER BY 1, 4")
    assert found == [
        (0, operators, f"alert_12_1_{operators}", 1),
        (0, operators, f"alert_12_2_{operators}", 2),
        (1, ours, f"alert_12_1_{ours}", 1),
        (2, theirs, f"alert_12_2_{theirs}", 2),
    ]
    ((body,),) = set(rows(endpoints, "SELECT body FROM deliveries"))
    assert json.loads(str(body)) == {
        "type": "usage.limit.warning", "timestamp": "2026-11-20T12:00:00Z", "data": {"id": 12, "used": "34.20"},
    }  # fmt: skip


async def test_it_tells_nobody_when_the_transaction_is_rolled_back(
    application: Application, endpoints: Endpoints
) -> None:
    add_endpoint(endpoints, 1)
    with contextlib.suppress(ZeroDivisionError):
        async with transaction(application.database.operator) as connection:
            assert await enqueue(connection, [news(1)], now=NOW) == 1
            raise ZeroDivisionError
    assert rows(endpoints, "SELECT * FROM deliveries") == []
