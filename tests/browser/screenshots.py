"""Redraws the README's pictures of the panel from the demo's figures, and on request every page in every look.

    python tests/browser/screenshots.py             # docs/images/panel-*.png
    python tests/browser/screenshots.py --all DIR   # pages x widths x themes x languages, to look at
"""

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from panel_server import PanelServer
from playwright.sync_api import Browser, Page, sync_playwright

from secretaria.bootstrap import Application
from secretaria.cli.demo import demo_service
from secretaria.core.access import PROCESS
from secretaria.core.event import RECORDED, Direction, UsageData, UsageEvent
from secretaria.embedded.scratch import servers_for_tests
from secretaria.services.demo import DemoAccess
from secretaria.settings import Settings
from secretaria.store import migrations, partitions

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
NOW = datetime(2026, 11, 20, 17, 32, tzinfo=UTC)  # a Friday, 14:32 in Brasília
HISTORY_DAYS = 26
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
SETTINGS_TABS = ("empresa", "chaves", "usuarios", "registro")
WIDTHS = (1280, 768, 360, 320)


@contextmanager
def demo_panel() -> Iterator[tuple[PanelServer, DemoAccess]]:
    """Serve the demo at a fixed moment, with a company that never used anything beside it."""
    os.environ |= {"BILLING_COST_PER_MESSAGE": "0.05", "BILLING_COST_PER_THOUSAND_TOKENS": "0.02"}
    with servers_for_tests() as endpoints, tempfile.TemporaryDirectory() as folder:
        migrations.migrate(endpoints.owner_url, serving_user="secretaria")
        partitions.ensure_around(endpoints.owner_url, NOW.date())
        os.environ["SECRETARIA_DATA_DIR"] = folder
        server = PanelServer(Settings.load(), endpoints, clock=lambda: NOW)
        server.start()
        try:
            yield server, server.run(fill)
        finally:
            server.stop()


async def fill(application: Application) -> DemoAccess:
    """Make the demo's companies with some weeks of usage."""
    demo = demo_service(application)
    access = await demo.prepare(None)
    await demo.fill(NOW - timedelta(days=HISTORY_DAYS), lambda _done, _all: None)
    await application.companies.create(PROCESS, "Ótica Lume", now=NOW)
    unpriced = await application.companies.create(PROCESS, "Imobiliária Norte", now=NOW)
    for number, category in enumerate((None, "ADS")):
        data = UsageData(direction=Direction.OUTBOUND, messages=1_312, tokens_input=90_000, category=category)
        event = UsageEvent("1.0", f"{number}", "fotos", RECORDED, data, subject=str(unpriced.company_id))
        await application.ingest.submit(PROCESS, [(0, event)], now=NOW)
    return access


def logged_in(browser: Browser, url: str, access: DemoAccess, *, width: int, theme: str, locale: str) -> Page:
    """Return a page of a visitor with these preferences."""
    context = browser.new_context(viewport={"width": width, "height": 800}, locale="pt-BR")
    context.add_cookies(
        [{"name": "panel_theme", "value": theme, "url": url}, {"name": "panel_locale", "value": locale, "url": url}]
    )
    page = context.new_page()
    page.goto(f"{url}/entrar")
    page.locator("#email").fill(access.email)
    page.locator("#senha").fill(access.password)
    page.locator("form[action='/entrar'] button.primary").click()
    page.wait_for_url("**/empresas")
    return page


def take(page: Page, address: str, target: Path, *, full: bool) -> None:
    """Open an address and take its picture once its figures are live."""
    page.goto(address)
    if page.locator("#ao-vivo").count():
        page.wait_for_selector("[data-state=live]")
    page.screenshot(path=target, full_page=full)
    print(target, target.stat().st_size)


def take_all(browser: Browser, server: PanelServer, access: DemoAccess, folder: Path) -> None:
    """Take every page in every look."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "empresas": "/empresas",
        "empresa": f"/empresas/{access.company_id}",
        "kolkata": f"/empresas/{access.company_id + 4}",
        "nova": f"/empresas/{access.company_id + 5}",
        "sem-preco": f"/empresas/{access.company_id + 6}",
        **{f"configuracoes-{tab}": f"/configuracoes/{tab}?empresa={access.company_id}" for tab in SETTINGS_TABS},
        "analytics": f"/empresas/{access.company_id}/analytics",
        "analytics-hoje": f"/empresas/{access.company_id}/analytics?periodo=hoje&metrica=resposta&dim=modelo",
        "explicar": f"/empresas/{access.company_id}/explicar",
        "busca": "/empresas?q=xyz",
        "404": "/nada",
    }
    for width, theme, locale in itertools.product(WIDTHS, ("light", "dark"), ("pt-BR", "en")):
        page = logged_in(browser, server.url, access, width=width, theme=theme, locale=locale)
        for name, path in pages.items():
            take(page, server.url + path, folder / f"{name}-{width}-{theme}-{locale}.png", full=True)
        page.goto(f"{server.url}/empresas/{access.company_id}")
        page.locator("details.data > summary").click()
        page.locator("#pausar").click()
        page.locator("details.menu > summary").click()
        page.screenshot(path=folder / f"aberta-{width}-{theme}-{locale}.png", full_page=True)
        page.evaluate("localStorage.clear()")
        page.context.clear_cookies(name="panel_token")
        take(page, f"{server.url}/entrar", folder / f"entrar-{width}-{theme}-{locale}.png", full=True)
        page.context.close()


def take_for_readme(browser: Browser, server: PanelServer, access: DemoAccess) -> None:
    """Take the company page once a language."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for locale in ("pt-BR", "en"):
        page = logged_in(browser, server.url, access, width=1280, theme="light", locale=locale)
        target = IMAGES / f"panel-{locale}.png"
        take(page, f"{server.url}/empresas/{access.company_id}", target, full=True)
        page.context.close()


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page in every look, into this folder")
    folder = parser.parse_args().all
    with demo_panel() as (server, access), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if folder:
            take_all(browser, server, access, folder)
        else:
            take_for_readme(browser, server, access)
        browser.close()


if __name__ == "__main__":
    main()
