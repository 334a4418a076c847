"""What every command has in common: help that teaches, errors of one line, values alone on stdout."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from secretaria.cli import app
from secretaria.cli.output import printable

HEAVY = ("fastapi", "psycopg", "pydantic", "redis", "rich", "structlog", "uvicorn", "procrastinate")


def commands(command=None, path=()):
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", None)
    if children is None:
        return [path]
    return [found for name, child in children.items() for found in commands(child, (*path, name))]


def test_help_answers_at_once_because_nothing_heavy_is_imported():
    code = f"import sys, secretaria.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(run_anywhere, path):
    outcome = run_anywhere(*path, "--help")
    assert outcome.code == 0
    example = outcome.out.split("Example:")[1].split("\n\n")[0]
    assert f"secretaria {' '.join(path)}" in " ".join(example.split())


@pytest.mark.parametrize("words", [["nonsense"], ["company"], ["company", "create"], ["up", "--fast"], ["report"]])
def test_it_says_how_when_a_command_is_mistyped(run_anywhere, words):
    outcome = run_anywhere(*words)
    assert outcome.code == 2
    assert "Usage: secretaria" in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("DATABASE_URL", "mysql://root:secret@db/x"),
        ("SECRETARIA_DATA_DIR", "/proc/nowhere"),
        ("BILLING_COST_PER_MESSAGE", "0,05"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_that_names_it(run_anywhere, settings, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    outcome = run_anywhere("company", "list")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {name}")
    assert outcome.err.count("\n") == 1
    assert "secret" not in outcome.err


def test_a_database_that_is_not_there_is_one_line_without_the_password(run_anywhere, on_database, monkeypatch):
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL"):
        monkeypatch.setenv(name, "postgresql://somebody:hidden-word@127.0.0.1:1/nothing")
    outcome = run_anywhere("company", "list")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("Error: cannot reach the database")
    assert "hidden-word" not in outcome.err


def test_an_empty_database_of_others_is_left_alone_until_migrate_is_asked_for(run, endpoints, monkeypatch):
    import psycopg

    from tests.conftest import in_database

    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_one OWNER secretaria_owner")
    try:
        monkeypatch.setenv("DATABASE_URL", in_database(endpoints.database_url, "empty_one"))
        monkeypatch.setenv("DATABASE_OWNER_URL", in_database(endpoints.owner_url, "empty_one"))
        refused = run("company", "list")
        assert refused.code == 2
        assert "secretaria migrate" in refused.err
        assert "PROBLEM  Migrations" in run("doctor").out
        assert "Applied 0001_roles.sql" in run("migrate").err
        assert "up to date" in run("migrate").err
        assert run("company", "list").code == 0
    finally:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE empty_one WITH (FORCE)")


def test_an_unexpected_error_is_one_line_and_a_traceback_only_when_asked_for(run_anywhere, settings, monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError("by\nnobody")

    monkeypatch.setattr("secretaria.settings.Settings.load", fail)
    outcome = run_anywhere("company", "list")
    assert outcome.code == 1
    assert outcome.err == "Error: unexpected ZeroDivisionError: by nobody (add --debug to see where)\n"
    with pytest.raises(ZeroDivisionError):
        run_anywhere("company", "list", "--debug")


def test_an_interrupted_command_ends_quietly(run_anywhere, settings, monkeypatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("secretaria.settings.Settings.load", interrupt)
    assert run_anywhere("company", "list").code == 130


def test_it_prints_its_version(run_anywhere):
    assert run_anywhere("--version").out.strip()


def test_a_name_cannot_drive_the_terminal():
    assert printable("a\x1b[31mb\x07\u202e") == "a\\x1b[31mb\\x07\\u202e"


def test_the_program_runs_as_a_module():
    code = Path(__file__).parents[2] / "src/secretaria/__main__.py"
    assert "main()" in code.read_text()
