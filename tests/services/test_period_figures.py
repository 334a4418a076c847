"""A period read as the page and the exports read it: its parts add up, and it says what summary and history say."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.services.test_rate_cards import MADE, SMALL, add_version, new_account
from tests.shop import OPERATOR, key_of
from tests.usage_rows import CARD_USD, Use, slow_cost, write

from secretaria.bootstrap import Application
from secretaria.core.access import Scope
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound
from secretaria.core.period import Period, month_of
from secretaria.embedded.servers import Endpoints
from secretaria.services.period_figures import Dimension, PeriodFigures
from secretaria.services.rated_cells import Figures

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)  # half past two in São Paulo
TODAY = date(2026, 11, 20)
DAY = timedelta(days=1)
AUTUMN = Period(date(2026, 10, 5), date(2026, 11, 21))


def random_uses(seed: int, accounts: list[int], *, first: date = AUTUMN.start, days: int = 47) -> list[Use]:
    choose = random.Random(seed)
    uses = []
    for _ in range(120):
        whatsapp = choose.random() < 0.7
        answers = choose.randrange(4)
        uses.append(
            Use(
                first + timedelta(days=choose.randrange(days)),
                direction=choose.choice(["inbound", "outbound"]),
                channel="whatsapp" if whatsapp else "usage",
                category=choose.choice([*CARD_USD, "OTHER"]) if whatsapp else None,
                model=choose.choice([None, "gpt-4o", "claude"]),
                messages=choose.randrange(30),
                tokens_input=choose.randrange(10**5),
                tokens_output=choose.randrange(10**5),
                response_ms=answers * choose.randrange(3000),
                response_count=answers,
                account_id=choose.choice([None, *accounts]) if whatsapp else None,
                cost_center=choose.choice([None, "vendas", "suporte"]),
                hour=choose.randrange(24),
            )
        )
    return uses


async def new_company(application: Application, endpoints: Endpoints, *, cards: bool, seed: int) -> tuple[int, list[Use]]:
    company_id = (await application.companies.create(OPERATOR, "Clínica", timezone="America/Sao_Paulo", now=MADE)).company_id
    accounts = [new_account(endpoints, company_id) for _ in range(3)]
    if cards:
        await add_version(application, SMALL)
        await application.rate_cards.activate(OPERATOR, company_id, card="test", now=MADE)
    uses = random_uses(seed, accounts)
    write(endpoints.admin_url, company_id, *uses)
    return company_id, uses


def sums(*of: Figures) -> tuple[object, ...]:
    return (
        sum(one.messages_inbound for one in of),
        sum(one.messages_outbound for one in of),
        sum(one.tokens_input for one in of),
        sum(one.tokens_output for one in of),
        sum(one.response_ms for one in of),
        sum(one.response_count for one in of),
        sum((one.cost or Decimal(0) for one in of), Decimal(0)),
        sum(one.not_priced_messages for one in of),
        sum(one.not_priced_tokens for one in of),
    )


def check_parts(found: PeriodFigures) -> None:
    assert sums(found.total) == sums(*(bucket.figures for bucket in found.days))
    for shares in found.breakdowns.values():
        assert sums(found.total) == sums(*(share.figures for share in shares))
    assert sum((row.amount for row in found.prices), Decimal(0)) == found.total.cost


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_days_and_every_breakdown_add_up_to_the_total(
    application: Application, endpoints: Endpoints, cards: bool, seed: int
) -> None:
    company_id, uses = await new_company(application, endpoints, cards=cards, seed=seed)
    found = await application.periods.read(OPERATOR, company_id, AUTUMN, NOW)
    check_parts(found)
    assert set(found.breakdowns) == set(Dimension)
    assert found.total.messages == sum(use.messages for use in uses)
    if not cards:
        assert (found.total.cost, found.total.not_priced_messages, 0) == slow_cost(uses)


@pytest.mark.parametrize("cards", [False, True])
async def test_the_same_periods_read_the_same_in_summary_history_and_here(
    application: Application, endpoints: Endpoints, cards: bool
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=7)
    summary = await application.analytics.summary(OPERATOR, company_id, NOW)
    found = await application.periods.read(key_of(company_id), company_id, month_of(TODAY), NOW)
    block, total = summary.current, found.total
    assert (block.cost, block.messages.total, block.tokens.total) == (str(total.cost), total.messages, total.tokens)
    assert (block.not_priced.messages, block.avg_response_ms) == (total.not_priced_messages, total.avg_response_ms)
    assert (found.version, found.as_of, found.company) == (summary.version, summary.as_of, summary.company)
    history = await application.analytics.history(OPERATOR, company_id, "week", NOW)
    assert [(point.date, point.start, point.end, point.messages, Decimal(point.cost or 0)) for point in history.points] == [
        (bucket.day, bucket.start, bucket.end, bucket.figures.messages, bucket.figures.cost) for bucket in found.days[-7:]
    ]
    assert [bucket.unfinished for bucket in found.days] == [False] * 19 + [True]


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("dimension", Dimension)
async def test_narrowed_to_each_value_in_turn_nothing_is_lost_and_nothing_counted_twice(
    application: Application, endpoints: Endpoints, cards: bool, dimension: Dimension
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=11)
    whole = await application.periods.read(OPERATOR, company_id, AUTUMN, NOW, dimensions=[dimension])
    parts = [
        await application.periods.read(OPERATOR, company_id, AUTUMN, NOW, narrowed={dimension: share.key}, dimensions=[])
        for share in whole.breakdowns[dimension]
    ]
    for part in parts:
        check_parts(part)
    assert sums(*(part.total for part in parts)) == sums(whole.total)
    if not cards:  # a card's bands are shared among cells, and which cells there are depends on the question
        assert [sums(part.total) for part in parts] == [sums(share.figures) for share in whole.breakdowns[dimension]]


async def test_accounts_are_named_and_uses_without_one_have_none(
    application: Application, endpoints: Endpoints
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=1)
    found = await application.periods.read(OPERATOR, company_id, AUTUMN, NOW, dimensions=[Dimension.ACCOUNT])
    shares = found.breakdowns[Dimension.ACCOUNT]
    assert {share.label for share in shares} == {"a", None}
    assert [share.key for share in shares if share.label is None] == [None]


async def test_a_period_without_use_costs_nothing_and_one_without_a_price_is_unknown(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    day = Period(TODAY, TODAY + DAY)
    empty = await application.periods.read(OPERATOR, company_id, day, NOW)
    assert (empty.total.cost, empty.total.lower_bound, empty.prices, empty.rates) == (Decimal(0), False, (), ())
    assert all(shares == () for shares in empty.breakdowns.values())
    write(endpoints.admin_url, company_id, Use(TODAY, channel="whatsapp", category="OTHER", messages=3))
    unknown = await application.periods.read(OPERATOR, company_id, day, NOW)
    assert (unknown.total.cost, unknown.total.lower_bound, unknown.total.not_priced_messages) == (None, True, 3)


async def test_what_cannot_be_read_is_refused_by_name(application: Application, endpoints: Endpoints) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=1)
    read = application.periods.read
    for period, code in [
        (Period(TODAY + DAY, TODAY + 2 * DAY), "future_period"),
        (Period(date(1800, 1, 1), TODAY), "day_out_of_range"),
        (Period(date(2020, 1, 1), TODAY), "period_too_long"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            await read(OPERATOR, company_id, period, NOW)
        assert caught.value.code == code
    with pytest.raises(InvalidInput, match="number"):
        await read(OPERATOR, company_id, AUTUMN, NOW, narrowed={Dimension.ACCOUNT: "x"})
    with pytest.raises(NotFound):
        await read(key_of(company_id + 1), company_id, AUTUMN, NOW)
    with pytest.raises(NotAllowed):
        await read(key_of(company_id, Scope.USAGE_WRITE), company_id, AUTUMN, NOW)
