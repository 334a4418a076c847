"""Exact money: no operation here loses a digit; rounding happens once, for display, half up (law 4)."""

import re
from collections.abc import Iterable, Sequence
from decimal import (
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Final

from secretaria.core.errors import InvalidInput

# What people may type as a price or a rate: 999999999999.999999999999 at most.
AMOUNT_INTEGER_DIGITS_MAX: Final = 12
AMOUNT_DECIMALS_MAX: Final = 12

# Amount (24 digits) x rate (24) x quantity (19) per 1000 (3) needs 70; the rest is room for sums.
MONEY_DIGITS: Final = 100

# A result that does not fit raises Inexact instead of being rounded unseen.
_EXACT: Final = Context(prec=MONEY_DIGITS, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
_DISPLAY: Final = Context(prec=MONEY_DIGITS, rounding=ROUND_HALF_UP, traps=[InvalidOperation, Overflow])

_AMOUNT: Final = re.compile(r"(?P<sign>-?)(?P<integer>[0-9]+)(?:\.(?P<decimals>[0-9]+))?")
_ZERO: Final = Decimal(0)
_SCALES: Final = {1: 0, 10: -1, 100: -2, 1000: -3}


def product(*factors: Decimal | int) -> Decimal:
    """Multiply without losing a digit."""
    result = Decimal(1)
    for factor in factors:
        result = _EXACT.multiply(result, factor)
    return result


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add without losing a digit; the order of the amounts changes nothing, not even the digits written."""
    result = _ZERO
    for amount in amounts:
        result = _EXACT.add(result, amount)
    return result


plus: Final = _EXACT.add
"""Add two amounts without losing a digit: total() for sums that grow one by one."""


def divided(amount: Decimal, per: int) -> Decimal:
    """Divide by 1, 10, 100 or 1000 by moving the point: exact by nature."""
    return _EXACT.scaleb(amount, _SCALES[per])


def quotient(amount: Decimal, quantity: int) -> Decimal:
    """Return the unit price an amount was made of; raises Inexact where it is not one unit price times a quantity."""
    return _EXACT.divide(amount, quantity)


def cut(amount: Decimal, places: int = 2) -> Decimal:
    """Cut a price down to a number of decimals: 0.475 -> 0.47, 0.105 -> 0.10."""
    return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_FLOOR, context=_DISPLAY)


def round_display(amount: Decimal, places: int = 2) -> Decimal:
    """Round for people, half up (away from zero): 0.125 -> 0.13, 0.124 -> 0.12, -0.125 -> -0.13."""
    rounded = amount.quantize(Decimal(1).scaleb(-places), context=_DISPLAY)
    return abs(rounded) if rounded.is_zero() else rounded


def largest_remainder(amounts: Sequence[Decimal], places: int = 2) -> list[Decimal]:
    """Round the parts of a total so that what is shown adds up to round_display(total).

    Every part is cut down; the missing units go to the largest remainders, the earlier part first on a tie:
    three times 0.005 is 0.015, shown 0.02, so the parts are 0.01, 0.01, 0.00.
    """
    unit = Decimal(1).scaleb(-places)
    parts = [cut(amount, places) for amount in amounts]
    missing = _EXACT.subtract(round_display(total(amounts), places), total(parts))
    remainders = [_EXACT.subtract(amount, part) for amount, part in zip(amounts, parts, strict=True)]
    by_remainder = sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)  # stable: ties in order
    for index in by_remainder[: int(_EXACT.scaleb(missing, places))]:
        parts[index] = _EXACT.add(parts[index], unit)
    return [abs(part) if part.is_zero() else part for part in parts]


def exact_text(amount: Decimal) -> str:
    """Write an amount for JSON: a dot, two decimals or as many as it has, no exponent: 34.20, 0.0035."""
    if not amount.is_finite():
        raise ValueError("an amount is a finite number")
    integer, _, decimals = format(amount, "f").partition(".")
    text = f"{integer}.{decimals.rstrip('0').ljust(2, '0')}"
    return text.removeprefix("-") if amount.is_zero() else text


def parse_amount(text: str) -> Decimal:
    """Read a price or a rate: ASCII digits and one dot. 1,5, 1_000, 1e3, NaN and wide digits are refused.

    Raises InvalidInput (invalid_amount, negative_amount, amount_too_large, too_precise).
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise InvalidInput("write an amount as digits with a dot, such as 0.05", code="invalid_amount")
    if len(match["integer"]) > AMOUNT_INTEGER_DIGITS_MAX:
        raise InvalidInput(
            f"an amount has at most {AMOUNT_INTEGER_DIGITS_MAX} digits before the dot",
            code="amount_too_large",
        )
    if len(match["decimals"] or "") > AMOUNT_DECIMALS_MAX:
        raise InvalidInput(f"an amount has at most {AMOUNT_DECIMALS_MAX} decimals", code="too_precise")
    amount = Decimal(text)
    if amount.is_zero():
        return abs(amount)  # "-0" is zero
    if match["sign"]:
        raise InvalidInput("an amount must not be negative", code="negative_amount")
    return amount
