"""`secretaria rates`: import Meta's rate cards, list them, and choose which card prices whom."""

import sys
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import run
from secretaria.cli.output import print_json, print_note, print_table, print_value, printable
from secretaria.core.errors import InvalidInput

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.core.rate_card import CardChoice, PriceChange
    from secretaria.services.rate_cards import CardImport
    from secretaria.store.rate_cards import ListedVersion

CHANGES_SHOWN_MAX = 50

app = typer.Typer(no_args_is_help=True, help="WhatsApp rate cards: import, list, choose.")


class Rounding(StrEnum):
    """How a unit price is taken."""

    EXACT = "exact"
    CENTS_DOWN = "cents_down"


@app.command("import")
def import_card(
    file: Annotated[Path, typer.Argument(help="Meta's CSV of list rates in one currency.")],
    *,
    card: Annotated[str | None, typer.Option(help="The card's name; meta-brl for a file in BRL.")] = None,
    effective_from: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the prices, else the date the file names."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the file is from, kept with the prices.")] = None,
    free_service_messages: Annotated[
        int | None, typer.Option(help="Free service messages of a number and month; 1000 from 2026-10-01 on.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what changes as JSON.")] = False,
) -> None:
    """Show what one of Meta's rate card files changes and from when, ask, and import it.

    Example: secretaria rates import rates-brl.csv --from 2027-01-01
    """
    from secretaria.inbound.rate_card_csv import FILE_BYTES_MAX
    from secretaria.services.rate_cards import ImportOptions

    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}", code="unreadable_file") from error
    options = ImportOptions(
        card, effective_from.date() if effective_from else None, source, free_service_messages
    )

    async def step(application: "Application") -> "CardImport":
        from secretaria.core.access import PROCESS

        cards, now = application.rate_cards, application.clock()
        plan = await cards.preview(PROCESS, content, options, now=now)
        _show(plan)
        if not yes:
            _confirm(plan)
        return await cards.import_file(PROCESS, content, options, now=application.clock())

    plan = run(step)
    print_note(f"Imported {plan.card} from {plan.effective_from}.")
    if as_json:
        print_json(_described(plan))


