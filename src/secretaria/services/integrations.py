"""What the operator enters to connect a company to Meta: kept sealed, shown masked, each change with an audit line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from secretaria.core.access import PROCESS, Caller, Scope
from secretaria.core.audit_chain import changed
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.meta_cost import Choice, TodaySource, TotalSource
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.services.secret_box import FORMAT, Place, SecretBox, SecretUnreadable, masked
from secretaria.settings import Settings
from secretaria.store import audit, companies, directory, integrations
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.directory import Entry, Kind
from secretaria.store.integrations import SECRET_COLUMNS, Integration, Part, PartState

ID_DIGITS_MAX: Final = 32
SECRET_CHARS_MAX: Final = 1_024
RESEALED_A_PASS_MAX: Final = 100

_AD_ACCOUNT: Final = re.compile(rf"act_[0-9]{{1,{ID_DIGITS_MAX}}}", re.ASCII)
_DIGITS: Final = re.compile(rf"[0-9]{{1,{ID_DIGITS_MAX}}}", re.ASCII)
_SECRET: Final = re.compile(rf"[!-~]{{1,{SECRET_CHARS_MAX}}}", re.ASCII)
_IDS: Final = ("ad_account_id", "business_id", "waba_id")
_CHOICES: Final = ("total_source", "today_source")
FIELDS: Final = (*_IDS, *SECRET_COLUMNS, *_CHOICES)


@dataclass(frozen=True, slots=True)
class Shown:
    """A connection as people see it: secrets masked, None where none is set or (see unreadable) none can be opened."""

    integration: Integration
    masked: Mapping[str, str | None]
    unreadable: tuple[str, ...]
    parts: tuple[PartState, ...]


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """What a connection's own webhook address is checked with; None where the settings' serve."""

    company_id: int
    app_secret: str | None = field(repr=False)
    verify_token: str | None = field(repr=False)


class IntegrationService:
    """Operators connect a company to Meta. The box is made at first use: it may have to keep a key on disk."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._made: SecretBox | None = None

    @property
    def _box(self) -> SecretBox:
        if self._made is None:
            self._made = SecretBox.of(self._settings)
        return self._made

    async def get(self, caller: Caller, company_id: int) -> Shown:
        """Return the company's connection, masked. Raises NotFound (integration_not_found)."""
        _require_owner(caller)
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            await _require_company(connection, company_id)
            return await self._shown(connection, company_id)

    async def put(
        self, caller: Caller, company_id: int, change: Mapping[str, str | None], now: datetime
    ) -> Shown:
        """Make or change the connection: a field left out keeps its value, None removes it.

        What it met before is forgotten, and Meta is asked again from now on. Raises InvalidInput
        (invalid_ad_account_id, invalid_meta_id, invalid_secret, invalid_choice).
        """
        _require_owner(caller)
        checked = _checked(change)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            before = await integrations.read(connection, company_id, lock=True)
            wanted = self._changed(before or await _add(connection, company_id, now), checked, now)
            await integrations.write(connection, wanted)
            await integrations.reset_parts(connection, company_id, parts_of(wanted), now)
            await companies.raise_versions(connection, [company_id])
            await audit.insert(
                connection, company_id, actor=caller.identity,
                action="integration.created" if before is None else "integration.changed",
                subject=f"integration:{wanted.integration_id}", detail=_described(before, wanted, checked),
            )  # fmt: skip
            return await self._shown(connection, company_id)

    async def remove(self, caller: Caller, company_id: int) -> None:
        """Forget the connection and its secrets; figures that were pulled stay. Again is no error."""
        _require_owner(caller)
        async with company_transaction(self._database, caller, company_id) as connection:
            if not await companies.lock_heads(connection, [company_id]):
                raise company_not_found()
            found = await integrations.read(connection, company_id, lock=True)
            if found is None:
                return
            await directory.delete(connection, Kind.INTEGRATION, str(found.integration_id))
            await integrations.delete(connection, company_id)
            await companies.raise_versions(connection, [company_id])
            await audit.insert(
                connection, company_id, actor=caller.identity, action="integration.removed",
                subject=f"integration:{found.integration_id}",
                detail={"before": {name: value for name, value in _values(found).items() if value}, "after": {}},
            )  # fmt: skip

    def open(self, integration: Integration, column: str) -> str | None:
        """Return a secret of a connection, None when it is not set. Raises SecretUnreadable."""
        sealed = integration.sealed.get(column)
        return None if sealed is None else self._box.open(sealed, _place(integration, column))

    async def webhook_secrets(self, integration_id: int) -> WebhookSecrets | None:
        """Return what `/webhooks/whatsapp/{integration}` is checked with, or None for an id nobody has."""
        async with transaction(self._database.door) as connection:
            entry = await directory.find(connection, Kind.INTEGRATION, str(integration_id))
            if entry is None:
                return None
            await directory.enter_company(connection, entry.company_id)
            found = await integrations.read(connection, entry.company_id)
        if found is None or found.integration_id != integration_id:
            return None
        return WebhookSecrets(entry.company_id, self.open(found, "app_secret"), self.open(found, "verify_token"))

    async def reseal(self) -> int:
        """Seal with the current key what a retired one sealed; return how many connections changed."""
        current = FORMAT + self._box.current_id
        async with operator_transaction(self._database, PROCESS) as connection:
            company_ids = await integrations.read_sealed_by_others(connection, current, limit=RESEALED_A_PASS_MAX)
        changed = 0
        for company_id in company_ids:
            async with company_transaction(self._database, PROCESS, company_id) as connection:
                found = await integrations.read(connection, company_id, lock=True)
                if found is None:
                    continue
                try:
                    opened = {column: self.open(found, column) or "" for column in found.sealed}
                except SecretUnreadable:
                    continue
                changed += await integrations.reseal(connection, self._sealed(found, opened))
        return changed

    def _changed(self, integration: Integration, checked: Mapping[str, str | None], now: datetime) -> Integration:
        values = {name: getattr(integration, name) for name in _IDS} | {
            name: value for name, value in checked.items() if name in _IDS
        }
        choice = Choice(
            TotalSource(checked.get("total_source") or integration.choice.total_source),
            TodaySource(checked.get("today_source") or integration.choice.today_source),
        )
        kept = {name: value for name, value in integration.sealed.items() if name not in checked}
        entered = {name: value for name, value in checked.items() if name in SECRET_COLUMNS and value is not None}
        sealed = kept | self._sealed(integration, entered).sealed
        return replace(integration, **values, choice=choice, updated_at=now, sealed=sealed)

    def _sealed(self, integration: Integration, entered: Mapping[str, str]) -> Integration:
        sealed = {name: self._box.seal(value, _place(integration, name)) for name, value in entered.items()}
        return replace(integration, sealed=sealed)

    async def _shown(self, connection: Connection, company_id: int) -> Shown:
        found = await integrations.read(connection, company_id)
        if found is None:
            raise NotFound("this company is not connected to Meta", code="integration_not_found")
        shown: dict[str, str | None] = {}
        unreadable = []
        for column in SECRET_COLUMNS:
            try:
                secret = self.open(found, column)
            except SecretUnreadable:
                secret = None
                unreadable.append(column)
            shown[column] = None if secret is None else masked(secret)
        parts = await integrations.read_parts(connection, company_id)
        return Shown(found, shown, tuple(unreadable), tuple(parts))


