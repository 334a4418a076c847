"""`secretaria plan`: make plans, list them, change their limits. `secretaria company plan` gives a company one."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.companies import Currency
from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable
from secretaria.core.errors import InvalidInput

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.core.plan import Plan, PlanVersion

NO_LIMIT = "none"
_QUANTITY = re.compile(r"[0-9]{1,18}", re.ASCII)

app = typer.Typer(no_args_is_help=True, help="Plans: monthly limits of messages, tokens and cost. Make, list, change.")

From = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; today without it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The plan's name; companies are given it by this name.")],
    *,
    messages: Annotated[str | None, typer.Option(help="Messages a month, both directions.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens a month, input and output.")] = None,
    cost: Annotated[str | None, typer.Option(help="Cost a month, such as 1500.00.")] = None,
    currency: Annotated[Currency, typer.Option(help="What the cost is in.")] = Currency.BRL,
    thresholds: Annotated[str, typer.Option(help="Percentages that raise an alert.")] = "80,100",
    hard: Annotated[bool, typer.Option("--hard", help="At 100 % the entitlement check says no.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a plan and print its id. What is not said is unlimited; usage is counted past any limit.

    Example: secretaria plan create Pro --messages 50000 --cost 1500.00 --hard
    """
    from secretaria.core.plan import PlanTerms

    terms = PlanTerms(_quantity(messages), _quantity(tokens), _amount(cost), _percentages(thresholds), hard)

    async def step(application: "Application") -> "Plan":
        from secretaria.core.access import PROCESS

        return await application.plans.create(
            PROCESS, name, terms, currency=currency.value, now=application.clock()
        )

    plan = run(step)
    print_note(f"Made {printable(plan.name)}: {_limits(plan.versions[0], plan.currency)}.")
    print_note(f'Give it to a company: secretaria company plan --company 1 --plan "{printable(plan.name)}"')
    print_json(_described(plan, plan.versions[0].effective_from)) if as_json else print_value(plan.plan_id)


@app.command("list")
def list_plans(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False) -> None:
    """List the plans with today's limits, and how many companies have each now.

    Example: secretaria plan list
    """

    async def step(application: "Application") -> "tuple[list[Plan], date]":
        from secretaria.core.access import PROCESS
        from secretaria.services.plans import operator_day

        found: list[Plan] = []
        now = application.clock()
        while page := await application.plans.list(PROCESS, after=found[-1].plan_id if found else 0, now=now):
            found += page
        return found, operator_day(now)

    plans, today = run(step)
    if as_json:
        print_json([_described(plan, today) for plan in plans])
    elif plans:
        print_table(
            ("ID", "NAME", *_TITLES[1:], "COMPANIES"),
            [
                (plan.plan_id, plan.name, *_cells(plan.version_on(today), plan.currency)[1:], plan.companies)
                for plan in plans
            ],
        )
    else:
        print_note("No plans yet. Make one: secretaria plan create Pro --messages 50000")


@app.command()
def show(
    plan: Annotated[str, typer.Argument(help="The plan's name or id.")],
    as_json: AsJson = False,
) -> None:
    """Show a plan's limits by the day they hold from, those of days to come among them.

    Example: secretaria plan show Pro
    """

    async def step(application: "Application") -> "tuple[Plan, date]":
        from secretaria.core.access import PROCESS
        from secretaria.services.plans import operator_day

        now = application.clock()
        return await application.plans.get(PROCESS, named_plan(plan), now=now), operator_day(now)

    found, today = run(step)
    if as_json:
        print_json(_described(found, today))
        return
    _show(found)


