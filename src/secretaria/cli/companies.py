"""`secretaria company`: make and list companies, give them plans, suspend them."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.core.plan import PlanChoice
    from secretaria.store.companies import Company

app = typer.Typer(no_args_is_help=True, help="Make and list companies, give them plans, suspend them.")


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
    *,
    currency: Annotated[Currency, typer.Option(help="Fixed after its first usage.")] = Currency.BRL,
    legal_name: Annotated[str | None, typer.Option(help="The registered name.")] = None,
    tax_id: Annotated[str | None, typer.Option(metavar="CNPJ", help="The CNPJ, with or without its dots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the company as JSON.")] = False,
) -> None:
    """Make a company and print its id.

    Example: secretaria company create "Clínica Sorriso" --timezone America/Sao_Paulo
    """

    async def step(application: "Application") -> "Company":
        from secretaria.core.access import PROCESS

        return await application.companies.create(
            PROCESS, name, timezone=timezone, currency=currency.value, legal_name=legal_name, tax_id=tax_id,
            now=application.clock(),
        )  # fmt: skip

    company = run(step)
    print_note(f"Made {printable(company.name)}: days begin in {company.timezone}, amounts in {company.currency}.")
    print_json(_described(company)) if as_json else print_value(company.company_id)


@app.command()
def update(
    company: Annotated[int, typer.Option(min=1, help="The company's id.")],
    *,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    legal_name: Annotated[str | None, typer.Option(help="Another registered name; empty removes it.")] = None,
    tax_id: Annotated[str | None, typer.Option(metavar="CNPJ", help="Another CNPJ; empty removes it.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Another time zone, from its next midnight on.")] = None,
    currency: Annotated[Currency | None, typer.Option(help="Another currency, before its first usage.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the company as JSON.")] = False,
) -> None:
    """Change a company; what is left out stays.

    Example: secretaria company update --company 1 --legal-name "Sorriso Odontologia Ltda." --tax-id 11.222.333/0001-81
    """
    given = {
        "name": name, "legal_name": legal_name, "tax_id": tax_id, "timezone": timezone,
        "currency": currency and currency.value,
    }  # fmt: skip
    change = {field: value for field, value in given.items() if value is not None}
    if not change:
        raise typer.BadParameter("say what to change", param_hint="'--name'")

    async def step(application: "Application") -> "Company":
        from secretaria.core.access import PROCESS

        return await application.companies.update(PROCESS, company, change, application.clock())

    changed = run(step)
    print_note(f"Changed {printable(changed.name)}.")
    print_json(_described(changed)) if as_json else print_value(changed.company_id)


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


@app.command("plan")
def set_plan(
    company: Annotated[int, typer.Option(help="The company's id.")],
    plan: Annotated[str, typer.Option(help="The plan's name or id, or none.")],
    effective_from: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="The company's first day with it; its today without this."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the choice as JSON.")] = False,
) -> None:
    """Let a company have a plan, or none, from its today or a later day; print that day.

    What is crossed already raises its alerts at once.

    Example: secretaria company plan --company 1 --plan Pro --from 2027-01-01
    """

    async def step(application: "Application") -> "PlanChoice":
        from secretaria.cli.plans import named_plan
        from secretaria.core.access import PROCESS
        from secretaria.services.plans import NO_PLAN

        return await application.plans.assign(
            PROCESS,
            company,
            None if plan.casefold() == NO_PLAN else named_plan(plan),
            effective_from=effective_from.date() if effective_from else None,
            now=application.clock(),
        )

    choice = run(step)
    name = "no plan" if choice.name is None else printable(choice.name)
    print_note(f"Company {company} has {name} from {choice.effective_from} on.")
    described = {"plan_id": choice.plan_id, "plan": choice.name, "effective_from": choice.effective_from.isoformat()}
    print_json(described) if as_json else print_value(choice.effective_from)


@app.command()
def suspend(company: Annotated[int, typer.Argument(help="The company's id.")]) -> None:
    """Let the company's entitlement checks say no, from the next one on. Its usage is counted all the same.

    Example: secretaria company suspend 1
    """
    _print_status(company, is_suspended=True)


@app.command()
def reactivate(company: Annotated[int, typer.Argument(help="The company's id.")]) -> None:
    """End a company's suspension.

    Example: secretaria company reactivate 1
    """
    _print_status(company, is_suspended=False)


def _print_status(company_id: int, *, is_suspended: bool) -> None:
    async def step(application: "Application") -> "Company":
        from secretaria.core.access import PROCESS

        service = application.companies
        return await (service.suspend if is_suspended else service.reactivate)(PROCESS, company_id)

    company = run(step)
    print_note(f"{printable(company.name)} is {company.status}.")
    print_value(company.status)


def _described(company: "Company") -> dict[str, object]:
    return {
        "id": company.company_id,
        "name": company.name,
        "legal_name": company.legal_name,
        "tax_id": company.tax_id,
        "status": company.status,
        "timezone": company.timezone,
        "currency": company.currency,
        "demo": company.demo,
        "created_at": company.created_at.isoformat(),
    }
