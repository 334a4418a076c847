"""Companies: made, listed, moved to another time zone. Every change is one transaction with its audit line."""

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed
from secretaria.core.period import DEFAULT_TIMEZONE, ZoneSchedule, local_day, valid_timezone
from secretaria.core.price import default_whatsapp_prices
from secretaria.services.crossings import settings_changed
from secretaria.services.prices import PriceRows, add_rows, described, rows_of_settings, sync_prices
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.settings import Settings
from secretaria.store import audit, companies
from secretaria.store.companies import Company
from secretaria.store.database import Database

NAME_CHARS_MAX: Final = 200
PAGE_COMPANIES_MAX: Final = 200
CURRENCIES: Final = ("BRL", "USD")

Tell = Callable[[dict[int, int]], None]

# Controls, surrogates, line breaks, and what turns the direction of text: a name must read as it is stored.
_REFUSED_CATEGORIES: Final = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp"))
_TURNS_TEXT: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class CompanyService:
    """Operators make and change companies; a member sees its own, and no sign of any other.

    tell publishes the new version of a company that is suspended or reactivated.
    """

    def __init__(self, database: Database, settings: Settings, *, tell: Tell | None = None) -> None:
        self._database = database
        self._settings = settings
        self._tell = tell

    async def create(
        self,
        caller: Caller,
        name: str,
        *,
        timezone: str = DEFAULT_TIMEZONE,
        currency: str = "BRL",
        demo: bool = False,
        now: datetime,
    ) -> Company:
        """Make a company with its first zone, the settings' prices and the product's WhatsApp card.

        Raises InvalidInput (invalid_name, unknown_timezone, unknown_currency) and NotAllowed.
        """
        caller.require_operator()
        caller.require_scope(Scope.COMPANIES_WRITE)
        name = valid_name(name)
        _check_timezone(timezone)
        if currency not in CURRENCIES:
            raise InvalidInput("the currency is BRL or USD", code="unknown_currency", pointer="currency")
        today = local_day(ZoneSchedule.single(timezone), now)
        rows = rows_of_settings(self._settings, currency=currency, effective_from=today)
        rows = PriceRows((*rows.prices, *default_whatsapp_prices()), rows.rates)
        async with operator_transaction(self._database, caller) as connection:
            company_id = await companies.insert(
                connection, name, timezone=timezone, currency=currency, demo=demo, now=now, today=today
            )
            await add_rows(connection, company_id, rows)
            detail = {"name": name, "timezone": timezone, "currency": currency, "demo": demo} | described(rows)
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="company.created",
                subject=f"company:{company_id}",
                detail={"before": {}, "after": detail},
            )
        schedule = ZoneSchedule(((today, timezone),))
        return Company(company_id, name, "active", currency, demo, now, timezone, schedule, version=0)

    async def get(self, caller: Caller, company_id: int) -> Company:
        """Return one company; raises NotFound when there is none or it is not the caller's."""
        _require_reader(caller, company_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            company = await companies.read(connection, company_id)
        if company is None:
            raise company_not_found()
        return company

    async def list(
        self, caller: Caller, limit: int = PAGE_COMPANIES_MAX, after: int = 0
    ) -> list[Company]:  # fmt: skip
        """Return up to `limit` companies with an id above `after`, by id; a member's list is its own company.

        limit is held to 1 to PAGE_COMPANIES_MAX.
        """
        limit = min(max(limit, 1), PAGE_COMPANIES_MAX)
        if not caller.is_operator:
            return [await self.get(caller, caller.company_id)] if caller.company_id > after else []
        _require_reader(caller, caller.company_id)
        async with operator_transaction(self._database, caller) as connection:
            return await companies.read_page(connection, after=after, limit=limit)

    async def set_timezone(self, caller: Caller, company_id: int, timezone: str, now: datetime) -> Company:
        """Let another zone hold from the company's next local midnight on; no figure of the past moves.

        The zone it has already changes nothing. Raises InvalidInput (unknown_timezone), DuplicateKey
        (timezone_change_pending) while an earlier change has yet to take effect, NotFound and NotAllowed.
        """
        caller.require_operator()
        caller.require_scope(Scope.COMPANIES_WRITE)
        _check_timezone(timezone)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            company = await companies.read(connection, company_id)
            if company is None:
                raise company_not_found()
            if company.timezone == timezone:
                return company
            tomorrow = local_day(company.schedule, now) + timedelta(days=1)
            if company.schedule.rows[-1][0] >= tomorrow:
                raise DuplicateKey(
                    f"the change to {company.timezone} takes effect on {company.schedule.rows[-1][0]}; "
                    "another one can be made from that day on",
                    code="timezone_change_pending",
                )
            await companies.insert_timezone(connection, company_id, effective_from=tomorrow, timezone=timezone)
            await companies.raise_settings_versions(connection, [company_id])
            await settings_changed(connection, [company_id], now=now)
            after = {"timezone": timezone, "effective_from": str(tomorrow)}
            detail = {"before": {"timezone": company.timezone}, "after": after}
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="timezone.set",
                subject=f"company:{company_id}",
                detail=detail,
            )
        schedule = ZoneSchedule((*company.schedule.rows, (tomorrow, timezone)))
        return replace(company, timezone=timezone, schedule=schedule, version=company.version + 1)

    async def suspend(self, caller: Caller, company_id: int) -> Company:
        """Let every entitlement check of the company say no from now on; usage that happens is counted all the same.

        Suspended already is no error. Raises NotFound and NotAllowed.
        """
        return await self._set_status(caller, company_id, status="suspended", action="company.suspended")

    async def reactivate(self, caller: Caller, company_id: int) -> Company:
        """End a suspension; active already is no error. Raises NotFound and NotAllowed."""
        return await self._set_status(caller, company_id, status="active", action="company.reactivated")

    async def _set_status(self, caller: Caller, company_id: int, *, status: str, action: str) -> Company:
        caller.require_operator()
        caller.require_scope(Scope.COMPANIES_WRITE)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            company = await companies.read(connection, company_id)
            if company is None:
                raise company_not_found()
            if company.status == status:
                return company
            await companies.set_status(connection, company_id, status)
            await companies.raise_settings_versions(connection, [company_id])
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action=action,
                subject=f"company:{company_id}",
                detail={"before": {"status": company.status}, "after": {"status": status}},
            )
        changed = replace(company, status=status, version=company.version + 1)
        if self._tell is not None:
            self._tell({company_id: changed.version})
        return changed

    async def sync_prices(self, now: datetime) -> int:
        """Date changed settings into every company (services/prices.py); return how many companies changed."""
        return await sync_prices(self._database, self._settings, now)


def valid_name(name: str) -> str:
    """Return the name trimmed and composed (NFC); raises InvalidInput (invalid_name)."""
    name = unicodedata.normalize("NFC", name).strip()
    refused = any(unicodedata.category(char) in _REFUSED_CATEGORIES or char in _TURNS_TEXT for char in name)
    visible = any(unicodedata.category(char)[0] in "LNPS" for char in name)
    if refused or not visible or len(name) > NAME_CHARS_MAX:
        raise InvalidInput(
            f"a name has 1 to {NAME_CHARS_MAX} characters, none of them a control or text-direction character",
            code="invalid_name",
            pointer="name",
        )
    return name


def _check_timezone(timezone: str) -> None:
    if not valid_timezone(timezone):
        raise InvalidInput(
            "not an IANA time zone such as America/Sao_Paulo", code="unknown_timezone", pointer="timezone"
        )


def _require_reader(caller: Caller, company_id: int) -> None:
    """Another's company is not found, whatever the scopes."""
    caller.require_company(company_id)
    if not caller.scopes & {Scope.ANALYTICS_READ, Scope.COMPANIES_WRITE}:
        raise NotAllowed(f"this credential lacks the scope {Scope.ANALYTICS_READ}", code="scope_missing")
