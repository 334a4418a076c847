"""Plans: dated limits, who has which from when, and what a change makes of alerts and figures."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plan_shop import NOW, TODAY, make, plan, use
from tests.shop import OPERATOR, key_of, rows

from secretaria.bootstrap import Application
from secretaria.core.access import Caller, Scope
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotFound, SecretariaError, TooLarge
from secretaria.core.plan import Plan, PlanLimits, PlanTerms, PlanVersion, TermsChange
from secretaria.embedded.servers import Endpoints
from secretaria.services.plans import PlanService
from secretaria.store import plans as store
from secretaria.store.database import transaction
from secretaria.store.partitions import ensure_months

pytestmark = pytest.mark.anyio

NEXT_YEAR = date(2027, 1, 1)
AUDIT = "SELECT actor, action, subject, detail FROM audit_log WHERE company_id = %s AND action LIKE %s ORDER BY audit_id"
HEADS = "SELECT version, settings_version FROM company_heads WHERE company_id = %s"


@pytest.fixture(autouse=True)
def room(owner_url: str) -> None:
    """Usage of this month can be counted whenever these tests run."""
    ensure_months(owner_url, TODAY, TODAY)


async def in_force(application: Application, company_id: int, day: date = TODAY) -> PlanLimits | None:
    async with transaction(application.database.operator) as connection:
        return (await store.read_in_force(connection, {company_id: day})).get(company_id)


def alerts(endpoints: Endpoints, company_id: int) -> list[tuple[Any, ...]]:
    statement = (
        "SELECT metric, threshold, limit_amount::int, episode, resolved_at IS NULL FROM alerts "
        "WHERE company_id = %s AND kind = 'limit' ORDER BY alert_id"
    )
    return rows(endpoints.admin_url, statement, company_id)


async def refusal(call: Any) -> tuple[type[SecretariaError], str]:
    with pytest.raises(SecretariaError) as caught:
        await call
    return type(caught.value), caught.value.code


# --- plans -----------------------------------------------------------------------------------------------------------


async def test_a_new_plan_holds_from_the_operator_s_today_and_is_in_the_audit_log(
    application: Application, endpoints: Endpoints
) -> None:
    terms = PlanTerms(50_000, None, Decimal("1500.00"), (100, 80, 50), hard=True)
    late = datetime(2026, 11, 21, 1, tzinfo=UTC)  # in São Paulo still the 20th
    made = await application.plans.create(OPERATOR, "  Pro ", terms, now=late)
    assert (made.name, made.currency, made.companies, len(made.versions)) == ("Pro", "BRL", 0, 1)
    assert made.versions[0].terms == replace(terms, thresholds=(50, 80, 100))
    assert made.versions[0].effective_from == TODAY
    assert made == await application.plans.get(OPERATOR, "Pro", now=late)
    assert made == await application.plans.get(OPERATOR, made.plan_id, now=late)
    after = {
        "name": "Pro", "currency": "BRL", "messages": 50_000, "tokens": None, "cost": "1500.00",
        "thresholds": [50, 80, 100], "hard": True, "effective_from": "2026-11-20",
    }  # fmt: skip
    assert rows(endpoints.admin_url, AUDIT, 0, "plan.%") == [
        ("test", "plan.created", f"plan:{made.plan_id}", {"before": None, "after": after})
    ]


@pytest.mark.parametrize(
    ("name", "terms", "currency", "code"),
    [
        ("", PlanTerms(), "BRL", "invalid_name"),
        ("a" * 101, PlanTerms(), "BRL", "invalid_name"),
        ("42", PlanTerms(), "BRL", "invalid_name"),
        ("None", PlanTerms(), "BRL", "invalid_name"),
        ("Pro\n", PlanTerms(), "EUR", "unknown_currency"),
        ("Pro", PlanTerms(), "brl", "unknown_currency"),
        ("Pro", PlanTerms(messages=0), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(messages=-1), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(tokens=10**15 + 1), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(cost=Decimal(0)), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(cost=Decimal("NaN")), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(cost=Decimal("Infinity")), "BRL", "invalid_plan_limit"),
        ("Pro", PlanTerms(thresholds=()), "BRL", "invalid_thresholds"),
        ("Pro", PlanTerms(thresholds=(80, 80)), "BRL", "invalid_thresholds"),
        ("Pro", PlanTerms(thresholds=(0,)), "BRL", "invalid_thresholds"),
        ("Pro", PlanTerms(thresholds=(1001,)), "BRL", "invalid_thresholds"),
        ("Pro", PlanTerms(thresholds=tuple(range(1, 12))), "BRL", "invalid_thresholds"),
    ],
)
async def test_it_refuses_a_plan_that_says_nothing_sensible(
    application: Application, endpoints: Endpoints, name: str, terms: PlanTerms, currency: str, code: str
) -> None:
    call = application.plans.create(OPERATOR, name, terms, currency=currency, now=NOW)
    assert await refusal(call) == (InvalidInput, code)
    assert rows(endpoints.admin_url, "SELECT count(*) FROM plans") == [(0,)]


async def test_it_takes_the_widest_plan_and_one_without_any_limit(application: Application) -> None:
    widest = PlanTerms(10**15, 10**15, Decimal("999999999999.999999999999"), tuple(range(991, 1001)))
    assert (await application.plans.create(OPERATOR, "a" * 100, widest, now=NOW)).versions[0].terms == widest
    assert (await application.plans.create(OPERATOR, "livre", PlanTerms(), now=NOW)).versions[0].terms == PlanTerms()


async def test_a_name_is_one_plan_whoever_asks_first(application: Application) -> None:
    results = await asyncio.gather(*(plan(application, messages=n) for n in (1, 2, 3)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, DuplicateKey)]
    assert [(len(results) - len(refused)), {error.code for error in refused}] == [1, {"plan_exists"}]


async def test_plans_come_by_id_a_page_at_a_time_with_how_many_companies_have_each_now(
    application: Application
) -> None:
    made = [(await plan(application, name, messages=10)).plan_id for name in "abc"]
    first, second, third, west = await make(application, "1", "2", "3", "4")
    (kolkata,) = await make(application, "5", timezone="Asia/Kolkata")
    for company_id, name, start in (
        (first, "a", None),
        (second, "a", None),
        (second, "b", None),
        (third, "a", None),
        (third, None, NEXT_YEAR),
        (west, "a", NEXT_YEAR),
        (kolkata, "b", date(2026, 11, 21)),
    ):
        await application.plans.assign(OPERATOR, company_id, name, effective_from=start, now=NOW)
    page = await application.plans.list(OPERATOR, limit=2, now=NOW)
    assert [(found.plan_id, found.companies) for found in page] == [(made[0], 2), (made[1], 1)]
    rest = await application.plans.list(OPERATOR, after=made[1], now=NOW)
    assert [(found.plan_id, found.companies) for found in rest] == [(made[2], 0)]
    # In Kolkata the 21st has begun, in São Paulo it has not.
    late = datetime(2026, 11, 20, 20, tzinfo=UTC)
    assert (await application.plans.get(OPERATOR, "b", now=late)).companies == 2
    next_year = datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert (await application.plans.get(OPERATOR, "a", now=next_year)).companies == 2


async def test_a_member_sees_the_plans_its_company_has_or_had_and_no_sign_of_others(application: Application) -> None:
    own, other = await make(application, "own", "other")
    had, has, foreign = [await plan(application, name, messages=10) for name in ("had", "has", "foreign")]
    for company_id, chosen in ((own, had), (own, has), (other, foreign)):
        await application.plans.assign(OPERATOR, company_id, chosen.plan_id, now=NOW)
    member = key_of(own)
    listed = await application.plans.list(member, now=NOW)
    assert [(found.name, found.companies) for found in listed] == [("has", None)]
    assert (await application.plans.get(member, had.plan_id, now=NOW)).name == "had"
    seen = await refusal(application.plans.get(member, foreign.plan_id, now=NOW))
    missing = await refusal(application.plans.get(member, 10**9, now=NOW))
    by_name = await refusal(application.plans.get(member, "foreign", now=NOW))
    assert seen == missing == by_name == (NotFound, "plan_not_found")
    assert (await application.plans.history(member, own, NOW)).current is not None
    assert await refusal(application.plans.history(member, other, NOW)) == (NotFound, "company_not_found")


async def test_only_an_operator_with_the_scope_writes_plans(application: Application) -> None:
    (own,) = await make(application, "own")
    made = await plan(application, messages=10)
    for caller in (key_of(own, *Scope), Caller(0, "test", frozenset({Scope.ANALYTICS_READ}))):
        for call in (
            application.plans.create(caller, "x", PlanTerms(), now=NOW),
            application.plans.change(caller, made.plan_id, TermsChange(messages=9), now=NOW),
            application.plans.assign(caller, own, made.plan_id, now=NOW),
            application.companies.suspend(caller, own),
            application.companies.reactivate(caller, own),
        ):
            assert (await refusal(call))[0] is NotAllowed
    assert await refusal(application.plans.list(key_of(own, Scope.USAGE_WRITE), now=NOW)) == (NotAllowed, "scope_missing")


# --- dated limits ----------------------------------------------------------------------------------------------------


async def test_a_change_keeps_what_it_does_not_name_and_says_from_what_to_what(
    application: Application, endpoints: Endpoints
) -> None:
    made = await plan(application, messages=100, tokens=1000, cost=Decimal(50))
    change = TermsChange(messages=200, cost=None, thresholds=(100, 90), hard=True)
    changed = await application.plans.change(OPERATOR, "Pro", change, effective_from=NEXT_YEAR, now=NOW)
    assert [version.effective_from for version in changed.versions] == [TODAY, NEXT_YEAR]
    assert changed.version_on(NEXT_YEAR).terms == PlanTerms(200, 1000, None, (90, 100), hard=True)
    assert changed.version_on(NEXT_YEAR - timedelta(days=1)) == made.versions[0]
    ((_, _, subject, detail),) = rows(endpoints.admin_url, AUDIT, 0, "plan.changed")
    assert subject == f"plan:{made.plan_id}"
    assert (detail["before"]["messages"], detail["after"]["messages"]) == (100, 200)
    assert (detail["before"]["cost"], detail["after"]["cost"]) == ("50.00", None)
    assert detail["after"]["effective_from"] == "2027-01-01"


async def test_a_change_that_says_what_holds_already_or_nothing_writes_nothing(
    application: Application, endpoints: Endpoints
) -> None:
    made = await plan(application, messages=100)
    same = TermsChange(messages=100, thresholds=(100, 80))
    assert await application.plans.change(OPERATOR, made.plan_id, same, now=NOW) == made
    nothing = application.plans.change(OPERATOR, made.plan_id, TermsChange(), now=NOW)
    assert await refusal(nothing) == (InvalidInput, "nothing_to_change")
    assert rows(endpoints.admin_url, AUDIT, 0, "plan.changed") == []


@pytest.mark.parametrize(
    ("start", "code"),
    [(TODAY - timedelta(days=1), "effective_date_in_past"), (date(3000, 1, 1), "day_out_of_range")],
)
async def test_no_limit_and_no_plan_begins_on_a_day_that_has_passed(
    application: Application, start: date, code: str
) -> None:
    (company_id,) = await make(application, "A")
    made = await plan(application, messages=100)
    change = application.plans.change(
        OPERATOR, made.plan_id, TermsChange(messages=9), effective_from=start, now=NOW
    )
    assert await refusal(change) == (InvalidInput, code)
    assign = application.plans.assign(OPERATOR, company_id, "Pro", effective_from=start, now=NOW)
    assert await refusal(assign) == (InvalidInput, code)


async def test_a_plan_s_first_limits_hold_in_zones_where_the_operator_s_today_has_not_begun(
    application: Application
) -> None:
    early = datetime(2026, 11, 20, 4, tzinfo=UTC)  # São Paulo: the 20th; Los Angeles: the 19th
    company = await application.companies.create(OPERATOR, "A", timezone="America/Los_Angeles", now=early)
    await application.plans.create(OPERATOR, "Pro", PlanTerms(messages=7), now=early)
    choice = await application.plans.assign(OPERATOR, company.company_id, "Pro", now=early)
    assert choice.effective_from == date(2026, 11, 19)
    found = await in_force(application, company.company_id, date(2026, 11, 19))
    assert found is not None
    assert found.messages == 7


async def test_a_plan_has_so_many_versions_at_most(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secretaria.services.plans.VERSIONS_MAX", 2)
    made = await plan(application, messages=100)
    await application.plans.change(OPERATOR, made.plan_id, TermsChange(messages=99), now=NOW)
    third = application.plans.change(OPERATOR, made.plan_id, TermsChange(messages=98), now=NOW)
    assert await refusal(third) == (TooLarge, "too_many_versions")


VERSIONS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=6)


@given(VERSIONS, st.integers(-2, 9))
def test_the_version_of_a_day_is_the_last_written_of_the_last_day_that_has_begun(
    written: list[tuple[int, int]], offset: int
) -> None:
    first = min(day for day, _ in written)
    days = [TODAY + timedelta(days=day) for day, _ in written]
    made = tuple(
        PlanVersion(number, day, PlanTerms(messages=messages), NOW)
        for number, (day, (_, messages)) in enumerate(zip(days, written, strict=True))
    )
    found = Plan(1, "Pro", "BRL", NOW, made).version_on(TODAY + timedelta(days=offset))
    begun = max((day for day, _ in written if day <= offset), default=first)
    assert found.version_id == max(number for number, (day, _) in enumerate(written) if day == begun)


async def test_the_database_finds_the_same_version_of_every_day(application: Application) -> None:
    (company_id,) = await make(application, "A")
    made = await plan(application, messages=100)
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    for number, day in enumerate((5, 2, 2, 9, 0), start=1):
        start = TODAY + timedelta(days=day)
        await application.plans.change(
            OPERATOR, "Pro", TermsChange(messages=number), effective_from=start, now=NOW
        )
    made = await application.plans.get(OPERATOR, "Pro", now=NOW)
    for offset in range(12):
        day = TODAY + timedelta(days=offset)
        found = await in_force(application, company_id, day)
        assert found is not None
        assert found.messages == made.version_on(day).terms.messages


# --- who has which ---------------------------------------------------------------------------------------------------


async def test_a_company_has_a_plan_from_its_own_today_with_its_history_and_audit(
    application: Application, endpoints: Endpoints
) -> None:
    (company_id,) = await make(application, "A", timezone="Asia/Kolkata")
    made = [await plan(application, name, messages=10) for name in ("Pro", "Max")]
    late = datetime(2026, 11, 20, 20, tzinfo=UTC)
    first = await application.plans.assign(OPERATOR, company_id, "Pro", now=late)
    assert (first.plan_id, first.name, first.effective_from) == (made[0].plan_id, "Pro", date(2026, 11, 21))
    await application.plans.assign(OPERATOR, company_id, made[1].plan_id, effective_from=NEXT_YEAR, now=late)
    await application.plans.assign(OPERATOR, company_id, None, effective_from=date(2027, 2, 1), now=late)
    found = await application.plans.history(OPERATOR, company_id, late)
    assert (found.current, found.today) == (first, date(2026, 11, 21))
    assert [choice.name for choice in found.choices] == ["Pro", "Max", None]
    for day, name in ((date(2026, 11, 20), None), (date(2026, 11, 21), "Pro"), (NEXT_YEAR, "Max")):
        limits = await in_force(application, company_id, day)
        assert (limits.name if limits else None) == name
    assert await in_force(application, company_id, date(2027, 2, 1)) is None
    told = [detail for *_, detail in rows(endpoints.admin_url, AUDIT, company_id, "company_plan.set")]
    assert told[0] == {"before": None, "after": {"plan": "Pro", "effective_from": "2026-11-21"}}
    assert told[2]["before"] == {"plan": "Max", "effective_from": "2027-01-01"}
    assert told[2]["after"] == {"plan": None, "effective_from": "2027-02-01"}


async def test_what_a_company_has_already_changes_nothing(application: Application, endpoints: Endpoints) -> None:
    (company_id,) = await make(application, "A")
    await plan(application, messages=10)
    await application.plans.assign(OPERATOR, company_id, None, now=NOW)
    assert (await application.plans.history(OPERATOR, company_id, NOW)).choices == []
    first = await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    again = await application.plans.assign(OPERATOR, company_id, "Pro", effective_from=NEXT_YEAR, now=NOW)
    assert again == first
    assert len(rows(endpoints.admin_url, AUDIT, company_id, "company_plan.set")) == 1
    assert rows(endpoints.admin_url, HEADS, company_id) == [(1, 1)]


async def test_no_such_company_or_plan_is_not_found(application: Application) -> None:
    (company_id,) = await make(application, "A")
    await plan(application)
    for missing in ("Max", 10**9, -1, 2**63):
        assert await refusal(application.plans.assign(OPERATOR, company_id, missing, now=NOW)) == (
            NotFound,
            "plan_not_found",
        )
    for nobody in (10**9, 2**63, -1):
        assert await refusal(application.plans.assign(OPERATOR, nobody, "Pro", now=NOW)) == (
            NotFound,
            "company_not_found",
        )


async def test_a_limit_of_the_cost_is_held_in_the_company_s_currency_only(application: Application) -> None:
    (dollars,) = await make(application, "A", currency="USD")
    await plan(application, "reais", messages=10, cost=Decimal(100))
    await plan(application, "plain", messages=10)
    await plan(application, "dollars", cost=Decimal(100), currency="USD")
    await plan(application, "later", messages=10)
    await application.plans.change(
        OPERATOR, "later", TermsChange(cost=Decimal(5)), effective_from=NEXT_YEAR, now=NOW
    )
    for name in ("reais", "later"):
        assert await refusal(application.plans.assign(OPERATOR, dollars, name, now=NOW)) == (
            InvalidInput,
            "currency_mismatch",
        )
    await application.plans.assign(OPERATOR, dollars, "dollars", now=NOW)
    await application.plans.assign(OPERATOR, dollars, "plain", now=NOW)
    change = application.plans.change(OPERATOR, "plain", TermsChange(cost=Decimal(5)), now=NOW)
    assert await refusal(change) == (InvalidInput, "currency_mismatch")
    # A company that will have it counts as well; one that has it no more does not.
    await application.plans.assign(OPERATOR, dollars, None, now=NOW)
    await application.plans.assign(OPERATOR, dollars, "plain", effective_from=NEXT_YEAR, now=NOW)
    change = application.plans.change(OPERATOR, "plain", TermsChange(cost=Decimal(5)), now=NOW)
    assert await refusal(change) == (InvalidInput, "currency_mismatch")
    await application.plans.assign(OPERATOR, dollars, None, effective_from=NEXT_YEAR, now=NOW)
    assert (await application.plans.change(OPERATOR, "plain", TermsChange(cost=Decimal(5)), now=NOW)).companies == 0


# --- what a change does ----------------------------------------------------------------------------------------------


async def test_a_plan_given_to_a_company_fires_at_once_what_is_crossed_already(
    application: Application, endpoints: Endpoints
) -> None:
    (company_id,) = await make(application, "A")
    await use(application, company_id, "1", 130)
    await plan(application, messages=100)
    await application.plans.assign(OPERATOR, company_id, "Pro", now=NOW)
    assert alerts(endpoints, company_id) == [("messages", 80, 100, 1, True), ("messages", 100, 100, 1, True)]


async def test_a_raised_limit_rearms_and_a_lowered_one_fires_what_is_crossed(
    application: Application, endpoints: Endpoints
) -> None:
    first, second, stranger = await make(application, "A", "B", "C")
    await plan(application, messages=100)
    await plan(application, "Max", messages=90)
    for company_id, name in ((first, "Pro"), (second, "Pro"), (stranger, "Max")):
        await application.plans.assign(OPERATOR, company_id, name, now=NOW)
        await use(application, company_id, "1", 85)
    fired = ("messages", 80, 100, 1, True)
    assert alerts(endpoints, first) == alerts(endpoints, second) == [fired]
    before = rows(endpoints.admin_url, HEADS, stranger)
    await application.plans.change(OPERATOR, "Pro", TermsChange(messages=200), now=NOW)
    assert alerts(endpoints, first) == alerts(endpoints, second) == [(*fired[:4], False)]
    await use(application, first, "2", 80)  # 165 of 200
    assert alerts(endpoints, first)[1:] == [("messages", 80, 200, 1, True)]
    assert len(alerts(endpoints, second)) == 1
    await application.plans.change(OPERATOR, "Pro", TermsChange(messages=85), now=NOW)
    assert [row[:4] for row in alerts(endpoints, second)][1:] == [("messages", 80, 85, 1), ("messages", 100, 85, 1)]
    assert rows(endpoints.admin_url, HEADS, stranger) == before


async def test_a_company_that_gets_a_plan_while_its_limits_change_is_decided_by_the_new_ones(
    application: Application, endpoints: Endpoints
) -> None:
    company_ids = await make(application, *"abcdef")
    await plan(application, messages=1000)
    for company_id in company_ids:
        await use(application, company_id, "1", 85)
    calls = [application.plans.assign(OPERATOR, company_id, "Pro", now=NOW) for company_id in company_ids]
    change = application.plans.change(OPERATOR, "Pro", TermsChange(messages=100), now=NOW)
    await asyncio.gather(*calls[:3], change, *calls[3:])
    for company_id in company_ids:
        assert alerts(endpoints, company_id) == [("messages", 80, 100, 1, True)]


async def test_two_changes_of_two_plans_and_their_companies_never_wait_for_each_other_in_a_circle(
    application: Application, endpoints: Endpoints
) -> None:
    company_ids = await make(application, *"abcd")
    for name in ("Pro", "Max"):
        await plan(application, name, messages=1000)
    calls: list[Any] = []
    for number, company_id in enumerate(company_ids * 2):
        name = ("Pro", "Max")[(number + number // 4) % 2]
        calls.append(application.plans.assign(OPERATOR, company_id, name, now=NOW))
        calls.append(
            application.plans.change(OPERATOR, name, TermsChange(messages=900 - number), now=NOW)
        )
    await asyncio.gather(*calls)
    assert rows(endpoints.admin_url, "SELECT count(*) FROM plan_limits") == [(2 + 8,)]


async def test_the_new_versions_are_told(application: Application) -> None:
    told: list[dict[int, int]] = []
    service = PlanService(application.database, tell=told.append)
    first, second = await make(application, "A", "B")
    await plan(application, messages=100)
    for company_id in (first, second):
        await service.assign(OPERATOR, company_id, "Pro", now=NOW)
    await service.change(OPERATOR, "Pro", TermsChange(messages=99), now=NOW)
    assert told == [{first: 1}, {second: 1}, {first: 2, second: 2}]


# --- suspension ------------------------------------------------------------------------------------------------------


async def test_a_company_is_suspended_and_reactivated_once_each_and_goes_on_being_counted(
    application: Application, endpoints: Endpoints
) -> None:
    (company_id,) = await make(application, "A")
    for call, status in ((application.companies.suspend, "suspended"), (application.companies.reactivate, "active")):
        changed = await call(OPERATOR, company_id)
        assert changed.status == status
        assert changed == await call(OPERATOR, company_id) == await application.companies.get(OPERATOR, company_id)
        await use(application, company_id, status, 1)
    told = rows(endpoints.admin_url, AUDIT, company_id, "company.%ed")
    assert [(action, detail) for _, action, _, detail in told[1:]] == [
        ("company.suspended", {"before": {"status": "active"}, "after": {"status": "suspended"}}),
        ("company.reactivated", {"before": {"status": "suspended"}, "after": {"status": "active"}}),
    ]
    assert rows(endpoints.admin_url, HEADS, company_id) == [(4, 2)]
    for nobody in (10**9, 2**63):
        assert await refusal(application.companies.suspend(OPERATOR, nobody)) == (NotFound, "company_not_found")
