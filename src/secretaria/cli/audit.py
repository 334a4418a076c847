"""`secretaria audit`: who did what, and the proof that no line was changed since."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table
from secretaria.core.access import PROCESS

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.core.audit_chain import AuditLine
    from secretaria.services.audit import Verified

app = typer.Typer(no_args_is_help=True, help="Who changed what, and the proof that the log is whole.")

EXIT_BROKEN: Final = 1
DETAIL_CHARS_SHOWN: Final = 100

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@app.command("list")
def list_lines(
    company: Annotated[int, typer.Option(min=0, help="The company's id; 0: the operator's own lines.")],
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="From this UTC day or moment on.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as api_key.revoked.")] = None,
    as_json: Json = False,
) -> None:
    """List what was done to a company, newest first.

    Example: secretaria audit list --company 1 --action api_key.revoked
    """
    from datetime import UTC

    first = since.replace(tzinfo=UTC) if since else None

    async def step(application: "Application") -> "list[AuditLine]":
        found: list[AuditLine] = []
        while page := await application.audit.page(
            PROCESS, company, after=found[-1].audit_id if found else None, since=first, action=action
        ):
            found += page
        return found

    found = run(step)
    if as_json:
        print_json([described(line) for line in found])
    elif found:
        titles = ("LINE", "AT (UTC)", "ACTOR", "ACTION", "SUBJECT", "DETAIL")
        print_table(titles, [_row(line) for line in found])
    else:
        print_note("No lines.")


@app.command()
def verify(
    company: Annotated[
        int | None, typer.Option(min=0, help="Only this company's chain; 0: the operator's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove every line of the audit log by its hash; exit with 1 when a chain is broken.

    Keep the printed heads elsewhere: a chain that was rewritten as a whole shows by another hash at the same line.

    Example: secretaria audit verify --company 1
    """

    async def step(application: "Application") -> "list[Verified]":
        return await _verified(application, company)

    found = run(step)
    if as_json:
        print_json([_verdict(one) for one in found])
    elif found:
        titles = ("COMPANY", "RESULT", "LINES", "BEFORE THE CHAIN", "LAST HASH")
        print_table(titles, [_verdict_row(one) for one in found])
    else:
        print_note("No lines.")
    broken = [one for one in found if one.broken]
    if broken:
        print_note(f"{len(broken)} of {len(found)} chains are broken.")
        raise typer.Exit(EXIT_BROKEN)


async def _verified(application: "Application", company: int | None) -> "list[Verified]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    ids: Sequence[int] = [company] if company is not None else await application.audit.companies(PROCESS)
    total = await application.audit.count(PROCESS, company)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(lines: int) -> None:
            bar.advance(task, lines)

        return [await application.audit.verify(PROCESS, one, advance) for one in ids]


def described(line: "AuditLine") -> dict[str, Any]:
    """Return a line as JSON."""
    return {
        "id": line.audit_id,
        "company_id": line.company_id,
        "line": line.sequence,
        "at": line.at.isoformat(),
        "actor": line.actor,
        "action": line.action,
        "subject": line.subject,
        "detail": dict(line.detail),
        "hash": line.hash.hex() if line.hash else None,
    }


def _row(line: "AuditLine") -> tuple[object, ...]:
    import json

    detail = json.dumps(dict(line.detail), ensure_ascii=False) if line.detail else ""
    if len(detail) > DETAIL_CHARS_SHOWN:
        detail = detail[: DETAIL_CHARS_SHOWN - 1] + "…"
    number = line.sequence if line.sequence is not None else "before the chain"
    return number, f"{line.at:%Y-%m-%d %H:%M:%S}", line.actor, line.action, line.subject, detail


def _verdict(one: "Verified") -> dict[str, Any]:
    broken = one.broken
    return {
        "company_id": one.company_id,
        "ok": broken is None,
        "lines": one.lines,
        "before_the_chain": one.before,
        "head": one.head.hash.hex() if broken is None else None,
        "broken": broken and {"line": broken.sequence, "what": broken.what.value, "message": broken.sentence},
    }


def _verdict_row(one: "Verified") -> tuple[object, ...]:
    result = f"BROKEN: {one.broken.sentence}" if one.broken else "ok"
    return one.company_id, result, one.lines, one.before, "" if one.broken else one.head.hash.hex()
