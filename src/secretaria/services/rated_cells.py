"""Cells of usage with their parts of the company's charges: what every figure of a period is summed from."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, TypeVar

from secretaria.core import money
from secretaria.core.charge_part import ChargePart, charge_parts
from secretaria.core.event import Direction
from secretaria.core.period import Period
from secretaria.core.price import Metric, PriceBook
from secretaria.core.rating import Rating, UsageLine, rate
from secretaria.services.figures import rated_from
from secretaria.store import period_reads, usage_reads
from secretaria.store.database import Connection
from secretaria.store.period_reads import Cell, Column
from secretaria.store.usage_reads import DayUsage

_Key = TypeVar("_Key", bound=Hashable)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class RatedCell:
    """A cell and what it cost; a use of quantity zero has no parts."""

    cell: Cell
    parts: Sequence[ChargePart]


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of anything: a day, an hour, a share, the total. The figures of all parts add up to those of the whole.

    cost is exact, of what has a price; None when something was used and nothing of it has one.
    """

    messages_inbound: int
    messages_outbound: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    cost: Decimal | None
    not_priced_messages: int
    not_priced_tokens: int

    @property
    def messages(self) -> int:
        """Both directions together."""
        return self.messages_inbound + self.messages_outbound

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.tokens_input + self.tokens_output

    @property
    def avg_response_ms(self) -> int | float | None:
        """The sum of all response times over their number; None when nothing was answered."""
        if self.response_count <= 0:
            return None
        whole, rest = divmod(self.response_ms, self.response_count)
        return self.response_ms / self.response_count if rest else whole

    @property
    def lower_bound(self) -> bool:
        """True when something is not priced: the true cost is at least `cost`."""
        return self.cost is None or bool(self.not_priced_messages or self.not_priced_tokens)

    @property
    def is_empty(self) -> bool:
        """True when nothing at all was used."""
        return not (self.messages or self.tokens or self.response_count)


NOTHING = Figures(0, 0, 0, 0, 0, 0, Decimal(0), 0, 0)


@dataclass(frozen=True, slots=True)
class Question:
    """Which cells to read: the local days, told apart how finely, narrowed to what.

    stretches: days that are one cell each up to the next, where a cost by day is not asked for (None: by day).
    rated: days around the period that other questions of the same snapshot ask about: a book of shared cards then
    rates them once for all.
    coarse: a charge may stand for all days of one price, for who asks only for amounts; its day is then the first.
    """

    period: Period
    stretches: Sequence[date] | None = None
    details: Collection[Column] = ()
    narrowed: Mapping[Column, object] | None = None
    hourly: bool = False
    coarse: bool = False
    rated: Period | None = None


RatedDays = dict[Period, tuple[list[DayUsage], Rating]]
"""Whole days as read and rated in this snapshot, for several questions about them."""


async def read_rated(
    connection: Connection, company_id: int, book: PriceBook, question: Question, known: RatedDays | None = None
) -> list[RatedCell]:
    """Return the cells of a period with what they cost. The book is good for the period.

    Where the price of a unit depends on its day and use alone, the cells rate themselves. A book of shared cards
    looks at whole months of all accounts, whatever the question is narrowed to; the cells then get their parts.
    """
    if book.needs_whole_months:
        return await _read_by_cards(connection, company_id, book, question, {} if known is None else known)
    of_one_price = [question.period.start, *book.change_days(question.period.start, question.period.end)]
    stretches = None if question.stretches is None else sorted({*question.stretches, *of_one_price})
    cells = await period_reads.read_cells(
        connection, company_id, start=question.period.start, end=question.period.end, stretches=stretches,
        details=question.details, narrowed=question.narrowed, hourly=question.hourly,
    )  # fmt: skip
    lines = [cell.line for cell in cells]
    if question.coarse and len(of_one_price) < len({line.day for line in lines}):
        lines = [_on(of_one_price[bisect_right(of_one_price, line.day) - 1], line) for line in lines]
    return _paired(cells, charge_parts(lines, rate(lines, book).charges, by_account=False))


def _on(day: date, line: UsageLine) -> UsageLine:
    return UsageLine(day, line.dimensions, line.messages, line.tokens_input, line.tokens_output)


