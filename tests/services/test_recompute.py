"""A recomputation from the facts agrees with what ingest summed, and sees every planted change."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.shop import NOW, event, key_of, make_company

from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from secretaria.store.database import transaction
from secretaria.store.recompute import EXAMPLES_MAX, Mismatch, recompute

pytestmark = pytest.mark.anyio


async def compared(application: Application, company_id: int | None = None) -> list[Mismatch]:
    async with transaction(application.database.operator) as connection:
        return await recompute(connection, company_id)


async def company_with_usage(application: Application, endpoints: Endpoints, seed: int = 1) -> int:
    """Ingest what a busy week holds: both directions, categories, repeats, corrections, one message told twice."""
    company_id = make_company(endpoints.admin_url)
    random.seed(seed)
    sent = [
        event(
            f"e{number}",
            direction=random.choice(["inbound", "outbound"]),
            messages=random.randrange(1, 9),
            tokens_input=random.randrange(500),
            tokens_output=random.randrange(500),
            response_ms=random.choice([None, random.randrange(3000)]),
            model=random.choice([None, "gpt-4o"]),
            category=random.choice([None, "UTILITY", "marketing_lite", "whatever"]),
            cost_center=random.choice([None, "vendas"]),
            time=NOW - timedelta(minutes=random.randrange(30 * 24 * 60)),
        )
        for number in range(200)
    ]
    sent += [
        sent[5],
        event("w1", messages=1, wamid="wamid.X", time=NOW),
        event("w2", messages=1, wamid="wamid.X", tokens_input=90, source="bot-2", time=NOW),
    ]
    fixes = [
        event("fix", type="usage.corrected", messages=2, corrects={"source": "bot-1", "id": "e7"}, direction=None),
        event("void", type="usage.corrected", messages=0, corrects={"source": "bot-1", "id": "e8"}, direction=None),
    ]
    for batch in (sent, fixes):
        result = await application.ingest.submit(key_of(company_id), list(enumerate(batch)), now=NOW)
        assert result.rejected == []
    return company_id


async def test_what_ingest_summed_equals_the_facts(application: Application, endpoints: Endpoints) -> None:
    one = await company_with_usage(application, endpoints)
    await company_with_usage(application, endpoints, seed=2)
    assert await compared(application) == []
    assert await compared(application, one) == []
    assert await compared(application, 10**9) == []


FIRST_ROW = "WHERE ctid = (SELECT min(ctid) FROM {table})"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("usage_hourly", "UPDATE {table} SET tokens_output = tokens_output + 1 " + FIRST_ROW),
        ("usage_hourly", "DELETE FROM {table} " + FIRST_ROW),
        ("usage_daily", "UPDATE {table} SET response_count = response_count - 1 " + FIRST_ROW),
        ("usage_daily", "INSERT INTO {table} SELECT company_id, '2020-01-01', series_id, 1, 0, 0, 0, 0, 1 FROM {table} "
         + FIRST_ROW),
        ("period_counters", "UPDATE {table} SET messages_inbound = messages_inbound + 1, "
         "messages_outbound = messages_outbound - 1 " + FIRST_ROW),
        ("event_identities", "DELETE FROM {table} " + FIRST_ROW),
    ],
)  # fmt: skip
async def test_it_sees_a_change_planted_in_any_table(
    application: Application, endpoints: Endpoints, table: str, change: str
) -> None:
    company_id = await company_with_usage(application, endpoints)
    other = await company_with_usage(application, endpoints, seed=2)
    with psycopg.connect(endpoints.admin_url) as connection:
        assert connection.execute(change.format(table=table).encode()).rowcount == 1
    (mismatch,) = await compared(application)
    assert (mismatch.table, mismatch.rows, len(mismatch.examples)) == (table, 1, 1)
    difference = mismatch.examples[0]
    assert difference.key["company_id"] == company_id
    assert difference.events != difference.stored
    assert await compared(application, company_id) == [mismatch]
    assert await compared(application, other) == []


async def test_a_lost_fact_shows_in_every_table_that_counted_it(application: Application, endpoints: Endpoints) -> None:
    await company_with_usage(application, endpoints)
    with psycopg.connect(endpoints.admin_url) as connection:
        assert connection.execute("DELETE FROM usage_events WHERE event_id = 'e3'").rowcount == 1
    found = {mismatch.table: mismatch.rows for mismatch in await compared(application)}
    assert found == {"usage_hourly": 1, "usage_daily": 1, "period_counters": 1, "event_identities": 1}


async def test_it_counts_all_differences_and_shows_the_first(application: Application, endpoints: Endpoints) -> None:
    await company_with_usage(application, endpoints)
    with psycopg.connect(endpoints.admin_url) as connection:
        changed = connection.execute("UPDATE usage_daily SET messages = messages + 1").rowcount
    (mismatch,) = await compared(application)
    assert changed > EXAMPLES_MAX
    assert (mismatch.rows, len(mismatch.examples)) == (changed, EXAMPLES_MAX)
    first = mismatch.examples[0]
    assert first.stored["messages"] == first.events["messages"] + 1
    assert set(first.key) == {"company_id", "day", "series_id"}


async def test_it_agrees_at_every_moment_while_ingest_goes_on(application: Application, endpoints: Endpoints) -> None:
    company_id = make_company(endpoints.admin_url)
    now = datetime.now(UTC)
    for number in range(20):
        batch = [event(f"{number}-{n}", messages=1, tokens_input=n, time=now) for n in range(20)]
        submitted = asyncio.create_task(application.ingest.submit(key_of(company_id), list(enumerate(batch)), now=now))
        while not submitted.done():
            assert await compared(application, company_id) == []
        await submitted
    assert await compared(application, company_id) == []
