"""How the service stands, over all companies, for those who watch it: what waits, what fired, what became of jobs."""

from dataclasses import dataclass
from datetime import datetime

from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Counts by their labels. The two ages are in seconds, 0 when nothing waits; disabled endpoints are left out.

    oldest_waiting_s goes by when the news came, oldest_due_s by when the next attempt should have begun.
    """

    deliveries_waiting: int
    oldest_waiting_s: float
    oldest_due_s: float
    alerts_fired: dict[tuple[str, str, str], int]
    alerts_open: int
    webhook_payloads: dict[str, int]
    jobs: dict[str, int]


async def read_state(connection: Connection, now: datetime) -> ServiceState:
    """Read it as the operator, by the partial indexes that the work itself uses; alerts are few."""
    cursor = await connection.execute(
        "SELECT count(*), coalesce(extract(epoch FROM %(now)s - min(d.created_at)), 0)::float8, "
        "greatest(coalesce(extract(epoch FROM %(now)s - min(d.next_attempt_at)), 0), 0)::float8 "
        "FROM deliveries AS d JOIN delivery_endpoints AS e USING (company_id, endpoint_id) "
        "WHERE d.status = 'waiting' AND e.status = 'active'",
        {"now": now},
    )
    waiting = await cursor.fetchone()
    assert waiting is not None  # noqa: S101 - an aggregate always has its row
    cursor = await connection.execute(
        "SELECT kind, metric, threshold::text, count(*), count(*) FILTER (WHERE resolved_at IS NULL) "
        "FROM alerts GROUP BY 1, 2, 3"
    )
    alerts = await cursor.fetchall()
    payloads = {"new": 0, "set_aside": 0}
    cursor = await connection.execute(
        "SELECT state, count(*) FROM webhook_payloads WHERE state <> 'done' GROUP BY state"
    )
    payloads |= dict(await cursor.fetchall())
    cursor = await connection.execute("SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY status")
    return ServiceState(
        deliveries_waiting=waiting[0],
        oldest_waiting_s=max(waiting[1], 0),
        oldest_due_s=waiting[2],
        alerts_fired={(kind, metric or "", threshold or ""): fired for kind, metric, threshold, fired, _ in alerts},
        alerts_open=sum(still_open for *_, still_open in alerts),
        webhook_payloads=payloads,
        jobs=dict(await cursor.fetchall()),
    )
