"""Import of a usage file through the ingest path, in batches; an interrupted one goes on where it stopped.

A batch is committed first, then its errors are written, then the progress. A crash in between repeats what
was committed last, whose events are duplicates by then: totals stay exact whatever happens.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from secretaria.core.access import PROCESS
from secretaria.core.admission import Rejection
from secretaria.core.errors import InvalidInput
from secretaria.core.event import BATCH_EVENTS_MAX, UsageEvent
from secretaria.inbound import cloudevents
from secretaria.inbound.usage_csv import (
    CsvLayout,
    FileFormat,
    Record,
    detect_format,
    ndjson_event,
    read_records,
)
from secretaria.services.import_progress import ErrorFile, Progress, ProgressFile, RowError
from secretaria.services.ingest import IngestService

HEAD_BYTES = 64 * 1024
BACKFILL_DAYS_MAX = 3_660
BATCHES_TOGETHER = 4  # ingest commits what waits in one transaction: fewer, bigger commits
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class UsageFile:
    """A file to import and how its records are to be read.

    company_id and source are for records that name none; a record that names another company is rejected.
    """

    path: Path
    file_format: FileFormat
    company_id: int | None
    source: str | None
    layout: CsvLayout | None
    start: Progress
    size: int
    key: str

    @property
    def errors_path(self) -> Path:
        """Where rejected records are listed: beside the file."""
        return self.path.with_name(self.path.name + ".errors.csv")


def open_usage_file(
    path: Path, *, company_id: int | None = None, source: str | None = None, file_format: FileFormat | None = None
) -> UsageFile:
    """Look at a file before anything is imported.

    Raises InvalidInput when it cannot be read, is empty, or its first line does not say what its columns are.
    """
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a file", code="unreadable_file")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            size = os.fstat(stream.fileno()).st_size
            file_format = file_format or detect_format(path.name, head)
            stream.seek(0)
            header = next(read_records(stream, file_format), None)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", code="unreadable_file") from error
    if header is None:
        raise InvalidInput(f"{path} is empty", code="empty_file")
    layout, start = None, Progress()
    if file_format is FileFormat.CSV:
        layout = CsvLayout.of(header)
        _check_layout(layout, company_id=company_id, source=source)
        start = Progress(offset=header.end, line=header.line + header.content.count(b"\n") + 1)
    elif source is not None:
        raise InvalidInput("--source is for CSV; an NDJSON event names its own source", code="unexpected_source")
    identity = repr((size, hashlib.sha256(head).hexdigest(), company_id, source, file_format.value))
    key = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return UsageFile(path, file_format, company_id, source, layout, start, size, key)


def _check_layout(layout: CsvLayout, *, company_id: int | None, source: str | None) -> None:
    if source is None and "source" not in layout.columns:
        raise InvalidInput("the column source is missing: add it, or name one with --source", code="missing_column")
    if company_id is None and "company_id" not in layout.columns:
        raise InvalidInput(
            "the column company_id is missing: add it, or name one with --company", code="missing_column"
        )


@dataclass(slots=True)
class Batch:
    """Up to BATCH_EVENTS_MAX records, read: (line, event) of the readable ones and the errors of the rest."""

    end: int
    line: int
    events: list[tuple[int, UsageEvent]] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)


def read_batches(file: UsageFile, stream: BinaryIO, start: Progress) -> Iterator[Batch]:
    """Yield the file's batches from where `start` says."""
    stream.seek(start.offset)
    records = read_records(stream, file.file_format, line=start.line)
    while taken := list(islice(records, BATCH_EVENTS_MAX)):
        last = taken[-1]
        yield _read_batch(file, taken, Batch(last.end, last.line + last.content.count(b"\n") + 1))


def _read_batch(file: UsageFile, records: list[Record], batch: Batch) -> Batch:
    readable: list[tuple[int, bytes]] = []
    for record in records:
        try:
            readable.append((record.line, _to_json(file, record)))
        except InvalidInput as error:
            batch.errors.append(RowError(record.line, None, error.code, error.message))
    for line, outcome in _parse(readable):
        if isinstance(outcome, Rejection):
            batch.errors.append(RowError(line, outcome.id, outcome.code, outcome.message))
            continue
        event = _with_company(file, outcome)
        if isinstance(event, Rejection):
            batch.errors.append(RowError(line, event.id, event.code, event.message))
        else:
            batch.events.append((line, event))
    return batch


