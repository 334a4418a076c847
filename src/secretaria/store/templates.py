"""Message templates and the dated history of their categories: rows are added, never changed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from secretaria.core.whatsapp import DatedCategory
from secretaria.store.database import Connection
from secretaria.store.events import array


@dataclass(frozen=True, slots=True)
class Template:
    """A template; category is the one set last."""

    company_id: int
    template_id: int
    account_id: int
    name: str
    language: str
    category: str
    quality: str | None
    created_at: datetime


_TEMPLATE = (
    "SELECT t.company_id, t.template_id, t.account_id, t.name, t.language, c.category, t.quality, t.created_at "
    "FROM templates AS t CROSS JOIN LATERAL (SELECT category FROM template_categories AS h "
    "WHERE h.company_id = t.company_id AND h.template_id = t.template_id ORDER BY effective_at DESC LIMIT 1) AS c "
)


async def insert(
    connection: Connection,
    company_id: int,
    account_id: int,
    *,
    name: str,
    language: str,
    now: datetime,
    meta_template_id: str | None = None,
) -> int | None:
    """Add a template and return its id, or None when the account has one of this name and language."""
    cursor = await connection.execute(
        "INSERT INTO templates (company_id, account_id, meta_template_id, name, language, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING template_id",
        (company_id, account_id, meta_template_id, name, language, now),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def insert_category(
    connection: Connection, company_id: int, template_id: int, category: DatedCategory, *, source: str
) -> bool:
    """Add a category from an instant on; False when one of that instant is there already."""
    cursor = await connection.execute(
        "INSERT INTO template_categories (company_id, template_id, effective_at, category, source) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (company_id, template_id, category.effective_at, category.category, source),
    )
    return cursor.rowcount == 1


async def read(connection: Connection, company_id: int, template_id: int) -> Template | None:
    """Return one template, or None."""
    cursor = await connection.execute(
        _TEMPLATE + "WHERE t.company_id = %s AND t.template_id = %s", (company_id, template_id)
    )
    row = await cursor.fetchone()
    return None if row is None else Template(*row)


async def read_page(
    connection: Connection, company_id: int, *, account_id: int | None, after: int, limit: int
) -> list[Template]:
    """Return up to `limit` templates with an id above `after`, by id; with account_id, that account's."""
    cursor = await connection.execute(
        _TEMPLATE + "WHERE t.company_id = %s AND t.template_id > %s AND (%s::bigint IS NULL OR t.account_id = %s) "
        "ORDER BY t.template_id LIMIT %s",
        (company_id, after, account_id, account_id, limit),
    )
    return [Template(*row) for row in await cursor.fetchall()]


async def read_histories(
    connection: Connection, templates: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[DatedCategory]]:
    """Return the dated categories of each (company_id, template_id), in one query."""
    cursor = await connection.execute(
        "SELECT c.company_id, c.template_id, c.effective_at, c.category "
        "FROM unnest(%s::bigint[], %s::bigint[]) AS k (company_id, template_id) JOIN template_categories AS c "
        "ON c.company_id = k.company_id AND c.template_id = k.template_id",
        (array(company_id for company_id, _ in templates), array(template_id for _, template_id in templates)),
    )
    found: dict[tuple[int, int], list[DatedCategory]] = defaultdict(list)
    for company_id, template_id, effective_at, category in await cursor.fetchall():
        found[company_id, template_id].append(DatedCategory(effective_at, category))
    return found


async def find(
    connection: Connection, company_id: int, *, meta_template_id: str, name: str, language: str
) -> list[int]:
    """Return the ids of the templates that Meta knows by this id, else of those of this name and language."""
    cursor = await connection.execute(
        "SELECT template_id FROM templates WHERE company_id = %(company_id)s AND meta_template_id = %(meta_id)s "
        "UNION SELECT template_id FROM templates WHERE company_id = %(company_id)s AND meta_template_id IS NULL "
        "AND name = %(name)s AND (language = %(language)s OR language = '') ORDER BY 1",
        {"company_id": company_id, "meta_id": meta_template_id, "name": name, "language": language},
    )
    return [template_id for (template_id,) in await cursor.fetchall()]


async def note_meta_id(
    connection: Connection, company_id: int, template_ids: Sequence[int], meta_template_id: str
) -> None:
    """Keep the id that Meta knows these templates by, where none was known."""
    await connection.execute(
        "UPDATE templates SET meta_template_id = %s WHERE company_id = %s AND template_id = ANY(%s) "
        "AND meta_template_id IS NULL",
        (meta_template_id, company_id, list(template_ids)),
    )


async def note_quality(
    connection: Connection, company_id: int, template_ids: Sequence[int], quality: str, at: datetime
) -> None:
    """Keep the newest quality that Meta told of these templates."""
    await connection.execute(
        "UPDATE templates SET quality = %s, quality_at = %s WHERE company_id = %s AND template_id = ANY(%s) "
        "AND (quality_at IS NULL OR quality_at <= %s)",
        (quality, at, company_id, list(template_ids), at),
    )
