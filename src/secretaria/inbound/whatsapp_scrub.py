"""What of Meta's webhook may be written down: an allow-list of keys; customers become a keyed hash; pure.

LGPD, art. 6 III: texts, captions, names, media, links and phones are never stored. What is not named here is left out
and its key is counted, so that a field Meta adds tomorrow is seen but cannot leak.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from secretaria.core.calling_code import PHONE_DIGITS_MAX, country_of

DEPTH_MAX: Final = 12
ITEMS_MAX: Final = 2_000
TEXT_KEPT_CHARS_MAX: Final = 255
KEY_CHARS_MAX: Final = 64
UNKNOWN_KEYS_MAX: Final = 100
HMAC_HEX_CHARS: Final = 32
LAST_DIGITS: Final = 4
BRAZIL: Final = "55"

def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DESCENDED = _names(
    "entry changes value metadata statuses messages message_echoes pricing conversation origin errors referral "
    "volume_tier_info"
)
_KEPT = _names(
    "object id field time event status timestamp type messaging_product phone_number_id display_phone_number category "
    "pricing_model billable code expiration_timestamp message_template_id message_template_name "
    "message_template_language new_category previous_category correct_category category_update_timestamp "
    "previous_quality_score new_quality_score current_limit old_limit max_daily_conversations_per_business tier "
    "tier_update_time pricing_category effective_month region source_type recipient_type reason decision"
)
_CUSTOMERS = _names(
    "from to wa_id recipient_id recipient_participant_id user_id from_user_id recipient_user_id"
)
# Known and left out on purpose: content, names, media, and what says nothing that we use.
_PRIVATE = _names(
    "contacts text image audio video voice document sticker location button interactive reaction order context system "
    "identity profile unsupported edit revoke group_id parent_user_id username caption body name title message details "
    "error_data href biz_opaque_callback_data recipient_identity_key_hash conversation_id ctwa_clid headline "
    "source_url source_id media_type image_url video_url thumbnail_url welcome_message message_template_element"
)


@dataclass(slots=True)
class Scrubbed:
    """A payload that may be stored, and how often each key was met that is not known here."""

    body: dict[str, Any]
    unknown: Counter[str] = field(default_factory=Counter)


def scrub(payload: Mapping[str, Any], key: bytes) -> Scrubbed:
    """Return what of a webhook may be written; key is the secret that customers are hashed with.

    "recipient_id": "16505551234" becomes {"hmac": "5f1c...", "last4": "1234", "country": "US"}.
    """
    found = Scrubbed({})
    found.body = _object(payload, key, found.unknown, DEPTH_MAX)
    return found


def _object(value: Mapping[str, Any], key: bytes, unknown: Counter[str], depth: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, item in value.items():
        if name in _CUSTOMERS:
            kept[name] = _customer(item, key)
        elif name in _DESCENDED and isinstance(item, dict | list):
            kept[name] = _nested(item, key, unknown, depth - 1)
        elif name in _KEPT:
            if (scalar := _scalar(item)) is not None:
                kept[name] = scalar
        elif name not in _PRIVATE:
            _note(unknown, name)
    return kept


def _nested(value: Any, key: bytes, unknown: Counter[str], depth: int) -> Any:
    if depth <= 0:
        return None
    if isinstance(value, dict):
        return _object(value, key, unknown, depth)
    items = value[:ITEMS_MAX]
    if len(value) > ITEMS_MAX:
        unknown["(items past the limit)"] += len(value) - ITEMS_MAX
    return [_nested(item, key, unknown, depth - 1) for item in items if isinstance(item, dict | list)]


def _note(unknown: Counter[str], name: str) -> None:
    """Count a key we do not know, by its name where that can only be a field's name."""
    is_name = name.isascii() and name.isidentifier() and len(name) <= KEY_CHARS_MAX and name == name.lower()
    shown = name if is_name and (name in unknown or len(unknown) < UNKNOWN_KEYS_MAX) else "(other)"
    unknown[shown] += 1


def _scalar(value: Any) -> str | int | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**18 else None
    if isinstance(value, str) and len(value) <= TEXT_KEPT_CHARS_MAX and value.isprintable():
        return value
    return None


def _customer(value: Any, key: bytes) -> dict[str, str | None] | None:
    """A phone, or a business-scoped user id such as "BR.13491208655302741918", which tells its country."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip()
    prefix, dot, rest = text.partition(".")
    if dot and len(prefix) == 2 and prefix.isascii() and prefix.isalpha():
        return {"hmac": _hash(f"{prefix.upper()}.{rest}", key), "last4": None, "country": prefix.upper()}
    digits = digits_of(text)
    if not digits:
        return None
    return {"hmac": phone_hmac(digits, key), "last4": digits[-LAST_DIGITS:], "country": country_of(digits)}


def digits_of(text: str) -> str:
    """Return the digits of a phone as people write it, at most PHONE_DIGITS_MAX."""
    return "".join(character for character in text if character.isascii() and character.isdigit())[:PHONE_DIGITS_MAX]


def phone_hmac(digits: str, key: bytes) -> str:
    """Return the hash a customer's phone is kept as. A Brazilian mobile is one number with and without its ninth digit.

    Meta writes 55 11 98765-4321 as 5511987654321 or as 551187654321, by the age of the account.
    """
    if digits.startswith(BRAZIL) and len(digits) == 12 and digits[4] in "6789":
        digits = f"{digits[:4]}9{digits[4:]}"
    return _hash(digits, key)


def _hash(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:HMAC_HEX_CHARS]
