"""What the database's own catalogue says about the walls and the room for events, for `doctor`."""

from datetime import date, datetime

import psycopg

from secretaria.store.database import Connection
from secretaria.store.migrations import ROLES


def read_clock(connection: psycopg.Connection) -> datetime:
    """Return the server's clock, aware."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise psycopg.DataError("the server gave no time")
    found: datetime = row[0]
    return found


def missing_roles(connection: psycopg.Connection, serving_user: str) -> list[str]:
    """Return the roles that do not exist or that the serving user may not act as."""
    found = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND pg_has_role(%s, oid, 'SET')",
        (list(ROLES), serving_user),
    ).fetchall()
    return sorted(set(ROLES) - {name for (name,) in found})


def is_above_the_walls(connection: psycopg.Connection, serving_user: str) -> bool:
    """Tell whether the serving user is a superuser or passes row-level security by itself."""
    row = connection.execute(
        "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = %s", (serving_user,)
    ).fetchone()
    return row is not None and bool(row[0])


def tables_without_wall(connection: psycopg.Connection) -> list[str]:
    """Return tables that hold company_id and lack row-level security with FORCE; partitions are looked at as well."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attname = 'company_id' AND NOT a.attisdropped AND c.relnamespace = 'public'::regnamespace "
        "AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY c.relname"
    ).fetchall()
    return [name for (name,) in rows]


def granted_partitions(connection: psycopg.Connection) -> list[str]:
    """Return partitions that one of our roles was granted something on: a way around the parent's policies."""
    rows = connection.execute(
        "SELECT DISTINCT c.relname FROM pg_class c, aclexplode(c.relacl) AS acl JOIN pg_roles r ON r.oid = acl.grantee "
        "WHERE c.relispartition AND r.rolname = ANY(%s) ORDER BY c.relname",
        (list(ROLES),),
    ).fetchall()
    return [name for (name,) in rows]


def missing_months(connection: psycopg.Connection, months: list[date]) -> list[date]:
    """Return those of the months that have no partition for events."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'usage_events'::regclass"
    ).fetchall()
    present = {name for (name,) in rows}
    return [month for month in months if f"usage_events_{month:%Y_%m}" not in present]


async def unpriced_companies(connection: Connection) -> list[tuple[int, str]]:
    """Return (company_id, name) of the companies that lack a flat price for messages or for tokens, by id."""
    cursor = await connection.execute(
        "SELECT c.company_id, c.name FROM companies c WHERE (SELECT count(DISTINCT p.metric) FROM prices p "
        "WHERE p.company_id = c.company_id AND p.channel IS DISTINCT FROM 'whatsapp' AND p.category IS NULL) < 2 "
        "ORDER BY c.company_id"
    )
    return [(company_id, name) for company_id, name in await cursor.fetchall()]
