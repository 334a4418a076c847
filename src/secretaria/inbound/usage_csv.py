"""Usage files -> CloudEvents as JSON, one per record, so that a file and a request meet the same checks.

CSV (a header of field names; comma, semicolon or tab) and NDJSON (one CloudEvent a line). Every record carries the
byte offset behind it, which is where an interrupted import goes on.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

import msgspec

from secretaria.core.errors import InvalidInput
from secretaria.core.event import CORRECTED, RECORDED

RECORD_BYTES_MAX = 64 * 1024
BOM = b"\xef\xbb\xbf"
ENVELOPE_COLUMNS = ("id", "source", "type", "time", "company_id")
DATA_COLUMNS = (
    "direction", "messages", "tokens_input", "tokens_output", "response_ms", "wamid", "category", "account_id",
    "template_id", "model", "cost_center", "country", "reservation_id",
)  # fmt: skip
CORRECTION_COLUMNS = ("corrects_source", "corrects_id")
COLUMNS = (*ENVELOPE_COLUMNS, *DATA_COLUMNS, *CORRECTION_COLUMNS)
_NUMBERS = frozenset({"messages", "tokens_input", "tokens_output", "response_ms", "account_id", "template_id"})
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DELIMITERS = (",", ";", "\t")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_UTF8 = "the line is not UTF-8: save the file as 'CSV UTF-8'"


class FileFormat(StrEnum):
    """How a usage file is written."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Record:
    """One record: the number of its first line (from 1), the byte offset behind it, its bytes.

    complete is False where a line is longer than RECORD_BYTES_MAX or a quote does not close within that.
    """

    line: int
    end: int
    content: bytes
    complete: bool = True


def detect_format(name: str, head: bytes) -> FileFormat:
    """Tell the format by the end of the file's name, else by its first character."""
    suffix = name.rpartition(".")[2].lower()
    if suffix in ("ndjson", "jsonl", "json"):
        return FileFormat.NDJSON
    if suffix in ("csv", "tsv"):
        return FileFormat.CSV
    return FileFormat.NDJSON if head.removeprefix(BOM).lstrip().startswith(b"{") else FileFormat.CSV


def read_records(stream: BinaryIO, file_format: FileFormat, *, line: int = 1) -> Iterator[Record]:
    """Yield the records from where the stream stands, which is the start of this line. Blank lines are passed over.

    In CSV a quoted value may hold line ends (RFC 4180). A quote that never closes must not swallow the file: its
    first line alone is given up.
    """
    end = stream.tell()
    while content := stream.readline(RECORD_BYTES_MAX):
        first, lines, complete = content, 1, True
        if len(content) == RECORD_BYTES_MAX and not content.endswith(b"\n"):
            end += _skip_line(stream)
            complete = False
        elif file_format is FileFormat.CSV:
            while complete and content.count(b'"') % 2:
                more = stream.readline(RECORD_BYTES_MAX)
                complete = bool(more) and len(content) + len(more) <= RECORD_BYTES_MAX
                content, lines = content + more, lines + 1
            if not complete:
                content, lines = first, 1
                stream.seek(end + len(first))
        end += len(content)
        if content.strip():
            yield Record(line, end, content.rstrip(b"\r\n"), complete)
        line += lines


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while more := stream.readline(RECORD_BYTES_MAX):
        skipped += len(more)
        if more.endswith(b"\n"):
            break
    return skipped


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """The delimiter and the columns of one CSV file, in the file's order."""

    delimiter: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, header: Record) -> "CsvLayout":
        """Read a header; raises InvalidInput (not_utf8, malformed_header, unknown_column, missing_column)."""
        content = header.content
        if content.startswith(_UTF16_MARKS):
            raise InvalidInput("the file is UTF-16; save it as 'CSV UTF-8'", code="not_utf8")
        text = _text(content.removeprefix(BOM))
        delimiter = max(_DELIMITERS, key=text.count)
        columns = tuple(name.strip().lower() for name in _split(text, delimiter))
        _check_columns(columns)
        return cls(delimiter, columns)

    def event_json(self, record: Record, *, source: str | None = None) -> bytes:
        """Return a record as CloudEvent JSON, its company as subject; source is for records that name none.

        Numbers that are not plain integers stay text: the event's own checks name them. Raises InvalidInput
        (malformed_record, not_utf8).
        """
        values = _split(_text(_whole(record)), self.delimiter)
        if len(values) != len(self.columns):
            raise InvalidInput(f"{len(values)} values under {len(self.columns)} columns", code="malformed_record")
        row = {name: value.strip() for name, value in zip(self.columns, values, strict=True) if value.strip()}
        if source is not None:
            row.setdefault("source", source)
        return msgspec.json.encode(_event(row))


def ndjson_event(record: Record) -> bytes:
    """Return a record of an NDJSON file as it stands; raises InvalidInput (malformed_record)."""
    content = _whole(record)
    return content.removeprefix(BOM) if record.line == 1 else content


def _event(row: dict[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {name: _value(name, row[name]) for name in DATA_COLUMNS if name in row}
    corrects = {name.removeprefix("corrects_"): row[name] for name in CORRECTION_COLUMNS if name in row}
    if corrects:
        data["corrects"] = corrects
    event: dict[str, Any] = {"specversion": "1.0", "type": row.get("type", CORRECTED if corrects else RECORDED)}
    event |= {name: row[name] for name in ("id", "source", "time") if name in row}
    if "company_id" in row:
        event["subject"] = row["company_id"]
    return event | {"data": data}


def _value(name: str, text: str) -> int | str:
    return int(text) if name in _NUMBERS and _INTEGER.fullmatch(text) else text


def _whole(record: Record) -> bytes:
    if not record.complete:
        raise InvalidInput(
            f"a quote does not close, or the line is longer than {RECORD_BYTES_MAX} bytes", code="malformed_record"
        )
    return record.content


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(_NOT_UTF8, code="not_utf8") from None


def _split(text: str, delimiter: str) -> list[str]:
    try:
        # One item, not splitlines(): U+2028 and the like are part of a value.
        rows = list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}", code="malformed_record") from None
    if len(rows) != 1:
        raise InvalidInput("a line break inside the record", code="malformed_record")
    return rows[0]


def _check_columns(columns: tuple[str, ...]) -> None:
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise InvalidInput(
            f"unknown column {', '.join(repr(name[:40]) for name in unknown[:5])}; "
            f"the first line names the columns, out of: {', '.join(COLUMNS)}",
            code="unknown_column",
        )
    if len(set(columns)) != len(columns):
        raise InvalidInput("a column is named twice in the first line", code="malformed_header")
    if "id" not in columns:
        raise InvalidInput("the column id is missing: without it nothing can count once", code="missing_column")
