"""Dated prices and exchange rates: rows are added, never changed. The caller holds the company head's lock."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from secretaria.core.event import Direction
from secretaria.core.price import Channel, ExchangeRate, Metric, Price, PriceBook, PriceRow
from secretaria.core.rate_card import PRODUCT_CARD, CardBook
from secretaria.store import rate_cards
from secretaria.store.database import Connection, Cursor

RateRow = tuple[str, str, Decimal, date, str]
"""base, quote, rate, effective_from, source."""


async def insert_prices(connection: Connection, company_id: int, rows: Sequence[PriceRow]) -> None:
    """Add dated prices, in order: of two of one date the later holds."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO prices (company_id, card, metric, channel, category, direction, market, model, pricing_type, "
            "amount, per, currency, effective_from, source) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [(company_id, *row) for row in rows],
        )


async def insert_rates(connection: Connection, company_id: int, rows: Sequence[RateRow]) -> None:
    """Add dated exchange rates, in order: of two of one date the later holds."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO exchange_rates (company_id, base, quote, rate, effective_from, source) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [(company_id, *row) for row in rows],
        )


async def read_books(
    connection: Connection, currencies: Mapping[int, str], *, start: date, end: date
) -> dict[int, PriceBook]:
    """Return a price book for each company of {company_id: currency}, good for the local days [start, end).

    They are good from the first day of start's month on, which a company that chose a shared card (CardBook) needs.
    Only rows that hold on one of those days are read: a key's first row holds from ever on, each until the next.
    """
    company_ids, month_start = list(currencies), start.replace(day=1)
    async with connection.pipeline():  # one journey, so that companies without cards pay nothing for the question
        asked_choices = await rate_cards.ask_choices(connection, company_ids)
        asked_prices = await _ask_prices(connection, company_ids, month_start, end)
        asked_rates = await _ask_rates(connection, company_ids, month_start, end)
        choices = await rate_cards.fetch_choices(asked_choices)
        prices = await _fetch_prices(asked_prices)
        rates = await _fetch_rates(asked_rates)
    names = {choice.card for rows in choices.values() for choice in rows} - {PRODUCT_CARD}
    cards = await rate_cards.read_cards(connection, names, end=end) if names else {}
    books: dict[int, PriceBook] = {}
    for company_id, currency in currencies.items():
        of = prices[company_id], rates[company_id], currency
        chosen = choices.get(company_id)
        books[company_id] = CardBook(*of, cards=cards.values(), choices=chosen) if chosen else PriceBook(*of)
    return books


async def _ask_prices(connection: Connection, company_ids: list[int], start: date, end: date) -> Cursor:
    return await connection.execute(
        "SELECT company_id, price_id, card, metric, channel, category, direction, market, model, pricing_type, "
        "amount, per, currency, effective_from, source FROM (SELECT *, lead(effective_from) OVER of AS next_from, "
        "row_number() OVER of AS number FROM prices WHERE company_id = ANY(%(company_ids)s) "
        "WINDOW of AS (PARTITION BY company_id, metric, channel, category, direction, market, model, pricing_type "
        "ORDER BY effective_from, price_id)) AS dated "
        "WHERE (number = 1 OR effective_from < %(end)s) AND (next_from IS NULL OR next_from > %(start)s)",
        {"company_ids": company_ids, "start": start, "end": end},
    )


async def _fetch_prices(cursor: Cursor) -> dict[int, list[Price]]:
    found: dict[int, list[Price]] = defaultdict(list)
    for company_id, price_id, card, metric, channel, category, direction, *rest in await cursor.fetchall():
        found[company_id].append(
            Price(
                price_id,
                card,
                Metric(metric),
                None if channel is None else Channel(channel),
                category,
                None if direction is None else Direction(direction),
                *rest,
            )
        )
    return found


async def _ask_rates(connection: Connection, company_ids: list[int], start: date, end: date) -> Cursor:
    return await connection.execute(
        "SELECT company_id, rate_id, base, quote, rate, effective_from, source FROM (SELECT *, "
        "lead(effective_from) OVER of AS next_from, row_number() OVER of AS number "
        "FROM exchange_rates WHERE company_id = ANY(%(company_ids)s) "
        "WINDOW of AS (PARTITION BY company_id, base, quote ORDER BY effective_from, rate_id)) AS dated "
        "WHERE (number = 1 OR effective_from < %(end)s) AND (next_from IS NULL OR next_from > %(start)s)",
        {"company_ids": company_ids, "start": start, "end": end},
    )


async def _fetch_rates(cursor: Cursor) -> dict[int, list[ExchangeRate]]:
    found: dict[int, list[ExchangeRate]] = defaultdict(list)
    for company_id, *row in await cursor.fetchall():
        found[company_id].append(ExchangeRate(*row))
    return found


async def read_card_prices(
    connection: Connection, company_ids: Sequence[int], *, card: str
) -> dict[int, dict[Metric, PriceRow]]:
    """Return the row written last for each metric of a card of unconditional prices, by company."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (company_id, metric) company_id, card, metric, channel, category, direction, market, "
        "model, pricing_type, amount, per, currency, effective_from, source FROM prices "
        "WHERE company_id = ANY(%s) AND card = %s ORDER BY company_id, metric, price_id DESC",
        (list(company_ids), card),
    )
    found: dict[int, dict[Metric, PriceRow]] = defaultdict(dict)
    for company_id, *row in await cursor.fetchall():
        of_card, metric, channel, *rest = row
        found[company_id][Metric(metric)] = (
            of_card, Metric(metric), None if channel is None else Channel(channel), *rest,
        )  # fmt: skip
    return found


async def read_newest_rates(
    connection: Connection, company_ids: Sequence[int]
) -> dict[int, dict[tuple[str, str], RateRow]]:
    """Return the rate written last for each (base, quote), by company."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (company_id, base, quote) company_id, base, quote, rate, effective_from, source "
        "FROM exchange_rates WHERE company_id = ANY(%s) ORDER BY company_id, base, quote, rate_id DESC",
        (list(company_ids),),
    )
    found: dict[int, dict[tuple[str, str], RateRow]] = defaultdict(dict)
    for company_id, *row in await cursor.fetchall():
        base, quote, rate, effective_from, of_source = row
        found[company_id][base, quote] = (base, quote, rate, effective_from, of_source)
    return found
