"""Meta's Graph API, read only: message costs of a WABA, ad spend, phone numbers and their pictures.

The token travels in a header only, redirects are not followed, and nothing Meta writes for people is repeated: its
messages can hold the token. Shapes: developers.facebook.com/docs/whatsapp/business-management-api/analytics.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from secretaria.core.errors import DeliveryError

API_VERSION: Final = "v25.0"
"""Until 2028-07-29. Where META_GRAPH_URL has no version of its own."""

METAS_OWN: Final = "graph.facebook.com"
CONNECT_TIMEOUT_S: Final = 5.0
TIMEOUT_S: Final = 20.0
REQUEST_TIMEOUT_S: Final = 45.0
"""For a whole answer, however slowly its bytes come."""

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
PICTURE_BYTES_MAX: Final = 1024 * 1024
PAGES_MAX: Final = 20
PAGE_ROWS: Final = 100
POINTS_MAX: Final = 50_000
PHONE_NUMBERS_MAX: Final = 200
TEXT_CHARS_MAX: Final = 255
CURSOR_CHARS_MAX: Final = 1_000
CONNECTIONS_MAX: Final = 8
AMOUNT_DIGITS_MAX: Final = 18
VOLUME_MAX: Final = 10**12
RETRY_AFTER_MAX_S: Final = 24 * 3600

# Meta's codes (error reference and rate limits). 3 and 0 are of the same family as 10 and 190.
_BACK_OFF_CODES: Final = frozenset((1, 2, 4, 17, 32, 613, 80000, 80004, 80007, 130429, 131000, 131016))
_RECONNECT_CODES: Final = frozenset((0, 3, 10, 102, 190, *range(200, 300)))
_TIMED_OUT_SUBCODE: Final = 1504018  # of code 100: the insights query took Meta too long

_PICTURE_HOSTS: Final = (".whatsapp.net", ".fbcdn.net", ".fbsbx.com")
_PICTURE_TYPES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


class Trouble(StrEnum):
    """What an error asks for: patience, the operator's hand at the connection, or another id."""

    BACK_OFF = "back_off"
    RECONNECT = "reconnect"
    REFUSED = "refused"


class GraphError(DeliveryError):
    """Meta did not answer what we asked. meta_code is Meta's, None when there was no answer of Meta's to read."""

    def __init__(self, message: str, trouble: Trouble, *, meta_code: int | None = None, wait_s: int = 0) -> None:
        super().__init__(message, permanent=trouble is not Trouble.BACK_OFF)
        self.trouble = trouble
        self.meta_code = meta_code
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class PricingPoint:
    """What one kind of message came to between two instants; amount is None where Meta tells no cost."""

    start: datetime
    phone: str
    category: str
    pricing_type: str
    volume: int
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class AdAccount:
    """An ad account: its currency and the zone its days are told in."""

    currency: str
    timezone: str


@dataclass(frozen=True, slots=True)
class SpendDay:
    """What the ads of an account cost on one of the account's days."""

    day: date
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number of a WABA; quality_rating is GREEN, YELLOW, RED, NA or UNKNOWN."""

    phone_number_id: str
    display_phone_number: str
    verified_name: str
    quality_rating: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a profile picture and their type."""

    content: bytes
    content_type: str


