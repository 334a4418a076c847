"""Summary, history and overview against sums made the slow way, in the company's own days."""

import random
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.shop import OPERATOR, event, key_of
from tests.usage_rows import CARD_USD, Use, slow_cost, write

from secretaria.bootstrap import Application
from secretaria.core.access import Caller, Scope
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.services.companies import CompanyService
from secretaria.services.figures import HistoryPoint, UsageBlock

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = date(2026, 11, 20)  # a Friday
MONTH = (date(2026, 11, 1), date(2026, 12, 1))
WEEK = (date(2026, 11, 16), date(2026, 11, 23))


async def new_company(application: Application, timezone: str = "America/Sao_Paulo", **settings: object) -> int:
    service = CompanyService(application.database, application.settings.model_copy(update=settings))
    return (await service.create(OPERATOR, "Clínica", timezone=timezone, now=NOW)).company_id


def random_uses(seed: int, first: date, days: int) -> list[Use]:
    random.seed(seed)
    uses = []
    for _ in range(150):
        whatsapp = random.random() < 0.5
        answers = random.randrange(4)
        uses.append(
            Use(
                first + timedelta(days=random.randrange(days)),
                direction=random.choice(["inbound", "outbound"]),
                channel="whatsapp" if whatsapp else "usage",
                category=random.choice([*CARD_USD, "OTHER"]) if whatsapp else None,
                model=random.choice([None, "gpt-4o"]),
                messages=random.randrange(1000),
                tokens_input=random.randrange(10**6),
                tokens_output=random.randrange(10**6),
                response_ms=answers * random.randrange(3000),
                response_count=answers,
            )
        )
    return uses


def check(block: UsageBlock, uses: list[Use], **prices: Decimal | None) -> None:
    cost, messages_left, tokens_left = slow_cost(uses, **prices)
    inbound = sum(use.messages for use in uses if use.direction == "inbound")
    assert (block.messages.inbound, block.messages.total) == (inbound, sum(use.messages for use in uses))
    assert block.messages.outbound == block.messages.total - inbound
    assert (block.tokens.input, block.tokens.output) == (
        sum(use.tokens_input for use in uses),
        sum(use.tokens_output for use in uses),
    )
    answers = sum(use.response_count for use in uses)
    mean = sum(use.response_ms for use in uses) / answers if answers else None
    assert block.avg_response_ms == mean
    assert block.cost is not None
    assert Decimal(block.cost) == cost
    assert (block.not_priced.messages, block.not_priced.tokens) == (messages_left, tokens_left)
    assert block.lower_bound == bool(messages_left or tokens_left)


@pytest.mark.parametrize("seed", range(3))
async def test_the_summary_equals_a_slow_sum_of_all_uses(
    application: Application, endpoints: Endpoints, seed: int
) -> None:
    company_id = await new_company(application)
    noise = await new_company(application)
    uses = random_uses(seed, date(2026, 10, 20), 45)
    write(endpoints.admin_url, company_id, *uses)
    write(endpoints.admin_url, noise, *random_uses(seed + 99, date(2026, 10, 20), 45))
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    check(summary.current, [use for use in uses if MONTH[0] <= use.day < MONTH[1]])
    check(summary.weekly, [use for use in uses if WEEK[0] <= use.day < WEEK[1]])
    check(summary.daily, [use for use in uses if use.day == TODAY])
    assert (summary.plan, summary.alerts, summary.version) == (None, [], 1)
    assert summary.company.currency == summary.daily.currency == "BRL"


@pytest.mark.parametrize("period", ["week", "month"])
async def test_the_history_equals_a_slow_sum_of_each_of_its_periods(
    application: Application, endpoints: Endpoints, period: str
) -> None:
    company_id = await new_company(application)
    uses = random_uses(7, date(2026, 9, 20), 65)
    write(endpoints.admin_url, company_id, *uses)
    history = await application.analytics.history(key_of(company_id), company_id, period, NOW)
    span = timedelta(days=1 if period == "week" else 7)
    first = TODAY - timedelta(days=6) if period == "week" else WEEK[0] - timedelta(weeks=7)
    assert [point.date for point in history.points] == [first + n * span for n in range(7 if period == "week" else 8)]
    for point in history.points:
        within = [use for use in uses if point.date <= use.day < point.date + span]
        cost, messages_left, tokens_left = slow_cost(within)
        assert (point.messages, point.tokens) == (
            sum(use.messages for use in within),
            sum(use.tokens_input + use.tokens_output for use in within),
        )
        assert (point.messages_inbound + point.messages_outbound, point.tokens_input + point.tokens_output) == (
            point.messages,
            point.tokens,
        )
        assert Decimal(point.cost or "NaN") == cost
        assert (point.not_priced.messages, point.not_priced.tokens) == (messages_left, tokens_left)
    assert history.granularity == ("day" if period == "week" else "week")


