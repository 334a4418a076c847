"""Opens what a command works with: a running copy's servers, those of the settings, or our own while it lasts."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from secretaria.bootstrap import Application
    from secretaria.embedded.servers import Endpoints
    from secretaria.settings import Settings

T = TypeVar("T")


def run(step: "Callable[[Application], Awaitable[T]]") -> T:
    """Run an async step with everything open, and return what it returns."""
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    with opened_database(settings) as found:
        return run_on(settings, found, step)


def run_on(settings: "Settings", found: "Endpoints", step: "Callable[[Application], Awaitable[T]]") -> T:
    """Run an async step on servers that are up and migrated."""
    from secretaria.bootstrap import application

    async def inside() -> T:
        async with application(settings, found) as built:
            return await step(built)

    return asyncio.run(inside())


@contextmanager
def opened_database(settings: "Settings", *, migrated: bool = True) -> "Iterator[Endpoints]":
    """As bootstrap.opened_database, imported when it is needed: `--help` must not wait for it."""
    from secretaria.bootstrap import opened_database as opened

    with opened(settings, migrated=migrated) as found:
        yield found


def migrate_database(found: "Endpoints", instant: datetime) -> list[str]:
    """As bootstrap.migrate_database, imported when it is needed."""
    from secretaria.bootstrap import migrate_database as migrate

    return migrate(found, instant)


def ensure_month(found: "Endpoints", month: date) -> bool:
    """Make room for the events of a UTC month; tells whether it had to. Raises ConfigurationError, Unavailable."""
    import psycopg

    from secretaria.core.errors import ConfigurationError, Unavailable
    from secretaria.store import partitions

    try:
        return bool(partitions.ensure_months(found.owner_url, month, month))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"only the owner can make room for events of {month:%Y-%m}: set DATABASE_OWNER_URL"
        ) from error
    except psycopg.OperationalError as error:
        raise Unavailable(f"cannot make room for events of {month:%Y-%m}: {str(error).splitlines()[0]}") from error


def utc_now() -> datetime:
    """Return the moment: a command's clock."""
    return datetime.now(UTC)


def quiet_logs() -> None:
    """Send warnings to stderr, in one line each, and nothing less: stdout belongs to the values."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def command_line(words: str) -> str:
    """Return a command of ours as it can be pasted into this shell, with the setting that leads to this copy."""
    folder = os.environ.get("SECRETARIA_DATA_DIR", "")
    setting = f"SECRETARIA_DATA_DIR={shlex.quote(folder)} " if folder else ""
    return f"{setting}{_program()} {words}"


def _program() -> str:
    installed, called = shutil.which("secretaria"), Path(sys.argv[0])
    if installed is not None or not called.exists() or called.name != "secretaria":
        return "secretaria"
    short = os.path.relpath(called)
    return str(called.absolute()) if short.startswith("..") else short
