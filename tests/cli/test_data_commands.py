"""Import, close, report and doctor, as a person meets them."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import openpyxl
import psycopg
import pytest

from secretaria.core.event import BATCH_EVENTS_MAX
from secretaria.services.imports import BATCHES_TOGETHER
from tests.shop import rows

LINES = 30 * BATCH_EVENTS_MAX
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOTALS = "SELECT count(*), sum(messages)::bigint, sum(tokens_input)::bigint FROM usage_events"


@pytest.fixture
def company(run):
    return run("company", "create", "Escola Alfa").value


@pytest.fixture
def usage(tmp_path):
    path = tmp_path / "usage.csv"

    def write(*lines, header="id;source;time;direction;messages"):
        path.write_text("\n".join([header, *lines]) + "\n")
        return str(path)

    return write


def line(number, time=YESTERDAY, messages=1):
    return f"m-{number};bot;{time.isoformat()};outbound;{messages}"


def test_an_import_counts_and_a_second_one_counts_nothing_again(run, company, usage, endpoints):
    path = usage(*(line(number, messages=number) for number in range(1, 4)))
    first = run("import", path, "--company", company)
    assert (first.code, first.out) == (0, "accepted 3, duplicates 0, rejected 0\n")
    second = run("import", path, "--company", company, "--json")
    assert second.json == {"accepted": 0, "duplicates": 3, "rejected": 0}
    assert rows(endpoints.admin_url, TOTALS) == [(3, 6, 0)]


def test_rejected_lines_are_listed_with_their_numbers_and_the_rest_counts(run, company, usage, endpoints, tmp_path):
    path = usage(
        line(1),
        "m-2;bot;yesterday;outbound;1",
        line(3, messages=-1),
        "m-4;bot",
        line(5, datetime.now(UTC) + timedelta(days=2)),
        line(6, datetime(1999, 1, 1, tzinfo=UTC)),
        line(1, messages=2),
        '"open;bot;;outbound;1',
        line(9),
    )
    outcome = run("import", path, "--company", company)
    assert (outcome.code, outcome.out) == (1, "accepted 2, duplicates 0, rejected 7\n")
    with (tmp_path / "usage.csv.errors.csv").open(newline="") as stream:
        errors = list(csv.DictReader(stream))
    assert [(error["line"], error["code"]) for error in errors] == [
        ("3", "invalid_time"),
        ("4", "negative_quantity"),
        ("5", "malformed_record"),
        ("6", "timestamp_in_future"),
        ("7", "timestamp_too_old"),
        ("8", "id_conflict"),
        ("9", "malformed_record"),
    ]
    assert rows(endpoints.admin_url, "SELECT count(*) FROM usage_events") == [(2,)]


def test_a_later_import_without_rejections_leaves_no_old_list_behind(run, company, usage, tmp_path):
    run("import", usage("m-1;bot"), "--company", company)
    assert (tmp_path / "usage.csv.errors.csv").exists()
    assert run("import", usage(line(1)), "--company", company).code == 0
    assert not (tmp_path / "usage.csv.errors.csv").exists()


def test_years_back_get_room_before_they_are_counted(run, company, usage, endpoints):
    times = [datetime(year, 5, 31, 23, 59, tzinfo=UTC) for year in (2019, 2021, 2024)]
    path = usage(*(line(number, time) for number, time in enumerate(times)))
    assert run("import", path, "--company", company).out == "accepted 3, duplicates 0, rejected 0\n"
    made = rows(endpoints.admin_url, "SELECT count(*) FROM pg_class WHERE relname IN "
                "('usage_events_2019_05', 'usage_events_2021_05', 'usage_events_2024_05')")  # fmt: skip
    assert made == [(3,)]
    assert "OK       Sums" in run("doctor", "--recompute").out


def test_ndjson_names_its_companies_and_one_line_spoils_no_other(run, company, tmp_path, endpoints):
    other = run("company", "create", "Auto Peças").value
    event = {
        "specversion": "1.0",
        "source": "bot",
        "type": "usage.recorded",
        "data": {"direction": "inbound", "messages": 1},
    }
    lines = [
        json.dumps(event | {"id": "a", "subject": company}),
        json.dumps(event | {"id": "a", "subject": other}),
        json.dumps(event | {"id": "b"}),
        json.dumps(event | {"id": "c", "subject": "99"}),
        "{broken",
        json.dumps(event | {"id": "d", "subject": other}) + ",",
        json.dumps([event | {"id": "e", "subject": other}]),
        json.dumps(event | {"id": "f", "subject": other, "data": {"direction": "inbound", "messages": 1, "price": 3}}),
        json.dumps(event | {"id": "g", "subject": other}),
    ]
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(lines))
    outcome = run("import", str(path), "--json")
    assert outcome.json["accepted"] == 3
    with (tmp_path / "events.ndjson.errors.csv").open(newline="") as stream:
        found = {int(error["line"]): error["code"] for error in csv.DictReader(stream)}
    assert found == {
        3: "missing_company",
        4: "company_not_found",
        5: "malformed_json",
        6: "malformed_json",
        7: "expected_object",
        8: "unknown_field",
    }


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("", [], "empty"),
        ("id;messages\n", [], "source is missing"),
        ("id;source;messages\n", [], "company_id is missing"),
        ("id;source;price\n", ["--company", "1"], "unknown column 'price'"),
        ("id;source\n", ["--company", "99"], "no such company"),
        ("{}", ["--format", "ndjson", "--source", "x"], "--source is for CSV"),
        ("id;source\n", ["--format", "xml"], "--format"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_before_anything_is_counted(run, tmp_path, content, words, message):
    path = tmp_path / "file.csv"
    path.write_text(content)
    outcome = run("import", str(path), *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_missing_file_and_a_folder_are_refused(run, tmp_path):
    assert "No such file" in run("import", str(tmp_path / "nothing.csv")).err
    assert "is not a file" in run("import", str(tmp_path)).err


def test_an_import_that_was_killed_goes_on_and_ends_with_equal_totals(run, company, usage, endpoints, settings):
    path = usage(*(line(number, messages=number % 7 + 1) for number in range(LINES - 1)), "m-x;bot;never;outbound;1")
    command = [sys.executable, "-m", "secretaria", "import", path, "--company", company]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    kept = settings.secretaria_data_dir / "imports"
    deadline = time.monotonic() + 30
    while not list(kept.glob("*.json")):
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    (before,) = rows(endpoints.admin_url, "SELECT count(*) FROM usage_events")
    assert 0 < before[0] < LINES - 1
    outcome = run("import", path, "--company", company, "--json")
    assert "Going on at line" in outcome.err
    totals = outcome.json
    assert (totals["accepted"] + totals["duplicates"], totals["rejected"]) == (LINES - 1, 1)
    assert totals["duplicates"] <= BATCHES_TOGETHER * BATCH_EVENTS_MAX
    expected = (LINES - 1, sum(number % 7 + 1 for number in range(LINES - 1)))
    assert rows(endpoints.admin_url, TOTALS)[0][:2] == expected
    assert not list(kept.glob("*.json"))
    assert "OK       Sums" in run("doctor", "--recompute").out


def test_an_interrupted_import_says_where_it_goes_on(run, company, usage, settings):
    path = usage(*(line(number) for number in range(LINES)))
    command = [sys.executable, "-m", "secretaria", "import", path, "--company", company]
    stopped = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kept = settings.secretaria_data_dir / "imports"
    while not list(kept.glob("*.json")):
        assert stopped.poll() is None
        time.sleep(0.005)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=30)
    assert (stopped.returncode, out) == (130, "")
    assert "the same command goes on there" in err
    assert "Traceback" not in err


def test_the_report_adds_up_to_what_was_imported_and_says_what_it_wrote(run, company, usage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = date.today().replace(day=1)  # noqa: DTZ011 - any day of a month that has begun everywhere
    month = (first - timedelta(days=1)).replace(day=1)
    noon = datetime(month.year, month.month, 3, 15, tzinfo=UTC)
    path = usage(
        f"a;bot;{noon.isoformat()};inbound;3;0;0;",
        f"b;bot;{noon.isoformat()};outbound;2;1500;500;900",
        f"c;bot;{noon.isoformat()};outbound;1;0;0;300",
        header="id;source;time;direction;messages;tokens_input;tokens_output;response_ms",
    )
    assert run("import", path, "--company", company).code == 0
    written = run("report", "--company", company, "--format", "csv", "--period", f"{month:%Y-%m}")
    assert written.value == f"reports/secretaria-1-escola-alfa-{month:%Y-%m}.csv"
    content = (tmp_path / written.value).read_bytes()
    assert content.startswith(
        b"date,messages_in,messages_out,tokens_in,tokens_out,avg_response_ms,cost,currency,not_priced\r\n"
    )
    days = {row["date"]: row for row in csv.DictReader(io.StringIO(content.decode(), newline=""))}
    assert len(days) == (first - month).days
    assert list(days[f"{month:%Y-%m}-03"].values())[1:] == ["3", "3", "1500", "500", "600", "0.34", "BRL", ""]
    again = run("report", "--company", company, "--period", f"{month:%Y-%m}", "--output", "here.csv")
    assert (tmp_path / again.value).read_bytes() == content


def test_a_report_names_the_exchange_rate_of_what_it_converted(run, usage, tmp_path):
    company = run("company", "create", "Converted").value
    now = datetime.now(UTC) - timedelta(seconds=5)
    header = "id;source;time;direction;messages;category"
    run("import", usage(f"a;bot;{now.isoformat()};outbound;10;UTILITY", header=header), "--company", company)
    output = tmp_path / "report.xlsx"
    run("report", "--company", company, "--format", "xlsx", "--locale", "en", "--output", str(output))
    priced, rate = openpyxl.load_workbook(output)["Prices used"].iter_rows(min_row=2, values_only=True)
    assert (priced[0], priced[2], priced[6], priced[7]) == ("Messages · Sent · Utility", 10, 5, 1.05)
    assert (rate[0], rate[6], rate[9]) == ("USD → BRL", 5, "panel settings")


def test_what_has_no_price_is_said_in_the_report_and_is_not_zero(run, usage, tmp_path, monkeypatch):
    monkeypatch.delenv("BILLING_COST_PER_MESSAGE")
    monkeypatch.delenv("BILLING_COST_PER_THOUSAND_TOKENS")
    company = run("company", "create", "Unpriced").value
    now = datetime.now(UTC) - timedelta(seconds=5)
    run("import", usage(line(1, now, messages=12)), "--company", company)
    output = tmp_path / "report.csv"
    run("report", "--company", company, "--output", str(output))
    lines = output.read_text().splitlines()
    used = [row for row in csv.DictReader(lines) if row["messages_out"] != "0"]
    assert [(row["cost"], row["not_priced"]) for row in used] == [("", "12 messages")]
    doctor = run("doctor")
    assert doctor.code == 1
    assert "PROBLEM  Prices: not set for 1 Unpriced" in doctor.out


@pytest.mark.parametrize(
    "words", [["--period", "2026-13"], ["--period", "0000-01"], ["--period", "9999-01"], ["--format", "doc"],
              ["--locale", "fr"], ["--company", "abc"], ["--company", "0"], ["--company", "²"], ["--company", "9" * 30]],
)  # fmt: skip
def test_a_report_that_cannot_be_made_says_why(run, company, words):
    outcome = run("report", "--company", company, *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1


def test_a_report_that_cannot_be_written_says_why(run, company):
    outcome = run("report", "--company", company, "--output", "/nonexistent/report.csv")
    assert outcome.code == 2
    assert "cannot write /nonexistent/report.csv" in outcome.err


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_a_report_is_a_pdf_under_a_telling_name(run, company, tmp_path, monkeypatch, locale):
    monkeypatch.chdir(tmp_path)
    written = run("report", "--company", company, "--format", "pdf", "--locale", locale)
    assert re.fullmatch(r"reports/secretaria-\d+-escola-alfa-\d{4}-\d\d\.pdf", written.value)
    assert (tmp_path / written.value).read_bytes().startswith(b"%PDF-1.7")


def test_closing_twice_writes_once(run, company, usage):
    run("import", usage(line(1, YESTERDAY - timedelta(days=10))), "--company", company)
    first = run("close", "--company", company, "--json").json
    assert first["reports"] >= 10
    assert run("close", "--json").json["reports"] == 0


def test_the_doctor_is_content_with_a_sound_database_and_sees_a_changed_sum(run, company, usage, endpoints):
    run("import", usage(line(1)), "--company", company)
    sound = run("doctor", "--recompute")
    assert (sound.code, "PROBLEM" in sound.out) == (0, False)
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("UPDATE usage_daily SET messages = messages + 1")
    found = run("doctor", "--recompute", "--company", company, "--json")
    assert found.code == 1
    assert [check["check"] for check in found.json if not check["ok"]] == ["Sums"]


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("ALTER TABLE usage_daily NO FORCE ROW LEVEL SECURITY", "Row-level security"),
        ("GRANT SELECT ON usage_events_{month} TO secretaria_door", "Row-level security"),
        ("ALTER TABLE usage_events_{month} RENAME TO usage_events_lost", "Room for events"),
        ("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)", "Migrations"),
    ],
)
def test_the_doctor_names_what_was_damaged(run, endpoints, damage, check):
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(damage.format(month=f"{datetime.now(UTC):%Y_%m}").encode())
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    assert [found["check"] for found in outcome.json if not found["ok"]] == [check]


def test_the_doctor_sees_that_valkey_is_away(run, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    outcome = run("doctor")
    assert outcome.code == 1
    assert "PROBLEM  Valkey" in outcome.out
