"""What the embedded PostgreSQL is told: durable always, sized to the machine."""

import os
import shutil
from pathlib import Path

from secretaria.embedded.binaries import PostgresBinaries

MEGABYTE = 1024 * 1024
SHARED_BUFFERS_MIN_MB = 32
SHARED_BUFFERS_MAX_MB = 2048
WAL_MIN_MB = 256
WAL_MAX_MB = 8192
SHARED_MEMORY_MIN_MB = 256
CONNECTIONS_MAX = 100
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_FIXED = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": str(CONNECTIONS_MAX),
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "checkpoint_timeout": "30min",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",  # our queries are short: compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "lc_messages": "C",
}


def memory_mb() -> int:
    """RAM of the machine, or of the container where that is less."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            sizes.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return min(sizes) // MEGABYTE


def default_shared_buffers_mb() -> int:
    """A quarter of memory up to 2 GB: at 10 million identities 1.5 times the rate of PostgreSQL's default."""
    return max(SHARED_BUFFERS_MIN_MB, min(SHARED_BUFFERS_MAX_MB, memory_mb() // 4))


def max_wal_size_mb(data: Path) -> int:
    """8 GB or a tenth of the free disk: rare checkpoints write fewer full pages, but the disk must hold it."""
    return max(WAL_MIN_MB, min(WAL_MAX_MB, shutil.disk_usage(data).free // MEGABYTE // 10))


def _dynamic_shared_memory() -> str:
    """Containers often have a /dev/shm of 64 MB, too small for parallel queries: then files in the data."""
    try:
        room_mb = shutil.disk_usage("/dev/shm").total // MEGABYTE  # noqa: S108 - only measured
    except OSError:
        room_mb = SHARED_MEMORY_MIN_MB
    return "posix" if room_mb >= SHARED_MEMORY_MIN_MB else "mmap"


def configuration(
    binaries: PostgresBinaries, data: Path, sockets: Path, *, port: int, shared_buffers_mb: int | None = None
) -> str:
    """The text of secretaria.conf, for this machine as it is now."""
    values = {
        **_FIXED,
        "port": str(port),
        "unix_socket_directories": str(sockets),
        "shared_buffers": f"{shared_buffers_mb or default_shared_buffers_mb()}MB",
        "max_wal_size": f"{max_wal_size_mb(data)}MB",
        "wal_compression": "lz4" if binaries.has_lz4 else "pglz",
        "dynamic_shared_memory_type": _dynamic_shared_memory(),
    }
    quoted = {name: value.replace("'", "''") for name, value in values.items()}
    return "".join(f"{name} = '{value}'\n" for name, value in quoted.items())
