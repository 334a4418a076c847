"""One pull of one part: what to ask Meta for, and what its answers add to what is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from secretaria.core import money
from secretaria.core.access import PROCESS
from secretaria.core.meta_cost import TotalSource
from secretaria.core.period import ZoneSchedule, day_end, day_start, local_day, valid_timezone
from secretaria.outbound.meta_graph import GraphError, MetaGraph, PricingPoint, Trouble
from secretaria.services.scope import company_transaction
from secretaria.store import meta_costs, meta_profiles
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database
from secretaria.store.integrations import Integration, Part
from secretaria.store.meta_costs import Figure, PulledDay
from secretaria.store.meta_profiles import Picture, Profile

REPULLED_DAYS: Final = 3
"""Meta's figures of a day still move after it has ended, by an unstated time."""

BACKFILL_DAYS_MAX: Final = 31
REQUEST_DAYS_MAX: Final = 4
WHOLE_AFTER: Final = timedelta(hours=1)
"""A day pulled sooner than this after its end may still lack its last messages."""

HALF_HOUR: Final = timedelta(minutes=30)
PICTURE_EVERY: Final = timedelta(hours=24)
PICTURES_A_PASS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: days with all their figures, or profiles."""

    pulled_at: datetime
    source: TotalSource | None = None
    scope: str = ""
    days: tuple[PulledDay, ...] = ()
    figures: tuple[Figure, ...] = ()
    profiles: tuple[Profile, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)


class Puller:
    """Asks for one company, with its token."""

    def __init__(
        self,
        database: Database,
        graph: MetaGraph,
        token: str,
        *,
        company: Company,
        integration: Integration,
        now: datetime,
    ) -> None:
        self._database = database
        self._graph = graph
        self._token = token
        self._company = company
        self._waba_id = integration.waba_id or ""
        self._ad_account_id = integration.ad_account_id or ""
        self._now = now

    async def pull(self, part: Part) -> Pulled:
        """Ask for a part. Raises GraphError."""
        if part is Part.MESSAGES:
            return await self._messages()
        return await (self._ads() if part is Part.ADS else self._profiles())

    async def test(self, part: Part) -> str:
        """Ask for a little of a part and say what was found. Raises GraphError."""
        if part is Part.MESSAGES:
            currency = await self._graph.waba_currency(self._token, self._waba_id)
            end = _half_hour_after(self._now)
            await self._graph.pricing(self._token, self._waba_id, end - HALF_HOUR, end)
            return f"message costs are told in {currency}"
        if part is Part.ADS:
            account = await self._graph.ad_account(self._token, self._ad_account_id)
            today = self._now.astimezone(UTC).date() - timedelta(days=1)
            await self._graph.ads_spend(self._token, self._ad_account_id, today, today)
            return f"ad spend is told in {account.currency}, by the day of {account.timezone}"
        numbers = await self._graph.phone_numbers(self._token, self._waba_id)
        return f"phone numbers found: {len(numbers)}"

    async def _messages(self) -> Pulled:
        schedule = self._company.schedule
        today = local_day(schedule, self._now)
        first = await self._first_day(TotalSource.MESSAGES, self._waba_id, today)
        currency = await self._graph.waba_currency(self._token, self._waba_id)
        points: list[PricingPoint] = []
        day = first
        while day <= today:
            last = min(day + timedelta(days=REQUEST_DAYS_MAX - 1), today)
            end = min(day_end(schedule, last), _half_hour_after(self._now))
            points += await self._graph.pricing(self._token, self._waba_id, day_start(schedule, day), end)
            day = last + timedelta(days=1)
        figures = [one for one in _summed(points, schedule, currency) if first <= one.day <= today]
        days = _days(first, today, schedule, _zone_name(self._company, self._now), self._now)
        return Pulled(self._now, TotalSource.MESSAGES, self._waba_id, days, tuple(figures))

    async def _ads(self) -> Pulled:
        """Ad spend comes by the ad account's own days, which are kept as the company's days of the same date."""
        account = await self._graph.ad_account(self._token, self._ad_account_id)
        zone = account.timezone if valid_timezone(account.timezone) else _zone_name(self._company, self._now)
        schedule = ZoneSchedule.single(zone)
        today = local_day(schedule, self._now)
        first = await self._first_day(TotalSource.ADS, self._ad_account_id, today)
        spent = await self._graph.ads_spend(self._token, self._ad_account_id, first, today)
        days = _days(first, today, schedule, zone, self._now)
        # No row means that no ad was delivered that day.
        found = {one.day: Figure(one.day, "", "", "", 0, one.amount, one.currency) for one in spent}
        zero = Decimal(0)
        figures = tuple(
            found.get(day.day) or Figure(day.day, "", "", "", 0, zero, account.currency) for day in days
        )
        return Pulled(self._now, TotalSource.ADS, self._ad_account_id, days, figures)

    async def _profiles(self) -> Pulled:
        company_id = self._company.company_id
        async with company_transaction(self._database, PROCESS, company_id) as connection:
            had = await meta_profiles.read_all(connection, company_id)
            accounts = await meta_profiles.read_account_numbers(connection, company_id)
        profiles: list[Profile] = []
        pictures: dict[str, Picture] = {}
        for number in await self._graph.phone_numbers(self._token, self._waba_id):
            before = had.get(number.phone_number_id)
            asked_at = before.picture_pulled_at if before else None
            is_due = asked_at is None or self._now - asked_at >= PICTURE_EVERY
            if is_due and number.phone_number_id in accounts and len(pictures) < PICTURES_A_PASS_MAX:
                picture = await self._picture(number.phone_number_id)
                if picture is not None:
                    pictures[number.phone_number_id] = picture
                    asked_at = self._now
            profiles.append(
                Profile(
                    number.phone_number_id,
                    number.display_phone_number,
                    number.verified_name,
                    number.quality_rating,
                    self._now,
                    asked_at,
                )
            )
        return Pulled(self._now, scope=self._waba_id, profiles=tuple(profiles), pictures=pictures)

    async def _picture(self, phone_number_id: str) -> Picture | None:
        """Return the picture there is, or None where Meta could not say: then the one we have stays."""
        try:
            found = await self._graph.picture(self._token, phone_number_id)
        except GraphError as error:
            if error.trouble is Trouble.RECONNECT:
                raise
            return None
        return Picture(found.content, found.content_type) if found else Picture(None, None)

    async def _first_day(self, source: TotalSource, scope: str, today: date) -> date:
        """Return the first day to ask for: the days pulled again, and before them what was never pulled whole."""
        company_id = self._company.company_id
        oldest = today - timedelta(days=BACKFILL_DAYS_MAX)
        async with company_transaction(self._database, PROCESS, company_id) as connection:
            days = await meta_costs.read_days(connection, company_id, source, scope, first=oldest, last=today)
        day = oldest
        while day < today - timedelta(days=REPULLED_DAYS) and day in days and days[day].whole:
            day += timedelta(days=1)
        return day


async def keep(connection: Connection, company_id: int, pulled: Pulled) -> bool:
    """Add what differs from what was kept; the caller holds the head's lock. Returns whether anything does."""
    moved = False
    for profile in pulled.profiles:
        await meta_profiles.write(connection, company_id, profile)
        picture = pulled.pictures.get(profile.phone_number_id)
        moved |= await meta_profiles.write_account(connection, company_id, profile, picture, waba_id=pulled.scope)
    if pulled.source is None or not pulled.days:
        return moved
    first, last = pulled.days[0].day, pulled.days[-1].day
    of = (connection, company_id, pulled.source, pulled.scope)
    kept = await meta_costs.read_newest(*of, first=first, last=last)
    days_before = await meta_costs.read_days(*of, first=first, last=last)
    added = _differing(kept, pulled.figures)
    await meta_costs.insert(*of, added, pulled_at=pulled.pulled_at)
    await meta_costs.mark_days(*of, pulled.days)
    became_whole = any(day.whole and not (day.day in days_before and days_before[day.day].whole) for day in pulled.days)
    return moved or bool(added) or became_whole


