"""Banco Central's PTAX as dated rates of every company: the rate of a day is the last one published before it began.

Without an answer the last rate goes on, and figures say since when. A company moves from USD_TO_BRL to PTAX, or back,
at its next local day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from secretaria.core.access import PROCESS
from secretaria.core.errors import Unavailable
from secretaria.core.exchange_rate import PTAX, PublishedRate
from secretaria.core.period import local_day
from secretaria.outbound.exchange_rates import fetch_ptax
from secretaria.services.crossings import settings_changed
from secretaria.services.prices import (
    SYNC_COMPANIES_MAX,
    PriceRows,
    add_rows,
    described,
    inverse_rate,
    read_replaced,
)
from secretaria.settings import Settings
from secretaria.store import audit, companies, prices, published_rates
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.prices import RateRow

LOOKBACK_DAYS: Final = 10
"""Past the longest run of days without a closing."""

GAP_DAYS_MAX: Final = 120
"""How far back is asked for after a long time without an answer."""

PUBLISHED_READ_MAX: Final = 200

# The closing comes out at about 13:10 in Brasília; before this nobody asks for today's.
_BRASILIA: Final = ZoneInfo("America/Sao_Paulo")
_CLOSING: Final = timedelta(hours=13, minutes=15)
_FRIDAY: Final = 4
_ONE_DAY: Final = timedelta(days=1)
_PAIRS: Final = ("USD", "BRL"), ("BRL", "USD")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshedRates:
    """What a pass did: rates heard of, companies that got rows, the newest rate, and why none came (None: it did)."""

    published: int = 0
    companies: int = 0
    newest: PublishedRate | None = None
    stale: bool = False
    error: str | None = None


class ExchangeRateService:
    """Keeps the companies' rates up to date where EXCHANGE_RATE_SOURCE is ptax. Any number may do it at once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def refresh(self, now: datetime) -> RefreshedRates:
        """Ask Banco Central when something new is due, and date it into every company; never raises for its sake.

        Raises Unavailable when the database is away.
        """
        if self._settings.exchange_rate_source != "ptax":
            return RefreshedRates()
        known = await self._read()
        added, error = await self._ask(known, now) if _is_due(known, now) else (0, None)
        known = await self._read()
        if not known:
            return RefreshedRates(error=error)
        changed = await self._distribute(known, now)
        return RefreshedRates(added, changed, known[-1], known[-1].is_stale(now), error)

    async def newest(self) -> PublishedRate | None:
        """Return the rate published last, None when there is none or rates are fixed."""
        known = await self._read() if self._settings.exchange_rate_source == "ptax" else []
        return known[-1] if known else None

    async def _read(self) -> list[PublishedRate]:
        async with transaction(self._database.operator) as connection:
            return await published_rates.read_newest(connection, PTAX, limit=PUBLISHED_READ_MAX)

    async def _ask(self, known: Sequence[PublishedRate], now: datetime) -> tuple[int, str | None]:
        today = now.astimezone(_BRASILIA).date()
        start = today - timedelta(days=LOOKBACK_DAYS)
        if known:
            last = known[-1].published_at.astimezone(_BRASILIA).date()
            start = max(min(start, last), today - timedelta(days=GAP_DAYS_MAX))
        try:
            found = await fetch_ptax(self._settings.ptax_url, start=start, end=today)
        except Unavailable as error:
            as_of = known[-1].named_source if known else "USD_TO_BRL"
            _log.warning("exchange_rate_kept", rate=as_of, error=error.message)
            return 0, error.message
        async with transaction(self._database.operator) as connection:
            # What claims to come from the future is not believed.
            believed = [rate for rate in found if rate.published_at <= now]
            return await published_rates.insert(connection, believed, fetched_at=now), None

    async def _distribute(self, known: Sequence[PublishedRate], now: datetime) -> int:
        changed = after = 0
        full_page = True
        while full_page:
            async with transaction(self._database.operator) as connection:
                page = await companies.read_page(connection, after=after, limit=SYNC_COMPANIES_MAX)
                lacking = await _missing(connection, page, known, now)
            if lacking:
                changed += await self._add_missing(sorted(lacking), known, now)
            full_page = len(page) == SYNC_COMPANIES_MAX
            after = page[-1].company_id if page else after
        return changed

    async def _add_missing(self, company_ids: Sequence[int], known: Sequence[PublishedRate], now: datetime) -> int:
        """Add the rows under the heads' locks, compared again: two workers at once add them once."""
        async with transaction(self._database.operator) as connection:
            locked = await companies.lock_heads(connection, company_ids)
            missing = await _missing(connection, await companies.read_some(connection, locked), known, now)
            added = {company_id: PriceRows((), rows) for company_id, rows in missing.items()}
            replaced = await read_replaced(connection, added)
            for company_id, rows in added.items():
                await add_rows(connection, company_id, rows)
                await audit.insert(
                    connection,
                    company_id,
                    actor=PROCESS.identity,
                    action="rates.published",
                    subject=f"company:{company_id}",
                    detail={"before": described(replaced[company_id]), "after": described(rows)},
                )
            await companies.raise_settings_versions(connection, list(missing))
            await settings_changed(connection, list(missing), now=now)
        return len(missing)


def _is_due(known: Sequence[PublishedRate], now: datetime) -> bool:
    """Tell whether Banco Central should have published something that is not known yet: once a business day."""
    closed = (now.astimezone(_BRASILIA) - _CLOSING).date()
    closed -= timedelta(days=max(closed.weekday() - _FRIDAY, 0))
    return not known or known[-1].published_at.astimezone(_BRASILIA).date() < closed


async def _missing(
    connection: Connection, page: Sequence[Company], known: Sequence[PublishedRate], now: datetime
) -> dict[int, tuple[RateRow, ...]]:
    had = await prices.read_newest_rates(connection, [company.company_id for company in page])
    found = {}
    for company in page:
        rows = rows_for(company, known, had.get(company.company_id, {}), now)
        if rows:
            found[company.company_id] = rows
    return found


def rows_for(
    company: Company, known: Sequence[PublishedRate], had: Mapping[tuple[str, str], RateRow], now: datetime
) -> tuple[RateRow, ...]:
    """Return the rates a company lacks; `known` are oldest first, `had` its last written row of each pair.

    On PTAX already: each day's that began after the last one it has. On USD_TO_BRL so far: the rate that will hold
    on its next local day, from that day on.
    """
    tomorrow = local_day(company.schedule, now) + _ONE_DAY
    by_day: dict[date, PublishedRate] = {rate.holds_from(company.schedule): rate for rate in known}
    rows: list[RateRow] = []
    for base, quote in _PAIRS if company.currency == "USD" else _PAIRS[:1]:
        last = had.get((base, quote))
        if last is not None and last[4].startswith(f"{PTAX} "):
            wanted = [(day, rate) for day, rate in by_day.items() if (day, rate.named_source) > (last[3], last[4])]
        else:
            begun = [day for day in by_day if day <= tomorrow]
            wanted = [(tomorrow, by_day[max(begun)])] if begun else []
        for day, rate in wanted:
            amount = rate.rate if base == "USD" else inverse_rate(rate.rate)
            rows.append((base, quote, amount, day, rate.named_source))
    return tuple(rows)
