"""The month against a plan's limits, as the summary tells it, with when each is reached."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.plan_shop import NOW, TODAY, make, plan, use
from tests.services.test_period_figures import new_company
from tests.shop import OPERATOR, key_of
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.period import Period
from secretaria.core.plan import LimitMetric
from secretaria.embedded.servers import Endpoints
from secretaria.services.period_view import Wanted
from secretaria.services.plan_usage import read_plan_usage
from secretaria.store import companies, prices, usage_reads
from secretaria.store.database import transaction
from secretaria.store.partitions import ensure_months

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def room(owner_url: str) -> None:
    """Usage of this month can be counted whenever these tests run."""
    ensure_months(owner_url, TODAY, TODAY)


def at(day: int, **quantities: int) -> Use:
    return Use(date(2026, 11, day), **quantities)


def daily(days: Iterable[int], **quantities: int) -> list[Use]:
    return [at(day, **quantities) for day in days]


async def test_the_summary_holds_the_month_against_every_limit_with_state_and_forecast(
    application: Application, endpoints: Endpoints
) -> None:
    (company_id,) = await make(application, "A")
    # 19 days of 40 messages in, 60 out and 1500 tokens: 1900 messages, 28,500 tokens, 95.00 + 0.57 = 95.57.
    uses = [*daily(range(1, 20), messages=60, tokens_input=1000, tokens_output=500)]
    uses += [Use(use.day, direction="inbound", messages=40) for use in uses]
    write(endpoints.admin_url, company_id, at(1, messages=0), *uses)
    write(endpoints.admin_url, company_id, Use(date(2026, 10, 31), messages=9999))
    await plan(application, messages=2500, tokens=30_000, cost=Decimal("95.57"), hard=True)
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    summary = await application.analytics.summary(key_of(company_id), company_id, NOW)
    found = summary.plan
    assert found is not None
    assert (found.name, found.currency, found.thresholds, found.hard) == ("Pro", "BRL", [80, 100], True)
    messages, tokens, cost = found.limits
    assert (messages.metric, messages.limit, messages.used, messages.percent) == ("messages", 2500, 1900, "76.00")
    assert (messages.state, messages.lower_bound) == ("normal", False)
    # 600 are missing at a hundred a day: the sixth day from the 20th on, the 25th.
    expected = (date(2026, 11, 25),) * 3
    assert (messages.forecast.earliest, messages.forecast.likely, messages.forecast.latest) == expected
    assert (messages.forecast.outcome, messages.forecast.percent_at_end) == ("expected", "120.00")
    assert (tokens.used, tokens.percent, tokens.state) == (28_500, "95.00", "warning")
    assert tokens.forecast.likely == date(2026, 11, 20)
    assert (cost.limit, cost.used, cost.percent, cost.state) == ("95.57", "95.57", "100.00", "critical")
    assert (cost.forecast.outcome, cost.forecast.likely) == ("reached", None)
    assert summary.current.cost == cost.used
    assert summary.current.messages.total == messages.used


async def test_it_is_the_same_whether_the_month_was_rated_before_or_not(
    application: Application, endpoints: Endpoints
) -> None:
    (company_id,) = await make(application, "A")
    write(endpoints.admin_url, company_id, *daily(range(1, 20), messages=60, tokens_input=1000))
    write(endpoints.admin_url, company_id, Use(date(2026, 10, 31), messages=9999))
    await plan(application, messages=2500, cost=Decimal("95.57"))
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    start, end = date(2026, 10, 1), date(2026, 12, 1)
    async with transaction(application.database.operator) as connection:
        company = await companies.read(connection, company_id)
        assert company is not None
        book = (await prices.read_books(connection, {company_id: "BRL"}, start=start, end=end))[company_id]
        usage = await usage_reads.read_days(connection, company_id, start=start, end=end)
        found = await read_plan_usage(connection, company, now=NOW, usage=usage, book=book)
    assert found is not None
    assert found == (await application.analytics.summary(OPERATOR, company_id, NOW)).plan
    assert found.limits[0].used == 19 * 60


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("first", ["2026-10-22", "2026-11-01", "2026-11-15"])
async def test_the_page_s_plan_is_the_summary_s_whatever_its_view_has_read(
    application: Application, endpoints: Endpoints, cards: bool, first: str
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=5)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 21), messages=7, tokens_input=9))  # a clock ahead of ours
    await plan(application, messages=2500, tokens=10**6, cost=Decimal("95.57"))
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    wanted = Wanted(Period(date.fromisoformat(first), date(2026, 11, 21)))
    page = await application.analytics_page.read(OPERATOR, company_id, lambda _: wanted, NOW)
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    assert page.month == summary.plan_month
    assert page.month.plan is not None
    assert page.view == await application.views.read(OPERATOR, company_id, wanted, NOW)


async def test_what_has_no_price_makes_the_cost_a_lower_bound(application: Application, endpoints: Endpoints) -> None:
    (company_id,) = await make(application, "A")
    write(
        endpoints.admin_url, company_id, at(5, messages=10), at(5, channel="whatsapp", category="OTHER", messages=3)
    )  # fmt: skip
    await plan(application, messages=100, cost=Decimal(1))
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    found = (await application.analytics.summary(OPERATOR, company_id, NOW)).plan
    assert found is not None
    assert [(limit.metric, limit.used, limit.lower_bound) for limit in found.limits] == [
        (LimitMetric.MESSAGES, 13, False),
        (LimitMetric.COST, "0.50", True),
    ]


async def test_the_forecast_goes_by_the_days_since_the_company_is_there(
    application: Application, endpoints: Endpoints
) -> None:
    """Made on the 10th, at noon: the zeros before it are nobody's, and the 10th is not a whole day."""
    made = datetime(2026, 11, 10, 15, tzinfo=UTC)
    company_id = (await application.companies.create(OPERATOR, "A", now=made)).company_id
    write(endpoints.admin_url, company_id, at(10, messages=7), *daily(range(11, 14), messages=100))
    await plan(application, messages=1007)
    await application.plans.assign(OPERATOR, company_id, "Pro", now=made)

    async def likely(day: int) -> tuple[str, date | None]:
        now = datetime(2026, 11, day, 15, tzinfo=UTC)
        found = (await application.analytics.summary(OPERATOR, company_id, now)).plan
        assert found is not None
        return found.limits[0].forecast.outcome.value, found.limits[0].forecast.likely

    assert await likely(13) == ("unknown", None)
    # Three whole days of 100 on the 14th; 307 used, 700 missing: the seventh day from the 14th on.
    assert await likely(14) == ("expected", date(2026, 11, 20))
    # Usage told of earlier days makes those days count.
    write(endpoints.admin_url, company_id, at(8, messages=100))
    assert (await likely(14))[1] == date(2026, 11, 22)


