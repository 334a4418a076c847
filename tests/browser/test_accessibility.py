"""Every page of the panel: axe finds nothing, nothing scrolls sideways, controls are large, no JavaScript is needed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser, BrowserContext, Page, expect
from psycopg import sql

from secretaria.bootstrap import Application
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from secretaria.web.app import create_app
from tests.conftest import in_database

from .conftest import DESKTOP, PHONE, TIMEOUT_MS
from .furnished import GIVEN_NAMES, PRICES, Furnished, furnished

DAYS = 12
PAGE_BYTES_MAX = 400_000
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
# The themes differ in colours only.
OPTIONS: dict[str, dict[str, Any]] = {
    "light": {"runOnly": {"type": "tag", "values": TAGS}, "rules": {"target-size": {"enabled": True}}},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
DATABASE = "furnished_panel"
WIDTHS = (1280, 768, 360, 320)
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
NOT_FOUND = {"missing", "verify-unknown"}
OTHER_THAN_PAGES = re.compile(
    r"^/(api|_|estatico|webhooks|metrics|healthz|readyz|openapi.json|docs)\b|\.(pdf|\{extension\})$"
)

# What names the browser's own scroll bar, and what sticks out of the page without one.
TOO_WIDE = """async () => {
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame)
  const wide = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= wide) return []
  const scrolls = found => found && (getComputedStyle(found).overflowX !== "visible" || scrolls(found.parentElement))
  return [...document.querySelectorAll("body *")]
    .filter(found => found.getBoundingClientRect().right > wide + 1 && !scrolls(found.parentElement))
    .map(found => `${found.tagName}.${found.className} ${found.textContent.trim().slice(0, 40)}`).slice(0, 3)
}"""
# Links within a sentence are as high as its line: WCAG 2.5.8 leaves them out.
TOO_SMALL = """() => [...document.querySelectorAll("a:not(.skip), button, summary, input, select, textarea")]
  .filter(found => found.checkVisibility({ visibilityProperty: true }) && !found.closest("p, dd, .visually-hidden"))
  .map(found => [found.outerHTML.slice(0, 120), found.closest("label")?.getBoundingClientRect() ?? found.getBoundingClientRect(),
    getComputedStyle(found)])
  .filter(([, box]) => box.height > 1 && box.height < 24)
  .map(([html, box]) => html + " " + box.height)"""
UNSEEN_FOCUS = """() => [...document.querySelectorAll("a, button, summary, input:not([type=hidden]), select, textarea, [tabindex='0']")]
  .filter(found => found.checkVisibility({ visibilityProperty: true }) && !found.disabled)
  .filter(found => {
    found.focus({ focusVisible: true })
    const style = getComputedStyle(found)
    return document.activeElement === found && (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2)
  }).map(found => found.outerHTML.slice(0, 120))"""
TEXTS = """() => {
  const texts = [document.title]
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const node = walker.currentNode
    if (!node.parentElement.closest("script, style, template, code, pre, [lang]:not(html)")) texts.push(node.data.trim())
  }
  for (const found of document.querySelectorAll("[aria-label], [title], [placeholder], [data-label], [alt], [content]"))
    for (const name of ["aria-label", "title", "placeholder", "data-label", "alt", "content"])
      if (found.hasAttribute(name) && !found.closest("[lang]:not(html)")) texts.push(found.getAttribute(name))
  return [...new Set(texts)].filter(text => text)
}"""
# Words that the one language cannot do without and the other does not know, beside names that somebody gave.
PORTUGUESE = re.compile(
    r"[ãõçáéíóúâêôà]|\b(de|da|das|dos|para|sem|por|em|uma?|os|mensagens|empresas?|custo|conta|dia|hoje|ver)\b",
    re.IGNORECASE,
)
ENGLISH = re.compile(
    r"\b(the|of|and|with|from|are|is|not|this|that|an|messages?|company|companies|cost|accounts?|day|today|see|until)\b",
    re.IGNORECASE,
)
# Meta's own names of a field and of a webhook's subject stand in its pages in English only.
GIVEN = (*GIVEN_NAMES, "Ad Account ID", "assine o campo messages")
NAMES = re.compile("|".join(re.escape(name) for name in sorted(GIVEN, key=len, reverse=True)))


def told(problems: Mapping[Any, Sequence[str]]) -> str:
    """A line for each, so that a failure shows them all."""
    return "\n".join(f"{key}: {problem}" for key, found in problems.items() for problem in found)


@pytest.fixture(scope="module")
def house(server: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    """One furnished panel for all tests of this file: they only look."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template_migrated OWNER secretaria_owner STRATEGY wal_log").format(
                name
            )
        )
    own = replace(
        server,
        **{
            field: in_database(getattr(server, field), DATABASE) for field in ("database_url", "owner_url", "admin_url")
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        for field in Settings.model_fields:
            patch.delenv(field.upper(), raising=False)
        for field, value in PRICES.items():
            patch.setenv(field, value)
        patch.setenv("SECRETARIA_DATA_DIR", str(tmp_path_factory.mktemp("var")))
        with furnished(Settings.load(), own, datetime.now(UTC), days=DAYS) as found:
            yield found
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="module")
def token(browser: Browser, house: Furnished) -> Any:
    """The cookie of one login."""
    context = browser.new_context(locale="pt-BR")
    page = context.new_page()
    page.goto(f"{house.url}/entrar")
    page.locator("#email").fill(house.access.email)
    page.locator("#senha").fill(house.access.password)
    page.locator("form[action='/entrar'] button.primary").click()
    page.wait_for_url("**/empresas")
    (cookie,) = (cookie for cookie in context.cookies() if cookie["name"] == "panel_token")
    context.close()
    return cookie


class Visit:
    """A browser of somebody who is logged in, with the preferences given."""

    def __init__(
        self, browser: Browser, house: Furnished, token: Any, *, locale: str = "pt-BR", theme: str = "light", **how: Any
    ) -> None:
        how.setdefault("viewport", DESKTOP)
        self.context: BrowserContext = browser.new_context(
            locale=locale, timezone_id="America/Sao_Paulo", reduced_motion="reduce", **how
        )
        self.context.set_default_timeout(TIMEOUT_MS)
        wanted = {"panel_theme": theme, "panel_locale": locale}
        self.context.add_cookies([token, *({"name": key, "value": wanted[key], "url": house.url} for key in wanted)])
        self.page: Page = self.context.new_page()
        self.house = house

    def pages(self) -> Iterator[str]:
        """Open each page and yield its name."""
        for name, path in self.house.pages.items():
            answer = self.page.goto(self.house.url + path)
            assert answer is not None
            assert answer.status == (404 if name in NOT_FOUND else 200), (name, answer.status)
            yield name
        for name, (start, action) in self.house.questions.items():
            self.page.goto(self.house.url + self.house.pages[start])
            if name == "plan-choose":
                self.page.locator("#plano").select_option("nenhum")
            self.page.locator(f"form[action='{action}'] button").first.click()
            expect(self.page.locator("main.confirm")).to_be_visible()
            yield name
        self.context.clear_cookies(name="panel_token")
        self.page.goto(f"{self.house.url}/entrar")
        yield "login"
        self.context.close()


def test_the_list_of_pages_has_every_page_there_is(house: Furnished) -> None:
    async def routes(application: Application) -> list[tuple[str, re.Pattern[str]]]:
        found = iter_route_contexts(create_app(application).routes)
        return [(route.path, route.path_regex) for route in found if "GET" in (route.methods or ())]

    paths = [path.partition("?")[0] for path in house.pages.values()]
    missing = {
        path
        for path, regex in house.server.run(routes)
        if not OTHER_THAN_PAGES.search(path) and not any(regex.match(found) for found in paths)
    }
    assert missing == {"/", "/entrar"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, house: Furnished, token: Any, theme: str) -> None:
    visit = Visit(browser, house, token, theme=theme)
    found = {name: broken for name in visit.pages() if (broken := broken_rules(visit.page, OPTIONS[theme]))}
    assert not found, told(found)


def broken_rules(page: Page, options: dict[str, Any]) -> list[str]:
    results = Axe().run(page, options=options)
    return [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}"
        for rule in results.response["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_scrolls_sideways_and_controls_are_large_enough(
    browser: Browser, house: Furnished, token: Any, theme: str
) -> None:
    locale = {"light": "pt-BR", "dark": "en"}[theme]
    visit = Visit(browser, house, token, theme=theme, locale=locale, viewport=PHONE, has_touch=True)
    problems = {}
    for name in visit.pages():
        visit.page.evaluate("document.querySelectorAll('main details').forEach(found => { found.open = true })")
        for width in WIDTHS:
            visit.page.set_viewport_size({"width": width, "height": 800})
            if wide := visit.page.evaluate(TOO_WIDE):
                problems[name, width] = wide
        if small := visit.page.evaluate(TOO_SMALL):
            problems[name, "touch"] = small
    assert not problems, told(problems)


def test_the_focus_is_seen_on_every_control(browser: Browser, house: Furnished, token: Any) -> None:
    for theme in ("light", "dark"):
        visit = Visit(browser, house, token, theme=theme)
        unseen = {name: found for name in visit.pages() if (found := visit.page.evaluate(UNSEEN_FOCUS))}
        assert not unseen, (theme, told(unseen))


@pytest.mark.parametrize(("locale", "strange"), [("en", PORTUGUESE), ("pt-BR", ENGLISH)], ids=["en", "pt-BR"])
def test_no_word_of_the_other_language_is_left(
    browser: Browser, house: Furnished, token: Any, locale: str, strange: re.Pattern[str]
) -> None:
    visit = Visit(browser, house, token, locale=locale)
    left = {}
    for name in visit.pages():
        assert visit.page.evaluate("document.documentElement.lang") == locale
        texts = visit.page.evaluate(TEXTS)
        found = sorted({text for text in texts if strange.search(NAMES.sub("", text))})
        if found:
            left[name] = found
    assert not left, told(left)


def test_every_page_says_the_same_without_javascript(browser: Browser, house: Furnished, token: Any) -> None:
    visit = Visit(browser, house, token, java_script_enabled=False)
    for name in visit.pages():
        expect(visit.page.locator("h1")).to_have_count(1)
        expect(visit.page.locator("h1")).to_be_visible()
        for figure in visit.page.locator(".kpi-value").all():
            assert figure.inner_text().strip(), name


def test_the_heaviest_page_is_light(browser: Browser, house: Furnished, token: Any) -> None:
    visit = Visit(browser, house, token)
    session = visit.context.new_cdp_session(visit.page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    visit.page.goto(house.url + house.pages["analytics"])
    visit.page.wait_for_selector("#grafico-caixa[data-drawn]")
    assert 10_000 < sum(sizes) <= PAGE_BYTES_MAX, sizes
    visit.context.close()
