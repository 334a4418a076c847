"""The audit log read back: newest first for people, and proven line by line from the first on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.audit_chain import GENESIS, AuditLine, Break, Broken, Head, ended, walk
from secretaria.services.scope import company_transaction, operator_transaction
from secretaria.store import audit
from secretaria.store.database import Connection, Database

PAGE_LINES_MAX: Final = 200
PAGE_LINES_PROVEN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one company's chain; `lines` were proven, `before` are older than the chain."""

    company_id: int
    lines: int
    before: int
    head: Head
    broken: Broken | None


class AuditReads:
    """Operators read every line; who may make keys of a company reads that company's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        caller: Caller,
        company_id: int | None = None,
        *,
        after: int | None = None,
        limit: int = PAGE_LINES_MAX,
        since: datetime | None = None,
        action: str | None = None,
    ) -> list[AuditLine]:
        """Return up to `limit` (1 to PAGE_LINES_MAX) lines below the id `after`, newest first.

        company_id 0 names the operator's own lines. None: of all companies for operators, else the caller's own.
        """
        limit = min(max(limit, 1), PAGE_LINES_MAX)
        if company_id is None and caller.is_operator:
            caller.require_scope(Scope.KEYS_WRITE)
            async with operator_transaction(self._database, caller) as connection:
                return await audit.read_newest(
                    connection, None, after=after, limit=limit, since=since, action=action
                )
        company_id = caller.company_id if company_id is None else company_id
        # Lines hold network addresses and who did what: more than a key that reads figures has to know.
        caller.require_scope(Scope.KEYS_WRITE)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await audit.read_newest(
                connection, company_id, after=after, limit=limit, since=since, action=action
            )

    async def companies(self, caller: Caller) -> Sequence[int]:
        """Return every company with lines, by id; operators only."""
        async with operator_transaction(self._database, caller) as connection:
            return await audit.read_companies(connection)

    async def count(self, caller: Caller, company_id: int | None) -> int:
        """Return how many lines `verify` will prove; operators only."""
        async with operator_transaction(self._database, caller) as connection:
            return await audit.count_all(connection, company_id)

    async def verify(
        self, caller: Caller, company_id: int, on_lines: Callable[[int], None] = lambda _lines: None
    ) -> Verified:
        """Prove a company's chain from its first line, in one moment's view; on_lines hears how many were added."""
        caller.require_operator()
        async with company_transaction(self._database, caller, company_id, snapshot=True) as connection:
            head = await audit.read_head(connection, company_id)
            numbered, before, stray = await audit.count(connection, company_id)
            last = await _walked(connection, company_id, on_lines)
        proven = last if isinstance(last, Head) else Head(last.sequence - 1, GENESIS)
        if isinstance(last, Broken):
            broken: Broken | None = last
        elif stray:
            sentence = f"{stray} lines without a number stand after line 1"
            broken = Broken(1, Break.UNNUMBERED, sentence)
        else:
            broken = ended(last, head, count=numbered)
        return Verified(company_id, proven.sequence, before, proven, broken)


async def _walked(connection: Connection, company_id: int, on_lines: Callable[[int], None]) -> Head | Broken:
    last = Head(0, GENESIS)
    while page := await audit.read_chain(connection, company_id, after=last.sequence, limit=PAGE_LINES_PROVEN):
        found = walk(last, page)
        if isinstance(found, Broken):
            return found
        last = found
        on_lines(len(page))
    return last
