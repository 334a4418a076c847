"""What the supervisor keeps alive: the servers, and processes of our own such as web and worker."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from secretaria.embedded import processes

GRACE_S = 15.0
CONNECT_TIMEOUT_S = 1.0
_READY_FD = "SECRETARIA_READY_FD"
_READY = b"1"
EXIT_CONFIGURATION = 78  # sysexits.h EX_CONFIG: a child that ends so would only fail again

# Signals with the seconds to wait after each; SIGKILL follows the last.
Escalation = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class ChildSpec:
    """A process of ours to keep alive. `env` is added to the supervisor's; `ready` tells when it serves.

    Of several on one port nobody can ask from outside which of them serve: with `announces` each says so itself.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    grace_s: float = GRACE_S
    ready: Callable[[], bool] | None = None
    announces: bool = False


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
    """A ChildSpec as a child: drains on SIGTERM, keeps the data folder's lock (where there is one) while it lives."""

    def __init__(self, spec: ChildSpec, *, env: Mapping[str, str], lock_fd: int | None) -> None:
        self.name = spec.name
        self.escalation: Escalation = ((signal.SIGTERM, spec.grace_s),)
        self.hurried: Escalation = ()
        self.process: subprocess.Popen[bytes] | None = None
        self._spec = spec
        self._inherit = [] if lock_fd is None else [lock_fd]
        self._env = {**env, **spec.env}
        self._announcements: int | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it; its output goes where ours goes."""
        self.process = self._spawn_announcing() if self._spec.announces else self._spawn(self._env, self._inherit)
        return self.process

    def _spawn(self, env: Mapping[str, str], inherit: Sequence[int]) -> subprocess.Popen[bytes]:
        return processes.spawn(self._spec.argv, death_signal=signal.SIGTERM, env=env, inherit=inherit)

    def _spawn_announcing(self) -> subprocess.Popen[bytes]:
        if self._announcements is not None:
            os.close(self._announcements)
        self._announcements, told = os.pipe()
        os.set_blocking(self._announcements, False)
        try:
            return self._spawn({**self._env, _READY_FD: str(told)}, [*self._inherit, told])
        finally:
            os.close(told)

    def is_ready(self) -> bool:
        """Whether it serves, as far as its spec can tell."""
        if self._announcements is not None:
            with contextlib.suppress(BlockingIOError):
                return os.read(self._announcements, 1) == _READY
            return False
        return self._spec.ready is None or self._spec.ready()


def announce_ready() -> None:
    """Tell the supervisor, if it asked for it, that this process serves from now on."""
    told = os.environ.pop(_READY_FD, None)
    if told is not None:
        with contextlib.suppress(OSError):  # a supervisor that has ended does not listen
            os.write(int(told), _READY)
        with contextlib.suppress(OSError):
            os.close(int(told))


def answers_at(host: str, port: int) -> Callable[[], bool]:
    """A `ready` that asks whether somebody accepts connections there."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound

    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((target, port), CONNECT_TIMEOUT_S):
            return True
        return False

    return ready