async def _read_by_cards(
    connection: Connection, company_id: int, book: PriceBook, question: Question, known: RatedDays
) -> list[RatedCell]:
    period, around = question.period, question.rated or question.period
    whole = Period(rated_from(book, around.start), around.end)
    if whole not in known:
        days = await usage_reads.read_days(
            connection, company_id, start=whole.start, end=whole.end, by_account=True
        )
        known[whole] = days, rate([day.line for day in days], book)
    usage, rating = known[whole]
    narrowed = {Column(name): value for name, value in (question.narrowed or {}).items()}
    details = {Column.ACCOUNT, *question.details, *(name for name in narrowed if name in period_reads.DETAILS)}
    if details == {Column.ACCOUNT} and not question.hourly:
        cells = [Cell(day.line, day.response_ms, day.response_count) for day in usage if day.line.day in period]
    else:
        cells = await period_reads.read_cells(
            connection, company_id, start=period.start, end=period.end, details=details, hourly=question.hourly
        )
    paired = _paired(cells, charge_parts([cell.line for cell in cells], rating.charges, by_account=True))
    if not narrowed:
        return paired
    return [rated for rated in paired if all(value_of(rated.cell, of) == value for of, value in narrowed.items())]


def _paired(cells: Sequence[Cell], parts: Sequence[Sequence[ChargePart]]) -> list[RatedCell]:
    return [RatedCell(cell, of_cell) for cell, of_cell in zip(cells, parts, strict=True)]


def value_of(cell: Cell, column: Column) -> object:
    """Return a cell's value of a column, None for uses without one."""
    value: object = getattr(cell.line.dimensions, column)
    return value


class Sum:
    """Figures that grow, cell by cell and sum by sum: a total is made of what its parts have added up already.

    What was priced is told apart from what was not: a cost of nothing known is None, and no cost of zero.
    """

    __slots__ = (
        "_amount", "_inbound", "_is_missing", "_is_priced", "_missing_messages", "_missing_tokens", "_outbound",
        "_response_count", "_response_ms", "_tokens_input", "_tokens_output",
    )  # fmt: skip

    def __init__(self) -> None:
        self._inbound = self._outbound = self._tokens_input = self._tokens_output = 0
        self._response_ms = self._response_count = 0
        self._amount, self._is_priced, self._is_missing = _ZERO, False, False
        self._missing_messages = self._missing_tokens = 0

    def add(self, of: RatedCell) -> None:
        """Add a cell and its parts."""
        cell = of.cell
        line = cell.line
        if line.dimensions.direction is Direction.INBOUND:
            self._inbound += line.messages
        else:
            self._outbound += line.messages
        self._tokens_input += line.tokens_input
        self._tokens_output += line.tokens_output
        self._response_ms += cell.response_ms
        self._response_count += cell.response_count
        for part in of.parts:
            if part.amount is not None:
                self._is_priced = True
                self._amount = money.plus(self._amount, part.amount)
            else:
                self._is_missing = True
                if part.charge.metric is Metric.MESSAGES:
                    self._missing_messages += part.quantity
                else:
                    self._missing_tokens += part.quantity

    def join(self, other: "Sum") -> None:
        """Add what another sum has."""
        self._inbound += other._inbound
        self._outbound += other._outbound
        self._tokens_input += other._tokens_input
        self._tokens_output += other._tokens_output
        self._response_ms += other._response_ms
        self._response_count += other._response_count
        self._amount = money.plus(self._amount, other._amount)
        self._is_priced = self._is_priced or other._is_priced
        self._is_missing = self._is_missing or other._is_missing
        self._missing_messages += other._missing_messages
        self._missing_tokens += other._missing_tokens

    @property
    def figures(self) -> Figures:
        """What it has come to."""
        cost = None if self._is_missing and not self._is_priced else self._amount
        return Figures(
            self._inbound, self._outbound, self._tokens_input, self._tokens_output, self._response_ms,
            self._response_count, cost, self._missing_messages, self._missing_tokens,
        )  # fmt: skip


def sums_by(rated: Iterable[RatedCell], key_of: Callable[[Cell], _Key]) -> dict[_Key, Sum]:
    """Return the sums by key, in the order the keys are first met."""
    sums: dict[_Key, Sum] = {}
    for of in rated:
        key = key_of(of.cell)
        found = sums.get(key)
        if found is None:
            found = sums[key] = Sum()
        found.add(of)
    return sums


def joined(sums: Iterable[Sum]) -> Figures:
    """Return the figures of several sums together."""
    whole = Sum()
    for one in sums:
        whole.join(one)
    return whole.figures


def sum_of(rated: Iterable[RatedCell]) -> Sum:
    """Return the sum of cells and their parts."""
    whole = Sum()
    for of in rated:
        whole.add(of)
    return whole


def figures_of(rated: Iterable[RatedCell]) -> Figures:
    """Return the figures of cells and their parts."""
    return sum_of(rated).figures


def figures_by(rated: Iterable[RatedCell], key_of: Callable[[Cell], _Key]) -> dict[_Key, Figures]:
    """Return the figures by key, in the order the keys are first met."""
    return {key: of.figures for key, of in sums_by(rated, key_of).items()}
