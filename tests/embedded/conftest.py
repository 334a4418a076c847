"""Data folders that the servers' own user can reach, and that are gone afterwards."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secretaria.embedded.scratch import make_scratch_folder, scratch_servers
from secretaria.embedded.servers import EmbeddedServers, Endpoints


@pytest.fixture(scope="session")
def make_data_dir() -> Iterator[Callable[[], Path]]:
    made: list[Path] = []

    def make() -> Path:
        folder = make_scratch_folder()
        made.append(folder)
        return folder / "var"

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running(make_data_dir: Callable[[], Path]) -> Iterator[tuple[EmbeddedServers, Endpoints]]:
    """Servers that many tests look at and none kills."""
    with scratch_servers(make_data_dir()) as servers:
        yield servers, servers.start()


@pytest.fixture(scope="session")
def make_booted_data_dir(make_data_dir: Callable[[], Path]) -> Callable[[], Path]:
    """Data folders in which both servers have run before: a copy takes a tenth of an initdb."""
    template = make_data_dir()
    with scratch_servers(template) as servers:
        servers.start()
        state = servers.folder.load_state()
    state.port = None
    servers.folder.save_state(state)

    def make() -> Path:
        copy = make_data_dir()
        subprocess.run(["cp", "--archive", "--reflink=auto", template, copy], check=True)
        return copy

    return make


@pytest.fixture
def data_dir(make_data_dir: Callable[[], Path]) -> Path:
    return make_data_dir()
