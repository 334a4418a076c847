"""Message rows: one a wamid, holding the state of core/whatsapp.py and what counts of it now. Head locks are held."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from secretaria.core.event import Direction
from secretaria.core.whatsapp import MessageState
from secretaria.store.database import Connection
from secretaria.store.events import array

CONVERSATION_ROWS_MAX: Final = 20_000

MessageKey = tuple[int, str]
"""(company_id, wamid)."""

Place = tuple[int, date, int]
"""(series_id, local day, hour)."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What the usage event that told of a message first said of it."""

    category: str | None
    template_id: int | None
    country: str | None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A row. state is None while only usage events told of the message; then messages is what they count of it.

    identity is that of the event the row was made by; has_response: a response time was counted, by whoever.
    """

    identity: str
    place: Place
    state: MessageState | None
    messages: int
    response_ms: int | None
    has_response: bool
    change_number: int
    hints: Hints


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one customer with one account, within [start, end]."""

    company_id: int
    account_id: int
    phone_hmac: str
    start: datetime
    end: datetime


# What a usage event counts of its message now: itself and its corrections.
_COLUMNS: Final = (
    "m.company_id, m.wamid, replace(m.identity::text, '-', ''), m.series_id, m.day, m.hour, "
    "CASE WHEN m.first_at IS NOT NULL THEN m.messages WHEN m.counted THEN 1 + coalesce((SELECT sum(x.messages) "
    "FROM usage_events AS x WHERE x.company_id = m.company_id AND x.corrects = m.identity), 0) ELSE 0 END, "
    "m.response_ms, m.response, m.change_number, m.direction, m.first_at, m.status_rank, m.failed, m.pricing_rank, "
    "m.pricing_category, m.pricing_type, m.account_id, m.template_id, m.category, m.country, m.phone_hmac, "
    "m.phone_last4, s.category, s.template_id, s.market "
)
_SERIES: Final = "LEFT JOIN usage_series AS s ON s.company_id = m.company_id AND s.series_id = m.series_id "


def _message(row: Sequence[Any]) -> tuple[MessageKey, StoredMessage]:
    company_id, wamid, identity, series_id, day, hour, messages, response_ms, has_response, change_number = row[:10]
    direction, first_at, rank, failed, pricing_rank, pricing_category, pricing_type = row[10:17]
    account_id, template_id, category, country, phone_hmac, phone_last4 = row[17:23]
    state = None
    if first_at is not None:
        state = MessageState(
            direction=Direction(direction),
            first_at=first_at,
            rank=rank,
            failed=failed,
            pricing=None if pricing_rank is None else (pricing_rank, pricing_category or "", pricing_type or ""),
            account_id=account_id,
            template_id=template_id,
            category=category,
            country=country,
            contact=None if phone_hmac is None else (phone_hmac, phone_last4 or ""),
        )
    place = (series_id, day, hour)
    hints = Hints(*row[23:])
    return (company_id, wamid), StoredMessage(
        identity, place, state, int(messages), response_ms, has_response, change_number, hints
    )


async def read(connection: Connection, keys: Sequence[MessageKey]) -> dict[MessageKey, StoredMessage]:
    """Return the rows there are of these messages, in one query."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM unnest(%s::bigint[], %s::text[]) AS k (company_id, wamid) "  # noqa: S608  constant
        f"JOIN messages AS m ON m.company_id = k.company_id AND m.wamid = k.wamid {_SERIES}",
        (array(company_id for company_id, _ in keys), [wamid for _, wamid in keys]),
    )
    return dict(_message(row) for row in await cursor.fetchall())


async def read_conversations(
    connection: Connection, conversations: Sequence[Conversation]
) -> dict[MessageKey, StoredMessage]:
    """Return the rows of these stretches of conversations, in one query."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], "  # noqa: S608
        "%s::timestamptz[]) AS k (company_id, account_id, phone_hmac, start, finish) "
        "JOIN messages AS m ON m.company_id = k.company_id AND m.account_id = k.account_id "
        "AND m.phone_hmac = k.phone_hmac AND m.first_at >= k.start AND m.first_at <= k.finish "
        f"{_SERIES} LIMIT {CONVERSATION_ROWS_MAX}",
        (
            array(stretch.company_id for stretch in conversations),
            array(stretch.account_id for stretch in conversations),
            [stretch.phone_hmac for stretch in conversations],
            [stretch.start for stretch in conversations],
            [stretch.end for stretch in conversations],
        ),
    )
    return dict(_message(row) for row in await cursor.fetchall())


