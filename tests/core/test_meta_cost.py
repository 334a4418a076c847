"""Ours beside Meta's: which is shown on which day, and that the lines add up whatever the figures."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.meta_cost import (
    Choice,
    CostSource,
    MetaDay,
    MetaFigure,
    TodaySource,
    TotalSource,
    reconcile,
    source_of,
)

TODAY = date(2026, 11, 20)
YESTERDAY = TODAY - timedelta(days=1)
OURS = {"UTILITY": Decimal("10.50"), "MARKETING": Decimal("23.75"), "AUTHENTICATION": Decimal("0.70")}
ADS = Choice(total_source=TotalSource.ADS)
META_TODAY = Choice(today_source=TodaySource.META)


def figure(amount: str | None) -> MetaFigure:
    converted = None if amount is None else Decimal(amount)
    return MetaFigure(10, converted, "BRL", converted, None)


def meta(*, whole: bool = True, ads: str | None = None, ads_whole: bool = True, **amounts: str | None) -> MetaDay:
    return MetaDay(
        {name: figure(amount) for name, amount in amounts.items()},
        whole,
        None if ads is None else figure(ads),
        ads_whole,
    )


@pytest.mark.parametrize(
    ("day", "said", "choice", "total", "source"),
    [
        (YESTERDAY, None, Choice(), "34.95", "estimated"),
        (YESTERDAY, meta(UTILITY="10.20", MARKETING="23.00", AUTHENTICATION="0.70"), Choice(), "33.90", "meta"),
        # of a whole day, what Meta does not list it did not charge
        (YESTERDAY, meta(UTILITY="10.20"), Choice(), "10.20", "meta"),
        (YESTERDAY, meta(UTILITY="10.20", SERVICE="1.00"), Choice(), "11.20", "meta"),
        # no cost told: ours stays
        (YESTERDAY, meta(UTILITY="10.20", MARKETING=None), Choice(), "33.95", "mixed"),
        # pulled before the day had ended, or nothing there yet
        (YESTERDAY, meta(UTILITY="10.20", whole=False), Choice(), "34.95", "estimated"),
        (YESTERDAY, meta(), Choice(), "34.95", "estimated"),
        # today only when chosen, and only what Meta has already
        (TODAY, meta(UTILITY="9.00", whole=False), Choice(), "34.95", "estimated"),
        (TODAY, meta(UTILITY="9.00", whole=False), META_TODAY, "33.45", "mixed"),
        (TODAY + timedelta(days=1), meta(UTILITY="9.00", whole=False), META_TODAY, "34.95", "estimated"),
        # ad spend is a line of its own unless it was chosen
        (TODAY, meta(ads="7.00", ads_whole=False), Choice(), "34.95", "estimated"),
        (TODAY, meta(ads="7.00", ads_whole=False), ADS, "7.00", "meta"),
        (YESTERDAY, meta(ads="7.00"), ADS, "7.00", "meta"),
        (YESTERDAY, meta(ads="7.00", ads_whole=False), ADS, "34.95", "estimated"),
        (YESTERDAY, meta(UTILITY="1.00"), ADS, "1.00", "meta"),
    ],
)
def test_a_day_is_decided_by_what_was_pulled_when_and_by_what_was_chosen(
    day: date, said: MetaDay | None, choice: Choice, total: str, source: str
) -> None:
    found = reconcile(day, OURS, said, today=TODAY, choice=choice)
    assert (found.total, found.cost_source) == (Decimal(total), source)
    assert found.estimated_total == Decimal("34.95")
    assert found.difference == Decimal(total) - Decimal("34.95")


def test_both_figures_stand_side_by_side_with_their_difference() -> None:
    found = reconcile(TODAY, OURS, meta(UTILITY="9.00", whole=False), today=TODAY)
    by_name = {line.category: line for line in found.lines}
    assert (by_name["UTILITY"].estimated, by_name["UTILITY"].meta) == (Decimal("10.50"), Decimal("9.00"))
    assert by_name["UTILITY"].difference == Decimal("-1.50")
    assert by_name["UTILITY"].amount == Decimal("10.50")
    assert by_name["MARKETING"].difference is None


def test_a_figure_in_a_currency_without_a_rate_replaces_nothing() -> None:
    said = MetaDay({"UTILITY": MetaFigure(1, Decimal(9), "EUR", None, None)}, True)
    found = reconcile(YESTERDAY, {"UTILITY": Decimal("10.50")}, said, today=TODAY)
    assert (found.total, found.cost_source) == (Decimal("10.50"), CostSource.ESTIMATED)


def test_a_category_without_any_figure_does_not_make_the_source_mixed() -> None:
    ours = {"UTILITY": Decimal("10.50"), "SERVICE": Decimal(0)}
    found = reconcile(TODAY, ours, meta(UTILITY="9.00", whole=False), today=TODAY, choice=META_TODAY)
    assert (found.total, found.cost_source) == (Decimal("9.00"), CostSource.META)


def test_the_source_of_nothing_is_our_estimate() -> None:
    assert source_of([]) is CostSource.ESTIMATED
    assert source_of([CostSource.META, CostSource.ESTIMATED]) is CostSource.MIXED


amounts = st.decimals(min_value=0, max_value=10**9, places=6)
names = st.sampled_from(["UTILITY", "MARKETING", "AUTHENTICATION", "SERVICE", "AI_BOT"])


@given(
    ours=st.dictionaries(names, amounts),
    theirs=st.dictionaries(names, st.none() | amounts),
    whole=st.booleans(),
    days_ago=st.integers(-1, 3),
    today_source=st.sampled_from(TodaySource),
)
def test_the_lines_add_up_and_every_category_has_one(
    ours: dict[str, Decimal],
    theirs: dict[str, Decimal | None],
    whole: bool,
    days_ago: int,
    today_source: TodaySource,
) -> None:
    said = MetaDay({name: MetaFigure(1, one, "BRL", one, None) for name, one in theirs.items()}, whole)
    day = TODAY - timedelta(days=days_ago)
    found = reconcile(day, ours, said, today=TODAY, choice=Choice(today_source=today_source))
    assert found.total == sum((line.amount for line in found.lines), Decimal(0))
    assert [line.category for line in found.lines] == sorted(ours.keys() | theirs.keys())
    for line in found.lines:
        expected = line.meta if line.source is CostSource.META else ours.get(line.category, Decimal(0))
        assert line.amount == expected
