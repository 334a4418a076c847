"""What fires, what is resolved, and when to ask again."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.crossing import AlertKind, AlertLevel, Line, OpenAlert, Used, decide, limit_lines, next_line
from secretaria.core.plan import LimitMetric, PlanLimits

M, T, C = LimitMetric.MESSAGES, LimitMetric.TOKENS, LimitMetric.COST


def plan(messages=None, tokens=None, cost=None, thresholds=(80, 100)) -> PlanLimits:
    amount = None if cost is None else Decimal(cost)
    return PlanLimits(1, "Pro", "BRL", messages, tokens, amount, thresholds, False, date(2026, 1, 1))


def told(lines) -> list[tuple[LimitMetric, int]]:
    return [(line.metric, line.threshold) for line in lines]


def opened(limits: PlanLimits, *lines: tuple[LimitMetric, int]) -> list[OpenAlert]:
    return [OpenAlert(i, line) for i, line in enumerate(limit_lines(limits), 1) if (line.metric, line.threshold) in lines]


@pytest.mark.parametrize(
    ("used", "expected"),
    [(66, []), (67, []), (68, [80]), (83, [80]), (84, [80, 100]), (1000, [80, 100])],
    ids=["none", "just_below", "80", "between", "100", "jump"],
)
def test_it_fires_each_line_that_is_reached(used: int, expected: list[int]) -> None:
    fired = decide(Used(used, 0), plan(messages=84), [], may_resolve=False).fired
    assert [line.threshold for line in fired] == expected
    assert [line.level for line in fired] == [AlertLevel.WARNING, AlertLevel.CRITICAL][: len(expected)]


def test_it_fires_nothing_for_a_line_that_has_an_open_alert_whatever_limit_that_one_had() -> None:
    before, after = plan(messages=100), plan(messages=50)
    decision = decide(Used(82, 0), after, opened(before, (M, 80)), may_resolve=True)
    assert told(decision.fired) == [(M, 100)]
    assert decision.resolved == ()


@pytest.mark.parametrize(("used", "resolved"), [(80, False), (79, True), (78, True)])
def test_a_correction_resolves_one_point_below_the_line(used: int, resolved: bool) -> None:
    limits = plan(messages=100)
    decision = decide(Used(used, 0), limits, opened(limits, (M, 80)), may_resolve=True)
    assert [alert.alert_id for alert in decision.resolved] == ([1] if resolved else [])


def test_less_usage_alone_resolves_nothing() -> None:
    limits = plan(messages=100)
    assert decide(Used(0, 0), limits, opened(limits, (M, 80)), may_resolve=False).resolved == ()


def test_a_line_that_the_plan_no_longer_has_is_over() -> None:
    limits = plan(messages=100, tokens=100)
    standing = opened(limits, (M, 80), (M, 100), (T, 100))
    assert len(decide(Used(100, 100), None, standing, may_resolve=True).resolved) == 3
    only_critical = decide(Used(100, 100), plan(messages=100, thresholds=(100,)), standing, may_resolve=True)
    assert told(alert.line for alert in only_critical.resolved) == [(M, 80), (T, 100)]


def test_a_cost_that_was_not_looked_at_decides_nothing() -> None:
    limits = plan(cost="10")
    assert decide(Used(0, 0), limits, opened(limits, (C, 80)), may_resolve=True) == decide(Used(0, 0), None, [], may_resolve=True)


def test_what_has_no_price_fires_once_and_is_over_when_priced() -> None:
    unknown = Used(5, 5, Decimal(0), {M: 5, T: 0})
    (line,) = decide(unknown, None, [], may_resolve=False).fired
    assert (line.kind, line.metric, line.level) == (AlertKind.NOT_PRICED, M, AlertLevel.WARNING)
    standing = [OpenAlert(1, line)]
    assert decide(unknown, None, standing, may_resolve=True) == decide(Used(0, 0), None, [], may_resolve=True)
    assert decide(Used(5, 5, Decimal(1), {M: 0, T: 0}), None, standing, may_resolve=True).resolved == tuple(standing)


quantities = st.integers(0, 500)
limits = st.builds(
    plan,
    messages=st.none() | st.integers(1, 300),
    tokens=st.none() | st.integers(1, 300),
    cost=st.none() | st.decimals("0.01", "300", places=2),
    thresholds=st.lists(st.integers(1, 150), min_size=1, max_size=4, unique=True).map(lambda of: tuple(sorted(of))),
)


@given(limits, st.lists(st.tuples(quantities, quantities, quantities), min_size=1, max_size=20))
def test_every_line_passed_on_the_way_up_fires_exactly_once(of: PlanLimits, steps: list[tuple[int, int, int]]) -> None:
    messages = tokens = cost = 0
    standing: list[OpenAlert] = []
    fired: list[Line] = []
    for more in steps:
        messages, tokens, cost = messages + more[0], tokens + more[1], cost + more[2]
        decision = decide(Used(messages, tokens, Decimal(cost)), of, standing, may_resolve=False)
        fired += decision.fired
        standing += [OpenAlert(len(standing) + 1, line) for line in decision.fired]
    expected = {
        (metric, threshold)
        for metric, used in ((M, messages), (T, tokens), (C, cost))
        if (limit := of.limit_of(metric)) is not None
        for threshold in of.thresholds
        if used * 100 >= limit * threshold
    }
    assert sorted(told(fired)) == sorted(expected)


@given(limits, quantities, quantities, quantities)
def test_the_next_line_is_the_first_quantity_that_fires(of: PlanLimits, messages: int, tokens: int, cost: int) -> None:
    used = Used(messages, tokens, Decimal(cost))
    standing = [OpenAlert(i, line) for i, line in enumerate(decide(used, of, [], may_resolve=False).fired)]
    for metric, now in ((M, messages), (T, tokens)):
        due = next_line(used, of, metric)
        if due is None:
            more = Used(10**9 if metric == M else messages, 10**9 if metric == T else tokens)
            assert not [line for line in decide(more, of, standing, may_resolve=False).fired if line.metric == metric]
            continue
        assert due > now
        for quantity, fires in ((due - 1, False), (due, True)):
            at = Used(int(quantity), tokens) if metric == M else Used(messages, int(quantity))
            fired = [line for line in decide(at, of, standing, may_resolve=False).fired if line.metric == metric]
            assert bool(fired) == fires
