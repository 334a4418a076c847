"""The facts behind the first steps of a company, in one question."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What has become true of a company; timezone and currency are what its data say now."""

    timezone: str
    currency: str
    data: bool
    plan: bool
    key: bool
    event: bool
    prices: bool
    webhook: bool

    @property
    def done(self) -> tuple[bool, ...]:
        """The six steps in the order they are shown."""
        return self.data, self.plan, self.key, self.event, self.prices, self.webhook


async def read(
    connection: Connection, company_id: int, *, today: date, homes: Sequence[int]
) -> FirstSteps | None:
    """Return the facts; None where there is no such company.

    Prices are there when both flat prices are, or when the sweeper has looked at usage and all of it had a price; and
    not while an alert says that some has none. homes: whose endpoints tell of this company's alerts.
    """
    cursor = await connection.execute(
        "SELECT (SELECT timezone FROM company_timezones AS z WHERE z.company_id = c.company_id "
        "ORDER BY effective_from DESC LIMIT 1), c.currency, "
        "c.legal_name IS NOT NULL OR c.tax_id IS NOT NULL, "
        "(SELECT p.plan_id IS NOT NULL FROM company_plans AS p WHERE p.company_id = c.company_id "
        "AND p.effective_from <= %(today)s ORDER BY p.effective_from DESC, p.choice_id DESC LIMIT 1) IS TRUE, "
        "EXISTS (SELECT FROM api_keys AS k WHERE k.company_id = c.company_id AND k.revoked_at IS NULL), "
        "EXISTS (SELECT FROM usage_daily AS d WHERE d.company_id = c.company_id), "
        "NOT EXISTS (SELECT FROM alerts AS a WHERE a.company_id = c.company_id AND a.kind = 'not_priced' "
        "AND a.resolved_at IS NULL AND a.period_start >= date_trunc('month', %(today)s::timestamp)::date) AND ("
        "(SELECT count(DISTINCT r.metric) FROM prices AS r WHERE r.company_id = c.company_id "
        "AND r.channel IS DISTINCT FROM 'whatsapp' AND r.category IS NULL) = 2 "
        "OR EXISTS (SELECT FROM period_counters AS n WHERE n.company_id = c.company_id AND n.swept_at IS NOT NULL "
        "AND n.messages_inbound + n.messages_outbound + n.tokens_input + n.tokens_output > 0)), "
        "EXISTS (SELECT FROM delivery_endpoints AS e WHERE e.company_id = ANY(%(homes)s) AND e.status = 'active' "
        "AND e.removed_at IS NULL AND e.succeeded_at IS NOT NULL) "
        "FROM companies AS c WHERE c.company_id = %(company_id)s",
        {"company_id": company_id, "today": today, "homes": list(homes)},
    )
    row = await cursor.fetchone()
    return None if row is None else FirstSteps(*row)
