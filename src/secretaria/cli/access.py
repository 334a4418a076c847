"""`secretaria user`, `api-key` and `panel-token`: who may come in. Secrets are printed once, alone, on stdout."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable
from secretaria.core.access import DEFAULT_SCOPES, OPERATOR_COMPANY_ID, PROCESS, Scope
from secretaria.core.account import PASSWORD_BYTES_MAX, Role
from secretaria.core.errors import InvalidInput

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.services.access import NewKey
    from secretaria.store.api_keys import ApiKey
    from secretaria.store.users import User

users = typer.Typer(no_args_is_help=True, help="People who log in to the panel.")
api_keys = typer.Typer(no_args_is_help=True, help="Keys with which programs send usage and read figures.")
panel_tokens = typer.Typer(no_args_is_help=True, help="Panel sessions for scripts.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The user's e-mail address.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input: its first line.")
]


@users.command("create")
def create_user(
    email: Email,
    role: Annotated[Role, typer.Option(help="operator: all companies; member: one, with --company.")],
    company: Annotated[int | None, typer.Option(min=1, help="The member's company.")] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Make a user and print the user's id. At a terminal the password is asked for.

    Example: secretaria user create ana@example.com --role member --company 1
    """
    if (role is Role.MEMBER) != (company is not None):
        raise typer.BadParameter("a member needs --company ID, an operator has none", param_hint="'--role'")
    password = read_password(from_stdin=password_stdin)

    async def step(application: "Application") -> "User":
        return await application.access.create_user(PROCESS, email, role=role, company_id=company, password=password)

    user = run(step)
    print_note(f"Made {printable(user.email)}, {role}{f' of company {company}' if company else ''}.")
    print_value(user.user_id)


@users.command("list")
def list_users(
    company: Annotated[int | None, typer.Option(min=1, help="Only this company's.")] = None, as_json: Json = False
) -> None:
    """List users.

    Example: secretaria user list --company 1
    """

    async def step(application: "Application") -> "list[User]":
        return await application.access.list_users(PROCESS, company)

    found = run(step)
    if as_json:
        print_json([
            {
                "id": user.user_id,
                "email": user.email,
                "role": user.role.value,
                "company_id": user.company_id or None,
                "disabled_at": user.disabled_at and user.disabled_at.isoformat(),
            }
            for user in found
        ])  # fmt: skip
    elif found:
        print_table(
            ("ID", "EMAIL", "ROLE", "COMPANY", "STATE"),
            [
                (user.user_id, user.email, user.role, user.company_id or "all", "disabled" if user.disabled_at else "")
                for user in found
            ],
        )
    else:
        print_note("No users. Make one: secretaria user create you@example.com --role operator")


@users.command("disable")
def disable_user(email: Email) -> None:
    """Shut a user out: open sessions end at once.

    Example: secretaria user disable ana@example.com
    """

    async def step(application: "Application") -> "User":
        return await application.access.disable_user(PROCESS, email)

    print_note(f"Disabled {printable(run(step).email)}; open sessions have ended.")


@users.command("password")
def set_password(email: Email, password_stdin: PasswordStdin = False) -> None:
    """Give a user another password: open sessions end at once.

    Example: secretaria user password ana@example.com
    """
    password = read_password(from_stdin=password_stdin)

    async def step(application: "Application") -> "User":
        return await application.access.set_password(PROCESS, email, password)

    print_note(f"The password of {printable(run(step).email)} is changed; open sessions have ended.")


@api_keys.command("create")
def create_api_key(
    company: Annotated[
        int | None, typer.Option(min=1, help="The key's company; without it the operator's key, for all companies.")
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help=f"May be given several times. Default: {', '.join(sorted(DEFAULT_SCOPES))}."),
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for; shown in lists.")] = "",
    as_json: Json = False,
) -> None:
    """Make an API key and print it. It is shown this once.

    Example: KEY=$(secretaria api-key create --company 1 --name bot)
    """

    async def step(application: "Application") -> "NewKey":
        return await application.access.create_api_key(PROCESS, company, scope or DEFAULT_SCOPES, name)

    made = run(step)
    whose = f"company {company}" if company else "the operator, for all companies"
    print_note(f"Made key {made.key.key_id} of {whose}; keep it now, it is not shown again.")
    print_json(_described(made.key) | {"key": made.text}) if as_json else print_value(made.text)


@api_keys.command("list")
def list_api_keys(
    company: Annotated[int | None, typer.Option(min=1, help="Only this company's.")] = None, as_json: Json = False
) -> None:
    """List API keys, without their secrets.

    Example: secretaria api-key list --company 1
    """

    async def step(application: "Application") -> "list[ApiKey]":
        return await application.access.list_api_keys(PROCESS, company)

    found = run(step)
    if as_json:
        print_json([_described(key) for key in found])
    elif found:
        print_table(
            ("ID", "COMPANY", "NAME", "SCOPES", "CREATED", "STATE"),
            [
                (key.key_id, key.company_id or "all", key.name, ",".join(sorted(key.scopes)),
                 f"{key.created_at:%Y-%m-%d}", "revoked" if key.revoked_at else "")
                for key in found
            ],
        )  # fmt: skip
    else:
        print_note("No keys. Make one: secretaria api-key create --company 1")


@api_keys.command("revoke")
def revoke_api_key(
    key: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that `api-key list` shows, or the key itself.")],
) -> None:
    """End an API key: within a second nothing accepts it any more.

    Example: secretaria api-key revoke 1f2e3d4c5b6a7988
    """

    async def step(application: "Application") -> "ApiKey":
        from secretaria.services.credential import parse

        credential = parse(key)
        return await application.access.revoke_api_key(PROCESS, credential.id if credential else key)

    print_note(f"Revoked {run(step).key_id}.")


@panel_tokens.command("create")
def create_panel_token(
    email: Email,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 30,
    as_json: Json = False,
) -> None:
    """Open a panel session for a user and print its token: for the cookie panel_token, or as a Bearer token.

    Example: TOKEN=$(secretaria panel-token create ana@example.com)
    """
    from datetime import timedelta

    async def step(application: "Application") -> tuple[str, str]:
        login = await application.access.panel_token(PROCESS, email, timedelta(days=days))
        return login.token, login.expires_at.isoformat()

    token, expires_at = run(step)
    print_note(f"A panel token of {printable(email)}, good until {expires_at[:10]}.")
    print_json({"token": token, "expires_at": expires_at}) if as_json else print_value(token)


def read_password(*, from_stdin: bool) -> str:
    """Return the password from standard input, or ask for it at a terminal; raises InvalidInput (no_password)."""
    if from_stdin:
        line = sys.stdin.readline(PASSWORD_BYTES_MAX + 2) if sys.stdin is not None else ""
        password = line.rstrip("\n").rstrip("\r")
    elif sys.stdin is not None and sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise InvalidInput("no terminal to ask for the password: add --password-stdin", code="no_password")
    if not password:
        raise InvalidInput("no password on standard input", code="no_password")
    return password


def _described(key: "ApiKey") -> dict[str, object]:
    return {
        "id": key.key_id,
        "company_id": None if key.company_id == OPERATOR_COMPANY_ID else key.company_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
    }
