"""Rate cards: those that ship, imports of Meta's files with a preview, and from when who is priced by which.

Nothing here prices a day again that has begun for anyone: a card in use takes prices for days to come only, and a
choice starts at the company's next local day.
"""

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

import structlog

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import DuplicateKey, InvalidInput, NotFound
from secretaria.core.period import local_day
from secretaria.core.price import UnitPriceRounding
from secretaria.core.rate_card import (
    PRODUCT_CARD,
    CardBook,
    CardChoice,
    CardPriceRow,
    PriceChange,
    RateCard,
    price_changes,
)
from secretaria.inbound.rate_card_csv import parse_published, parse_shipped
from secretaria.services.crossings import settings_changed
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.store import audit, companies, rate_cards
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.rate_cards import ListedVersion, NewVersion

CARD_NAME_CHARS_MAX: Final = 100
SOURCE_CHARS_MAX: Final = 300
VERSIONS_LISTED_MAX: Final = 1_000
FREE_SERVICE_MESSAGES_MAX: Final = 1_000_000

# Meta's files do not say it: since that day each number has a thousand service messages a month free.
META_FREE_SERVICE_MESSAGES: Final = 1_000
META_FREE_SERVICE_FROM: Final = date(2026, 10, 1)

_ONE_DAY: Final = timedelta(days=1)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CardImport:
    """What importing a file does, or did: from effective_from on, what changes, what stays, what was left out."""

    card: str
    currency: str
    effective_from: date
    published_from: date
    source: str
    free_service_messages: int
    changes: list[PriceChange]
    unchanged: int
    skipped: list[str]
    companies_using: int


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a file does not say: None takes the card of its currency, the date it names, Meta's free messages."""

    card: str | None = None
    effective_from: date | None = None
    source: str | None = None
    free_service_messages: int | None = None


