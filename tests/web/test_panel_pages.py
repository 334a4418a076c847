"""The panel's pages without a browser: who sees what, where forms lead, what the templates must never hold."""

import re
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import Unavailable
from secretaria.embedded.servers import Endpoints
from secretaria.services.analytics import AnalyticsReads
from secretaria.web.panel import render
from tests.usage_rows import Use, write
from tests.web.conftest import PASSWORD, SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

PANEL = Path(render.__file__).parent
CSS_BYTES_MAX = 14_000
LIVE_LINES_MAX = 120
HTML = {"Accept": "text/html,application/xhtml+xml"}


async def test_operators_start_at_the_list_and_members_at_their_company(client: httpx2.AsyncClient, shop: Shop) -> None:
    for who, expected in (("operator", "/empresas"), ("ours", f"/empresas/{shop.ours}")):
        answer = await client.get("/", headers=shop.cookie(who))
        assert (answer.status_code, answer.headers["location"]) == (303, expected)
    answer = await client.get("/empresas", headers=shop.cookie("ours"))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/empresas/{shop.ours}")


async def test_another_company_s_page_is_that_of_one_that_does_not_exist(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    pages = []
    for company_id in (shop.theirs, 987_654_321, 2**63 - 1, 2**63, 0, -1, "abc", "%00"):
        answer = await client.get(f"/empresas/{company_id}", headers=shop.cookie("ours") | HTML)
        assert answer.status_code == 404, company_id
        assert "Página não encontrada" in answer.text
        assert "Alheia" not in answer.text
        pages.append(answer.text.replace(f"/empresas/{company_id}", "HERE"))
    assert pages[0] == pages[1]
    assert (await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))).status_code == 200
    assert (await client.get(f"/empresas/{shop.theirs}", headers=shop.cookie("operator"))).status_code == 200


async def test_the_list_is_searched_without_minding_case_and_accents_and_goes_on_by_key(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    for number in range(55):
        await application.companies.create(PROCESS, f"Ótica {number:02} 100%_", now=application.clock())
    found = await client.get("/empresas", params={"q": "otica"}, headers=shop.cookie("operator"))
    assert "Nossa" not in found.text
    assert found.text.count('scope="row"') == 50
    (after,) = re.findall(r'href="(/empresas\?q=otica&amp;apos=[^"]+)"', found.text)
    rest = await client.get(after.replace("&amp;", "&"), headers=shop.cookie("operator"))
    assert rest.text.count('scope="row"') == 5
    assert "Ótica 54 100%_" in rest.text
    for search, count in (("100%_", 50), ("100_", 0), ("ÓTICA 07", 1), ("", 50), ("\0\r\n", 50), ("ótica\x00 07", 1)):
        answer = await client.get("/empresas", params={"q": search}, headers=shop.cookie("operator"))
        assert answer.text.count('scope="row"') == count, search


async def test_figures_of_a_company_are_unknown_until_its_first_event_and_zero_after_it(
    client: httpx2.AsyncClient, shop: Shop, application: Application, endpoints: Endpoints
) -> None:
    figure = re.compile(r'id="(?:hoje|semana|mes)-(?:custo|recebidas|enviadas|tokens-entrada|tokens-saida)"[^>]*>([^<]*)<')
    page = (await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))).text
    assert figure.findall(page) == ["—"] * 15
    assert 'id="uso" data-kind="never"' in page
    assert f'href="/empresas/{shop.ours}/primeiros-passos#exemplo">Ver como enviar' in page
    long_ago = application.clock().date() - timedelta(days=70)
    write(endpoints.admin_url, shop.ours, Use(long_ago, messages=1))
    page = (await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))).text
    assert figure.findall(page) == ["R$\u00a00,00", *["0"] * 4] * 3
    assert 'id="uso" data-kind="begun"' in page


