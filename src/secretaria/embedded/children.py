"""What the supervisor keeps alive: the servers, and processes of our own such as web and worker."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from secretaria.embedded import processes

GRACE_S = 15.0
CONNECT_TIMEOUT_S = 1.0
EXIT_CONFIGURATION = 78  # sysexits.h EX_CONFIG: a child that ends so would only fail again

# Signals with the seconds to wait after each; SIGKILL follows the last.
Escalation = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class ChildSpec:
    """A process of ours to keep alive. `env` is added to the supervisor's; `ready` tells when it serves."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    grace_s: float = GRACE_S
    ready: Callable[[], bool] | None = None


class Child(Protocol):
    """What the supervisor needs to know of a server or of a process of ours."""

    process: subprocess.Popen[bytes] | None

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def escalation(self) -> Escalation:
        """How it is asked to end."""

    @property
    def hurried(self) -> Escalation:
        """How it is asked to end when somebody is impatient."""

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it, and keep it as `process`."""

    def is_ready(self) -> bool:
        """Whether it serves."""


class CommandChild:
    """A ChildSpec as a child: drains on SIGTERM, keeps the data folder's lock while it lives."""

    def __init__(self, spec: ChildSpec, *, env: Mapping[str, str], lock_fd: int) -> None:
        self.name = spec.name
        self.escalation: Escalation = ((signal.SIGTERM, spec.grace_s),)
        self.hurried: Escalation = ()
        self.process: subprocess.Popen[bytes] | None = None
        self._spec, self._lock_fd = spec, lock_fd
        self._env = {**env, **spec.env}

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it; its output goes where ours goes."""
        self.process = processes.spawn(
            self._spec.argv, death_signal=signal.SIGTERM, env=self._env, inherit=[self._lock_fd]
        )
        return self.process

    def is_ready(self) -> bool:
        """Whether it serves, as far as its spec can tell."""
        return self._spec.ready is None or self._spec.ready()


def answers_at(host: str, port: int) -> Callable[[], bool]:
    """A `ready` that asks whether somebody accepts connections there."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound

    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((target, port), CONNECT_TIMEOUT_S):
            return True
        return False

    return ready
