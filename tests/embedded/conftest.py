"""Data folders that the servers' own user can reach, and that are gone afterwards."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_data_dir() -> Iterator[Callable[[], Path]]:
    made: list[Path] = []

    def make() -> Path:
        # Not pytest's tmp_path: its parents are closed to others, and under root the servers are others.
        folder = Path(tempfile.mkdtemp(prefix="secretaria-test-"))
        folder.chmod(0o711)
        made.append(folder)
        return folder / "var"

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir(make_data_dir: Callable[[], Path]) -> Path:
    return make_data_dir()
