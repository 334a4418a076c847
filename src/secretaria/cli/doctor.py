"""`secretaria doctor`: one line a check, with what to do where something is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import opened_database, quiet_logs, run_on, utc_now
from secretaria.cli.output import print_json, print_value, printable
from secretaria.core.access import PROCESS
from secretaria.core.errors import InvalidInput, NotFound, SecretariaError

if TYPE_CHECKING:
    import psycopg

    from secretaria.bootstrap import Application
    from secretaria.embedded.servers import Endpoints
    from secretaria.settings import Settings

CLOCK_DIFFERENCE_MAX_S = 2
MONTHS_AHEAD_MIN = 2
NAMES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. what_to_do is empty where all is well."""

    name: str
    state: str
    what_to_do: str = ""


def doctor(
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Add up all events again and compare; reads everything.")
    ] = False,
    company: Annotated[int | None, typer.Option(min=1, help="Recompute only this company.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check the database, its walls, Valkey, clocks and prices. Exit code 1 when something is wrong. Changes nothing.

    Example: secretaria doctor --recompute
    """
    from secretaria.settings import Settings

    if company is not None and not recompute:
        raise InvalidInput("--company goes with --recompute", code="unexpected_company")
    quiet_logs()
    settings = Settings.load()
    with opened_database(settings, migrated=False) as found:
        findings = list(_findings(settings, found, recompute=recompute, company_id=company))
    if as_json:
        print_json([
            {"check": finding.name, "ok": not finding.what_to_do, "state": finding.state, "do": finding.what_to_do}
            for finding in findings
        ])  # fmt: skip
    else:
        for finding in findings:
            mark = "PROBLEM" if finding.what_to_do else "OK     "
            print_value(f"{mark}  {finding.name}: {printable(finding.state)}")
            if finding.what_to_do:
                print_value(f"         {printable(finding.what_to_do)}")
    if any(finding.what_to_do for finding in findings):
        raise typer.Exit(1)


def _findings(
    settings: "Settings", found: "Endpoints", *, recompute: bool, company_id: int | None
) -> Iterator[Finding]:
    """Yield the checks in order; those that need a migrated database come only where there is one."""
    from secretaria.bootstrap import pending_migrations

    missing = pending_migrations(found)
    if missing:
        yield Finding("Migrations", f"{len(missing)} not applied, first {missing[0]}", "Run `secretaria migrate`.")
        return
    yield Finding("Migrations", "all applied")
    yield from _catalogue_findings(found)

    async def step(application: "Application") -> list[Finding]:
        findings = [
            await _server_finding(application),
            await _valkey_finding(application, settings),
            await _prices_finding(application),
        ]
        if recompute:
            findings.append(await _recompute_finding(application, company_id))
        return findings

    try:
        yield from run_on(settings, found, step)
    except NotFound:
        raise
    except SecretariaError as error:
        yield Finding("Server", "refused", error.message)


def _catalogue_findings(found: "Endpoints") -> Iterator[Finding]:
    import psycopg

    with psycopg.connect(found.database_url) as serving:
        user = serving.info.user
    with psycopg.connect(found.owner_url, autocommit=True) as connection:
        yield _roles_finding(connection, user)
        yield _walls_finding(connection)
        yield _months_finding(connection)
        yield _clock_finding(connection)


def _roles_finding(connection: "psycopg.Connection", user: str) -> Finding:
    from secretaria.store import catalogue

    missing = catalogue.missing_roles(connection, user)
    if missing:
        return Finding("Roles", f"{user} cannot act as {', '.join(missing)}", "Run `secretaria migrate` as the owner.")
    if catalogue.is_above_the_walls(connection, user):
        return Finding(
            "Roles",
            f"{user} is a superuser or passes row-level security",
            "Serve as a user without these rights: set DATABASE_URL to one, and DATABASE_OWNER_URL to the owner.",
        )
    return Finding("Roles", f"{user} acts as door, operator and ingest")


def _walls_finding(connection: "psycopg.Connection") -> Finding:
    from secretaria.store import catalogue

    open_tables = catalogue.tables_without_wall(connection)
    granted = catalogue.granted_partitions(connection)
    if open_tables:
        return Finding(
            "Row-level security",
            f"missing on {_some(open_tables)}",
            "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, and FORCE: companies are not kept apart there.",
        )
    if granted:
        return Finding("Row-level security", f"grants on {_some(granted)}", "REVOKE ALL on these partitions.")
    return Finding("Row-level security", "on and forced for every table of companies")


def _months_finding(connection: "psycopg.Connection") -> Finding:
    from secretaria.store import catalogue
    from secretaria.store.partitions import add_months, month_start

    this_month = month_start(utc_now().date())
    missing = catalogue.missing_months(
        connection, [add_months(this_month, ahead) for ahead in range(MONTHS_AHEAD_MIN + 1)]
    )
    if missing:
        names = [f"{month:%Y-%m}" for month in missing]
        return Finding(
            "Room for events", f"none for {_some(names)}", "Run `secretaria migrate`, and let the worker run."
        )
    return Finding("Room for events", f"{MONTHS_AHEAD_MIN} months ahead")


def _clock_finding(connection: "psycopg.Connection") -> Finding:
    from secretaria.store import catalogue

    before = utc_now()
    theirs = catalogue.read_clock(connection)
    after = utc_now()
    difference = max(before - theirs, theirs - after).total_seconds()
    if difference > CLOCK_DIFFERENCE_MAX_S:
        return Finding("Clocks", f"{difference:.0f} s apart", "Let both machines keep time with NTP.")
    return Finding("Clocks", "this machine and the database agree")


async def _server_finding(application: "Application") -> Finding:
    """The application opened, so check_server was content."""
    from secretaria.store.database import transaction

    async with transaction(application.database.operator) as connection:
        version = connection.info.server_version
    return Finding("Server", f"PostgreSQL {version // 10_000}.{version % 10_000}, durable commits")


async def _valkey_finding(application: "Application", settings: "Settings") -> Finding:
    if await application.live.ping():
        return Finding("Valkey", "answers")
    what = "Start the server that REDIS_URL names." if settings.redis_url else "See logs/valkey.log in the data folder."
    return Finding("Valkey", "does not answer: figures are right, but live views are a second late", what)


async def _prices_finding(application: "Application") -> Finding:
    from secretaria.store import catalogue
    from secretaria.store.database import transaction

    async with transaction(application.database.operator) as connection:
        unpriced = await catalogue.unpriced_companies(connection)
    if unpriced:
        names = _some([f"{company_id} {name}" for company_id, name in unpriced])
        return Finding(
            "Prices",
            f"not set for {names}: their usage shows as not priced",
            "Set BILLING_COST_PER_MESSAGE and BILLING_COST_PER_THOUSAND_TOKENS (0 for free) and start again.",
        )
    return Finding("Prices", "set for every company")


async def _recompute_finding(application: "Application", company_id: int | None) -> Finding:
    from secretaria.store.database import transaction
    from secretaria.store.recompute import recompute

    if company_id is not None:
        await application.companies.get(PROCESS, company_id)
    async with transaction(application.database.operator) as connection:
        mismatches = await recompute(connection, company_id)
    if not mismatches:
        return Finding("Sums", "equal a recomputation from all events")
    first = mismatches[0]
    example = first.examples[0]
    key = " ".join(f"{name}={value}" for name, value in example.key.items())
    return Finding(
        "Sums",
        "; ".join(f"{found.table} differs in {found.rows} rows" for found in mismatches)
        + f"; first {first.table} {key}: events {example.events}, stored {example.stored}",
        "Nothing was changed. Keep a copy of the database and report this: it must not happen.",
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return ", ".join(names[:NAMES_SHOWN_MAX]) + more