def parts_of(integration: Integration) -> list[Part]:
    """Return what can be asked of Meta with what was entered."""
    if "access_token" not in integration.sealed:
        return []
    parts = [Part.MESSAGES, Part.PROFILE] if integration.waba_id else []
    return parts + ([Part.ADS] if integration.ad_account_id else [])


def _require_owner(caller: Caller) -> None:
    """Connections are the operator's own business with Meta: everyone else is refused, whichever company is named."""
    caller.require_operator()
    caller.require_scope(Scope.COMPANIES_WRITE)


async def _require_company(connection: Connection, company_id: int) -> None:
    if await companies.read(connection, company_id) is None:
        raise company_not_found()


async def _add(connection: Connection, company_id: int, now: datetime) -> Integration:
    integration_id = await integrations.insert(connection, company_id, now)
    entry = Entry(company_id, str(integration_id))
    await directory.insert(connection, Kind.INTEGRATION, str(integration_id), entry)
    added = await integrations.read(connection, company_id, lock=True)
    assert added is not None  # noqa: S101  inserted above
    return added


def _place(integration: Integration, column: str) -> Place:
    return Place(integrations.TABLE, integration.company_id, str(integration.integration_id), column)


def _checked(change: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the fields trimmed, an empty one as None; no message repeats what was entered."""
    checked = {name: (value or "").strip() or None for name, value in change.items() if name in FIELDS}
    for name, value in checked.items():
        if value is None:
            continue
        if name == "ad_account_id" and not _AD_ACCOUNT.fullmatch(value):
            raise InvalidInput("an ad account is act_ and digits", code="invalid_ad_account_id", pointer=f"/{name}")
        if name in ("business_id", "waba_id") and not _DIGITS.fullmatch(value):
            raise InvalidInput("Meta's ids are digits", code="invalid_meta_id", pointer=f"/{name}")
        if name in SECRET_COLUMNS and not _SECRET.fullmatch(value):
            raise InvalidInput(
                f"a secret is 1 to {SECRET_CHARS_MAX} printable ASCII characters without spaces; a masked one is none",
                code="invalid_secret",
                pointer=f"/{name}",
            )
        if name in _CHOICES:
            known = TotalSource if name == "total_source" else TodaySource
            if value not in [one.value for one in known]:
                raise InvalidInput(f"one of {', '.join(known)}", code="invalid_choice", pointer=f"/{name}")
    return checked


def _described(
    before: Integration | None, wanted: Integration, checked: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """Return a change for the audit log: ids and choices as they are, of secrets only that they were set."""
    had, has = _values(before) if before else {}, _values(wanted)
    replaced = {name: "replaced" for name in SECRET_COLUMNS if checked.get(name) and had.get(name)}
    return changed(had, has | replaced)


def _values(integration: Integration) -> dict[str, str | None]:
    choice = integration.choice
    return (
        {name: getattr(integration, name) for name in _IDS}
        | {"total_source": choice.total_source.value, "today_source": choice.today_source.value}
        | {name: "set" if name in integration.sealed else None for name in SECRET_COLUMNS}
    )
