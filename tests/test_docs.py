"""The documents are under test: every setting, command, route and error code is written down, and what is written is.

What a check reads is imported inside it, so that one broken module fails its own test and not all of them.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = "docs/operations.md"
API = "docs/api.md"
CODE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
LINK = re.compile(r"!?\[[^\]\[]*\]\(([^)\s]+)\)")
# What only serves the documentation itself is not documented there.
ROUTES_NOT_OURS = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


def _text(name: str) -> str:
    path = ROOT / name
    assert path.is_file(), f"{name} is missing"
    return path.read_text(encoding="utf-8")


def _documents() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return sorted(found)


def _lacking(name: str, wanted: dict[str, str]) -> list[str]:
    """Return what is wanted and not found; keys are what people look for, values are how it is written."""
    text = _text(name)
    return [label for label, written in sorted(wanted.items()) if written not in text]


def _commands() -> dict[str, Any]:
    import typer.main

    from secretaria.cli import app

    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path, command
        for name, child in (children or {}).items():
            yield from walk(child, f"{path} {name}")

    return {path: command for path, command in walk(typer.main.get_command(app), "secretaria") if not command.hidden}


def _openapi() -> dict[str, Any]:
    from secretaria.settings import Settings
    from secretaria.web.app import create_app

    # Building the routes looks at nothing of the application but its settings.
    application = cast("Any", SimpleNamespace(settings=Settings()))
    document: dict[str, Any] = create_app(application).openapi()
    return document


def _routes() -> list[str]:
    methods = {"get", "post", "put", "patch", "delete"}
    return [
        f"{method.upper()} {path}"
        for path, operations in _openapi()["paths"].items()
        for method in operations
        if method in methods and path not in ROUTES_NOT_OURS
    ]


def error_codes_in(source: str) -> set[str]:
    """Return the codes a module can answer, found by the ways the house writes them (see the examples below)."""
    expressions = [found for node in ast.walk(ast.parse(source)) for found in _code_expressions(node)]
    return {text for found in expressions for text in _texts(found) if CODE.fullmatch(text)}


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, ast.Subscript):  # the key of a look-up is no code
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def _code_expressions(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.keyword(arg="code", value=value) | ast.Assign(targets=[ast.Name(id="code"), *_], value=value):
            yield value
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="code"), *_])], value=ast.Tuple(elts=[value, *_])):
            yield value
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(values=values)) if name.endswith("_CODES"):
            yield from values
        case ast.Call(func=ast.Name(id="Outcome"), args=[value, *_]):
            yield value
        case ast.Call(func=ast.Name(id="Rejection"), args=[_, _, value, *_]):
            yield value
        case ast.Tuple(elts=[ast.Constant(value=str(code)), ast.JoinedStr()]):
            yield ast.Constant(code)
        case ast.Tuple(elts=[ast.Constant(value=str(first)), ast.Constant(value=str(second))]):
            # A refusal ("code", "a sentence"), or a row of a table ("a sentence", "code").
            if " " in first + second and "_" in first + second:
                yield ast.Constant(first if " " in second else second)


def _error_codes() -> set[str]:
    modules = (ROOT / "src" / "secretaria").rglob("*.py")
    return set().union(*(error_codes_in(module.read_text(encoding="utf-8")) for module in modules)) - {"error"}


def _blocks(text: str) -> list[str]:
    """Return the lines of fenced code, without comments."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in lines) if line]


def test_every_setting_is_documented_for_operators() -> None:
    from secretaria.settings import Settings

    names = {name.upper(): f"`{name.upper()}`" for name in Settings.model_fields}
    assert _lacking(OPERATIONS, names) == []


def test_every_documented_setting_exists() -> None:
    from secretaria.settings import Settings

    rows = set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", _text(OPERATIONS), re.MULTILINE))
    assert rows - {name.upper() for name in Settings.model_fields} == set()


def test_every_command_and_its_options_are_documented_for_operators() -> None:
    wanted = {}
    for path, command in _commands().items():
        wanted[path] = f"`{path}"
        for parameter in command.params:
            longest = max(parameter.opts, key=len)
            if longest.startswith("--") and longest != "--help":
                wanted[f"{path} {longest}"] = longest
    assert _lacking(OPERATIONS, wanted) == []


def test_every_command_that_a_document_shows_exists() -> None:
    commands = _commands()
    unknown = []
    for document in _documents():
        for words in re.findall(r"\bsecretaria((?: [a-z][a-z-]*)+)", "\n".join(_blocks(_text(str(document))))):
            full = f"secretaria{words}"
            if not any(full == path or full.startswith(f"{path} ") for path in commands):
                unknown.append(f"{document.relative_to(ROOT)}: {full}")
    assert unknown == []


def test_every_make_target_that_a_document_shows_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    shown = {
        target
        for document in _documents()
        for target in re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", _text(str(document)), re.MULTILINE)
        for target in target
        if target
    }
    assert shown - targets == set()


def test_every_route_is_documented() -> None:
    assert _lacking(API, {route: f"`{route}`" for route in _routes()}) == []


def test_every_documented_route_exists() -> None:
    written = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /api/[^`?\s]*)`", _text(API)))
    assert written - set(_routes()) == set()


def test_every_error_code_is_documented() -> None:
    assert _lacking(API, {code: f"`{code}`" for code in _error_codes()}) == []


def test_every_decision_is_listed() -> None:
    index = _text("docs/decisions/README.md")
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [name for name in records if f"({name})" not in index] == []
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))


@pytest.mark.parametrize("document", _documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    targets = [link.split("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8"))]
    inside = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (document.parent / target).exists()] == []


def test_both_readmes_show_the_same_commands() -> None:
    assert _blocks(_text("README.md")) == _blocks(_text("README.pt-BR.md"))


def test_the_version_has_its_place_in_the_changelog() -> None:
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    changelog = _text("CHANGELOG.md")
    assert "## Unreleased" in changelog or f"## {version}" in changelog
    assert "### Pricing and accuracy" in changelog


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ('class A:\n    code = "not_found"', {"not_found"}),
        ('raise NotFound("no such company", code="company_not_found")', {"company_not_found"}),
        ('def f():\n    return "too_long", "the id is too long"', {"too_long"}),
        ('def f():\n    return "too_long", f"longer than {LIMIT}"', {"too_long"}),
        ('TABLE = (("is out of range", "out_of_range"), ("a b", "c"))', {"out_of_range"}),
        ('_CODES = {400: "malformed"}', {"malformed"}),
        ('NO_ORIGINAL = Outcome("original_not_found", "names no event")', {"original_not_found"}),
        ('code = KNOWN.get(item["type"], "invalid_value")', {"invalid_value"}),
        ('Rejection(index, None, "expected_object", "not an object")', {"expected_object"}),
        ('code = "looks_like_milliseconds" if hint else "invalid_time"', {"looks_like_milliseconds", "invalid_time"}),
        ('def f():\n    return "left", "right"', set()),
        ('def f():\n    return code, "why not"', set()),
    ],
)
def test_error_codes_are_found_where_they_are_written(source: str, codes: set[str]) -> None:
    assert error_codes_in(source) == codes
