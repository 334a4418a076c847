"""The Graph API's client against a real server that speaks Meta's shapes."""

import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from secretaria.outbound import meta_graph
from secretaria.outbound.fake_graph import (
    AD_ACCOUNT_ID,
    PHONE_NUMBER_ID,
    WABA_ID,
    FakeGraph,
    Fault,
    Number,
    World,
    point,
)
from secretaria.outbound.meta_graph import GraphError, MetaGraph, Trouble, error_of, versioned

pytestmark = pytest.mark.anyio

TOKEN = "EAAtestcanary0123456789"
START = datetime(2026, 11, 19, 3, tzinfo=UTC)
END = START + timedelta(days=1)


@pytest.fixture
def fake() -> Iterator[FakeGraph]:
    with FakeGraph() as graph:
        yield graph


@pytest.fixture
async def graph(fake: FakeGraph) -> AsyncIterator[MetaGraph]:
    made = MetaGraph(fake.url)
    yield made
    await made.close()


async def test_pricing_is_read_half_hour_by_half_hour_over_all_pages(fake: FakeGraph, graph: MetaGraph) -> None:
    whole = await graph.pricing(TOKEN, WABA_ID, START, END)
    fake.world.points_a_page = 20
    paged = await graph.pricing(TOKEN, WABA_ID, START, END)
    assert paged == whole
    assert len(whole) > 100
    assert len({one.start for one in whole}) > 40
    assert all(START <= one.start < END and one.start.minute in (0, 30) for one in whole)
    assert {one.phone for one in whole} == {"5511988880001"}
    utility = [one for one in whole if one.category == "UTILITY"]
    assert sum(one.amount or 0 for one in utility) == Decimal("0.0068") * sum(one.volume for one in utility)


async def test_amounts_are_read_as_they_are_written_and_a_cost_not_told_is_unknown(
    fake: FakeGraph, graph: MetaGraph
) -> None:
    def points(start: int, _: int) -> Iterator[dict[str, Any]]:
        yield point(start, "55119", "UTILITY", 3, cost=Decimal("0.0204"))
        yield {name: value for name, value in point(start, "55119", "MARKETING", 1).items() if name != "cost"}

    fake.world.points = points
    first, second = await graph.pricing(TOKEN, WABA_ID, START, END)
    assert first.amount == Decimal("0.0204")
    assert (second.volume, second.amount) == (1, None)


async def test_ad_spend_comes_a_day_a_row_over_all_pages_and_days_without_delivery_have_none(
    fake: FakeGraph, graph: MetaGraph
) -> None:
    fake.world.rows_a_page = 2
    first, last = date(2026, 11, 11), date(2026, 11, 20)
    fake.world.spend = {first + timedelta(days=number): f"{number}.50" for number in range(7)}
    spent = await graph.ads_spend(TOKEN, AD_ACCOUNT_ID, first, last)
    assert [(one.day.day, one.amount) for one in spent] == [(11 + n, Decimal(f"{n}.50")) for n in range(7)]
    fake.world.faults["insights"] = Fault.EMPTY
    assert await graph.ads_spend(TOKEN, AD_ACCOUNT_ID, first, last) == []
    account = await graph.ad_account(TOKEN, AD_ACCOUNT_ID)
    assert (account.currency, account.timezone) == ("USD", "America/Sao_Paulo")


async def test_numbers_and_their_picture(fake: FakeGraph, graph: MetaGraph) -> None:
    fake.world.numbers = [Number(), Number("106540352242923", "+55 11 98888-0002", "Outra", "RED")]
    fake.world.rows_a_page = 1
    numbers = await graph.phone_numbers(TOKEN, WABA_ID)
    assert [one.quality_rating for one in numbers] == ["GREEN", "RED"]
    picture = await graph.picture(TOKEN, PHONE_NUMBER_ID)
    assert picture is not None
    assert picture.content_type == "image/png"
    assert "TOKEN" not in next(one.token for one in fake.seen if one.path == "/picture.png")
    assert [one.token for one in fake.seen if one.path == "/picture.png"] == [""]
    fake.world.faults["whatsapp_business_profile"] = Fault.EMPTY
    assert await graph.picture(TOKEN, PHONE_NUMBER_ID) is None


@pytest.mark.parametrize(
    ("fault", "trouble", "code"),
    [
        (Fault.EXPIRED, Trouble.RECONNECT, 190),
        (Fault.FORBIDDEN, Trouble.RECONNECT, 200),
        (Fault.LIMITED, Trouble.BACK_OFF, 80007),
        (Fault.BROKEN, Trouble.BACK_OFF, 2),
        (Fault.UNKNOWN_ID, Trouble.REFUSED, 100),
        (Fault.HTML, Trouble.BACK_OFF, None),
        (Fault.REDIRECT, Trouble.BACK_OFF, None),
    ],
)
async def test_every_fault_becomes_what_it_asks_for_and_never_tells_the_token(
    fake: FakeGraph, graph: MetaGraph, fault: Fault, trouble: Trouble, code: int | None
) -> None:
    fake.world.faults["*"] = fault
    for ask in (
        graph.pricing(TOKEN, WABA_ID, START, END),
        graph.ads_spend(TOKEN, AD_ACCOUNT_ID, START.date(), START.date()),
        graph.phone_numbers(TOKEN, WABA_ID),
        graph.waba_currency(TOKEN, WABA_ID),
    ):
        with pytest.raises(GraphError) as raised:
            await ask
        assert (raised.value.trouble, raised.value.meta_code) == (trouble, code)
        assert raised.value.permanent == (trouble is not Trouble.BACK_OFF)
        assert TOKEN not in repr(raised.value)
        assert TOKEN not in str(raised.value.__cause__)
    assert raised.value.wait_s == (19 * 60 if fault is Fault.LIMITED else 0)
    assert all(one.path.startswith("/v25.0/") for one in fake.seen)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        *((code, Trouble.BACK_OFF) for code in (4, 17, 80007, 1, 2, 131000, 987654, None, "190", True)),
        *((code, Trouble.RECONNECT) for code in (190, 10, 200, 250, 299, 0, 3)),
        (100, Trouble.REFUSED),
    ],
)
def test_meta_codes_say_what_to_do(code: Any, trouble: Trouble) -> None:
    assert error_of({"code": code, "message": "x"}, {}).trouble is trouble


