"""`secretaria up --demo` the way a newcomer meets it: what it prints works, and it ends without leftovers."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from secretaria.embedded.postgres import free_port
from tests.shop import rows

PATIENCE_S = 60.0
TABLES = "SELECT count(*) FROM usage_events"
LIVE = "SELECT count(*) FROM usage_events WHERE event_id LIKE 'live-%%'"
WEBHOOKS = "SELECT count(*) FROM webhook_payloads WHERE state = 'done'"
FIRST_ACCOUNT = "SELECT min(account_id) FROM whatsapp_accounts"


class Copy:
    """One `up` on the test's database, with a port and a data folder of its own."""

    def __init__(self, folder: Path, *words: str, port: int | None = None) -> None:
        self.port = port or free_port(None)
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        env = {**os.environ, "PORT": str(self.port), "SECRETARIA_DATA_DIR": str(folder / "var")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            command = [sys.executable, "-m", "secretaria", "up", *words]
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_ready(self) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while "  Stop  " not in self.out:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.05)
        return self.out

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def copy(folder: Path, *words: str, port: int | None = None):
    folder.mkdir(exist_ok=True)
    started = Copy(folder, *words, port=port)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


def field(out: str, name: str) -> str:
    match = re.search(rf"^  {name} +(\S+)", out, re.MULTILINE)
    assert match is not None, out
    return match[1]


def send_printed_curl(out: str) -> dict[str, object]:
    """Do what the printed curl line says, word by word as a shell would read it."""
    words = shlex.split(out[out.index("  curl ") :].split("\n\n", maxsplit=1)[0].replace("\\\n", " "))
    assert words[:2] == ["curl", "-sS"]
    headers = [words[place + 1].partition(": ") for place, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1].encode()
    request = urllib.request.Request(words[2], data=body, headers={name: value for name, _, value in headers})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def log_in(out: str) -> dict[str, object]:
    body = json.dumps({"email": field(out, "Login"), "password": field(out, "Password")}).encode()
    request = urllib.request.Request(
        f"{field(out, 'Panel')}/api/auth/login", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def card_of(started: Copy, account_id: int, token: object) -> dict[str, object]:
    url = f"http://127.0.0.1:{started.port}/api/whatsapp-accounts/{account_id}/details"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["data"]


def wait_until(is_so: Callable[[], bool], started: Copy) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, started.err
        time.sleep(0.1)


def test_a_newcomer_gets_a_demo_a_login_and_a_line_that_works_and_again_after_a_restart(
    on_database, endpoints, tmp_path, run
):
    with copy(tmp_path / "first", "--demo") as first:
        out = first.wait_ready()
        assert log_in(out)["token"]
        assert send_printed_curl(out) == {"accepted": 1, "duplicates": 0, "rejected": []}
        assert send_printed_curl(out) == {"accepted": 0, "duplicates": 1, "rejected": []}
        assert "Making a demo" in first.err
        assert "Traceback" not in first.err
        counted = rows(endpoints.admin_url, TABLES)[0][0]
        assert counted > 15_000
        assert (tmp_path / "first/var/demo.json").stat().st_mode & 0o777 == 0o600
        secret = json.loads((tmp_path / "first/var/demo.json").read_text())["app_secret"]
        assert len(secret) >= 32
        assert secret not in first.out + first.err
        assert first.stop() == 0
    with copy(tmp_path / "first", "--demo") as second:
        again = second.wait_ready()
        assert [field(again, name) for name in ("Login", "Password", "API key")] == [
            field(out, name) for name in ("Login", "Password", "API key")
        ]
        assert "Making a demo" not in second.err
        assert rows(endpoints.admin_url, TABLES)[0][0] >= counted
        assert json.loads((tmp_path / "first/var/demo.json").read_text())["app_secret"] == secret
        told = rows(endpoints.admin_url, WEBHOOKS)[0][0]
        token, account_id = log_in(again)["token"], rows(endpoints.admin_url, FIRST_ACCOUNT)[0][0]
        wait_until(lambda: rows(endpoints.admin_url, LIVE)[0][0] > 0, second)
        wait_until(lambda: rows(endpoints.admin_url, WEBHOOKS)[0][0] > told, second)
        wait_until(lambda: card_of(second, account_id, token)["quality_rating"] == "GREEN", second)
        assert card_of(second, account_id, token)["meta_connected"]
        assert run("doctor", "--recompute").code == 0
        assert second.stop(signal.SIGTERM) == 0
    with contextlib.closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", second.port)) != 0


def test_without_a_demo_it_says_how_to_get_in_and_a_second_up_finds_the_first(on_database, tmp_path):
    with copy(tmp_path / "plain") as first:
        out = first.wait_ready()
        assert "user create you@example.com --role operator" in out
        assert "Password" not in out
        again = Copy(tmp_path / "plain", port=first.port)
        assert again.process.wait(PATIENCE_S) == 0
        assert field(again.out, "Panel") == f"http://127.0.0.1:{first.port}"
        assert first.process.poll() is None


def test_a_port_that_is_taken_is_one_line_that_names_the_setting(on_database, tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        with copy(tmp_path / "late", port=taken.getsockname()[1]) as late:
            assert late.process.wait(PATIENCE_S) == 2
        assert late.out == ""
        assert late.err.startswith("Error: HOST, PORT: cannot listen")
        assert late.err.count("\n") == 1


@pytest.mark.parametrize("part", ["web", "worker"])
def test_a_part_that_cannot_run_as_configured_tells_its_supervisor_so(run, monkeypatch, part):
    monkeypatch.setenv("BILLING_CURRENCY", "EUR")
    outcome = run(part)
    assert outcome.code == 78
    assert outcome.err.startswith("Error: BILLING_CURRENCY")
