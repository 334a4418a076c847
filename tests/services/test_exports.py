"""Exports and the archive on a real database: what files say, what they are called, and that they are made once."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import openpyxl
import pypdfium2
import pytest
from tests.shop import OPERATOR, key_of, make_company, rows
from tests.usage_rows import Use, write

from secretaria.bootstrap import Application
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.services.export_wanted import Wanted
from secretaria.services.exports import ExportFile

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
NAME = "Clínica Sorriso"


async def content_of(file: ExportFile) -> bytes:
    if isinstance(file.content, bytes):
        return file.content
    return b"".join([piece async for piece in file.content])


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return "\n".join(document[page].get_textpage().get_text_bounded() for page in range(len(document)))


@pytest.fixture
def company_id(endpoints: Endpoints) -> int:
    assert endpoints.admin_url is not None
    company_id = make_company(endpoints.admin_url, NAME)
    write(
        endpoints.admin_url,
        company_id,
        Use(date(2026, 11, 3), messages=40, tokens_input=1_200, tokens_output=800, response_ms=3_400, response_count=4),
        Use(date(2026, 11, 3), direction="inbound", messages=31),
        Use(date(2026, 11, 20), messages=2),
        Use(date(2026, 10, 31), messages=7),
    )
    return company_id


async def test_a_month_has_a_line_for_each_day_that_has_begun(application: Application, company_id: int) -> None:
    file = await application.exports.company_file(key_of(company_id), company_id, Wanted.read("csv"), NOW)
    assert file.name == "secretaria-clinica-sorriso-2026-11.csv"
    lines = list(csv.DictReader(io.StringIO((await content_of(file)).decode())))
    assert [line["date"] for line in lines] == [f"2026-11-{day:02}" for day in range(1, 21)]
