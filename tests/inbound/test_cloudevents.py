"""The fast reader takes only what the strict one takes, as the same events; hashes that must never change."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretaria.core.event import content_hash_of, epoch_us, identity_of
from secretaria.inbound.cloudevents import _read_fast, _read_strictly, parse

ODD_TIMES = [
    "2026-11-20T12:00:00-03:00",
    "2026-11-20t12:00:00z",
    "2026-11-20 12:00:00Z",
    "2026-11-20T12:00:00.123456Z",
    "2026-11-20T12:00:00.1234567Z",
    "2026-11-20T12:00:00-00:00",
    "2026-11-20T12:00:00+00:00",
    "2026-11-20T12:00:00-0300",
    "2026-11-20T12:00:00+24:00",
    "2026-11-20T12:00:00+23:59",
    "2026-11-20T12:00:60Z",
    "2026-11-20T12:00Z",
    "2026-11-20T24:00:00Z",
    "20261120T120000Z",
    "2026-11-20T12:00:00",
    "2026-11-20T12:00:00,5Z",
    "2026-11-20",
    "",
]
TEXTS = st.one_of(
    st.sampled_from(["a", "bot-1", "a b", " ", "é", 'q"uote', "back\\slash", "\u202e", "\x7f", "\n", "x" * 256, '":', "😀"]),
    st.text(max_size=5),
)
INTEGERS = st.one_of(st.integers(-2, 10**13), st.sampled_from([True, None, 1.0, "1", 2**64]))
DATA = st.fixed_dictionaries(
    {"direction": st.sampled_from(["inbound", "outbound", "OUT", None])},
    optional={
        "messages": INTEGERS,
        "tokens_input": INTEGERS,
        "response_ms": INTEGERS,
        "wamid": TEXTS,
        "category": TEXTS,
        "account_id": INTEGERS,
        "cost_center": TEXTS,
        "country": st.sampled_from(["BR", "br", "BRA", "B1", None]),
        "corrects": st.one_of(st.none(), st.fixed_dictionaries({"source": TEXTS, "id": TEXTS})),
        "unknown": st.just(1),
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "id": TEXTS,
        "source": TEXTS,
        "type": st.sampled_from(["usage.recorded", "usage.corrected"]),
        "data": DATA,
    },
    optional={
        "time": st.one_of(st.sampled_from(ODD_TIMES), st.none(), st.integers()),
        "subject": TEXTS,
        "traceparent": TEXTS,
        "Bad-Name": TEXTS,
    },
)


@settings(max_examples=600, deadline=None)
@given(events=st.lists(EVENTS, min_size=1, max_size=3), ascii_only=st.booleans(), spaced=st.booleans())
def test_what_the_fast_reader_takes_the_strict_one_reads_the_same(
    events: list[dict[str, Any]], ascii_only: bool, spaced: bool
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    body = json.dumps(events, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    fast = _read_fast(body)
    if fast is not None:
        strict = _read_strictly(body)
        assert strict.rejected == []
        assert [event for _, event in strict.events] == fast


def test_the_ordinary_body_takes_the_fast_way() -> None:
    event = {
        "specversion": "1.0",
        "id": "msg-0001",
        "source": "bot-1",
        "type": "usage.recorded",
        "time": "2026-11-20T12:00:00-03:00",
        "subject": "1",
        "data": {"direction": "outbound", "messages": 1, "wamid": "wamid.HBg==", "country": "BR"},
    }
    for separators in ((",", ":"), (", ", ": ")):
        assert _read_fast(json.dumps([event, event | {"id": "2"}], separators=separators).encode()) is not None


@pytest.mark.parametrize(
    "doubtful",
    [
        b'{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t","data":{"messages":1}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"messages":1,"messages":2}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","x":"\\u0022:","x":1,"data":{"messages":1}}',
    ],
)
def test_a_key_sent_twice_never_takes_the_fast_way(doubtful: bytes) -> None:
    assert _read_fast(doubtful) is None


def test_hashes_of_version_1_never_change() -> None:
    """These values are stored for ever: a change here would turn every repeat into a conflict or a second count."""
    body = (
        b'{"specversion":"1.0","id":"msg-0001","source":"bot-1","type":"usage.recorded",'
        b'"time":"2026-11-20T12:00:00-03:00","subject":"1","data":{"direction":"outbound","messages":1,'
        b'"tokens_input":120,"tokens_output":80,"response_ms":850,"wamid":"wamid.HBg","category":"UTILITY",'
        b'"account_id":3,"template_id":7,"model":"gpt-4o","cost_center":"vendas","country":"BR"}}'
    )
    [(_, event)] = parse({"content-type": "application/json"}, body).events
    assert event.time is not None
    assert identity_of(event.source, event.id) == "f319faaeb9d42baf51d91f8c60c83f58"
    assert content_hash_of(event, epoch_us(event.time)) == "018f74d9581219de9ec48b7b9c7b4e7956"
    assert content_hash_of(event, None) == "0142c1e067c4dbdbecef1c223902d6229f"


def test_the_content_hash_ignores_how_the_same_thing_was_written() -> None:
    def content(body: str) -> str:
        [(_, event)] = parse({"content-type": "application/json"}, body.encode()).events
        return content_hash_of(event, None if event.time is None else epoch_us(event.time))

    form = '{"specversion":"1.0","id":"1","source":"s","type":"usage.recorded"%s,"data":{"direction":"inbound",%s}}'
    same = [
        form % (',"time":"2026-11-20T12:00:00-03:00"', '"messages":1,"model":"m"'),
        form % (',"time":"2026-11-20T15:00:00.000Z","subject":"5"', '"model":"m","messages":1,"wamid":null'),
        form % (',"time":"2026-11-20T15:00:00Z","traceparent":"x"', '"model":"\\u006d", "messages": 1'),
    ]
    assert len({content(body) for body in same}) == 1
    other = [
        form % ("", '"messages":1,"model":"m"'),
        form % (',"time":"2026-11-20T15:00:00Z"', '"messages":1,"model":"m","tokens_input":0'),
        form % (',"time":"2026-11-20T15:00:00.000001Z"', '"messages":1,"model":"m"'),
    ]
    assert len({content(body) for body in [same[0], *other]}) == 4


def test_a_direction_that_is_none_is_told_what_there_is_and_not_repeated() -> None:
    event = {"specversion": "1.0", "id": "a", "source": "b", "type": "usage.recorded", "data": {"direction": "secret", "messages": 1}}
    (refused,) = parse({"content-type": "application/json"}, json.dumps(event).encode()).rejected
    assert (refused.code, refused.message) == ("invalid_value", "data.direction is inbound or outbound")
