"""Daily sums written by hand on any day of history, the way ingest leaves them; and money counted the slow way."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import blake2b

import psycopg


@dataclass(frozen=True)
class Use:
    """What a company used on a local day, of one kind."""

    day: date
    direction: str = "outbound"
    channel: str = "usage"
    category: str | None = None
    model: str | None = None
    messages: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    response_ms: int = 0
    response_count: int = 0
    account_id: int | None = None
    cost_center: str | None = None
    hour: int = 12


def write(admin_url: str, company_id: int, *uses: Use) -> int:
    """Add uses in one transaction and return the company's new version."""
    with psycopg.connect(admin_url) as connection:
        row = connection.execute(
            "UPDATE company_heads SET version = version + 1 WHERE company_id = %s RETURNING version", (company_id,)
        ).fetchone()
        assert row is not None
        for use in uses:
            _write_one(connection, company_id, use, row[0])
    return int(row[0])


def _write_one(connection: psycopg.Connection, company_id: int, use: Use, version: int) -> None:
    dimensions = (use.channel, use.direction, use.category, use.model, use.account_id, use.cost_center)
    digest = blake2b(repr(dimensions).encode(), digest_size=16).hexdigest()
    connection.execute(
        "INSERT INTO usage_series (company_id, dimensions_hash, channel, direction, category, model, account_id, "
        "cost_center) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (company_id, digest, *dimensions),
    )
    sums = (use.messages, use.tokens_input, use.tokens_output, use.response_ms, use.response_count)
    _add(connection, "usage_daily", "day", (use.day,), sums, (company_id, digest), ", head_version", (version,))
    _add(connection, "usage_hourly", "day, hour", (use.day, use.hour), sums, (company_id, digest))


def _add(
    connection: psycopg.Connection,
    table: str,
    key: str,
    values: tuple[object, ...],
    sums: tuple[int, ...],
    of: tuple[int, str],
    more: str = "",
    extra: tuple[int, ...] = (),
) -> None:
    columns = "messages, tokens_input, tokens_output, response_ms, response_count"
    added = ", ".join(f"{name} = d.{name} + excluded.{name}" for name in columns.split(", "))
    replaced = ", head_version = excluded.head_version" if more else ""
    connection.execute(
        f"INSERT INTO {table} AS d (company_id, {key}, series_id, {columns}{more}) "
        f"SELECT company_id, {', '.join(['%s'] * len(values))}, series_id, "
        f"{', '.join(['%s'] * (len(sums) + len(extra)))} FROM usage_series "
        "WHERE company_id = %s AND dimensions_hash = %s "
        f"ON CONFLICT (company_id, {key}, series_id) DO UPDATE SET {added}{replaced}".encode(),
        (*values, *sums, *extra, *of),
    )


CARD_USD = {
    "UTILITY": Decimal("0.021"),
    "MARKETING": Decimal("0.095"),
    "AUTHENTICATION": Decimal("0.014"),
    "SERVICE": Decimal("0.021"),
}


def slow_cost(
    uses: Iterable[Use],
    *,
    per_message: Decimal | None = Decimal("0.05"),
    per_thousand: Decimal | None = Decimal("0.02"),
    usd_to_brl: Decimal = Decimal("5.00"),
) -> tuple[Decimal, int, int]:
    """Return cost in BRL, messages not priced, tokens not priced, one use after the other."""
    cost, messages_left, tokens_left = Decimal(0), 0, 0
    for use in uses:
        tokens = use.tokens_input + use.tokens_output
        if per_thousand is None:
            tokens_left += tokens
        else:
            cost += per_thousand * tokens / 1000
        if use.channel == "usage":
            if per_message is None:
                messages_left += use.messages
            else:
                cost += per_message * use.messages
        elif use.direction == "inbound":
            pass
        elif use.category in CARD_USD:
            cost += CARD_USD[use.category] * usd_to_brl * use.messages
        else:
            messages_left += use.messages
    return cost, messages_left, tokens_left