async def read_taken(connection: Connection, identities: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of (company_id, identity) that were counted before: their rows may have been removed since."""
    wanted = list(identities)
    cursor = await connection.execute(
        "SELECT i.company_id, replace(i.identity::text, '-', '') FROM unnest(%s::bigint[], %s::uuid[]) "
        "AS k (company_id, identity) JOIN event_identities AS i "
        "ON i.company_id = k.company_id AND i.identity = k.identity",
        (array(company_id for company_id, _ in wanted), array(identity for _, identity in wanted)),
    )
    return {(company_id, identity) for company_id, identity in await cursor.fetchall()}


async def count_awaiting_delivery(connection: Connection, company_id: int, account_id: int, day: date) -> int:
    """Return how many of an account's messages of a local day were sent and have not been reported delivered."""
    cursor = await connection.execute(
        "SELECT count(*) FROM messages WHERE company_id = %s AND account_id = %s AND day = %s "
        "AND messages = 1 AND status_rank = 1 AND direction = 'outbound'",
        (company_id, account_id, day),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def write(connection: Connection, rows: Sequence[tuple[MessageKey, StoredMessage]]) -> None:
    """Write the rows as they are now; whatever the message path has touched is settled for usage events."""
    records = [_record(key, row) for key, row in rows]
    await connection.execute(
        "INSERT INTO messages AS m (company_id, wamid, identity, day, hour, series_id, counted, tokens, response, "
        "account_id, direction, first_at, status_rank, failed, pricing_rank, pricing_category, pricing_type, "
        "template_id, category, country, phone_hmac, phone_last4, messages, response_ms, change_number) "
        "SELECT r.company_id, r.wamid, r.identity, r.day, r.hour, r.series_id, true, false, r.response, "
        "r.account_id, r.direction, r.first_at, r.status_rank, r.failed, r.pricing_rank, r.pricing_category, "
        "r.pricing_type, r.template_id, r.category, r.country, r.phone_hmac, r.phone_last4, r.messages, "
        "r.response_ms, r.change_number FROM jsonb_to_recordset(%s::jsonb) AS r (company_id bigint, wamid text, "
        "identity uuid, day date, hour smallint, series_id bigint, response boolean, account_id bigint, "
        "direction text, first_at timestamptz, status_rank smallint, failed boolean, pricing_rank smallint, "
        "pricing_category text, pricing_type text, template_id bigint, category text, country text, "
        "phone_hmac text, phone_last4 text, messages smallint, response_ms bigint, change_number integer) "
        "ON CONFLICT (company_id, wamid) DO UPDATE SET day = excluded.day, hour = excluded.hour, "
        "series_id = excluded.series_id, counted = true, response = excluded.response, "
        "account_id = excluded.account_id, direction = excluded.direction, first_at = excluded.first_at, "
        "status_rank = excluded.status_rank, failed = excluded.failed, pricing_rank = excluded.pricing_rank, "
        "pricing_category = excluded.pricing_category, pricing_type = excluded.pricing_type, "
        "template_id = excluded.template_id, category = excluded.category, country = excluded.country, "
        "phone_hmac = excluded.phone_hmac, phone_last4 = excluded.phone_last4, messages = excluded.messages, "
        "response_ms = excluded.response_ms, change_number = excluded.change_number",
        (json.dumps(records),),
    )


def _record(key: MessageKey, row: StoredMessage) -> dict[str, Any]:
    state = row.state
    if state is None:
        raise ValueError("only messages with a state are written")
    series_id, day, hour = row.place
    pricing, contact = state.pricing or (None, None, None), state.contact or (None, None)
    return {
        "company_id": key[0],
        "wamid": key[1],
        "identity": row.identity,
        "day": day.isoformat(),
        "hour": hour,
        "series_id": series_id,
        "response": row.has_response,
        "account_id": state.account_id,
        "direction": state.direction.value,
        "first_at": state.first_at.isoformat(),
        "status_rank": state.rank,
        "failed": state.failed,
        "pricing_rank": pricing[0],
        "pricing_category": pricing[1] or None,
        "pricing_type": pricing[2] or None,
        "template_id": state.template_id,
        "category": state.category,
        "country": state.country,
        "phone_hmac": contact[0],
        "phone_last4": contact[1] or None,
        "messages": row.messages,
        "response_ms": row.response_ms,
        "change_number": row.change_number,
    }
