"""PTAX by date: the last closing before the day began, over weekends, zones, silence and a change of mind."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.banco_central import BancoCentral, banco_central
from tests.shop import OPERATOR, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.errors import Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.outbound import exchange_rates as outbound
from secretaria.outbound.exchange_rates import fetch_ptax
from secretaria.services.companies import CompanyService
from secretaria.services.exchange_rates import ExchangeRateService

pytestmark = pytest.mark.anyio

# Thursday 19 November 2026, 20:00 UTC: 17:00 in São Paulo, after the closing.
THURSDAY = datetime(2026, 11, 19, 20, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def bank() -> Iterator[BancoCentral]:
    with banco_central() as found:
        found.closings = {date(2026, 11, 18): "5.10", date(2026, 11, 19): "5.2359"}
        yield found


def rates_of(endpoints: Endpoints, company_id: int, base: str = "USD") -> list[tuple[str, str, str]]:
    found = rows(
        endpoints.admin_url,
        "SELECT effective_from::text, rate::text, source FROM exchange_rates WHERE company_id = %s AND base = %s "
        "ORDER BY rate_id",
        company_id,
        base,
    )
    return [(day, rate, source) for day, rate, source in found]


def with_ptax(application: Application, bank: BancoCentral) -> tuple[ExchangeRateService, CompanyService]:
    settings = application.settings.model_copy(update={"exchange_rate_source": "ptax", "ptax_url": bank.url})
    return ExchangeRateService(application.database, settings), CompanyService(application.database, settings)


async def test_the_client_reads_what_was_published(bank: BancoCentral) -> None:
    found = await fetch_ptax(bank.url, start=date(2026, 11, 10), end=date(2026, 11, 20))
    assert [(rate.rate, rate.published_at.isoformat()) for rate in found] == [
        (Decimal("5.10"), "2026-11-18T16:10:22.642754+00:00"),
        (Decimal("5.2359"), "2026-11-19T16:10:22.642754+00:00"),
    ]
    assert await fetch_ptax(bank.url, start=date(2026, 11, 21), end=date(2026, 11, 22)) == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (302, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"value": [{"cotacaoVenda": 0, "dataHoraCotacao": "2026-11-19 13:10:22.6"}]}'),
        (200, b'{"value": [{"cotacaoVenda": 5.1, "dataHoraCotacao": "ontem"}]}'),
        (200, json.dumps({"value": [{"cotacaoVenda": None, "dataHoraCotacao": "2026-11-19"}]}).encode()),
    ],
)
async def test_what_is_not_an_answer_is_unavailable(bank: BancoCentral, answer: tuple[int, bytes]) -> None:
    bank.answer = answer
    with pytest.raises(Unavailable):
        await fetch_ptax(bank.url, start=date(2026, 11, 10), end=date(2026, 11, 20))


async def test_an_answer_without_end_is_cut_off(bank: BancoCentral, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "ANSWER_BYTES_MAX", 10)
    with pytest.raises(Unavailable, match="longer than 10 bytes"):
        await fetch_ptax(bank.url, start=date(2026, 11, 10), end=date(2026, 11, 20))


async def test_with_fixed_rates_nobody_is_asked(application: Application) -> None:
    assert (await application.exchange_rates.refresh(THURSDAY)).newest is None


async def test_companies_move_to_the_closing_at_their_next_day_and_stay_on_it(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    company = (await companies.create(OPERATOR, "A", now=THURSDAY)).company_id
    dollars = (await companies.create(OPERATOR, "B", currency="USD", now=THURSDAY)).company_id
    first = await rates.refresh(THURSDAY)
    assert (first.published, first.companies, first.stale, first.error) == (2, 2, False, None)
    assert rates_of(endpoints, company) == [
        ("2026-11-19", "5.00", "USD_TO_BRL"), ("2026-11-20", "5.2359", "PTAX 2026-11-19"),
    ]  # fmt: skip
    assert rates_of(endpoints, dollars, "BRL")[-1] == ("2026-11-20", "0.190989132718", "PTAX 2026-11-19")
    asked = len(bank.asked)
    again = await rates.refresh(THURSDAY + HOUR)
    assert (again.companies, len(bank.asked)) == (0, asked)
    assert await companies.sync_prices(THURSDAY + HOUR) == 0
    bank.closings[date(2026, 11, 20)] = "5.30"
    assert (await rates.refresh(THURSDAY + DAY)).companies == 2
    # Saturday to Monday have Friday's closing; nobody is asked on a weekend.
    asked = len(bank.asked)
    for days in (2, 3):
        assert (await rates.refresh(THURSDAY + days * DAY)).companies == 0
    assert len(bank.asked) == asked
    assert rates_of(endpoints, company)[2:] == [("2026-11-21", "5.30", "PTAX 2026-11-20")]


async def test_a_closing_that_comes_after_the_move_holds_on_the_next_day_all_the_same(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    del bank.closings[date(2026, 11, 19)]
    morning = THURSDAY - 8 * HOUR
    company = (await companies.create(OPERATOR, "A", now=morning)).company_id
    await rates.refresh(morning)
    bank.closings[date(2026, 11, 19)] = "5.2359"
    await rates.refresh(THURSDAY)
    assert rates_of(endpoints, company)[1:] == [
        ("2026-11-20", "5.10", "PTAX 2026-11-18"), ("2026-11-20", "5.2359", "PTAX 2026-11-19"),
    ]  # fmt: skip


async def test_a_day_that_began_before_the_closing_has_the_one_before(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    auckland = (await companies.create(OPERATOR, "A", timezone="Pacific/Auckland", now=THURSDAY - 2 * DAY)).company_id
    await rates.refresh(THURSDAY - DAY)
    await rates.refresh(THURSDAY)
    # Published on Thursday 16:10 UTC, which is Friday 05:10 in Auckland: Friday had begun, Saturday had not.
    assert rates_of(endpoints, auckland)[1:] == [
        ("2026-11-20", "5.10", "PTAX 2026-11-18"), ("2026-11-21", "5.2359", "PTAX 2026-11-19"),
    ]  # fmt: skip


async def test_silence_keeps_the_last_rate_and_says_so_until_the_gap_is_filled(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    company = (await companies.create(OPERATOR, "A", now=THURSDAY)).company_id
    await rates.refresh(THURSDAY)
    bank.answer = (503, b"")
    later = THURSDAY + 8 * DAY  # Friday 27
    silent = await rates.refresh(later)
    assert (silent.companies, silent.stale, silent.error) == (0, True, "Banco Central answered 503")
    write(endpoints.admin_url, company, Use(date(2026, 11, 27), channel="whatsapp", category="MARKETING", messages=1))
    today = (await application.analytics.summary(OPERATOR, company, later)).daily
    assert today.cost == "0.4974105"  # 0.095 x 5.2359
    used = today.exchange_rates[0]
    assert (used.source, used.rate, used.effective_from, used.stale) == (
        "PTAX 2026-11-19", "5.2359", date(2026, 11, 20), True,
    )  # fmt: skip
    bank.answer = None
    bank.closings |= {date(2026, 11, 20) + number * DAY: f"5.{30 + number}" for number in (0, 3, 4, 5, 6, 7)}
    assert (await rates.refresh(later)).stale is False
    today = (await application.analytics.summary(OPERATOR, company, later)).daily
    assert [(used.source, used.stale) for used in today.exchange_rates] == [("PTAX 2026-11-26", False)]


async def test_two_workers_at_once_add_each_rate_once(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    company = (await companies.create(OPERATOR, "A", now=THURSDAY)).company_id
    await asyncio.gather(*(rates.refresh(THURSDAY) for _ in range(4)))
    assert len(rates_of(endpoints, company)) == 2
    assert rows(endpoints.admin_url, "SELECT count(*) FROM published_rates") == [(2,)]


async def test_going_back_to_the_setting_starts_at_the_next_day(
    application: Application, bank: BancoCentral, endpoints: Endpoints
) -> None:
    rates, companies = with_ptax(application, bank)
    company = (await companies.create(OPERATOR, "A", now=THURSDAY)).company_id
    await rates.refresh(THURSDAY)
    assert await application.companies.sync_prices(THURSDAY + DAY) == 1
    assert rates_of(endpoints, company)[-1] == ("2026-11-21", "5.00", "USD_TO_BRL")
    assert await application.companies.sync_prices(THURSDAY + DAY) == 0


async def test_a_rate_from_the_future_is_not_believed(application: Application, bank: BancoCentral) -> None:
    rates, _ = with_ptax(application, bank)
    bank.closings = {date(2026, 11, 19): "9.99"}
    early = await rates.refresh(THURSDAY - 8 * HOUR)
    assert (early.published, early.newest) == (0, None)
