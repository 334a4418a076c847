"""The one formatter of numbers, money, times and dates for people; the browser never formats.

Rounding happens here and nowhere else, from exact values, half up. Babel's own currency patterns are not used: they
round half to even and cut small unit prices to cents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date

Number = int | Decimal | Fraction

NBSP: Final = "\u00a0"
UNKNOWN: Final = "—"
BOUND: Final = "≥"
HOME_TIMEZONE: Final = "America/Sao_Paulo"
COUNT_FULL_MAX: Final = 99_999
MONEY_COMPACT_FROM: Final = 10_000_000
PERCENT_MAX: Final = 999
MESSAGE_PRICE_DECIMALS_MIN: Final = 4
MILLION_PRICE_DECIMALS_MIN: Final = 2
RATE_DECIMALS: Final = 4
TENTHS_BELOW_MS: Final = 9_950  # shown as 9,9 s; from here on whole seconds

# The default context would cut what has more than 28 digits.
_WIDE: Final = Context(prec=200, rounding=ROUND_HALF_UP)
_CENT: Final = Decimal("0.01")
_SYMBOLS: Final[Mapping[str, str]] = {"BRL": "R$", "USD": "US$"}
_SCALES: Final[Mapping[str, tuple[str, ...]]] = {
    "pt-BR": ("", f"{NBSP}mil", f"{NBSP}mi", f"{NBSP}bi", f"{NBSP}tri"),
    "en": ("", "K", "M", "B", "T"),
}
_BABEL_LOCALES: Final[Mapping[str, str]] = {"pt-BR": "pt_BR", "en": "en"}


def rounded(value: Number, decimals: int) -> Decimal:
    """Return the value with that many decimals, half away from zero: 2.665 -> 2.67, -2.665 -> -2.67."""
    if isinstance(value, Fraction):
        scaled = value * 10**decimals
        whole = (abs(scaled) + Fraction(1, 2)) // 1
        return Decimal(whole if scaled >= 0 else -whole).scaleb(-decimals, _WIDE)
    return Decimal(value).quantize(Decimal(1).scaleb(-decimals), context=_WIDE)


@dataclass(frozen=True, slots=True)
class Format:
    """How one reader sees figures: a language ("pt-BR" or "en") and the zone of the company on screen."""

    locale: str
    timezone: str = HOME_TIMEZONE

    def number(self, value: Number, decimals: int = 0) -> str:
        """Return 17.286 or 1.570,02 in full."""
        text = f"{rounded(value, decimals):,f}"
        if self.locale == "pt-BR":
            text = text.translate({ord(","): ".", ord("."): ","})
        return text[1:] if text.startswith("-") and not any(sign in text for sign in "123456789") else text

    def count(self, value: int) -> str:
        """Return a count for a card: in full up to 99.999, compact above."""
        return self.number(value) if abs(value) <= COUNT_FULL_MAX else self.compact(value)

    def compact(self, value: Number) -> str:
        """Return three significant digits: 128 mil, 1,28 mi, 14,6 mi; 999.999 is 1 mi."""
        scale, reduced = 0, Fraction(value)
        while abs(rounded(reduced, self._decimals(reduced))) >= 1_000 and scale < len(_SCALES["en"]) - 1:
            scale, reduced = scale + 1, reduced / 1_000
        decimals = self._decimals(reduced) if scale else 0
        shortest = rounded(reduced, decimals).normalize(_WIDE)
        decimals = max(-int(shortest.as_tuple().exponent), 0)
        return self.number(shortest, decimals) + _SCALES[self.locale][scale]

    @staticmethod
    def _decimals(value: Fraction) -> int:
        """Return how many decimals leave three significant digits: 1.28, 14.6, 128."""
        size = abs(value)
        if rounded(size, 2) < 10:
            return 2
        return 1 if rounded(size, 1) < 100 else 0

    def money(self, amount: Decimal, currency: str) -> str:
        """Return R$ 1.570,02, R$ 12,3 mi from ten millions, and < R$ 0,01 for what is not nothing."""
        if 0 < amount < _CENT:
            return f"<{NBSP}{self._signed(_CENT, currency, self.number(_CENT, 2))}"
        if -_CENT < amount < 0:
            return f">{NBSP}{self._signed(-_CENT, currency, self.number(_CENT, 2))}"
        if abs(amount) >= MONEY_COMPACT_FROM:
            return self._signed(amount, currency, self.compact(abs(amount)))
        return self._signed(amount, currency, self.number(abs(amount), 2))

    def money_full(self, amount: Decimal, currency: str) -> str:
        """Return the money in full, however large: tables and titles."""
        if 0 < abs(amount) < _CENT:
            return self.money(amount, currency)
        return self._signed(amount, currency, self.number(abs(amount), 2))

    def cost(self, amount: Decimal | None, currency: str, *, lower_bound: bool = False, full: bool = False) -> str:
        """Return a cost as people see it: ≥ when a part has no price, — when nothing priced is in it."""
        if amount is None or (lower_bound and amount == 0):
            return UNKNOWN
        if lower_bound and 0 < amount < _CENT:
            return f">{NBSP}{self._signed(Decimal(0), currency, self.number(0, 2))}"
        text = self.money_full(amount, currency) if full else self.money(amount, currency)
        return f"{BOUND}{NBSP}{text}" if lower_bound else text

    def exact(self, amount: Decimal, currency: str) -> str:
        """Return an amount with every digit it has, two decimals at least: R$ 1.003,704."""
        decimals = max(-int(amount.normalize(_WIDE).as_tuple().exponent), 2)
        return self._signed(amount, currency, self.number(abs(amount), decimals))

    def money_axis(self, amount: Decimal, currency: str) -> str:
        """Return the label of a tick: whole units without decimals, small ones with as many as they need."""
        if abs(amount) >= 1_000:
            return self._signed(amount, currency, self.compact(abs(amount)))
        decimals = max(-int(amount.normalize(_WIDE).as_tuple().exponent), 0)
        return self._signed(amount, currency, self.number(abs(amount), max(decimals, 2) if decimals else 0))

    def _signed(self, amount: Decimal, currency: str, digits: str) -> str:
        gap = NBSP if self.locale == "pt-BR" else ""
        return f"{'-' if amount < 0 else ''}{_SYMBOLS.get(currency, currency)}{gap}{digits}"

    def message_price(self, amount: Decimal, currency: str) -> str:
        """Return R$ 0,0350: four decimals at least, never fewer than the source has."""
        return self._unit_price(amount, currency, MESSAGE_PRICE_DECIMALS_MIN)

    def million_price(self, amount: Decimal, currency: str) -> str:
        """Return US$ 2,50 por 1 mi: two decimals at least, never fewer than the source has."""
        per = f"por 1{NBSP}mi" if self.locale == "pt-BR" else "per 1M"
        return f"{self._unit_price(amount, currency, MILLION_PRICE_DECIMALS_MIN)} {per}"

    def _unit_price(self, amount: Decimal, currency: str, decimals_min: int) -> str:
        decimals = max(-int(amount.normalize(_WIDE).as_tuple().exponent), decimals_min)
        return self._signed(amount, currency, self.number(abs(amount), decimals))

    def rate(self, rate: Decimal) -> str:
        """Return an exchange rate with its four decimals."""
        return self.number(rate, RATE_DECIMALS)

    def percent(self, value: Number) -> str:
        """Return 86,4%, with < 0,1% and > 999% at the ends."""
        if value > 0 and Fraction(value) < Fraction(1, 10):
            return f"<{NBSP}{self.number(Decimal('0.1'), 1)}%"
        if value > PERCENT_MAX:
            return f">{NBSP}{PERCENT_MAX}%"
        return f"{self.number(value, 1)}%"

    def percentage_points(self, value: Number) -> str:
        """Return a difference of two percentages: 1,2 p.p."""
        return f"{self.number(value, 1)}{NBSP}p.p."

    def duration(self, milliseconds: Number | None) -> str:
        """Return 0,8 s, 42 s, 1 min 42 s or 1 h 05 min; nothing measured is —."""
        if milliseconds is None:
            return UNKNOWN
        if 0 < milliseconds < 50:
            return f"<{NBSP}{self.number(Decimal('0.1'), 1)}{NBSP}s"
        if milliseconds < TENTHS_BELOW_MS:
            return f"{self.number(Fraction(milliseconds) / 1_000, 1 if milliseconds else 0)}{NBSP}s"
        seconds = int(rounded(Fraction(milliseconds) / 1_000, 0))
        if seconds < 60:
            return f"{seconds}{NBSP}s"
        if seconds < 3_600:
            return f"{seconds // 60}{NBSP}min{NBSP}{seconds % 60:02}{NBSP}s"
        minutes = (seconds + 30) // 60
        return f"{self.number(minutes // 60)}{NBSP}h{NBSP}{minutes % 60:02}{NBSP}min"

    def local(self, instant: datetime) -> datetime:
        """Return the instant on the company's clock."""
        return instant.astimezone(ZoneInfo(self.timezone))

    def clock(self, instant: datetime) -> str:
        """Return 14:32, always of 24 hours."""
        return f"{self.local(instant):%H:%M}"

    def moment(self, instant: datetime) -> str:
        """Return 20/11/2026 14:32, or 20 Nov 2026 14:32."""
        return f"{self.day_full(self.local(instant).date())} {self.clock(instant)}"

    def day(self, day: date) -> str:
        """Return 20/11, or 20 Nov."""
        return self._date(day, {"pt-BR": "dd/MM", "en": "d MMM"})

    def day_full(self, day: date) -> str:
        """Return 20/11/2026, or 20 Nov 2026."""
        return self._date(day, {"pt-BR": "dd/MM/yyyy", "en": "d MMM yyyy"})

    def day_named(self, day: date) -> str:
        """Return sex., 20/11, or Fri, 20 Nov."""
        return self._date(day, {"pt-BR": "EEE, dd/MM", "en": "EEE, d MMM"})

    def month(self, day: date) -> str:
        """Return novembro de 2026, or November 2026."""
        return self._date(day, {"pt-BR": "MMMM 'de' yyyy", "en": "MMMM yyyy"})

    def month_short(self, day: date) -> str:
        """Return nov. 2026, or Nov 2026."""
        return self._date(day, {"pt-BR": "MMM yyyy", "en": "MMM yyyy"})

    def day_range(self, start: date, end: date) -> str:
        """Return the days of [start, end) as 16–22/11 or 28/11–04/12 (16–22 Nov, 28 Nov–4 Dec)."""
        last = end - timedelta(days=1)
        if last <= start:
            return self.day(start)
        if (start.year, start.month) != (last.year, last.month):
            return f"{self.day(start)}–{self.day(last)}"
        first = f"{start.day:02}" if self.locale == "pt-BR" else str(start.day)
        return f"{first}–{self.day(last)}"

    def _date(self, day: date, patterns: Mapping[str, str]) -> str:
        return format_date(day, patterns[self.locale], locale=_BABEL_LOCALES[self.locale])

    def offset(self, instant: datetime) -> str:
        """Return the zone's distance from UTC at that instant: UTC−3, UTC+5:30."""
        offset = self.local(instant).utcoffset() or timedelta()
        minutes = round(offset.total_seconds() / 60)
        sign = "−" if minutes < 0 else "+"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{sign}{hours}" + (f":{rest:02}" if rest else "")
