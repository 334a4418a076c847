"""What tests make by hand: companies straight in the database, callers and events."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from secretaria.core.access import Caller, Scope
from secretaria.core.event import UsageEvent

NOW = datetime.now(UTC)
OPERATOR = Caller(0, "test", frozenset(Scope))


def make_company(admin_url: str, name: str = "Clínica Sorriso", timezone: str = "America/Sao_Paulo") -> int:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO companies (name) VALUES (%s) RETURNING company_id", (name,)).fetchone()
        assert row is not None
        company_id = int(row[0])
        connection.execute("INSERT INTO company_heads (company_id) VALUES (%s)", (company_id,))
        connection.execute(
            "INSERT INTO company_timezones (company_id, effective_from, timezone) VALUES (%s, '2000-01-01', %s)",
            (company_id, timezone),
        )
    return company_id


def key_of(company_id: int, *scopes: Scope) -> Caller:
    return Caller(company_id, "test", frozenset(scopes or {Scope.USAGE_WRITE, Scope.ANALYTICS_READ}))


def event_json(event_id: str, *, subject: object = None, **data: Any) -> dict[str, Any]:
    """A CloudEvent as JSON; `time`, `source` and `type` are lifted out of data."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": data.pop("source", "bot-1"),
        "type": data.pop("type", "usage.recorded"),
    }
    if subject is not None:
        envelope["subject"] = str(subject)
    if "time" in data:
        time = data.pop("time")
        if time is not None:
            envelope["time"] = time.isoformat() if isinstance(time, datetime) else time
    data.setdefault("direction", "outbound")
    if not data.keys() & {"messages", "tokens_input", "tokens_output", "response_ms", "corrects"}:
        data["messages"] = 1
    return envelope | {"data": data}


def event(event_id: str, **data: Any) -> UsageEvent:
    return msgspec.convert(event_json(event_id, **data), UsageEvent)


def rows(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()
