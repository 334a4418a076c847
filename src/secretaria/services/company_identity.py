"""What a company may be called, and what a change of it writes; the transaction is that of services/companies.py."""

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from secretaria.core.errors import DuplicateKey, InvalidInput
from secretaria.core.period import ZoneSchedule, local_day, valid_timezone
from secretaria.core.tax_id import check_cnpj
from secretaria.services.prices import PriceRows, add_rows, rows_of_settings
from secretaria.settings import Settings
from secretaria.store import companies, plans, prices, usage_reads
from secretaria.store.companies import Company
from secretaria.store.database import Connection

NAME_CHARS_MAX: Final = 200
CURRENCIES: Final = ("BRL", "USD")
PLAN_CHOICES_READ_MAX: Final = 1_000
FIELDS: Final = ("name", "legal_name", "tax_id", "timezone", "currency")

# Controls, surrogates, line breaks, and what turns the direction of text: a name must read as it is stored.
_REFUSED_CATEGORIES: Final = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp"))
_TURNS_TEXT: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def valid_name(name: str) -> str:
    """Return the name trimmed and composed (NFC); raises InvalidInput (invalid_name)."""
    found = _readable(name)
    if found is None:
        raise InvalidInput(
            f"a name has 1 to {NAME_CHARS_MAX} characters, none of them a control or text-direction character",
            code="invalid_name",
            pointer="name",
        )
    return found


def valid_legal_name(name: str | None) -> str | None:
    """As valid_name for the registered name, which may be absent; raises InvalidInput (invalid_legal_name)."""
    if not (name or "").strip():
        return None
    found = _readable(name or "")
    if found is None:
        raise InvalidInput(
            f"a registered name has at most {NAME_CHARS_MAX} characters, none of them a control character",
            code="invalid_legal_name",
            pointer="legal_name",
        )
    return found


def valid_tax_id(text: str | None) -> str | None:
    """Return a CNPJ's 14 characters, None when there is none; raises InvalidInput (invalid_tax_id)."""
    return check_cnpj(text.strip()) if text and text.strip() else None


def check_timezone(timezone: str) -> None:
    """Raise InvalidInput (unknown_timezone) unless this is an IANA region."""
    if not valid_timezone(timezone):
        raise InvalidInput(
            "not an IANA time zone such as America/Sao_Paulo", code="unknown_timezone", pointer="timezone"
        )


def check_currency(currency: str) -> None:
    """Raise InvalidInput (unknown_currency) unless a company's amounts can be in it."""
    if currency not in CURRENCIES:
        raise InvalidInput("the currency is BRL or USD", code="unknown_currency", pointer="currency")


async def changed_company(
    connection: Connection, company: Company, change: Mapping[str, str | None], now: datetime
) -> Company:
    """Return the company as a change of FIELDS leaves it, checked; nothing is written."""
    wanted = {**identity_values(company), **change}
    after = replace(
        company,
        name=valid_name(wanted["name"] or ""),
        legal_name=valid_legal_name(wanted["legal_name"]),
        tax_id=valid_tax_id(wanted["tax_id"]),
        currency=wanted["currency"] or "",
    )
    check_currency(after.currency)
    if after.currency != company.currency:
        await _require_free_currency(connection, after)
    return _moved(after, wanted["timezone"] or "", now)


async def _require_free_currency(connection: Connection, company: Company) -> None:
    if await usage_reads.has_usage(connection, company.company_id):
        raise InvalidInput("the currency is fixed by the first usage", code="currency_fixed", pointer="currency")
    choices = await plans.read_choices(connection, company.company_id, limit=PLAN_CHOICES_READ_MAX)
    chosen = await plans.read_some(connection, [choice.plan_id for choice in choices if choice.plan_id is not None])
    if any(plan.currency != company.currency for plan in chosen):
        raise InvalidInput(
            "the company has, or had, a plan in the other currency", code="currency_mismatch", pointer="currency"
        )


def _moved(company: Company, timezone: str, now: datetime) -> Company:
    """Return the company with another zone from its next local day on."""
    check_timezone(timezone)
    if company.timezone == timezone:
        return company
    tomorrow = local_day(company.schedule, now) + timedelta(days=1)
    if company.schedule.rows[-1][0] >= tomorrow:
        raise DuplicateKey(
            f"the change to {company.timezone} takes effect on {company.schedule.rows[-1][0]}; "
            "another one can be made from that day on",
            code="timezone_change_pending",
            pointer="timezone",
        )
    schedule = ZoneSchedule((*company.schedule.rows, (tomorrow, timezone)))
    return replace(company, timezone=timezone, schedule=schedule)


async def write_change(
    connection: Connection, settings: Settings, before: Company, after: Company, now: datetime
) -> None:
    """Write what differs; the head is locked. A company in another currency gets the exchange rate it lacks."""
    await companies.write_identity(connection, after)
    if after.timezone != before.timezone:
        start, timezone = after.schedule.rows[-1]
        await companies.insert_timezone(connection, after.company_id, effective_from=start, timezone=timezone)
    if after.currency != before.currency:
        today = local_day(before.schedule, now)
        wanted = rows_of_settings(settings, currency=after.currency, effective_from=today).rates
        had = (await prices.read_newest_rates(connection, [after.company_id])).get(after.company_id, {})
        lacking = tuple(row for row in wanted if (row[0], row[1]) not in had)
        await add_rows(connection, after.company_id, PriceRows((), lacking))


def identity_values(company: Company) -> dict[str, str | None]:
    """Return what a company is, by the names of FIELDS."""
    return {
        "name": company.name,
        "legal_name": company.legal_name,
        "tax_id": company.tax_id,
        "timezone": company.timezone,
        "currency": company.currency,
    }


def _readable(name: str) -> str | None:
    name = unicodedata.normalize("NFC", name).strip()
    refused = any(unicodedata.category(char) in _REFUSED_CATEGORIES or char in _TURNS_TEXT for char in name)
    visible = any(unicodedata.category(char)[0] in "LNPS" for char in name)
    return None if refused or not visible or len(name) > NAME_CHARS_MAX else name