async def test_gaps_are_zeros_and_points_tile_from_the_oldest_to_the_unfinished_one(application: Application) -> None:
    company_id = await new_company(application)
    for period in ("week", "month"):
        history = await application.analytics.history(OPERATOR, company_id, period, NOW)
        assert {(point.messages, point.tokens, point.cost, point.avg_response_ms) for point in history.points} == {
            (0, 0, "0.00", None)
        }
        ends = [point.end for point in history.points]
        assert [point.start for point in history.points[1:]] == ends[:-1]
        assert history.points[-1].start <= history.as_of < history.points[-1].end
        assert (history.period.start, history.period.end) == (history.points[0].start, ends[-1])


async def test_the_summary_names_its_periods_in_local_time(application: Application) -> None:
    company_id = await new_company(application)
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert summary.as_of.isoformat() == "2026-11-20T09:00:00-03:00"
    assert [
        (block.start.isoformat(), block.end.isoformat())
        for block in (summary.period, summary.current, summary.weekly, summary.daily)
    ] == [
        ("2026-11-01T00:00:00-03:00", "2026-12-01T00:00:00-03:00"),
        ("2026-11-01T00:00:00-03:00", "2026-12-01T00:00:00-03:00"),
        ("2026-11-16T00:00:00-03:00", "2026-11-23T00:00:00-03:00"),
        ("2026-11-20T00:00:00-03:00", "2026-11-21T00:00:00-03:00"),
    ]


def _days(points: list[HistoryPoint]) -> list[tuple[str, str, float]]:
    return [
        (str(point.date), point.start.isoformat(), (point.end - point.start) / timedelta(hours=1)) for point in points
    ]


@pytest.mark.parametrize(
    ("timezone", "now", "expected"),
    [
        # No midnight that day: the clock jumped from 23:59:59 to 01:00.
        ("America/Sao_Paulo", datetime(2018, 11, 5, 12, tzinfo=UTC), ("2018-11-04", "2018-11-04T01:00:00-02:00", 23.0)),
        (
            "Australia/Lord_Howe",
            datetime(2024, 4, 8, 12, tzinfo=UTC),
            ("2024-04-07", "2024-04-07T00:00:00+11:00", 24.5),
        ),
        # A day that was skipped is there, and lasts no time.
        ("Pacific/Apia", datetime(2012, 1, 1, 12, tzinfo=UTC), ("2011-12-30", "2011-12-31T00:00:00+14:00", 0.0)),
    ],
)
async def test_days_of_other_lengths_are_points_like_any_other(
    application: Application, timezone: str, now: datetime, expected: tuple[str, str, float]
) -> None:
    company_id = await new_company(application, timezone)
    history = await application.analytics.history(OPERATOR, company_id, "week", now)
    assert expected in _days(history.points)
    assert len(history.points) == 7


@pytest.mark.parametrize("timezone", ["America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"])
async def test_events_on_both_sides_of_local_midnight_fall_on_different_days(
    application: Application, timezone: str
) -> None:
    now = application.clock()
    company_id = await new_company(application, timezone)
    midnight = (await application.analytics.summary(OPERATOR, company_id, now)).daily.start
    sent = [
        event("before", messages=1, time=midnight - timedelta(seconds=1)),
        event("at", messages=10, time=midnight),
    ]
    result = await application.ingest.submit(key_of(company_id), list(enumerate(sent)), now=now)
    assert result.accepted == 2
    history = await application.analytics.history(OPERATOR, company_id, "week", now)
    assert [point.messages for point in history.points] == [0, 0, 0, 0, 0, 1, 10]
    assert [point.cost for point in history.points[-2:]] == ["0.05", "0.50"]


async def test_what_has_no_price_is_counted_and_never_shown_as_free(
    application: Application, endpoints: Endpoints
) -> None:
    nothing = await new_company(application, billing_cost_per_message=None, billing_cost_per_thousand_tokens=None)
    tokens = await new_company(application, billing_cost_per_message=None)
    for company_id in (nothing, tokens):
        write(endpoints.admin_url, company_id, Use(TODAY, messages=3, tokens_input=1500))
    block = (await application.analytics.summary(OPERATOR, nothing, NOW)).daily
    assert (block.cost, block.lower_bound, block.not_priced.messages, block.not_priced.tokens) == (None, True, 3, 1500)
    block = (await application.analytics.summary(OPERATOR, tokens, NOW)).daily
    assert (block.cost, block.lower_bound, block.not_priced.messages, block.not_priced.tokens) == ("0.03", True, 3, 0)
    yesterday = (await application.analytics.history(OPERATOR, nothing, "week", NOW)).points[-2]
    assert (yesterday.cost, yesterday.lower_bound) == ("0.00", False)