def _to_json(file: UsageFile, record: Record) -> bytes:
    return ndjson_event(record) if file.layout is None else file.layout.event_json(record, source=file.source)


def _parse(readable: list[tuple[int, bytes]]) -> Iterable[tuple[int, UsageEvent | Rejection]]:
    """Parse all records as one batch, as a request's are; one by one only when a record spoils the whole."""
    try:
        parsed = cloudevents.parse(_JSON, b"[" + b",".join(payload for _, payload in readable) + b"]")
    except InvalidInput:
        parsed = None
    if parsed is not None and parsed.count == len(readable):
        found: dict[int, UsageEvent | Rejection] = dict(parsed.events)
        found.update({rejection.index: rejection for rejection in parsed.rejected})
        return [(line, found[index]) for index, (line, _) in enumerate(readable)]
    return [(line, _parse_alone(payload)) for line, payload in readable]


def _parse_alone(payload: bytes) -> UsageEvent | Rejection:
    try:
        parsed = cloudevents.parse(_JSON, b"[" + payload + b"]")
    except InvalidInput as error:
        return Rejection(0, None, error.code, error.message)
    if parsed.count != 1:
        return Rejection(0, None, "malformed_record", "a line must hold one event")
    return parsed.events[0][1] if parsed.events else parsed.rejected[0]


def _with_company(file: UsageFile, event: UsageEvent) -> UsageEvent | Rejection:
    own = file.company_id
    if event.subject is None:
        if own is None:
            return Rejection(0, event.id, "missing_company", "the record names no company, and --company is not given")
        return msgspec.structs.replace(event, subject=str(own))
    if own is not None and event.subject != str(own):
        return Rejection(0, event.id, "other_company", f"the record names a company other than {own}")
    return event


class FileImport:
    """One run over one file. ensure_month makes room for the events of a UTC month and tells whether it had to."""

    def __init__(
        self,
        ingest: IngestService,
        file: UsageFile,
        *,
        kept: ProgressFile,
        ensure_month: Callable[[date], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._ingest = ingest
        self._file = file
        self._kept = kept
        self._ensure_month = ensure_month
        self._clock = clock
        self._months: set[date] = set()
        self.progress = Progress()
        self.resumed = False

    async def run(self, *, restart: bool = False, on_progress: Callable[[Progress], None]) -> Progress:
        """Import what is left of the file and return the totals, those of earlier runs included.

        Raises Unavailable when the database goes away or another process imports the file; what was done is kept.
        """
        with self._kept.claimed(), self._file.path.open("rb") as stream:
            found = None if restart else self._kept.read()
            self.resumed = found is not None
            self.progress = progress = found or msgspec.structs.replace(self._file.start)
            errors = ErrorFile(self._file.errors_path, progress.errors_bytes)
            on_progress(progress)
            batches = read_batches(self._file, stream, progress)
            while group := list(islice(batches, BATCHES_TOGETHER)):
                await self._submit(group, errors)
                self._kept.write(progress)
                on_progress(progress)
            self._kept.remove()
            return progress

    async def _submit(self, group: Sequence[Batch], errors: ErrorFile) -> None:
        now = self._clock()
        await self._make_room(group, now)
        results = await asyncio.gather(*(self._ingest.submit(PROCESS, batch.events, now=now) for batch in group))
        progress = self.progress
        for batch, result in zip(group, results, strict=True):
            batch.errors += [RowError(item.index, item.id, item.code, item.message) for item in result.rejected]
            batch.errors.sort(key=lambda error: error.line)
            progress.accepted += result.accepted
            progress.duplicates += result.duplicates
            progress.rejected += len(batch.errors)
            progress.errors_bytes = errors.append(batch.errors)
            progress.offset, progress.line = batch.end, batch.line

    async def _make_room(self, group: Sequence[Batch], now: datetime) -> None:
        events = (event for batch in group for _, event in batch.events)
        for month in sorted(months_of(events, now) - self._months):
            if await asyncio.to_thread(self._ensure_month, month):
                self._ingest.forget_months()
            self._months.add(month)


def months_of(events: Iterable[UsageEvent], now: datetime) -> set[date]:
    """Return the UTC months for which the events need room; times that ingest refuses anyway make none."""
    oldest = now - timedelta(days=BACKFILL_DAYS_MAX)
    times = {event.time for event in events if event.time is not None and oldest <= event.time <= now}
    return {time.astimezone(UTC).date().replace(day=1) for time in times}
