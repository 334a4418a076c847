"""Named points at which a test can kill, stop or fail this process; refused outside tests.

SECRETARIA_FAILPOINT=name:nth:action, action one of kill, stop, raise: the nth time the point is reached. Anything else
than SECRETARIA_TEST=1 beside it makes the process refuse to start.
"""

import os
import signal
from typing import Final

from secretaria.core.errors import ConfigurationError

_ACTIONS: Final = frozenset({"kill", "stop", "raise"})


class FailpointReached(Exception):
    """A test asked for this failure."""


class _Armed:
    """The one point that is armed, and how often it will be passed before it strikes."""

    def __init__(self, text: str) -> None:
        name, nth, action = [*text.split(":"), "", ""][:3]
        if not nth.isdecimal() or int(nth) < 1 or action not in _ACTIONS:
            raise ConfigurationError(f"SECRETARIA_FAILPOINT is name:nth:{'|'.join(sorted(_ACTIONS))}, not {text!r}")
        self.name = name
        self.passes = int(nth)
        self.action = action

    def strike(self) -> None:
        """Count one pass, and act on the last."""
        self.passes -= 1
        if self.passes:
            return
        if self.action == "raise":
            raise FailpointReached(self.name)
        os.kill(os.getpid(), signal.SIGKILL if self.action == "kill" else signal.SIGSTOP)


def _armed() -> _Armed | None:
    text = os.environ.get("SECRETARIA_FAILPOINT", "")
    if not text:
        return None
    if os.environ.get("SECRETARIA_TEST") != "1":
        raise ConfigurationError("SECRETARIA_FAILPOINT is for tests only: unset it")
    return _Armed(text)


_ARMED: Final = _armed()


def reach(name: str) -> None:
    """Mark a point; does nothing unless a test armed this one."""
    if _ARMED is not None and _ARMED.name == name:
        _ARMED.strike()