def _differing(kept: Sequence[Figure], pulled: Iterable[Figure]) -> list[Figure]:
    """Return the figures to add: new or changed ones, and zeros for what Meta no longer lists."""
    newest = {figure.key: figure for figure in kept}
    now = {figure.key: figure for figure in pulled}
    gone = [
        Figure(*key, 0, Decimal(0), figure.currency)
        for key, figure in newest.items()
        if key not in now and (figure.volume or figure.amount is None or figure.amount)
    ]
    return [figure for key, figure in now.items() if newest.get(key) != figure] + gone


def _summed(points: Iterable[PricingPoint], schedule: ZoneSchedule, currency: str) -> list[Figure]:
    """Add the half hours up to the company's days; a sum with one unknown cost is unknown."""
    volumes: dict[tuple[date, str, str, str], int] = {}
    amounts: dict[tuple[date, str, str, str], Decimal | None] = {}
    for one in points:
        key = (local_day(schedule, one.start), one.phone, one.category, one.pricing_type)
        volumes[key] = volumes.get(key, 0) + one.volume
        before = amounts.get(key, Decimal(0))
        amounts[key] = None if before is None or one.amount is None else money.total((before, one.amount))
    return [Figure(*key, volumes[key], amounts[key], currency) for key in sorted(volumes)]


def _days(first: date, last: date, schedule: ZoneSchedule, timezone: str, now: datetime) -> tuple[PulledDay, ...]:
    count = (last - first).days + 1
    days = [first + timedelta(days=number) for number in range(count)]
    return tuple(PulledDay(day, timezone, now >= day_end(schedule, day) + WHOLE_AFTER, now) for day in days)


def _zone_name(company: Company, now: datetime) -> str:
    """Return the zone that holds today: one set for tomorrow is already the company's, but not yet its day's."""
    today = local_day(company.schedule, now)
    rows = company.schedule.rows
    return next((name for changed, name in reversed(rows) if changed < today), rows[0][1])


def _half_hour_after(now: datetime) -> datetime:
    """Return the end of the half hour that now is in, by UTC."""
    utc = now.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 30, second=0, microsecond=0) + HALF_HOUR
