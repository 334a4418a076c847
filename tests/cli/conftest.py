"""Runs commands in this process, on a database of the test's own."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from secretaria.cli import main
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def value(self) -> str:
        """What it printed, which must be one line and nothing else."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1, self.out
        return self.out.strip()


Run = Callable[..., Outcome]


@pytest.fixture
def on_database(settings: Settings, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATABASE_URL", endpoints.database_url)
    monkeypatch.setenv("DATABASE_OWNER_URL", endpoints.owner_url)
    monkeypatch.setenv("REDIS_URL", endpoints.redis_url)
    return Settings.load()


@pytest.fixture
def run_anywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command with whatever the environment says."""

    def run(*arguments: str, stdin: str | None = "") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["secretaria", *arguments])
        monkeypatch.setattr(sys, "stdin", None if stdin is None else io.StringIO(stdin))
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    root, procrastinate = logging.getLogger(), logging.getLogger("procrastinate")
    before = root.handlers[:], root.level, procrastinate.level
    yield run
    # What a command configured writes to a stream that ends with the test.
    structlog.reset_defaults()
    root.handlers, root.level, procrastinate.level = before


@pytest.fixture
def run(on_database: Settings, run_anywhere: Run) -> Run:
    """Run a command on the test's database."""
    return run_anywhere
