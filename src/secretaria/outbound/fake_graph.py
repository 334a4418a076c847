"""A small Graph API on loopback that speaks Meta's shapes, for tests (META_GRAPH_URL) and the demo (DEMO_GRAPH_URL).

Its figures follow from the ids and the time asked for, so that every run says the same. Faults are set by part, or by
the token: one that contains "expired", "limited", "forbidden" or "slow" meets that fault everywhere.
"""

import json
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

HALF_HOUR_S: Final = 1_800
RANGE_DAYS_MAX: Final = 93
SLOW_S: Final = 60.0
POINTS_A_PAGE: Final = 500
PICTURE_SIDE_PX: Final = 64
REQUESTS_KEPT_MAX: Final = 1_000

WABA_ID: Final = "102290129340398"
PHONE_NUMBER_ID: Final = "106540352242922"
AD_ACCOUNT_ID: Final = "act_1234567890"

_PRICES: Final = {
    ("UTILITY", "REGULAR"): Decimal("0.0068"),
    ("MARKETING", "REGULAR"): Decimal("0.0625"),
    ("AUTHENTICATION", "REGULAR"): Decimal("0.0068"),
    ("SERVICE", "FREE_CUSTOMER_SERVICE"): Decimal(0),
}
_FIELD: Final = re.compile(
    r"pricing_analytics\.start\((\d{1,12})\)\.end\((\d{1,12})\)\.granularity\(HALF_HOUR\)"
    r"\.dimensions\(PRICING_CATEGORY,PRICING_TYPE,PHONE\)(?:\.after\((\d{1,9})\))?"
)


class Fault(StrEnum):
    """What a request meets instead of an answer; the values stand in tokens."""

    EXPIRED = "expired"
    LIMITED = "limited"
    FORBIDDEN = "forbidden"
    SLOW = "slow"
    UNKNOWN_ID = "unknown-id"
    BROKEN = "broken"
    HTML = "html"
    REDIRECT = "redirect"
    EMPTY = "empty"


