"""An ear on connections, and an authority that the client under test trusts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.outbound.hostile_endpoint import Authority
from tests.outbound.lying_dns import Ear, listening_in


@pytest.fixture
def ear() -> Iterator[Ear]:
    with listening_in() as heard:
        yield heard


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made