async def test_the_product_s_worked_example_comes_out_exactly(application: Application, endpoints: Endpoints) -> None:
    company_id = await new_company(application)
    amounts = {"UTILITY": 100, "MARKETING": 50, "AUTHENTICATION": 10}
    uses = [Use(TODAY, channel="whatsapp", category=name, messages=count) for name, count in amounts.items()]
    write(endpoints.admin_url, company_id, *uses, Use(TODAY, "inbound", "whatsapp", "UTILITY", messages=500))
    assert (await application.analytics.summary(OPERATOR, company_id, NOW)).daily.cost == "34.95"


async def test_every_response_time_counts_once_and_the_mean_is_not_rounded(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    write(
        endpoints.admin_url,
        company_id,
        Use(TODAY, messages=1, response_ms=1000, response_count=1),
        Use(TODAY, "inbound", messages=1, response_ms=5, response_count=2),
        Use(TODAY - timedelta(days=1), messages=1, response_ms=101, response_count=1),
    )
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert summary.daily.avg_response_ms == 335
    assert isinstance(summary.daily.avg_response_ms, int)
    assert summary.weekly.avg_response_ms == 1106 / 4


async def test_another_company_does_not_exist_and_a_key_needs_the_scope(application: Application) -> None:
    own, other = await new_company(application), await new_company(application)
    reads = application.analytics
    for company_id in (other, 10**12, 0, -1, 2**63):
        with pytest.raises(NotFound) as caught:
            await reads.summary(key_of(own), company_id, NOW)
        assert caught.value.code == "company_not_found"
        with pytest.raises(NotFound):
            await reads.history(key_of(own), company_id, "week", NOW)
    for company_id in (10**12, 0, 2**63):
        with pytest.raises(NotFound):
            await reads.summary(OPERATOR, company_id, NOW)
    blind = Caller(own, "test", frozenset({Scope.USAGE_WRITE}))
    for call in (reads.summary(blind, own, NOW), reads.history(blind, own, "week", NOW), reads.overview(blind, NOW)):
        with pytest.raises(NotAllowed):
            await call
    for period in ("day", "", "WEEK", "week\0"):
        with pytest.raises(InvalidInput) as refused:
            await reads.history(key_of(own), own, period, NOW)
        assert refused.value.code == "unknown_period"


async def test_the_overview_shows_each_company_its_own_today(application: Application, endpoints: Endpoints) -> None:
    late = datetime(2026, 11, 20, 23, tzinfo=UTC)  # the 20th in São Paulo, the 21st in Kolkata
    west = await new_company(application)
    east = await new_company(application, "Asia/Kolkata")
    idle = await new_company(application, "Europe/Lisbon")
    days = (date(2026, 11, 20), date(2026, 11, 21))
    for company_id in (west, east):
        write(endpoints.admin_url, company_id, Use(days[0], messages=1), Use(days[1], "inbound", messages=20))
    page = await application.analytics.overview(OPERATOR, late)
    seen = {row.company.id: (row.today.messages.total, row.today.cost, row.version) for row in page.companies}
    assert seen == {west: (1, "0.05", 1), east: (20, "1.00", 1), idle: (0, "0.00", 0)}
    assert page.next_after is None
    single = await application.analytics.summary(OPERATOR, east, late)
    assert single.daily == next(row.today for row in page.companies if row.company.id == east)


async def test_the_overview_goes_page_by_page_and_a_member_s_holds_its_own_company(application: Application) -> None:
    made = [await new_company(application) for _ in range(5)]
    seen, after = [], 0
    for _ in range(3):
        page = await application.analytics.overview(OPERATOR, NOW, limit=2, after=after)
        seen += [row.company.id for row in page.companies]
        after = page.next_after or 0
    assert (seen, page.next_after) == (made, None)
    own = await application.analytics.overview(key_of(made[2]), NOW)
    assert [row.company.id for row in own.companies] == [made[2]]


async def test_it_tells_the_versions_of_the_companies_there_are(application: Application, endpoints: Endpoints) -> None:
    one, two = await new_company(application), await new_company(application)
    write(endpoints.admin_url, two, Use(TODAY, messages=1))
    assert await application.analytics.versions([one, two, 10**9]) == {one: 0, two: 1}
    assert await application.analytics.versions([]) == {}


async def test_figures_and_version_are_of_one_moment_while_others_write(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    writes = 60

    def keep_writing() -> None:
        for _ in range(writes):
            write(endpoints.admin_url, company_id, Use(TODAY, messages=1), Use(TODAY, "inbound", messages=1))

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = set()
    while writer.is_alive():
        summary = await application.analytics.summary(OPERATOR, company_id, NOW)
        assert summary.daily.messages.inbound == summary.daily.messages.outbound == summary.version
        assert summary.daily == summary.current or summary.daily.messages == summary.current.messages
        seen.add(summary.version)
    writer.join()
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert summary.daily.messages.inbound == summary.version == writes
    assert len(seen) > 1
