"""Posts the demo's webhooks to the running copy's own door, as Meta would: over HTTP, signed."""

from typing import Final

import httpx2

from secretaria.core.errors import Unavailable

PATH: Final = "/webhooks/whatsapp"
TIMEOUT_S: Final = 20.0


class OwnWebhook:
    """One connection to the copy at url."""

    def __init__(self, url: str) -> None:
        # Straight to this machine, whatever proxy the environment names.
        self._client = httpx2.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    async def deliver(self, body: bytes, signature: bytes) -> None:
        """Post a webhook; returns once it was taken. Raises Unavailable, whatever the reason: Meta too sends again."""
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature.decode("ascii")}
        try:
            answer = await self._client.post(PATH, content=body, headers=headers)
        except httpx2.HTTPError as error:
            raise Unavailable(f"no webhook can be delivered: {error or type(error).__name__}") from error
        if answer.status_code != httpx2.codes.OK:
            raise Unavailable(f"the webhook was answered {answer.status_code}")

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
