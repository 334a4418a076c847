"""The operator's own endpoint out of the settings, kept in step with them when the web and the worker start."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import structlog

from secretaria.core import standard_webhook
from secretaria.core.access import OPERATOR_COMPANY_ID, PROCESS
from secretaria.core.address import is_public
from secretaria.core.audit_chain import changed
from secretaria.core.delivery import DEFAULT_EVENTS, Channel, DisabledReason, EndpointStatus
from secretaria.core.errors import ConfigurationError, InvalidInput
from secretaria.outbound.resolver import Resolve, resolve_worldwide
from secretaria.outbound.webhook import RESOLVE_TIMEOUT_S, check_url
from secretaria.services.deliveries import shown_address
from secretaria.services.secret_box import SecretUnreadable
from secretaria.services.signing import Signing, SigningSecret
from secretaria.settings import Settings
from secretaria.store import audit, deliveries
from secretaria.store import delivery_endpoints as store
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.delivery_endpoints import Endpoint, NewEndpoint

DESCRIPTION: Final = "BILLING_ALERT_WEBHOOK_URL"

_log = structlog.get_logger(__name__)


class _Wanted(NamedTuple):
    """What the settings say, checked."""

    url: str
    private_allowed: bool
    secret: str | None


class OperatorEndpoint:
    """The one endpoint that nobody made by hand."""

    def __init__(
        self, database: Database, settings: Settings, signing: Signing, *, resolve: Resolve = resolve_worldwide
    ) -> None:
        self._database = database
        self._settings = settings
        self._signing = signing
        self._resolve = resolve

    async def sync(self, now: datetime) -> None:
        """Make, change, enable or disable the endpoint as the settings say. Again changes nothing.

        Raises ConfigurationError when the URL or the secret cannot be taken, naming the variable.
        """
        wanted = await _wanted(self._settings, self._resolve)
        async with transaction(self._database.operator) as connection:
            await store.lock_company(connection, OPERATOR_COMPANY_ID)
            endpoint = await store.read_of_settings(connection)
            if wanted is None:
                if endpoint is not None and endpoint.status is EndpointStatus.ACTIVE:
                    await store.disable(connection, endpoint, DisabledReason.UNSET, now=now)
                    await _note(connection, endpoint, "endpoint.disabled", {"reason": DisabledReason.UNSET.value})
                return
            if endpoint is None:
                endpoint = await _make(connection, wanted, now)
            else:
                await _change(connection, endpoint, wanted, now)
            await _seal(connection, self._signing, endpoint, wanted.secret, now)


async def _wanted(settings: Settings, resolve: Resolve) -> _Wanted | None:
    url, private, secret = (
        settings.billing_alert_webhook_url,
        settings.billing_alert_webhook_private,
        settings.billing_alert_webhook_secret,
    )
    if url is None:
        return None
    try:
        checked = check_url(url, private_allowed=private)
    except InvalidInput as error:
        raise _refused(error.message, private=private) from None
    if not private and await _leads_inside(checked, resolve):
        raise _refused("the name leads to a private or reserved address", private=private)
    if secret is not None:
        try:
            standard_webhook.check_secret(secret)
        except InvalidInput as error:
            raise ConfigurationError(
                f"BILLING_ALERT_WEBHOOK_SECRET: {error.message}, like whsec_ and what `openssl rand -base64 32` prints"
            ) from None
    return _Wanted(checked, private, secret)


def _refused(reason: str, *, private: bool) -> ConfigurationError:
    hint = "" if private else "; BILLING_ALERT_WEBHOOK_PRIVATE=true allows http and private addresses"
    return ConfigurationError(f"BILLING_ALERT_WEBHOOK_URL: {reason}{hint}")


async def _leads_inside(url: str, resolve: Resolve) -> bool:
    """Tell whether a name leads to an address that is not public. One that is not answered for now may be later."""
    host = urlsplit(url).hostname or ""
    texts: Sequence[str] = ()
    try:
        ip_address(host)
    except ValueError:
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                texts = await resolve(host)
        except OSError as error:  # a timeout is one, too
            _log.warning("alert_webhook_name_unknown", host=host, error=str(error))
    return not all(is_public(ip_address(text)) for text in texts)


async def _make(connection: Connection, wanted: _Wanted, now: datetime) -> Endpoint:
    new = NewEndpoint(
        OPERATOR_COMPANY_ID, Channel.WEBHOOK, wanted.url, DESCRIPTION, DEFAULT_EVENTS[Channel.WEBHOOK], "pt-BR",
        private_allowed=wanted.private_allowed, from_settings=True,
    )  # fmt: skip
    await store.insert(connection, new, now=now)
    made = await store.read_of_settings(connection)
    assert made is not None  # noqa: S101  inserted above
    await _note(connection, made, "endpoint.created", _described(made))
    return made


async def _change(connection: Connection, endpoint: Endpoint, wanted: _Wanted, now: datetime) -> None:
    """Another URL begins anew, and one that is set again is tried again; what a receiver's 410 ended stays ended."""
    after = replace(endpoint, address=wanted.url, private_allowed=wanted.private_allowed)
    if wanted.url != endpoint.address or endpoint.disabled_reason is DisabledReason.UNSET:
        after = replace(
            after, status=EndpointStatus.ACTIVE, disabled_at=None, disabled_reason=None, failing_since=None,
            held_until=None,
        )  # fmt: skip
        await deliveries.release(connection, endpoint.company_id, endpoint.endpoint_id, now=now)
        await deliveries.notify(connection)
    if after != endpoint:
        await store.change(connection, after)
        await store.set_private_allowed(connection, endpoint, allowed=wanted.private_allowed)
        await _note(connection, endpoint, "endpoint.changed", changed(_described(endpoint), _described(after)))


async def _seal(
    connection: Connection, signing: Signing, endpoint: Endpoint, secret: str | None, now: datetime
) -> None:
    """Sign with the setting's secret; another one before it signs on for a while."""
    try:
        newest = next((of.secret for of in signing.open(endpoint)), None)
        sealed = None if secret is None else signing.rotated(endpoint, secret, now)
    except SecretUnreadable:
        newest = None
        sealed = signing.seal(endpoint.company_id, endpoint.endpoint_id, [SigningSecret(secret)]) if secret else None
    if newest != secret:
        await store.set_secrets(connection, endpoint.company_id, endpoint.endpoint_id, sealed)
        await _note(connection, endpoint, "endpoint.secret_rotated", {"signed": secret is not None})


def _described(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "address": shown_address(endpoint.address),
        "private_allowed": endpoint.private_allowed,
        "status": endpoint.status.value,
    }


async def _note(connection: Connection, endpoint: Endpoint, action: str, detail: dict[str, Any]) -> None:
    await audit.insert(
        connection, endpoint.company_id, actor=PROCESS.identity, action=action,
        subject=f"endpoint:{endpoint.endpoint_id}", detail=detail,
    )  # fmt: skip
