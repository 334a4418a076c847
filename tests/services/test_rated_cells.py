"""Sums that grow: nothing priced stays apart from a price of zero, in whatever order parts come together."""

from datetime import date
from decimal import Decimal

from secretaria.core.charge_part import ChargePart
from secretaria.core.event import Direction
from secretaria.core.price import Channel, Dimensions, Metric
from secretaria.core.rating import Charge, UsageLine
from secretaria.services.rated_cells import NOTHING, RatedCell, Sum, figures_of, joined, sum_of, sums_by
from secretaria.store.period_reads import Cell

DAY = date(2026, 11, 20)


def cell(amount: str | None, *, messages: int = 1, metric: Metric = Metric.MESSAGES) -> RatedCell:
    of = Dimensions(Channel.WHATSAPP, Direction.OUTBOUND, "UTILITY", None, None)
    cost = None if amount is None else Decimal(amount)
    charge = Charge(DAY, of, metric, messages, None, None, cost)
    return RatedCell(Cell(UsageLine(DAY, of, messages, 0, 0), 0, 0), [ChargePart(charge, messages, cost)])


def test_a_cost_is_unknown_only_where_nothing_of_what_was_used_has_a_price() -> None:
    assert figures_of([]) == NOTHING == joined([]) == joined([Sum(), Sum()])
    assert figures_of([cell("0")]).cost == 0
    assert figures_of([cell(None)]).cost is None
    assert figures_of([cell(None), cell("0")]).cost == 0
    assert figures_of([cell(None, metric=Metric.TOKENS)]).not_priced_tokens == 1


def test_joined_sums_are_the_sum_of_all_cells_in_every_order() -> None:
    cells = [cell(None, messages=2), cell("0"), cell("0.05"), cell(None, metric=Metric.TOKENS), cell("1.5")]
    whole = figures_of(cells)
    assert (whole.messages_outbound, whole.not_priced_messages, whole.not_priced_tokens) == (6, 2, 1)
    assert str(whole.cost) == "1.55"
    for cut in range(len(cells) + 1):
        first, rest = sum_of(cells[:cut]), sum_of(cells[cut:])
        assert joined([first, rest]) == joined([rest, first]) == whole
    assert joined([sum_of([cell(None)]), Sum()]).cost is None
    assert joined([sum_of([cell(None)]), sum_of([cell("0")])]).cost == 0
    assert sums_by(cells, lambda _: "all")["all"].figures == whole
