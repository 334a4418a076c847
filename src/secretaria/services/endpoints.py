"""Endpoints: where a company, or the operator (company 0), wants its news. Kept by members and operators.

Secrets are shown when they are made and never again; the audit log sees neither them nor what stands in a URL's query.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from secretaria.core import standard_webhook
from secretaria.core.access import OPERATOR_COMPANY_ID, PROCESS, Caller, Scope
from secretaria.core.account import check_email, check_locale, normalise_email
from secretaria.core.audit_chain import changed
from secretaria.core.delivery import DEFAULT_EVENTS, EVENTS, TEST_PING, Channel, DisabledReason, EndpointStatus
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.outbound.resolver import Resolve
from secretaria.outbound.webhook import check_resolves, check_url
from secretaria.services.deliveries import REDELIVERED_AT_ONCE_MAX, body_of, shown_address
from secretaria.services.scope import company_not_found, company_transaction, operator_transaction
from secretaria.services.secret_box import SecretUnreadable
from secretaria.services.signing import Signing, SigningSecret
from secretaria.store import audit, companies, deliveries
from secretaria.store import delivery_endpoints as store
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.delivery_endpoints import Endpoint, NewEndpoint

ENDPOINTS_A_CHANNEL_MAX: Final = 10
ENDPOINTS_LISTED_MAX: Final = 2 * ENDPOINTS_A_CHANNEL_MAX + 1
DESCRIPTION_CHARS_MAX: Final = 200
RESEALED_A_PASS_MAX: Final = 100
REDELIVERED_BACK_MAX: Final = timedelta(days=90)
CHANGEABLE: Final = ("address", "description", "events", "locale")
_TEST_KEY_BYTES: Final = 8


class NewSecret(NamedTuple):
    """An endpoint as it is now, and the secret it was just given: None for an e-mail address."""

    endpoint: Endpoint
    secret: str | None


def endpoint_not_found() -> NotFound:
    """Build the answer for an endpoint that does not exist and for another company's: they are never told apart."""
    return NotFound("no such endpoint", code="endpoint_not_found")


