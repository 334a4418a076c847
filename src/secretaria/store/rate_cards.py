"""Shared rate cards and who chose which: rows are added, never changed."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from secretaria.core.price import UnitPriceRounding
from secretaria.core.rate_card import CardChoice, CardPrice, CardPriceRow, CardVersion, RateCard
from secretaria.store.database import Connection, Cursor

IMPORT_LOCK = 7_310_118
"""Advisory: versions of cards are compared and added by one at a time."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version before it is stored. published_from is the date it was published for, effective_from when it holds."""

    card: str
    currency: str
    effective_from: date
    published_from: date
    source: str
    verified_on: date | None
    free_service_messages: int
    notes: tuple[str, ...]
    checksum: str
    prices: tuple[CardPriceRow, ...]


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A stored version as lists show it."""

    card: str
    currency: str
    effective_from: date
    published_from: date
    source: str
    verified_on: date | None
    free_service_messages: int
    notes: list[str]
    prices: int
    created_at: datetime


async def lock(connection: Connection) -> None:
    """Let others who add versions wait until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (IMPORT_LOCK,))


async def insert(connection: Connection, version: NewVersion, *, now: datetime) -> int | None:
    """Add a version with its prices and return its id; None when the card has one of this checksum."""
    cursor = await connection.execute(
        "INSERT INTO rate_cards (card, currency, effective_from, published_from, source, verified_on, "
        "free_service_messages, notes, checksum, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (card, checksum) DO NOTHING RETURNING version_id",
        (
            version.card,
            version.currency,
            version.effective_from,
            version.published_from,
            version.source,
            version.verified_on,
            version.free_service_messages,
            list(version.notes),
            version.checksum,
            now,
        ),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    async with connection.cursor() as many:
        await many.executemany(
            "INSERT INTO rate_card_prices (version_id, market, category, above, amount) VALUES (%s, %s, %s, %s, %s)",
            [(row[0], *price) for price in version.prices],
        )
    return int(row[0])


async def read_checksums(connection: Connection) -> set[tuple[str, str]]:
    """Return (card, checksum) of every version there is."""
    cursor = await connection.execute("SELECT card, checksum FROM rate_cards")
    return {(card, checksum) for card, checksum in await cursor.fetchall()}


async def read_versions(connection: Connection, *, limit: int) -> list[ListedVersion]:
    """Return the versions of all cards, by card and day."""
    cursor = await connection.execute(
        "SELECT card, currency, effective_from, published_from, source, verified_on, free_service_messages, notes, "
        "(SELECT count(*) FROM rate_card_prices AS p WHERE p.version_id = c.version_id), created_at "
        "FROM rate_cards AS c ORDER BY card, effective_from, version_id LIMIT %s",
        (limit,),
    )
    return [ListedVersion(*row) for row in await cursor.fetchall()]


async def read_cards(connection: Connection, names: Collection[str], *, end: date | None = None) -> dict[str, RateCard]:
    """Return the cards of these names that are there, with all versions that begin before `end`, and the first."""
    cursor = await connection.execute(
        "SELECT c.version_id, c.card, c.currency, c.effective_from, c.source, c.free_service_messages, "
        "p.card_price_id, p.market, p.category, p.above, p.amount "
        "FROM rate_cards AS c JOIN rate_card_prices AS p ON p.version_id = c.version_id "
        "WHERE c.card = ANY(%(names)s) AND (%(end)s::date IS NULL OR c.effective_from < %(end)s "
        "OR c.effective_from = (SELECT min(f.effective_from) FROM rate_cards AS f WHERE f.card = c.card))",
        {"names": list(names), "end": end},
    )
    heads: dict[int, tuple[str, str, date, str, int]] = {}
    prices: dict[int, list[CardPrice]] = defaultdict(list)
    for version_id, *head, card_price_id, market, category, above, amount in await cursor.fetchall():
        card, currency, effective_from, source, free = head
        heads[version_id] = (card, currency, effective_from, source, free)
        prices[version_id].append(CardPrice(card_price_id, market, category, above, amount))
    cards: dict[str, list[CardVersion]] = defaultdict(list)
    for version_id, of in heads.items():
        cards[of[0]].append(CardVersion(version_id, *of, tuple(prices[version_id])))
    return {name: RateCard(name, versions) for name, versions in cards.items()}


async def read_prices_on(connection: Connection, card: str, day: date) -> list[CardPriceRow]:
    """Return what holds on a day, band by band; nothing for a card that is not there."""
    cursor = await connection.execute(
        "SELECT p.market, p.category, p.above, p.amount FROM rate_card_prices AS p JOIN ("
        "SELECT DISTINCT ON (p.market, p.category) p.market, p.category, c.version_id "
        "FROM rate_cards AS c JOIN rate_card_prices AS p ON p.version_id = c.version_id WHERE c.card = %(card)s "
        "ORDER BY p.market, p.category, (c.effective_from <= %(day)s) DESC, "
        "CASE WHEN c.effective_from <= %(day)s THEN c.effective_from END DESC, c.effective_from, c.version_id DESC"
        ") AS k USING (version_id, market, category)",
        {"card": card, "day": day},
    )
    return [(market, category, int(above), amount) for market, category, above, amount in await cursor.fetchall()]


async def read_users(connection: Connection, card: str) -> list[int]:
    """Return the companies of which something is, was or will be priced by a card."""
    cursor = await connection.execute(
        "SELECT company_id FROM rate_card_choices WHERE card = %(card)s "
        "UNION SELECT company_id FROM whatsapp_accounts WHERE rate_card = %(card)s ORDER BY 1",
        {"card": card},
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def insert_choice(connection: Connection, company_id: int, choice: CardChoice, *, now: datetime) -> None:
    """Add a choice; the caller holds the company head's lock."""
    await connection.execute(
        "INSERT INTO rate_card_choices (company_id, account_id, card, unit_price_rounding, effective_from, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (company_id, choice.account_id, choice.card, choice.unit_price_rounding, choice.effective_from, now),
    )


async def read_choices(connection: Connection, company_ids: Sequence[int]) -> dict[int, list[CardChoice]]:
    """Return the choices of each company that made one, oldest first; accounts' first cards are among them."""
    return await fetch_choices(await ask_choices(connection, company_ids))


async def ask_choices(connection: Connection, company_ids: Sequence[int]) -> Cursor:
    """Send the question of read_choices."""
    return await connection.execute(
        "SELECT company_id, account_id, card, unit_price_rounding, effective_from FROM ("
        "SELECT company_id, account_id, card, unit_price_rounding, effective_from, choice_id FROM rate_card_choices "
        "WHERE company_id = ANY(%(company_ids)s) UNION ALL "
        "SELECT company_id, account_id, rate_card, 'exact', '0001-01-01'::date, 0 FROM whatsapp_accounts "
        "WHERE company_id = ANY(%(company_ids)s) AND rate_card <> 'product') AS choices "
        "ORDER BY company_id, effective_from, choice_id",
        {"company_ids": list(company_ids)},
    )


async def fetch_choices(cursor: Cursor) -> dict[int, list[CardChoice]]:
    """Return the answer to ask_choices."""
    found: dict[int, list[CardChoice]] = defaultdict(list)
    for company_id, account_id, card, rounding, effective_from in await cursor.fetchall():
        found[company_id].append(CardChoice(account_id, card, UnitPriceRounding(rounding), effective_from))
    return found


async def read_account(connection: Connection, company_id: int, account_id: int) -> str | None:
    """Return the currency an account is billed in, None when the company has no such account."""
    cursor = await connection.execute(
        "SELECT currency FROM whatsapp_accounts WHERE company_id = %s AND account_id = %s", (company_id, account_id)
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])
