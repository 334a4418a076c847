"""Rows of plans, of their dated limits, and of which company has which from when. All append-only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from secretaria.core.plan import Plan, PlanChoice, PlanLimits, PlanTerms, PlanVersion
from secretaria.store.database import Connection

PLAN_LOCK: Final = 7_310_274
"""First key of the advisory locks of plans; the second is the plan's id."""

_LIMITS: Final = "l.plan_id, p.name, p.currency, l.messages, l.tokens, l.cost, l.thresholds, l.hard, l.effective_from"
_PLAN: Final = "SELECT p.plan_id, p.name, p.currency, p.created_at FROM plans AS p "

# Of the rows that have begun the last one, of one day the later written; before all of them the first one.
_NEAREST: Final = "ORDER BY v.effective_from <= k.day DESC, abs(v.effective_from - k.day), v.version_id DESC LIMIT 1"


async def read_in_force(connection: Connection, days: Mapping[int, date]) -> dict[int, PlanLimits]:
    """Return the limits that hold for each company on its day; companies without a plan are left out.

    A plan's first limits cover all earlier days: plans begin on the operator's day, which may be ahead of a company's.
    """
    cursor = await connection.execute(
        f"SELECT k.company_id, {_LIMITS} "  # noqa: S608  constant text
        "FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, day) "
        "JOIN LATERAL (SELECT c.plan_id FROM company_plans AS c "
        "WHERE c.company_id = k.company_id AND c.effective_from <= k.day "
        "ORDER BY c.effective_from DESC, c.choice_id DESC LIMIT 1) AS chosen ON true "
        f"JOIN LATERAL (SELECT * FROM plan_limits AS v WHERE v.plan_id = chosen.plan_id {_NEAREST}) AS l ON true "
        "JOIN plans AS p ON p.plan_id = l.plan_id",
        (list(days), list(days.values())),
    )
    return {
        company_id: PlanLimits(plan_id, name, currency, messages, tokens, cost, tuple(thresholds), hard, effective_from)
        for company_id, plan_id, name, currency, messages, tokens, cost, thresholds, hard, effective_from
        in await cursor.fetchall()
    }


