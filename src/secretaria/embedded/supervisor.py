"""Keeps children alive, and ends them in the opposite order of their start."""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from secretaria.embedded import processes
from secretaria.embedded.children import EXIT_CONFIGURATION, Child
from secretaria.embedded.folder import shorten_log
from secretaria.embedded.processes import KILL_WAIT_S
from secretaria.embedded.terminal import say

BACK_OFF_MIN_S = 0.2
BACK_OFF_MAX_S = 10.0
FAILURES_COUNTED_MAX = 16
STABLE_AFTER_S = 30.0  # after so long a life the next start is as quick as the first
TICK_S = 1.0
READY_POLL_S = 0.05
STOP_POLL_S = 0.1
LOG_CHECK_S = 60.0
ORPHAN_QUIT_TRIES_MAX = 5  # about 5 s, after which a postmaster would kill its backends too


class StopRequested(BaseException):
    """A signal came while something blocking ran (boot, migration): leave it."""


class StopSignals:
    """SIGTERM, SIGINT and SIGHUP, counted. They, and the end of a child, cut `sleep` short."""

    def __init__(self) -> None:
        self.count = 0
        self.interrupts = True  # whether one raises StopRequested, or is only counted

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle them until the end of the block."""
        self._woken, waker = socket.socketpair()
        with self._woken, waker, contextlib.ExitStack() as undo:
            self._woken.setblocking(False)
            waker.setblocking(False)
            self._waker_fd = waker.fileno()
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(-1))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                    undo.callback(signal.signal, number, signal.signal(number, self._on_stop))
            # Without a handler of ours the end of a child would not wake us.
            undo.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda *_: None))
            yield

    def wake_sleeper(self) -> None:
        """From now on signals cut `sleep` short; not earlier, as an event loop may have used the same hook."""
        signal.set_wakeup_fd(self._waker_fd, warn_on_full_buffer=False)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.interrupts:
            raise StopRequested

    def sleep(self, seconds: float) -> None:
        """Wait, but not past the next signal."""
        if select.select([self._woken], [], [], max(0.0, seconds))[0]:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)


class _Kept:
    """One child with its restarts."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.failures = 0
        self.due_at: float | None = None  # set while it is down
        self._started_at = time.monotonic()
        self._was_ready = False

    def start(self, now: float) -> None:
        """Start it (again)."""
        self.due_at, self._started_at = None, now
        try:
            self.child.spawn()
        except OSError as error:
            self.plan_start(now, f"could not be started ({error})")

    def plan_start(self, now: float, reason: str) -> None:
        """Plan the next start, later after each failure in a row."""
        if now - self._started_at > STABLE_AFTER_S:
            self.failures = 0
        delay_s = min(BACK_OFF_MAX_S, BACK_OFF_MIN_S * 2.0**self.failures)
        self.failures = min(self.failures + 1, FAILURES_COUNTED_MAX)
        self.due_at = now + delay_s
        say(f"{self.child.name} {reason}; starting it again in {delay_s:.1f} s")

    def has_been_ready(self) -> bool:
        """Whether it has served since we started; asked until it has."""
        self._was_ready = self._was_ready or (self.due_at is None and self.child.is_ready())
        return self._was_ready


class _Ending:
    """One child on its way out: the next signal of its escalation when the last one's time is over."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._steps = [*child.escalation, (signal.SIGKILL, KILL_WAIT_S)]
        self._next_at = 0.0
        self._hurried = False

    def has_ended(self, now: float, *, hurry: bool) -> bool:
        """Go on with it; whether it is over."""
        process = self.child.process
        if process is None or process.poll() is not None:
            return True
        if hurry and not self._hurried:
            self._hurried, self._next_at = True, 0.0
            self._steps = [*self.child.hurried, (signal.SIGKILL, KILL_WAIT_S)]
        if now >= self._next_at:
            if not self._steps:
                say(f"{self.child.name} (process {process.pid}) does not even end when killed; leaving it")
                return True
            number, wait_s = self._steps.pop(0)
            self._next_at = now + wait_s
            if number == signal.SIGKILL:
                say(f"{self.child.name} did not end by itself; killing it")
            process.send_signal(number)
        return False


class Supervisor:
    """Stages of children: started in order; ended in the opposite order, one stage at a time."""

    def __init__(self, signals: StopSignals, *, logs: Sequence[Path] = ()) -> None:
        self._signals = signals
        self._stages: list[list[_Kept]] = []
        self._logs = logs
        self._logs_checked_at = time.monotonic()

    def add(self, children: Sequence[Child]) -> None:
        """Add a stage; what does not run yet is started."""
        stage = [_Kept(child) for child in children]
        self._stages.append(stage)
        for kept in stage:
            if kept.child.process is None:
                kept.start(time.monotonic())

    def run(self, on_ready: Callable[[], None]) -> int:
        """Keep everything alive until a signal (0) or until a child cannot run as configured (1)."""
        told = False
        self._signals.wake_sleeper()
        while self._signals.count == 0:
            now = time.monotonic()
            for kept in self._kept():
                if not self._look_after(kept, now):
                    return 1
            processes.reap_adopted(self._known_pids())
            if not told and all(kept.has_been_ready() for kept in self._kept()):
                told = True
                on_ready()
            self._shorten_logs(now)
            due_in_s = [kept.due_at - now for kept in self._kept() if kept.due_at is not None]
            self._signals.sleep(min([TICK_S if told else READY_POLL_S, *due_in_s]))
        return 0

    def end(self) -> None:
        """End everything, each within its grace; one more signal hurries."""
        signals_before = self._signals.count
        for stage in reversed(self._stages):
            ending = [_Ending(kept.child) for kept in stage]
            while ending:
                hurry = self._signals.count > signals_before
                now = time.monotonic()
                ending = [child for child in ending if not child.has_ended(now, hurry=hurry)]
                if ending:
                    self._signals.sleep(STOP_POLL_S)
        processes.reap_adopted(self._known_pids())

    def _kept(self) -> list[_Kept]:
        return [kept for stage in self._stages for kept in stage]

    def _known_pids(self) -> set[int]:
        running = [kept.child.process for kept in self._kept()]
        return {process.pid for process in running if process is not None}

    def _look_after(self, kept: _Kept, now: float) -> bool:
        process = kept.child.process
        if kept.due_at is not None:
            if now >= kept.due_at:
                self._clear_orphans(kept)
                kept.start(now)
        elif process is not None and process.poll() is not None:
            if process.returncode == EXIT_CONFIGURATION:
                say(f"{kept.child.name} cannot run as configured; stopping")
                return False
            kept.plan_start(now, f"ended ({_outcome(process.returncode)})")
        return True

    def _clear_orphans(self, kept: _Kept) -> None:
        """End backends of a killed postmaster: while one lives, PostgreSQL rightly refuses to start.

        SIGQUIT is what their postmaster would have sent; crash recovery does the rest.
        """
        if kept.child.name != "postgres":
            return
        number = signal.SIGQUIT if kept.failures <= ORPHAN_QUIT_TRIES_MAX else signal.SIGKILL
        for pid in processes.adopted_children(self._known_pids()):
            status = processes.process_status(pid)
            if status is not None and status[0] == "postgres":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _shorten_logs(self, now: float) -> None:
        if now - self._logs_checked_at > LOG_CHECK_S:
            self._logs_checked_at = now
            for path in self._logs:
                shorten_log(path)


def _outcome(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
