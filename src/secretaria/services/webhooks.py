"""Meta's webhook: signed, scrubbed, on disk and counted before it is answered; what could not be counted is swept.

One transaction holds the payload and all it changes. Where that fails the payload alone is written, as new, and the
sweep counts it; where even that fails the answer is 503, and Meta sends it again for 36 hours.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Final

import msgspec
import psycopg
import structlog

from secretaria.core.admission import FUTURE_MAX_US, PAST_MAX_US
from secretaria.core.errors import NotAllowed, NotAuthenticated, SecretariaError
from secretaria.core.whatsapp import DatedCategory, with_account
from secretaria.inbound.whatsapp import AccountEvent, Report, TemplateChange, is_signed, load, read
from secretaria.inbound.whatsapp_scrub import scrub
from secretaria.services.integrations import WebhookSecrets
from secretaria.services.message_counting import Update, count_messages
from secretaria.settings import Settings, secret_key
from secretaria.store import accounts, events, templates
from secretaria.store import webhooks as store
from secretaria.store.accounts import Number
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.webhooks import PayloadState, Received

NO_COMPANY: Final = -1
CHALLENGE_CHARS_MAX: Final = 256
SWEEP_PAYLOADS_MAX: Final = 500
ATTEMPTS_MAX: Final = 20
PAST_MAX: Final = timedelta(microseconds=PAST_MAX_US)
FUTURE_MAX: Final = timedelta(microseconds=FUTURE_MAX_US)
ERROR_CHARS_MAX: Final = 300
DONE_KEPT: Final = timedelta(days=7)
SET_ASIDE_KEPT: Final = timedelta(days=30)
REMOVE_BATCH_MAX: Final = 1_000
REMOVE_BATCHES_MAX: Final = 1_000
PHONE_KEY_USE: Final = b"whatsapp customers"
_COULD_NOT_COUNT = (psycopg.Error, SecretariaError, ArithmeticError, ValueError)

_log = structlog.get_logger(__name__)


SecretsOf = Callable[[int], Awaitable[WebhookSecrets | None]]
"""The secrets of an integration that has its own; None: there is no such integration."""

Tell = Callable[[dict[int, int]], None]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one payload came to: the heads' new versions, and the numbers that have no account."""

    versions: dict[int, int]
    numbers: list[str]

    @property
    def state(self) -> PayloadState:
        return PayloadState.SET_ASIDE if self.numbers else PayloadState.DONE


@dataclass(frozen=True, slots=True)
class Swept:
    """How many stored webhooks were counted, and how many failed again."""

    counted: int
    failed: int


def phone_key(settings: Settings) -> bytes:
    """Return the key customers' phones are hashed with, derived from the secret key."""
    return hmac.new(secret_key(settings).encode(), PHONE_KEY_USE, hashlib.sha256).digest()


class WebhookService:
    """Takes Meta's webhooks. tell publishes new versions; secrets_of finds an integration's own secrets."""

    def __init__(
        self, database: Database, settings: Settings, *, tell: Tell, secrets_of: SecretsOf
    ) -> None:
        self._database = database
        self._settings = settings
        self._tell = tell
        self._secrets_of = secrets_of

    @cached_property
    def _phone_key(self) -> bytes:
        return phone_key(self._settings)

    async def answer_challenge(self, query: Mapping[str, str], integration_id: int | None) -> str:
        """Return what Meta wants to read back when the webhook is set up; raises NotAllowed (verify_token_mismatch)."""
        secrets = await self._secrets(integration_id)
        sent, challenge = query.get("hub.verify_token", ""), query.get("hub.challenge", "")
        known = secrets.verify_token
        right = known is not None and hmac.compare_digest(sent.encode(), known.encode())
        plain = 0 < len(challenge) <= CHALLENGE_CHARS_MAX and challenge.isascii() and challenge.isalnum()
        if query.get("hub.mode") != "subscribe" or not right or not plain:
            raise NotAllowed("the verify token is not the one that was set here", code="verify_token_mismatch")
        return challenge

    async def receive(self, body: bytes, signature: bytes | None, *, integration_id: int | None, now: datetime) -> None:
        """Take a webhook; when this returns, it is on disk.

        Raises NotAuthenticated (invalid_signature), Malformed, and Unavailable when it could not be written.
        """
        secrets = await self._secrets(integration_id)
        if secrets.app_secret is None or not is_signed(body, signature, secrets.app_secret):
            raise NotAuthenticated("X-Hub-Signature-256 is not that of this body", code="invalid_signature")
        scrubbed = scrub(load(body), self._phone_key)
        report = read(scrubbed.body, now)
        received = Received(now, integration_id, scrubbed.body, scrubbed.unknown + report.unknown)
        try:
            async with transaction(self._database.ingest) as connection:
                outcome = await _count(
                    connection, report, received_at=now, integration_id=integration_id, now=now
                )
                await store.insert(connection, received, state=outcome.state, numbers=outcome.numbers)
        except _COULD_NOT_COUNT as error:
            _log.warning("webhook_kept_for_later", error=_shown(error))
            async with transaction(self._database.operator) as connection:
                await store.insert(connection, received, state=PayloadState.NEW, error=_shown(error))
            return
        self._tell(outcome.versions)

    async def sweep(self, now: datetime) -> Swept:
        """Count stored webhooks that are new, or whose numbers have an account by now; SWEEP_PAYLOADS_MAX at most."""
        counted = failed = after = 0
        for _ in range(SWEEP_PAYLOADS_MAX):
            payload_id, outcome = 0, None
            try:
                async with transaction(self._database.ingest) as connection:
                    payload = await store.lock_open(connection, after=after, attempts_max=ATTEMPTS_MAX)
                    if payload is None:
                        break
                    payload_id = after = payload.payload_id
                    report = read(payload.body, payload.received_at)
                    outcome = await _count(
                        connection,
                        report,
                        received_at=payload.received_at,
                        integration_id=payload.integration_id,
                        now=now,
                    )
                    await store.settle(connection, payload_id, outcome.state, outcome.numbers)
            except _COULD_NOT_COUNT as error:
                if not payload_id:
                    raise
                failed += 1
                _log.error("webhook_not_counted", payload_id=payload_id, error=_shown(error))
                async with transaction(self._database.ingest) as connection:
                    await store.note_failure(connection, payload_id, _shown(error))
                continue
            counted += 1
            self._tell(outcome.versions)
        return Swept(counted, failed)

    async def remove_expired(self, now: datetime) -> int:
        """Remove webhooks that are done, and those nobody claimed for long; return how many."""
        removed = 0
        for _ in range(REMOVE_BATCHES_MAX):
            async with transaction(self._database.operator) as connection:
                count = await store.delete_older(
                    connection, now - DONE_KEPT, set_aside_before=now - SET_ASIDE_KEPT, limit=REMOVE_BATCH_MAX
                )
            removed += count
            if count < REMOVE_BATCH_MAX:
                break
        return removed

    async def _secrets(self, integration_id: int | None) -> WebhookSecrets:
        if integration_id is None:
            return WebhookSecrets(
                NO_COMPANY, self._settings.whatsapp_app_secret, self._settings.whatsapp_verify_token
            )
        return await self._secrets_of(integration_id) or WebhookSecrets(NO_COMPANY, None, None)


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:ERROR_CHARS_MAX]


