"""The connection of a company to Meta, its secrets sealed, and how far each part of it has come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from psycopg import sql

from secretaria.core.meta_cost import Choice, TodaySource, TotalSource
from secretaria.store.database import Connection

TABLE: Final = "integrations"
SECRET_COLUMNS: Final = ("access_token", "app_secret", "verify_token")


class Part(StrEnum):
    """What is asked of Meta, each with its own permission and its own back-off."""

    MESSAGES = "messages"
    ADS = "ads"
    PROFILE = "profile"


class State(StrEnum):
    """How a part stands. `refused` tries again rarely, `reconnect` not until the operator changes something."""

    WAITING = "waiting"
    OK = "ok"
    BACKING_OFF = "backing_off"
    REFUSED = "refused"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Integration:
    """A row; `sealed` maps the columns of secrets that are set to what is kept of them."""

    company_id: int
    integration_id: int
    ad_account_id: str | None
    business_id: str | None
    waba_id: str | None
    choice: Choice
    revision: int
    created_at: datetime
    updated_at: datetime
    sealed: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartState:
    """A part of a company's connection. meta_code is that of Meta's last error."""

    part: Part
    state: State
    meta_code: int | None
    failures: int
    next_attempt_at: datetime | None
    succeeded_at: datetime | None
    stale_since: datetime | None


_COLUMNS = (
    "company_id, integration_id, ad_account_id, business_id, waba_id, total_source, today_source, revision, "
    "created_at, updated_at, access_token, app_secret, verify_token"
)


def _integration(row: Sequence[Any]) -> Integration:
    company_id, integration_id, ad_account_id, business_id, waba_id, total, today, *rest = row
    revision, created_at, updated_at, *secrets = rest
    sealed = {name: bytes(value) for name, value in zip(SECRET_COLUMNS, secrets, strict=True) if value is not None}
    return Integration(
        company_id=company_id,
        integration_id=integration_id,
        ad_account_id=ad_account_id,
        business_id=business_id,
        waba_id=waba_id,
        choice=Choice(TotalSource(total), TodaySource(today)),
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
        sealed=sealed,
    )


async def read(connection: Connection, company_id: int, *, lock: bool = False) -> Integration | None:
    """Return the company's connection, or None; with lock nobody changes it until the transaction ends."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM integrations WHERE company_id = %s AND kind = 'meta'"  # noqa: S608  fixed names
        + (" FOR UPDATE" if lock else ""),
        (company_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else _integration(row)


async def insert(connection: Connection, company_id: int, now: datetime) -> int:
    """Add an empty connection and return its id: what is sealed is bound to it."""
    cursor = await connection.execute(
        "INSERT INTO integrations (company_id, kind, created_at, updated_at) VALUES (%s, 'meta', %s, %s) "
        "RETURNING integration_id",
        (company_id, now, now),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    return int(row[0])


async def write(connection: Connection, wanted: Integration) -> None:
    """Change the connection, one revision further; the caller has read it with lock."""
    values = {
        "ad_account_id": wanted.ad_account_id,
        "business_id": wanted.business_id,
        "waba_id": wanted.waba_id,
        "total_source": wanted.choice.total_source.value,
        "today_source": wanted.choice.today_source.value,
        "updated_at": wanted.updated_at,
        **{name: wanted.sealed.get(name) for name in SECRET_COLUMNS},
    }
    changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
    statement = sql.SQL(
        "UPDATE integrations SET {}, revision = revision + 1 WHERE company_id = %s AND integration_id = %s"
    )
    await connection.execute(
        statement.format(changes), (*values.values(), wanted.company_id, wanted.integration_id)
    )
    # Accounts of a connection with an app secret of its own answer at its own webhook address, and only there.
    await connection.execute(
        "UPDATE whatsapp_accounts SET integration_id = %s WHERE company_id = %s",
        (wanted.integration_id if "app_secret" in wanted.sealed else None, wanted.company_id),
    )


async def reseal(connection: Connection, wanted: Integration) -> bool:
    """Put the same secrets, sealed anew, in place; False when the connection has changed since it was read."""
    changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in wanted.sealed)
    statement = sql.SQL("UPDATE integrations SET {} WHERE company_id = %s AND integration_id = %s AND revision = %s")
    cursor = await connection.execute(
        statement.format(changes),
        (*wanted.sealed.values(), wanted.company_id, wanted.integration_id, wanted.revision),
    )
    return cursor.rowcount == 1


async def read_sealed_by_others(connection: Connection, prefix: bytes, *, limit: int) -> list[int]:
    """Return companies with a secret whose first bytes (format and key id) are not `prefix`."""
    others = " OR ".join(f"substring({name} for %(length)s) <> %(prefix)s" for name in SECRET_COLUMNS)
    cursor = await connection.execute(
        f"SELECT company_id FROM integrations WHERE {others} ORDER BY company_id LIMIT %(limit)s",  # noqa: S608
        {"length": len(prefix), "prefix": prefix, "limit": limit},
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def delete(connection: Connection, company_id: int) -> None:
    """Remove the connection and what was known of it; figures that were pulled stay."""
    await connection.execute(
        "UPDATE whatsapp_accounts SET integration_id = NULL WHERE company_id = %s", (company_id,)
    )
    for table in ("meta_sync", "meta_profiles", "integrations"):
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE company_id = %s").format(sql.Identifier(table)), (company_id,)
        )


# How far it has come


async def reset_parts(connection: Connection, company_id: int, parts: Sequence[Part], now: datetime) -> None:
    """Let these parts be tried from now on, whatever they met before; others are forgotten."""
    await connection.execute(
        "DELETE FROM meta_sync WHERE company_id = %s AND part <> ALL(%s)", (company_id, [part.value for part in parts])
    )
    for part in parts:
        await connection.execute(
            "INSERT INTO meta_sync (company_id, part, state, next_attempt_at) VALUES (%s, %s, 'waiting', %s) "
            "ON CONFLICT (company_id, part) DO UPDATE SET state = 'waiting', meta_code = NULL, failures = 0, "
            "next_attempt_at = excluded.next_attempt_at",
            (company_id, part.value, now),
        )


async def read_parts(connection: Connection, company_id: int) -> list[PartState]:
    """Return the parts of a company's connection, by name."""
    cursor = await connection.execute(
        "SELECT part, state, meta_code, failures, next_attempt_at, succeeded_at, stale_since FROM meta_sync "
        "WHERE company_id = %s ORDER BY part",
        (company_id,),
    )
    return [PartState(Part(part), State(state), *rest) for part, state, *rest in await cursor.fetchall()]


async def write_part(connection: Connection, company_id: int, wanted: PartState) -> None:
    """Note how a part stands; one that was removed meanwhile stays removed."""
    await connection.execute(
        "UPDATE meta_sync SET state = %s, meta_code = %s, failures = %s, next_attempt_at = %s, succeeded_at = %s, "
        "stale_since = %s WHERE company_id = %s AND part = %s",
        (
            wanted.state.value, wanted.meta_code, wanted.failures, wanted.next_attempt_at, wanted.succeeded_at,
            wanted.stale_since, company_id, wanted.part.value,
        ),
    )  # fmt: skip


async def claim_due(
    connection: Connection, now: datetime, *, until: datetime, limit: int
) -> dict[int, list[Part]]:
    """Take up to `limit` due parts so that no other worker does before `until`; return them by company."""
    cursor = await connection.execute(
        "UPDATE meta_sync AS s SET next_attempt_at = %(until)s FROM (SELECT company_id, part FROM meta_sync "
        "WHERE next_attempt_at <= %(now)s ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS due "
        "WHERE s.company_id = due.company_id AND s.part = due.part RETURNING s.company_id, s.part",
        {"now": now, "until": until, "limit": limit},
    )
    found: dict[int, list[Part]] = {}
    for company_id, part in sorted(await cursor.fetchall()):
        found.setdefault(company_id, []).append(Part(part))
    return found
