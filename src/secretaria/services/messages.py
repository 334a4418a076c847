"""POST /api/messages: messages of systems that keep them, on the path of Meta's webhooks; and their erasure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from secretaria.core.access import Caller, Scope
from secretaria.core.admission import Rejection, Window
from secretaria.core.event import Direction, epoch_us
from secretaria.core.price import normal_category
from secretaria.core.whatsapp import MessageUpdate, Status
from secretaria.inbound.whatsapp_scrub import digits_of, phone_hmac
from secretaria.services.message_counting import Update, count_messages
from secretaria.services.scope import company_not_found, company_transaction
from secretaria.services.webhooks import Tell, phone_key
from secretaria.settings import Settings
from secretaria.store import accounts, audit, companies, erasure, events, templates
from secretaria.store.database import Database, transaction

BATCH_MESSAGES_MAX: Final = 1_000
ERASE_BATCH_MAX: Final = 10_000
ERASE_BATCHES_MAX: Final = 10_000
OWN_ID_PREFIX: Final = "id "
"""With a space: no wamid can be taken for an id of the sender's own."""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message as POST /api/messages takes it; index is its place in the batch."""

    index: int
    id: str | None
    wamid: str | None
    account_id: int
    direction: Direction
    status: Status | None
    sent_at: datetime | None
    template_id: int | None = None
    category: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class MessagesResult:
    """accepted: messages that changed; duplicates: items that changed nothing more. The three add up to the batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]


class MessageService:
    """Takes and erases messages of companies."""

    def __init__(self, database: Database, settings: Settings, *, tell: Tell) -> None:
        self._database = database
        self._settings = settings
        self._tell = tell

    async def submit(
        self,
        caller: Caller,
        company_id: int,
        messages: Sequence[SentMessage],
        *,
        now: datetime,
        rejected: Sequence[Rejection] = (),
    ) -> MessagesResult:
        """Count messages of one company and return when they are on disk; a repeat changes nothing.

        Raises NotAllowed, NotFound and Unavailable (send it again).
        """
        caller.require_scope(Scope.USAGE_WRITE)
        caller.require_company(company_id)
        refused = list(rejected)
        known = await self._known(caller, company_id, messages)
        window = Window.around(epoch_us(now), backfill=False)
        updates: list[Update] = []
        for message in messages:
            refusal = _refuse(message, known, window, now)
            if refusal is None:
                updates.append((company_id, _update_of(message, now)))
            else:
                refused.append(Rejection(message.index, message.id or message.wamid, *refusal))
        async with transaction(self._database.ingest) as connection:
            direct = await events.bypasses_row_level_security(connection)
            counted = await count_messages(connection, updates, direct=direct, now=now)
        self._tell(counted.versions)
        refused.sort(key=lambda rejection: rejection.index)
        return MessagesResult(len(counted.changed), len(updates) - len(counted.changed), refused)

    async def _known(self, caller: Caller, company_id: int, messages: Sequence[SentMessage]) -> "_Known":
        async with company_transaction(self._database, caller, company_id) as connection:
            ids = sorted({message.account_id for message in messages})
            found = await accounts.read_some(connection, company_id, ids)
            wanted = sorted({message.template_id for message in messages if message.template_id is not None})
            histories = await templates.read_histories(connection, [(company_id, of) for of in wanted])
        starts = {row.account_id: row.messages_from for row in found}
        return _Known(starts, frozenset(of for _, of in histories))

    async def erase(self, caller: Caller, company_id: int, *, phone: str | None = None) -> int:
        """Remove the message rows of a company, or of one customer of it, and return how many; all sums stay.

        What usage events said of them loses its wamid, which holds the customer's phone. Raises NotFound, NotAllowed.
        """
        caller.require_operator()
        caller.require_scope(Scope.COMPANIES_WRITE)
        customer = None if phone is None else phone_hmac(digits_of(phone), phone_key(self._settings))
        removed = 0
        for _ in range(ERASE_BATCHES_MAX):
            # Events first, and without the head's lock: it takes long, and cut off in between it can be begun again.
            async with company_transaction(self._database, caller, company_id) as connection:
                if await companies.read(connection, company_id) is None:
                    raise company_not_found()
                wamids = await erasure.read_wamids(connection, company_id, customer, limit=ERASE_BATCH_MAX)
                await erasure.forget_wamids(connection, company_id, wamids)
            async with company_transaction(self._database, caller, company_id) as connection:
                await companies.lock_heads(connection, [company_id])
                removed += await erasure.delete_messages(connection, company_id, wamids)
            if len(wamids) < ERASE_BATCH_MAX:
                break
        async with company_transaction(self._database, caller, company_id) as connection:
            if customer is not None:
                await erasure.forget_customer(connection, customer)
            await audit.insert(
                connection, company_id, actor=caller.identity, action="messages.erased",
                subject=f"company:{company_id}", detail={"messages": removed, "one_customer": customer is not None},
            )  # fmt: skip
        return removed

    async def remove_expired(self, now: datetime) -> int:
        """Remove the message rows and webhooks that are past their time; return how many. All sums stay."""
        removed = 0
        before = now - timedelta(days=self._settings.message_retention_days)
        for _ in range(ERASE_BATCHES_MAX):
            async with transaction(self._database.operator) as connection:
                count = await erasure.delete_older(connection, before, limit=ERASE_BATCH_MAX)
            removed += count
            if count < ERASE_BATCH_MAX:
                break
        return removed


@dataclass(frozen=True, slots=True)
class _Known:
    """The accounts, with when Meta's webhook began to count their messages, and the templates."""

    accounts: Mapping[int, datetime | None]
    templates: frozenset[int]


def _refuse(message: SentMessage, known: _Known, window: Window, now: datetime) -> tuple[str, str] | None:
    if (message.id is None) == (message.wamid is None):
        return "missing_field", "give either wamid or an id of your own"
    if message.account_id not in known.accounts:
        return "account_not_found", "account_id names no WhatsApp account of this company"
    if message.template_id is not None and message.template_id not in known.templates:
        return "template_not_found", "template_id names no template of this company"
    if message.category is not None and normal_category(message.category) is None:
        return "unknown_category", "a category is UTILITY, MARKETING, AUTHENTICATION or SERVICE"
    inbound = message.direction is Direction.INBOUND
    if message.status is not None and (message.status is Status.RECEIVED) != inbound:
        return "invalid_status", "inbound: received; outbound: sent, delivered, read, played or failed"
    start = known.accounts[message.account_id]
    if message.wamid is None and start is not None and (message.sent_at or now) >= start:
        return "counted_by_webhook", "Meta's webhook counts this account's messages: name it by its wamid"
    return None if message.sent_at is None else window.refuse(epoch_us(message.sent_at))


def _update_of(message: SentMessage, now: datetime) -> MessageUpdate:
    default = Status.RECEIVED if message.direction is Direction.INBOUND else Status.SENT
    return MessageUpdate(
        wamid=message.wamid or f"{OWN_ID_PREFIX}{message.id}",
        direction=message.direction,
        status=message.status or default,
        at=(message.sent_at or now).astimezone(UTC),
        account_id=message.account_id,
        template_id=message.template_id,
        category=message.category,
        country=message.country,
    )
