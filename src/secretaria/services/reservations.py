"""Holds a quantity for a campaign before it is sent; decided under the head's lock, so that nothing is sold twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid4

from secretaria.core import money
from secretaria.core.access import Caller, Scope
from secretaria.core.entitlement import NOTHING, Quantities, RefusalReason, lacking
from secretaria.core.errors import DuplicateKey, InvalidInput, NotEntitled, NotFound, TooLarge
from secretaria.core.event import QUANTITY_MAX
from secretaria.core.plan import LimitMetric
from secretaria.services.entitlement_facts import Facts, read_facts
from secretaria.services.entitlements import EntitlementService
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.store import companies
from secretaria.store import reservations as store
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.reservations import Reservation

LASTS_MIN: Final = timedelta(minutes=1)
LASTS_MAX: Final = timedelta(days=7)
LASTS_DEFAULT: Final = timedelta(hours=1)
RESERVATIONS_OPEN_MAX: Final = 10_000
KEPT_AFTER_EXPIRY: Final = timedelta(days=100)
REMOVED_AT_ONCE_MAX: Final = 1_000
REMOVALS_MAX: Final = 100

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation, and what nobody uses or holds beside it; None: unlimited."""

    reservation: Reservation
    remaining: Mapping[str, Decimal | None]
    currency: str


class ReservationService:
    """Makes, shows and releases reservations; services/settlement.py uses them up."""

    def __init__(self, database: Database, entitlements: EntitlementService) -> None:
        self._database = database
        self._entitlements = entitlements

    async def reserve(
        self,
        caller: Caller,
        company_id: int,
        wanted: Quantities,
        now: datetime,
        *,
        lasts: timedelta = LASTS_DEFAULT,
        reservation_id: UUID | None = None,
    ) -> Reserved:
        """Hold what is wanted, or raise NotEntitled; with an id of the caller's, again returns the same reservation.

        Raises InvalidInput, NotFound, NotAllowed, DuplicateKey (id_conflict), TooLarge (too_many_reservations).
        """
        caller.require_scope(Scope.USAGE_WRITE)
        caller.require_company(company_id)
        _check(wanted, lasts)
        async with company_transaction(self._database, caller, company_id) as connection:
            await _lock(connection, company_id)
            known = await store.read(connection, company_id, reservation_id) if reservation_id else None
            facts = (await read_facts(connection, [company_id], now))[company_id]
            if known is not None:
                if (known.held, known.expires_at - known.created_at) != (wanted, lasts):
                    raise DuplicateKey("this id is a reservation of something else", code="id_conflict")
                return _reserved(known, facts, NOTHING)
            _refuse(facts, wanted)
            made = Reservation(
                company_id, reservation_id or uuid4(), facts.period.start, wanted, wanted, now, now + lasts
            )
            await store.insert(connection, made)
            await companies.raise_versions(connection, [company_id])
        self._entitlements.forget(company_id)
        return _reserved(made, facts, wanted)

    async def read(self, caller: Caller, company_id: int, reservation_id: UUID) -> Reservation:
        """Return a reservation, whatever became of it. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.USAGE_WRITE)
        caller.require_company(company_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await _read(connection, company_id, reservation_id)

    async def release(self, caller: Caller, company_id: int, reservation_id: UUID, now: datetime) -> None:
        """Hold no more, from now on; again is no error. Raises NotFound, NotAllowed."""
        caller.require_scope(Scope.USAGE_WRITE)
        caller.require_company(company_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            await _lock(connection, company_id)
            if (await _read(connection, company_id, reservation_id)).released_at is not None:
                return
            await store.release(connection, company_id, reservation_id, now)
            await companies.raise_versions(connection, [company_id])
        self._entitlements.forget(company_id)


async def remove_old(database: Database, now: datetime) -> int:
    """Remove reservations that expired long ago; return how many."""
    removed = 0
    for _ in range(REMOVALS_MAX):
        async with transaction(database.operator) as connection:
            count = await store.delete_old(connection, now - KEPT_AFTER_EXPIRY, limit=REMOVED_AT_ONCE_MAX)
        removed += count
        if count < REMOVED_AT_ONCE_MAX:
            break
    return removed


async def _lock(connection: Connection, company_id: int) -> None:
    if not await companies.lock_heads(connection, [company_id]):
        raise company_not_found()


async def _read(connection: Connection, company_id: int, reservation_id: UUID) -> Reservation:
    found = await store.read(connection, company_id, reservation_id)
    if found is None:
        raise NotFound("no such reservation", code="reservation_not_found")
    return found


def _check(wanted: Quantities, lasts: timedelta) -> None:
    if not LASTS_MIN <= lasts <= LASTS_MAX:
        raise InvalidInput(
            f"a reservation lasts {LASTS_MIN // timedelta(seconds=1)} to {LASTS_MAX // timedelta(seconds=1)} seconds",
            code="invalid_value",
            pointer="/expires_in_s",
        )
    for name, quantity in (("messages", wanted.messages), ("tokens", wanted.tokens)):
        if not 0 <= quantity <= QUANTITY_MAX:
            raise InvalidInput(f"a quantity is 0 to {QUANTITY_MAX}", code="invalid_value", pointer=f"/{name}")
    if wanted == NOTHING:
        raise InvalidInput("say what to hold: messages, tokens or cost above 0", code="nothing_wanted")


def _refuse(facts: Facts, wanted: Quantities) -> None:
    decision = facts.decision()
    if decision.reason is RefusalReason.SUSPENDED:
        raise NotEntitled("the company is suspended", code="suspended", remaining=decision.remaining)
    passed = lacking(decision, wanted)
    if passed:
        raise NotEntitled(
            f"less is left than was asked for: {', '.join(passed)}", code="limit_reached", remaining=decision.remaining
        )
    if facts.held.reservations >= RESERVATIONS_OPEN_MAX:
        raise TooLarge(f"at most {RESERVATIONS_OPEN_MAX} reservations are open at once", code="too_many_reservations")


def _reserved(reservation: Reservation, facts: Facts, wanted: Quantities) -> Reserved:
    remaining = {
        metric: None if left is None else max(money.total([left, wanted.of(LimitMetric(metric)).copy_negate()]), _ZERO)
        for metric, left in facts.decision().remaining.items()
    }
    return Reserved(reservation, remaining, facts.currency)