class MetaGraph:
    """One client for all companies; each call brings its company's token."""

    def __init__(self, url: str) -> None:
        self._url = versioned(url)
        self._origin = urlsplit(self._url).netloc
        timeout = httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        limits = httpx2.Limits(max_connections=CONNECTIONS_MAX)
        self._client = httpx2.AsyncClient(timeout=timeout, limits=limits, follow_redirects=False)

    @property
    def is_metas_own(self) -> bool:
        """Tell whether it is Meta itself that is asked."""
        return self._origin == METAS_OWN

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def waba_currency(self, token: str, waba_id: str) -> str:
        """Return the currency Meta charges the account's messages in: pricing_analytics does not say."""
        node = await self._get(token, waba_id, {"fields": "id,currency"})
        return _currency(node.get("currency"))

    async def pricing(self, token: str, waba_id: str, start: datetime, end: datetime) -> list[PricingPoint]:
        """Return the half-hour points of [start, end), whose bounds are whole half hours."""
        query = (
            f"pricing_analytics.start({int(start.timestamp())}).end({int(end.timestamp())}).granularity(HALF_HOUR)"
            ".dimensions(PRICING_CATEGORY,PRICING_TYPE,PHONE)"
        )
        points: list[PricingPoint] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            field = f"{query}.after({cursor})" if cursor else query
            found = _mapping((await self._get(token, waba_id, {"fields": field})).get("pricing_analytics", {}))
            for group in _sequence(found.get("data", [])):
                points += [_pricing_point(_mapping(one)) for one in _sequence(_mapping(group).get("data_points", []))]
            cursor = _next_cursor(found)
            if len(points) > POINTS_MAX:
                break
            if not cursor:
                return points
        raise _unreadable("more points than were expected")

    async def ad_account(self, token: str, ad_account_id: str) -> AdAccount:
        """Return the currency and zone of an ad account."""
        node = await self._get(token, ad_account_id, {"fields": "currency,timezone_name"})
        return AdAccount(_currency(node.get("currency")), _text(node.get("timezone_name")))

    async def ads_spend(self, token: str, ad_account_id: str, first: date, last: date) -> list[SpendDay]:
        """Return the spend of the days from first to last; a day without delivery has no row."""
        query = {
            "fields": "spend,account_currency",
            "level": "account",
            "time_increment": "1",
            "time_range": json.dumps({"since": first.isoformat(), "until": last.isoformat()}),
        }
        return [_spend_day(row) async for row in self._rows(token, f"{ad_account_id}/insights", query)]

    async def phone_numbers(self, token: str, waba_id: str) -> list[PhoneNumber]:
        """Return the numbers of a WABA, with their quality."""
        query = {"fields": "id,display_phone_number,verified_name,quality_rating"}
        found = [_phone_number(row) async for row in self._rows(token, f"{waba_id}/phone_numbers", query)]
        return found[:PHONE_NUMBERS_MAX]

    async def picture(self, token: str, phone_number_id: str) -> Picture | None:
        """Return a number's profile picture, or None when it has none that can be shown."""
        query = {"fields": "profile_picture_url"}
        answer = await self._get(token, f"{phone_number_id}/whatsapp_business_profile", query)
        for row in _sequence(answer.get("data", [])):
            url = _mapping(row).get("profile_picture_url")
            if isinstance(url, str) and self._is_picture_host(url):
                return _as_picture(await self._download(url))
        return None

    def _is_picture_host(self, url: str) -> bool:
        """Only Meta's own file hosts: an address out of an answer must not lead into the operator's network."""
        try:
            parts = urlsplit(url)
            host, ours = parts.hostname or "", parts.netloc == self._origin
        except ValueError:
            return False
        return ours or (parts.scheme == "https" and parts.port in (None, 443) and host.endswith(_PICTURE_HOSTS))

    async def _rows(self, token: str, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Follow the pages by their cursors: the address Meta gives for the next one holds the token."""
        page = {**query, "limit": str(PAGE_ROWS)}
        for _ in range(PAGES_MAX):
            answer = await self._get(token, path, page)
            for row in _sequence(answer.get("data", [])):
                yield _mapping(row)
            cursor = _next_cursor(answer)
            if not cursor:
                return
            page["after"] = cursor
        raise _unreadable("more pages than were expected")

    async def _get(self, token: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with _translated(), self._client.stream(
            "GET", f"{self._url}/{path}", params=dict(query), headers=headers
        ) as response:
            body = await _read(response, BODY_BYTES_MAX)
        return _answer(response, body)

    async def _download(self, url: str) -> bytes:
        async with _translated(), self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise GraphError("the picture could not be fetched", Trouble.BACK_OFF)
            return await _read(response, PICTURE_BYTES_MAX)


def versioned(url: str) -> str:
    """Return the address requests begin with: with a version, ours unless it names one."""
    url = url.rstrip("/")
    last = urlsplit(url).path.rpartition("/")[2]
    return url if last.startswith("v") and last[1:2].isdigit() else f"{url}/{API_VERSION}"


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Bound the whole exchange, and tell what the network did as one of our errors, without its words."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError) as error:
        raise GraphError(f"Meta could not be reached ({type(error).__name__})", Trouble.BACK_OFF) from None


async def _read(response: httpx2.Response, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > bytes_max:
            raise _unreadable("the answer is too large")
        parts.append(part)
    return b"".join(parts)


def _answer(response: httpx2.Response, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        raise error_of(answer["error"], response.headers)
    if response.status_code in (401, 403):
        raise GraphError("Meta refused the access token", Trouble.RECONNECT)
    if response.status_code != 200 or not isinstance(answer, dict):
        raise _unreadable(f"HTTP status {response.status_code}")
    return answer


def error_of(error: Mapping[str, Any], headers: Mapping[str, str]) -> GraphError:
    """Read Meta's error envelope by its code; an unknown code is waited out."""
    code = error.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None
    if code in _RECONNECT_CODES:
        return GraphError(f"Meta asks to reconnect (code {code})", Trouble.RECONNECT, meta_code=code)
    if code == 100 and error.get("error_subcode") != _TIMED_OUT_SUBCODE:
        return GraphError("Meta knows no such id, or not for this token (code 100)", Trouble.REFUSED, meta_code=code)
    what = "asks to wait" if code in _BACK_OFF_CODES else "answered with an error"
    return GraphError(f"Meta {what} (code {code})", Trouble.BACK_OFF, meta_code=code, wait_s=_wait_s(headers))


def _wait_s(headers: Mapping[str, str]) -> int:
    """Return how long Meta says access stays closed; 0 when it does not say."""
    try:
        usage = json.loads(headers.get("x-business-use-case-usage", "{}"))
        minutes = [
            item["estimated_time_to_regain_access"] for items in usage.values() for item in items
        ]
        return min(max((int(one) for one in minutes), default=0) * 60, RETRY_AFTER_MAX_S)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return 0


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _unreadable(why: str) -> GraphError:
    return GraphError(f"Meta's answer cannot be read: {why}", Trouble.BACK_OFF)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unreadable("an object was expected")
    return value


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _unreadable("a list was expected")
    return value


def _text(value: Any) -> str:
    """Return a short text; numbers are written out, because Meta's types vary."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > TEXT_CHARS_MAX or "\0" in text:
        raise _unreadable("a text was expected")
    return text.encode("utf-8", "replace").decode()


def _currency(value: Any) -> str:
    text = _text(value)
    if len(text) != 3 or not (text.isascii() and text.isalpha()):
        raise _unreadable("a currency was expected")
    return text.upper()


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(value) if isinstance(value, str | int | Decimal) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or abs(amount.adjusted()) > AMOUNT_DIGITS_MAX:
        raise _unreadable("an amount was expected")
    return amount


def _count(value: Any) -> int:
    amount = _amount(value)
    if amount != amount.to_integral_value() or amount > VOLUME_MAX:
        raise _unreadable("a count was expected")
    return int(amount)


def _next_cursor(answer: Mapping[str, Any]) -> str:
    """Return the cursor of the next page; there is one only where Meta also gives its address."""
    paging = answer.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return ""
    cursor = _mapping(paging.get("cursors", {})).get("after")
    if not isinstance(cursor, str) or not cursor or len(cursor) > CURSOR_CHARS_MAX:
        raise _unreadable("a page without a cursor")
    return cursor


def _pricing_point(row: Mapping[str, Any]) -> PricingPoint:
    cost = row.get("cost")
    try:
        start = datetime.fromtimestamp(_count(row.get("start")), UTC)
    except (ValueError, OverflowError, OSError):
        raise _unreadable("a time was expected") from None
    return PricingPoint(
        start=start,
        phone="".join(one for one in _text(row.get("phone_number", "")) if one.isdigit()),
        category=_text(row.get("pricing_category", "")),
        pricing_type=_text(row.get("pricing_type", "")),
        volume=_count(row.get("volume", 0)),
        amount=None if cost is None else _amount(cost),
    )


def _spend_day(row: Mapping[str, Any]) -> SpendDay:
    try:
        day = date.fromisoformat(_text(row.get("date_start")))
    except ValueError:
        raise _unreadable("a day was expected") from None
    return SpendDay(day, _amount(row.get("spend")), _currency(row.get("account_currency")))


def _phone_number(row: Mapping[str, Any]) -> PhoneNumber:
    phone_number_id = _text(row.get("id"))
    if not (phone_number_id.isascii() and phone_number_id.isdigit()):
        raise _unreadable("a phone number's id was expected")
    return PhoneNumber(
        phone_number_id=phone_number_id,
        display_phone_number=_text(row.get("display_phone_number", "")),
        verified_name=_text(row.get("verified_name", "")),
        quality_rating=_text(row.get("quality_rating") or "UNKNOWN").upper(),
    )


def _as_picture(content: bytes) -> Picture | None:
    """Tell the type by the first bytes, whatever was said of it: these are served from our own address."""
    for beginning, content_type in _PICTURE_TYPES.items():
        if content.startswith(beginning):
            return Picture(content, content_type)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Picture(content, "image/webp")
    return None