def test_an_insights_query_that_took_too_long_is_waited_out() -> None:
    assert error_of({"code": 100, "error_subcode": 1504018}, {}).trouble is Trouble.BACK_OFF


@pytest.mark.parametrize("usage", ["", "[]", "{", '{"a": [{}]}', '{"a": [{"estimated_time_to_regain_access": "x"}]}'])
def test_an_unreadable_hint_how_long_to_wait_is_none(usage: str) -> None:
    assert error_of({"code": 4}, {"x-business-use-case-usage": usage}).wait_s == 0


async def test_a_server_that_does_not_answer_is_given_up(
    fake: FakeGraph, graph: MetaGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_graph, "REQUEST_TIMEOUT_S", 0.2)
    fake.world.faults["*"] = Fault.SLOW
    with pytest.raises(GraphError) as raised:
        await graph.waba_currency(TOKEN, WABA_ID)
    assert raised.value.trouble is Trouble.BACK_OFF


async def test_nobody_there_is_patience_too() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        graph = MetaGraph(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(GraphError) as raised:
            await graph.waba_currency(TOKEN, WABA_ID)
        await graph.close()
    assert raised.value.trouble is Trouble.BACK_OFF


async def test_an_answer_that_is_too_large_or_has_too_many_pages_is_refused(
    fake: FakeGraph, graph: MetaGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.world.points_a_page = 5
    with pytest.raises(GraphError, match="more points"):
        await graph.pricing(TOKEN, WABA_ID, START, END)
    monkeypatch.setattr(meta_graph, "BODY_BYTES_MAX", 1_000)
    fake.world.points_a_page = 500
    with pytest.raises(GraphError, match="too large"):
        await graph.pricing(TOKEN, WABA_ID, START, END)


ODD: list[dict[str, Any]] = [
    {"start": "x"},
    {"start": -1},
    {"start": 10**14},
    {"start": None},
    {"volume": "many"},
    {"volume": 1.5},
    {"volume": 10**20},
    {"cost": -1},
    {"cost": "NaN"},
    {"cost": "1E+999999"},
    {"cost": {}},
    {"pricing_category": ["UTILITY"]},
    {"pricing_type": "x" * 300},
    {"phone_number": {}},
]


@pytest.mark.parametrize("odd", ODD)
async def test_oddly_typed_answers_are_an_error_of_ours_not_a_crash(
    fake: FakeGraph, graph: MetaGraph, odd: dict[str, Any]
) -> None:
    fake.world.points = lambda start, _: iter([point(start, "55", "UTILITY", 1) | odd])
    with pytest.raises(GraphError, match="cannot be read"):
        await graph.pricing(TOKEN, WABA_ID, START, END)


async def test_an_id_out_of_an_answer_never_becomes_a_path(fake: FakeGraph, graph: MetaGraph) -> None:
    fake.world.numbers = [Number("../../me")]
    with pytest.raises(GraphError, match="cannot be read"):
        await graph.phone_numbers(TOKEN, WABA_ID)


@pytest.mark.parametrize(
    ("url", "is_fetched"),
    [
        ("https://pps.whatsapp.net/v/t61.jpg?oh=1", True),
        ("https://scontent.fbcdn.net/x.png", True),
        ("http://pps.whatsapp.net/x", False),
        ("https://pps.whatsapp.net:8443/x", False),
        ("https://whatsapp.net.example.com/x", False),
        ("https://169.254.169.254/latest", False),
        ("http://127.0.0.1:1/x", False),
        ("file:///etc/passwd", False),
        ("https://[", False),
    ],
)
async def test_a_picture_is_fetched_from_metas_hosts_only(graph: MetaGraph, url: str, is_fetched: bool) -> None:
    assert graph._is_picture_host(url) is is_fetched


@pytest.mark.parametrize(
    ("url", "begins_with"),
    [
        ("https://graph.facebook.com", "https://graph.facebook.com/v25.0"),
        ("https://graph.facebook.com/", "https://graph.facebook.com/v25.0"),
        ("https://graph.facebook.com/v26.0/", "https://graph.facebook.com/v26.0"),
        ("http://127.0.0.1:9/proxy", "http://127.0.0.1:9/proxy/v25.0"),
    ],
)
def test_an_address_without_a_version_gets_ours(url: str, begins_with: str) -> None:
    assert versioned(url) == begins_with


def test_two_runs_of_the_fake_say_the_same() -> None:
    from secretaria.outbound.fake_graph import points_between

    start = int(START.timestamp())
    made = [list(points_between(World(), WABA_ID, start, start + 86_400)) for _ in range(2)]
    assert made[0] == made[1]
    assert len(made[0]) > 50