async def lock(connection: Connection, plan_id: int, *, shared: bool = False) -> None:
    """Hold a plan until the transaction ends, before any head is locked: its limits change alone (exclusive).

    Shared while a company is given it: a change that began before would not see that company among the plan's.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    await connection.execute(f"SELECT {function}(%s, hashint8(%s))", (PLAN_LOCK, plan_id))


async def insert(
    connection: Connection, name: str, terms: PlanTerms, *, currency: str, effective_from: date, now: datetime
) -> int | None:
    """Add a plan with its first limits and return its id; None when the name is taken."""
    cursor = await connection.execute(
        "INSERT INTO plans (name, currency, created_at) VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING "
        "RETURNING plan_id",
        (name, currency, now),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    await insert_version(connection, row[0], terms, effective_from=effective_from, now=now)
    return int(row[0])


async def insert_version(
    connection: Connection, plan_id: int, terms: PlanTerms, *, effective_from: date, now: datetime
) -> None:
    """Add limits that hold from a day on; the plan and the heads of its companies are locked."""
    await connection.execute(
        "INSERT INTO plan_limits (plan_id, effective_from, messages, tokens, cost, thresholds, hard, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            plan_id,
            effective_from,
            terms.messages,
            terms.tokens,
            terms.cost,
            list(terms.thresholds),
            terms.hard,
            now,
        ),
    )


async def read(connection: Connection, plan: int | str) -> Plan | None:
    """Return a plan with its versions, by id or name; None when there is none."""
    by = "p.plan_id = %s" if isinstance(plan, int) else "p.name = %s"
    cursor = await connection.execute(_PLAN + f"WHERE {by}", (plan,))
    found = await _with_versions(connection, await cursor.fetchall())
    return found[0] if found else None


async def read_page(connection: Connection, *, after: int, limit: int) -> list[Plan]:
    """Return up to `limit` plans with an id above `after`, by id, with their versions."""
    cursor = await connection.execute(
        _PLAN + "WHERE p.plan_id > %s ORDER BY p.plan_id LIMIT %s", (after, limit)
    )
    return await _with_versions(connection, await cursor.fetchall())


async def read_some(connection: Connection, plan_ids: Sequence[int]) -> list[Plan]:
    """Return these plans by id, with their versions."""
    cursor = await connection.execute(_PLAN + "WHERE p.plan_id = ANY(%s) ORDER BY p.plan_id", (list(plan_ids),))
    return await _with_versions(connection, await cursor.fetchall())


async def _with_versions(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Plan]:
    versions: dict[int, list[PlanVersion]] = defaultdict(list)
    cursor = await connection.execute(
        "SELECT plan_id, version_id, effective_from, messages, tokens, cost, thresholds, hard, created_at "
        "FROM plan_limits WHERE plan_id = ANY(%s) ORDER BY effective_from, version_id",
        ([row[0] for row in rows],),
    )
    for plan_id, version_id, day, messages, tokens, cost, thresholds, hard, created_at in await cursor.fetchall():
        terms = PlanTerms(messages, tokens, cost, tuple(thresholds), hard)
        versions[plan_id].append(PlanVersion(version_id, day, terms, created_at))
    return [Plan(row[0], row[1], row[2], row[3], tuple(versions[row[0]])) for row in rows]


async def count_companies(connection: Connection, plan_ids: Sequence[int], *, now: datetime) -> dict[int, int]:
    """Return how many companies have each of these plans on their local day now.

    Each company's day is read off the clock of the zone it has today, which is exact but for the hours of a day on
    which the zone changes: a number for people, which decides nothing.
    """
    cursor = await connection.execute(
        "SELECT chosen.plan_id, count(*) FROM (SELECT DISTINCT ON (c.company_id) c.company_id, c.plan_id "
        "FROM company_plans AS c CROSS JOIN LATERAL (SELECT (%(now)s AT TIME ZONE z.timezone)::date AS day "
        "FROM company_timezones AS z WHERE z.company_id = c.company_id "
        "ORDER BY z.effective_from <= (%(now)s AT TIME ZONE z.timezone)::date DESC, "
        "abs(z.effective_from - (%(now)s AT TIME ZONE z.timezone)::date) LIMIT 1) AS today "
        "WHERE c.effective_from <= today.day ORDER BY c.company_id, c.effective_from DESC, c.choice_id DESC) AS chosen "
        "WHERE chosen.plan_id = ANY(%(plan_ids)s) GROUP BY chosen.plan_id",
        {"now": now, "plan_ids": list(plan_ids)},
    )
    return dict(await cursor.fetchall())


async def read_holders(connection: Connection, plan_id: int, *, since: date) -> list[int]:
    """Return the companies that have a plan on `since` or any later day, as their choices stand now, by id."""
    cursor = await connection.execute(
        "SELECT DISTINCT c.company_id FROM company_plans AS c WHERE c.plan_id = %(plan_id)s AND NOT EXISTS ("
        "SELECT FROM company_plans AS later WHERE later.company_id = c.company_id "
        "AND (later.effective_from, later.choice_id) > (c.effective_from, c.choice_id) "
        "AND later.effective_from <= greatest(c.effective_from, %(since)s)) ORDER BY c.company_id",
        {"plan_id": plan_id, "since": since},
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def insert_choice(
    connection: Connection, company_id: int, plan_id: int | None, *, effective_from: date, now: datetime
) -> None:
    """Let a company have a plan, or none, from a local day on; its head is locked."""
    await connection.execute(
        "INSERT INTO company_plans (company_id, plan_id, effective_from, created_at) VALUES (%s, %s, %s, %s)",
        (company_id, plan_id, effective_from, now),
    )


async def read_choices(connection: Connection, company_id: int, *, limit: int) -> list[PlanChoice]:
    """Return a company's newest choices by day, of one day the later written last."""
    cursor = await connection.execute(
        "SELECT c.plan_id, p.name, c.effective_from, c.created_at FROM company_plans AS c "
        "LEFT JOIN plans AS p ON p.plan_id = c.plan_id WHERE c.company_id = %s "
        "ORDER BY c.effective_from DESC, c.choice_id DESC LIMIT %s",
        (company_id, limit),
    )
    return [PlanChoice(*row) for row in reversed(await cursor.fetchall())]


async def read_currencies(connection: Connection, company_ids: Sequence[int]) -> set[str]:
    """Return the currencies of these companies."""
    cursor = await connection.execute(
        "SELECT DISTINCT currency FROM companies WHERE company_id = ANY(%s)", (list(company_ids),)
    )
    return {currency for (currency,) in await cursor.fetchall()}
