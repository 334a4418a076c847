"""Feeds the demo's WhatsApp accounts the way Meta would: signed webhooks, and usage events of the same messages.

One message is told of several times (usage event, sent, delivered, read) and counts once.
"""

import heapq
import itertools
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from secretaria.core.access import PROCESS
from secretaria.core.errors import DuplicateKey, NotFound
from secretaria.core.event import Direction, UsageEvent
from secretaria.core.period import day_start, local_day
from secretaria.core.whatsapp import Status
from secretaria.inbound.whatsapp import signature_of
from secretaria.services.accounts import AccountService
from secretaria.services.demo_history import DemoCompany, live_answer
from secretaria.services.demo_messages import (
    CONNECTED,
    TEMPLATES,
    DemoAccount,
    DemoMessage,
    Report,
    accounts_of,
    messages_of,
    report_of,
    turn_of,
    webhook_body,
    whatsapp_since,
)
from secretaria.services.ingest import IngestService
from secretaria.services.integrations import IntegrationService
from secretaria.store.companies import Company

ACCESS_TOKEN: Final = "demo-token"  # noqa: S105 - for the fake Graph API only
REPORTS_A_POST_MAX: Final = 500
WAITING_REPORTS_MAX: Final = 1_000
DELIVERED_AFTER_S: Final = (1.0, 4.0)
READ_AFTER_S: Final = (3.0, 15.0)

Pair = tuple[DemoCompany, Company]
Deliver = Callable[[bytes, bytes], Awaitable[None]]
"""Hands a webhook's body and signature over; when it returns they are on disk. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """A demo account as it is stored, and its templates' ids by category."""

    company: Company
    account_id: int
    template_ids: dict[str, int]


class _Waiting(NamedTuple):
    """Something to tell later; number keeps equal times apart."""

    due: datetime
    number: int
    message: DemoMessage
    status: Status
    event: UsageEvent | None


