"""A file import that is cut off, doubled or damaged still ends with the right sums."""

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.shop import event, make_company, rows

from secretaria.bootstrap import Application
from secretaria.core.errors import InvalidInput, Unavailable
from secretaria.services.import_progress import ErrorFile, Progress, ProgressFile, RowError
from secretaria.services.imports import FileImport, months_of, open_usage_file

NOW = datetime.now(UTC)
COUNT = "SELECT count(*), sum(messages)::int FROM usage_events"


def write(path: Path, numbers: range) -> Path:
    time = (NOW - timedelta(hours=1)).isoformat()
    lines = ["id,source,time,direction,messages", *(f"m-{number},bot,{time},inbound,1" for number in numbers)]
    path.write_text("\n".join(lines))
    return path


def importing(application: Application, path: Path, company_id: int, *, fail_after: int | None = None) -> FileImport:
    class Failing:
        """Ingest that goes away after some submits, as a database does."""

        left = fail_after

        async def submit(self, *arguments, **keywords):
            if self.left is not None:
                if self.left == 0:
                    raise Unavailable("the database is not reachable right now")
                self.left -= 1
            return await application.ingest.submit(*arguments, **keywords)

        def forget_months(self) -> None:
            application.ingest.forget_months()

    file = open_usage_file(path, company_id=company_id)
    kept = ProgressFile(path.parent / "imports", file.key)
    return FileImport(Failing(), file, kept=kept, ensure_month=lambda _: False, clock=lambda: NOW)


def ignore(_: Progress) -> None:
    pass


@pytest.mark.anyio
async def test_an_import_that_lost_its_database_goes_on_with_the_next_run(application, endpoints, tmp_path):
    company = make_company(endpoints.admin_url)
    path = write(tmp_path / "usage.csv", range(9_000))
    with pytest.raises(Unavailable):
        await importing(application, path, company, fail_after=6).run(on_progress=ignore)
    second = importing(application, path, company)
    seen: list[int] = []
    progress = await second.run(on_progress=lambda progress: seen.append(progress.offset))
    assert second.resumed
    assert progress.accepted + progress.duplicates == 9_000
    assert rows(endpoints.admin_url, COUNT) == [(9_000, 9_000)]
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size
    third = importing(application, path, company)
    assert (await third.run(on_progress=ignore)).duplicates == 9_000
    assert not third.resumed


@pytest.mark.anyio
async def test_restart_begins_anew_and_counts_nothing_twice(application, endpoints, tmp_path):
    company = make_company(endpoints.admin_url)
    path = write(tmp_path / "usage.csv", range(9_000))
    with pytest.raises(Unavailable):
        await importing(application, path, company, fail_after=4).run(on_progress=ignore)
    again = importing(application, path, company)
    progress = await again.run(restart=True, on_progress=ignore)
    assert (again.resumed, progress.accepted, progress.duplicates) == (False, 5_000, 4_000)


@pytest.mark.anyio
async def test_a_second_import_of_the_same_file_at_once_is_refused(application, endpoints, tmp_path):
    company = make_company(endpoints.admin_url)
    path = write(tmp_path / "usage.csv", range(3))
    one = importing(application, path, company)
    with one._kept.claimed(), pytest.raises(Unavailable, match="being imported already"):
        await importing(application, path, company).run(on_progress=ignore)
    assert (await importing(application, path, company).run(on_progress=ignore)).accepted == 3


def test_progress_that_cannot_be_read_is_none(tmp_path):
    kept = ProgressFile(tmp_path, "key")
    assert kept.read() is None
    kept.write(Progress(offset=7))
    assert kept.read() == Progress(offset=7)
    (tmp_path / "key.json").write_bytes(b'{"offset": "se')
    assert kept.read() is None


def test_errors_written_after_the_kept_progress_are_cut_off(tmp_path):
    path = tmp_path / "errors.csv"
    first = ErrorFile(path, 0)
    kept = first.append([RowError(2, "a", "invalid_time", "no zone")])
    first.append([RowError(3, "b", "invalid_time", "no zone")])
    assert ErrorFile(path, kept).append([]) == kept
    with path.open(newline="") as stream:
        assert [row["line"] for row in csv.DictReader(stream)] == ["2"]


def test_an_error_list_that_somebody_removed_starts_again(tmp_path):
    path = tmp_path / "errors.csv"
    ErrorFile(path, 500).append([RowError(9, None, "malformed_json", "cut off")])
    with path.open(newline="") as stream:
        assert [row["line"] for row in csv.DictReader(stream)] == ["9"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_cell_of_the_error_list_cannot_be_a_formula(tmp_path, start):
    path = tmp_path / "errors.csv"
    ErrorFile(path, 0).append([RowError(2, f"{start}1+1", "invalid_identifier", "x")])
    with path.open(newline="") as stream:
        assert next(csv.DictReader(stream))["id"] == f"'{start}1+1"


def test_a_file_is_told_from_another_by_its_beginning_its_size_and_how_it_is_read(tmp_path):
    path = write(tmp_path / "usage.csv", range(3))
    key = open_usage_file(path, company_id=1).key
    moved = path.rename(tmp_path / "moved.csv")
    assert open_usage_file(moved, company_id=1).key == key
    assert open_usage_file(moved, company_id=2).key != key
    write(moved, range(4))
    assert open_usage_file(moved, company_id=1).key != key


def test_a_header_that_is_all_there_is_imports_nothing_and_is_no_error(tmp_path):
    path = tmp_path / "usage.csv"
    path.write_text("id,source\n")
    assert open_usage_file(path, company_id=1).start.line == 2
    path.write_text("\ufeff")
    with pytest.raises(InvalidInput):
        open_usage_file(path, company_id=1)


def test_room_is_made_for_months_that_can_be_counted_and_no_others():
    times = [NOW, NOW - timedelta(days=400), NOW + timedelta(days=400), datetime(1970, 1, 1, tzinfo=UTC), None]
    events = [event(str(number), time=time) for number, time in enumerate(times)]
    assert months_of(events, NOW) == {
        date(NOW.year, NOW.month, 1),
        (NOW - timedelta(days=400)).date().replace(day=1),
    }
