"""Companies, their heads and dated zones. The head is locked before anything of a company changes (law 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from secretaria.core.period import ZoneSchedule
from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class Company:
    """One company. timezone is the zone set last; schedule says which held, or will hold, on which day."""

    company_id: int
    name: str
    status: str
    currency: str
    demo: bool
    created_at: datetime
    timezone: str
    schedule: ZoneSchedule
    version: int
    legal_name: str | None = None
    tax_id: str | None = None


_COMPANY = (
    "SELECT c.company_id, c.name, c.status, c.currency, c.demo, c.created_at, z.days, z.names, h.version, "
    "c.legal_name, c.tax_id "
    "FROM companies AS c JOIN company_heads AS h ON h.company_id = c.company_id "
    "CROSS JOIN LATERAL (SELECT array_agg(effective_from ORDER BY effective_from) AS days, "
    "array_agg(timezone ORDER BY effective_from) AS names "
    "FROM company_timezones AS t WHERE t.company_id = c.company_id) AS z "
)


def _company(row: Sequence[Any]) -> Company:
    company_id, name, status, currency, demo, created_at, days, names, version, legal_name, tax_id = row
    schedule = ZoneSchedule(tuple(zip(days, names, strict=True)))
    return Company(
        company_id, name, status, currency, demo, created_at, names[-1], schedule, version, legal_name, tax_id
    )


async def read(connection: Connection, company_id: int) -> Company | None:
    """Return one company, or None."""
    cursor = await connection.execute(_COMPANY + "WHERE c.company_id = %s", (company_id,))
    row = await cursor.fetchone()
    return None if row is None else _company(row)


# "clinica" finds "Clínica": the accents of our two languages, without an extension that managed servers may lack.
_FOLDED = "translate(lower({}), 'áàâãäéèêëíìîïóòôõöúùûüçñ', 'aaaaaeeeeiiiiooooouuuucn')"
NAME_FOLDED = _FOLDED.format("c.name")
NAME_HOLDS = f"strpos({NAME_FOLDED}, {_FOLDED.format('%(search)s')}) > 0"


async def read_page(connection: Connection, *, after: int, limit: int, search: str = "") -> list[Company]:
    """Return up to `limit` companies with an id above `after`, by id; with search, those whose name holds it."""
    cursor = await connection.execute(
        _COMPANY + f"WHERE c.company_id > %(after)s AND {NAME_HOLDS} ORDER BY c.company_id LIMIT %(limit)s",
        {"after": after, "limit": limit, "search": search},
    )
    return [_company(row) for row in await cursor.fetchall()]


async def read_some(connection: Connection, company_ids: Sequence[int]) -> list[Company]:
    """Return these companies by id; those that are not there are left out."""
    cursor = await connection.execute(
        _COMPANY + "WHERE c.company_id = ANY(%s) ORDER BY c.company_id", (list(company_ids),)
    )
    return [_company(row) for row in await cursor.fetchall()]


async def insert(
    connection: Connection, name: str, *, timezone: str, currency: str, demo: bool, now: datetime, today: date
) -> int:
    """Add a company, its head and its first zone (from the local day `today`); return its id."""
    cursor = await connection.execute(
        "INSERT INTO companies (name, currency, demo, created_at) VALUES (%s, %s, %s, %s) RETURNING company_id",
        (name, currency, demo, now),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    company_id = int(row[0])
    await connection.execute("INSERT INTO company_heads (company_id) VALUES (%s)", (company_id,))
    await insert_timezone(connection, company_id, effective_from=today, timezone=timezone)
    return company_id


async def insert_timezone(connection: Connection, company_id: int, *, effective_from: date, timezone: str) -> None:
    """Add a dated zone; the caller holds the head's lock and has looked at the rows there are."""
    await connection.execute(
        "INSERT INTO company_timezones (company_id, effective_from, timezone) VALUES (%s, %s, %s)",
        (company_id, effective_from, timezone),
    )


async def lock_heads(connection: Connection, company_ids: Sequence[int]) -> list[int]:
    """Lock the heads in id order and return the ids found; what is read afterwards cannot change unseen."""
    cursor = await connection.execute(
        "SELECT company_id FROM company_heads WHERE company_id = ANY(%s) ORDER BY company_id FOR NO KEY UPDATE",
        (sorted(company_ids),),
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def write_identity(connection: Connection, company: Company) -> None:
    """Write a company's name, registered name, CNPJ and currency; its head is locked."""
    await connection.execute(
        "UPDATE companies SET name = %s, legal_name = %s, tax_id = %s, currency = %s WHERE company_id = %s",
        (company.name, company.legal_name, company.tax_id, company.currency, company.company_id),
    )


async def set_status(connection: Connection, company_id: int, status: str) -> None:
    """Write a company's status, active or suspended; its head is locked."""
    await connection.execute("UPDATE companies SET status = %s WHERE company_id = %s", (status, company_id))


async def raise_settings_versions(connection: Connection, company_ids: Sequence[int]) -> None:
    """Tell everyone who remembers zones or prices of these companies that they moved; the heads are locked."""
    await connection.execute(
        "UPDATE company_heads SET version = version + 1, settings_version = settings_version + 1 "
        "WHERE company_id = ANY(%s)",
        (list(company_ids),),
    )


async def raise_versions(connection: Connection, company_ids: Sequence[int]) -> None:
    """Tell everyone who watches these companies that something shown has moved; the heads are locked."""
    await connection.execute(
        "UPDATE company_heads SET version = version + 1 WHERE company_id = ANY(%s)", (list(company_ids),)
    )
