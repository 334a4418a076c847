"""WhatsApp accounts and their message templates: made by the operator, read by the company they belong to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.admission import is_identifier
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotFound
from secretaria.core.price import normal_category
from secretaria.core.whatsapp import DatedCategory
from secretaria.services.companies import CURRENCIES, valid_name
from secretaria.services.crossings import settings_changed
from secretaria.services.rate_cards import require_card, sync_shipped
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import accounts, audit, companies, directory, templates
from secretaria.store.accounts import Account
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.directory import Entry, Kind
from secretaria.store.templates import Template

PAGE_ACCOUNTS_MAX: Final = 200
PAGE_TEMPLATES_MAX: Final = 200
META_ID_CHARS_MAX: Final = 64
CARD_CHARS_MAX: Final = 100
PRODUCT_CARD: Final = "product"
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A template's category so far: whatever Meta tells of it later, with its own time, comes after."""

CATEGORIES: Final = ("UTILITY", "MARKETING", "AUTHENTICATION", "SERVICE")


def account_not_found() -> NotFound:
    """Build the answer for an account that does not exist and for another company's: never told apart."""
    return NotFound("no such WhatsApp account", code="account_not_found")


class AccountService:
    """Operators make accounts and templates; a member sees its company's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        caller: Caller,
        company_id: int,
        phone_number_id: str,
        name: str,
        *,
        waba_id: str | None = None,
        currency: str | None = None,
        rate_card: str = PRODUCT_CARD,
        now: datetime,
    ) -> Account:
        """Make an account. currency is the WABA's (None: the company's), rate_card the card that prices its messages.

        What Meta reported of the number before is counted by the next sweep. Raises InvalidInput, DuplicateKey
        (number_taken: one number is one account, of whichever company), NotFound and NotAllowed.
        """
        _require_writer(caller)
        name = valid_name(name)
        _check_meta_id(phone_number_id, "phone_number_id")
        if waba_id is not None:
            _check_meta_id(waba_id, "waba_id")
        if rate_card != PRODUCT_CARD:
            await sync_shipped(self._database, now)
        async with company_transaction(self._database, caller, company_id) as connection:
            await companies.lock_heads(connection, [company_id])
            company = await companies.read(connection, company_id)
            if company is None:
                raise company_not_found()
            if (currency := currency or company.currency) not in CURRENCIES:
                raise InvalidInput("the currency is BRL or USD", code="unknown_currency", pointer="currency")
            await require_card(connection, rate_card, currency)
            await _claim(connection, company_id, phone_number_id)
            account_id = await accounts.insert(
                connection, company_id, phone_number_id=phone_number_id, name=name, waba_id=waba_id,
                currency=currency, rate_card=rate_card, now=now,
            )  # fmt: skip
            await _enter(connection, company_id, phone_number_id, account_id)
            await companies.raise_settings_versions(connection, [company_id])
            await settings_changed(connection, [company_id], now=now)
            await audit.insert(
                connection, company_id, actor=caller.identity, action="account.created",
                subject=f"account:{account_id}",
                detail={"before": {}, "after": {
                    "phone_number_id": phone_number_id, "name": name, "currency": currency, "card": rate_card,
                }},
            )  # fmt: skip
            found = await accounts.read(connection, company_id, account_id)
        if found is None:
            raise account_not_found()
        return found

    async def get(self, caller: Caller, account_id: int) -> Account:
        """Return one account of the caller's; raises NotFound."""
        company_id = await self.company_of(caller, account_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            found = await accounts.read(connection, company_id, account_id)
        if found is None:
            raise account_not_found()
        return found

    async def picture(self, caller: Caller, account_id: int) -> tuple[bytes, str]:
        """Return the profile picture's bytes and media type; raises NotFound."""
        company_id = await self.company_of(caller, account_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            if await accounts.read(connection, company_id, account_id) is None:
                raise account_not_found()
            found = await accounts.read_picture(connection, company_id, account_id)
        if found is None:
            raise NotFound("the account has no picture", code="picture_not_found")
        return found

    async def company_of(self, caller: Caller, account_id: int) -> int:
        """Return the company an account belongs to; raises NotFound when it is not the caller's."""
        require_reader(caller)
        if not caller.is_operator:
            return caller.company_id
        async with transaction(self._database.operator) as connection:
            entry = await directory.find(connection, Kind.ACCOUNT, str(account_id))
        if entry is None:
            raise account_not_found()
        return entry.company_id

    async def list(
        self, caller: Caller, company_id: int, *, after: int = 0, limit: int = PAGE_ACCOUNTS_MAX
    ) -> list[Account]:
        """Return up to `limit` accounts of a company with an id above `after`, by id."""
        caller.require_company(company_id)
        require_reader(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            if await companies.read(connection, company_id) is None:
                raise company_not_found()
            return await accounts.read_page(connection, company_id, after=after, limit=limit)

    async def create_template(
        self, caller: Caller, account_id: int, name: str, *, category: str, language: str = "", now: datetime
    ) -> Template:
        """Make a template of an account; its category covers all time so far. Raises DuplicateKey (template_exists)."""
        _require_writer(caller)
        name = valid_name(name)
        if normal_category(category) != category.upper():
            known = ", ".join(CATEGORIES)
            raise InvalidInput(f"a category is one of {known}", code="unknown_category", pointer="category")
        if language and not is_identifier(language):
            raise InvalidInput("a language is like pt_BR", code="invalid_language", pointer="language")
        company_id = await self.company_of(caller, account_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            await companies.lock_heads(connection, [company_id])
            template_id = await templates.insert(
                connection, company_id, account_id, name=name, language=language, now=now
            )
            if template_id is None:
                raise DuplicateKey(
                    "the account has a template of this name and language", code="template_exists", pointer="name"
                )
            dated = DatedCategory(EVER, category.upper())
            await templates.insert_category(connection, company_id, template_id, dated, source=caller.identity)
            await audit.insert(
                connection, company_id, actor=caller.identity, action="template.created",
                subject=f"template:{template_id}",
                detail={"before": {}, "after": {"name": name, "category": category.upper()}},
            )  # fmt: skip
            found = await templates.read(connection, company_id, template_id)
        if found is None:
            raise NotFound("no such template", code="template_not_found")
        return found

    async def list_templates(
        self,
        caller: Caller,
        company_id: int,
        *,
        account_id: int | None = None,
        after: int = 0,
        limit: int = PAGE_TEMPLATES_MAX,
    ) -> Sequence[Template]:
        """Return up to `limit` templates of a company with an id above `after`, by id."""
        caller.require_company(company_id)
        require_reader(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            if await companies.read(connection, company_id) is None:
                raise company_not_found()
            return await templates.read_page(connection, company_id, account_id=account_id, after=after, limit=limit)


async def _claim(connection: Connection, company_id: int, phone_number_id: str) -> None:
    """Hold the number for this transaction; its entry is completed once the account has an id."""
    if not await directory.insert(connection, Kind.PHONE_NUMBER, phone_number_id, Entry(company_id, "0")):
        raise DuplicateKey("this number has an account already", code="number_taken", pointer="phone_number_id")


async def _enter(connection: Connection, company_id: int, phone_number_id: str, account_id: int) -> None:
    entry = Entry(company_id, str(account_id))
    await directory.delete(connection, Kind.PHONE_NUMBER, phone_number_id)
    await directory.insert(connection, Kind.PHONE_NUMBER, phone_number_id, entry)
    await directory.insert(connection, Kind.ACCOUNT, str(account_id), entry)


def _check_meta_id(text: str, pointer: str) -> None:
    if not text or len(text) > META_ID_CHARS_MAX or not is_identifier(text):
        raise InvalidInput(
            f"an id of Meta's has 1 to {META_ID_CHARS_MAX} printable characters without spaces",
            code="invalid_identifier",
            pointer=pointer,
        )


def _require_writer(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


def require_reader(caller: Caller) -> None:
    """Raise NotAllowed for a credential that may read no figures."""
    if not caller.scopes & {Scope.ANALYTICS_READ, Scope.COMPANIES_WRITE}:
        raise NotAllowed(f"this credential lacks the scope {Scope.ANALYTICS_READ}", code="scope_missing")
