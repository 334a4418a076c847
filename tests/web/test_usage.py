"""POST /api/usage as documented: modes, answers per item, and every bad input answered without a 500 or a row."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import psycopg
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent as CloudEventV1

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS, Scope
from secretaria.embedded.servers import Endpoints
from tests.shop import NOW, event_json, rows
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

JSON = "application/json"
Post = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def key(application: Application, shop: Shop) -> str:
    return (await application.access.create_api_key(PROCESS, shop.ours, [Scope.USAGE_WRITE])).text


@pytest.fixture
def post(client: httpx2.AsyncClient, key: str) -> Post:
    async def send(body: Any, *, token: str = key, content_type: str | None = JSON, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if content_type is not None:
            given["Content-Type"] = content_type
        return await client.post("/api/usage", content=content, headers=given)

    return send


def stored(endpoints: Endpoints) -> int:
    return int(rows(endpoints.admin_url, "SELECT count(*) FROM usage_events")[0][0])


async def test_one_event_a_batch_and_a_repeat(post: Post, endpoints: Endpoints) -> None:
    one = await post(event_json("msg-0001"))
    assert (one.status_code, one.json()) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    batch = await post([event_json("msg-0001"), event_json("msg-0002")])
    assert batch.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    batch_type = await post([event_json("msg-0003")], content_type="application/cloudevents-batch+json; charset=utf-8")
    assert batch_type.json()["accepted"] == 1
    assert stored(endpoints) == 3


async def test_what_the_cloudevents_sdk_sends_is_taken_in_both_modes_and_versions(post: Post) -> None:
    attributes = {"type": "usage.recorded", "source": "bot-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c"}
    data = {"direction": "outbound", "messages": 1, "cost_center": "atenção"}
    for message in (
        to_structured_event(CloudEvent(dict(attributes), data)),
        to_binary_event(CloudEvent(dict(attributes), data)),
    ):
        answer = await post(message.body, content_type=None, **dict(message.headers))
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    old = CloudEventV1(dict(attributes), data)
    for index, (headers, body) in enumerate((to_structured(old), to_binary(old))):
        answer = await post(body, content_type=None, **headers)
        assert (answer.status_code, answer.json()["accepted" if index == 0 else "duplicates"]) == (200, 1)


async def test_binary_mode_works_without_a_content_type_and_decodes_percent_signs(post: Post) -> None:
    headers = {"ce_specversion": "1.0", "ce_id": "a%2Fb", "ce_source": "bot", "ce_type": "usage.recorded"}
    answer = await post({"direction": "inbound", "messages": 1}, content_type=None, **headers)
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    again = await post(event_json("a/b", source="bot", direction="inbound", messages=1))
    assert again.json()["duplicates"] == 1


async def test_good_and_bad_items_are_told_apart_and_add_up(post: Post, endpoints: Endpoints) -> None:
    good = [event_json(str(number)) for number in range(999)]
    answer = await post([*good[:500], event_json("bad", messages=-1), *good[500:]])
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["duplicates"]) == (200, 999, 0)
    assert [(item["index"], item["id"], item["code"]) for item in body["rejected"]] == [(500, "bad", "negative_quantity")]
    assert stored(endpoints) == 999


async def test_nothing_taken_is_422_and_all_conflicts_409_both_with_the_three_counts(post: Post) -> None:
    bad = await post([event_json("1", messages=-1), event_json("2", direction="up")])
    assert bad.status_code == 422
    assert bad.headers["content-type"] == "application/problem+json"
    assert (bad.json()["accepted"], bad.json()["duplicates"], len(bad.json()["rejected"])) == (0, 0, 2)
    await post(event_json("3", messages=1))
    conflict = await post(event_json("3", messages=2))
    assert (conflict.status_code, conflict.json()["code"]) == (409, "id_conflict")
    assert conflict.json()["rejected"][0]["code"] == "id_conflict"
    same_batch = await post([event_json("4", messages=1), event_json("4", messages=1), event_json("4", messages=3)])
    assert (same_batch.json()["accepted"], same_batch.json()["duplicates"]) == (1, 1)


async def test_a_foreign_subject_is_403_the_same_whether_or_not_that_company_exists(
    post: Post, shop: Shop, endpoints: Endpoints
) -> None:
    answers = [await post([event_json("1"), event_json("2", subject=other)]) for other in (shop.theirs, 10**9)]
    assert [answer.status_code for answer in answers] == [403, 403]
    bodies = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert bodies[0] == bodies[1]
    assert stored(endpoints) == 0


async def test_an_operators_key_writes_for_every_company_it_names(post: Post, shop: Shop) -> None:
    operator = shop.tokens["key_operator"]
    answer = await post(
        [event_json("1", subject=shop.ours), event_json("1", subject=shop.theirs), event_json("2")], token=operator
    )
    assert answer.json()["accepted"] == 2
    assert answer.json()["rejected"][0]["code"] == "subject_required"


async def test_who_may_not_write_is_refused(post: Post, shop: Shop, client: httpx2.AsyncClient) -> None:
    assert (await client.post("/api/usage", content=b"{}", headers={"Content-Type": JSON})).status_code == 401
    assert (await post(event_json("1"), token="sk_x_y")).status_code == 401
    refused = await post(event_json("1"), token=shop.tokens["key_ours"])
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


EVENT = '{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded","data":{"direction":"outbound",%s}}'
ENVELOPE = '{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded",%s"data":{"direction":"outbound","messages":1}}'


def with_data(text: str) -> bytes:
    return (EVENT % text).encode("utf-8", "surrogatepass")


def with_time(time: str) -> bytes:
    return (ENVELOPE % f'"time":{json.dumps(time)},').encode()


BAD_INPUTS: list[tuple[str, bytes, int, str]] = [
    # 3.2 JSON
    ("B023 empty", b"", 400, "expected_object"),
    ("B023 null", b"null", 400, "expected_object"),
    ("B023 string", b'"x"', 400, "expected_object"),
    ("B023 number", b"123", 400, "expected_object"),
    ("B023 array", b"[]", 422, "empty_batch"),
    ("B023 array of numbers", b"[1]", 422, "expected_object"),
    ("B024 truncated", with_data('"messages":1')[:-3], 400, "malformed_json"),
    ("B024 trailing comma", b'{"id":"1",}', 400, "malformed_json"),
    ("B024 comment", b'{"id":"1"/*x*/}', 400, "malformed_json"),
    ("B024 single quotes", b"{'id':'1'}", 400, "malformed_json"),
    ("B024 trailing text", with_data('"messages":1') + b"x", 400, "malformed_json"),
    ("B025 NaN", with_data('"messages":NaN'), 400, "malformed_json"),
    ("B025 Infinity", with_data('"messages":-Infinity'), 400, "malformed_json"),
    ("B026 1e400", with_data('"messages":1e400'), 422, "invalid_type"),
    ("B026 1e-400", with_data('"messages":1e-400'), 422, "invalid_type"),
    ("B027 duplicate key", with_data('"messages":1,"messages":999'), 400, "duplicate_key"),
    ("B027 duplicate key above", (ENVELOPE % '"id":"2",').encode(), 400, "duplicate_key"),
    ("B027 hidden by an escape", with_data('"messages":1,"mess\\u0061ges":2'), 400, "duplicate_key"),
    ("B028 nested arrays", b"[" * 100_000, 400, "too_deep"),
    ("B028 nested extension", (ENVELOPE % ('"x":' + "[" * 20 + "]" * 20 + ",")).encode(), 400, "too_deep"),
    ("B029 5,000 digits", with_data('"messages":' + "9" * 5_000), 422, "implausible_quantity"),
    ("B029 4,000 digits", with_data('"messages":' + "9" * 4_000), 422, "implausible_quantity"),
    ("B030 many keys", with_data(",".join(f'"k{number}":1' for number in range(1_000))), 422, "too_many_properties"),
    ("B031 BOM", b"\xef\xbb\xbf" + with_data('"messages":1'), 400, "byte_order_mark"),
    ("B031 UTF-16", with_data('"messages":1').decode().encode("utf-16-le"), 400, "malformed_json"),
    ("B032 invalid UTF-8", with_data('"messages":1,"model":"X"').replace(b"X", b"\xff"), 400, "invalid_utf8"),
    ("B033 lone surrogate", with_data('"messages":1,"model":"\\ud800"'), 422, "invalid_unicode"),
    ("B034 NUL", with_data('"messages":1,"model":"a\\u0000"'), 422, "nul_character"),
    ("B034 NUL in a key", (ENVELOPE % '"x\\u0000":1,').encode(), 422, "nul_character"),
    ("B035 raw control", with_data('"messages":1,"model":"a\x01"'), 400, "malformed_json"),
    ("B036 __proto__", (ENVELOPE % '"__proto__":1,').encode(), 422, "unknown_field"),
    ("B036 long key", (ENVELOPE % ('"' + "k" * 65_536 + '":1,')).encode(), 422, "unknown_field"),
    ("B037 unknown data field", with_data('"messages":1,"mensagens":2'), 422, "unknown_field"),
    ("B038 huge number", with_data('"messages":1e131071'), 422, "invalid_type"),
    # 3.3 amounts and fields
    ("B039 negative", with_data('"tokens_input":-1'), 422, "negative_quantity"),
    ("B040 fraction", with_data('"tokens_input":1.5'), 422, "invalid_type"),
    ("B040 integral fraction", with_data('"tokens_input":1.0'), 422, "invalid_type"),
    ("B040 text", with_data('"tokens_input":"12"'), 422, "invalid_type"),
    ("B040 true", with_data('"tokens_input":true'), 422, "invalid_type"),
    ("B040 list", with_data('"tokens_input":[]'), 422, "invalid_type"),
    ("B041 2**63", with_data('"tokens_input":9223372036854775808'), 422, "implausible_quantity"),
    ("B042 implausible", with_data('"tokens_input":1000000000001'), 422, "implausible_quantity"),
    ("B051 unknown type", with_data('"messages":1').replace(b"usage.recorded", b"usage.made"), 422, "unknown_type"),
    ("nothing used", with_data('"messages":0'), 422, "nothing_used"),
    ("wrong direction", with_data('"messages":1').replace(b"outbound", b"OUTBOUND"), 422, "invalid_value"),
    ("no direction", b'{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded","data":{"messages":1}}', 422, "missing_field"),
    ("no data", b'{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded"}', 422, "missing_field"),
    ("data_base64", b'{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded","data_base64":"e30="}', 422, "unknown_field"),
    ("other specversion", with_data('"messages":1').replace(b'"1.0"', b'"0.3"'), 422, "unsupported_specversion"),
    ("two messages of one wamid", with_data('"messages":2,"wamid":"wamid.X"'), 422, "implausible_quantity"),
    ("lower-case country", with_data('"messages":1,"country":"br"'), 422, "invalid_country"),
    ("correction without a reference", with_data('"messages":1').replace(b"recorded", b"corrected"), 422, "missing_field"),
    ("reference without correction", with_data('"messages":1,"corrects":{"source":"s","id":"0"}'), 422, "unexpected_field"),
    # 3.4 ids and text
    ("B054 no id", with_data('"messages":1').replace(b'"id":"1",', b""), 422, "missing_field"),
    ("B054 empty id", with_data('"messages":1').replace(b'"id":"1"', b'"id":""'), 422, "invalid_length"),
    ("B054 256 bytes", with_data('"messages":1').replace(b'"id":"1"', b'"id":"' + b"x" * 256 + b'"'), 422, "invalid_length"),
    ("B054 only spaces", with_data('"messages":1').replace(b'"id":"1"', b'"id":"   "'), 422, "invalid_identifier"),
    ("B055 accent", with_data('"messages":1').replace(b'"id":"1"', '"id":"é"'.encode()), 422, "invalid_identifier"),
    ("B055 zero width", with_data('"messages":1').replace(b'"id":"1"', '"id":"a\u200b"'.encode()), 422, "invalid_identifier"),
    ("B055 trailing space", with_data('"messages":1').replace(b'"id":"1"', b'"id":"1 "'), 422, "invalid_identifier"),
    ("B062 bidi", with_data('"messages":1,"cost_center":"a\u202e"'), 422, "invalid_text"),
    ("B064 line break", with_data('"messages":1,"cost_center":"a\\r\\nb"'), 422, "invalid_text"),
    ("B064 escape", with_data('"messages":1,"model":"a\\u001bb"'), 422, "invalid_text"),
    ("id as a number", with_data('"messages":1').replace(b'"id":"1"', b'"id":1'), 422, "invalid_type"),
    # 3.5 time
    ("B068 future", with_time((NOW + timedelta(minutes=30)).isoformat()), 422, "timestamp_in_future"),
    ("B068 year 9999", with_time("9999-12-31T23:59:59-14:00"), 422, "timestamp_in_future"),
    ("B069 old", with_time((NOW - timedelta(days=36)).isoformat()), 422, "timestamp_too_old"),
    ("B069 1970", with_time("1970-01-01T00:00:00Z"), 422, "timestamp_too_old"),
    ("B069 year 1", with_time("0001-01-01T00:00:00+14:00"), 422, "timestamp_too_old"),
    ("B070 milliseconds", (ENVELOPE % '"time":1763640000000,').encode(), 422, "looks_like_milliseconds"),
    ("B070 seconds", (ENVELOPE % '"time":1763640000,').encode(), 422, "invalid_time"),
    ("B071 no zone", with_time("2026-11-20T00:00:00"), 422, "invalid_time"),
    ("B071 date only", with_time("2026-11-20"), 422, "invalid_time"),
    ("B071 week date", with_time("2026-W01-1"), 422, "invalid_time"),
    ("B072 30 February", with_time("2026-02-30T00:00:00Z"), 422, "invalid_time"),
    ("B072 24:00", with_time("2026-11-19T24:00:00Z"), 422, "invalid_time"),
    ("B073 now", with_time("now"), 422, "invalid_time"),
    ("B073 infinity", with_time("infinity"), 422, "invalid_time"),
    ("B074 +25:00", with_time("2026-11-19T00:00:00+25:00"), 422, "invalid_time"),
    ("B074 -00:00", with_time("2026-11-19T00:00:00-00:00"), 422, "invalid_time"),
    ("B074 blank after Z", with_time("2026-11-19T00:00:00Z "), 422, "invalid_time"),
    # 3.6 batches
    ("B081 1,001 events", json.dumps([event_json(str(number)) for number in range(1_001)]).encode(), 413, "too_many_events"),
    ("B001 1 MiB and a byte", b" " * (1024 * 1024 + 1), 413, "body_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), [case[1:] for case in BAD_INPUTS], ids=[c[0] for c in BAD_INPUTS])
async def test_bad_input_gets_its_answer_and_leaves_no_row(
    post: Post, endpoints: Endpoints, body: bytes, status: int, code: str
) -> None:
    answer = await post(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    tables = ("usage_events", "event_identities", "usage_daily", "usage_hourly", "period_counters", "messages")
    with psycopg.connect(endpoints.admin_url) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() for table in tables]
    assert set(counts) == {(0,)}


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, None),
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("multipart/form-data; boundary=x", None),
        ("application/json; charset=utf-16", None),
        (JSON, "gzip"),
        (JSON, "br"),
    ],
)
async def test_a_format_that_is_not_read_here_is_415(post: Post, content_type: str | None, encoding: str | None) -> None:
    headers = {} if encoding is None else {"Content_Encoding": encoding}
    assert (await post(event_json("1"), content_type=content_type, **headers)).status_code == 415


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (with_data('"messages":-0,"tokens_input":1'), {"messages": 0}),
        (with_time("2026-11-19T23:59:60Z"), {"occurred_at": "2026-11-19 23:59:59+00"}),
        (with_time("2026-11-19T23:59:58+23:59"), {"occurred_at": "2026-11-19 00:00:58+00"}),
        (with_time("2026-11-19 23:59:58Z"), {"occurred_at": "2026-11-19 23:59:58+00"}),
        (with_time("2026-11-19T10:00:00.123456789Z"), {"occurred_at": "2026-11-19 10:00:00.123456+00"}),
        (with_time("2026-11-19t10:00:00.9999999z"), {"occurred_at": "2026-11-19 10:00:00.999999+00"}),
        (with_data('"messages":1,"cost_center":"<script>alert(1)</script>"'), {"cost_center": "<script>alert(1)</script>"}),
        (with_data('"messages":1,"cost_center":"a\\\\tb \\u00e7 😀"'), {"cost_center": "a\\tb ç 😀"}),
        (with_data('"messages":1,"cost_center":"\\\\N"'), {"cost_center": "\\N"}),
    ],
)  # fmt: skip
async def test_odd_but_sound_input_is_stored_as_meant(
    post: Post, endpoints: Endpoints, body: bytes, data: dict[str, object]
) -> None:
    answer = await post(body)
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    column = next(iter(data))
    with psycopg.connect(endpoints.admin_url, options="-c timezone=UTC") as connection:
        found = connection.execute(f"SELECT {column}::text FROM usage_events".encode()).fetchone()
    assert found == (str(data[column]),)


async def test_the_database_down_is_503_with_retry_after_and_up_again_it_counts(
    post: Post, application: Application, endpoints: Endpoints
) -> None:
    assert (await post(event_json("1"))).status_code == 200
    name = endpoints.database_url.rsplit("/", 1)[1]
    with psycopg.connect(endpoints.admin_url.replace(f"/{name}", "/postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        down = await post(event_json("2"))
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert (down.status_code, down.headers["retry-after"].isdigit()) == (503, True)
    for _ in range(100):
        answer = await post(event_json("2"))
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
        await asyncio.sleep(0.1)
    assert answer.json()["accepted"] + answer.json()["duplicates"] == 1


async def test_shuffled_repeated_and_parallel_posts_end_in_the_sums_of_an_independent_count(
    post: Post, client: httpx2.AsyncClient, shop: Shop
) -> None:
    chance = random.Random(20261120)
    events = [
        event_json(
            f"e{number}",
            direction=chance.choice(["inbound", "outbound"]),
            messages=chance.randrange(3),
            tokens_input=chance.randrange(5_000),
            tokens_output=1 + chance.randrange(900),
            response_ms=chance.randrange(9_000),
            time=NOW - timedelta(seconds=number % 50),
        )
        for number in range(1_000)
    ]

    async def one_client(seed: int) -> None:
        mine = events * 3
        random.Random(seed).shuffle(mine)
        for begin in range(0, len(mine), 500):
            answer = await post(mine[begin : begin + 500])
            assert answer.status_code == 200
            assert answer.json()["rejected"] == []

    await asyncio.gather(*(one_client(seed) for seed in range(8)))
    summary = await client.get(f"/api/analytics/summary?company_id={shop.ours}", headers=shop.bearer("operator"))
    found = summary.json()["current"]
    data = [event["data"] for event in events]
    messages = sum(item["messages"] for item in data)
    tokens = sum(item["tokens_input"] + item["tokens_output"] for item in data)
    assert found["messages"]["total"] == messages
    assert found["messages"]["inbound"] == sum(item["messages"] for item in data if item["direction"] == "inbound")
    assert found["tokens"]["total"] == tokens
    assert Decimal(found["cost"]) == messages * Decimal("0.05") + tokens * Decimal("0.02") / 1000
    assert found["avg_response_ms"] == pytest.approx(sum(item["response_ms"] for item in data) / 1_000, rel=1e-12)
