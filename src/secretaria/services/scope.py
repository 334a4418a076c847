"""The only way a service reaches a company's rows: the caller decides the pool and the wall behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from secretaria.core.access import Caller
from secretaria.core.errors import NotFound
from secretaria.store.database import Connection, Database, transaction

COMPANY_ID_MAX = 2**63 - 1


def company_not_found() -> NotFound:
    """Build the answer for a company that does not exist and for another's: they are never told apart."""
    return NotFound("no such company", code="company_not_found")


@asynccontextmanager
async def company_transaction(
    database: Database, caller: Caller, company_id: int, *, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """One transaction on one company's rows; raises NotFound when the company is not the caller's.

    With snapshot it only reads, and all its statements see one moment.

    Everyone but the operator goes through the door role with row-level security set to that company; the operator
    has a role of its own, and its queries still name company_id.
    """
    caller.require_company(company_id)
    if not 0 <= company_id <= COMPANY_ID_MAX:
        raise company_not_found()
    pool = database.operator if caller.is_operator else database.door
    async with transaction(pool, company_id=company_id, snapshot=snapshot) as connection:
        yield connection


@asynccontextmanager
async def operator_transaction(
    database: Database, caller: Caller, *, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """One transaction over all companies; raises NotAllowed for everyone but the operator."""
    caller.require_operator()
    async with transaction(database.operator, snapshot=snapshot) as connection:
        yield connection
