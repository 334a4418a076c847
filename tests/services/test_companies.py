"""Companies, their dated zones and prices, and who may see them."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from tests.shop import OPERATOR, event, key_of, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.access import Caller, Scope
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.services.companies import CompanyService
from secretaria.services.prices import inverse_rate
from secretaria.settings import Settings
from secretaria.store.database import Database

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICES = "SELECT card, metric, channel, amount::text, per, currency, effective_from, source FROM prices "
NEWEST = PRICES + "WHERE company_id = %s AND card = 'flat' ORDER BY price_id"
RATES = "SELECT base, quote, rate, effective_from FROM exchange_rates WHERE company_id = %s ORDER BY rate_id"
VERSIONS = "SELECT version, settings_version FROM company_heads WHERE company_id = %s"


def with_settings(application: Application, **changes: object) -> CompanyService:
    return CompanyService(application.database, application.settings.model_copy(update=changes))


async def test_a_new_company_has_its_zone_the_settings_prices_the_card_and_a_line_in_the_audit_log(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "  Clínica Sorriso ", now=NOW)
    assert (company.name, company.timezone, company.currency, company.status) == (
        "Clínica Sorriso",
        "America/Sao_Paulo",
        "BRL",
        "active",
    )
    assert await application.companies.get(OPERATOR, company.company_id) == company
    today = date(2026, 11, 20)
    assert rows(endpoints.admin_url, NEWEST, company.company_id) == [
        ("flat", "messages", "usage", "0.05", 1, "BRL", today, "BILLING_COST_PER_MESSAGE"),
        ("flat", "tokens", None, "0.02", 1000, "BRL", today, "BILLING_COST_PER_THOUSAND_TOKENS"),
    ]
    card = "SELECT category, amount FROM prices WHERE company_id = %s AND card <> 'flat' AND direction = 'outbound'"
    assert dict(rows(endpoints.admin_url, card, company.company_id)) == {
        "UTILITY": Decimal("0.021"),
        "MARKETING": Decimal("0.095"),
        "AUTHENTICATION": Decimal("0.014"),
        "SERVICE": Decimal("0.021"),
    }
    assert rows(endpoints.admin_url, RATES, company.company_id) == [("USD", "BRL", Decimal("5.00"), today)]
    audit = "SELECT actor, action, subject, detail -> 'after' ->> 'name' FROM audit_log WHERE company_id = %s"
    assert rows(endpoints.admin_url, audit, company.company_id) == [
        ("test", "company.created", f"company:{company.company_id}", "Clínica Sorriso")
    ]


async def test_the_first_day_is_the_company_s_own_when_utc_is_on_another(
    application: Application, endpoints: Endpoints
) -> None:
    late = datetime(2026, 11, 21, 1, tzinfo=UTC)
    company = await application.companies.create(OPERATOR, "A", timezone="America/Sao_Paulo", now=late)
    assert {row[6] for row in rows(endpoints.admin_url, NEWEST, company.company_id)} == {date(2026, 11, 20)}


async def test_an_unset_price_makes_no_row_and_a_dollar_company_gets_the_inverse_rate(
    application: Application, endpoints: Endpoints
) -> None:
    service = with_settings(application, billing_cost_per_message=None, usd_to_brl=Decimal("5.37"))
    company = await service.create(OPERATOR, "A", currency="USD", now=NOW)
    assert [row[1] for row in rows(endpoints.admin_url, NEWEST, company.company_id)] == ["tokens"]
    assert [row[:3] for row in rows(endpoints.admin_url, RATES, company.company_id)] == [
        ("USD", "BRL", Decimal("5.37")),
        ("BRL", "USD", Decimal("0.186219739292")),
    ]


@pytest.mark.parametrize(
    ("rate", "expected"), [("5.00", "0.2"), ("5.37", "0.186219739292"), ("999999999999", "0.000000000001")]
)
def test_the_inverse_of_a_rate_has_twelve_decimals_and_is_never_zero(rate: str, expected: str) -> None:
    assert inverse_rate(Decimal(rate)) == Decimal(expected)


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a" * 201, "a\nb", "a\0b", "a\x7fb", "evil\u202egnp.exe", "\u2066x", "\u200b", "a\u2028b", "\ud800"],
)
async def test_it_refuses_a_name_that_does_not_read_as_it_is_stored(
    application: Application, endpoints: Endpoints, name: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await application.companies.create(OPERATOR, name, now=NOW)
    assert caught.value.code == "invalid_name"
    assert rows(endpoints.admin_url, "SELECT count(*) FROM companies") == [(0,)]


async def test_it_takes_the_longest_name_and_any_script(application: Application) -> None:
    for name in ("a" * 200, "Clínica São João 🦷", "診療所", "Δοκιμή & Σία", 'O\'Brien "Tea" <co>'):
        assert (await application.companies.create(OPERATOR, name, now=NOW)).name == name


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"timezone": "Mars/Phobos"}, "unknown_timezone"),
        ({"timezone": "EST5EDT"}, "unknown_timezone"),
        ({"timezone": "../UTC"}, "unknown_timezone"),
        ({"currency": "EUR"}, "unknown_currency"),
        ({"currency": "brl"}, "unknown_currency"),
    ],
)
async def test_it_refuses_unknown_zones_and_currencies(
    application: Application, options: dict[str, str], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await application.companies.create(OPERATOR, "A", now=NOW, **options)
    assert caught.value.code == code


async def test_a_member_sees_its_own_company_and_no_sign_of_another(application: Application) -> None:
    own = await application.companies.create(OPERATOR, "own", now=NOW)
    other = await application.companies.create(OPERATOR, "other", now=NOW)
    member = key_of(own.company_id)
    assert await application.companies.list(member) == [own]
    assert await application.companies.list(member, after=own.company_id) == []
    assert (await application.companies.get(member, own.company_id)).name == "own"
    foreign = await _refusal(application.companies.get(member, other.company_id))
    missing = await _refusal(application.companies.get(member, 10**9))
    impossible = await _refusal(application.companies.get(OPERATOR, 2**63))
    assert foreign == missing == impossible == ("NotFound", "company_not_found", "no such company")


async def _refusal(call: object) -> tuple[str, str, str]:
    with pytest.raises((NotFound, NotAllowed)) as caught:
        await call  # type: ignore[misc]
    return type(caught.value).__name__, caught.value.code, caught.value.message


async def test_only_an_operator_with_the_scope_makes_and_changes_companies(application: Application) -> None:
    own = await application.companies.create(OPERATOR, "own", now=NOW)
    everything = key_of(own.company_id, *Scope)
    reader = Caller(0, "test", frozenset({Scope.ANALYTICS_READ}))
    for caller in (everything, reader):
        with pytest.raises(NotAllowed):
            await application.companies.create(caller, "B", now=NOW)
        with pytest.raises(NotAllowed):
            await application.companies.set_timezone(caller, own.company_id, "Asia/Kolkata", NOW)
    with pytest.raises(NotAllowed):
        await application.companies.list(Caller(0, "test", frozenset({Scope.USAGE_WRITE})))


async def test_companies_come_by_id_a_page_at_a_time(application: Application) -> None:
    made = [(await application.companies.create(OPERATOR, f"c{n}", now=NOW)).company_id for n in range(5)]
    first = await application.companies.list(OPERATOR, limit=2)
    second = await application.companies.list(OPERATOR, limit=100, after=first[-1].company_id)
    assert [company.company_id for company in first + second] == made
    assert len(await application.companies.list(OPERATOR, limit=0)) == 1


async def test_another_zone_holds_from_the_next_local_midnight(application: Application, endpoints: Endpoints) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    changed = await application.companies.set_timezone(OPERATOR, company.company_id, "Asia/Kolkata", NOW)
    assert changed == await application.companies.get(OPERATOR, company.company_id)
    assert changed.schedule.rows == ((date(2026, 11, 20), "America/Sao_Paulo"), (date(2026, 11, 21), "Asia/Kolkata"))
    assert rows(endpoints.admin_url, VERSIONS, company.company_id) == [(1, 1)]
    before = await application.analytics.summary(OPERATOR, company.company_id, NOW)
    after = await application.analytics.summary(OPERATOR, company.company_id, NOW + timedelta(days=1))
    assert (before.company.timezone, after.company.timezone) == ("America/Sao_Paulo", "Asia/Kolkata")
    # The day of the change begins at the old midnight and ends at the new one.
    assert after.daily.start.isoformat() == "2026-11-21T00:00:00-03:00" == before.daily.end.isoformat()
    assert after.daily.end.isoformat() == "2026-11-22T00:00:00+05:30"


async def test_a_second_change_of_zone_waits_for_the_first_and_the_same_zone_changes_nothing(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    company_id = company.company_id
    assert await application.companies.set_timezone(OPERATOR, company_id, "America/Sao_Paulo", NOW) == company
    await application.companies.set_timezone(OPERATOR, company_id, "Asia/Kolkata", NOW)
    with pytest.raises(DuplicateKey) as caught:
        await application.companies.set_timezone(OPERATOR, company_id, "Europe/Lisbon", NOW)
    assert caught.value.code == "timezone_change_pending"
    tomorrow = NOW + timedelta(days=1)
    await application.companies.set_timezone(OPERATOR, company_id, "Europe/Lisbon", tomorrow)
    zones = "SELECT timezone FROM company_timezones WHERE company_id = %s ORDER BY effective_from"
    assert [name for (name,) in rows(endpoints.admin_url, zones, company_id)] == [
        "America/Sao_Paulo",
        "Asia/Kolkata",
        "Europe/Lisbon",
    ]


async def test_a_changed_price_starts_at_the_next_local_day_and_never_reprices_the_past(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    company_id = company.company_id
    write(endpoints.admin_url, company_id, *(Use(date(2026, 11, day), messages=100) for day in (19, 20, 21)))
    dearer = with_settings(application, billing_cost_per_message=Decimal("0.07"))
    assert (await dearer.sync_prices(NOW), await dearer.sync_prices(NOW)) == (1, 0)
    assert rows(endpoints.admin_url, NEWEST, company_id)[-1] == (
        "flat", "messages", "usage", "0.07", 1, "BRL", date(2026, 11, 21), "BILLING_COST_PER_MESSAGE",
    )  # fmt: skip
    history = await application.analytics.history(OPERATOR, company_id, "week", NOW + timedelta(days=1))
    assert [point.cost for point in history.points[-3:]] == ["5.00", "5.00", "7.00"]
    assert rows(endpoints.admin_url, VERSIONS, company_id) == [(2, 1)]


async def test_a_price_corrected_before_its_day_begins_never_holds(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    write(endpoints.admin_url, company.company_id, Use(date(2026, 11, 21), messages=100))
    for amount in ("7.00", "0.06", "0.05"):
        assert await with_settings(application, billing_cost_per_message=Decimal(amount)).sync_prices(NOW) == 1
    summary = await application.analytics.summary(OPERATOR, company.company_id, NOW + timedelta(days=1))
    assert summary.daily.cost == "5.00"


async def test_a_price_set_for_the_first_time_covers_all_earlier_days(
    application: Application, endpoints: Endpoints
) -> None:
    poor = with_settings(application, billing_cost_per_message=None)
    company = await poor.create(OPERATOR, "A", now=NOW)
    write(endpoints.admin_url, company.company_id, Use(date(2026, 11, 2), messages=10))
    assert (await application.analytics.summary(OPERATOR, company.company_id, NOW)).current.cost is None
    assert await application.companies.sync_prices(NOW) == 1
    assert (await application.analytics.summary(OPERATOR, company.company_id, NOW)).current.cost == "0.50"


async def test_a_price_unset_later_leaves_the_last_one_in_force(application: Application, endpoints: Endpoints) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    write(endpoints.admin_url, company.company_id, Use(date(2026, 11, 25), messages=10))
    assert await with_settings(application, billing_cost_per_message=None).sync_prices(NOW) == 0
    summary = await application.analytics.summary(OPERATOR, company.company_id, NOW + timedelta(days=5))
    assert summary.daily.cost == "0.50"


async def test_a_changed_exchange_rate_and_currency_start_tomorrow_too(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "A", now=NOW)
    day = date(2026, 11, 20)
    card = {"channel": "whatsapp", "category": "UTILITY", "messages": 100}
    write(endpoints.admin_url, company.company_id, Use(day, **card), Use(day + timedelta(days=1), **card))
    changed = with_settings(application, usd_to_brl=Decimal("6.00"), billing_currency="USD")
    assert (await changed.sync_prices(NOW), await changed.sync_prices(NOW)) == (1, 0)
    history = await application.analytics.history(OPERATOR, company.company_id, "week", NOW + timedelta(days=1))
    assert [point.cost for point in history.points[-2:]] == ["10.50", "12.60"]
    assert rows(endpoints.admin_url, NEWEST, company.company_id)[-1][5:7] == ("USD", date(2026, 11, 21))


async def test_two_processes_that_start_at_once_write_each_changed_price_once(
    application: Application, endpoints: Endpoints
) -> None:
    made = [await application.companies.create(OPERATOR, f"c{n}", now=NOW) for n in range(7)]
    settings = application.settings.model_copy(update={"billing_cost_per_message": Decimal("0.08")})
    await asyncio.gather(*(_sync_in_own_pool(endpoints, settings) for _ in range(3)))
    count = "SELECT count(*) FROM prices WHERE company_id = %s AND amount = 0.08"
    assert [rows(endpoints.admin_url, count, company.company_id) for company in made] == [[(1,)]] * 7
    assert [rows(endpoints.admin_url, VERSIONS, company.company_id) for company in made] == [[(1, 1)]] * 7


async def _sync_in_own_pool(endpoints: Endpoints, settings: Settings) -> int:
    database = Database.create(endpoints.database_url, connections_max=2)
    await database.open()
    try:
        return await CompanyService(database, settings).sync_prices(NOW)
    finally:
        await database.close()


async def test_every_page_of_companies_is_synced(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secretaria.services.prices.SYNC_COMPANIES_MAX", 2)
    for number in range(5):
        await application.companies.create(OPERATOR, f"c{number}", now=NOW)
    assert await with_settings(application, usd_to_brl=Decimal("5.50")).sync_prices(NOW) == 5


async def test_what_create_returns_is_what_is_stored(application: Application) -> None:
    company = await application.companies.create(
        OPERATOR, "A", timezone="Pacific/Apia", currency="USD", demo=True, now=NOW
    )
    assert replace(company) == await application.companies.get(OPERATOR, company.company_id)


CNPJ = "11.222.333/0001-81"


async def test_a_change_is_previewed_written_once_and_told_from_what_to_what(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "Clínica", now=NOW)
    change = {"name": " Clínica Sorriso ", "legal_name": "Sorriso Ltda.", "tax_id": CNPJ, "timezone": "America/Manaus"}
    before, after = await application.companies.preview(OPERATOR, company.company_id, change, NOW)
    assert before == await application.companies.get(OPERATOR, company.company_id)
    assert after.schedule.rows[-1] == (date(2026, 11, 21), "America/Manaus")
    changed = await application.companies.update(OPERATOR, company.company_id, change, NOW)
    assert changed == await application.companies.get(OPERATOR, company.company_id)
    assert (changed.name, changed.legal_name, changed.tax_id) == ("Clínica Sorriso", "Sorriso Ltda.", "11222333000181")
    kept = {**change, "name": "Clínica Sorriso"}
    assert await application.companies.update(OPERATOR, company.company_id, kept, NOW) == changed
    (line, *_) = await application.audit.page(OPERATOR, company.company_id)
    assert (line.sequence, line.action, line.detail["before"]["name"]) == (2, "company.changed", "Clínica")
    assert line.detail["after"] == {
        "name": "Clínica Sorriso", "legal_name": "Sorriso Ltda.", "tax_id": "11222333000181",
        "timezone": "America/Manaus",
    }  # fmt: skip
    bare = await application.companies.update(OPERATOR, company.company_id, {"legal_name": "", "tax_id": None}, NOW)
    assert (bare.legal_name, bare.tax_id) == (None, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "invalid_name"), ({"legal_name": "a\u202eb"}, "invalid_legal_name"),
        ({"tax_id": "11.222.333/0001-82"}, "invalid_tax_id"), ({"timezone": "Mars/Phobos"}, "unknown_timezone"),
        ({"currency": "EUR"}, "unknown_currency"),
    ],
)  # fmt: skip
async def test_a_change_that_cannot_be_taken_changes_nothing(
    application: Application, change: dict[str, str], code: str
) -> None:
    company = await application.companies.create(OPERATOR, "Clínica", now=NOW)
    with pytest.raises(InvalidInput) as caught:
        await application.companies.update(OPERATOR, company.company_id, {"legal_name": "Nova"} | change, NOW)
    assert caught.value.code == code
    assert await application.companies.get(OPERATOR, company.company_id) == company
    with pytest.raises(NotAllowed):
        await application.companies.update(key_of(company.company_id), company.company_id, change, NOW)


async def test_the_currency_changes_until_the_first_usage_and_brings_its_exchange_rate(
    application: Application, endpoints: Endpoints
) -> None:
    company = await application.companies.create(OPERATOR, "Clínica", now=NOW)
    changed = await application.companies.update(OPERATOR, company.company_id, {"currency": "USD"}, NOW)
    assert changed.currency == "USD"
    pairs = [(base, quote) for base, quote, _, _ in rows(endpoints.admin_url, RATES, company.company_id)]
    assert pairs == [("USD", "BRL"), ("BRL", "USD")]
    sent = event("1", subject=company.company_id, time=NOW, messages=1)
    answer = await application.ingest.submit(OPERATOR, [(0, sent)], now=NOW)
    assert answer.accepted == 1
    with pytest.raises(InvalidInput) as caught:
        await application.companies.update(OPERATOR, company.company_id, {"currency": "BRL"}, NOW)
    assert caught.value.code == "currency_fixed"
