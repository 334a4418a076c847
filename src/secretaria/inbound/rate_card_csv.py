"""Meta's rate card CSV, as Meta publishes it, and the files of our own shipped cards -> price rows; pure.

Meta's: notes before the header, a line break inside a header cell, CRLF, a mark at the start, `$US`, `n/a`, markets by
name. Its second file, of volume tiers, is refused by name: its columns have not been seen.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from secretaria.core.errors import InvalidInput, TooLarge
from secretaria.core.money import parse_amount
from secretaria.core.rate_card import CardPriceRow

FILE_BYTES_MAX: Final = 2_000_000
MARKETS_MAX: Final = 500
MARKET_CHARS_MAX: Final = 100
SKIPPED_MAX: Final = 200
SHOWN_CHARS_MAX: Final = 60

_CATEGORIES: Final = {
    "marketing": "MARKETING", "utility": "UTILITY", "authentication": "AUTHENTICATION", "service": "SERVICE",
}  # fmt: skip
_CURRENCIES: Final = {"$US": "USD", "US$": "USD", "R$": "BRL"}
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_NOT_OFFERED: Final = frozenset(("n/a", "na", "-", "–"))
_MARKET_NAMES: Final = {"Türkiye": "Turkey", "UAE": "United Arab Emirates", "UK": "United Kingdom"}
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_EFFECTIVE: Final = re.compile(rf"effective\s+({'|'.join(_MONTHS)})\s+(\d{{1,2}}),?\s+(\d{{4}})", re.IGNORECASE)
_NOT_CSV: Final = (
    (b"PK\x03\x04", "an Excel workbook (xlsx) under the name of a CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (xls) under the name of a CSV"),
    (b"%PDF", "a PDF"),
    (b"<", "a web page"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_OWN_COLUMNS: Final = ["market", "category", "above", "amount"]


@dataclass(frozen=True, slots=True)
class PublishedCard:
    """What a file says: its currency, the date it names (None: none), its prices, and what was left out and why."""

    currency: str
    effective_from: date | None
    prices: tuple[CardPriceRow, ...]
    skipped: tuple[str, ...]


def parse_published(content: bytes) -> PublishedCard:
    """Read Meta's list rates. An amount of None is n/a: not offered there.

    Raises InvalidInput (not_a_csv, volume_tiers_not_supported, no_rate_table, invalid_price, mixed_currencies,
    unknown_currency, duplicate_market) and TooLarge.
    """
    text = _text(content)
    delimiter = ";" if text.count(";") > text.count(",") else ","
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInput(f"the file is not a CSV: {error}", code="not_a_csv") from error
    if "volume tier" in text.lower():
        raise InvalidInput(
            "this is Meta's file of volume tiers; only its file of list rates can be imported",
            code="volume_tiers_not_supported",
        )
    names = [[_squeezed(cell) for cell in row] for row in rows]
    at = next((index for index, row in enumerate(names) if row[:1] == ["market"] and "currency" in row), None)
    if at is None:
        raise InvalidInput(
            "no row begins with Market and names Currency: this is not Meta's rate card", code="no_rate_table"
        )
    preamble = " ".join(" ".join(row) for row in rows[:at])
    return _table(names[at], rows[at + 1 :], effective_from=_effective_date(preamble), is_comma=delimiter == ";")


def _text(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise TooLarge(f"a rate card has at most {FILE_BYTES_MAX} bytes")
    for mark, what in _NOT_CSV:
        if content.lstrip().startswith(mark):
            raise InvalidInput(f"the file is {what}: save it as CSV (UTF-8)", code="not_a_csv")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("the file is not UTF-8: save it as 'CSV UTF-8'", code="not_a_csv") from None
    if "\0" in text:
        raise InvalidInput("the file holds binary data", code="not_a_csv")
    return text


def _squeezed(cell: str) -> str:
    """Return a header cell without white space: "Authentication-\\nInternational" is authentication-international."""
    return "".join(cell.split()).lower()


def _effective_date(text: str) -> date | None:
    match = _EFFECTIVE.search(" ".join(text.split()))
    if match is None:
        return None
    try:
        return date(int(match[3]), _MONTHS.index(match[1].lower()) + 1, int(match[2]))
    except ValueError:
        return None


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, effective_from: date | None, is_comma: bool
) -> PublishedCard:
    columns = {index: _CATEGORIES[name] for index, name in enumerate(header) if name in _CATEGORIES}
    skipped = [f"column {name}: no category of ours" for name in header[2:] if name and name not in _CATEGORIES]
    prices: dict[tuple[str, str], Decimal | None] = {}
    markets: set[str] = set()
    currencies: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = [" ".join(cell.split()) for cell in row] + [""] * (len(header) - len(row))
        if not any(cells):
            continue
        market = _MARKET_NAMES.get(cells[0], cells[0])
        if not market or not any(cells[index] for index in columns):
            skipped.append(f"row {number} after the header: no prices in {_shown(' '.join(filter(None, cells)))}")
            continue
        if len(market) > MARKET_CHARS_MAX:
            raise TooLarge(f"a market's name has at most {MARKET_CHARS_MAX} characters")
        if market in markets:
            raise InvalidInput(f"the market {_shown(market)} is there twice", code="duplicate_market")
        markets.add(market)
        currencies.add(_currency(cells[header.index("currency")]))
        for index, category in columns.items():
            if not cells[index]:
                skipped.append(f"{_shown(market)} {category}: empty")
            else:
                prices[market, category] = _amount(cells[index], is_comma=is_comma, where=f"{market} {category}")
    if len(markets) > MARKETS_MAX:
        raise TooLarge(f"a rate card has at most {MARKETS_MAX} markets")
    if not prices:
        raise InvalidInput("the table holds no prices", code="no_rate_table")
    if len(currencies) > 1:
        raise InvalidInput(f"one file, one currency; here are {', '.join(sorted(currencies))}", code="mixed_currencies")
    found = tuple((market, category, 0, amount) for (market, category), amount in prices.items())
    return PublishedCard(currencies.pop(), effective_from, found, tuple(skipped[:SKIPPED_MAX]))


def _currency(text: str) -> str:
    name = _CURRENCIES.get(text.upper(), text.upper())
    if not _CURRENCY.fullmatch(name):
        raise InvalidInput(f"{_shown(text)} is no currency such as USD or $US", code="unknown_currency")
    return name


def _amount(text: str, *, is_comma: bool, where: str) -> Decimal | None:
    if text.lower() in _NOT_OFFERED:
        return None
    number = text.removeprefix("R$").removeprefix("$US").removeprefix("$").strip()
    try:
        return parse_amount(number.replace(",", ".") if is_comma else number)
    except InvalidInput as error:
        message = f"{_shown(where)}: {_shown(text)} is no price: {error.message}"
        raise InvalidInput(message, code="invalid_price") from None


def _shown(text: str) -> str:
    return repr(text[:SHOWN_CHARS_MAX])


def parse_shipped(text: str) -> tuple[CardPriceRow, ...]:
    """Read a file of our own: the columns market, category, above and amount. Raises ValueError: it ships with us."""
    header, *rows = csv.reader(text.splitlines(), strict=True)
    if header != _OWN_COLUMNS:
        raise ValueError(f"a shipped card has the columns {', '.join(_OWN_COLUMNS)}")
    return tuple((market, category, int(above), parse_amount(amount)) for market, category, above, amount in rows)
