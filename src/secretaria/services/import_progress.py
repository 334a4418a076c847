"""What an import leaves on the disk: how far it has come, and which records were rejected and why."""

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from secretaria.core.errors import Unavailable

ERROR_COLUMNS = ("line", "id", "code", "message")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Progress(msgspec.Struct):
    """How far a file has been imported: everything before `offset`, whose next line is `line`."""

    offset: int = 0
    line: int = 1
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    errors_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one record of the file was not counted."""

    line: int
    id: str | None
    code: str
    message: str


class ProgressFile:
    """One file's progress in the data folder, held by one import at a time."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / f"{key}.json"
        self._lock_path = folder / f"{key}.lock"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the file's import; raises Unavailable when another process does."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable("this file is being imported already, by another process") from None
            yield
            # A third process may lock a new file of this name; two imports of one file only repeat each other.
            self._lock_path.unlink(missing_ok=True)

    def read(self) -> Progress | None:
        """Return what an interrupted import left, or None. What cannot be read is as good as nothing."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write(self, progress: Progress) -> None:
        """Replace what is kept, whole or not at all."""
        draft = self._path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(progress))
        draft.replace(self._path)

    def remove(self) -> None:
        """Forget: the import has ended."""
        self._path.unlink(missing_ok=True)


class ErrorFile:
    """The rejected records, as CSV. Made at the first of them; cut back to what the kept progress knows of."""

    def __init__(self, path: Path, kept_bytes: int) -> None:
        self._path = path
        if not kept_bytes:
            path.unlink(missing_ok=True)
        elif path.exists() and path.stat().st_size > kept_bytes:
            os.truncate(path, kept_bytes)

    def append(self, errors: Sequence[RowError]) -> int:
        """Write errors and return the file's size."""
        if not errors:
            return self._path.stat().st_size if self._path.exists() else 0
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not self._path.exists():
            writer.writerow(ERROR_COLUMNS)
        writer.writerows(
            (error.line, _not_a_formula(error.id or ""), error.code, _not_a_formula(error.message)) for error in errors
        )
        with self._path.open("ab") as stream:
            stream.write(text.getvalue().encode())
            return stream.tell()


def _not_a_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
