"""The demo: five marked companies, sixty days of history and a gentle live traffic, all through the real ingest path.

Figures come from services/demo_history.py. Nothing here touches a company without the mark.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final

import structlog

from secretaria.core.access import PROCESS, Scope
from secretaria.core.account import Role
from secretaria.core.errors import DuplicateKey, NotAuthenticated, NotFound, Unavailable
from secretaria.core.event import BATCH_EVENTS_MAX, UsageEvent
from secretaria.core.period import local_day, local_hour
from secretaria.core.price import Channel, Metric, PriceRow
from secretaria.services.access import AccessService
from secretaria.services.companies import CompanyService
from secretaria.services.crossings import settings_changed
from secretaria.services.demo_history import COMPANIES, HISTORY_DAYS, DemoCompany, activity, history, live
from secretaria.services.demo_plans import DemoPlans
from secretaria.services.demo_whatsapp import DemoWhatsApp
from secretaria.services.ingest import IngestService
from secretaria.services.prices import FLAT_CARD, PriceRows, add_rows
from secretaria.services.scope import operator_transaction
from secretaria.store import audit, companies, demo, prices
from secretaria.store.companies import Company
from secretaria.store.database import Connection, Database

EMAIL: Final = "demo@localhost"
PASSWORD_BYTES: Final = 12
PRICE_SOURCE: Final = "demo"
COST_PER_MESSAGE: Final = Decimal("0.05")
COST_PER_THOUSAND_TOKENS: Final = Decimal("0.02")
WHATSAPP_SHARE: Final = 0.75
LIVE_GAP_S: Final = (0.4, 3.6)
RETRY_AFTER_S: Final = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DemoAccess:
    """The demo's login and API key; kept in a private file so that each start can print them."""

    email: str
    password: str
    api_key: str
    company_id: int


