"""Usage that names a reservation uses it up, in the transaction that counts it.

What cannot be settled (no such reservation, another company's, a released one) is counted all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from secretaria.core import money
from secretaria.core.entitlement import Quantities
from secretaria.core.period import Period, month_of
from secretaria.core.price import PriceBook
from secretaria.core.rating import UsageLine, rate
from secretaria.core.usage import PreparedEvent, dimensions_of
from secretaria.store import companies, prices, usage_reads
from secretaria.store import reservations as store
from secretaria.store.database import Connection
from secretaria.store.events import read_webhook_starts
from secretaria.store.reservations import ReservationKey
from secretaria.store.usage_reads import DayUsage


@dataclass(slots=True)
class _Use:
    """What a group used of one reservation: what these events added to the sums, and the messages that Meta's webhook
    adds in their place.
    """

    counted: list[UsageLine] = field(default_factory=list)
    left_to_webhooks: list[UsageLine] = field(default_factory=list)

    @property
    def lines(self) -> list[UsageLine]:
        return [*self.counted, *self.left_to_webhooks]

    def quantities(self, cost: Decimal) -> Quantities:
        return Quantities(
            sum(line.messages for line in self.lines),
            sum(line.tokens_input + line.tokens_output for line in self.lines),
            cost,
        )


async def settle(connection: Connection, rows: Sequence[PreparedEvent]) -> None:
    """Take what these counted events used from the reservations they name; the heads are locked, the sums are added."""
    named = [row for row in rows if row.event.data.reservation_id is not None]
    if not named:
        return
    uses = await _uses(connection, named)
    known = await store.read_some(connection, uses)
    open_uses = {key: uses[key] for key, of in known.items() if of.released_at is None}
    costly = {key: use for key, use in open_uses.items() if known[key].left.cost}
    costs = await _costs(connection, costly) if costly else {}
    if open_uses:
        used = {key: use.quantities(costs.get(key, Decimal(0))) for key, use in open_uses.items()}
        await store.settle(connection, used)


async def _uses(connection: Connection, named: Sequence[PreparedEvent]) -> dict[ReservationKey, _Use]:
    """Return what each reservation is used by. A message that an account's webhook counts is used up by the event that
    tells of it: it would be held, and counted, twice.
    """
    asked = {
        (row.company_id, row.event.data.account_id)
        for row in named
        if row.event.data.account_id is not None and (row.event.data.messages or 0) > row.messages
    }
    starts = await read_webhook_starts(connection, asked) if asked else {}
    uses: dict[ReservationKey, _Use] = {}
    for row in named:
        data = row.event.data
        if data.reservation_id is None:
            continue
        use = uses.setdefault((row.company_id, data.reservation_id), _Use())
        line = UsageLine(row.day, dimensions_of(row.dimensions), row.messages, row.tokens_input, row.tokens_output)
        use.counted.append(line)
        start = starts.get((row.company_id, data.account_id)) if data.account_id is not None else None
        uncounted = (data.messages or 0) - row.messages
        if uncounted > 0 and start is not None and datetime.fromisoformat(row.occurred_at) >= start:
            use.left_to_webhooks.append(replace(line, messages=uncounted, tokens_input=0, tokens_output=0))
    return uses


async def _costs(connection: Connection, uses: Mapping[ReservationKey, _Use]) -> dict[ReservationKey, Decimal]:
    """Return what each use costs at its days' prices; what has no price costs nothing yet."""
    days = [line.day for use in uses.values() for line in use.lines]
    whole = Period(month_of(min(days)).start, month_of(max(days)).end)
    found = await companies.read_some(connection, sorted({company_id for company_id, _ in uses}))
    currencies = {company.company_id: company.currency for company in found}
    books = await prices.read_books(connection, currencies, start=whole.start, end=whole.end)
    months = {company_id: whole for company_id, book in books.items() if book.needs_whole_months}
    usage = await usage_reads.read_days_each(connection, months, by_account=list(months)) if months else {}
    return {
        (company_id, reservation_id): _cost(use, books[company_id], usage.get(company_id, ()))
        for (company_id, reservation_id), use in uses.items()
    }


def _cost(use: _Use, book: PriceBook, month: Sequence[DayUsage]) -> Decimal:
    """Return what the use adds. Where the price depends on the month, what the month costs more than without it."""
    if not book.needs_whole_months:
        return rate(use.lines, book).total
    lines = [day.line for day in month]
    without = [
        replace(line, messages=-line.messages, tokens_input=-line.tokens_input, tokens_output=-line.tokens_output)
        for line in use.counted
    ]
    after, before = rate([*lines, *use.left_to_webhooks], book).total, rate([*lines, *without], book).total
    return max(money.total([after, before.copy_negate()]), Decimal(0))
