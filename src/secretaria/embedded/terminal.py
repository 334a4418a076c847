"""Words for the person at the terminal, before and beside any logging."""

import contextlib
import sys


def say(message: str) -> None:
    """One line on stderr: stdout stays for values. A terminal that was closed stops nobody."""
    with contextlib.suppress(OSError):
        print(f"secretaria: {message}", file=sys.stderr, flush=True)
