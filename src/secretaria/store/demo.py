"""Demo companies: found by their mark, and the only companies that can be deleted (migrations/0006)."""

from psycopg import sql

from secretaria.store import companies
from secretaria.store.companies import Company
from secretaria.store.database import Connection

# companies last: the policy that lets rows be deleted asks it for the mark.
TABLES = (
    "directory", "sessions", "api_keys", "users", "usage_events", "event_identities", "messages", "usage_daily",
    "usage_uncounted", "whatsapp_events", "template_categories", "templates", "whatsapp_accounts",
    "usage_hourly", "usage_series", "period_counters", "analytics_reports", "report_progress",
    "report_files", "report_codes", "report_archive_progress", "prices",
    "exchange_rates", "meta_costs", "meta_days", "meta_sync", "meta_profiles", "integrations",
    "delivery_attempts", "deliveries", "delivery_endpoints", "alerts", "reservations", "company_plans",
    "rate_card_choices", "company_standings", "company_timezones", "company_heads", "companies",
)  # fmt: skip


async def read_companies(connection: Connection) -> list[Company]:
    """Return the demo companies, by id."""
    cursor = await connection.execute("SELECT company_id FROM companies WHERE demo")
    return await companies.read_some(connection, [company_id for (company_id,) in await cursor.fetchall()])


async def delete_company(connection: Connection, company_id: int) -> bool:
    """Delete everything of a demo company under its head's lock; False when it is no demo company or not there."""
    await companies.lock_heads(connection, [company_id])
    cursor = await connection.execute("SELECT 1 FROM companies WHERE company_id = %s AND demo", (company_id,))
    if await cursor.fetchone() is None:
        return False
    await _delete_payloads(connection, company_id)
    for table in TABLES:
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE company_id = %s").format(sql.Identifier(table)), (company_id,)
        )
    return True


async def _delete_payloads(connection: Connection, company_id: int) -> None:
    """Stored webhooks belong to no company: those of a demo's numbers are told by the numbers they name."""
    await connection.execute(
        "DELETE FROM webhook_payloads AS p WHERE EXISTS (SELECT FROM jsonb_path_query(p.body, "
        "'$.entry[*].changes[*].value.metadata.phone_number_id') AS named JOIN whatsapp_accounts AS a "
        "ON a.phone_number_id = named #>> '{}' WHERE a.company_id = %s)",
        (company_id,),
    )
