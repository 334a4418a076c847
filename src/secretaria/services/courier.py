"""Who carries a delivery to an endpoint: one courier a channel. dispatcher.py decides when, and what follows."""

from datetime import datetime
from typing import Protocol

from secretaria.core import standard_webhook
from secretaria.core.delivery import Outcome
from secretaria.outbound.webhook import WebhookClient
from secretaria.services.signing import Signing
from secretaria.store.deliveries import Delivery
from secretaria.store.delivery_endpoints import Endpoint


class Courier(Protocol):
    """Makes one attempt. What the other side does is an outcome; what is wrong on ours may be raised."""

    async def send(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> Outcome:
        """Try once, within dispatcher.ATTEMPT_MAX_S. delivery.message_id is the same in every attempt."""
        ...


class WebhookCourier:
    """Signs a delivery's body and posts it, byte for byte as it was written."""

    def __init__(self, client: WebhookClient, signing: Signing) -> None:
        self._client = client
        self._signing = signing

    async def send(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> Outcome:
        """Post once. Raises SecretUnreadable."""
        body = delivery.body.encode()
        secrets = self._signing.in_use(endpoint, now)
        if secrets:
            headers = standard_webhook.headers(delivery.message_id, now, body, secrets)
        else:  # the operator's own URL without BILLING_ALERT_WEBHOOK_SECRET
            headers = {"webhook-id": delivery.message_id, "webhook-timestamp": str(int(now.timestamp()))}
        answer = await self._client.post(
            endpoint.address, body, headers, private_allowed=endpoint.private_allowed, now=now
        )
        return Outcome(
            answer.succeeded,
            answer.status_code,
            answer.error,
            answer.duration_ms,
            answer.head,
            answer.retry_after_s,
        )
