"""Alerts as pages of the panel read them: lists, counts, news, who acknowledged, what became of deliveries.

An alert is open while it is neither resolved nor acknowledged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from secretaria.core.crossing import AlertLevel
from secretaria.core.delivery import DeliveryStatus
from secretaria.store.alerts import COLUMNS, Alert, alert_of_row
from secretaria.store.database import Connection

_OPEN: Final = "a.resolved_at IS NULL AND a.acknowledged_at IS NULL"

AlertKey = tuple[int, int]
"""(company_id, alert_id)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts to list. company_id None: of all companies. before: below this id."""

    company_id: int | None = None
    open_only: bool = False
    level: AlertLevel | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many alerts are open, in all and of one company, and the newest id among those that were counted."""

    open: int
    open_of_company: int
    newest_id: int


async def read_page(connection: Connection, wanted: Wanted, *, limit: int) -> list[Alert]:
    """Return the alerts that are wanted, newest first."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM alerts AS a "  # noqa: S608  fixed names
        "WHERE (%(company_id)s::bigint IS NULL OR a.company_id = %(company_id)s) "
        "AND (%(before)s::bigint IS NULL OR a.alert_id < %(before)s) "
        "AND (%(level)s::text IS NULL OR a.level = %(level)s) "
        + (f"AND {_OPEN} " if wanted.open_only else "")
        + "ORDER BY a.alert_id DESC LIMIT %(limit)s",
        {
            "company_id": wanted.company_id,
            "before": wanted.before,
            "level": wanted.level and wanted.level.value,
            "limit": limit,
        },
    )
    return [alert_of_row(row) for row in await cursor.fetchall()]


async def read_companies(connection: Connection, *, open_only: bool, limit: int) -> list[tuple[int, str]]:
    """Return (id, name) of companies that have alerts, by name."""
    cursor = await connection.execute(
        "SELECT c.company_id, c.name FROM companies AS c WHERE EXISTS (SELECT FROM alerts AS a "  # noqa: S608  fixed
        "WHERE a.company_id = c.company_id" + (f" AND {_OPEN}" if open_only else "") + ") "
        "ORDER BY lower(c.name), c.company_id LIMIT %s",
        (limit,),
    )
    return [(company_id, name) for company_id, name in await cursor.fetchall()]


async def count(connection: Connection, *, of: int | None, company_id: int | None) -> Counts:
    """Count the open alerts of the company `of` (None: of all), and among them those of company_id."""
    cursor = await connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE a.company_id = %(company_id)s), "  # noqa: S608  fixed names
        "(SELECT coalesce(max(n.alert_id), 0) FROM alerts AS n "
        "WHERE %(narrow)s::bigint IS NULL OR n.company_id = %(narrow)s) "
        f"FROM alerts AS a WHERE (%(of)s::bigint IS NULL OR a.company_id = %(of)s) AND {_OPEN}",
        {"of": of, "company_id": company_id, "narrow": of if company_id is None else company_id},
    )
    row = await cursor.fetchone()
    return Counts(*row) if row else Counts(0, 0, 0)


async def read_open_critical(connection: Connection, company_id: int) -> Alert | None:
    """Return a company's newest critical alert that is open."""
    wanted = Wanted(company_id, open_only=True, level=AlertLevel.CRITICAL)
    found = await read_page(connection, wanted, limit=1)
    return found[0] if found else None


async def read_open_after(connection: Connection, seen: Mapping[int, int], *, limit: int) -> list[Alert]:
    """Return open alerts above the id each company {company_id: id} was seen up to, newest first."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM unnest(%s::bigint[], %s::bigint[]) AS k (company_id, seen) "  # noqa: S608
        "JOIN alerts AS a ON a.company_id = k.company_id AND a.alert_id > k.seen "
        f"WHERE {_OPEN} ORDER BY a.alert_id DESC LIMIT %s",
        (list(seen), list(seen.values()), limit),
    )
    return [alert_of_row(row) for row in await cursor.fetchall()]


async def read_newest_id(connection: Connection, company_ids: Collection[int]) -> int:
    """Return the newest id of these companies' alerts; 0 where they have none."""
    cursor = await connection.execute(
        "SELECT coalesce(max(alert_id), 0) FROM alerts WHERE company_id = ANY(%s)", (list(company_ids),)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def count_open_each(connection: Connection, company_ids: Collection[int]) -> dict[int, int]:
    """Return how many open alerts each of these companies has."""
    cursor = await connection.execute(
        f"SELECT a.company_id, count(*) FROM alerts AS a WHERE a.company_id = ANY(%s) AND {_OPEN} GROUP BY 1",  # noqa: S608
        (list(company_ids),),
    )
    return dict.fromkeys(company_ids, 0) | dict(await cursor.fetchall())


async def read_delivered(
    connection: Connection, keys: Sequence[AlertKey], endpoints_of: Collection[int]
) -> dict[AlertKey, dict[DeliveryStatus, int]]:
    """Return {alert: {status: how many}} of the deliveries to the endpoints of these companies (0: the operator's)."""
    cursor = await connection.execute(
        "SELECT d.about_company_id, d.alert_id, d.status, count(*) "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS k (about, alert_id) "
        "JOIN deliveries AS d ON d.company_id = ANY(%s) AND d.about_company_id = k.about AND d.alert_id = k.alert_id "
        "GROUP BY 1, 2, 3",
        ([company_id for company_id, _ in keys], [alert_id for _, alert_id in keys], list(endpoints_of)),
    )
    found: dict[AlertKey, dict[DeliveryStatus, int]] = {}
    for company_id, alert_id, status, number in await cursor.fetchall():
        found.setdefault((company_id, alert_id), {})[DeliveryStatus(status)] = number
    return found


async def read_emails(connection: Connection, user_ids: Sequence[int], homes: Collection[int]) -> dict[int, str]:
    """Return {user_id: e-mail} of these users, as far as they are of these companies (0: the operator)."""
    cursor = await connection.execute(
        "SELECT user_id, email FROM users WHERE company_id = ANY(%s) AND user_id = ANY(%s)",
        (list(homes), list(user_ids)),
    )
    return dict(await cursor.fetchall())
