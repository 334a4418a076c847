"""`secretaria import`, `close` and `report`: usage in by file, days closed by hand, figures out by file."""

import asyncio
import sys
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import ensure_month, opened_database, quiet_logs, run, run_on
from secretaria.cli.output import print_json, print_note, print_value
from secretaria.core.access import PROCESS
from secretaria.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.services.exports import ExportFile
    from secretaria.services.import_progress import Progress
    from secretaria.services.imports import FileImport, UsageFile
    from secretaria.services.reports import ClosedReports
    from secretaria.settings import Settings

REPORTS_FOLDER = Path("reports")
COMPANY_ID_LIMIT = 2**63


class UsageFormat(StrEnum):
    """How a usage file is written."""

    CSV = "csv"
    NDJSON = "ndjson"


def import_file(  # noqa: PLR0917 - typer tells options from arguments by their annotations
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with named columns, or NDJSON.")],
    company: Annotated[int | None, typer.Option(min=1, help="The company of records that name none.")] = None,
    source: Annotated[str | None, typer.Option(help="The source of CSV records that name none.")] = None,
    file_format: Annotated[
        UsageFormat | None, typer.Option("--format", help="Told by the file's name where not given.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew where an import was interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
) -> None:
    """Import usage from a file. What was counted before is not counted again.

    Example: secretaria import usage.csv --company 1 --source backfill

    CSV: the first line names the columns, out of id, source, time, company_id, type, direction, messages,
    tokens_input, tokens_output, response_ms, wamid, category, account_id, template_id, model, cost_center, country,
    reservation_id, corrects_source, corrects_id. NDJSON: one CloudEvent a line, as POST /api/usage takes it.

    Rejected lines are listed in FILE.errors.csv, and the exit code is 1. An interrupted import goes on where it
    stopped when the same command is given again.
    """
    from secretaria.inbound.usage_csv import FileFormat
    from secretaria.services.imports import open_usage_file
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    wanted = None if file_format is None else FileFormat(file_format.value)
    usage_file = open_usage_file(file, company_id=company, source=source, file_format=wanted)
    totals = _import(settings, usage_file, restart=restart)
    if as_json:
        print_json(
            {"accepted": totals.accepted, "duplicates": totals.duplicates, "rejected": totals.rejected}
            | ({"errors_file": str(usage_file.errors_path)} if totals.rejected else {})
        )
    else:
        print_value(f"accepted {totals.accepted}, duplicates {totals.duplicates}, rejected {totals.rejected}")
    if totals.rejected:
        print_note(f"The rejected lines, and why: {usage_file.errors_path}")
        raise typer.Exit(1)


def _import(settings: "Settings", usage_file: "UsageFile", *, restart: bool) -> "Progress":
    from secretaria.services.import_progress import ProgressFile
    from secretaria.services.imports import FileImport

    kept = ProgressFile(settings.secretaria_data_dir / "imports", usage_file.key)
    with opened_database(settings) as found:

        async def step(application: "Application") -> "Progress":
            if usage_file.company_id is not None:
                await application.companies.get(PROCESS, usage_file.company_id)
            running = FileImport(
                application.ingest,
                usage_file,
                kept=kept,
                ensure_month=partial(ensure_month, found),
                clock=application.clock,
            )
            return await _with_progress(running, usage_file, restart=restart)

        return run_on(settings, found, step)


async def _with_progress(running: "FileImport", usage_file: "UsageFile", *, restart: bool) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn(), TextColumn("{task.fields[events]} events"))
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=usage_file.size, events=0)
        told = False

        def show(progress: "Progress") -> None:
            nonlocal told
            if running.resumed and not told:
                print_note(f"Going on at line {progress.line}, where an earlier import was interrupted.")
            told = True
            events = progress.accepted + progress.duplicates + progress.rejected
            bar.update(task, completed=progress.offset, events=events)

        try:
            return await running.run(restart=restart, on_progress=show)
        except asyncio.CancelledError:
            print_note(f"Interrupted before line {running.progress.line}; the same command goes on there.")
            raise
        except Unavailable as error:
            where = f"stopped before line {running.progress.line}; the same command goes on there"
            raise Unavailable(f"{error.message} ({where})") from error


def close(
    company: Annotated[int | None, typer.Option(min=1, help="Only this company.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Close the days and weeks that have ended, as the worker does by itself. Safe to run again.

    Example: secretaria close --company 1
    """

    async def step(application: "Application") -> "ClosedReports":
        now = application.clock()
        if company is not None:
            return await application.reports.close(PROCESS, company, now)
        closed = await application.reports.close_due(now)
        while closed.more and not closed.failed:
            more = await application.reports.close_due(now)
            closed = replace(closed + more, more=more.more)
        return closed

    closed = run(step)
    counts = {
        "companies": closed.companies,
        "reports": closed.reports,
        "revisions": closed.revisions,
        "failed": closed.failed,
    }
    if as_json:
        print_json(counts)
    else:
        print_value(", ".join(f"{name} {count}" for name, count in counts.items()))
    if closed.failed:
        print_note("Some companies could not be closed; the worker tries them again.")
        raise typer.Exit(1)


def report(
    company: Annotated[str, typer.Option(metavar="ID", help="The company's id.")],
    file_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="csv, xlsx or pdf.")] = "csv",
    period: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="month, week, or a month as in 2026-11; this month without it.")
    ] = None,
    locale: Annotated[str | None, typer.Option(metavar="LOCALE", help="pt-BR or en, for xlsx and pdf.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; - is standard output. Default: in ./reports.")
    ] = None,
) -> None:
    """Write a company's report into ./reports, and print the file's path.

    Example: secretaria report --company 1 --format pdf --period 2026-11
    """
    from secretaria.services.export_wanted import Wanted, with_id

    company_id = _company_id(company)
    wanted = Wanted.read(file_format.lower(), span=period, locale=locale)

    async def step(application: "Application") -> "ExportFile":
        return await application.exports.company_file(PROCESS, company_id, wanted, application.clock())

    found = run(step)
    if not isinstance(found.content, bytes):
        raise TypeError("one company's file is whole")
    if str(output) == "-":
        sys.stdout.buffer.write(found.content)
        sys.stdout.flush()
        return
    path = output or REPORTS_FOLDER / with_id(found.name, company_id)
    try:
        if output is None:
            REPORTS_FOLDER.mkdir(exist_ok=True)
        path.write_bytes(found.content)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}", code="unwritable_file") from error
    print_value(path)


def _company_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < COMPANY_ID_LIMIT):
        raise InvalidInput("a company is named by its id, a number from 1 (see secretaria company list)")
    return int(text)
