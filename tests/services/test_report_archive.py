"""The archive: one frozen document a closed week and month, whatever runs twice, crashes or comes late."""

import asyncio
import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.services.test_exports import codes_of, text_of
from tests.shop import OPERATOR, key_of, make_company, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.core.period import Period
from secretaria.embedded.servers import Endpoints
from secretaria.services import report_archive
from secretaria.store import demo
from secretaria.store.database import transaction
from secretaria.store.report_files import FileKind

pytestmark = pytest.mark.anyio

# Tuesday 1 December 2026, one in the morning in São Paulo: November has ended, and the week of the 23rd.
NOW = datetime(2026, 12, 1, 4, tzinfo=UTC)
LATER = NOW + timedelta(days=1, hours=2)
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
FILES = "SELECT kind, period_start::text, revision, locale FROM report_files ORDER BY file_id"


@pytest.fixture
async def company_id(application: Application, endpoints: Endpoints) -> int:
    company_id = (await application.companies.create(OPERATOR, "Clínica Sorriso", now=NOW - timedelta(days=60))).company_id
    write(
        endpoints.admin_url, company_id,
        Use(date(2026, 11, 12), messages=40, tokens_input=1_200), Use(date(2026, 11, 28), messages=5),
    )  # fmt: skip
    return company_id


async def close_and_keep(application: Application, now: datetime) -> int:
    await application.reports.close_due(now)
    return (await application.archive.keep_due(now)).files


async def test_each_closed_week_and_month_with_use_is_frozen_once(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    assert await close_and_keep(application, NOW) == 3
    expected = [("week", "2026-11-09", 1, "pt-BR"), ("week", "2026-11-23", 1, "pt-BR"), ("month", "2026-11-01", 1, "pt-BR")]
    assert rows(endpoints.admin_url, FILES) == expected
    for again in (NOW, NOW + timedelta(minutes=1), LATER):
        assert await close_and_keep(application, again) == 0
    assert rows(endpoints.admin_url, FILES) == expected
    listed = await application.archive.page(key_of(company_id), company_id)
    assert [(file.kind, file.period.start, file.revision) for file in listed] == [
        (FileKind.MONTH, date(2026, 11, 1), 1), (FileKind.WEEK, date(2026, 11, 23), 1), (FileKind.WEEK, date(2026, 11, 9), 1),
    ]  # fmt: skip


async def test_a_document_says_what_the_export_says_and_its_code_is_known(
    application: Application, company_id: int
) -> None:
    await close_and_keep(application, NOW)
    file = (await application.archive.page(OPERATOR, company_id))[0]
    found = await application.archive.document(key_of(company_id), company_id, file.file_id, NOW)
    assert found.name == "secretaria-clinica-sorriso-2026-11.pdf"
    assert hashlib.sha256(found.content).digest() == file.sha256
    assert len(found.content) == file.size
    text = text_of(found.content)
    assert "novembro de 2026" in text
    assert "R$ 2,27" in text
    (code,) = codes_of(found.content)
    assert await application.exports.verify(code) == NOVEMBER


async def test_late_usage_makes_one_new_revision_a_day_and_leaves_the_old_one_as_it_was(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    await close_and_keep(application, NOW)
    before = await application.archive.page(OPERATOR, company_id)
    first = await application.archive.document(OPERATOR, company_id, before[0].file_id, NOW)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 12), messages=1))
    assert await close_and_keep(application, NOW + timedelta(hours=2)) == 0
    assert await close_and_keep(application, LATER) == 2
    assert await close_and_keep(application, LATER + timedelta(hours=2)) == 0
    newest = [(kind, start, revision) for kind, start, revision, _ in rows(endpoints.admin_url, FILES)[3:]]
    assert sorted(newest) == [("month", "2026-11-01", 2), ("week", "2026-11-09", 2)]
    after = await application.archive.page(OPERATOR, company_id)
    second = await application.archive.document(OPERATOR, company_id, after[0].file_id, NOW)
    assert "revisão 2" in text_of(second.content)
    assert codes_of(second.content).isdisjoint(codes_of(first.content))
    again = await application.archive.document(OPERATOR, company_id, before[0].file_id, LATER)
    assert again.content == first.content


async def test_days_closed_again_with_the_same_figures_make_no_revision(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    await close_and_keep(application, NOW)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 12), messages=1))
    assert await close_and_keep(application, NOW + timedelta(hours=2)) == 0
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 12), messages=-1))
    assert await close_and_keep(application, LATER) == 0
    assert len(rows(endpoints.admin_url, FILES)) == 3


