"""What account details need of Meta, out of what was kept: nothing here asks Meta, so nothing here fails with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.meta_cost import DEFAULT_CHOICE, Choice, MetaDay, MetaFigure, TotalSource
from secretaria.core.price import PriceBook, normal_category
from secretaria.store import integrations, meta_costs, meta_profiles, prices
from secretaria.store.database import Connection
from secretaria.store.integrations import Integration, Part, PartState, State
from secretaria.store.meta_costs import Figure, PulledDay
from secretaria.store.meta_profiles import Profile

STALE_AFTER: Final = timedelta(hours=1)
"""Figures this old are stale whatever the last error was: perhaps no worker runs."""

UNNAMED_CATEGORY: Final = "UNKNOWN"
_NO_DAYS: Final[Mapping[date, PulledDay]] = {}


@dataclass(frozen=True, slots=True)
class MetaAccount:
    """Meta's side of one account: days for core/meta_cost.py's reconcile, profile, and how fresh they are.

    Without a connection everything is empty and the choice is the default: the estimate is shown.
    """

    connected: bool = False
    reconnect: bool = False
    choice: Choice = DEFAULT_CHOICE
    days: Mapping[date, MetaDay] = field(default_factory=dict)
    ads_timezone: str | None = None
    profile: Profile | None = None
    as_of: datetime | None = None
    stale_since: datetime | None = None


async def read_account(
    connection: Connection,
    company_id: int,
    phone_number_id: str,
    *,
    first: date,
    last: date,
    currency: str,
    is_only_account: bool,
    now: datetime,
) -> MetaAccount:
    """Return Meta's side of an account for the local days from first to last, in the currency it is shown in.

    Ad spend is the company's: where the company has other accounts, it stands beside each and replaces no total.
    """
    found = await integrations.read(connection, company_id)
    if found is None:
        return MetaAccount()
    profile = (await meta_profiles.read_all(connection, company_id)).get(phone_number_id)
    book = (await prices.read_books(connection, {company_id: currency}, start=first, end=last + timedelta(days=1)))[
        company_id
    ]
    messages, messages_days = await _read(
        connection, company_id, TotalSource.MESSAGES, found.waba_id, first=first, last=last
    )
    ads, ads_days = await _read(connection, company_id, TotalSource.ADS, found.ad_account_id, first=first, last=last)
    phone = _digits(profile.display_phone_number) if profile else None
    messages = [one for one in messages if phone is not None and one.phone in ("", phone)]
    parts = await integrations.read_parts(connection, company_id)
    days = {
        day: MetaDay(
            categories=_categories([one for one in messages if one.day == day], day, book),
            whole=day in messages_days and messages_days[day].whole,
            ads=_figure([one for one in ads if one.day == day], day, book),
            ads_whole=day in ads_days and ads_days[day].whole,
        )
        for day in sorted({*messages_days, *ads_days})
    }
    choice = found.choice if is_only_account else Choice(TotalSource.MESSAGES, found.choice.today_source)
    return MetaAccount(
        connected=True,
        reconnect=any(part.state is State.RECONNECT for part in parts),
        choice=choice,
        days=days,
        ads_timezone=next((day.timezone for day in ads_days.values()), None),
        profile=profile,
        as_of=max((part.succeeded_at for part in parts if part.succeeded_at), default=None),
        stale_since=_stale_since(parts, found, now),
    )


async def _read(
    connection: Connection, company_id: int, source: TotalSource, scope: str | None, *, first: date, last: date
) -> tuple[list[Figure], Mapping[date, PulledDay]]:
    if scope is None:
        return [], _NO_DAYS
    figures = await meta_costs.read_newest(connection, company_id, source, scope, first=first, last=last)
    return figures, await meta_costs.read_days(connection, company_id, source, scope, first=first, last=last)


def _categories(figures: Iterable[Figure], day: date, book: PriceBook) -> dict[str, MetaFigure]:
    by_category: dict[str, list[Figure]] = {}
    for one in figures:
        name = normal_category(one.category) or one.category or UNNAMED_CATEGORY
        by_category.setdefault(name, []).append(one)
    found = {name: _figure(by_category[name], day, book) for name in sorted(by_category)}
    return {name: figure for name, figure in found.items() if figure is not None}


def _figure(figures: list[Figure], day: date, book: PriceBook) -> MetaFigure | None:
    """Add figures of one day and convert them at that day's rate: 10 USD at 5.00 are 50.00 BRL. None of none."""
    if not figures:
        return None
    currency = figures[-1].currency
    known = [one.amount for one in figures if one.amount is not None and one.currency == currency]
    amount = money.total(known) if len(known) == len(figures) else None
    rate = book.rate_for(currency, book.currency, day)
    converted: Decimal | None = None
    if amount is not None and rate is not None:
        converted = money.product(amount, rate.rate)
    return MetaFigure(sum(one.volume for one in figures), amount, currency, converted, rate)


def _stale_since(parts: Iterable[PartState], integration: Integration, now: datetime) -> datetime | None:
    """Return since when the figures of the chosen total are not fresh, or None."""
    wanted = Part.ADS if integration.choice.total_source is TotalSource.ADS else Part.MESSAGES
    moments = [_part_stale_since(part, now) for part in parts if part.part is wanted]
    return min((moment for moment in moments if moment is not None), default=None)


def _part_stale_since(part: PartState, now: datetime) -> datetime | None:
    if part.stale_since is not None:
        return part.stale_since
    is_old = part.succeeded_at is not None and now - part.succeeded_at >= STALE_AFTER
    return part.succeeded_at if is_old else None


def _digits(phone: str) -> str:
    return "".join(one for one in phone if one.isdigit())
