"""The first steps of a company: each is done when its fact is there, whoever made it so and wherever."""

from datetime import datetime, timedelta
from typing import Final

from secretaria.core.access import OPERATOR_COMPANY_ID, Caller, Scope
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import first_run as store
from secretaria.store.database import Database
from secretaria.store.first_run import FirstSteps

_AHEAD_OF_UTC: Final = timedelta(hours=14)


class FirstRunReads:
    """Reads the facts; nothing is kept of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: Caller, company_id: int, now: datetime) -> FirstSteps:
        """Return the facts. The operator's own endpoints count for whoever may know of them.

        Raises NotFound, NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        homes = [company_id, OPERATOR_COMPANY_ID] if caller.is_operator else [company_id]
        async with company_transaction(self._database, caller, company_id) as connection:
            found = await store.read(connection, company_id, today=(now + _AHEAD_OF_UTC).date(), homes=homes)
        if found is None:
            raise company_not_found()
        return found