async def test_two_workers_at_once_freeze_each_document_once(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    await application.reports.close_due(NOW)
    await asyncio.gather(*(application.archive.keep_due(NOW) for _ in range(3)))
    assert len(rows(endpoints.admin_url, FILES)) == 3


async def test_a_worker_that_dies_half_way_leaves_the_rest_to_the_next(
    application: Application, endpoints: Endpoints, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await application.reports.close_due(NOW)
    render, made = report_archive.render_pdf, []

    def dies_at_the_second(*arguments: object) -> bytes:
        made.append(arguments)
        if len(made) == 2:
            raise RuntimeError("killed")
        return render(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(report_archive, "render_pdf", dies_at_the_second)
    archived = await application.archive.keep_due(NOW)
    assert (archived.failed, len(rows(endpoints.admin_url, FILES))) == (1, 1)
    assert (await application.archive.keep_due(NOW)).files == 2
    assert len(rows(endpoints.admin_url, FILES)) == 3


async def test_one_company_that_cannot_be_made_does_not_stop_the_others(
    application: Application, endpoints: Endpoints, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_company(endpoints.admin_url, "Outra")
    write(endpoints.admin_url, other, Use(date(2026, 11, 28), messages=1))
    render = report_archive.render_pdf

    def fails_for_one(report: object, *rest: object) -> bytes:
        if report.owner.company_id == company_id:  # type: ignore[attr-defined]
            raise RuntimeError("no such font")
        return render(report, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(report_archive, "render_pdf", fails_for_one)
    await application.reports.close_due(NOW)
    archived = await application.archive.keep_due(NOW)
    assert (archived.companies, archived.files, archived.failed) == (2, 2, 1)


async def test_what_ended_long_ago_is_made_on_demand_and_not_archived(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    write(endpoints.admin_url, company_id, Use(date(2026, 6, 3), messages=9), Use(date(2026, 10, 20), messages=3))
    for _ in range(4):
        await application.reports.close_due(NOW)
    await application.archive.keep_due(NOW)
    assert min(start for _, start, _, _ in rows(endpoints.admin_url, FILES)) >= "2026-10-01"
    assert ("month", "2026-10-01", 1, "pt-BR") in rows(endpoints.admin_url, FILES)


async def test_a_document_waits_until_its_last_day_is_closed(application: Application, endpoints: Endpoints, company_id: int) -> None:
    await application.reports.close_due(NOW - timedelta(days=1))
    await application.archive.keep_due(NOW)
    assert [row[0] for row in rows(endpoints.admin_url, FILES)] == ["week", "week"]
    assert await close_and_keep(application, NOW) == 1


async def test_english_is_made_of_the_same_figures_and_frozen_at_first_demand(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    await close_and_keep(application, NOW)
    file = (await application.archive.page(OPERATOR, company_id))[0]
    portuguese = await application.archive.document(OPERATOR, company_id, file.file_id, NOW)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 12), messages=100))
    asked = [application.archive.document(key_of(company_id), company_id, file.file_id, LATER, locale="en") for _ in range(3)]
    english = [found.content for found in await asyncio.gather(*asked)]
    assert len(set(english)) == 1
    assert "Monthly report · November 2026" in text_of(english[0])
    assert "R$2.27" in text_of(english[0])
    assert codes_of(english[0]) == codes_of(portuguese.content)
    assert [row for row in rows(endpoints.admin_url, FILES) if row[3] == "en"] == [("month", "2026-11-01", 1, "en")]


async def test_another_company_s_document_does_not_exist(application: Application, endpoints: Endpoints, company_id: int) -> None:
    other = make_company(endpoints.admin_url, "Outra")
    await close_and_keep(application, NOW)
    file = (await application.archive.page(OPERATOR, company_id))[0]
    for company in (company_id, other):
        with pytest.raises(NotFound):
            await application.archive.document(key_of(other), company, file.file_id, NOW)
    assert await application.archive.page(key_of(other), other) == []
    async with transaction(application.database.door, company_id=other) as connection:
        cursor = await connection.execute("SELECT (SELECT count(*) FROM report_files), (SELECT count(*) FROM report_codes)")
        assert await cursor.fetchone() == (0, 0)


async def test_word_of_a_document_goes_out_once_and_carries_it(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    insert = (
        "INSERT INTO delivery_endpoints (company_id, channel, address, events, created_at) "
        "VALUES (%s, 'mail', 'dona@example.com', '{report.weekly,report.monthly}', now())"
    )
    async with transaction(application.database.operator) as connection:
        await connection.execute(insert, (company_id,))
    await close_and_keep(application, NOW)
    write(endpoints.admin_url, company_id, Use(date(2026, 11, 30), messages=0, tokens_input=0, response_ms=900, response_count=1))
    assert await close_and_keep(application, LATER) == 1
    told = rows(endpoints.admin_url, "SELECT event_type, body::jsonb->'data' FROM deliveries ORDER BY delivery_id")
    assert [event for event, _ in told] == ["report.weekly", "report.monthly"]  # the week of the 9th is old news
    data = told[1][1]
    assert (data["period_start"], data["messages"], data["cost"]) == ("2026-11-01", 45, "2.274")
    (portuguese,) = await application.archive.attachments(company_id, data, "pt-BR", NOW)
    (english,) = await application.archive.attachments(company_id, data, "en", NOW)
    assert portuguese.name == "secretaria-clinica-sorriso-2026-11.pdf"
    assert "Relatório mensal" in text_of(portuguese.content)
    assert "Monthly report" in text_of(english.content)
    for wrong in ({}, {"file_id": "1"}):
        with pytest.raises(InvalidInput):
            await application.archive.attachments(company_id, wrong, "pt-BR", NOW)
    with pytest.raises(NotFound):
        await application.archive.attachments(company_id, {"file_id": 99_999}, "pt-BR", NOW)


async def test_a_demo_company_takes_its_documents_along(application: Application, endpoints: Endpoints) -> None:
    made = await application.companies.create(OPERATOR, "Demo", demo=True, now=NOW - timedelta(days=20))
    write(endpoints.admin_url, made.company_id, Use(date(2026, 11, 28), messages=5))
    await close_and_keep(application, NOW)


    async with transaction(application.database.operator) as connection:
        assert await demo.delete_company(connection, made.company_id)
    for table in ("report_files", "report_codes", "report_archive_progress"):
        assert rows(endpoints.admin_url, f"SELECT count(*) FROM {table}") == [(0,)]
