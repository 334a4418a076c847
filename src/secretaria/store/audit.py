"""Who did what, written in the transaction that did it. Nobody may change or delete a line; core/audit_chain.py."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from secretaria.core.audit_chain import GENESIS, AuditLine, Head, line_hash, stored_detail
from secretaria.store.database import Connection

_COLUMNS: Final = "company_id, audit_id, at, actor, action, subject, detail, sequence, hash"
COMPANIES_LISTED_MAX: Final = 1_000_000


async def insert(
    connection: Connection,
    company_id: int,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a line: `actor` is Caller.identity, `action` a noun and a past participle ("api_key.revoked").

    A change's detail is core.audit_chain.changed(); never a secret. The company's chain stays locked until the
    transaction ends: write the line last, and for several companies in the order of their ids.
    """
    last, at = await _lock_head(connection, company_id)
    kept, sequence = stored_detail(detail or {}), last.sequence + 1
    mark = line_hash(
        company_id=company_id, sequence=sequence, at=at, actor=actor, action=action, subject=subject, detail=kept,
        previous=last.hash,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO audit_log (company_id, at, actor, action, subject, detail, sequence, hash) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (company_id, at, actor, action, subject, Jsonb(kept), sequence, mark),
    )
    await connection.execute(
        "UPDATE audit_heads SET sequence = %s, hash = %s WHERE company_id = %s", (sequence, mark, company_id)
    )


async def _lock_head(connection: Connection, company_id: int) -> tuple[Head, datetime]:
    """Lock the chain, begun where there is none, and return its last line and the transaction's time.

    A statement of its own: what it returns is what the writer before us committed.
    """
    statement = "SELECT sequence, hash, now() FROM audit_heads WHERE company_id = %s FOR NO KEY UPDATE"
    row = await (await connection.execute(statement, (company_id,))).fetchone()
    if row is None:
        await connection.execute(
            "INSERT INTO audit_heads (company_id, sequence, hash) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING",
            (company_id, GENESIS),
        )
        row = await (await connection.execute(statement, (company_id,))).fetchone()
    assert row is not None  # noqa: S101  inserted above, by us or by another
    return Head(row[0], bytes(row[1])), row[2]


async def exists(
    connection: Connection, company_id: int, *, actor: str, action: str, detail: dict[str, Any], days: int
) -> bool:
    """Tell whether the actor did this, with these details, within the last `days` days."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM audit_log WHERE company_id = %s AND actor = %s AND action = %s "
        "AND detail @> %s AND at > now() - make_interval(days => %s))",
        (company_id, actor, action, Jsonb(detail), days),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def read_newest(
    connection: Connection,
    company_id: int | None,
    *,
    after: int | None,
    limit: int,
    since: datetime | None = None,
    action: str | None = None,
) -> list[AuditLine]:
    """Return up to `limit` lines below the id `after`, newest first; without a company, all that the role may see."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM audit_log WHERE (%(company_id)s::bigint IS NULL OR company_id = %(company_id)s) "  # noqa: S608
        "AND (%(after)s::bigint IS NULL OR audit_id < %(after)s) "
        "AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) "
        "AND (%(action)s::text IS NULL OR action = %(action)s) ORDER BY audit_id DESC LIMIT %(limit)s",
        {"company_id": company_id, "after": after, "since": since, "action": action, "limit": limit},
    )
    return [_line(row) for row in await cursor.fetchall()]


async def read_chain(connection: Connection, company_id: int, *, after: int, limit: int) -> list[AuditLine]:
    """Return up to `limit` numbered lines of a company above the number `after`, in order."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM audit_log WHERE company_id = %s AND sequence > %s ORDER BY sequence LIMIT %s",  # noqa: S608
        (company_id, after, limit),
    )
    return [_line(row) for row in await cursor.fetchall()]


async def read_head(connection: Connection, company_id: int) -> Head | None:
    """Return the head of a company's chain; None when it has none."""
    cursor = await connection.execute("SELECT sequence, hash FROM audit_heads WHERE company_id = %s", (company_id,))
    row = await cursor.fetchone()
    return None if row is None else Head(row[0], bytes(row[1]))


async def count(connection: Connection, company_id: int) -> tuple[int, int, int]:
    """Return how many lines are numbered, how many are not, and how many of these came after a numbered one."""
    cursor = await connection.execute(
        "SELECT count(sequence), count(*) - count(sequence), count(*) FILTER (WHERE sequence IS NULL AND audit_id > "
        "(SELECT min(audit_id) FROM audit_log WHERE company_id = %(id)s AND sequence IS NOT NULL)) "
        "FROM audit_log WHERE company_id = %(id)s",
        {"id": company_id},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  an aggregate gives one row
    return int(row[0]), int(row[1]), int(row[2])


async def read_companies(connection: Connection) -> Sequence[int]:
    """Return every company that has lines or a head, by id; companies that are gone among them."""
    cursor = await connection.execute(
        "SELECT company_id FROM audit_heads UNION SELECT company_id FROM audit_log ORDER BY company_id LIMIT %s",
        (COMPANIES_LISTED_MAX,),
    )
    return [company_id for (company_id,) in await cursor.fetchall()]


async def count_all(connection: Connection, company_id: int | None) -> int:
    """Return how many numbered lines there are, for a progress bar."""
    cursor = await connection.execute(
        "SELECT count(sequence) FROM audit_log WHERE %(id)s::bigint IS NULL OR company_id = %(id)s", {"id": company_id}
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


def _line(row: Sequence[Any]) -> AuditLine:
    company_id, audit_id, at, actor, action, subject, detail, sequence, mark = row
    stored = None if mark is None else bytes(mark)
    return AuditLine(company_id, audit_id, at, actor, action, subject, detail, sequence, stored)
