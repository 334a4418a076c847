"""The versions of companies: what moved since someone last looked."""

from collections.abc import Sequence

from secretaria.store.database import Connection


async def read_versions(connection: Connection, company_ids: Sequence[int]) -> dict[int, int]:
    """Return {company_id: version} of these companies in one query; unknown ones are left out."""
    cursor = await connection.execute(
        "SELECT company_id, version FROM company_heads WHERE company_id = ANY(%s)", (list(company_ids),)
    )
    return dict(await cursor.fetchall())