@app.command()
def change(
    plan: Annotated[str, typer.Argument(help="The plan's name or id.")],
    *,
    messages: Annotated[str | None, typer.Option(help="Messages a month, or none for unlimited.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens a month, or none.")] = None,
    cost: Annotated[str | None, typer.Option(help="Cost a month in the plan's currency, or none.")] = None,
    thresholds: Annotated[str | None, typer.Option(help="Percentages that raise an alert, such as 80,100.")] = None,
    hard: Annotated[bool | None, typer.Option("--hard/--soft", help="Whether 100 % makes the check say no.")] = None,
    effective_from: From = None,
    as_json: AsJson = False,
) -> None:
    """Change a plan's limits for every company that has it, from today or a later day; what is not said stays.

    A raised limit lets alerts fire anew, a lowered one fires what is crossed already.

    Example: secretaria plan change Pro --messages 80000 --from 2027-01-01
    """
    from msgspec import UNSET

    from secretaria.core.plan import TermsChange

    wanted = TermsChange(
        messages=UNSET if messages is None else _quantity(messages),
        tokens=UNSET if tokens is None else _quantity(tokens),
        cost=UNSET if cost is None else _amount(cost),
        thresholds=UNSET if thresholds is None else _percentages(thresholds),
        hard=UNSET if hard is None else hard,
    )

    async def step(application: "Application") -> "tuple[Plan, date]":
        from secretaria.core.access import PROCESS
        from secretaria.services.plans import operator_day

        now = application.clock()
        start = effective_from.date() if effective_from else None
        found = await application.plans.change(PROCESS, named_plan(plan), wanted, effective_from=start, now=now)
        return found, operator_day(now)

    found, today = run(step)
    start = effective_from.date() if effective_from else today
    version = found.version_on(start)
    print_note(f"{printable(found.name)} from {version.effective_from}: {_limits(version, found.currency)}.")
    print_json(_described(found, today)) if as_json else print_value(version.effective_from)


def named_plan(text: str) -> int | str:
    """Return how the services take a plan: digits are an id, anything else is a name."""
    return int(text) if _QUANTITY.fullmatch(text) else text


def _quantity(text: str | None) -> int | None:
    if text is None or text.casefold() == NO_LIMIT:
        return None
    if not _QUANTITY.fullmatch(text):
        raise InvalidInput("write a limit in digits, such as 50000, or none", code="invalid_plan_limit")
    return int(text)


def _amount(text: str | None) -> Decimal | None:
    from secretaria.core.money import parse_amount

    return None if text is None or text.casefold() == NO_LIMIT else parse_amount(text)


def _percentages(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(_QUANTITY.fullmatch(part) for part in parts):
        raise InvalidInput("write thresholds as percentages, such as 80,100", code="invalid_thresholds")
    return tuple(int(part) for part in parts)


_TITLES = ("FROM", "MESSAGES", "TOKENS", "COST", "THRESHOLDS", "KIND")


def _cells(version: "PlanVersion", currency: str) -> tuple[object, ...]:
    terms = version.terms
    return (
        version.effective_from,
        terms.messages or NO_LIMIT,
        terms.tokens or NO_LIMIT,
        f"{_text(terms.cost)} {currency}" if terms.cost else NO_LIMIT,
        ",".join(map(str, terms.thresholds)),
        "hard" if terms.hard else "soft",
    )


def _limits(version: "PlanVersion", currency: str) -> str:
    _, messages, tokens, cost, thresholds, kind = _cells(version, currency)
    return f"messages {messages}, tokens {tokens}, cost {cost}, alerts at {thresholds} %, {kind}"


def _show(plan: "Plan") -> None:
    print_note(f"{printable(plan.name)} (id {plan.plan_id}): companies that have it now: {plan.companies}.")
    print_table(_TITLES, [_cells(version, plan.currency) for version in plan.versions])


def _text(cost: Decimal) -> str:
    from secretaria.core.money import exact_text

    return exact_text(cost)


def _described(plan: "Plan", today: date) -> dict[str, object]:
    return {
        "id": plan.plan_id,
        "name": plan.name,
        "currency": plan.currency,
        "companies": plan.companies,
        "limits": _described_version(plan.version_on(today)),
        "versions": [_described_version(version) for version in plan.versions],
    }


def _described_version(version: "PlanVersion") -> dict[str, object]:
    terms = version.terms
    return {
        "messages": terms.messages,
        "tokens": terms.tokens,
        "cost": None if terms.cost is None else _text(terms.cost),
        "thresholds": list(terms.thresholds),
        "hard": terms.hard,
        "effective_from": version.effective_from.isoformat(),
    }
