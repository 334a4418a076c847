"""Redraws the pictures of README and docs from the demo's figures, and on request every page in every look.

python -m tests.browser.screenshots             # docs/images/*.png
python -m tests.browser.screenshots --all DIR   # pages x widths x themes x languages, to look at
"""

import argparse
import itertools
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from secretaria.embedded.scratch import servers_for_tests
from secretaria.settings import Settings
from secretaria.store import migrations, partitions
from tests.browser.furnished import PRICES, Furnished, furnished

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
NOW = datetime(2026, 11, 20, 17, 32, tzinfo=UTC)  # a Friday, 14:32 in Brasília
HISTORY_DAYS = 51
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
WIDTHS = (1280, 768, 360, 320)
CHART_DRAWN_MS = 500
PDF_SCALE = 1.25
# name -> page, width, theme, language, and how much of its height is shown at most.
PICTURES = {
    "panel-en": ("analytics", 1280, "light", "en", None),
    "panel-pt-BR": ("analytics", 1280, "light", "pt-BR", None),
    "companies": ("companies-found", 1280, "light", "en", None),
    "alerts": ("alerts", 1280, "light", "en", 900),
    "explain": ("explain", 1280, "light", "en", 1_100),
    "phone-dark": ("analytics", 360, "dark", "pt-BR", 1_400),
}


@contextmanager
def demo_panel() -> Iterator[Furnished]:
    """Serve the demo at a fixed moment, with a company that never used anything beside it."""
    os.environ |= PRICES
    with servers_for_tests() as endpoints, tempfile.TemporaryDirectory() as folder:
        migrations.migrate(endpoints.owner_url, serving_user="secretaria")
        partitions.ensure_around(endpoints.owner_url, NOW.date())
        os.environ["SECRETARIA_DATA_DIR"] = folder
        with furnished(Settings.load(), endpoints, NOW, days=HISTORY_DAYS, clock=lambda: NOW) as found:
            yield found


def logged_in(browser: Browser, panel: Furnished, *, width: int, theme: str, locale: str) -> Page:
    """Return a page of a visitor with these preferences."""
    context = browser.new_context(viewport={"width": width, "height": 800}, locale="pt-BR")
    preferences = {"panel_theme": theme, "panel_locale": locale}
    context.add_cookies([{"name": name, "value": value, "url": panel.url} for name, value in preferences.items()])
    page = context.new_page()
    page.goto(f"{panel.url}/entrar")
    page.locator("#email").fill(panel.access.email)
    page.locator("#senha").fill(panel.access.password)
    page.locator("form[action='/entrar'] button.primary").click()
    page.wait_for_url("**/empresas")
    return page


def take(page: Page, address: str, target: Path, *, height_max: int | None = None) -> None:
    """Open an address and take its picture once its figures are live and its chart is drawn."""
    page.goto(address)
    if page.locator("#ao-vivo").count():
        page.wait_for_selector("[data-state=live]")
    if page.locator("#grafico-caixa").count():
        page.wait_for_selector("#grafico-caixa[data-drawn]")
    page.wait_for_timeout(CHART_DRAWN_MS)
    width, height = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
    clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": min(height, height_max or height)}
    page.screenshot(path=target, full_page=True, clip=clip)
    print(target, target.stat().st_size)


def take_all(browser: Browser, panel: Furnished, folder: Path) -> None:
    """Take every page in every look."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, theme, locale in itertools.product(WIDTHS, ("light", "dark"), ("pt-BR", "en")):
        look = f"{width}-{theme}-{locale}"
        page = logged_in(browser, panel, width=width, theme=theme, locale=locale)
        for name, path in panel.pages.items():
            take(page, panel.url + path, folder / f"{name}-{look}.png")
        page.goto(panel.url + panel.pages["company"])
        page.locator("details.data > summary").click()
        page.locator("#pausar").click()
        page.locator("details.menu > summary").click()
        page.screenshot(path=folder / f"open-{look}.png", full_page=True)
        page.evaluate("localStorage.clear()")
        page.context.clear_cookies(name="panel_token")
        take(page, f"{panel.url}/entrar", folder / f"login-{look}.png")
        page.context.close()


def take_for_docs(browser: Browser, panel: Furnished) -> None:
    """Take the pictures of the README and the docs."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, (kind, width, theme, locale, height_max) in PICTURES.items():
        page = logged_in(browser, panel, width=width, theme=theme, locale=locale)
        take(page, panel.url + panel.pages[kind], IMAGES / f"{name}.png", height_max=height_max)
        page.context.close()
    page = logged_in(browser, panel, width=1280, theme="light", locale="en")
    report = page.request.get(f"{panel.url}/empresas/{panel.access.company_id}/relatorio.pdf")
    assert report.ok, report.status
    draw_pdf(report.body(), IMAGES / "report.png")
    page.context.close()


def draw_pdf(content: bytes, target: Path) -> None:
    """Write a PDF's first page as a PNG."""
    document = pypdfium2.PdfDocument(content)
    bitmap = document[0].render(scale=PDF_SCALE, rev_byteorder=True)
    rows = bytes(bitmap.buffer)
    scan = b"".join(b"\0" + rows[y * bitmap.stride :][: bitmap.width * 3] for y in range(bitmap.height))
    header = struct.pack(">IIBBBBB", bitmap.width, bitmap.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scan, 9)), (b"IEND", b""))
    target.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    print(target, target.stat().st_size)


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page in every look, into this folder")
    folder = parser.parse_args().all
    with demo_panel() as panel, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if folder:
            take_all(browser, panel, folder)
        else:
            take_for_docs(browser, panel)
        browser.close()


if __name__ == "__main__":
    main()