class DemoService:
    """Makes, feeds and removes the demo. ensure_month makes room for the events of a UTC month.

    Without `whatsapp` (nobody said how webhooks are signed) the companies have no WhatsApp accounts.
    """

    def __init__(
        self,
        database: Database,
        *,
        access: AccessService,
        companies: CompanyService,
        ingest: IngestService,
        ensure_month: Callable[[date], bool],
        clock: Callable[[], datetime],
        plans: DemoPlans,
        whatsapp: DemoWhatsApp | None = None,
    ) -> None:
        self._database = database
        self._access = access
        self._companies = companies
        self._ingest = ingest
        self._ensure_month = ensure_month
        self._clock = clock
        self._plans = plans
        self._whatsapp = whatsapp

    async def prepare(self, kept: DemoAccess | None) -> DemoAccess:
        """Make what is missing of companies, prices, login and API key; return what opens them."""
        pairs = await self._ensure_companies()
        if self._whatsapp is not None:
            await self._whatsapp.prepare(pairs, self._clock())
        first = pairs[0][1].company_id
        email, password = await self._ensure_login(kept)
        return DemoAccess(email, password, await self._ensure_key(kept, first), first)

    async def fill(self, since: datetime | None, on_progress: Callable[[int, int], None]) -> int:
        """Add the history after `since` (the last HISTORY_DAYS days without it), then plans; return its events.

        Sending the same days again adds nothing, so a fill that was cut off is simply started anew.
        """
        now = self._clock()
        oldest = now - timedelta(days=HISTORY_DAYS)
        begin = oldest if since is None else max(since, oldest)
        pairs = await self.read_companies()
        await self._make_room(begin, now)
        accepted = 0
        days = (now - begin).days + 2
        events = _events_between(pairs, begin, now, on_day=lambda day: on_progress(day, days))
        while batch := list(islice(events, BATCH_EVENTS_MAX)):
            result = await self._ingest.submit(PROCESS, list(enumerate(batch)), now=now)
            accepted += result.accepted
            if result.rejected:
                _log.warning("demo_rejected", count=len(result.rejected), code=result.rejected[0].code)
        if self._whatsapp is not None:
            accepted += await self._whatsapp.fill(pairs, begin, now)
        await self._plans.prepare(pairs, self._clock())
        on_progress(days, days)
        return accepted

    async def send_live(self, stopped: Callable[[], bool], on_sent: Callable[[datetime], None]) -> None:
        """Send something every second or two until no demo company is left; while `stopped` says so, wait."""
        dice = random.Random()  # noqa: S311 - made-up figures
        pairs = await self._read_for_live()
        while pairs:
            await asyncio.sleep(dice.uniform(*LIVE_GAP_S))
            if stopped():
                continue
            try:
                now = self._clock()
                if await self._send_one(pairs, now, dice):
                    on_sent(now)
                else:
                    pairs = await self._read_for_live()
            except Unavailable as error:
                _log.warning("demo_waits", reason=error.message)
                await asyncio.sleep(RETRY_AFTER_S)

    async def _send_one(
        self, pairs: Sequence[tuple[DemoCompany, Company]], now: datetime, dice: random.Random
    ) -> bool:
        """Send a company's next message, most by WhatsApp, and what is due of earlier ones; False: look who is left."""
        weights = [activity(wanted, local_hour(company.schedule, now)[1]) for wanted, company in pairs]
        ((wanted, company),) = dice.choices(pairs, weights)
        if self._whatsapp is not None:
            if dice.random() < WHATSAPP_SHARE:
                return await self._whatsapp.begin(wanted, now, dice)
            if not await self._whatsapp.tell_due(now):
                return False
        event = live(wanted, company.company_id, secrets.token_hex(8), now, dice)
        return bool((await self._ingest.submit(PROCESS, [(0, event)], now=now)).accepted)

    async def _read_for_live(self) -> list[tuple[DemoCompany, Company]]:
        pairs = await self.read_companies()
        if self._whatsapp is not None:
            await self._whatsapp.learn(pairs)
        return pairs

    async def remove(self, kept: DemoAccess | None) -> list[Company]:
        """Delete the demo companies with all that is theirs, disable the demo's login; return the companies.

        Nothing else can be deleted.
        """
        async with operator_transaction(self._database, PROCESS) as connection:
            found = await demo.read_companies(connection)
        for company in found:
            async with operator_transaction(self._database, PROCESS) as connection:
                if await demo.delete_company(connection, company.company_id):
                    await audit.insert(
                        connection,
                        PROCESS.company_id,
                        actor=PROCESS.identity,
                        action="demo.removed",
                        subject=f"company:{company.company_id}",
                    )
        if kept is not None:
            with contextlib.suppress(NotFound):
                await self._access.disable_user(PROCESS, kept.email)
        return found

    async def read_companies(self) -> list[tuple[DemoCompany, Company]]:
        """Return the demo companies that exist, with what their traffic looks like."""
        async with operator_transaction(self._database, PROCESS) as connection:
            found = {company.name: company for company in await demo.read_companies(connection)}
        return [(wanted, found[wanted.name]) for wanted in COMPANIES if wanted.name in found]

    async def _ensure_companies(self) -> list[tuple[DemoCompany, Company]]:
        existing = {wanted.name for wanted, _ in await self.read_companies()}
        now = self._clock()
        for wanted in COMPANIES:
            if wanted.name not in existing:
                await self._companies.create(
                    PROCESS, wanted.name, timezone=wanted.timezone, currency=wanted.currency, demo=True, now=now
                )
        pairs = await self.read_companies()
        for _, company in pairs:
            async with operator_transaction(self._database, PROCESS) as connection:
                await _ensure_prices(connection, company, now)
        return pairs

    async def _ensure_login(self, kept: DemoAccess | None) -> tuple[str, str]:
        if kept is not None:
            users = {user.email: user for user in await self._access.list_users(PROCESS, PROCESS.company_id)}
            user = users.get(kept.email)
            if user is not None and user.disabled_at is None:
                return kept.email, kept.password
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        # The address of an earlier demo stays taken: users are disabled, never deleted.
        for email in (EMAIL, f"demo-{secrets.token_hex(3)}@localhost"):
            try:
                await self._access.create_user(PROCESS, email, role=Role.OPERATOR, company_id=None, password=password)
            except DuplicateKey:
                continue
            return email, password
        raise Unavailable("no address is free for the demo's login; start again")

    async def _ensure_key(self, kept: DemoAccess | None, company_id: int) -> str:
        if kept is not None and kept.company_id == company_id:
            try:
                caller = await self._access.authenticate(kept.api_key, self._clock())
            except NotAuthenticated:
                pass
            else:
                if caller.company_id == company_id:
                    return kept.api_key
        scopes = (Scope.USAGE_WRITE, Scope.ANALYTICS_READ)
        return (await self._access.create_api_key(PROCESS, company_id, scopes=scopes, name="demo")).text

    async def _make_room(self, begin: datetime, end: datetime) -> None:
        month = begin.date().replace(day=1)
        while month <= end.date():
            if await asyncio.to_thread(self._ensure_month, month):
                self._ingest.forget_months()
            month = (month + timedelta(days=31)).replace(day=1)


async def _ensure_prices(connection: Connection, company: Company, now: datetime) -> None:
    """Give a demo company the demo's prices where the settings gave none. Real companies stay "not priced"."""
    await companies.lock_heads(connection, [company.company_id])
    had = (await prices.read_card_prices(connection, [company.company_id], card=FLAT_CARD)).get(company.company_id, {})
    today = local_day(company.schedule, now)
    rows: list[PriceRow] = []
    for metric, channel, amount, per in (
        (Metric.MESSAGES, Channel.USAGE, COST_PER_MESSAGE, 1),
        (Metric.TOKENS, None, COST_PER_THOUSAND_TOKENS, 1000),
    ):
        if metric not in had:
            dated = (amount, per, company.currency, today, PRICE_SOURCE)
            rows.append((FLAT_CARD, metric, channel, None, None, None, None, None, *dated))
    if rows:
        await add_rows(connection, company.company_id, PriceRows(tuple(rows), ()))
        await companies.raise_settings_versions(connection, [company.company_id])
        await settings_changed(connection, [company.company_id], now=now)


def _events_between(
    pairs: Sequence[tuple[DemoCompany, Company]], begin: datetime, end: datetime, on_day: Callable[[int], None]
) -> Iterator[UsageEvent]:
    # A day more on either side: the local days of the instants differ from the UTC days.
    first = begin.date() - timedelta(days=1)
    for number in range((end.date() - first).days + 2):
        for wanted, company in pairs:
            for event in history(wanted, company.company_id, first + timedelta(days=number), end):
                if event.time is not None and event.time >= begin:
                    yield event
        on_day(number)
