"""The settings' flat card and exchange rate as dated rows of every company: a change never re-prices the past."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

import structlog

from secretaria.core.access import PROCESS
from secretaria.core.period import local_day
from secretaria.core.price import Channel, Metric, PriceRow
from secretaria.services.crossings import settings_changed
from secretaria.settings import Settings
from secretaria.store import audit, companies, prices
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.prices import RateRow

FLAT_CARD: Final = "flat"
RATE_SOURCE: Final = "USD_TO_BRL"
SYNC_COMPANIES_MAX: Final = 100
"""Heads locked by one transaction: ingest of these companies waits for it."""

INVERSE_RATE_DECIMALS: Final = 12
_INVERSE: Final = Context(prec=50, rounding=ROUND_HALF_UP)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PriceRows:
    """Rows to add to a company's prices and exchange rates."""

    prices: tuple[PriceRow, ...]
    rates: tuple[RateRow, ...]

    def __bool__(self) -> bool:
        return bool(self.prices or self.rates)


def inverse_rate(rate: Decimal) -> Decimal:
    """Return 1 / rate, half up at INVERSE_RATE_DECIMALS: 5.00 -> 0.2 exactly, 5.37 -> 0.186219739292."""
    return _INVERSE.divide(Decimal(1), rate).quantize(Decimal(1).scaleb(-INVERSE_RATE_DECIMALS), context=_INVERSE)


def rows_of_settings(settings: Settings, *, currency: str, effective_from: date) -> PriceRows:
    """Return what the settings say for a company of this currency. An unset price makes no row: not priced."""
    flat: list[PriceRow] = []
    for metric, channel, amount, per, name in (
        (Metric.MESSAGES, Channel.USAGE, settings.billing_cost_per_message, 1, "BILLING_COST_PER_MESSAGE"),
        (Metric.TOKENS, None, settings.billing_cost_per_thousand_tokens, 1000, "BILLING_COST_PER_THOUSAND_TOKENS"),
    ):
        if amount is not None:
            dated = (amount, per, settings.billing_currency, effective_from, name)
            flat.append((FLAT_CARD, metric, channel, None, None, None, None, None, *dated))
    rates: list[RateRow] = [("USD", "BRL", settings.usd_to_brl, effective_from, RATE_SOURCE)]
    if currency == "USD":
        rates.append(("BRL", "USD", inverse_rate(settings.usd_to_brl), effective_from, RATE_SOURCE))
    return PriceRows(tuple(flat), tuple(rates))


async def sync_prices(database: Database, settings: Settings, now: datetime) -> int:
    """Date what changed in the settings into every company; return how many companies got a row.

    A company that had no price or rate of a kind gets it for all days so far; a changed one starts at the
    company's next local day. An unset price leaves the last one in force. Any number of processes may do this
    at once: the rows are compared again under the heads' locks.
    """
    changed = after = 0
    full_page = True
    while full_page:
        async with transaction(database.operator) as connection:
            page = await companies.read_page(connection, after=after, limit=SYNC_COMPANIES_MAX)
            outdated = await _missing(connection, settings, page, now)
        if outdated:
            changed += await _add_missing(database, settings, sorted(outdated), now)
        full_page = len(page) == SYNC_COMPANIES_MAX
        after = page[-1].company_id if page else after
    return changed


async def _add_missing(database: Database, settings: Settings, company_ids: Sequence[int], now: datetime) -> int:
    async with transaction(database.operator) as connection:
        locked = await companies.lock_heads(connection, company_ids)
        page = await companies.read_some(connection, locked)
        missing = await _missing(connection, settings, page, now)
        replaced = await read_replaced(connection, missing)
        for company_id, rows in missing.items():
            await add_rows(connection, company_id, rows)
            await audit.insert(
                connection,
                company_id,
                actor=PROCESS.identity,
                action="prices.set",
                subject=f"company:{company_id}",
                detail={"before": described(replaced[company_id]), "after": described(rows)},
            )
        await companies.raise_settings_versions(connection, list(missing))
        await settings_changed(connection, list(missing), now=now)
    for company_id, rows in missing.items():
        _log.info("prices_set", company_id=company_id, **described(rows))
    return len(missing)


async def add_rows(connection: Connection, company_id: int, rows: PriceRows) -> None:
    """Add the rows to a company whose head is locked or not yet seen by anyone."""
    if rows.prices:
        await prices.insert_prices(connection, company_id, rows.prices)
    if rows.rates:
        await prices.insert_rates(connection, company_id, rows.rates)


async def read_replaced(connection: Connection, missing: Mapping[int, PriceRows]) -> dict[int, PriceRows]:
    """Return the last rows written so far of what each company is about to get."""
    had_prices = await prices.read_card_prices(connection, list(missing), card=FLAT_CARD)
    had_rates = await prices.read_newest_rates(connection, list(missing))
    found = {}
    for company_id, rows in missing.items():
        before, pairs = had_prices.get(company_id, {}), dict.fromkeys((row[0], row[1]) for row in rows.rates)
        rates = had_rates.get(company_id, {})
        found[company_id] = PriceRows(
            tuple(before[row[1]] for row in rows.prices if row[1] in before),
            tuple(rates[pair] for pair in pairs if pair in rates),
        )
    return found


def described(rows: PriceRows) -> dict[str, list[str]]:
    """Return the rows as people read them in the audit log."""
    return {
        "prices": [f"{row[1]} {row[8]} {row[10]} per {row[9]} from {row[11]} ({row[12]})" for row in rows.prices],
        "rates": [f"1 {base} = {rate} {quote} from {day} ({source})" for base, quote, rate, day, source in rows.rates],
    }


async def _missing(
    connection: Connection, settings: Settings, page: Sequence[Company], now: datetime
) -> dict[int, PriceRows]:
    """Return what the settings say and the last rows written do not, for the companies that lack something."""
    company_ids = [company.company_id for company in page]
    had_prices = await prices.read_card_prices(connection, company_ids, card=FLAT_CARD)
    had_rates = await prices.read_newest_rates(connection, company_ids)
    found = {}
    for company in page:
        today = local_day(company.schedule, now)
        rows = rows_of_settings(settings, currency=company.currency, effective_from=today)
        had = had_rates.get(company.company_id, {})
        # Published rates come by services/exchange_rates.py; the setting is what a company begins with.
        is_fixed = settings.exchange_rate_source == "fixed"
        wanted = [row for row in rows.rates if is_fixed or (row[0], row[1]) not in had]
        missing = PriceRows(
            _changed_prices(rows.prices, had_prices.get(company.company_id, {}), today + timedelta(days=1)),
            _changed_rates(wanted, had, today + timedelta(days=1)),
        )
        if missing:
            found[company.company_id] = missing
    return found


def _changed_prices(wanted: Sequence[PriceRow], had: Mapping[Metric, PriceRow], tomorrow: date) -> tuple[PriceRow, ...]:
    changed = []
    for row in wanted:
        last = had.get(row[1])
        if last is None:
            changed.append(row)
        elif last[8:11] != row[8:11]:  # amount, per, currency
            changed.append((*row[:11], tomorrow, row[12]))
    return tuple(changed)


def _changed_rates(
    wanted: Sequence[RateRow], had: Mapping[tuple[str, str], RateRow], tomorrow: date
) -> tuple[RateRow, ...]:
    changed = []
    for base, quote, rate, today, source in wanted:
        last = had.get((base, quote))
        if last is None or (last[2], last[4]) != (rate, source):
            changed.append((base, quote, rate, today if last is None else tomorrow, source))
    return tuple(changed)
