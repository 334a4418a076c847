"""Which part of a day's charge falls on which use: parts of any kind (an account, an hour) add up to the charge."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from secretaria.core import money
from secretaria.core.band import split
from secretaria.core.price import Channel, Dimensions, Direction, Metric
from secretaria.core.rating import Charge, UsageLine

_Key = tuple[date, Channel, Direction, str | None, str | None, str | None, str | None, int | None, Metric]


@dataclass(frozen=True, slots=True)
class ChargePart:
    """So much of a charge's quantity and, at the charge's own unit price, of its amount (None: not priced)."""

    charge: Charge
    quantity: int
    amount: Decimal | None


def charge_parts(
    lines: Sequence[UsageLine], charges: Iterable[Charge], *, by_account: bool
) -> list[list[ChargePart]]:
    """Return for each line its parts of the charges that were made for its day and use.

    The lines may be finer than what was rated (by account, cost centre, hour), and cover each charge they take part
    in. by_account: the charges come from a book of shared cards, which tells accounts apart. Where a use of one day
    has several unit prices, each band's quantity is shared by largest remainder: 30 free and 10 charged messages of
    which one account sent 20 and another 20 are 15 and 5 each.
    """
    parts: list[list[ChargePart]] = [[] for _ in lines]
    weights = _weights(lines, by_account=by_account)
    of_key: dict[_Key, list[Charge]] = defaultdict(list)
    for charge in charges:
        of = charge.dimensions
        use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type, of.account_id)
        of_key[charge.day, *use, charge.metric].append(charge)
    for key, found in weights.items():
        _share_out(of_key.get(key, []), found, parts)
    return parts


def _weights(lines: Sequence[UsageLine], *, by_account: bool) -> dict[_Key, list[tuple[int, int]]]:
    weights: dict[_Key, list[tuple[int, int]]] = defaultdict(list)
    for index, line in enumerate(lines):
        of = line.dimensions
        use = (of.channel, of.direction, of.category, of.market, of.model, of.pricing_type)
        if line.messages:
            account_id = of.account_id if by_account and _is_card_message(of) else None
            weights[line.day, *use, account_id, Metric.MESSAGES].append((index, line.messages))
        tokens = line.tokens_input + line.tokens_output
        if tokens:
            weights[line.day, *use, None, Metric.TOKENS].append((index, tokens))
    return weights


def _is_card_message(of: Dimensions) -> bool:
    return of.channel == Channel.WHATSAPP and of.direction == Direction.OUTBOUND


def _share_out(charges: Sequence[Charge], found: Sequence[tuple[int, int]], parts: list[list[ChargePart]]) -> None:
    if len(found) == 1:
        index = found[0][0]
        parts[index].extend(ChargePart(charge, charge.quantity, charge.amount) for charge in charges)
        return
    left = [weight for _, weight in found]
    for number, charge in enumerate(charges):
        is_last = number == len(charges) - 1
        shares = list(left) if is_last else split(charge.quantity, left)
        unit = None if charge.amount is None else money.quotient(charge.amount, charge.quantity)
        for place, (index, _) in enumerate(found):
            quantity = shares[place]
            left[place] -= quantity
            if quantity:
                amount = None if unit is None else money.product(unit, quantity)
                parts[index].append(ChargePart(charge, quantity, amount))
