"""Chromium, a running panel with two companies, and the rule that no page logs an error."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings

from .panel_server import PanelServer

PASSWORD = "uma senha longa"
OPERATOR = "ana@exemplo.com.br"
MEMBER = "bia@clinica.com.br"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
TIMEOUT_MS = 8_000


def installed_browser() -> str | None:
    """Return the system's Chromium, or None where Playwright has to look for its own."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


# Playwright's own event loop runs in this thread until it is closed: tests of other files need theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = installed_browser()
        if executable is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium on this machine: `make browser` installs one; the browser tests did not run")
        launched = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass
class Panel:
    """A running panel: where it is, whom it knows, and how an event reaches it."""

    server: PanelServer
    company_id: int
    other_id: int
    key: str

    @property
    def url(self) -> str:
        return self.server.url

    def post_event(self, event_id: str, **data: int | str) -> None:
        """Post one event of the first company to /api/usage."""
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "teste",
            "type": "usage.recorded",
            "data": {"direction": "outbound", "messages": 1} | data,
        }
        answer = httpx2.post(
            f"{self.url}/api/usage", json=event, headers={"Authorization": f"Bearer {self.key}"}, timeout=10
        )
        assert answer.status_code == 200, answer.text


async def seed(application: Application) -> tuple[int, int, str]:
    """Make two companies, an operator, a member and a key."""
    now = application.clock()
    first = await application.companies.create(PROCESS, "Clínica Sorriso", now=now)
    other = await application.companies.create(PROCESS, "Auto Peças Sul", timezone="Asia/Kolkata", now=now)
    await application.access.create_user(PROCESS, OPERATOR, role="operator", company_id=None, password=PASSWORD)
    await application.access.create_user(
        PROCESS, MEMBER, role="member", company_id=first.company_id, password=PASSWORD
    )
    key = await application.access.create_api_key(PROCESS, first.company_id)
    return first.company_id, other.company_id, key.text


@pytest.fixture
def panel(settings: Settings, endpoints: Endpoints) -> Iterator[Panel]:
    server = PanelServer(settings, endpoints)
    server.start()
    try:
        yield Panel(server, *server.run(seed))
    finally:
        server.stop()


class Complaints(list[str]):
    """What pages logged as errors; a test that provokes some says which."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: tuple[str, ...] = ()

    def listen_to(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.append(f"{page.url}: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.append(message.text)

    def unexpected(self) -> list[str]:
        return [text for text in self if not any(part in text for part in self.expected)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def context(browser: Browser, complaints: Complaints, panel: Panel) -> Iterator[BrowserContext]:
    del panel  # it outlives the pages that look at it
    opened = browser.new_context(viewport=DESKTOP, locale="pt-BR", timezone_id="America/Sao_Paulo")
    opened.set_default_timeout(TIMEOUT_MS)
    opened.on("page", complaints.listen_to)
    yield opened
    opened.close()
    assert complaints.unexpected() == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def log_in(page: Page, panel: Panel, email: str = OPERATOR) -> None:
    """Log in through the form."""
    page.goto(f"{panel.url}/entrar")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Senha").fill(PASSWORD)
    page.get_by_role("button", name="Entrar").click()
    page.wait_for_url(lambda url: "/entrar" not in url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if os.sep + "browser" + os.sep in str(item.path):
            item.add_marker(pytest.mark.browser)
