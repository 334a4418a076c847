"""Shared cards: shipped, imported, chosen from a day on, and in every figure with the month's earlier days."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.shop import OPERATOR, event, key_of, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core import money
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotFound
from secretaria.core.period import month_of
from secretaria.core.plan import PlanTerms
from secretaria.core.rate_card import CardPriceRow
from secretaria.embedded.servers import Endpoints
from secretaria.services.rate_cards import ImportOptions, read_shipped
from secretaria.store import rate_cards
from secretaria.store.database import transaction
from secretaria.store.rate_cards import NewVersion

pytestmark = pytest.mark.anyio

GOLDEN = (Path(__file__).parent.parent / "golden" / "rate_card_brl.csv").read_bytes()
NEW_YEAR = ImportOptions(effective_from=date(2027, 1, 1))
# Sunday 1 November 2026, noon in São Paulo; choices made then hold from Monday the 2nd.
MADE = datetime(2026, 11, 1, 15, tzinfo=UTC)
NOW = datetime(2026, 11, 12, 15, tzinfo=UTC)
TODAY = date(2026, 11, 12)
DAY = timedelta(days=1)


def version(*prices: CardPriceRow, card: str = "test", currency: str = "BRL", free: int = 0) -> NewVersion:
    start = date(2026, 10, 1)
    return NewVersion(card, currency, start, start, "test", None, free, (), f"{card}{prices}", prices)


SMALL = version(
    ("Brazil", "UTILITY", 0, Decimal("1.00")),
    ("Brazil", "UTILITY", 10, Decimal("0.50")),
    ("Brazil", "SERVICE", 0, Decimal("2.00")),
    free=5,
)


async def add_version(application: Application, new: NewVersion = SMALL) -> None:
    async with transaction(application.database.operator) as connection:
        await rate_cards.insert(connection, new, now=MADE)


async def new_company(application: Application, *, card: str | None = "test", timezone: str = "America/Sao_Paulo") -> int:
    company = await application.companies.create(OPERATOR, "Clínica", timezone=timezone, now=MADE)
    if card is not None:
        await application.rate_cards.activate(OPERATOR, company.company_id, card=card, now=MADE)
    return company.company_id


def new_account(endpoints: Endpoints, company_id: int, *, currency: str = "BRL", card: str = "product") -> int:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO whatsapp_accounts (company_id, phone_number_id, name, currency, rate_card) "
            "VALUES (%s, gen_random_uuid(), 'a', %s, %s) RETURNING account_id",
            (company_id, currency, card),
        ).fetchone()
    assert row is not None
    return int(row[0])


def use(day: int, messages: int, category: str = "UTILITY", account_id: int | None = None) -> Use:
    return Use(date(2026, 11, day), channel="whatsapp", category=category, messages=messages, account_id=account_id)


async def test_shipped_cards_are_added_once_however_many_do_it(application: Application, endpoints: Endpoints) -> None:
    added = await asyncio.gather(*(application.rate_cards.sync_shipped(NOW) for _ in range(4)))
    assert sum(added) == len(read_shipped()) == 4
    assert await application.rate_cards.sync_shipped(NOW) == 0
    listed = await application.rate_cards.versions(OPERATOR, NOW)
    assert [(row.card, str(row.effective_from), row.prices) for row in listed] == [
        ("meta-brl", "2026-07-01", 4), ("meta-brl", "2026-10-01", 9),
        ("meta-usd", "2025-07-01", 4), ("meta-usd", "2026-10-01", 4),
    ]  # fmt: skip
    assert all(row.source and row.verified_on and row.notes for row in listed)
    assert [row.free_service_messages for row in listed] == [0, 1000, 0, 1000]


async def test_a_shipped_card_that_is_dearer_from_tomorrow_is_watched_for_by_those_who_use_it(
    application: Application, endpoints: Endpoints, monkeypatch
) -> None:
    await add_version(application)
    company_id = await new_company(application)
    account = new_account(endpoints, company_id)
    made = await application.plans.create(OPERATOR, "Pro", PlanTerms(cost=Decimal(50)), now=MADE)
    await application.plans.assign(OPERATOR, company_id, made.plan_id, now=MADE)

    async def send(name: str, now: datetime) -> None:
        sent = event(name, subject=company_id, account_id=account, category="UTILITY", time=now)
        assert (await application.ingest.submit(OPERATOR, [(0, sent)], now=now)).accepted == 1

    await send("1", NOW)
    dear = replace(version(("Brazil", "UTILITY", 0, Decimal(100))), effective_from=TODAY)
    monkeypatch.setattr("secretaria.services.rate_cards.read_shipped", lambda: [dear])
    assert await application.rate_cards.sync_shipped(NOW) == 1
    await send("2", NOW + DAY)
    assert rows(endpoints.admin_url, "SELECT threshold, used FROM alerts WHERE kind = 'limit' ORDER BY 1") == [
        (80, Decimal(101)), (100, Decimal(101)),
    ]  # fmt: skip


async def test_a_choice_starts_at_the_company_s_next_local_day_and_is_audited(
    application: Application, endpoints: Endpoints
) -> None:
    late = datetime(2026, 11, 2, 2, tzinfo=UTC)  # still the 1st in São Paulo, the 2nd in UTC, the 2nd in Auckland
    west, east = await new_company(application, card=None), await new_company(application, card=None, timezone="Pacific/Auckland")
    starts = [
        (await application.rate_cards.activate(OPERATOR, company, card="meta-brl", now=late)).effective_from
        for company in (west, east)
    ]
    assert starts == [date(2026, 11, 2), date(2026, 11, 3)]
    again = await application.rate_cards.activate(OPERATOR, west, card="meta-brl", now=late)
    assert again.effective_from == starts[0]
    lines = rows(endpoints.admin_url, "SELECT company_id, detail->'after'->>'card' FROM audit_log WHERE action = 'rate_card.activated'")
    assert sorted(lines) == [(west, "meta-brl"), (east, "meta-brl")]
    assert rows(endpoints.admin_url, "SELECT count(*) FROM rate_card_choices") == [(2,)]


async def test_every_figure_counts_the_month_s_earlier_days(application: Application, endpoints: Endpoints) -> None:
    await add_version(application)
    company_id = await new_company(application)
    write(endpoints.admin_url, company_id, use(1, 8), use(3, 4), use(9, 3), use(12, 2), use(12, 7, "SERVICE"))
    # Day 1 by the product's card: 8 x 0.021 x 5. Then 2 x 1.00 + 2 x 0.50, 3 x 0.50, 2 x 0.50 + 2 x 2.00 past 5 free.
    costs = {1: "0.84", 3: "3.00", 9: "1.50", 12: "5.00"}
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert (summary.daily.cost, summary.weekly.cost, summary.current.cost) == ("5.00", "6.50", "10.34")
    history = await application.analytics.history(OPERATOR, company_id, "week", NOW)
    assert {point.date.day: point.cost for point in history.points if point.messages} == {9: "1.50", 12: "5.00"}
    weeks = await application.analytics.history(OPERATOR, company_id, "month", NOW)
    assert [point.cost for point in weeks.points[-3:]] == ["0.84", "3.00", "6.50"]
    overview = await application.analytics.overview(OPERATOR, NOW)
    assert [row.today.cost for row in overview.companies] == ["5.00"]
    report = await application.periods.read(OPERATOR, company_id, month_of(NOW.date()), NOW)
    assert {of.day.day: money.exact_text(of.figures.cost) for of in report.days if of.figures.cost} == costs
    member = await application.analytics.summary(key_of(company_id), company_id, NOW)
    assert member.current.cost == "10.34"


@pytest.mark.parametrize(("rounding", "cost"), [(None, "34.95"), ("exact", "34.95"), ("cents_down", "34.20")])
async def test_the_product_s_worked_example_with_either_rounding(
    application: Application, endpoints: Endpoints, rounding: str | None, cost: str
) -> None:
    company_id = await new_company(application, card=None)
    if rounding:
        await application.rate_cards.activate(
            OPERATOR, company_id, card="product", unit_price_rounding=rounding, now=MADE
        )
    write(endpoints.admin_url, company_id, use(12, 100), use(12, 50, "MARKETING"), use(12, 10, "AUTHENTICATION"))
    assert (await application.analytics.summary(OPERATOR, company_id, NOW)).daily.cost == cost


async def test_closed_reports_name_the_card_and_late_usage_rates_the_rest_of_the_month_again(
    application: Application, endpoints: Endpoints
) -> None:
    await add_version(application)
    company_id = await new_company(application)
    write(endpoints.admin_url, company_id, use(3, 8), use(9, 4), use(10, 1))
    await application.reports.close_due(NOW)

    def found() -> dict[tuple[str, int, int], Decimal]:
        statement = "SELECT kind, period_start, revision, cost FROM analytics_reports WHERE company_id = %s AND cost > 0"
        return {(kind, day.day, number): cost for kind, day, number, cost in rows(endpoints.admin_url, statement, company_id)}

    assert found() == {("day", 3, 1): 8, ("day", 9, 1): 3, ("day", 10, 1): Decimal("0.5"), ("week", 2, 1): 8}
    lines = rows(endpoints.admin_url, "SELECT lines FROM analytics_reports WHERE kind = 'day' AND period_start = '2026-11-09'")
    assert [(line["card"], line["above"], line["amount"], line["quantity"]) for line in lines[0][0]] == [
        ("test", 0, "1.00", 2), ("test", 10, "0.50", 2),
    ]  # fmt: skip
    assert all(line["card_price_id"] for line in lines[0][0])
    write(endpoints.admin_url, company_id, use(4, 2))
    await application.reports.close_due(NOW + timedelta(hours=2))
    assert found() == {
        ("day", 3, 1): 8, ("day", 4, 2): 2, ("day", 9, 1): 3, ("day", 10, 1): Decimal("0.5"), ("week", 2, 1): 8,
        ("day", 9, 2): 2, ("day", 10, 2): Decimal("0.5"), ("week", 2, 2): 10,
    }  # fmt: skip


async def test_one_message_costs_what_the_month_costs_more_with_it(application: Application, endpoints: Endpoints) -> None:
    await add_version(application)
    company_id = await new_company(application)
    write(endpoints.admin_url, company_id, use(3, 9))
    costs = [
        (await application.recording.record(OPERATOR, company_id, sent, NOW)).cost
        for number in range(3)
        for sent in [event(f"m-{number}", subject=company_id, category="UTILITY", time=NOW.isoformat())]
    ]
    assert costs == [Decimal("1.00"), Decimal("0.50"), Decimal("0.50")]
    # Late, on the 4th: it takes a place of the first band, and one of the 12th moves to the second.
    late = event("m-8", subject=company_id, category="UTILITY", time="2026-11-04T12:00:00-03:00")
    assert (await application.recording.record(OPERATOR, company_id, late, NOW)).cost == Decimal("0.50")
    sent = event("m-9", subject=company_id, category="MARKETING", time=NOW.isoformat())
    recorded = await application.recording.record(OPERATOR, company_id, sent, NOW)
    assert (recorded.cost, recorded.not_priced) == (None, True)


async def test_an_account_keeps_its_own_card(application: Application, endpoints: Endpoints) -> None:
    await add_version(application)
    company_id = await new_company(application, card=None)
    first, second, dollars = (
        new_account(endpoints, company_id, card="test"), new_account(endpoints, company_id),
        new_account(endpoints, company_id, currency="USD"),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="is in BRL") as refused:
        await application.rate_cards.activate(OPERATOR, company_id, card="test", account_id=dollars, now=MADE)
    assert refused.value.code == "card_currency_mismatch"
    await application.rate_cards.activate(OPERATOR, company_id, card="meta-usd", account_id=dollars, now=MADE)
    await application.rate_cards.activate(
        OPERATOR, company_id, card="product", unit_price_rounding="cents_down", now=MADE
    )
    write(endpoints.admin_url, company_id, *(use(3, 1, account_id=account) for account in (first, second, dollars)))
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert summary.current.cost == "1.134"  # 1.00 + 0.105 cut to 0.10 + 0.0068 x 5.00
    chosen = await application.rate_cards.choices(OPERATOR, company_id)
    assert {(row.account_id, row.card) for row in chosen} == {(first, "test"), (dollars, "meta-usd"), (None, "product")}


@pytest.mark.parametrize(
    ("options", "error", "code"),
    [
        ({"card": "lost"}, InvalidInput, "unknown_card"),
        ({"card": "test", "account_id": 999}, NotFound, "account_not_found"),
        ({"card": "test", "unit_price_rounding": "cents_down"}, InvalidInput, "rounding_not_possible"),
    ],
)
async def test_a_choice_that_cannot_be_is_refused(
    application: Application, options: dict[str, Any], error: type[Exception], code: str
) -> None:
    await add_version(application)
    company_id = await new_company(application, card=None)
    with pytest.raises(error) as refused:
        await application.rate_cards.activate(OPERATOR, company_id, **options, now=MADE)
    assert getattr(refused.value, "code", "") == code
    with pytest.raises(NotFound):
        await application.rate_cards.activate(OPERATOR, 999, card="test", now=MADE)
    with pytest.raises(NotAllowed):
        await application.rate_cards.activate(key_of(company_id), company_id, card="test", now=MADE)


async def test_the_preview_says_what_the_import_then_does(application: Application) -> None:
    cards = application.rate_cards
    plan = await cards.preview(OPERATOR, GOLDEN, NEW_YEAR, now=NOW)
    assert (plan.card, plan.effective_from, plan.free_service_messages) == ("meta-brl", date(2027, 1, 1), 1000)
    changes = {(change.market, change.category): change for change in plan.changes}
    assert changes["Brazil", "UTILITY"].loses_tiers
    assert changes["Brazil", "SERVICE"].after == ((0, None),)
    assert ("Brazil", "MARKETING") not in changes
    assert plan.unchanged == 2
    assert len(await cards.versions(OPERATOR, NOW)) == 4
    assert await cards.import_file(OPERATOR, GOLDEN, NEW_YEAR, now=NOW) == plan
    assert (await cards.preview(OPERATOR, GOLDEN, NEW_YEAR, now=NOW)).changes == []
    with pytest.raises(DuplicateKey) as refused:
        await cards.import_file(OPERATOR, GOLDEN, NEW_YEAR, now=NOW)
    assert refused.value.code == "card_imported"
    with pytest.raises(NotAllowed):
        await cards.import_file(key_of(1), GOLDEN, NEW_YEAR, now=NOW)


async def test_a_card_in_use_takes_prices_for_days_to_come_only(application: Application, endpoints: Endpoints) -> None:
    cards = application.rate_cards
    company_id = await new_company(application, card="meta-brl")
    write(endpoints.admin_url, company_id, use(3, 100))
    before = (await application.analytics.summary(OPERATOR, company_id, NOW)).current.cost
    for start in (None, TODAY):
        with pytest.raises(InvalidInput) as refused:
            await cards.import_file(OPERATOR, GOLDEN, ImportOptions(effective_from=start), now=NOW)
        assert refused.value.code == "effective_date_in_past"
    await cards.import_file(OPERATOR, GOLDEN, ImportOptions(effective_from=TODAY + DAY), now=NOW)
    assert (await application.analytics.summary(OPERATOR, company_id, NOW)).current.cost == before == "3.50"


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        (GOLDEN.replace(b"effective", b"valid"), ImportOptions(), "effective_date_missing"),
        (GOLDEN.replace(b"BRL", b"$US"), replace(NEW_YEAR, card="meta-brl"), "card_currency_mismatch"),
        (GOLDEN, replace(NEW_YEAR, card="product"), "invalid_name"),
        (GOLDEN, replace(NEW_YEAR, card="../x"), "invalid_name"),
        (GOLDEN, replace(NEW_YEAR, source="x" * 301), "invalid_source"),
        (GOLDEN, replace(NEW_YEAR, free_service_messages=-1), "invalid_free_messages"),
        (b"PK\x03\x04", NEW_YEAR, "not_a_csv"),
    ],
)
async def test_an_import_that_cannot_be_is_refused(
    application: Application, content: bytes, options: ImportOptions, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await application.rate_cards.preview(OPERATOR, content, options, now=NOW)
    assert refused.value.code == code


@pytest.mark.parametrize("role", ["secretaria_door", "secretaria_operator", "secretaria_ingest"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("rate_cards", "card"),
        ("rate_card_prices", "market"),
        ("rate_card_choices", "card"),
        ("published_rates", "source"),
    ],
)
async def test_nobody_changes_what_is_written(endpoints: Endpoints, role: str, table: str, column: str) -> None:
    statements = [f"UPDATE {table} SET {column} = 'x'"]
    if (role, table) != ("secretaria_operator", "rate_card_choices"):  # a demo's choices go with the demo
        statements.append(f"DELETE FROM {table}")
    for statement in statements:
        with (
            psycopg.connect(endpoints.database_url, options=f"-c role={role}") as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())
