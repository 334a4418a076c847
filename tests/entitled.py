"""Companies with a plan, what they use, and the questions bots and campaigns ask."""

import asyncio
import time
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.entitlement import Quantities
from secretaria.services.entitlements import Entitlement
from secretaria.services.reservations import Reserved
from secretaria.store import companies
from secretaria.store.database import transaction
from tests.shop import event, key_of

ONE_SECOND_S = 1.0


async def company_of(application: Application, **limits: Any) -> int:
    """A company with the prices of the settings (0.05 a message, 0.02 a thousand tokens) and a plan of these limits."""
    made = await application.companies.create(PROCESS, f"Nossa {uuid4()}", now=application.clock())
    if limits:
        await give_plan(application, made.company_id, **limits)
    return made.company_id


async def give_plan(
    application: Application,
    company_id: int,
    *,
    messages: int | None = None,
    tokens: int | None = None,
    cost: str | None = None,
    hard: bool = True,
    since: date = date(2020, 1, 1),
) -> None:
    """Give a company a plan of its own, under its head's lock."""
    async with transaction(application.database.operator) as connection:
        await companies.lock_heads(connection, [company_id])
        cursor = await connection.execute(
            "INSERT INTO plans (name, currency, created_at) VALUES (gen_random_uuid()::text, 'BRL', now()) "
            "RETURNING plan_id"
        )
        row = await cursor.fetchone()
        assert row is not None
        await connection.execute(
            "INSERT INTO plan_limits (plan_id, effective_from, messages, tokens, cost, hard, created_at) "
            "VALUES (%s, '2020-01-01', %s, %s, %s, %s, now())",
            (row[0], messages, tokens, cost and Decimal(cost), hard),
        )
        await connection.execute(
            "INSERT INTO company_plans (company_id, plan_id, effective_from, created_at) VALUES (%s, %s, %s, now())",
            (company_id, row[0], since),
        )
        await companies.raise_settings_versions(connection, [company_id])


async def use(application: Application, company_id: int, **data: Any) -> None:
    data.setdefault("messages", 1)
    result = await application.ingest.submit(
        key_of(company_id), [(0, event(str(uuid4()), **data))], now=application.clock()
    )
    assert (result.accepted, result.rejected) == (1, [])


async def check(application: Application, company_id: int, now: datetime | None = None) -> Entitlement:
    return await application.entitlements.check(key_of(company_id), company_id, now or application.clock())


async def reserve(application: Application, company_id: int, now: datetime | None = None, **wanted: Any) -> Reserved:
    options = {name: wanted.pop(name) for name in ("lasts", "reservation_id") if name in wanted}
    return await application.reservations.reserve(
        key_of(company_id), company_id, Quantities(**wanted), now or application.clock(), **options
    )


async def seen_within_a_second(application: Application, company_id: int, *, allowed: bool) -> None:
    """What was committed before this call is answered by everything that is asked from one second on."""
    committed_s = time.monotonic()
    while (found := await check(application, company_id)).allowed is not allowed:
        asked_s = time.monotonic()
        assert asked_s - committed_s < ONE_SECOND_S, found
        await asyncio.sleep(0.02)