class EndpointService:
    """Members keep their own company's endpoints, operators anybody's. own_hosts: names this server goes by."""

    def __init__(
        self, database: Database, signing: Signing, *, own_hosts: Sequence[str] = (), resolve: Resolve | None = None
    ) -> None:
        self._database = database
        self._signing = signing
        self._own_hosts = tuple(own_hosts)
        self._resolve = resolve

    async def list(self, caller: Caller, company_id: int) -> list[Endpoint]:
        """Return a company's endpoints by id; 0 lists the operator's own. Raises NotFound, NotAllowed."""
        caller.require_company(company_id)
        caller.require_scope(Scope.ANALYTICS_READ)
        async with company_transaction(self._database, caller, company_id) as connection:
            await _require_company(connection, company_id)
            return await store.read_all(connection, company_id, limit=ENDPOINTS_LISTED_MAX)

    async def get(self, caller: Caller, endpoint_id: int) -> Endpoint:
        """Return one endpoint; raises NotFound."""
        caller.require_scope(Scope.ANALYTICS_READ)
        company_id = await self._company_of(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await _read(connection, company_id, endpoint_id)

    async def create(
        self,
        caller: Caller,
        company_id: int,
        channel: str,
        address: str,
        *,
        description: str = "",
        events: Sequence[str] | None = None,
        locale: str = "pt-BR",
        now: datetime,
    ) -> NewSecret:
        """Make an endpoint, with a secret when it is a webhook. events None: those its channel begins with.

        Raises InvalidInput (unknown_channel, url_not_allowed, invalid_email, unknown_event, unknown_locale, too_long,
        too_many_endpoints), NotFound and NotAllowed.
        """
        caller.require_company(company_id)
        caller.require_scope(Scope.ENDPOINTS_WRITE)
        kind = _channel(channel)
        new = NewEndpoint(
            company_id,
            kind,
            await self._checked_address(kind, address),
            _checked_description(description),
            _checked_events(kind, events) if events is not None else DEFAULT_EVENTS[kind],
            check_locale(locale),
        )
        async with company_transaction(self._database, caller, company_id) as connection:
            await _require_company(connection, company_id)
            await store.lock_company(connection, company_id)
            if await store.count(connection, company_id, kind) >= ENDPOINTS_A_CHANNEL_MAX:
                raise InvalidInput(
                    f"at most {ENDPOINTS_A_CHANNEL_MAX} of a kind; remove one first", code="too_many_endpoints"
                )
            endpoint_id = await store.insert(connection, new, now=now)
            secret = standard_webhook.create_secret() if kind is Channel.WEBHOOK else None
            if secret is not None:
                sealed = self._signing.seal(company_id, endpoint_id, [SigningSecret(secret)])
                await store.set_secrets(connection, company_id, endpoint_id, sealed)
            made = await _read(connection, company_id, endpoint_id)
            await _note(connection, caller, "endpoint.created", made, described(made))
        return NewSecret(made, secret)

    async def change(self, caller: Caller, endpoint_id: int, change: Mapping[str, Any], now: datetime) -> Endpoint:
        """Change what is named of CHANGEABLE. Another address begins anew: whatever failed was the old one's.

        Raises as create(), and InvalidInput (endpoint_from_settings).
        """
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            kind = (await _read(connection, company_id, endpoint_id)).channel
        checked = await self._checked(kind, change)
        async with company_transaction(self._database, caller, company_id) as connection:
            before = await _read(connection, company_id, endpoint_id, lock=True)
            wanted = replace(before, **checked)
            if wanted.address != before.address:
                _refuse_settings(before)
                wanted = replace(wanted, failing_since=None, held_until=None)
                await deliveries.release(connection, company_id, endpoint_id, now=now)
            if wanted != before:
                await store.change(connection, wanted)
                await deliveries.notify(connection)
                detail = changed(described(before), described(wanted))
                await _note(connection, caller, "endpoint.changed", wanted, detail)
        return wanted

    async def preview(self, caller: Caller, endpoint_id: int, change: Mapping[str, Any]) -> Endpoint:
        """Return an endpoint as change() would leave it; nothing is written. Raises as change()."""
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            before = await _read(connection, company_id, endpoint_id)
        wanted = replace(before, **await self._checked(before.channel, change))
        if wanted.address != before.address:
            _refuse_settings(before)
        return wanted

    async def remove(self, caller: Caller, endpoint_id: int, now: datetime) -> None:
        """Remove an endpoint; what waited for it is cancelled, its log stays. Raises NotFound, InvalidInput."""
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            endpoint = await _read(connection, company_id, endpoint_id, lock=True)
            _refuse_settings(endpoint)
            await store.remove(connection, company_id, endpoint_id, now=now)
            cancelled = await deliveries.cancel(connection, company_id, endpoint_id)
            detail = {**described(endpoint), "cancelled": cancelled}
            await _note(connection, caller, "endpoint.removed", endpoint, detail)

    async def rotate(self, caller: Caller, endpoint_id: int, now: datetime) -> NewSecret:
        """Give a webhook another secret; the one before signs on beside it for signing.OVERLAP."""
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            endpoint = await _read(connection, company_id, endpoint_id, lock=True)
            _refuse_settings(endpoint)
            if endpoint.channel is not Channel.WEBHOOK:
                raise InvalidInput("an e-mail address has no secret", code="no_secret")
            secret = standard_webhook.create_secret()
            sealed = self._signing.rotated(endpoint, secret, now)
            await store.set_secrets(connection, company_id, endpoint_id, sealed)
            await _note(connection, caller, "endpoint.secret_rotated", endpoint)
        return NewSecret(endpoint, secret)

    async def enable(self, caller: Caller, endpoint_id: int, now: datetime) -> Endpoint:
        """Let an endpoint be tried again, and send what waited for it. An active one stays as it is."""
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            endpoint = await _read(connection, company_id, endpoint_id, lock=True)
            if endpoint.status is EndpointStatus.ACTIVE:
                return endpoint
            if endpoint.disabled_reason is DisabledReason.UNSET:
                _refuse_settings(endpoint)
            enabled = await _enable(connection, endpoint, now)
            await _note(connection, caller, "endpoint.enabled", enabled)
        return enabled

    async def test(self, caller: Caller, endpoint_id: int, now: datetime) -> int:
        """Send an endpoint a test and return the delivery's id: tried once, its result is in the log."""
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            endpoint = await _read(connection, company_id, endpoint_id, lock=True)
            if endpoint.status is not EndpointStatus.ACTIVE:
                raise InvalidInput("the endpoint is disabled: enable it first", code="endpoint_disabled")
            data = {"endpoint_id": endpoint_id, "company_id": company_id}
            delivery_id = await deliveries.insert_for(
                connection, company_id, endpoint_id,
                event_type=TEST_PING, key=f"test_{secrets.token_hex(_TEST_KEY_BYTES)}",
                body=body_of(TEST_PING, data, now), now=now,
            )  # fmt: skip
            await store.change(connection, replace(endpoint, held_until=None))
            await deliveries.notify(connection)
            await _note(connection, caller, "endpoint.tested", endpoint, {"delivery_id": delivery_id})
        return delivery_id

    async def redeliver_since(self, caller: Caller, endpoint_id: int, since: datetime, now: datetime) -> int:
        """Deliver again what was meant for an endpoint since then, each under its own message_id; return how many.

        Raises InvalidInput (day_out_of_range, too_many_deliveries).
        """
        company_id = await self._writable(caller, endpoint_id)
        async with company_transaction(self._database, caller, company_id) as connection:
            endpoint = await _read(connection, company_id, endpoint_id, lock=True)
            if not now - REDELIVERED_BACK_MAX <= since <= now:
                days = REDELIVERED_BACK_MAX.days
                raise InvalidInput(f"since lies within the last {days} days", code="day_out_of_range", pointer="/since")
            since = since.astimezone(UTC)  # only now: the first and the last day there is may lie outside of UTC's
            most = REDELIVERED_AT_ONCE_MAX
            of = connection, company_id, endpoint_id, since
            if await deliveries.count_since(*of, but_for=TEST_PING, limit=most + 1) > most:
                raise InvalidInput(f"more than {most} deliveries: choose a later day", code="too_many_deliveries")
            begun = await deliveries.redeliver_since(*of, but_for=TEST_PING, now=now)
            await store.change(connection, replace(endpoint, held_until=None))
            await deliveries.notify(connection)
            detail = {"since": since.isoformat(), "deliveries": begun}
            await _note(connection, caller, "endpoint.redelivered", endpoint, detail)
        return begun

    async def reseal(self) -> int:
        """Seal with the current key what a retired one sealed; return how many endpoints changed."""
        async with operator_transaction(self._database, PROCESS) as connection:
            found = await store.read_sealed_by_others(connection, self._signing.current, limit=RESEALED_A_PASS_MAX)
        resealed = 0
        for company_id, endpoint_id in found:
            async with company_transaction(self._database, PROCESS, company_id) as connection:
                endpoint = await store.read(connection, company_id, endpoint_id, lock=True)
                if endpoint is None:
                    continue
                try:
                    sealed = self._signing.seal(company_id, endpoint_id, self._signing.open(endpoint))
                except SecretUnreadable:
                    continue
                await store.set_secrets(connection, company_id, endpoint_id, sealed)
                resealed += 1
        return resealed

    async def _company_of(self, caller: Caller, endpoint_id: int) -> int:
        if not caller.is_operator:
            return caller.company_id
        async with transaction(self._database.operator) as connection:
            company_id = await store.find_company(connection, endpoint_id)
        if company_id is None:
            raise endpoint_not_found()
        return company_id

    async def _writable(self, caller: Caller, endpoint_id: int) -> int:
        caller.require_scope(Scope.ENDPOINTS_WRITE)
        return await self._company_of(caller, endpoint_id)

    async def _checked_address(self, channel: Channel, address: str) -> str:
        if channel is Channel.MAIL:
            try:
                return normalise_email(check_email(address))
            except InvalidInput as error:
                raise InvalidInput(error.message, code=error.code, pointer="/address") from None
        try:
            url = check_url(address, own_hosts=self._own_hosts)
            await check_resolves(url, resolve=self._resolve)
        except InvalidInput as error:
            raise InvalidInput(error.message, code=error.code, pointer="/address") from None
        return url

    async def _checked(self, channel: Channel, change: Mapping[str, Any]) -> dict[str, Any]:
        checked: dict[str, Any] = {}
        if "address" in change:
            checked["address"] = await self._checked_address(channel, change["address"])
        if "description" in change:
            checked["description"] = _checked_description(change["description"])
        if "events" in change:
            checked["events"] = _checked_events(channel, change["events"])
        if "locale" in change:
            checked["locale"] = check_locale(change["locale"])
        return checked


def described(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint for the audit log."""
    return {
        "channel": endpoint.channel.value,
        "address": shown_address(endpoint.address),
        "description": endpoint.description,
        "events": list(endpoint.events),
        "locale": endpoint.locale,
    }


async def _require_company(connection: Connection, company_id: int) -> None:
    if company_id != OPERATOR_COMPANY_ID and await companies.read(connection, company_id) is None:
        raise company_not_found()


async def _read(connection: Connection, company_id: int, endpoint_id: int, *, lock: bool = False) -> Endpoint:
    found = await store.read(connection, company_id, endpoint_id, lock=lock)
    if found is None:
        raise endpoint_not_found()
    return found


async def _enable(connection: Connection, endpoint: Endpoint, now: datetime) -> Endpoint:
    enabled = replace(
        endpoint, status=EndpointStatus.ACTIVE, disabled_at=None, disabled_reason=None, failing_since=None,
        held_until=None,
    )  # fmt: skip
    await store.change(connection, enabled)
    await deliveries.release(connection, endpoint.company_id, endpoint.endpoint_id, now=now)
    await deliveries.notify(connection)
    return enabled


async def _note(
    connection: Connection, caller: Caller, action: str, endpoint: Endpoint, detail: dict[str, Any] | None = None
) -> None:
    await audit.insert(
        connection, endpoint.company_id, actor=caller.identity, action=action,
        subject=f"endpoint:{endpoint.endpoint_id}", detail=detail,
    )  # fmt: skip


def _refuse_settings(endpoint: Endpoint) -> None:
    if endpoint.from_settings:
        raise InvalidInput(
            "this endpoint is kept by BILLING_ALERT_WEBHOOK_URL: change it there", code="endpoint_from_settings"
        )


def _channel(text: str) -> Channel:
    try:
        return Channel(text)
    except ValueError:
        known = " or ".join(Channel)
        raise InvalidInput(f"a channel is {known}", code="unknown_channel", pointer="/channel") from None


def _checked_description(text: str) -> str:
    if len(text) > DESCRIPTION_CHARS_MAX:
        raise InvalidInput(f"at most {DESCRIPTION_CHARS_MAX} characters", code="too_long", pointer="/description")
    return text.strip()


def _checked_events(channel: Channel, events: Sequence[str]) -> tuple[str, ...]:
    known = [event.value for event in EVENTS[channel]]
    if not events or not set(events) <= set(known):
        raise InvalidInput(f"one or more of {', '.join(known)}", code="unknown_event", pointer="/events")
    return tuple(event for event in known if event in events)
