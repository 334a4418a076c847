"""Meta's webhooks as received and scrubbed: written before they are answered, read again while something is open."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from secretaria.store.database import Connection
from secretaria.store.directory import Kind


class PayloadState(StrEnum):
    """new: not counted yet. done: nothing is left to do. set_aside: it names numbers nobody has."""

    NEW = "new"
    DONE = "done"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True, slots=True)
class Payload:
    """A stored webhook; integration_id is whose secret had signed it, None for the settings' own."""

    payload_id: int
    received_at: datetime
    integration_id: int | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A signed webhook, scrubbed, with how often each key was met that is not known here."""

    received_at: datetime
    integration_id: int | None
    body: dict[str, Any]
    unknown: Mapping[str, int]


async def insert(
    connection: Connection,
    received: Received,
    *,
    state: PayloadState,
    numbers: Sequence[str] = (),
    error: str | None = None,
) -> int:
    """Write a webhook down and return its id; numbers are those that nobody has."""
    cursor = await connection.execute(
        "INSERT INTO webhook_payloads (received_at, integration_id, state, body, unknown, numbers, error) "
        "VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, %s, %s) RETURNING payload_id",
        (
            received.received_at,
            received.integration_id,
            state.value,
            json.dumps(received.body),
            json.dumps(dict(received.unknown)),
            list(numbers),
            error,
        ),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    return int(row[0])


async def lock_open(connection: Connection, *, after: int, attempts_max: int) -> Payload | None:
    """Lock and return the next webhook that can be counted: a new one, or one whose numbers have an account now.

    One that another worker holds is passed over.
    """
    cursor = await connection.execute(
        "SELECT payload_id, received_at, integration_id, body FROM webhook_payloads AS p WHERE payload_id > %(after)s "
        "AND ((state = 'new' AND attempts < %(attempts_max)s) OR (state = 'set_aside' AND EXISTS (SELECT FROM "
        "directory AS d JOIN whatsapp_accounts AS a ON a.company_id = d.company_id AND a.account_id = d.id::bigint "
        "AND a.integration_id IS NOT DISTINCT FROM p.integration_id "
        "WHERE d.kind = %(kind)s AND d.key = ANY(p.numbers)))) "
        "ORDER BY payload_id LIMIT 1 FOR UPDATE OF p SKIP LOCKED",
        {"after": after, "attempts_max": attempts_max, "kind": Kind.PHONE_NUMBER.value},
    )
    row = await cursor.fetchone()
    return None if row is None else Payload(*row)


async def settle(connection: Connection, payload_id: int, state: PayloadState, numbers: Sequence[str]) -> None:
    """Note what became of a webhook."""
    await connection.execute(
        "UPDATE webhook_payloads SET state = %s, numbers = %s, error = NULL WHERE payload_id = %s",
        (state.value, list(numbers), payload_id),
    )


async def note_failure(connection: Connection, payload_id: int, error: str) -> None:
    """Count a failed attempt at a webhook."""
    await connection.execute(
        "UPDATE webhook_payloads SET attempts = attempts + 1, error = %s WHERE payload_id = %s", (error, payload_id)
    )


async def delete_older(connection: Connection, before: datetime, *, set_aside_before: datetime, limit: int) -> int:
    """Remove up to `limit` webhooks that are done, and those set aside longer ago; return how many."""
    cursor = await connection.execute(
        "DELETE FROM webhook_payloads WHERE payload_id IN (SELECT payload_id FROM webhook_payloads "
        "WHERE (state = 'done' AND received_at < %s) OR received_at < %s LIMIT %s)",
        (before, set_aside_before, limit),
    )
    return cursor.rowcount


async def insert_event(
    connection: Connection,
    company_id: int,
    *,
    event_hash: str,
    waba_id: str,
    kind: str,
    at: datetime,
    detail: Mapping[str, Any],
) -> None:
    """Keep what Meta told of an account, once."""
    await connection.execute(
        "INSERT INTO whatsapp_events (company_id, event_hash, waba_id, kind, at, detail) "
        "VALUES (%s, %s, %s, %s, %s, %s::jsonb) ON CONFLICT DO NOTHING",
        (company_id, event_hash, waba_id, kind, at, json.dumps(detail)),
    )
