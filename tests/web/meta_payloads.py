"""What Meta sends, made by hand: statuses, messages, envelopes and their signature."""

import hashlib
import hmac
import time
from typing import Any

SECRET, TOKEN = "an app secret", "a verify token"
NUMBER, WABA = "106540352242922", "102290129340398"
HOOK = "/webhooks/whatsapp"


def now_s() -> int:
    return int(time.time())


def status(wamid: str, word: str, *, at: int | None = None, category: str | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": wamid, "status": word, "timestamp": str(at or now_s()), "recipient_id": "5511987654321"}
    if category:
        found["pricing"] = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": category}
    return found | more


def hook(*statuses: dict[str, Any], messages: Any = (), number: str = NUMBER) -> dict[str, Any]:
    value = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "1555", "phone_number_id": number}}
    value |= {"statuses": list(statuses)} if statuses else {}
    value |= {"messages": list(messages)} if messages else {}
    return envelope(value, "messages")


def envelope(value: dict[str, Any], field: str, **entry: Any) -> dict[str, Any]:
    change = {"value": value, "field": field}
    return {"object": "whatsapp_business_account", "entry": [{"id": WABA, **entry, "changes": [change]}]}


def signature(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
