"""The one font of documents, and which characters it can show: PDF/A refuses a document with a missing one."""

import struct
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from secretaria.reports.format import NBSP

FOLDER: Final = Path(__file__).parent / "fonts"
FAMILY: Final = "Inter"
_FILES: Final = ("Inter-Regular.ttf", "Inter-SemiBold.ttf")
_SEGMENTS: Final = 4
"""The cmap format that covers the Basic Multilingual Plane (OpenType specification, "cmap")."""


def showable(text: str) -> str:
    """Return the text with what the font lacks, and what is no character to show, as a question mark."""
    known = _known()
    text = unicodedata.normalize("NFC", text)
    return "".join(char if ord(char) in known and (char.isprintable() or char == NBSP) else "?" for char in text)


@cache
def _known() -> frozenset[int]:
    found = [_code_points((FOLDER / name).read_bytes()) for name in _FILES]
    return frozenset.intersection(*found)


def _code_points(font: bytes) -> frozenset[int]:
    """Return what the font's character map leads to a glyph."""
    tables = struct.unpack_from(">H", font, 4)[0]
    records = (struct.unpack_from(">4sIII", font, 12 + 16 * number) for number in range(tables))
    cmap = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    subtables = struct.unpack_from(">H", font, cmap + 2)[0]
    starts = (cmap + struct.unpack_from(">HHI", font, cmap + 4 + 8 * number)[2] for number in range(subtables))
    start = next(start for start in starts if struct.unpack_from(">H", font, start)[0] == _SEGMENTS)
    count = struct.unpack_from(">H", font, start + 6)[0] // 2
    arrays = [start + 14, start + 16 + 2 * count, start + 16 + 4 * count, start + 16 + 6 * count]
    found = set()
    for number in range(count):
        last, first, delta, offset = (struct.unpack_from(">H", font, array + 2 * number)[0] for array in arrays)
        for point in range(first, min(last, 0xFFFE) + 1):
            where = arrays[3] + 2 * number + offset + 2 * (point - first)
            glyph = point if offset == 0 else struct.unpack_from(">H", font, where)[0]
            if glyph and (glyph + delta) & 0xFFFF:
                found.add(point)
    return frozenset(found)