async def test_names_and_searches_are_text_never_markup(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    evil = "<script>alert(1)</script>{{7*7}}"
    company = await application.companies.create(PROCESS, evil, now=application.clock())
    for path in (f"/empresas?q={evil}", f"/empresas/{company.company_id}", "/empresas?q=nada<b>{{7*7}}"):
        answer = await client.get(path, headers=shop.cookie("operator"))
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "49" not in re.sub(r"[0-9a-f]{12}", "", re.sub(r'(x|d|width|y)="[^"]*"', "", answer.text))


async def test_a_login_sets_the_cookie_and_a_wrong_one_says_little(client: httpx2.AsyncClient, shop: Shop) -> None:
    form = {"email": "ours@example.com", "senha": "errada", "voltar": "/empresas"}
    texts = []
    for email in ("ours@example.com", "niemand@example.com", "kein-at", "a" * 500):
        answer = await client.post("/entrar", data=form | {"email": email}, headers=SAME_ORIGIN)
        assert answer.status_code == 422
        assert "panel_token" not in answer.headers.get("set-cookie", "")
        texts.append(answer.text.replace(f'value="{email}"', ""))
    assert len(set(texts)) == 1
    answer = await client.post("/entrar", data=form | {"senha": PASSWORD}, headers=SAME_ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/empresas")
    cookie = answer.headers["set-cookie"]
    assert "panel_token=pt_" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


async def test_a_form_that_is_none_of_ours_is_refused_and_changes_nothing(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    for path in ("/entrar", "/tema", "/idioma"):
        for sent in ({"data": {"voltar": "a" * 3_000}}, {"files": {"email": b"x", "tema": b"x", "idioma": b"x"}}):
            answer = await client.post(path, headers=SAME_ORIGIN, **sent)  # type: ignore[arg-type]
            assert answer.status_code == 422, path
            assert "set-cookie" not in answer.headers


async def test_too_many_wrong_passwords_are_told_for_how_long(client: httpx2.AsyncClient, shop: Shop) -> None:
    form = {"email": "ours@example.com", "senha": "errada"}
    statuses = [(await client.post("/entrar", data=form, headers=SAME_ORIGIN)).status_code for _ in range(6)]
    assert statuses == [422] * 5 + [429]
    answer = await client.post("/entrar", data=form | {"senha": PASSWORD}, headers=SAME_ORIGIN)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert re.search(r"Tente de novo em \d+ min\.", answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "\\\\evil.example",
        "javascript:alert(1)", "empresas", "", "/" + "a" * 600, "/a\r\nSet-Cookie: x=1", "/ /evil.example",
    ],
)  # fmt: skip
async def test_going_back_never_leaves_this_site(client: httpx2.AsyncClient, shop: Shop, path: str) -> None:
    assert render.own_path(path) == "/"
    form = {"email": "ours@example.com", "senha": PASSWORD, "voltar": path}
    for address, data in (("/entrar", form), ("/tema", {"tema": "dark", "voltar": path})):
        answer = await client.post(address, data=data, headers=SAME_ORIGIN)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_our_own_paths_are_kept_with_their_query(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await client.get("/empresas/7?x=%C3%B3&y=1", headers=HTML)
    assert answer.headers["location"] == "/entrar?voltar=/empresas/7%3Fx%3D%25C3%25B3%26y%3D1"
    page = await client.get(answer.headers["location"])
    assert 'name="voltar" value="/empresas/7?x=%C3%B3&amp;y=1"' in page.text


@pytest.mark.parametrize("path", ["/entrar", "/sair", "/idioma", "/tema"])
async def test_forms_of_other_sites_change_nothing(client: httpx2.AsyncClient, shop: Shop, path: str) -> None:
    form = {"email": "ours@example.com", "senha": PASSWORD, "idioma": "en", "tema": "dark"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = await client.post(path, data=form, headers=shop.cookie("ours") | headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert (await client.get("/_/sessao", headers=shop.cookie("ours"))).status_code == 200


async def test_leaving_ends_the_session_and_leaving_twice_is_no_error(client: httpx2.AsyncClient, shop: Shop) -> None:
    for _ in range(2):
        answer = await client.post("/sair", headers=shop.cookie("ours") | SAME_ORIGIN)
        assert (answer.status_code, answer.headers["location"]) == (303, "/entrar")
        assert 'panel_token=""' in answer.headers["set-cookie"]
    assert (await client.get("/_/sessao", headers=shop.cookie("ours"))).status_code == 401


async def test_a_language_or_theme_that_does_not_exist_changes_nothing(client: httpx2.AsyncClient, shop: Shop) -> None:
    for path, form in (("/idioma", {"idioma": "tlh"}), ("/tema", {"tema": "neon"}), ("/tema", {})):
        answer = await client.post(path, data=form, headers=SAME_ORIGIN)
        assert answer.status_code == 422
        assert "set-cookie" not in answer.headers
    answer = await client.get("/entrar", headers={"Cookie": "panel_theme=neon; panel_locale=tlh"})
    assert '<html lang="pt-BR">' in answer.text


async def test_a_session_remembers_its_language_for_the_next_browser(client: httpx2.AsyncClient, shop: Shop) -> None:
    await client.post("/idioma", data={"idioma": "en"}, headers=shop.cookie("ours") | SAME_ORIGIN)
    client.cookies.clear()
    answer = await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours") | {"Accept-Language": "pt-BR"})
    assert '<html lang="en">' in answer.text
    assert "First steps" in answer.text


async def test_a_page_says_so_when_the_database_is_away_and_when_something_breaks(
    client: httpx2.AsyncClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object, **_named: object) -> None:
        raise Unavailable("away", retry_after_s=3)

    async def broken(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(AnalyticsReads, "summary", away)
    answer = await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert "Seus dados estão guardados" in answer.text
    monkeypatch.setattr(AnalyticsReads, "summary", broken)
    answer = await client.get(f"/empresas/{shop.ours}", headers=shop.cookie("ours"))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert f"Código {answer.headers['x-request-id'][:8]}" in answer.text


async def test_unknown_addresses_are_pages_for_people_and_problems_for_programs(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    page = await client.get("/nada", headers=HTML)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    for path, headers in (("/nada", {}), ("/api/nada", HTML), ("/_/nada", {"Accept": "text/event-stream"})):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_static_files_are_cached_for_ever_under_the_hash_of_their_content(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/entrar")).text
    addresses = re.findall(r'(?:href|src)="(/estatico/[^"]+)"', page)
    assert len(addresses) == 3
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    for name in ("app.000000000000.css", "app.css", "../render.py", "..%2frender.py"):
        assert (await client.get(f"/estatico/{name}")).status_code == 404
    assert (await client.get("/entrar")).headers["cache-control"] == "no-store"


REFUSED_IN_TEMPLATES = {
    "an inline style": re.compile(r"\sstyle\s*="),
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)"),
    "an inline style sheet": re.compile(r"<style"),
    "an inline handler": re.compile(r"\son[a-z]+\s*="),
    "unescaped text": re.compile(r"\|\s*safe"),
    "an address elsewhere": re.compile(r"(?:href|src|action)=[\"'](?:https?:)?//"),
}


def test_templates_hold_nothing_that_the_content_security_policy_drops() -> None:
    for path in sorted((PANEL / "templates").rglob("*.*")):
        source = path.read_text("utf-8")
        found = [name for name, pattern in REFUSED_IN_TEMPLATES.items() if pattern.search(source)]
        assert not found, (path.name, found)


def test_the_style_sheet_and_the_live_script_stay_small() -> None:
    assert (PANEL / "static/app.css").stat().st_size <= CSS_BYTES_MAX
    assert len((PANEL / "static/live.js").read_text().splitlines()) <= LIVE_LINES_MAX


@pytest.mark.parametrize(
    ("token", "ground", "needed"),
    [("text", "sunken", 7), ("text-2", "sunken", 4.5), ("text-3", "sunken", 4.5), ("primary", "sunken", 4.5),
     ("on-primary", "primary", 4.5), ("ok", "ok-bg", 4.5), ("warn", "warn-bg", 4.5), ("crit", "crit-bg", 4.5),
     ("info", "info-bg", 4.5), ("neutral", "neutral-bg", 4.5), ("border-strong", "surface", 3), ("bar", "surface", 3)],
)  # fmt: skip
def test_text_and_graphics_stand_out_in_both_themes(token: str, ground: str, needed: float) -> None:
    css = (PANEL / "static/app.css").read_text()
    tokens = dict(re.findall(r"--([a-z0-9-]+):\s*light-dark\((#[0-9a-f]+,\s*#[0-9a-f]+)\)", css))
    for theme in (0, 1):
        first, second = (luminance(re.split(r",\s*", tokens[name])[theme]) for name in (token, ground))
        contrast = (max(first, second) + 0.05) / (min(first, second) + 0.05)
        assert contrast >= needed, (token, ground, theme, round(contrast, 2))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
