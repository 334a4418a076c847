"""Companies: made, listed, changed, suspended. Every change is one transaction with its audit line."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.audit_chain import changed
from secretaria.core.errors import NotAllowed
from secretaria.core.period import DEFAULT_TIMEZONE, ZoneSchedule, local_day
from secretaria.core.price import default_whatsapp_prices
from secretaria.services.company_identity import (
    CURRENCIES as CURRENCIES,  # noqa: PLC0414
)
from secretaria.services.company_identity import (
    changed_company,
    check_currency,
    check_timezone,
    identity_values,
    valid_legal_name,
    valid_tax_id,
    write_change,
)
from secretaria.services.company_identity import (
    valid_name as valid_name,  # noqa: PLC0414
)
from secretaria.services.crossings import settings_changed
from secretaria.services.prices import PriceRows, add_rows, described, rows_of_settings, sync_prices
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.settings import Settings
from secretaria.store import audit, companies
from secretaria.store.companies import Company
from secretaria.store.database import Database

PAGE_COMPANIES_MAX: Final = 200

Tell = Callable[[dict[int, int]], None]


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
        legal_name: str | None = None,
        tax_id: str | None = None,
        demo: bool = False,
        now: datetime,
    ) -> Company:
        """Make a company with its first zone, the settings' prices and the product's WhatsApp card.

        Raises InvalidInput (invalid_name, invalid_legal_name, invalid_tax_id, unknown_timezone, unknown_currency)
        and NotAllowed.
        """
        _require_editor(caller)
        name = valid_name(name)
        check_timezone(timezone)
        check_currency(currency)
        legal_name, tax_id = valid_legal_name(legal_name), valid_tax_id(tax_id)
        today = local_day(ZoneSchedule.single(timezone), now)
        rows = rows_of_settings(self._settings, currency=currency, effective_from=today)
        rows = PriceRows((*rows.prices, *default_whatsapp_prices()), rows.rates)
        async with operator_transaction(self._database, caller) as connection:
            company_id = await companies.insert(
                connection, name, timezone=timezone, currency=currency, demo=demo, now=now, today=today
            )
            schedule = ZoneSchedule(((today, timezone),))
            company = Company(
                company_id, name, "active", currency, demo, now, timezone, schedule, 0, legal_name, tax_id
            )
            if legal_name or tax_id:
                await companies.write_identity(connection, company)
            await add_rows(connection, company_id, rows)
            detail = identity_values(company) | {"demo": demo} | described(rows)
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="company.created",
                subject=f"company:{company_id}",
                detail={"before": {}, "after": detail},
            )
        return company

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

    async def preview(
        self, caller: Caller, company_id: int, change: Mapping[str, str | None], now: datetime
    ) -> tuple[Company, Company]:
        """Return a company as it is and as `update` would leave it; nothing is written. Raises as `update`."""
        _require_editor(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            before = await companies.read(connection, company_id)
            if before is None:
                raise company_not_found()
            return before, await changed_company(connection, before, change, now)

    async def update(
        self, caller: Caller, company_id: int, change: Mapping[str, str | None], now: datetime
    ) -> Company:
        """Change what FIELDS name: what is left out stays, None or "" removes legal_name or tax_id.

        Another zone holds from the company's next local midnight on. Raises InvalidInput (invalid_name,
        invalid_legal_name, invalid_tax_id, unknown_timezone, unknown_currency, currency_fixed), DuplicateKey
        (timezone_change_pending), NotFound and NotAllowed.
        """
        _require_editor(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            before = await companies.read(connection, company_id)
            if before is None:
                raise company_not_found()
            after = await changed_company(connection, before, change, now)
            if after == before:
                return before
            await write_change(connection, self._settings, before, after, now)
            await companies.raise_settings_versions(connection, [company_id])
            await settings_changed(connection, [company_id], now=now)
            detail = changed(identity_values(before), identity_values(after))
            await audit.insert(
                connection,
                company_id,
                actor=caller.identity,
                action="company.changed",
                subject=f"company:{company_id}",
                detail=detail,
            )
        after = replace(after, version=before.version + 1)
        if self._tell is not None:
            self._tell({company_id: after.version})
        return after

    async def set_timezone(self, caller: Caller, company_id: int, timezone: str, now: datetime) -> Company:
        """Let another zone hold from the company's next local midnight on; no figure of the past moves.

        The zone it has already changes nothing. Raises InvalidInput (unknown_timezone), DuplicateKey
        (timezone_change_pending) while an earlier change has yet to take effect, NotFound and NotAllowed.
        """
        return await self.update(caller, company_id, {"timezone": timezone}, now)

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


def _require_editor(caller: Caller) -> None:
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


def _require_reader(caller: Caller, company_id: int) -> None:
    """Another's company is not found, whatever the scopes."""
    caller.require_company(company_id)
    if not caller.scopes & {Scope.ANALYTICS_READ, Scope.COMPANIES_WRITE}:
        raise NotAllowed(f"this credential lacks the scope {Scope.ANALYTICS_READ}", code="scope_missing")
