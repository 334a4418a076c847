"""Rows of plans, of their dated limits, and of which company has which from when."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from secretaria.core.plan import PlanLimits
from secretaria.store.database import Connection

_LIMITS: Final = "l.plan_id, p.name, p.currency, l.messages, l.tokens, l.cost, l.thresholds, l.hard, l.effective_from"


async def read_in_force(connection: Connection, days: Mapping[int, date]) -> dict[int, PlanLimits]:
    """Return the limits that hold for each company on its day; companies without a plan are left out.

    A plan none of whose limits has begun by that day holds nothing yet.
    """
    cursor = await connection.execute(
        f"SELECT k.company_id, {_LIMITS} "  # noqa: S608  constant text
        "FROM unnest(%s::bigint[], %s::date[]) AS k (company_id, day) "
        "JOIN LATERAL (SELECT c.plan_id FROM company_plans AS c "
        "WHERE c.company_id = k.company_id AND c.effective_from <= k.day "
        "ORDER BY c.effective_from DESC, c.choice_id DESC LIMIT 1) AS chosen ON true "
        "JOIN LATERAL (SELECT * FROM plan_limits AS v WHERE v.plan_id = chosen.plan_id AND v.effective_from <= k.day "
        "ORDER BY v.effective_from DESC, v.version_id DESC LIMIT 1) AS l ON true "
        "JOIN plans AS p ON p.plan_id = l.plan_id",
        (list(days), list(days.values())),
    )
    return {
        company_id: PlanLimits(plan_id, name, currency, messages, tokens, cost, tuple(thresholds), hard, effective_from)
        for company_id, plan_id, name, currency, messages, tokens, cost, thresholds, hard, effective_from
        in await cursor.fetchall()
    }
