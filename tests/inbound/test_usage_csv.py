"""Usage files: what people save from a spreadsheet, and what breaks when they edit it by hand."""

import io
from pathlib import Path

import msgspec
import pytest

from secretaria.core.errors import InvalidInput
from secretaria.inbound.usage_csv import (
    RECORD_BYTES_MAX,
    CsvLayout,
    FileFormat,
    Record,
    detect_format,
    ndjson_event,
    read_records,
)

GOLDEN = Path(__file__).parent.parent / "golden"


def records_of(content: bytes, file_format: FileFormat = FileFormat.CSV) -> list[Record]:
    return list(read_records(io.BytesIO(content), file_format))


def events_of(content: bytes) -> list[dict]:
    header, *rest = records_of(content)
    layout = CsvLayout.of(header)
    return [msgspec.json.decode(layout.event_json(record)) for record in rest]


def code_of(content: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        events_of(content)
    return caught.value.code


def test_it_reads_commas_quotes_and_numbers_into_cloud_events():
    first, second = events_of((GOLDEN / "usage_comma.csv").read_bytes())
    assert first == {
        "specversion": "1.0",
        "type": "usage.recorded",
        "id": "msg-0001",
        "source": "bot-1",
        "time": "2026-11-20T12:00:00-03:00",
        "subject": "1",
        "data": {
            "direction": "outbound",
            "messages": 1,
            "tokens_input": 120,
            "tokens_output": 80,
            "response_ms": 850,
            "model": "gpt-4o",
            "cost_center": "vendas",
        },
    }
    assert second["data"] == {"direction": "inbound", "messages": 1, "cost_center": 'Atendimento, "1º andar"'}


def test_it_reads_what_a_spreadsheet_saves_in_brazil():
    content = (GOLDEN / "usage_semicolon_bom.csv").read_bytes()
    header, *rest = records_of(content)
    layout = CsvLayout.of(header)
    assert layout.delimiter == ";"
    assert [record.line for record in rest] == [2, 3, 5]
    assert rest[-1].end == len(content)
    assert msgspec.json.decode(layout.event_json(rest[2]))["data"]["cost_center"] == "linha 1\r\nlinha 2"


def test_a_column_names_the_reservation_that_is_used_up():
    (event,) = events_of(b"id,direction,messages,reservation_id\n1,outbound,1,0b1f6e0c-8a0b-4c4b-9b7a-1f2e3d4c5b6a\n")
    assert event["data"]["reservation_id"] == "0b1f6e0c-8a0b-4c4b-9b7a-1f2e3d4c5b6a"


def test_a_correction_names_what_it_corrects_in_two_columns():
    (event,) = events_of(b"id,source,corrects_source,corrects_id,messages\nc-1,bot,bot,m-1,0\n")
    assert event["type"] == "usage.corrected"
    assert event["data"] == {"messages": 0, "corrects": {"source": "bot", "id": "m-1"}}


@pytest.mark.parametrize("number", ["1.5", "1,200", "1e3", "abc", "１２", "0x10", "1_000", "true"])
def test_it_leaves_what_is_not_a_plain_integer_as_text_for_the_events_own_checks(number):
    (event,) = events_of(f"id;direction;messages\nm;inbound;{number}\n".encode())
    assert event["data"]["messages"] == number


def test_it_keeps_an_id_of_digits_as_text():
    (event,) = events_of(b"id,source,messages\n00123,7,1\n")
    assert (event["id"], event["source"]) == ("00123", "7")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"id,price\nm,1\n", "unknown_column"),
        (b"id,id\nm,m\n", "malformed_header"),
        (b"source,messages\nbot,1\n", "missing_column"),
        (b"id,messages\nm\n", "malformed_record"),
        (b"id,messages\nm,1,2\n", "malformed_record"),
        (b'id,messages\n"m"x,1\n', "malformed_record"),
        (b'id,messages\n"m,1\n', "malformed_record"),
        (b"id,messages\nm\rn,1\n", "malformed_record"),
        (b"id,cost_center\nm,Jo\xe3o\n", "not_utf8"),
        (b"id,\xe3\nm,x\n", "not_utf8"),
        ("id,messages\nm,1\n".encode("utf-16"), "not_utf8"),
    ],
)
def test_it_names_what_is_wrong_when_a_file_is_not_as_documented(content, code):
    assert code_of(content) == code


def test_an_open_quote_costs_its_own_line_and_no_other():
    content = b'id,messages\n"broken,1\ngood-1,1\ngood-2,1\n'
    _, broken, first, second = records_of(content)
    assert (broken.complete, broken.line) == (False, 2)
    assert (first.content, first.line, second.content) == (b"good-1,1", 3, b"good-2,1")
    assert second.end == len(content)


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_an_endless_line_costs_bounded_memory_and_no_other_line(file_format):
    content = b"x" * (3 * RECORD_BYTES_MAX) + b"\nnext\n"
    first, second = records_of(content, file_format)
    assert (first.complete, len(first.content)) == (False, RECORD_BYTES_MAX)
    assert (second.line, second.content, second.end) == (2, b"next", len(content))


def test_reading_goes_on_where_an_offset_says():
    content = (GOLDEN / "usage_semicolon_bom.csv").read_bytes()
    all_records = records_of(content)
    stream = io.BytesIO(content)
    stream.seek(all_records[1].end)
    assert list(read_records(stream, FileFormat.CSV, line=3)) == all_records[2:]


def test_a_line_separator_inside_a_value_is_part_of_the_value():
    (event,) = events_of("id,cost_center\nm,a\u2028b\x0bc\n".encode())
    assert event["data"]["cost_center"] == "a\u2028b\x0bc"


def test_an_ndjson_line_is_handed_on_as_it_stands():
    first, second = records_of((GOLDEN / "usage.ndjson").read_bytes(), FileFormat.NDJSON)
    assert (first.line, second.line) == (1, 3)
    assert msgspec.json.decode(ndjson_event(second))["id"] == "msg-0002"
    with_bom = records_of(b'\xef\xbb\xbf{"id":"m"}\n', FileFormat.NDJSON)[0]
    assert ndjson_event(with_bom) == b'{"id":"m"}'


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.csv", b"{", FileFormat.CSV),
        ("A.CSV", b"", FileFormat.CSV),
        ("a.tsv", b"", FileFormat.CSV),
        ("a.ndjson", b"id", FileFormat.NDJSON),
        ("a.jsonl", b"", FileFormat.NDJSON),
        ("export", b"\xef\xbb\xbf {", FileFormat.NDJSON),
        ("export", b"id;time", FileFormat.CSV),
        ("", b"", FileFormat.CSV),
    ],
)
def test_the_format_is_told_by_the_name_else_by_the_first_character(name, head, expected):
    assert detect_format(name, head) is expected