class DemoWhatsApp:
    """Makes the accounts, their last days, and live messages. app_secret signs; deliver hands webhooks over."""

    def __init__(
        self,
        *,
        accounts: AccountService,
        integrations: IntegrationService,
        ingest: IngestService,
        app_secret: str,
        deliver: Deliver,
        has_fake_graph: bool,
    ) -> None:
        self._accounts = accounts
        self._integrations = integrations
        self._ingest = ingest
        self._app_secret = app_secret
        self._deliver = deliver
        self._has_fake_graph = has_fake_graph
        self._has_new_accounts = False
        self._known: dict[str, KnownAccount] = {}
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()

    async def prepare(self, pairs: Sequence[Pair], now: datetime) -> None:
        """Make the accounts and templates that are missing, and the connection to the fake Graph API."""
        for wanted, company in pairs:
            stored = {row.phone_number_id for row in await self._accounts.list(PROCESS, company.company_id)}
            for account in accounts_of(wanted):
                if account.phone_number_id not in stored:
                    await self._make(company.company_id, account, now)
            if wanted is CONNECTED and self._has_fake_graph:
                await self._connect(company.company_id, now)

    async def learn(self, pairs: Sequence[Pair]) -> None:
        """Read which accounts there are; messages of others are no longer told of."""
        self._known = {}
        for wanted, company in pairs:
            for row in await self._accounts.list(PROCESS, company.company_id):
                templates = await self._accounts.list_templates(
                    PROCESS, company.company_id, account_id=row.account_id
                )
                ids = {template.category: template.template_id for template in templates}
                if row.phone_number_id in {account.phone_number_id for account in accounts_of(wanted)}:
                    self._known[row.phone_number_id] = KnownAccount(company, row.account_id, ids)
        self._waiting = [row for row in self._waiting if row.message.account.phone_number_id in self._known]
        heapq.heapify(self._waiting)

    async def fill(self, pairs: Sequence[Pair], begin: datetime, end: datetime) -> int:
        """Tell of the messages from `begin` to `end`, whole days and WHATSAPP_DAYS back at most; return their number.

        Accounts made just now (in a demo of before there were any) get all of these days; twice is once.
        """
        await self.learn(pairs)
        told = 0
        reports: list[Report] = []
        for wanted, company in pairs:
            first, last = whatsapp_since(wanted, end), local_day(company.schedule, end)
            since = day_start(company.schedule, first)
            since = since if self._has_new_accounts else max(begin, since)
            for account in accounts_of(wanted):
                if account.phone_number_id not in self._known:
                    continue
                for number in range((last - first).days + 1):
                    for message in messages_of(account, first + timedelta(days=number), end):
                        if message.at >= since:
                            told += 1
                            reports.append(report_of(message, message.outcome, message.at))
        remaining = iter(reports)
        while batch := list(islice(remaining, REPORTS_A_POST_MAX)):
            await self._post(batch)
        return told

    async def begin(self, wanted: DemoCompany, now: datetime, dice: random.Random) -> bool:
        """Begin a live message, or a question that is to be answered; False when the company is gone."""
        accounts = [row for row in accounts_of(wanted) if row.phone_number_id in self._known]
        if not accounts or len(self._waiting) >= WAITING_REPORTS_MAX:
            return False
        (account,) = dice.choices(accounts, [row.messages_per_hour for row in accounts])
        for message in turn_of(account, secrets.token_hex(8), now, dice):
            if message.direction is Direction.INBOUND:
                self._wait(message.at, message, Status.RECEIVED)
                continue
            self._wait(message.at, message, Status.SENT, self._event_of(message, dice))
            seen = message.at + timedelta(seconds=dice.uniform(*DELIVERED_AFTER_S))
            if message.outcome is Status.FAILED:
                self._wait(seen, message, Status.FAILED)
                continue
            self._wait(seen, message, Status.DELIVERED)
            if message.outcome is Status.READ:
                self._wait(seen + timedelta(seconds=dice.uniform(*READ_AFTER_S)), message, Status.READ)
        return await self.tell_due(now)

    async def tell_due(self, now: datetime) -> bool:
        """Tell what is due by now; what could not be told stays and is told again. False when a company is gone."""
        due = heapq.nsmallest(REPORTS_A_POST_MAX, (row for row in self._waiting if row.due <= now))
        if not due:
            return True
        for row in due:
            if row.event is not None:
                result = await self._ingest.submit(PROCESS, [(0, row.event)], now=now)
                if result.rejected:
                    return False
        await self._post(report_of(row.message, row.status, row.due) for row in due)
        told = {row.number for row in due}
        self._waiting = [row for row in self._waiting if row.number not in told]
        heapq.heapify(self._waiting)
        return True

    def _wait(self, due: datetime, message: DemoMessage, status: Status, event: UsageEvent | None = None) -> None:
        heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), message, status, event))

    def _event_of(self, message: DemoMessage, dice: random.Random) -> UsageEvent:
        """What the bot says of the same message: its tokens and how long they took."""
        known = self._known[message.account.phone_number_id]
        return live_answer(
            message.account.company,
            known.company.company_id,
            message.at,
            dice,
            wamid=message.wamid,
            account_id=known.account_id,
            template_id=known.template_ids.get(message.category),
        )

    async def _post(self, reports: Iterable[Report]) -> None:
        body = webhook_body(reports)
        await self._deliver(body, signature_of(body, self._app_secret))

    async def _make(self, company_id: int, account: DemoAccount, now: datetime) -> None:
        try:
            made = await self._accounts.create(
                PROCESS, company_id, account.phone_number_id, account.name, waba_id=account.waba_id, now=now
            )
        except DuplicateKey:
            return  # somebody's own account has this number: the demo does without
        self._has_new_accounts = True
        for category, name in TEMPLATES.items():
            await self._accounts.create_template(PROCESS, made.account_id, name, category=category, now=now)

    async def _connect(self, company_id: int, now: datetime) -> None:
        try:
            await self._integrations.get(PROCESS, company_id)
        except NotFound:
            waba_id = accounts_of(CONNECTED)[0].waba_id
            await self._integrations.put(PROCESS, company_id, {"access_token": ACCESS_TOKEN, "waba_id": waba_id}, now)
