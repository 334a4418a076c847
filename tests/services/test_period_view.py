"""A view beside an earlier one: which days are held against which, the cut at the same hour, the steps."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.services.test_period_figures import AUTUMN, MADE, NOW, TODAY, new_company, sums
from tests.shop import OPERATOR, key_of
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.period import Period, month_of
from secretaria.embedded.servers import Endpoints
from secretaria.services.period_figures import Dimension
from secretaria.services.period_view import Comparison, Step, Wanted, earlier_period, week_parts

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


def days(first: str, past: str) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(past))


@pytest.mark.parametrize(
    ("period", "comparison", "expected"),
    [
        (days("2026-11-01", "2026-11-21"), None, days("2026-10-01", "2026-10-21")),
        (days("2026-10-01", "2026-11-01"), None, days("2026-09-01", "2026-10-01")),
        (days("2026-11-01", "2026-12-01"), None, days("2026-10-01", "2026-11-01")),
        (days("2026-03-01", "2026-03-31"), None, days("2026-02-01", "2026-03-01")),
        (days("2026-11-14", "2026-11-21"), None, days("2026-11-07", "2026-11-14")),
        (days("2026-11-20", "2026-11-21"), None, days("2026-11-19", "2026-11-20")),
        (days("2026-11-20", "2026-11-21"), Comparison.MONTH, days("2026-10-20", "2026-10-21")),
        (days("2026-11-01", "2026-11-21"), Comparison.BEFORE, days("2026-10-12", "2026-11-01")),
        (days("2026-11-01", "2026-11-21"), Comparison.NONE, None),
    ],
)
def test_a_period_is_held_against_days_like_it(
    period: Period, comparison: Comparison | None, expected: Period | None
) -> None:
    assert earlier_period(period, comparison) == expected


def test_weeks_begin_on_monday_and_are_cut_to_the_period() -> None:
    assert week_parts(days("2026-11-05", "2026-11-18")) == [
        days("2026-11-05", "2026-11-09"), days("2026-11-09", "2026-11-16"), days("2026-11-16", "2026-11-18"),
    ]  # fmt: skip


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("step", Step)
async def test_buckets_and_shares_of_every_step_add_up_to_what_the_period_reads_as(
    application: Application, endpoints: Endpoints, cards: bool, step: Step
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=3)
    period = Period(TODAY - 30 * DAY, TODAY + DAY)
    whole = await application.periods.read(OPERATOR, company_id, period, NOW, dimensions=[])
    for dimension in (Dimension.CATEGORY, Dimension.ACCOUNT, Dimension.COST_CENTER):
        found = await application.views.read(OPERATOR, company_id, Wanted(period, step, dimension), NOW)
        assert sums(found.total) == sums(whole.total)
        assert sums(*(bucket.figures for bucket in found.buckets)) == sums(whole.total)
        assert sums(*(share.figures for share in found.shares)) == sums(whole.total)
        ends = [bucket.end for bucket in found.buckets]
        assert [bucket.start for bucket in found.buckets[1:]] == ends[:-1]
        assert [bucket.unfinished for bucket in found.buckets] == [False] * (len(ends) - 1) + [True]


@pytest.mark.parametrize("step", [Step.DAY, Step.WEEK])
async def test_an_unfinished_period_is_compared_up_to_the_hour_that_both_have_reached(
    application: Application, endpoints: Endpoints, step: Step
) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    write(
        endpoints.admin_url, company_id,
        Use(date(2026, 10, 1), messages=1, hour=0), Use(date(2026, 10, 20), messages=10, hour=13),
        Use(date(2026, 10, 20), messages=100, hour=14), Use(date(2026, 10, 21), messages=1_000, hour=3),
        Use(date(2026, 11, 2), messages=2, hour=23), Use(TODAY, messages=20, hour=13), Use(TODAY, messages=200, hour=14),
    )  # fmt: skip
    found = await application.views.read(OPERATOR, company_id, Wanted(month_of(TODAY), step), NOW)
    previous = found.previous
    assert previous is not None
    assert (previous.is_cut, previous.is_whole) == (True, True)
    assert previous.until.isoformat() == "2026-10-20T14:00:00-03:00"
    assert (found.total.messages, previous.ours.messages, previous.total.messages) == (222, 22, 11)
    assert (previous.ours.cost, previous.total.cost) == (Decimal("1.10"), Decimal("0.55"))
    assert sum(of.messages for of in previous.buckets if of) == 11


async def test_by_the_hour_the_hour_under_way_is_held_against_nothing(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    write(
        endpoints.admin_url, company_id,
        Use(TODAY - DAY, messages=5, hour=13), Use(TODAY - DAY, messages=50, hour=14), Use(TODAY, messages=7, hour=14),
    )  # fmt: skip
    found = await application.views.read(OPERATOR, company_id, Wanted(Period(TODAY, TODAY + DAY), Step.HOUR), NOW)
    assert [bucket.start.hour for bucket in found.buckets] == list(range(15))
    assert found.previous is not None
    assert [of and of.messages for of in found.previous.buckets] == [None] * 0 + [0] * 13 + [5, None]
    assert (found.previous.ours.messages, found.previous.total.messages) == (0, 5)


async def test_a_finished_period_is_compared_whole_and_days_before_the_first_use_are_unknown(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    write(endpoints.admin_url, company_id, Use(date(2026, 9, 29), messages=5), Use(date(2026, 10, 5), messages=7))
    found = await application.views.read(OPERATOR, company_id, Wanted(month_of(date(2026, 10, 1))), NOW)
    assert found.previous is not None
    assert (found.previous.is_cut, found.previous.is_whole, found.previous.total.messages) == (False, False, 5)
    assert [of and of.messages for of in found.previous.buckets] == [None] * 28 + [5, 0, None]
    assert (found.first_day, found.last_day) == (date(2026, 9, 29), date(2026, 10, 5))


async def test_a_day_of_25_hours_has_25_buckets(application: Application, endpoints: Endpoints) -> None:
    company_id = (
        await application.companies.create(OPERATOR, "Berlin", timezone="Europe/Berlin", now=MADE)
    ).company_id
    day = date(2026, 10, 25)
    write(endpoints.admin_url, company_id, Use(day, messages=1, hour=2), Use(day, messages=2, hour=3))
    found = await application.views.read(OPERATOR, company_id, Wanted(Period(day, day + DAY), Step.HOUR), NOW)
    assert [bucket.figures.messages for bucket in found.buckets] == [0, 0, 1, 2] + [0] * 21
    assert [bucket.start.isoformat()[11:] for bucket in found.buckets[2:4]] == ["02:00:00+02:00", "02:00:00+01:00"]


async def test_what_is_too_fine_or_not_there_is_refused_by_name(application: Application, endpoints: Endpoints) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=1)
    read = application.views.read
    for wanted, code in [
        (Wanted(AUTUMN, Step.HOUR), "step_too_fine"),
        (Wanted(Period(TODAY - 400 * DAY, TODAY), Step.DAY), None),
        (Wanted(Period(TODAY - 401 * DAY, TODAY), Step.DAY), "step_too_fine"),
        (Wanted(Period(TODAY + DAY, TODAY + 2 * DAY)), "future_period"),
    ]:
        if code is None:
            await read(OPERATOR, company_id, wanted, NOW)
            continue
        with pytest.raises(InvalidInput) as caught:
            await read(OPERATOR, company_id, wanted, NOW)
        assert caught.value.code == code
    with pytest.raises(NotFound):
        await read(key_of(company_id + 1), company_id, Wanted(AUTUMN), NOW)


async def test_a_view_at_midnight_is_compared_up_to_the_eve(application: Application, endpoints: Endpoints) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    write(endpoints.admin_url, company_id, Use(date(2026, 10, 19), messages=3), Use(date(2026, 10, 20), messages=5))
    midnight = datetime(2026, 11, 20, 3, 0, 1, tzinfo=UTC)
    found = await application.views.read(OPERATOR, company_id, Wanted(month_of(TODAY)), midnight)
    assert found.previous is not None
    assert found.previous.total.messages == 3
    assert len(found.buckets) == 20
