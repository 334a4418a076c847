"""`secretaria company`: make and list companies."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.store.companies import Company

app = typer.Typer(no_args_is_help=True, help="Make and list companies.")


class Currency(StrEnum):
    """What a company's amounts are in."""

    BRL = "BRL"
    USD = "USD"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The company's name, as the panel shows it.")],
    timezone: Annotated[
        str, typer.Option(help="IANA time zone; it decides when the company's day begins.")
    ] = "America/Sao_Paulo",
    currency: Annotated[Currency, typer.Option(help="Fixed after its first usage.")] = Currency.BRL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the company as JSON.")] = False,
) -> None:
    """Make a company and print its id.

    Example: secretaria company create "Clínica Sorriso" --timezone America/Sao_Paulo
    """

    async def step(application: "Application") -> "Company":
        from secretaria.core.access import PROCESS

        return await application.companies.create(
            PROCESS, name, timezone=timezone, currency=currency.value, now=application.clock()
        )

    company = run(step)
    print_note(f"Made {printable(company.name)}: days begin in {company.timezone}, amounts in {company.currency}.")
    print_json(_described(company)) if as_json else print_value(company.company_id)


@app.command("list")
def list_companies(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the companies by id. Made-up ones are marked demo.

    Example: secretaria company list --json
    """

    async def step(application: "Application") -> "list[Company]":
        from secretaria.core.access import PROCESS

        found: list[Company] = []
        while page := await application.companies.list(PROCESS, after=found[-1].company_id if found else 0):
            found += page
        return found

    companies = run(step)
    if as_json:
        print_json([_described(company) for company in companies])
    elif companies:
        print_table(
            ("ID", "NAME", "STATUS", "TIMEZONE", "CURRENCY", "DEMO"),
            [
                (row.company_id, row.name, row.status, row.timezone, row.currency, "demo" if row.demo else "")
                for row in companies
            ],
        )
    else:
        print_note('No companies yet. Make one: secretaria company create "Clínica Sorriso"')


def _described(company: "Company") -> dict[str, object]:
    return {
        "id": company.company_id,
        "name": company.name,
        "status": company.status,
        "timezone": company.timezone,
        "currency": company.currency,
        "demo": company.demo,
        "created_at": company.created_at.isoformat(),
    }
