"""The `secretaria` command. What a command needs is imported inside it: `--help` answers at once.

Exit codes: 0 done, 1 failed (try again, or look at the message), 2 not understood or refused as asked, 130 interrupted.
"""

import sys
from typing import Annotated

import typer

from secretaria.cli.access import api_keys, panel_tokens, users
from secretaria.cli.accounts import accounts, erase, templates
from secretaria.cli.audit import app as audit
from secretaria.cli.backup import backup, restore
from secretaria.cli.companies import app as companies
from secretaria.cli.data import close, import_file, report
from secretaria.cli.demo import app as demo
from secretaria.cli.doctor import doctor
from secretaria.cli.output import print_note, printable
from secretaria.cli.plans import app as plans
from secretaria.cli.rates import app as rates
from secretaria.cli.servers import migrate, up, web, worker
from secretaria.core.errors import ConfigurationError, InvalidInput, NotAllowed, NotFound, SecretariaError

EXIT_FAILED = 1
EXIT_USAGE = 2
_REFUSED = (ConfigurationError, InvalidInput, NotAllowed, NotFound)

# What lists the ids there are, where the one that was given does not exist.
_LISTED_BY = {
    "company_not_found": "company list",
    "plan_not_found": "plan list",
    "key_not_found": "api-key list",
    "user_not_found": "user list",
    "account_not_found": "account list --company ID",
}

app = typer.Typer(
    name="secretaria",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Usage, cost and limits of WhatsApp and LLM assistants, per client company.

    Start here: secretaria up --demo

    Settings come from the environment (DATABASE_URL, PORT, SECRETARIA_DATA_DIR and others: docs/operations.md).
    Commands find a running copy by its SECRETARIA_DATA_DIR, or start the database for as long as they need it.
    """


for function in (up, web, worker, migrate, doctor, close, report, backup, restore):
    app.command()(function)
app.command("import")(import_file)
app.command()(erase)
for name, group in (
    ("company", companies),
    ("plan", plans),
    ("api-key", api_keys),
    ("user", users),
    ("panel-token", panel_tokens),
    ("account", accounts),
    ("template", templates),
    ("rates", rates),
    ("audit", audit),
    ("demo", demo),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; every error is one line on stderr, with a traceback only where --debug asks for it."""
    arguments, debug = _split_global(sys.argv[1:])
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(version("secretaria"))
        return
    try:
        app(arguments, prog_name="secretaria")
    except SecretariaError as error:
        if debug:
            raise
        listed_by = _LISTED_BY.get(error.code)
        hint = f": `secretaria {listed_by}` shows what there is" if listed_by else ""
        fail(f"{error.message}{hint}", EXIT_USAGE if isinstance(error, _REFUSED) else EXIT_FAILED)
    except OSError as error:
        if debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        fail(f"{error.strerror or error}{where}", EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        fail(f"unexpected {type(error).__name__}: {error} (add --debug to see where)", EXIT_FAILED)


def fail(message: str, code: int) -> None:
    """Print why, as one line that cannot drive the terminal, and exit."""
    print_note(f"Error: {printable(' '.join(message.split()))}")
    sys.exit(code)


def _split_global(arguments: list[str]) -> tuple[list[str], bool]:
    """Take --debug out, wherever it stands before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return kept + arguments[end:], len(kept) < end