async def _count(
    connection: Connection, report: Report, *, received_at: datetime, integration_id: int | None, now: datetime
) -> _Outcome:
    """Count what a payload reports. An integration speaks for its own accounts only, the settings for all others."""
    ids = {update.phone_number_id for update in report.updates if update.phone_number_id is not None}
    found = await accounts.find_numbers(connection, sorted(ids)) if ids else {}
    numbers = {key: number for key, number in found.items() if number.integration_id == integration_id}
    wabas = await _wabas(connection, report, integration_id)
    # 1. Heads of all companies concerned first, in one statement.
    concerned = {number.company_id for of in wabas.values() for number in of}
    versions: dict[int, int] = {}
    if concerned:
        concerned |= {number.company_id for number in numbers.values()}
        versions = {company_id: head.version for company_id, head in
                    (await events.lock_heads(connection, concerned)).items()}  # fmt: skip
    # 2. Templates before messages: a message is of the category its template has by now.
    for change in report.templates:
        await _apply_template(connection, change, wabas.get(change.waba_id, []))
    updates: list[Update] = []
    for update in report.updates:
        number = numbers.get(update.phone_number_id or "")
        if number is not None and received_at - PAST_MAX <= update.at <= received_at + FUTURE_MAX:
            updates.append((number.company_id, with_account(update, number.account_id)))
    if updates:
        direct = await events.bypasses_row_level_security(connection)
        versions |= (await count_messages(connection, updates, direct=direct, now=now)).versions
    new = {(number.company_id, number.account_id) for number in numbers.values() if not number.has_webhook}
    if new:
        await accounts.begin_webhook(connection, sorted(new), received_at)
    # 3. Whatever else was told.
    for event in report.events:
        for company_id in sorted({number.company_id for number in wabas.get(event.waba_id, [])}):
            await _keep_event(connection, company_id, event)
    return _Outcome(versions, sorted(ids - numbers.keys()))


async def _wabas(connection: Connection, report: Report, integration_id: int | None) -> dict[str, list[Number]]:
    ids = {change.waba_id for change in report.templates} | {event.waba_id for event in report.events}
    found = await accounts.find_by_waba(connection, sorted(ids)) if ids else {}
    return {waba_id: [number for number in of if number.integration_id == integration_id]
            for waba_id, of in found.items()}  # fmt: skip


async def _apply_template(connection: Connection, change: TemplateChange, numbers: list[Number]) -> None:
    """Add the category from its time on, and keep the quality. A template Meta knows and we do not is made."""
    if change.is_notice:
        return
    firsts = {number.company_id: number.account_id for number in reversed(numbers)}
    for company_id, account_id in sorted(firsts.items()):
        name, language = change.name or change.meta_template_id, change.language or ""
        found = await templates.find(
            connection, company_id, meta_template_id=change.meta_template_id, name=name, language=language
        )
        if not found and change.category:
            made = await templates.insert(
                connection, company_id, account_id, name=name, language=language, now=change.at,
                meta_template_id=change.meta_template_id,
            )  # fmt: skip
            found = [] if made is None else [made]
        await templates.note_meta_id(connection, company_id, found, change.meta_template_id)
        for template_id in found:
            if change.category:
                dated = DatedCategory(change.at, change.category)
                await templates.insert_category(connection, company_id, template_id, dated, source="meta")
        if change.quality and found:
            await templates.note_quality(connection, company_id, found, change.quality, change.at)


async def _keep_event(connection: Connection, company_id: int, event: AccountEvent) -> None:
    content = msgspec.json.encode([event.waba_id, event.kind, event.at, event.detail], order="deterministic")
    await store.insert_event(
        connection,
        company_id,
        event_hash=blake2b(content, digest_size=16).hexdigest(),
        waba_id=event.waba_id,
        kind=event.kind,
        at=event.at,
        detail=event.detail,
    )
