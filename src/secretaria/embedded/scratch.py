"""Throw-away servers for tests: in memory where there is room, removed afterwards, also those of a killed run."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from secretaria.embedded.folder import DataFolder
from secretaria.embedded.servers import EmbeddedServers, Endpoints

SHARED_BUFFERS_MB = 32
MEMORY_FREE_MIN_MB = 4096
STALE_AFTER_S = 3600.0  # younger ones may belong to a run that is just between two starts
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made in it has a random name
_PREFIX = "secretaria-test-"


def make_scratch_folder(*, in_memory: bool = True) -> Path:
    """A new folder that the servers' own user can enter, unlike pytest's; whoever asks removes it."""
    base = _MEMORY if in_memory and _free_mb(_MEMORY) >= MEMORY_FREE_MIN_MB else Path(tempfile.gettempdir())
    _remove_stale(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    folder.chmod(0o711)
    return folder


def scratch_servers(directory: Path, *, postgres: bool = True, valkey: bool = True) -> EmbeddedServers:
    """Servers with small buffers, and an initdb that does not wait for the disk."""
    return EmbeddedServers(
        directory, postgres=postgres, valkey=valkey, shared_buffers_mb=SHARED_BUFFERS_MB, durable_initdb=False
    )


@contextlib.contextmanager
def servers_for_tests() -> Iterator[Endpoints]:
    """Real servers in a folder of their own: one pair serves a whole test run."""
    directory = make_scratch_folder()
    try:
        with scratch_servers(directory / "var") as servers:
            yield servers.start()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _free_mb(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free // (1024 * 1024)
    except OSError:
        return 0


def _remove_stale(base: Path) -> None:
    """Remove what a run that was killed left, unless its servers still live."""
    for path in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            folder = DataFolder(path / "var")
            if time.time() - path.stat().st_mtime > STALE_AFTER_S and folder.try_lock():
                shutil.rmtree(path, ignore_errors=True)
                folder.unlock()
