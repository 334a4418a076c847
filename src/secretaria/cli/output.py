"""What the commands print: the value a script wants on stdout, everything meant for a person on stderr."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def print_value(value: object) -> None:
    """Print what was asked for, alone on its line, on stdout."""
    print(value, flush=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout; dates and amounts as text."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def print_note(text: str = "") -> None:
    """Print a line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns on stdout, never cut: a script may read them as well."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    lines = [list(titles), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return a text with control characters shown as escapes: a name must not drive the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