@app.command("list")
def list_cards(
    company: Annotated[int | None, typer.Option(help="Show what prices this company's messages instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the versions of all rate cards with their source, or what a company chose.

    Example: secretaria rates list --company 1
    """
    if company is not None:
        _list_choices(company, as_json=as_json)
        return

    async def step(application: "Application") -> "tuple[list[ListedVersion], str]":
        from secretaria.core.access import PROCESS

        now = application.clock()
        newest = await application.exchange_rates.newest()
        rate = f"USD_TO_BRL {application.settings.usd_to_brl}"
        if newest is not None:
            stale = ", stale: nothing newer was heard of" if newest.is_stale(now) else ""
            rate = f"{newest.named_source}: {newest.rate}{stale}"
        return await application.rate_cards.versions(PROCESS, now), rate

    versions, rate = run(step)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(version) for version in versions])
        return
    print_table(
        ("CARD", "FROM", "CURRENCY", "PRICES", "FREE", "VERIFIED", "SOURCE"),
        [
            (
                row.card,
                row.effective_from,
                row.currency,
                row.prices,
                row.free_service_messages,
                row.verified_on or "",
                row.source,
            )
            for row in versions
        ],
    )
    for row in versions:
        for note in row.notes:
            print_note(f"{row.card} from {row.effective_from}: {printable(note)}")
    print_note(f"One dollar in reais: {rate}")


@app.command()
def activate(
    card: Annotated[str, typer.Argument(help="A card's name, or product for the company's own prices.")],
    company: Annotated[int, typer.Option(help="The company's id.")],
    account: Annotated[int | None, typer.Option(help="Only this WhatsApp account, by its id.")] = None,
    unit_price_rounding: Annotated[
        Rounding, typer.Option(help="cents_down cuts the product card's unit prices to whole cents.")
    ] = Rounding.EXACT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the choice as JSON.")] = False,
) -> None:
    """Let a card price a company's WhatsApp messages from its next local day; print that day.

    Example: secretaria rates activate meta-brl --company 1
    """

    async def step(application: "Application") -> "CardChoice":
        from secretaria.core.access import PROCESS

        return await application.rate_cards.activate(
            PROCESS,
            company,
            card=card,
            account_id=account,
            unit_price_rounding=unit_price_rounding.value,
            now=application.clock(),
        )

    choice = run(step)
    print_note(f"{printable(choice.card)} prices from {choice.effective_from} on; days before keep their prices.")
    print_json(_described_choice(choice)) if as_json else print_value(choice.effective_from)


def _list_choices(company: int, *, as_json: bool) -> None:
    async def step(application: "Application") -> "list[CardChoice]":
        from secretaria.core.access import PROCESS

        return await application.rate_cards.choices(PROCESS, company)

    choices = run(step)
    if as_json:
        print_json([_described_choice(choice) for choice in choices])
    elif choices:
        print_table(
            ("ACCOUNT", "CARD", "FROM", "ROUNDING"),
            [
                (row.account_id or "all others", row.card, _from(row.effective_from), row.unit_price_rounding)
                for row in choices
            ],
        )
    else:
        print_note("The product's card: nothing was chosen.")


def _from(day: date) -> str:
    return "the start" if day == date.min else day.isoformat()


def _show(plan: "CardImport") -> None:
    print_note(f"{plan.card} ({plan.currency}) from {plan.effective_from}; {printable(plan.source)}")
    print_note(f"Free service messages of a number and month: {plan.free_service_messages}")
    for change in plan.changes[:CHANGES_SHOWN_MAX]:
        print_note(f"  {printable(change.market)} {change.category}: {_bands(change.before)} -> {_bands(change.after)}")
        if change.loses_tiers:
            print_note("    its volume tiers end: the file has list rates only")
    if len(plan.changes) > CHANGES_SHOWN_MAX:
        print_note(f"  and {len(plan.changes) - CHANGES_SHOWN_MAX} more")
    for reason in plan.skipped:
        print_note(f"  left out: {printable(reason)}")
    print_note(f"{len(plan.changes)} prices change, {plan.unchanged} stay.")
    print_note(f"Companies that use the card: {plan.companies_using}.")


def _bands(bands: "tuple[tuple[int, object], ...]") -> str:
    shown = ["n/a" if amount is None else f"{amount}" for _, amount in bands]
    texts = [text if above == 0 else f"{text} past {above}" for (above, _), text in zip(bands, shown, strict=True)]
    return ", ".join(texts) or "unknown"


def _confirm(plan: "CardImport") -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput(f"this changes {len(plan.changes)} prices: add --yes", code="not_confirmed")
    if not typer.confirm("Import these prices?", err=True):
        raise typer.Exit(1)


def _described(plan: "CardImport") -> dict[str, object]:
    return {
        "card": plan.card,
        "currency": plan.currency,
        "effective_from": plan.effective_from.isoformat(),
        "free_service_messages": plan.free_service_messages,
        "changes": [_described_change(change) for change in plan.changes],
        "unchanged": plan.unchanged,
        "skipped": plan.skipped,
    }


def _described_change(change: "PriceChange") -> dict[str, object]:
    before, after = (
        [{"above": above, "amount": None if amount is None else str(amount)} for above, amount in bands]
        for bands in (change.before, change.after)
    )
    return {"market": change.market, "category": change.category, "before": before, "after": after}


def _described_choice(choice: "CardChoice") -> dict[str, object]:
    return {
        "account_id": choice.account_id,
        "card": choice.card,
        "unit_price_rounding": choice.unit_price_rounding,
        "effective_from": choice.effective_from.isoformat(),
    }
