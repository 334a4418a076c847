"""Numbers and days as people type them, in their language's way; what can be read in two ways is refused."""

import re
from datetime import date
from decimal import Decimal
from typing import Final

from secretaria.core.errors import InvalidInput
from secretaria.core.money import AMOUNT_DECIMALS_MAX, AMOUNT_INTEGER_DIGITS_MAX

QUANTITY_DIGITS_MAX: Final = 16
THRESHOLDS_CHARS_MAX: Final = 100

# What is wrong with a form; these words stay inside the panel, which says it in the reader's language.
AMBIGUOUS: Final = "ambiguous_number"
NO_NUMBER: Final = "invalid_number"
NO_DAY: Final = "invalid_date"

_CURRENCY: Final = re.compile(r"(?:R\$|US\$|\$)\s*")
_BRAZILIAN_DAY: Final = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_PERCENT: Final = re.compile(r"([0-9]{1,4})\s*%?")
_BETWEEN: Final = re.compile(r"\s*;\s*|,\s+|(?<=[0-9%])\s+(?=[0-9])")


def typed_quantity(text: str, locale: str) -> int:
    """Read a whole number: 20.000 in Portuguese, 20,000 in English. Raises InvalidInput."""
    group, point = _marks(locale)
    text = _bare(text)
    if _grouped(group).fullmatch(text) or re.fullmatch(r"[0-9]+", text):
        digits = text.replace(group, "")
        if len(digits) <= QUANTITY_DIGITS_MAX:
            return int(digits)
    raise _unclear(text, group, point)


def typed_amount(text: str, locale: str) -> Decimal:
    """Read an amount: 1.500,00 in Portuguese, 1,500.00 in English. Raises as typed_quantity.

    1,500 in Portuguese is refused: people mean one and a half, or one thousand five hundred.
    """
    group, point = _marks(locale)
    text = _CURRENCY.sub("", _bare(text), count=1)
    whole, _, decimals = text.partition(point)
    is_whole = _grouped(group).fullmatch(whole) or re.fullmatch(r"[0-9]+", whole)
    if is_whole and re.fullmatch(r"[0-9]*", decimals) and not text.endswith(point):
        digits = whole.replace(group, "")
        is_ambiguous = group not in whole and _grouped(point).fullmatch(text) is not None
        if not is_ambiguous and len(digits) <= AMOUNT_INTEGER_DIGITS_MAX and len(decimals) <= AMOUNT_DECIMALS_MAX:
            return Decimal(f"{digits}.{decimals or 0}")
    raise _unclear(text, group, point)


def typed_thresholds(text: str) -> tuple[int, ...]:
    """Read percentages: `80; 100`. Between two of them a comma alone could be a decimal one, so it is refused."""
    parts = [_PERCENT.fullmatch(part) for part in _BETWEEN.split(text.strip()[:THRESHOLDS_CHARS_MAX])]
    found = [int(part[1]) for part in parts if part is not None]
    if len(found) < len(parts):
        raise InvalidInput("write percentages as 80; 100", code="invalid_thresholds")
    return tuple(found)


def typed_day(text: str, locale: str) -> date:
    """Read a day as a date field sends it, or dd/mm/yyyy in Portuguese. Raises InvalidInput."""
    text = text.strip()
    written = _BRAZILIAN_DAY.fullmatch(text) if locale == "pt-BR" else None
    try:
        if written is not None:
            return date(int(written[3]), int(written[2]), int(written[1]))
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # 31 February: not a day, as below
    raise InvalidInput("write a day as 2026-11-20", code=NO_DAY)


def _marks(locale: str) -> tuple[str, str]:
    """Return what parts thousands, and what parts decimals."""
    return (".", ",") if locale == "pt-BR" else (",", ".")


def _grouped(mark: str) -> re.Pattern[str]:
    return re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+")


def _bare(text: str) -> str:
    return text.replace("\u00a0", " ").strip()


def _unclear(text: str, group: str, point: str) -> InvalidInput:
    """Tell a number of another language's, or one to be read in two ways, from what is no number."""
    is_number = re.fullmatch(r"[0-9][0-9.,]*", text) is not None
    code = AMBIGUOUS if is_number and (group in text or point in text) else NO_NUMBER
    return InvalidInput("write the number in the reader's way", code=code)