async def test_a_company_without_a_plan_has_none_in_its_summary(application: Application) -> None:
    (company_id,) = await make(application, "A")
    await plan(application, messages=10)
    assert (await application.analytics.summary(OPERATOR, company_id, NOW)).plan is None
    await application.plans.assign(OPERATOR, company_id, "Pro", effective_from=date(2026, 11, 21), now=NOW)
    assert (await application.analytics.summary(OPERATOR, company_id, NOW)).plan is None
    tomorrow = await application.analytics.summary(OPERATOR, company_id, NOW + timedelta(days=1))
    assert tomorrow.plan is not None


async def test_the_summary_names_this_month_s_alerts_the_newest_first(application: Application) -> None:
    (company_id,) = await make(application, "A")
    await plan(application, messages=100)
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    await use(application, company_id, "1", 85)
    await use(application, company_id, "2", 15)
    found = (await application.analytics.summary(key_of(company_id), company_id, NOW)).alerts
    assert [(alert.threshold, alert.level, alert.used, alert.limit, alert.percent) for alert in found] == [
        (100, "critical", 100, 100, "100.00"),
        (80, "warning", 85, 100, "85.00"),
    ]
    assert (found[0].plan, found[0].period_start, found[0].resolved_at) == ("Pro", date(2026, 11, 1), None)
    next_month = await application.analytics.summary(OPERATOR, company_id, NOW + timedelta(days=11))
    assert next_month.alerts == []
