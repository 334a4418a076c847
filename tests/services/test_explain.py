"""An explanation takes a cost apart until it is quantity x price x rate, and finds the events behind it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain

import psycopg
import pytest
from tests.services.test_period_figures import AUTUMN, NOW, TODAY, new_company
from tests.shop import OPERATOR, event, key_of
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core import money
from secretaria.core.access import Scope
from secretaria.core.errors import InvalidInput, NotAllowed, NotFound
from secretaria.core.period import Period
from secretaria.core.price import Metric
from secretaria.embedded.servers import Endpoints
from secretaria.services.companies import CompanyService
from secretaria.services.explain import EVENTS_PAGE, Explanation
from secretaria.services.period_figures import Dimension
from secretaria.store.period_events import HOURS_READ_MAX

pytestmark = pytest.mark.anyio

DAY = Period(TODAY, TODAY + timedelta(days=1))


def check_lines(found: Explanation) -> None:
    """Multiply every line by hand."""
    for line in found.lines:
        parts = []
        for part in line.parts:
            rate = Decimal(part.rate.rate) if part.rate else Decimal(1)
            parts.append(part.quantity * part.unit_price * rate / part.per)
            assert part.amount == parts[-1]
        assert (sum(part.quantity for part in line.parts), sum(parts)) == (line.quantity, line.amount)
    assert sum((line.amount for line in found.lines), Decimal(0)) == found.total
    assert sum((line.shown for line in found.lines), Decimal(0)) == found.total_shown


@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_lines_multiply_out_and_add_up_to_the_total_to_the_cent(
    application: Application, endpoints: Endpoints, cards: bool, seed: int
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=seed)
    found = await application.explain.read(OPERATOR, company_id, AUTUMN, NOW)
    figures = await application.periods.read(OPERATOR, company_id, AUTUMN, NOW)
    check_lines(found)
    assert (found.total, found.version) == (figures.total.cost, figures.version)
    assert found.total_shown == money.round_display(figures.total.cost or Decimal(0))
    missing = {metric: sum(line.quantity for line in found.missing if line.metric == metric) for metric in Metric}
    assert missing == {
        Metric.MESSAGES: figures.total.not_priced_messages,
        Metric.TOKENS: figures.total.not_priced_tokens,
    }


@pytest.mark.parametrize("cards", [False, True])
async def test_each_share_of_a_breakdown_is_explained_by_its_own_lines(
    application: Application, endpoints: Endpoints, cards: bool
) -> None:
    company_id, _ = await new_company(application, endpoints, cards=cards, seed=5)
    whole = await application.periods.read(OPERATOR, company_id, AUTUMN, NOW, dimensions=[Dimension.ACCOUNT])
    for share in whole.breakdowns[Dimension.ACCOUNT]:
        narrowed = {Dimension.ACCOUNT: share.key}
        found = await application.explain.read(OPERATOR, company_id, AUTUMN, NOW, narrowed=narrowed)
        check_lines(found)
        assert found.total == share.figures.cost


async def test_messages_and_tokens_are_explained_apart(application: Application, endpoints: Endpoints) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=2)
    whole = await application.explain.read(OPERATOR, company_id, AUTUMN, NOW)
    parts = [
        await application.explain.read(OPERATOR, company_id, AUTUMN, NOW, metric=metric, events=False)
        for metric in Metric
    ]
    assert sum((part.total or Decimal(0) for part in parts), Decimal(0)) == whole.total
    assert [{line.metric for line in part.lines} for part in parts] == [{metric} for metric in Metric]


async def test_each_exchange_rate_of_a_line_is_named_with_what_it_converted(
    application: Application, endpoints: Endpoints
) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=NOW - timedelta(days=60))).company_id
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute(
            "INSERT INTO exchange_rates (company_id, base, quote, rate, effective_from, source) "
            "VALUES (%s, 'USD', 'BRL', 5.0108, %s, 'PTAX 2026-11-18')",
            (company_id, date(2026, 11, 19)),
        )
    uses = [Use(date(2026, 11, day), channel="whatsapp", category="MARKETING", messages=10) for day in (18, 19, 20)]
    write(endpoints.admin_url, company_id, *uses)
    found = await application.explain.read(OPERATOR, company_id, AUTUMN, NOW)
    check_lines(found)
    (line,) = found.lines
    assert (line.quantity, line.unit_price, line.price_currency) == (30, Decimal("0.095"), "USD")
    assert [(part.quantity, part.rate and part.rate.rate, part.amount) for part in line.parts] == [
        (10, "5.00", Decimal("4.75")),
        (20, "5.0108", Decimal("9.52052")),
    ]
    assert (found.total, found.total_shown) == (Decimal("14.27052"), Decimal("14.27"))


async def test_what_has_no_price_says_what_it_lacks(application: Application, endpoints: Endpoints) -> None:
    settings = application.settings.model_copy(update={"billing_cost_per_message": None})
    company = await CompanyService(application.database, settings).create(OPERATOR, "Clínica", now=NOW)
    write(endpoints.admin_url, company.company_id, Use(TODAY, messages=3), Use(TODAY, tokens_input=2_000))
    found = await application.explain.read(OPERATOR, company.company_id, DAY, NOW)
    assert [(line.metric, line.quantity, line.lacks) for line in found.missing] == [("messages", 3, "price")]
    assert found.total == Decimal("0.04")
    nothing = await application.explain.read(OPERATOR, company.company_id, DAY, NOW, metric=Metric.MESSAGES)
    assert (nothing.total, nothing.total_shown, nothing.lines) == (None, None, ())


async def submit(application: Application, company_id: int, count: int, *, hours_apart: int = 0) -> None:
    now = datetime.now(UTC)
    for number in range(count):
        at = now - timedelta(hours=hours_apart * number, seconds=number)
        of = event(f"e-{number}", time=at, cost_center="vendas" if number % 2 else None, model="gpt-4o")
        await application.ingest.submit(key_of(company_id), [(0, of)], now=now)


async def read_all(application: Application, company_id: int, **options: object) -> list[list[str]]:
    now = datetime.now(UTC)
    period, pages, after = Period(now.date() - timedelta(days=9), now.date() + timedelta(days=2)), [], None
    for _ in range(30):
        found = await application.explain.read(
            key_of(company_id), company_id, period, now, after=after, **options  # type: ignore[arg-type]
        )
        pages.append([row.event_id for row in found.events])
        after = found.next_after
        if after is None:
            return pages
    raise AssertionError("the pages do not end")


async def test_events_come_newest_first_a_page_at_a_time_each_once(application: Application) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=NOW)).company_id
    other = (await application.companies.create(OPERATOR, "Outra", now=NOW)).company_id
    await submit(application, company_id, EVENTS_PAGE + 7)
    await submit(application, other, 3)
    pages = await read_all(application, company_id)
    assert [len(page) for page in pages] == [EVENTS_PAGE, 7]
    assert [*chain(*pages)] == [f"e-{number}" for number in range(EVENTS_PAGE + 7)]
    narrowed = await read_all(application, company_id, narrowed={Dimension.COST_CENTER: "vendas"})
    assert [*chain(*narrowed)] == [f"e-{number}" for number in range(1, EVENTS_PAGE + 7, 2)]


async def test_a_metric_s_events_are_those_that_used_it(application: Application) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=NOW)).company_id
    now = datetime.now(UTC)
    events = [event("words", messages=1, tokens_input=0, tokens_output=0), event("thought", messages=0, tokens_input=9)]
    await application.ingest.submit(key_of(company_id), [*enumerate(events)], now=now)
    found = {metric: [*chain(*await read_all(application, company_id, metric=metric))] for metric in Metric}
    assert found == {Metric.MESSAGES: ["words"], Metric.TOKENS: ["thought"]}


async def test_events_far_apart_are_found_too(application: Application) -> None:
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=NOW)).company_id
    count = 2 * HOURS_READ_MAX + 5
    await submit(application, company_id, count, hours_apart=4)
    assert [*chain(*await read_all(application, company_id))] == [f"e-{number}" for number in range(count)]


async def test_what_cannot_be_explained_is_refused_by_name(application: Application, endpoints: Endpoints) -> None:
    company_id, _ = await new_company(application, endpoints, cards=False, seed=1)
    read = application.explain.read
    for after in ("x", "1-", "99999999999999999999999-00000000000000000000000000000000", "-"):
        with pytest.raises(InvalidInput) as caught:
            await read(OPERATOR, company_id, AUTUMN, NOW, after=after)
        assert caught.value.code == "invalid_cursor"
    with pytest.raises(NotFound):
        await read(key_of(company_id + 1), company_id, AUTUMN, NOW)
    with pytest.raises(NotAllowed):
        await read(key_of(company_id, Scope.USAGE_WRITE), company_id, AUTUMN, NOW)
