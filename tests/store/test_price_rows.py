"""Only the price rows that hold in a window are read, and they price its days as all rows would."""

import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal

import pytest
from tests.shop import make_company

from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions, Metric, PriceRow
from secretaria.embedded.servers import Endpoints
from secretaria.store import prices
from secretaria.store.database import Database, transaction

pytestmark = pytest.mark.anyio

FIRST = date(2026, 1, 1)
DAYS = 60
KINDS = ((Metric.MESSAGES, Channel.USAGE, None), (Metric.TOKENS, None, None), (Metric.TOKENS, None, "gpt-4o"))


@pytest.fixture
async def database(endpoints: Endpoints) -> AsyncIterator[Database]:
    opened = Database.create(endpoints.database_url, connections_max=2)
    await opened.open()
    yield opened
    await opened.close()


def price_row(number: int, kind: tuple[Metric, Channel | None, str | None], day: date) -> PriceRow:
    metric, channel, model = kind
    return ("flat", metric, channel, None, None, None, model, None, Decimal(number), 1, "USD", day, "test")


def slow_pick(rows: list[tuple[date, int]], day: date) -> int | None:
    """Of the rows written so far: the newest that has begun, the later written on a tie; else the earliest."""
    begun = [(start, place) for place, (start, _) in enumerate(rows) if start <= day]
    if begun:
        return rows[max(begun)[1]][1]
    first = min((start for start, _ in rows), default=None)
    return next((number for start, number in rows if start == first), None)


@pytest.mark.parametrize("seed", range(4))
async def test_a_window_prices_its_days_as_all_rows_would(database: Database, endpoints: Endpoints, seed: int) -> None:
    random.seed(seed)
    company_id, other = make_company(endpoints.admin_url), make_company(endpoints.admin_url)
    written: dict[object, list[tuple[date, int]]] = {kind: [] for kind in KINDS}
    rates: list[tuple[date, int]] = []
    async with transaction(database.operator) as connection:
        for number in range(1, 40):
            kind, day = random.choice(KINDS), FIRST + timedelta(days=random.randrange(DAYS))
            await prices.insert_prices(connection, company_id, [price_row(number, kind, day)])
            await prices.insert_prices(connection, other, [price_row(900 + number, kind, day)])
            written[kind].append((day, number))
            if random.random() < 0.3:
                await prices.insert_rates(connection, company_id, [("USD", "BRL", Decimal(number), day, "test")])
                rates.append((day, number))
    async with transaction(database.door, company_id=company_id) as connection:
        for _ in range(25):
            start = FIRST + timedelta(days=random.randrange(-5, DAYS))
            end = start + timedelta(days=random.randrange(1, 20))
            books = await prices.read_books(connection, {company_id: "BRL"}, start=start, end=end)
            for back in range((end - start).days):
                day = start + timedelta(days=back)
                found = books[company_id].rate_for("USD", "BRL", day)
                assert (found and int(found.rate)) == slow_pick(rates, day)
                for metric, channel, model in KINDS:
                    use = Dimensions(channel or Channel.USAGE, Direction.OUTBOUND, model=model)
                    price = books[company_id].price_for(metric, use, day)
                    assert (price and int(price.amount)) == slow_pick(written[metric, channel, model], day)


async def test_a_company_without_prices_has_an_empty_book(database: Database, endpoints: Endpoints) -> None:
    company_id = make_company(endpoints.admin_url)
    async with transaction(database.door, company_id=company_id) as connection:
        books = await prices.read_books(connection, {company_id: "BRL"}, start=FIRST, end=FIRST + timedelta(days=1))
    assert books[company_id].price_for(Metric.TOKENS, Dimensions(Channel.USAGE, Direction.INBOUND), FIRST) is None
