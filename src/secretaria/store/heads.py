"""The versions of companies: what moved since someone last looked."""

from collections.abc import Sequence

from secretaria.store.database import Connection


async def read_versions(connection: Connection, company_ids: Sequence[int]) -> dict[int, int]:
    """Return {company_id: version} of these companies in one query; unknown ones are left out."""
    cursor = await connection.execute(
        "SELECT company_id, version FROM company_heads WHERE company_id = ANY(%s)", (list(company_ids),)
    )
    return dict(await cursor.fetchall())


async def read_states(connection: Connection, company_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Return {company_id: (version, status)} of these companies in one query; unknown ones are left out."""
    cursor = await connection.execute(
        "SELECT h.company_id, h.version, c.status FROM company_heads AS h "
        "JOIN companies AS c ON c.company_id = h.company_id WHERE h.company_id = ANY(%s)",
        (list(company_ids),),
    )
    return {company_id: (version, status) for company_id, version, status in await cursor.fetchall()}
