"""The audit log as a chain: each line's hash covers its content and the hash before it; pure (docs/decisions/0017).

A line that is changed, taken out, put in or moved breaks the chain at itself or at the line after it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

VERSION: Final = b"\x01"
GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line as stored. sequence and hash are None for lines from before the chain."""

    company_id: int
    audit_id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    sequence: int | None
    hash: bytes | None


@dataclass(frozen=True, slots=True)
class Head:
    """The number and the hash of a company's last line."""

    sequence: int
    hash: bytes


class Break(StrEnum):
    """What differs where a chain breaks."""

    MISSING = "missing"
    CONTENT = "content"
    UNNUMBERED = "unnumbered"
    COUNT = "count"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first broken line of a company: its number, what differs, and a sentence for people."""

    sequence: int
    what: Break
    sentence: str


def line_hash(
    *,
    company_id: int,
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    previous: bytes,
) -> bytes:
    """Return SHA-256 of the version byte and a JSON array of the rest.

    The array, in UTF-8 without spaces and without escapes that JSON does not demand, holds in this order: company_id,
    sequence, `at` in UTC as YYYY-MM-DDTHH:MM:SS.ffffff+00:00, actor, action, subject, detail with sorted keys, and
    the hash before it as 64 hexadecimal digits (64 zeros for the first line).
    """
    instant = at.astimezone(UTC).isoformat(timespec="microseconds")
    parts = [company_id, sequence, instant, actor, action, subject, detail, previous.hex()]
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(VERSION + text.encode("utf-8", "surrogatepass")).digest()


def stored_detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detail as jsonb gives it back: enums as their text, tuples as lists.

    Raises TypeError for numbers with a fraction: jsonb may write them in another way than they came. Amounts are text.
    """
    found: dict[str, Any] = json.loads(json.dumps(detail), parse_float=_refuse, parse_constant=_refuse)
    return found


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a change tells the log: of the fields that differ, the values before and after."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return {"before": {key: before.get(key) for key in keys}, "after": {key: after.get(key) for key in keys}}


def walk(last: Head, page: Iterable[AuditLine]) -> Head | Broken:
    """Go on from a proven line through the next ones in order; return the last proven line, or what broke."""
    for line in page:
        expected = last.sequence + 1
        if line.sequence != expected:
            return Broken(expected, Break.MISSING, f"line {expected} is missing: {line.sequence} comes next")
        found = line_hash(
            company_id=line.company_id, sequence=expected, at=line.at, actor=line.actor, action=line.action,
            subject=line.subject, detail=line.detail, previous=last.hash,
        )  # fmt: skip
        if found != line.hash:
            sentence = f"line {expected}: its hash does not follow from its content and the line before"
            return Broken(expected, Break.CONTENT, sentence)
        last = Head(expected, found)
    return last


def ended(last: Head, head: Head | None, *, count: int) -> Broken | None:
    """Compare the last proven line with the stored head and the number of lines; None when all three agree."""
    stored = head or Head(0, GENESIS)
    if stored.sequence > last.sequence:
        first = last.sequence + 1
        return Broken(first, Break.MISSING, f"line {first} is missing: the head says there are {stored.sequence}")
    if stored != last:
        return Broken(last.sequence, Break.HEAD, f"line {last.sequence}: the head does not name it as the last line")
    if count != last.sequence:
        return Broken(last.sequence, Break.COUNT, f"line {last.sequence} is the last, yet {count} lines are stored")
    return None


def _refuse(text: str) -> Any:
    raise TypeError(f"the audit log keeps amounts as text, not as the number {text}")
