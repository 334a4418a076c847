"""Starting and ending child processes so that none outlives the process that answers for it."""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from secretaria.embedded.account import Account

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_WAIT_S = 10  # SIGKILL can only be delayed by the kernel (a disk that hangs)

# Loaded here, not in the child: between fork and exec nothing may import or allocate much.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _death_signal(number: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the signal was set: nobody would send it any more

    return prepare


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: IO[bytes] | None = None,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that gets death_signal when this process dies, however it dies (on Linux).

    It runs in a session of its own: a Ctrl-C at the terminal reaches us alone, and we stop children in order.
    """
    switch = account if account is not None and not account.is_us else None

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log is not None else None,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=tuple(inherit),
            start_new_session=True,
            user=switch.uid if switch else None,
            group=switch.gid if switch else None,
            extra_groups=[] if switch else None,
            # It runs after the change of user, which would clear the signal, and calls only prctl and getppid.
            preexec_fn=_death_signal(death_signal),  # noqa: PLW1509
        )

    # The kernel sends the signal when the *thread* that forked ends, so it must live as long as the process.
    if threading.current_thread() is threading.main_thread():
        return start()
    return _lasting_thread().submit(start).result()


@functools.cache
def _lasting_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="secretaria-spawn")


def adopt_orphans() -> None:
    """Make grandchildren whose parent dies ours: backends of a killed postmaster must be found and reaped."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_adopted(known: set[int]) -> None:
    """Reap ended children that no Popen object waits for."""
    while hasattr(os, "waitid"):
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in known:
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def adopted_children(known: set[int]) -> list[int]:
    """Live children of this process that it did not start itself (Linux; elsewhere none)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        status = process_status(int(entry.name))
        if status is not None and status[1] == os.getpid() and int(entry.name) not in known:
            found.append(int(entry.name))
    return found


def process_status(pid: int) -> tuple[str, int] | None:
    """(command name, parent pid) of a live process, or None; a zombie is not live."""
    try:
        if sys.platform == "linux":
            # "pid (comm) state ppid ...": comm may itself hold spaces and brackets.
            text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
            name, rest = text.split("(", 1)[1].rsplit(")", 1)
            state, parent = rest.split()[:2]
        else:
            command = ["ps", "-o", "stat=,ppid=,comm=", "-p", str(pid)]
            output = subprocess.run(command, capture_output=True, check=False, text=True).stdout
            state, parent, path = output.split(None, 2)
            name = Path(path.strip()).name
    except (OSError, ValueError):
        return None
    return None if state.startswith(("Z", "X")) else (name, int(parent))


def stop(process: subprocess.Popen[bytes], escalation: Sequence[tuple[signal.Signals, float]]) -> signal.Signals | None:
    """Send each signal in turn and wait its seconds, then SIGKILL. Returns the last one that was needed."""
    last: signal.Signals | None = None
    for number, wait_s in (*escalation, (signal.SIGKILL, KILL_WAIT_S)):
        if process.poll() is not None:
            return last
        process.send_signal(number)
        last = number
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    return last
