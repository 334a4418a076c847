"""Turns templates into answers, in the reader's language and theme. The security headers are those of web/door.py."""

import hashlib
import mimetypes
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from secretaria.services.alert_pages import Standing
from secretaria.web.panel.alert_words import banner
from secretaria.web.panel.i18n import LOCALES, chosen_locale, texts

_HERE: Final = Path(__file__).parent
STATIC_PATH: Final = "/estatico"
LOCALE_COOKIE: Final = "panel_locale"
THEME_COOKIE: Final = "panel_theme"
THEMES: Final = ("auto", "light", "dark")
HASH_CHARS: Final = 12
ASSET_CACHE: Final = "public, max-age=31536000, immutable"
BACK_CHARS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file as it is served: the hash in its name makes it cacheable for ever."""

    name: str
    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return the static files by their plain names, read once a process."""
    found = {}
    for path in sorted(path for path in (_HERE / "static").rglob("*") if path.is_file()):
        content = path.read_bytes()
        mark = hashlib.sha256(content).hexdigest()[:HASH_CHARS]
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        found[path.name] = Asset(f"{path.stem}.{mark}{path.suffix}", content, media_type)
    return found


def asset_url(name: str) -> str:
    """Return the address of a static file, its content's hash in it."""
    return f"{STATIC_PATH}/{assets()[name].name}"


def asset_response(name: str) -> Response | None:
    """Return a static file by the name it is served under; None when there is no such one (any more)."""
    for asset in assets().values():
        if asset.name == name:
            return Response(asset.content, media_type=asset.media_type, headers={"Cache-Control": ASSET_CACHE})
    return None


@cache
def integrity_of(name: str) -> str:
    """Return what a browser holds a vendored file to (static/vendor/pins.toml)."""
    pins = tomllib.loads(assets()["pins.toml"].content.decode())
    return str(pins[name]["integrity"])


@cache
def _environment(locale: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    sentences = texts(locale)
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        sentences.gettext, sentences.ngettext, newstyle=True
    )
    environment.globals["asset"] = asset_url
    environment.globals["integrity"] = integrity_of
    return environment


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is looking, as the top bar shows it."""

    email: str
    is_operator: bool


def locale_of(request: Request, remembered: str | None = None) -> str:
    """Return the language of an answer: the cookie, else what the user's row remembers, else the browser's."""
    cookie = request.cookies.get(LOCALE_COOKIE)
    return chosen_locale(cookie if cookie in LOCALES else remembered, request.headers.get("accept-language"))


def theme_of(request: Request) -> str:
    """Return the theme of the cookie: the server renders it, so that no page flashes."""
    theme = request.cookies.get(THEME_COOKIE)
    return theme if theme in THEMES else "auto"


def own_path(path: str | None) -> str:
    """Return a path of ours to go back to; anything that could lead elsewhere becomes the start page."""
    if path is None or not path.startswith("/") or len(path) > BACK_CHARS_MAX:
        return "/"
    # "//host" and "/\\host" are other sites to a browser, which also drops tabs and line breaks inside an address.
    if path[1:2] in {"/", "\\"} or any(ord(character) < 0x21 or character == "\x7f" for character in path):
        return "/"
    return path


def page(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    locale: str,
    visitor: Visitor | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Render a template with what every page needs beside its own values."""
    here_url = own_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    standing: Standing | None = getattr(request.state, "standing", None)
    context = {
        "standing": standing,
        "first_run": getattr(request.state, "first_run", None),
        "critical": banner(standing, locale),
        "locale": locale,
        "theme": theme_of(request),
        "here": request.url.path,
        "here_url": here_url,
        "visitor": visitor,
        **values,
    }
    body = _environment(locale).get_template(template).render(context)
    return HTMLResponse(body, status)
