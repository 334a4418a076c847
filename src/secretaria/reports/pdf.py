"""The PDF of a report, laid out by Typst: PDF/A-2a and PDF/UA-1, the same bytes for the same figures.

Figures enter as JSON and are never markup. Rendering is pure CPU without the interpreter's lock: call it in a thread.
"""

from pathlib import Path
from typing import Final

import msgspec
import typst

from secretaria.reports.document import document
from secretaria.reports.font import FAMILY, FOLDER
from secretaria.reports.report import Imprint, UsageReport

_TEMPLATES: Final = Path(__file__).parent / "templates"
# Typst fetches packages that a template names; ours names none, and from here none could be kept.
_NO_PACKAGES: Final = _TEMPLATES / "no-packages"


def render_pdf(report: UsageReport, imprint: Imprint, locale: str) -> bytes:
    """Return the document in a language of labels.LOCALES."""
    data = msgspec.json.encode(document(report, imprint, locale) | {"font": FAMILY}).decode()
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[FOLDER])
    compiler = typst.Compiler(
        _TEMPLATES / "report.typ",
        root=_TEMPLATES,
        font_paths=fonts,
        ignore_system_fonts=True,
        sys_inputs={"data": data},
        package_path=_NO_PACKAGES,
        package_cache_path=_NO_PACKAGES,
    )
    content = compiler.compile(format="pdf", pdf_standards=["a-2a", "ua-1"])
    if not isinstance(content, bytes):
        raise TypeError("a PDF is one file")
    return content
