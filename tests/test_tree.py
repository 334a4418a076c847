"""The house rules as tests that read the tree: lengths, docstrings, names, floats, lost errors, the clock.

Each rule is a function from a path and its source to complaints; planted sources prove that each can fail.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "src/secretaria"
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PYTHON = {".py"}
MEASURED_SUFFIXES = {".py", ".sql", ".js", ".css", ".html", ".sh"}
VAGUE_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
    "manager",
    "managers",
    "shared",
}
CORE_MAY_IMPORT = sys.stdlib_module_names | {"msgspec"}
FLOAT_MAKERS = {"float", "total_seconds", "timestamp", "fromtimestamp"}
FLOAT_MODULES = {"math", "random", "statistics"}
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
MIGRATION_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# Files someone else wrote: measured by their own project, not by ours.
VENDORED = ("/vendor/",)

# Where a line may be written to the terminal, and why.
MAY_PRINT = {
    "src/secretaria/cli": "the command line's answers are its output",
    "src/secretaria/embedded": "the supervisor says what it started before any logging is set up",
}

# The clock is an argument, read once at a door. These read it, and why.
MAY_READ_CLOCK = {
    "src/secretaria/web": "a request's now",
    "src/secretaria/jobs": "a job's now",
    "src/secretaria/cli": "a command's now",
    "src/secretaria/bootstrap.py": "the process' now, handed to services as a function",
    "src/secretaria/embedded": "deadlines of child processes",
}

Check = Callable[[str, str], Iterator[str]]


def _tracked(*patterns: str) -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
    else:  # an unpacked archive has no git: read what lies there
        found = [path for pattern in patterns for path in (ROOT / pattern).rglob("*")]
        names = [path.relative_to(ROOT).as_posix() for path in found]
    return sorted(name for name in names if (ROOT / name).is_file() and not (ROOT / name).is_symlink())


def _expect_nothing(check: Check, *patterns: str, suffixes: set[str] = PYTHON) -> None:
    files = [name for name in _tracked(*patterns) if Path(name).suffix in suffixes]
    assert files, f"nothing to read under {patterns}"
    complaints = [found for name in files for found in check(name, (ROOT / name).read_text("utf-8"))]
    assert not complaints, "\n" + "\n".join(complaints)


def _may(path: str, exceptions: dict[str, str]) -> bool:
    return any(path.startswith(prefix) for prefix in exceptions)


def long_files(path: str, source: str) -> Iterator[str]:
    lines = source.count("\n") + 1
    if lines > FILE_LINES_MAX + 1 and not any(mark in path for mark in VENDORED):
        yield f"{path}: {lines} lines, more than {FILE_LINES_MAX}"


def long_functions(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}"


def missing_docstrings(path: str, source: str) -> Iterator[str]:
    module = ast.parse(source)
    if ast.get_docstring(module) is None:
        yield f"{path}:1: the module does not say what it is for"
    yield from _undocumented(path, module)


def _undocumented(path: str, parent: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        overload = any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)
        if ast.get_docstring(node) is None and not overload:
            yield f"{path}:{node.lineno}: {node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(path, node)


def vague_names(path: str, source: str) -> Iterator[str]:
    del source
    for part in Path(path).with_suffix("").parts:
        if set(part.lower().split("_")) & VAGUE_NAMES:
            yield f"{path}: {part!r} does not say what is in it"


def floats(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"{path}:{line}: float literal {node.value}"
        elif isinstance(node, ast.Name) and node.id in FLOAT_MAKERS:
            yield f"{path}:{line}: {node.id}"
        elif isinstance(node, ast.Attribute) and node.attr in FLOAT_MAKERS:
            yield f"{path}:{line}: .{node.attr} makes a float"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported(node):
                if name.split(".")[0] in FLOAT_MODULES:
                    yield f"{path}:{line}: {name} computes in floats"


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return ["." * node.level + (node.module or "")]


def foreign_imports(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported(node):
                ours = name == "secretaria.core" or name.startswith(("secretaria.core.", "."))
                if not ours and name.split(".")[0] not in CORE_MAY_IMPORT:
                    yield f"{path}:{node.lineno}: the core imports {name}"


def swallowed_errors(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{path}:{node.lineno}: bare except"
            elif all(map(_does_nothing, node.body)) and _names_everything(node.type):
                yield f"{path}:{node.lineno}: every error is swallowed"
        elif isinstance(node, ast.Call) and _called(node).endswith("suppress"):
            yield from (
                f"{path}:{node.lineno}: every error is suppressed" for name in node.args if _names_everything(name)
            )


def _does_nothing(step: ast.stmt) -> bool:
    return isinstance(step, ast.Pass | ast.Continue) or (
        isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)
    )


def _names_everything(node: ast.expr) -> bool:
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"} for name in names)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def prints(path: str, source: str) -> Iterator[str]:
    if _may(path, MAY_PRINT):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _called(node) in {"print", "pprint", "pprint.pprint", "breakpoint"}:
            yield f"{path}:{node.lineno}: {_called(node)}()"


def clock_reads(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = _called(node)
        if re.search(r"\bdate\.today$|\bdatetime\.(?:utcnow|today)$", name):
            yield f"{path}:{node.lineno}: {name}() knows no time zone"
        elif re.search(r"\bdatetime\.now$|^time\.time(?:_ns)?$", name) and not _may(path, MAY_READ_CLOCK):
            yield f"{path}:{node.lineno}: {name}(); take `now` as an argument"


def unfinished(path: str, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{path}:{number}: unfinished: {line.strip()[:80]}"


def misnamed_migrations(names: list[str]) -> Iterator[str]:
    for expected, name in enumerate(sorted(names), start=1):
        match = MIGRATION_NAME.fullmatch(name)
        if match is None:
            yield f"{name}: migrations are named 0001_what_it_does.sql"
        elif int(match[1]) != expected:
            yield f"{name}: {expected:04} was expected here; numbers have no gaps and no twins"


def test_no_file_is_longer_than_can_be_read_in_one_sitting() -> None:
    _expect_nothing(long_files, PACKAGE, "tests", "bench", "migrations", "docs", suffixes=MEASURED_SUFFIXES)


def test_no_function_is_longer_than_a_screen() -> None:
    _expect_nothing(long_functions, PACKAGE, "tests", "bench", "docs")


def test_every_module_and_every_public_name_says_what_it_is_for() -> None:
    _expect_nothing(missing_docstrings, PACKAGE)


def test_no_file_has_a_name_that_says_nothing() -> None:
    _expect_nothing(vague_names, PACKAGE, "tests", "bench", "migrations", "docs", suffixes=MEASURED_SUFFIXES)


def test_the_core_knows_no_floats() -> None:
    _expect_nothing(floats, f"{PACKAGE}/core")


def test_the_core_imports_the_standard_library_and_msgspec_only() -> None:
    _expect_nothing(foreign_imports, f"{PACKAGE}/core")


def test_no_error_is_swallowed() -> None:
    _expect_nothing(swallowed_errors, PACKAGE, "tests", "bench")


def test_only_the_command_line_and_the_supervisor_print() -> None:
    _expect_nothing(prints, PACKAGE)


def test_only_the_doors_read_the_clock() -> None:
    _expect_nothing(clock_reads, PACKAGE)


def test_nothing_is_left_unfinished() -> None:
    _expect_nothing(unfinished, PACKAGE, "tests", "bench", "migrations", ".ci", suffixes=MEASURED_SUFFIXES)


@pytest.mark.parametrize("folder", ["migrations", "migrations/citus"])
def test_migrations_are_numbered_without_gaps(folder: str) -> None:
    names = [path.name for path in (ROOT / folder).glob("*") if path.is_file()]
    assert list(misnamed_migrations(names)) == []


def test_pinned_requirements_carry_hashes_and_no_host() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        pins = text.replace("\\\n", " ").splitlines()
        assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []
        assert "://" not in text


@pytest.mark.parametrize(
    ("wanted", "pinned"),
    [
        (("requirements.in", "requirements-build.in"), "requirements.txt"),
        (("requirements.in", "requirements-build.in", "requirements-dev.in"), "requirements-dev.txt"),
    ],
)
def test_every_requirement_is_pinned_where_it_is_installed_from(wanted: tuple[str, ...], pinned: str) -> None:
    lines = [line for name in wanted for line in (ROOT / name).read_text("utf-8").splitlines()]
    asked = {match[1].lower().replace("_", "-") for line in lines if (match := re.match(r"([A-Za-z][\w.-]*)", line))}
    pins = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / pinned).read_text("utf-8"), re.MULTILINE))
    assert asked - pins == set(), "run `make lock`"


PLANTED: list[tuple[Check, str, str]] = [
    (long_files, "x = 1\n" * (FILE_LINES_MAX + 1), "x = 1\n" * FILE_LINES_MAX),
    (long_functions, "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX, "def f():\n" + "    x = 1\n" * 69),
    (missing_docstrings, "x = 1", '"""Why."""'),
    (missing_docstrings, '"""Why."""\ndef f(): ...', '"""Why."""\ndef _f(): ...'),
    (
        missing_docstrings,
        '"""Why."""\nclass A:\n    "B."\n    async def f(self): ...',
        '"""Why."""\nclass A:\n    "B."\n    def __str__(self): ...',
    ),
    (floats, "x = 0.1", "x = Decimal('0.1')"),
    (floats, "def f(x: float): ...", "def f(x: int): ..."),
    (floats, "seconds = delta.total_seconds()", "seconds = delta.seconds"),
    (floats, "from math import floor", "from decimal import ROUND_FLOOR"),
    (foreign_imports, "import psycopg", "import zoneinfo"),
    (foreign_imports, "from secretaria.store import events", "from secretaria.core import event"),
    (swallowed_errors, "try:\n    f()\nexcept:\n    raise", "try:\n    f()\nexcept OSError:\n    pass"),
    (
        swallowed_errors,
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept Exception:\n    log()\n    raise",
    ),
    (swallowed_errors, "with suppress(Exception):\n    f()", "with suppress(OSError):\n    f()"),
    (prints, "print('x')", "log.info('x')"),
    (clock_reads, "now = datetime.now(UTC)", "def f(now: datetime): ..."),
    (clock_reads, "now = time.time()", "elapsed = time.monotonic()"),
    (clock_reads, "day = datetime.date.today()", "day = now.date()"),
    (unfinished, "# TO" + "DO: later", "# done"),
]


@pytest.mark.parametrize(("check", "guilty", "innocent"), PLANTED)
def test_each_rule_sees_what_was_planted_and_spares_the_rest(check: Check, guilty: str, innocent: str) -> None:
    path = f"{PACKAGE}/core/planted.py"
    assert list(check(path, guilty))
    assert list(check(path, innocent)) == []


@pytest.mark.parametrize("name", ["store/utils.py", "store/price_helpers.py", "common/price.py", "base.py"])
def test_a_vague_name_is_seen_wherever_it_stands(name: str) -> None:
    assert list(vague_names(name, ""))
    assert list(vague_names("store/prices.py", "")) == []


@pytest.mark.parametrize("names", [["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"]])
def test_a_gap_a_twin_or_a_stray_name_among_migrations_is_seen(names: list[str]) -> None:
    assert list(misnamed_migrations(names))
    assert list(misnamed_migrations(["0001_a.sql", "0002_b.sql"])) == []


@pytest.mark.parametrize("prefix", sorted({*MAY_PRINT, *MAY_READ_CLOCK}))
def test_no_exception_outlives_what_it_excused(prefix: str) -> None:
    assert _tracked(f"{prefix}*"), f"nothing is at {prefix}: drop the exception"
