"""`secretaria backup` and `restore`: everything PostgreSQL holds in one file, and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secretaria.cli.context import migrate_database, opened_database, quiet_logs, utc_now
from secretaria.cli.output import print_note, print_value
from secretaria.core.errors import NotAllowed

if TYPE_CHECKING:
    from secretaria.embedded.servers import Endpoints
    from secretaria.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file to make; it must not exist yet.")],
) -> None:
    """Write everything the database holds, as of one moment, into FILE, while all goes on.

    Example: secretaria backup secretaria-2026-11-20.dump

    Stored tokens and signing secrets stay sealed: keep SECRETARIA_SECRET_KEY (or secret.key) elsewhere. With a server
    of your own, DATABASE_BACKUP_URL names a role that sees all rows.
    """
    from secretaria.embedded.backup import back_up
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    with opened_database(settings, migrated=False) as found, _bar() as on_table:
        back_up(_reading_url(settings, found), file, on_table)
    print_value(file)
    print_note(f"{file.stat().st_size:,} bytes. The key that opens its sealed secrets is not in it: keep that too.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `secretaria backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose what the database holds now, once the backup is back as a whole.")
    ] = False,
) -> None:
    """Bring FILE back into an empty database, with nothing running on it. Older backups are migrated.

    Example: SECRETARIA_DATA_DIR=./var-restored secretaria restore secretaria-2026-11-20.dump

    When it fails, or is interrupted, the database is as it was before.
    """
    from secretaria.embedded.backup import restore as bring_back
    from secretaria.embedded.runtime import find_running
    from secretaria.settings import Settings

    quiet_logs()
    settings = Settings.load()
    if not settings.database_url and find_running(settings) is not None:
        raise NotAllowed(f"a copy runs on {settings.secretaria_data_dir}: stop it, or restore into another folder")
    with opened_database(settings, migrated=False) as found:
        applied: list[str] = []

        def finish() -> None:
            applied.extend(migrate_database(found, utc_now()))

        with _bar() as on_table:
            bring_back(found.owner_url, file, replace=replace, on_table=on_table, finish=finish)
        _forget_feeds(settings, found)
    for name in applied:
        print_note(f"Applied {name}.")
    print_note("Restored. `secretaria doctor --recompute` and `secretaria audit verify` prove it.")


def _reading_url(settings: "Settings", found: "Endpoints") -> str:
    """The administrator of the embedded server sees all rows; elsewhere that is a role of its own."""
    return settings.database_backup_url or found.admin_url or found.owner_url


def _forget_feeds(settings: "Settings", found: "Endpoints") -> None:
    """What Valkey derived from the newer state would stay: it is made anew from PostgreSQL."""
    from redis import Redis

    if settings.redis_url:
        print_note("Now flush the database of REDIS_URL: what it derived from a newer state does not go by itself.")
        return
    with Redis.from_url(found.redis_url) as client:
        client.flushdb()


@contextmanager
def _bar() -> "Iterator[Callable[[int, int], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("tables"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
