"""The operator's list: the figures of each company's summary, in an order that pages cannot fall between."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests import usage_rows
from tests.plan_shop import make, plan, use
from tests.shop import OPERATOR, key_of, rows
from tests.usage_rows import Use

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import NotAllowed
from secretaria.embedded.servers import Endpoints
from secretaria.services import overview
from secretaria.services.overview import OverviewPage
from secretaria.store.standings import ORDERS, SITUATIONS, ListRow, Wanted

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 17, 32, tzinfo=UTC)
TODAY = date(2026, 11, 20)


async def whole_list(application: Application, now: datetime = NOW, **wanted: Any) -> list[ListRow]:
    """Every row, page after page."""
    found: list[ListRow] = []
    after: tuple[str, ...] | None = ()
    while after is not None:
        page = await application.overview.page(OPERATOR, Wanted(after=after, **wanted), now)
        assert page.first == len(found) + 1
        found += page.rows
        after = page.next_after
    return found


def standings(page: OverviewPage) -> dict[str, Any]:
    return {row.name: row.standing for row in page.rows}


async def random_shop(application: Application, endpoints: Endpoints, count: int = 12) -> list[int]:
    """Companies with and without plans, prices, currencies and usage, made by chance that is always the same."""
    chance = random.Random(7)
    tight, loose = await plan(application, "Tight", messages=300), await plan(application, "Loose", tokens=900_000)
    made = []
    for number in range(count):
        currency = chance.choice(["BRL", "BRL", "USD"])
        (company_id,) = await make(application, f"Empresa {number:02}", currency=currency)
        made.append(company_id)
        chosen = chance.choice([None, tight.plan_id, loose.plan_id])
        if chosen is not None and currency == "BRL":
            await application.plans.assign(OPERATOR, company_id, chosen, now=NOW)
        uses = [
            Use(
                TODAY - timedelta(days=chance.randrange(50)),
                direction=chance.choice(["inbound", "outbound"]),
                channel=chance.choice(["usage", "whatsapp"]),
                category=chance.choice(["UTILITY", "MARKETING", "OTHER"]),
                messages=chance.randrange(60),
                tokens_input=chance.randrange(5_000),
                hour=chance.randrange(14),
            )
            for _ in range(chance.randrange(30))
        ]
        usage_rows.write(endpoints.admin_url, company_id, *uses)
    return made


async def test_each_row_says_what_the_company_s_summary_says(application: Application, endpoints: Endpoints) -> None:
    made = await random_shop(application, endpoints)
    for row in await whole_list(application):
        summary = await application.analytics.summary(OPERATOR, row.company_id, NOW)
        month, of = summary.current, row.standing
        assert of is not None
        assert of.version == summary.version == row.version
        assert (of.messages_inbound, of.messages_outbound) == (month.messages.inbound, month.messages.outbound)
        assert of.tokens == month.tokens.total
        assert of.cost == (None if month.cost is None else Decimal(month.cost))
        assert (of.not_priced_messages, of.not_priced_tokens) == (month.not_priced.messages, month.not_priced.tokens)
        assert (of.lower_bound, of.currency) == (month.lower_bound, month.currency)
        assert of.plan_name == (summary.plan.name if summary.plan else None)
        limits = summary.plan.limits if summary.plan else []
        assert of.percent == max((Decimal(limit.percent) for limit in limits), default=None)
        history = await application.analytics.history(OPERATOR, row.company_id, "week", NOW)
        assert [*of.daily_costs[-7:]] == [Decimal(point.cost or 0) for point in history.points]
        assert [*of.daily_messages[-7:]] == [point.messages for point in history.points]
    assert len(made) == len(await whole_list(application))


async def test_the_change_holds_complete_days_against_the_same_days_of_the_last_month(
    application: Application, endpoints: Endpoints
) -> None:
    (company,) = await make(application, "Clínica")
    outside = [date(2026, 9, 30), date(2026, 10, 20), TODAY]
    uses = [Use(day, messages=1_000) for day in outside]
    uses += [Use(date(2026, 10, 1), messages=10), Use(date(2026, 10, 19), messages=30)]
    uses += [Use(date(2026, 11, 1), messages=20), Use(date(2026, 11, 19), messages=40)]
    usage_rows.write(endpoints.admin_url, company, *uses)
    (row,) = await whole_list(application)
    assert row.standing is not None
    of = row.standing.compared
    assert of is not None
    assert (of.start, of.end) == (date(2026, 11, 1), TODAY)
    assert (of.before_start, of.before_end) == (date(2026, 10, 1), date(2026, 10, 20))
    assert (of.cost, of.cost_before, of.base) == (Decimal("3.00"), Decimal("2.00"), 40)
    assert of.is_whole


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("descending", [False, True])
async def test_every_order_shows_each_company_once_over_pages_and_ties(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, order: str, descending: bool
) -> None:
    made = await random_shop(application, endpoints, 9)
    made += await make(application, "Gêmea", "Gêmea", "Gêmea", "álamo")
    monkeypatch.setattr(overview, "PAGE_COMPANIES", 2)
    listed = await whole_list(application, order=order, descending=descending)
    assert sorted(row.company_id for row in listed) == sorted(made)
    backwards = await whole_list(application, order=order, descending=not descending)
    assert [row.company_id for row in backwards] == [row.company_id for row in reversed(listed)]
    keys = {
        "name": lambda row: row.name.lower().replace("ê", "e").replace("á", "a"),
        "percent": lambda row: -1 if row.standing.percent is None else row.standing.percent,
        "messages": lambda row: row.standing.messages_outbound,
        "cost": lambda row: row.standing.cost_order,
        "attention": lambda row: (row.standing.attention, -row.standing.weight),
    }
    found = [keys[order](row) for row in listed]
    assert found == sorted(found, reverse=descending)


async def test_what_needs_attention_comes_first(application: Application, endpoints: Endpoints) -> None:
    limited = await plan(application, messages=100)
    names = ("Calma", "Cara", "Muda", "Sem preço", "Aviso 80", "Aviso 95", "Crítica")
    calm, dear, _, unpriced, *near = await make(application, *names)
    for company_id, used in zip(near, (80, 95, 100), strict=True):
        await application.plans.assign(OPERATOR, company_id, limited.plan_id, now=NOW)
        usage_rows.write(endpoints.admin_url, company_id, Use(TODAY, messages=used))
    usage_rows.write(endpoints.admin_url, calm, Use(TODAY, messages=1))
    usage_rows.write(endpoints.admin_url, dear, Use(TODAY, messages=5_000))
    usage_rows.write(endpoints.admin_url, unpriced, Use(TODAY, channel="whatsapp", category="OTHER", messages=9))
    listed = [row.name for row in await whole_list(application)]
    assert listed == ["Crítica", "Aviso 95", "Aviso 80", "Muda", "Sem preço", "Cara", "Calma"]


async def test_each_count_is_the_number_of_rows_its_filter_leaves(
    application: Application, endpoints: Endpoints
) -> None:
    await random_shop(application, endpoints, 14)
    names = dict((await application.overview.page(OPERATOR, Wanted(), NOW)).plans)
    for plan_id in (None, 0, *names):
        for search in ("", "empresa 0"):
            counts = (await application.overview.page(OPERATOR, Wanted(search=search, plan_id=plan_id), NOW)).counts
            assert counts.total == len(await whole_list(application, search=search, plan_id=plan_id))
            for situation in SITUATIONS:
                left = await whole_list(application, search=search, plan_id=plan_id, situation=situation)
                assert counts.situations[situation] == len(left), (plan_id, search, situation)
                assert plan_id is None or all((row.standing.plan_id or 0) == plan_id for row in left if row.standing)


async def test_it_is_searched_by_name_tax_id_and_number(application: Application) -> None:
    await make(application, "Ótica Lume")
    (found,) = await make(application, "Auto Peças", tax_id="11.222.333/0001-81")
    for search in ("auto pecas", "11.222.333", "11222333000181", str(found)):
        assert [row.company_id for row in await whole_list(application, search=search)] == [found], search
    assert await whole_list(application, search="11.2") == []


async def test_usage_a_new_plan_and_a_new_day_are_seen_at_once(application: Application, endpoints: Endpoints) -> None:
    (company,) = await make(application, "Clínica")
    assert (await whole_list(application))[0].standing.messages_outbound == 0  # type: ignore[union-attr]
    await use(application, company, "1", 60, NOW)
    (row,) = await whole_list(application)
    assert row.standing is not None
    assert (row.standing.messages_outbound, row.standing.percent) == (60, None)
    assert not row.standing.is_idle
    limited = await plan(application, messages=75)
    await application.plans.assign(OPERATOR, company, limited.plan_id, now=NOW)
    (row,) = await whole_list(application)
    assert row.standing is not None
    assert (row.standing.percent, row.standing.state) == (Decimal(80), "warning")
    later = NOW + timedelta(days=20)
    (row,) = await whole_list(application, later)
    assert row.standing is not None
    assert (row.standing.messages_outbound, row.standing.is_idle, row.standing.day) == (0, True, date(2026, 12, 10))


async def test_of_many_that_moved_the_page_is_exact_and_the_order_names_its_moment(
    application: Application, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(application, *(f"Empresa {number}" for number in range(6)))
    await whole_list(application)
    monkeypatch.setattr(overview, "AT_ONCE_MAX", 4)
    monkeypatch.setattr(overview, "PAGE_COMPANIES", 3)
    for company_id in made:
        usage_rows.write(endpoints.admin_url, company_id, Use(TODAY, messages=company_id))
    later = NOW + timedelta(minutes=1)
    page = await application.overview.page(OPERATOR, Wanted(order="messages", descending=True), later)
    assert (page.counts.behind, page.counts.behind_since) == (6, NOW)
    assert [row.standing.messages_outbound for row in page.rows if row.standing] == [
        row.company_id for row in page.rows
    ]
    assert len(page.rows) == 3
    # The worker does not compute again what it computed a moment ago, but what waits for longer it does.
    assert await application.overview.keep(later) == 0
    assert await application.overview.keep(later + overview.KEPT_FOR) == 3
    page = await application.overview.page(OPERATOR, Wanted(order="messages", descending=True), later)
    assert [row.company_id for row in page.rows] == made[:2:-1]
    assert (page.counts.behind, page.counts.behind_since) == (0, None)


async def test_open_alerts_are_counted_until_acknowledged(application: Application) -> None:
    limited = await plan(application, messages=10)
    (company,) = await make(application, "Clínica")
    await application.plans.assign(OPERATOR, company, limited.plan_id, now=NOW)
    await use(application, company, "1", 10, NOW)
    (row,) = await whole_list(application)
    assert row.open_alerts == 2
    (alert, _) = await application.alerts.page(OPERATOR, company, limit=2)
    await application.alerts.acknowledge(OPERATOR, company, alert.alert_id, NOW)
    (row,) = await whole_list(application)
    assert row.open_alerts == 1


async def test_only_the_operator_sees_it_and_emptying_it_loses_nothing(
    application: Application, endpoints: Endpoints
) -> None:
    (company,) = await make(application, "Clínica")
    with pytest.raises(NotAllowed):
        await application.overview.page(key_of(company), Wanted(), NOW)
    before = await whole_list(application)
    rows(endpoints.admin_url, "DELETE FROM company_standings RETURNING company_id")
    assert await whole_list(application) == before
    assert await application.companies.get(PROCESS, company)
