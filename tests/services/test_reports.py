"""Days and weeks are closed once, in the company's zone; late usage makes a revision and changes nothing written."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from tests.shop import OPERATOR, event, key_of, rows
from tests.usage_rows import Use, slow_cost, write

from secretaria.bootstrap import Application
from secretaria.core.errors import NotAllowed, NotFound, Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.services import reports as reports_module
from secretaria.services.companies import CompanyService
from secretaria.services.reports import ClosedReports, ReportService
from secretaria.store.database import Connection, Database

pytestmark = pytest.mark.anyio

# Monday 16 to Sunday 22 November; the company is made on Monday at noon in São Paulo.
MONDAY = date(2026, 11, 16)
MADE = datetime(2026, 11, 16, 15, tzinfo=UTC)
TUESDAY_MIDNIGHT = datetime(2026, 11, 17, 3, tzinfo=UTC)
NEXT_MONDAY = datetime(2026, 11, 23, 3, 0, 10, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

COLUMNS = (
    "kind, period_start, period_end, revision, messages_inbound, messages_outbound, tokens_input, tokens_output, "
    "response_ms, response_count, cost, currency, not_priced, lines, head_version, superseded_at, closed_at"
)


class Row(dict[str, Any]):
    """A report row by column."""


def reports_of(endpoints: Endpoints, company_id: int) -> list[Row]:
    found = rows(
        endpoints.admin_url,
        f"SELECT {COLUMNS} FROM analytics_reports WHERE company_id = %s ORDER BY period_start, kind, revision",
        company_id,
    )
    return [Row(zip(COLUMNS.split(", "), row, strict=True)) for row in found]


def named(found: Iterable[Row]) -> list[tuple[str, str, int]]:
    return [(row["kind"], str(row["period_start"]), row["revision"]) for row in found]


async def new_company(
    application: Application, timezone: str = "America/Sao_Paulo", made: datetime = MADE, **settings: object
) -> int:
    service = CompanyService(application.database, application.settings.model_copy(update=settings))
    return (await service.create(OPERATOR, "Clínica", timezone=timezone, now=made)).company_id


def check(row: Row, uses: list[Use]) -> None:
    """Compare a report with a slow sum of the uses on its days."""
    within = [use for use in uses if row["period_start"] <= use.day < row["period_end"]]
    cost, messages_left, tokens_left = slow_cost(within)
    assert row["messages_inbound"] == sum(use.messages for use in within if use.direction == "inbound")
    assert row["messages_outbound"] == sum(use.messages for use in within if use.direction == "outbound")
    assert row["tokens_input"] == sum(use.tokens_input for use in within)
    assert row["tokens_output"] == sum(use.tokens_output for use in within)
    assert row["response_ms"] == sum(use.response_ms for use in within)
    assert row["response_count"] == sum(use.response_count for use in within)
    assert row["cost"] == cost
    assert row["not_priced"] == {"messages": messages_left, "tokens": tokens_left}
    assert sum(Decimal(line["charge"] or 0) for line in row["lines"]) == cost


def a_week_of_uses() -> list[Use]:
    uses = []
    for number in range(7):
        day = MONDAY + number * DAY
        uses += [
            Use(day, messages=number, tokens_input=333 * number, response_ms=7 * number, response_count=1),
            Use(day, "inbound", messages=2 * number, model="gpt-4o", tokens_output=11),
            Use(day, channel="whatsapp", category="MARKETING", messages=number % 3),
            Use(day, channel="whatsapp", category="OTHER", messages=number % 2),
        ]
    return uses


async def test_it_closes_each_day_and_week_after_local_midnight_with_what_was_used(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    uses = a_week_of_uses()
    write(endpoints.admin_url, company_id, *uses)
    assert await application.reports.close_due(TUESDAY_MIDNIGHT - timedelta(microseconds=1)) == ClosedReports(
        companies=1
    )
    assert await application.reports.close_due(TUESDAY_MIDNIGHT) == ClosedReports(companies=1, reports=1)
    for night in range(2, 8):
        await application.reports.close_due(TUESDAY_MIDNIGHT + (night - 1) * DAY + 20 * timedelta(seconds=1))
    found = reports_of(endpoints, company_id)
    days = [("day", str(MONDAY + number * DAY), 1) for number in range(7)]
    assert named(found) == [days[0], ("week", "2026-11-16", 1), *days[1:]]
    for row in found:
        check(row, uses)
        assert (row["currency"], row["head_version"], row["superseded_at"]) == ("BRL", 1, None)
    week = next(row for row in found if row["kind"] == "week")
    assert week["cost"] == sum(row["cost"] for row in found if row["kind"] == "day")


async def test_a_report_names_the_prices_and_rates_it_used(application: Application, endpoints: Endpoints) -> None:
    company_id = await new_company(application)
    write(
        endpoints.admin_url,
        company_id,
        Use(MONDAY, messages=10, tokens_input=1500, tokens_output=500),
        Use(MONDAY, channel="whatsapp", category="UTILITY", messages=100),
        Use(MONDAY, channel="whatsapp", category="OTHER", messages=3),
    )
    await application.reports.close_due(TUESDAY_MIDNIGHT)
    (report,) = reports_of(endpoints, company_id)
    prices = dict(rows(endpoints.admin_url, "SELECT source || coalesce(category, ''), price_id FROM prices"))
    (rate_id,) = rows(endpoints.admin_url, "SELECT rate_id FROM exchange_rates WHERE company_id = %s", company_id)[0]
    shown = {
        (line["metric"], line["category"]): (
            line["quantity"], line.get("price_id"), line.get("amount"), line.get("per"), line.get("currency"),
            line.get("rate_id"), line.get("rate"), line["charge"],
        )
        for line in report["lines"]
    }  # fmt: skip
    assert shown == {
        ("messages", None): (10, prices["BILLING_COST_PER_MESSAGE"], "0.05", 1, "BRL", None, "1.00", "0.50"),
        ("tokens", None): (2000, prices["BILLING_COST_PER_THOUSAND_TOKENS"], "0.02", 1000, "BRL", None, "1.00", "0.04"),
        ("messages", "UTILITY"): (100, prices["product documentUTILITY"], "0.021", 1, "USD", rate_id, "5.00", "10.50"),
        ("messages", "OTHER"): (3, None, None, None, None, None, None, None),
    }
    assert {line.get("effective_from") for line in report["lines"]} == {"2026-11-16", "2025-07-01", None}


async def test_a_gap_of_days_is_caught_up_and_a_second_run_changes_nothing(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "PERIODS_PER_TRANSACTION_MAX", 5)
    company_id = await new_company(application)
    uses = [*a_week_of_uses(), Use(date(2026, 12, 24), messages=9)]
    write(endpoints.admin_url, company_id, *uses)
    after = datetime(2027, 1, 1, 12, tzinfo=UTC)
    closed = await application.reports.close_due(after)
    assert (closed.reports, closed.revisions, closed.more) == (46 + 6, 0, False)  # to 31 December and 27 December
    found = reports_of(endpoints, company_id)
    assert [row["period_start"] for row in found if row["kind"] == "day"] == [MONDAY + n * DAY for n in range(46)]
    assert [row["period_start"] for row in found if row["kind"] == "week"] == [MONDAY + 7 * n * DAY for n in range(6)]
    for row in found:
        check(row, uses)
    assert await application.reports.close_due(after) == ClosedReports()
    assert await application.reports.close(OPERATOR, company_id, after) == ClosedReports(companies=1)
    assert reports_of(endpoints, company_id) == found


async def test_a_catch_up_that_is_cut_short_goes_on_where_it_stopped(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "PERIODS_PER_TRANSACTION_MAX", 5)
    monkeypatch.setattr(reports_module, "TRANSACTIONS_PER_COMPANY_MAX", 1)
    company_id = await new_company(application)
    for _ in range(4):
        await application.reports.close_due(NEXT_MONDAY + 7 * DAY)
    found = reports_of(endpoints, company_id)
    assert (len(found), len({(row["kind"], row["period_start"]) for row in found})) == (14 + 2, 14 + 2)


async def test_late_usage_makes_a_new_revision_and_leaves_the_old_one_as_it_was(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    uses = a_week_of_uses()
    write(endpoints.admin_url, company_id, *uses)
    await application.reports.close_due(NEXT_MONDAY)
    before = reports_of(endpoints, company_id)
    late = Use(MONDAY + 2 * DAY, messages=1000, tokens_input=5)
    write(endpoints.admin_url, company_id, late)
    # Not within the hour, however often one asks; then once.
    for minutes in (1, 30, 59):
        assert (await application.reports.close_due(NEXT_MONDAY + minutes * MINUTE)).revisions == 0
        assert (await application.reports.close(OPERATOR, company_id, NEXT_MONDAY + minutes * MINUTE)).revisions == 0
    revised = NEXT_MONDAY + 2 * HOUR
    assert (await application.reports.close_due(revised)).revisions == 2
    assert (await application.reports.close_due(revised + 2 * HOUR)).revisions == 0
    after = reports_of(endpoints, company_id)
    assert [row for row in after if row["revision"] == 1 and row["superseded_at"] is None] == [
        row for row in before if not (row["kind"] == "week" or row["period_start"] == late.day)
    ]
    superseded = [row for row in after if row["superseded_at"] is not None]
    assert named(superseded) == [("week", "2026-11-16", 1), ("day", "2026-11-18", 1)]
    for row in superseded:
        assert row["superseded_at"] == revised
        check(row, uses)
    newest = [row for row in after if row["revision"] == 2]
    assert named(newest) == [("week", "2026-11-16", 2), ("day", "2026-11-18", 2)]
    for row in newest:
        check(row, [*uses, late])
        assert (row["head_version"], row["superseded_at"], row["closed_at"]) == (2, None, revised)


async def test_usage_that_keeps_coming_makes_one_revision_an_hour_and_none_is_lost(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    await application.reports.close_due(TUESDAY_MIDNIGHT)
    now = TUESDAY_MIDNIGHT
    for _ in range(5 * 60 // 10):
        now += 10 * MINUTE
        write(endpoints.admin_url, company_id, Use(MONDAY, messages=1))
        await application.reports.close_due(now)
        await application.reports.close(OPERATOR, company_id, now)
    await application.reports.close_due(now + 61 * MINUTE)
    found = reports_of(endpoints, company_id)
    closed = [row["closed_at"] for row in found]
    assert all(later - earlier >= HOUR for earlier, later in pairwise(closed))
    assert [row["revision"] for row in found] == list(range(1, len(found) + 1))
    assert found[-1]["messages_outbound"] == 30
    assert [row["superseded_at"] is None for row in found] == [False] * (len(found) - 1) + [True]


async def test_the_usage_of_today_makes_no_revision_of_yesterday(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    await application.reports.close_due(TUESDAY_MIDNIGHT)
    write(endpoints.admin_url, company_id, Use(MONDAY + DAY, messages=5))
    assert await application.reports.close_due(TUESDAY_MIDNIGHT + 2 * HOUR) == ClosedReports(companies=1)
    assert named(reports_of(endpoints, company_id)) == [("day", "2026-11-16", 1)]


async def test_only_companies_that_are_due_are_looked_at(application: Application, endpoints: Endpoints) -> None:
    made = [await new_company(application) for _ in range(3)]
    night = TUESDAY_MIDNIGHT + MINUTE
    assert (await application.reports.close_due(night)).companies == 3
    for later in (MINUTE, 5 * HOUR, 23 * HOUR):
        assert (await application.reports.close_due(night + later)).companies == 0
    write(endpoints.admin_url, made[1], Use(MONDAY + DAY, messages=1))
    assert (await application.reports.close_due(night + 23 * HOUR)).companies == 1
    assert (await application.reports.close_due(night + 24 * HOUR)).companies == 3


async def test_a_pass_takes_a_bounded_number_of_companies_and_says_that_there_are_more(
    application: Application,
) -> None:
    for _ in range(5):
        await new_company(application)
    passes = [await application.reports.close_due(TUESDAY_MIDNIGHT, companies_max=2) for _ in range(3)]
    assert [(closed.reports, closed.more) for closed in passes] == [(2, True), (2, True), (1, False)]


async def test_each_company_s_day_ends_at_its_own_midnight(application: Application, endpoints: Endpoints) -> None:
    timezones = ("Asia/Kolkata", "Europe/Lisbon", "America/Sao_Paulo", "Pacific/Honolulu")
    made = [await new_company(application, timezone) for timezone in timezones]
    now = datetime(2026, 11, 17, 1, tzinfo=UTC)  # the 17th in Kolkata and Lisbon, the 16th further west
    await application.reports.close_due(now)
    assert [len(reports_of(endpoints, company_id)) for company_id in made] == [1, 1, 0, 0]
    await application.reports.close_due(now + 2 * HOUR)
    assert [len(reports_of(endpoints, company_id)) for company_id in made] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("timezone", "made", "now", "days"),
    [
        # 30 December 2011 was skipped in Apia: its row is there, and empty.
        ("Pacific/Apia", "2011-12-29 12:00", "2012-01-01 12:00", 4),
        # 4 November 2018 had no midnight in São Paulo; 17 February 2019 began after the second of two.
        ("America/Sao_Paulo", "2018-11-03 12:00", "2018-11-05 02:00", 2),
        ("America/Sao_Paulo", "2018-11-03 12:00", "2018-11-05 01:59", 1),
        ("America/Sao_Paulo", "2019-02-16 12:00", "2019-02-17 03:00", 1),
        ("America/Sao_Paulo", "2019-02-16 12:00", "2019-02-17 02:59", 0),
        # 7 April 2024 lasted 24.5 hours on Lord Howe Island.
        ("Australia/Lord_Howe", "2024-04-06 03:00", "2024-04-07 13:29", 1),
        ("Australia/Lord_Howe", "2024-04-06 03:00", "2024-04-07 13:30", 2),
    ],
)
async def test_days_of_any_length_are_closed_once_each(
    application: Application, endpoints: Endpoints, timezone: str, made: str, now: str, days: int
) -> None:
    first = date.fromisoformat(made[:10])
    company_id = await new_company(application, timezone, datetime.fromisoformat(f"{made}+00:00"))
    write(endpoints.admin_url, company_id, Use(first, messages=3))
    await application.reports.close_due(datetime.fromisoformat(f"{now}+00:00"))
    found = [row for row in reports_of(endpoints, company_id) if row["kind"] == "day"]
    assert [row["period_start"] for row in found] == [first + n * DAY for n in range(days)]
    assert [row["messages_outbound"] for row in found] == [3, 0, 0, 0][:days]


async def test_a_day_that_a_zone_change_makes_longer_is_closed_at_the_new_midnight(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application, "Asia/Kolkata", datetime(2026, 11, 16, 6, tzinfo=UTC))
    await application.companies.set_timezone(
        OPERATOR, company_id, "America/Sao_Paulo", datetime(2026, 11, 16, 6, tzinfo=UTC)
    )
    ends = [datetime(2026, 11, 16, 18, 30, tzinfo=UTC), datetime(2026, 11, 18, 3, tzinfo=UTC)]
    for count, end in enumerate(ends):
        await application.reports.close_due(end - timedelta(seconds=1))
        assert len(reports_of(endpoints, company_id)) == count
        await application.reports.close_due(end)
        assert len(reports_of(endpoints, company_id)) == count + 1


async def test_two_workers_at_once_close_everything_once(application: Application, endpoints: Endpoints) -> None:
    made = [await new_company(application) for _ in range(6)]
    for company_id in made:
        write(endpoints.admin_url, company_id, *a_week_of_uses())
    for now in (NEXT_MONDAY, NEXT_MONDAY + 2 * HOUR):
        await asyncio.gather(*(_close_in_own_pool(application, endpoints, made, now) for _ in range(3)))
        for company_id in made:
            found = named(reports_of(endpoints, company_id))
            assert len(found) == len(set(found))
            assert len([row for row in found if row[2] == 1]) == 8
            write(endpoints.admin_url, company_id, Use(MONDAY, messages=1))
    newest = [row for row in reports_of(endpoints, made[0]) if row["revision"] == 2]
    assert named(newest) == [("day", "2026-11-16", 2), ("week", "2026-11-16", 2)]


async def _close_in_own_pool(application: Application, endpoints: Endpoints, made: list[int], now: datetime) -> None:
    database = Database.create(endpoints.database_url, connections_max=2)
    await database.open()
    try:
        service = ReportService(database, application.settings)
        await service.close_due(now)
        for company_id in made[:2]:
            await service.close(OPERATOR, company_id, now)
    finally:
        await database.close()


async def test_while_one_closer_is_at_a_company_others_pass_it_by_or_wait(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    company_id = await new_company(application)
    await application.reports.close_due(TUESDAY_MIDNIGHT)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    insert = reports_module.reports.insert

    async def insert_after_a_pause(*arguments: Any, **options: Any) -> None:
        arrived.set()
        await go_on.wait()
        await insert(*arguments, **options)

    monkeypatch.setattr(reports_module.reports, "insert", insert_after_a_pause)
    first = asyncio.create_task(application.reports.close_due(NEXT_MONDAY))
    await arrived.wait()
    monkeypatch.setattr(reports_module.reports, "insert", insert)
    assert await application.reports.close_due(NEXT_MONDAY) == ClosedReports(companies=1)
    waiting = asyncio.create_task(application.reports.close(OPERATOR, company_id, NEXT_MONDAY))
    go_on.set()
    assert (await first).reports == 7
    assert (await waiting).reports == 0


async def test_a_closer_that_dies_half_way_leaves_nothing_half_done(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    company_id = await new_company(application)
    write(endpoints.admin_url, company_id, *a_week_of_uses())
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'secretaria_operator' AND state = 'idle in transaction'"
    )
    insert = reports_module.reports.insert

    async def insert_and_die(*arguments: Any, **options: Any) -> None:
        await insert(*arguments, **options)
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            assert connection.execute(kill).rowcount == 1

    monkeypatch.setattr(reports_module.reports, "insert", insert_and_die)
    assert await application.reports.close_due(NEXT_MONDAY) == ClosedReports(companies=1, failed=1)
    assert reports_of(endpoints, company_id) == []
    monkeypatch.setattr(reports_module.reports, "insert", insert)
    assert (await application.reports.close_due(NEXT_MONDAY)).reports == 8


async def test_a_price_that_changes_leaves_closed_periods_alone(application: Application, endpoints: Endpoints) -> None:
    company_id = await new_company(application)
    write(endpoints.admin_url, company_id, *a_week_of_uses())
    await application.reports.close_due(NEXT_MONDAY)
    before = reports_of(endpoints, company_id)
    dearer = application.settings.model_copy(update={"billing_cost_per_message": Decimal(9)})
    assert await CompanyService(application.database, dearer).sync_prices(NEXT_MONDAY) == 1
    await application.reports.close_due(NEXT_MONDAY + 2 * HOUR)
    assert reports_of(endpoints, company_id) == before


async def test_usage_from_before_the_company_was_made_gets_its_days_too(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = await new_company(application)
    await application.reports.close_due(TUESDAY_MIDNIGHT)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 9), messages=4))
    await application.reports.close_due(TUESDAY_MIDNIGHT + 2 * HOUR)
    found = reports_of(endpoints, company_id)
    assert [row["period_start"].day for row in found if row["kind"] == "day"] == [9, 10, 11, 12, 13, 14, 15, 16]
    assert [(row["period_start"].day, row["messages_outbound"]) for row in found if row["kind"] == "week"] == [(9, 4)]


async def test_what_ingest_counts_is_what_is_closed(application: Application, endpoints: Endpoints) -> None:
    now = application.clock()
    company_id = await new_company(application, made=now - 3 * DAY)
    start = (await application.analytics.summary(OPERATOR, company_id, now)).daily.start
    sent = [event(f"e{n}", messages=1, tokens_input=10, time=start - DAY + n * HOUR) for n in range(24)]
    await application.ingest.submit(key_of(company_id), list(enumerate(sent)), now=now)
    await application.reports.close_due(now)
    yesterday = [row for row in reports_of(endpoints, company_id) if row["kind"] == "day"][-1]
    assert (yesterday["messages_outbound"], yesterday["tokens_input"], yesterday["head_version"]) == (24, 240, 1)
    (version,) = rows(endpoints.admin_url, "SELECT version FROM company_heads WHERE company_id = %s", company_id)[0]
    assert yesterday["head_version"] == version
    late = [event("late", messages=5, time=start - HOUR)]
    await application.ingest.submit(key_of(company_id), list(enumerate(late)), now=now)
    await application.reports.close_due(now + 2 * HOUR)
    revised = [row for row in reports_of(endpoints, company_id) if row["revision"] == 2 and row["kind"] == "day"]
    assert [row["messages_outbound"] for row in revised] == [29]


async def test_a_company_that_fails_is_told_and_does_not_stop_the_others(
    application: Application, endpoints: Endpoints
) -> None:
    broken, sound = await new_company(application), await new_company(application)
    write(endpoints.admin_url, broken, Use(MONDAY, channel="fax", messages=1))
    closed = await application.reports.close_due(TUESDAY_MIDNIGHT)
    assert (closed.companies, closed.reports, closed.failed) == (2, 1, 1)
    assert (len(reports_of(endpoints, broken)), len(reports_of(endpoints, sound))) == (0, 1)


async def test_one_company_out_of_reach_does_not_hold_up_the_others_but_a_lost_database_ends_the_pass(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await new_company(application) for _ in range(4)]
    close_some, unreachable = reports_module._close_some, {made[0]}

    async def close_or_fail(connection: Connection, company_id: int, now: datetime, *, wait: bool) -> Any:
        if company_id in unreachable:
            raise Unavailable("the query took too long and was cancelled", code="query_too_heavy")
        return await close_some(connection, company_id, now, wait=wait)

    monkeypatch.setattr(reports_module, "_close_some", close_or_fail)
    closed = await application.reports.close_due(TUESDAY_MIDNIGHT)
    assert (closed.reports, closed.failed) == (3, 1)
    unreachable |= set(made)
    with pytest.raises(Unavailable):
        await application.reports.close_due(TUESDAY_MIDNIGHT + DAY)
    unreachable.clear()
    assert (await application.reports.close_due(TUESDAY_MIDNIGHT + DAY)).reports == 2 + 3


async def test_a_company_that_was_removed_is_passed_over(application: Application, endpoints: Endpoints) -> None:
    gone, sound = await new_company(application), await new_company(application)
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute("DELETE FROM companies WHERE company_id = %s", (gone,))
    assert await application.reports.close_due(TUESDAY_MIDNIGHT) == ClosedReports(companies=1, reports=1)
    assert len(reports_of(endpoints, sound)) == 1


async def test_only_the_operator_closes_by_hand_and_only_what_exists(application: Application) -> None:
    company_id = await new_company(application)
    with pytest.raises(NotAllowed):
        await application.reports.close(key_of(company_id), company_id, NEXT_MONDAY)
    for unknown in (0, -1, 10**9, 2**63):
        with pytest.raises(NotFound):
            await application.reports.close(OPERATOR, unknown, NEXT_MONDAY)
    assert (await application.reports.close(OPERATOR, company_id, NEXT_MONDAY)).reports == 8
