"""JSON bodies, read so that nothing is lost or guessed: UTF-8 only, no key twice, no NaN, bounded depth and size; pure.

Serves the CloudEvents reader and the routes of web/api alike: one parser, so that no two can disagree.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from secretaria.core.errors import InvalidInput, Malformed, UnsupportedFormat

DEPTH_MAX = 8
PROPERTIES_MAX = 50
KEY_SHOWN_CHARS_MAX = 64


def media_type_of(headers: Mapping[str, str]) -> str | None:
    """Return the media type, without parameters, of lower-case headers; raises UnsupportedFormat."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedFormat("Content-Encoding is not supported: send the body as it is")
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8"):
        raise UnsupportedFormat("the charset must be UTF-8")
    return media_type.strip().lower() or None


def load(body: bytes) -> Any:
    """Return the value; fractions become Decimal. Raises Malformed and InvalidInput, each with its code."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("the body is not UTF-8", code="invalid_utf8") from error
    if not text.strip():
        raise Malformed("the body is empty", code="expected_object")
    if text.startswith("\ufeff"):
        raise Malformed("the body begins with a byte order mark: send plain UTF-8", code="byte_order_mark")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number, parse_int=_integer
        )
    except RecursionError as error:
        raise Malformed("the body is nested too deeply", code="too_deep") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"malformed JSON at character {error.pos}: {error.msg}", code="malformed_json") from error
    if _depth(value) > DEPTH_MAX + 1:
        raise Malformed(f"the body is nested deeper than {DEPTH_MAX} levels", code="too_deep")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > PROPERTIES_MAX:
        raise InvalidInput(f"an object holds more than {PROPERTIES_MAX} properties", code="too_many_properties")
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        name = twice[:KEY_SHOWN_CHARS_MAX]
        raise Malformed(f"the key {name!r} stands twice in one object", code="duplicate_key")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON", code="malformed_json")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise Malformed("a number is out of range", code="number_out_of_range") from error


def _integer(text: str) -> int:
    # 20 characters hold every 64-bit integer; longer ones are out of every range and slow to parse.
    return int(text) if len(text) <= 20 else int(text[:20])


def _depth(value: Any) -> int:
    """Return the nesting depth, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        level = [child for child in children if isinstance(child, (dict, list))]
    return depth


def refuse_strings(value: Any) -> tuple[str, str] | None:
    """Return (code, message) when a string in it holds NUL or a lone surrogate: neither can be stored."""
    level = [value]
    while level:
        children: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if "\0" in item:
                    return "nul_character", "a string holds the character U+0000"
                if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                    return "invalid_unicode", "a string holds a lone surrogate"
            elif isinstance(item, dict):
                children.extend(item.keys())
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        level = children
    return None
