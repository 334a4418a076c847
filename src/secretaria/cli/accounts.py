"""`secretaria account`, `template` and `erase`: WhatsApp accounts, their templates, and forgetting customers."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.companies import Currency
from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable
from secretaria.core.errors import InvalidInput

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.store.accounts import Account
    from secretaria.store.templates import Template

accounts = typer.Typer(no_args_is_help=True, help="Make and list WhatsApp accounts.")
templates = typer.Typer(no_args_is_help=True, help="Make message templates.")


class Category(StrEnum):
    """Meta's four categories."""

    UTILITY = "UTILITY"
    MARKETING = "MARKETING"
    AUTHENTICATION = "AUTHENTICATION"
    SERVICE = "SERVICE"


@accounts.command("create")
def create_account(
    company: Annotated[int, typer.Option(min=1, help="The company's id.")],
    phone_number_id: Annotated[str, typer.Option(help="Meta's id of the phone number (not the number).")],
    name: Annotated[str, typer.Option(help="The account's name, as the panel shows it.")],
    *,
    waba: Annotated[str | None, typer.Option(help="The id of the WhatsApp Business account it is in.")] = None,
    rate_card: Annotated[str, typer.Option(help="The card that prices its messages.")] = "product",
    currency: Annotated[Currency | None, typer.Option(help="The WABA's currency; else the company's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Make a WhatsApp account and print its id.

    Example: secretaria account create --company 1 --phone-number-id 106540352242922 --name "Recepção"
    """

    async def step(application: "Application") -> "Account":
        from secretaria.core.access import PROCESS

        return await application.accounts.create(
            PROCESS,
            company,
            phone_number_id,
            name,
            waba_id=waba,
            currency=None if currency is None else currency.value,
            rate_card=rate_card,
            now=application.clock(),
        )

    account = run(step)
    print_note(f"Made {printable(account.name)}: priced by {account.rate_card}, its WABA in {account.currency}.")
    print_json(_described(account)) if as_json else print_value(account.account_id)


@accounts.command("list")
def list_accounts(
    company: Annotated[int, typer.Option(min=1, help="The company's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List a company's WhatsApp accounts by id.

    Example: secretaria account list --company 1
    """

    async def step(application: "Application") -> "list[Account]":
        from secretaria.core.access import PROCESS

        found: list[Account] = []
        while page := await application.accounts.list(PROCESS, company, after=found[-1].account_id if found else 0):
            found += page
        return found

    found = run(step)
    if as_json:
        print_json([_described(account) for account in found])
    elif found:
        print_table(
            ("ID", "PHONE NUMBER ID", "NAME", "CARD", "CURRENCY"),
            [(row.account_id, row.phone_number_id, row.name, row.rate_card, row.currency) for row in found],
        )
    else:
        print_note("No accounts yet. Make one: secretaria account create --help")


@templates.command("create")
def create_template(
    account: Annotated[int, typer.Option(min=1, help="The WhatsApp account's id.")],
    name: Annotated[str, typer.Option(help="The template's name, as Meta has it.")],
    category: Annotated[Category, typer.Option(help="Its category so far.")],
    *,
    language: Annotated[str, typer.Option(help="Its language, like pt_BR, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the template as JSON.")] = False,
) -> None:
    """Make a message template and print its id.

    Example: secretaria template create --account 1 --name lembrete --category UTILITY
    """

    async def step(application: "Application") -> "Template":
        from secretaria.core.access import PROCESS

        return await application.accounts.create_template(
            PROCESS, account, name, category=category.value, language=language, now=application.clock()
        )

    template = run(step)
    if as_json:
        print_json(
            {
                "id": template.template_id,
                "account_id": template.account_id,
                "name": template.name,
                "language": template.language,
                "category": template.category,
            }
        )
    else:
        print_value(template.template_id)


def erase(
    company: Annotated[int, typer.Option(min=1, help="The company's id.")],
    phone: Annotated[str | None, typer.Option(help="Only this customer's, in international form.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what is kept of single messages, of a company or of one customer; print how many. All sums stay.

    Example: secretaria erase --company 1 --phone +5511987654321
    """
    if phone is not None and not any(character.isdigit() for character in phone):
        raise InvalidInput("a phone has digits: +5511987654321", code="invalid_phone", pointer="phone")
    of = "that customer's messages" if phone else "all messages"
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Remove {of} of company {company}?", err=True)):
        raise InvalidInput("nothing was removed; --yes does not ask", code="not_confirmed")

    async def step(application: "Application") -> int:
        from secretaria.core.access import PROCESS

        return await application.messages.erase(PROCESS, company, phone=phone)

    print_value(run(step))


def _described(account: "Account") -> dict[str, object]:
    return {
        "id": account.account_id,
        "company_id": account.company_id,
        "phone_number_id": account.phone_number_id,
        "waba_id": account.waba_id,
        "name": account.name,
        "rate_card": account.rate_card,
        "currency": account.currency,
        "created_at": account.created_at.isoformat(),
    }