class RateCardService:
    """Operators import and choose cards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sync_shipped(self, now: datetime) -> int:
        """Add the cards that ship and are not there yet; return how many."""
        return await sync_shipped(self._database, now)

    async def preview(self, caller: Caller, content: bytes, options: ImportOptions, *, now: datetime) -> CardImport:
        """Return what importing one of Meta's files would change; nothing is written. Raises as import_file."""
        _require_editor(caller)
        await self.sync_shipped(now)
        async with operator_transaction(self._database, caller) as connection:
            return (await _planned(connection, content, options, now))[1]

    async def import_file(self, caller: Caller, content: bytes, options: ImportOptions, *, now: datetime) -> CardImport:
        """Add one of Meta's list-rate files as a version of a card.

        Raises InvalidInput (what inbound/rate_card_csv.py says; effective_date_missing, effective_date_in_past,
        card_currency_mismatch, invalid_name, invalid_source, invalid_free_messages) and DuplicateKey (card_imported).
        """
        _require_editor(caller)
        await self.sync_shipped(now)
        async with operator_transaction(self._database, caller) as connection:
            await rate_cards.lock(connection)
            version, plan = await _planned(connection, content, options, now)
            if await rate_cards.insert(connection, version, now=now) is None:
                raise DuplicateKey(
                    f"{version.card} has these prices from {version.effective_from} already", code="card_imported"
                )
            using = await companies.lock_heads(connection, await rate_cards.read_users(connection, version.card))
            await settings_changed(connection, using, now=now)
            await audit.insert(
                connection,
                caller.company_id,
                actor=caller.identity,
                action="rate_card.imported",
                subject=f"rate_card:{version.card}",
                detail={
                    "before": _amounts((change, change.before) for change in plan.changes),
                    "after": _amounts((change, change.after) for change in plan.changes)
                    | {
                        "effective_from": str(version.effective_from),
                        "currency": version.currency,
                        "source": version.source,
                        "checksum": version.checksum,
                    },
                },
            )
        return plan

    async def versions(self, caller: Caller, now: datetime) -> list[ListedVersion]:
        """Return the versions of all cards, by card and day."""
        _require_editor(caller)
        await self.sync_shipped(now)
        async with operator_transaction(self._database, caller) as connection:
            return await rate_cards.read_versions(connection, limit=VERSIONS_LISTED_MAX)

    async def choices(self, caller: Caller, company_id: int) -> list[CardChoice]:
        """Return what a company chose, oldest first. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            if await companies.read(connection, company_id) is None:
                raise company_not_found()
            return (await rate_cards.read_choices(connection, [company_id])).get(company_id, [])

    async def activate(
        self,
        caller: Caller,
        company_id: int,
        *,
        card: str,
        account_id: int | None = None,
        unit_price_rounding: str = UnitPriceRounding.EXACT,
        now: datetime,
    ) -> CardChoice:
        """Let a card price an account, or a company's accounts without a card of their own, from its next local day.

        `product` is the company's own WhatsApp prices; only these can be cut to cents. What holds already changes
        nothing. Raises NotFound (company_not_found, account_not_found), InvalidInput (unknown_card,
        card_currency_mismatch, rounding_not_possible), NotAllowed.
        """
        _require_editor(caller)
        rounding = UnitPriceRounding(unit_price_rounding)
        if rounding != UnitPriceRounding.EXACT and card != PRODUCT_CARD:
            raise InvalidInput("only the product's card can be cut to cents", code="rounding_not_possible")
        await self.sync_shipped(now)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            company = await companies.read(connection, company_id)
            if company is None:
                raise company_not_found()
            await _check_choice(connection, company_id, card=card, account_id=account_id)
            tomorrow = local_day(company.schedule, now) + _ONE_DAY
            choice = CardChoice(account_id, card, rounding, tomorrow)
            had = (await rate_cards.read_choices(connection, [company_id])).get(company_id, [])
            newest = CardBook((), (), company.currency, cards=(), choices=had).own_choice(account_id, tomorrow)
            if newest is not None and (newest.card, newest.unit_price_rounding) == (card, rounding):
                return newest
            await rate_cards.insert_choice(connection, company_id, choice, now=now)
            await companies.raise_settings_versions(connection, [company_id])
            await settings_changed(connection, [company_id], now=now)
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="rate_card.activated",
                subject=f"company:{company_id}" if account_id is None else f"account:{account_id}",
                detail={"before": _described(newest), "after": _described(choice)},
            )
        return choice


async def sync_shipped(database: Database, now: datetime) -> int:
    """Add the cards that ship and are not there yet; return how many. Any number of processes may do it at once."""
    async with transaction(database.operator) as connection:
        had = await rate_cards.read_checksums(connection)
    missing = [version for version in read_shipped() if (version.card, version.checksum) not in had]
    added = 0
    for version in missing:
        async with transaction(database.operator) as connection:
            await rate_cards.lock(connection)
            begun = await _last_day_begun(connection, version.card, now)
            start = max(version.effective_from, begun + _ONE_DAY) if begun else version.effective_from
            if await rate_cards.insert(connection, replace(version, effective_from=start), now=now) is not None:
                using = await companies.lock_heads(connection, await rate_cards.read_users(connection, version.card))
                await settings_changed(connection, using, now=now)
                added += 1
    if added:
        _log.info("rate_cards_added", versions=added)
    return added


async def require_card(connection: Connection, card: str, currency: str | None) -> None:
    """Raise unless a card can price an account billed in a currency (None: accounts of any).

    Raises InvalidInput (unknown_card, card_currency_mismatch); the product's card fits all.
    """
    if card == PRODUCT_CARD:
        return
    found = (await rate_cards.read_cards(connection, [card])).get(card)
    if found is None:
        raise InvalidInput(
            "no such rate card: `secretaria rates list` names them", code="unknown_card", pointer="rate_card"
        )
    if currency is not None:
        _require_currency(found, currency)


def read_shipped() -> list[NewVersion]:
    """Return the cards that ship: each a .toml that says where it is from, and a .csv of its prices."""
    folder = files("secretaria").joinpath("data", "rate_cards")
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".toml"):
            continue
        said = tomllib.loads(entry.read_text("utf-8"))
        prices = parse_shipped(folder.joinpath(entry.name.removesuffix(".toml") + ".csv").read_text("utf-8"))
        start, free = said["effective_from"], said["free_service_messages"]
        found.append(
            NewVersion(
                card=said["card"],
                currency=said["currency"],
                effective_from=start,
                published_from=start,
                source=said["source"],
                verified_on=said["verified_on"],
                free_service_messages=free,
                notes=tuple(said["notes"]),
                checksum=_checksum(start, said["currency"], free, prices),
                prices=prices,
            )
        )
    return found


def _amounts(
    changes: Iterable[tuple[PriceChange, tuple[tuple[int, Decimal | None], ...]]],
) -> dict[str, Any]:
    """Return prices for the audit log: a market and category, then its amounts from the lowest band up."""
    return {
        f"{change.market} {change.category}": [None if amount is None else str(amount) for _, amount in bands]
        for change, bands in changes
    }


def _described(choice: CardChoice | None) -> dict[str, str]:
    if choice is None:
        return {}
    return {
        "card": choice.card,
        "unit_price_rounding": choice.unit_price_rounding.value,
        "effective_from": str(choice.effective_from),
    }


def _require_editor(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


def _checksum(start: date, currency: str, free: int, prices: tuple[CardPriceRow, ...]) -> str:
    rows = sorted((market, category, above, str(amount)) for market, category, above, amount in prices)
    return hashlib.sha256(repr((start.isoformat(), currency, free, rows)).encode()).hexdigest()


async def _last_day_begun(connection: Connection, card: str, now: datetime) -> date | None:
    """Return the last local day that has begun for a company that uses a card; None when none does."""
    users = await companies.read_some(connection, await rate_cards.read_users(connection, card))
    return max((local_day(company.schedule, now) for company in users), default=None)


async def _planned(
    connection: Connection, content: bytes, options: ImportOptions, now: datetime
) -> tuple[NewVersion, CardImport]:
    published = parse_published(content)
    name = _valid_name(options.card or f"meta-{published.currency.lower()}")
    start = options.effective_from or published.effective_from
    if start is None:
        raise InvalidInput(
            "the file does not say from when its prices hold: name the date", code="effective_date_missing"
        )
    await _require_open_day(connection, name, start, now)
    card = (await rate_cards.read_cards(connection, [name])).get(name)
    _require_currency(card, published.currency)
    had = await rate_cards.read_prices_on(connection, name, start) if card else []
    changes = price_changes(had, published.prices)
    keys = {(market, category) for market, category, _, _ in published.prices}
    free = _free_messages(options, start)
    said = published.effective_from or start
    source = options.source or f"Meta's rate card in {published.currency}, effective {said}"
    if len(source) > SOURCE_CHARS_MAX:
        raise InvalidInput(f"a source has at most {SOURCE_CHARS_MAX} characters", code="invalid_source")
    version = NewVersion(
        card=name,
        currency=published.currency,
        effective_from=start,
        published_from=said,
        source=source,
        verified_on=now.astimezone(UTC).date(),
        free_service_messages=free,
        notes=published.skipped,
        checksum=_checksum(start, published.currency, free, published.prices),
        prices=published.prices,
    )
    users = len(await rate_cards.read_users(connection, name))
    return version, CardImport(
        card=name,
        currency=published.currency,
        effective_from=start,
        published_from=version.published_from,
        source=source,
        free_service_messages=free,
        changes=changes,
        unchanged=len(keys) - len(changes),
        skipped=list(published.skipped),
        companies_using=users,
    )


def _free_messages(options: ImportOptions, start: date) -> int:
    free = options.free_service_messages
    if free is None:
        return META_FREE_SERVICE_MESSAGES if start >= META_FREE_SERVICE_FROM else 0
    if not 0 <= free <= FREE_SERVICE_MESSAGES_MAX:
        raise InvalidInput(
            f"free messages are 0 to {FREE_SERVICE_MESSAGES_MAX}", code="invalid_free_messages"
        )
    return free


def _require_currency(card: RateCard | None, currency: str) -> None:
    if card is not None and card.currency != currency:
        raise InvalidInput(
            f"{card.name} is in {card.currency}, the prices are in {currency}", code="card_currency_mismatch"
        )


async def _require_open_day(connection: Connection, name: str, start: date, now: datetime) -> None:
    begun = await _last_day_begun(connection, name, now)
    if begun is not None and start <= begun:
        raise InvalidInput(
            f"{name} is in use, and days up to {begun} keep the prices they have: "
            f"import it from {begun + _ONE_DAY} on, or later",
            code="effective_date_in_past",
        )


def _valid_name(name: str) -> str:
    is_plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not is_plain or len(name) > CARD_NAME_CHARS_MAX or name == PRODUCT_CARD:
        raise InvalidInput(
            "a card's name is made of letters, digits, - and _, and is not product", code="invalid_name", pointer="card"
        )
    return name


async def _check_choice(connection: Connection, company_id: int, *, card: str, account_id: int | None) -> None:
    currency = None
    if account_id is not None:
        currency = await rate_cards.read_account(connection, company_id, account_id)
        if currency is None:
            raise NotFound("the company has no such account", code="account_not_found")
    await require_card(connection, card, currency)