_ERRORS: Final[Mapping[Fault, tuple[int, int, str]]] = {
    Fault.EXPIRED: (401, 190, "Error validating access token: Malformed access token"),
    Fault.LIMITED: (400, 80007, "(#80007) There have been too many calls to this WhatsApp Business account"),
    Fault.FORBIDDEN: (403, 200, "(#200) Requires ads_read permission"),
    Fault.UNKNOWN_ID: (400, 100, "(#100) Unsupported get request. Object does not exist"),
    Fault.BROKEN: (500, 2, "(#2) Service temporarily unavailable"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number of the fake WABA."""

    phone_number_id: str = PHONE_NUMBER_ID
    display_phone_number: str = "+55 11 98888-0001"
    verified_name: str = "Clínica Sorriso"
    quality_rating: str = "GREEN"


Points = Callable[[int, int], Iterator[dict[str, Any]]]


@dataclass(slots=True)
class World:
    """What the fake knows; tests change it while it runs. points(start, end) gives the data points of unix times."""

    waba_id: str = WABA_ID
    currency: str = "USD"
    numbers: list[Number] = field(default_factory=lambda: [Number()])
    ad_account_id: str = AD_ACCOUNT_ID
    ads_currency: str = "USD"
    ads_timezone: str = "America/Sao_Paulo"
    spend: Mapping[date, str] | None = None
    points: Points | None = None
    points_a_page: int = POINTS_A_PAGE
    rows_a_page: int = 100
    faults: dict[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    token: str = field(repr=False)


class FakeGraph:
    """The server; `with FakeGraph() as graph:` serves at graph.url until the block ends."""

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.world = world or World()
        self.seen: list[Seen] = []
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.graph = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-graph", daemon=True)

    @property
    def url(self) -> str:
        """What META_GRAPH_URL or DEMO_GRAPH_URL is set to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; slow answers are given up."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "FakeGraph":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    graph: FakeGraph

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that gave up is what slow answers are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent; requests are kept in `seen`."""

    def do_GET(self) -> None:
        """Answer one request."""
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101  built only there
        graph = server.graph
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if len(graph.seen) < REQUESTS_KEPT_MAX:
            graph.seen.append(Seen(parts.path, query, token))
        if parts.path == "/picture.png":
            self._send(200, _png(graph.world.waba_id), "image/png")
            return
        path = re.sub(r"^/v[0-9]+\.[0-9]+/", "", parts.path)
        part = _part_of(path, query)
        fault = _fault(graph.world, part, token)
        if fault is Fault.SLOW:
            graph.stopping.wait(SLOW_S)
        elif fault is Fault.REDIRECT:
            self._send(302, b"", "text/plain", {"Location": f"{graph.url}/v25.0/{path}"})
        elif fault is Fault.HTML:
            self._send(502, b"<html>Bad Gateway</html>", "text/html")
        elif fault is not None and fault in _ERRORS:
            self._fail(fault, token)
        else:
            answer = _answer(graph, part, path, query, token, empty=fault is Fault.EMPTY)
            if answer is None:
                self._fail(Fault.UNKNOWN_ID, token)
            else:
                self._send(200, json.dumps(answer).encode(), "application/json; charset=UTF-8")

    def _fail(self, fault: Fault, token: str) -> None:
        status, code, message = _ERRORS[fault]
        # Meta's messages really do repeat the token at times.
        error = {"message": f"{message} {token}", "type": "OAuthException", "code": code, "fbtrace_id": "Az8orFake"}
        headers = {}
        if fault is Fault.LIMITED:
            usage = {"1234": [{"type": "whatsapp_business_management", "estimated_time_to_regain_access": 19}]}
            headers["X-Business-Use-Case-Usage"] = json.dumps(usage)
        self._send(status, json.dumps({"error": error}).encode(), "application/json; charset=UTF-8", headers)

    def _send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _part_of(path: str, query: Mapping[str, str]) -> str:
    edge = path.partition("/")[2]
    if edge in ("insights", "phone_numbers", "whatsapp_business_profile"):
        return edge
    if path.startswith("act_"):
        return "ad_account"
    return "pricing_analytics" if query.get("fields", "").startswith("pricing_analytics") else "waba"


def _fault(world: World, part: str, token: str) -> Fault | None:
    if not token:
        return Fault.EXPIRED
    named = next((one for one in (Fault.EXPIRED, Fault.LIMITED, Fault.FORBIDDEN, Fault.SLOW) if one in token), None)
    return named or world.faults.get(part) or world.faults.get("*")


def _answer(
    graph: FakeGraph, part: str, path: str, query: Mapping[str, str], token: str, *, empty: bool
) -> dict[str, Any] | None:
    """Return the JSON of an answer, or None for an id nobody knows."""
    world, node = graph.world, path.partition("/")[0]
    if part == "whatsapp_business_profile":
        known = any(number.phone_number_id == node for number in world.numbers)
        row = {"messaging_product": "whatsapp"} | ({} if empty else {"profile_picture_url": f"{graph.url}/picture.png"})
        return {"data": [row]} if known else None
    if node not in (world.waba_id, world.ad_account_id):
        return None
    if part == "waba":
        return {"id": node, "currency": world.currency, "timezone_id": "25"}
    if part == "ad_account":
        return {"id": node, "currency": world.ads_currency, "timezone_name": world.ads_timezone}
    if part == "pricing_analytics":
        return _pricing(world, node, query, empty=empty)
    rows = [] if empty else list(_spend(world, node, query) if part == "insights" else _numbers(world))
    after = int(query.get("after") or 0)
    end = after + min(world.rows_a_page, int(query.get("limit") or 25))
    answer: dict[str, Any] = {"data": rows[after:end]}
    if rows:
        answer["paging"] = {"cursors": {"before": str(after), "after": str(end)}}
    if end < len(rows):
        answer["paging"]["next"] = f"{graph.url}/v25.0/{path}?access_token={token}&after={end}"
    return answer


def _numbers(world: World) -> Iterator[dict[str, Any]]:
    for number in world.numbers:
        yield {
            "id": number.phone_number_id,
            "display_phone_number": number.display_phone_number,
            "verified_name": number.verified_name,
            "quality_rating": number.quality_rating,
        }


def _pricing(world: World, node: str, query: Mapping[str, str], *, empty: bool) -> dict[str, Any] | None:
    match = _FIELD.fullmatch(query.get("fields", ""))
    if match is None or not 0 < int(match[2]) - int(match[1]) <= RANGE_DAYS_MAX * 86_400:
        return None
    made = world.points or (lambda start, end: points_between(world, node, start, end))
    points = [] if empty else list(made(int(match[1]), int(match[2])))
    after = int(match[3] or 0)
    page = points[after : after + world.points_a_page]
    found: dict[str, Any] = {"data": [{"data_points": page}] if page else []}
    if after + len(page) < len(points):
        found["paging"] = {"cursors": {"after": str(after + len(page))}, "next": "https://graph.facebook.com/next"}
    return {"pricing_analytics": found, "id": node}


def points_between(world: World, node: str, start: int, end: int) -> Iterator[dict[str, Any]]:
    """Yield the half hours of [start, end): a few messages of each category in most of them."""
    for begin in range(start - start % HALF_HOUR_S, end, HALF_HOUR_S):
        for number in world.numbers if begin >= start else ():
            phone = re.sub(r"\D", "", number.display_phone_number)
            for category, pricing_type in _PRICES:
                volume = _dice(node, phone, category, str(begin)) % 4
                if volume:
                    yield point(begin, phone, category, volume, pricing_type=pricing_type)


def point(
    start: int, phone: str, category: str, volume: int, *, cost: Decimal | None = None, pricing_type: str = "REGULAR"
) -> dict[str, Any]:
    """Return a data point; its cost is the list price times the volume unless given."""
    amount = _PRICES.get((category, pricing_type), Decimal(0)) * volume if cost is None else cost
    return {
        "start": start,
        "end": start + HALF_HOUR_S,
        "phone_number": phone,
        "pricing_type": pricing_type,
        "pricing_category": category,
        "volume": volume,
        # As Meta does: a number, not a text.
        "cost": float(amount),
    }


def _spend(world: World, node: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    period = json.loads(query["time_range"])
    day, last = date.fromisoformat(period["since"]), date.fromisoformat(period["until"])
    for _ in range(RANGE_DAYS_MAX):
        if day > last:
            return
        cents = _dice(node, day.isoformat()) % 5_000
        spend = f"{cents // 100}.{cents % 100:02}" if world.spend is None else world.spend.get(day)
        if spend is not None:  # a day without delivery has no row
            yield {
                "account_currency": world.ads_currency,
                "spend": spend,
                "date_start": day.isoformat(),
                "date_stop": day.isoformat(),
            }
        day += timedelta(days=1)


def _dice(*parts: str) -> int:
    return zlib.crc32("/".join(parts).encode())


def _png(name: str) -> bytes:
    """Return a square of one colour, which follows from the name."""
    colour = _dice(name).to_bytes(4, "big")[:3]
    rows = (b"\0" + colour * PICTURE_SIDE_PX) * PICTURE_SIDE_PX
    header = struct.pack(">IIBBBBB", PICTURE_SIDE_PX, PICTURE_SIDE_PX, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
