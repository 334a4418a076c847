"""Meta's figure beside our estimate: the same finished days, each at its own rate, and neither in place of the other."""

from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest
from tests.services.test_period_figures import NOW, TODAY
from tests.shop import OPERATOR, key_of
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.access import Scope
from secretaria.core.errors import NotAllowed, NotFound
from secretaria.core.period import month_of
from secretaria.embedded.servers import Endpoints

pytestmark = pytest.mark.anyio

PULLED = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = month_of(TODAY)


async def connected(application: Application, endpoints: Endpoints, *figures: tuple[int, str | None]) -> int:
    """A company with 10 MARKETING messages on each of three days; Meta told (day, US dollars), of today as well."""
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=NOW)).company_id
    uses = [Use(date(2026, 11, day), channel="whatsapp", category="MARKETING", messages=10) for day in (18, 19, 20)]
    write(endpoints.admin_url, company_id, *uses, Use(date(2026, 11, 18), messages=7, tokens_input=5_000))
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute(
            "INSERT INTO integrations (company_id, kind, waba_id, created_at, updated_at) VALUES (%s, 'meta', '77', %s, %s)",
            (company_id, PULLED, PULLED),
        )
        for day, amount in figures:
            at = date(2026, 11, day)
            connection.execute(
                "INSERT INTO meta_days VALUES (%s, 'messages', '77', %s, 'America/Sao_Paulo', %s, %s) "
                "ON CONFLICT DO NOTHING",
                (company_id, at, at < TODAY, PULLED),
            )
            connection.execute(
                "INSERT INTO meta_costs (company_id, source, scope, day, phone, category, pricing_type, volume, amount, "
                "currency, pulled_at) VALUES (%s, 'messages', '77', %s, '55', 'MARKETING', 'REGULAR', 10, %s, 'USD', %s)",
                (company_id, at, amount, PULLED),
            )
    return company_id


async def test_only_finished_days_that_meta_told_of_are_compared(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await connected(application, endpoints, (18, "0.90"), (19, "0.70"), (19, "0.95"), (20, "9.00"))
    found = await application.meta_beside.read(key_of(company_id), company_id, MONTH, NOW)
    assert found is not None
    assert (found.first, found.last, found.days) == (date(2026, 11, 18), date(2026, 11, 19), 2)
    # 20 messages at 0.095 USD and 5.00; Meta's later word on the 19th stands, and today is not compared.
    assert (found.estimated, found.meta, found.difference) == (Decimal("9.50"), Decimal("9.25"), Decimal("-0.25"))
    assert (found.lower_bound, found.currency, found.pulled_at) == (False, "BRL", PULLED)


async def test_what_meta_does_not_price_is_unknown_and_what_we_do_not_is_a_lower_bound(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await connected(application, endpoints, (18, None), (19, "0.95"))
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 18), channel="whatsapp", category="OTHER", messages=1))
    found = await application.meta_beside.read(OPERATOR, company_id, MONTH, NOW)
    assert found is not None
    assert (found.meta, found.difference, found.lower_bound) == (None, None, True)


async def test_without_a_connection_or_a_finished_day_there_is_nothing_beside(
    application: Application, endpoints: Endpoints
) -> None:
    plain = (await application.companies.create(OPERATOR, "Outra", now=NOW)).company_id
    assert await application.meta_beside.read(OPERATOR, plain, MONTH, NOW) is None
    today_only = await connected(application, endpoints, (20, "1.00"))
    assert await application.meta_beside.read(OPERATOR, today_only, MONTH, NOW) is None
    with pytest.raises(NotFound):
        await application.meta_beside.read(key_of(plain), today_only, MONTH, NOW)
    with pytest.raises(NotAllowed):
        await application.meta_beside.read(key_of(plain, Scope.USAGE_WRITE), plain, MONTH, NOW)
