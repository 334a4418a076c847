"""A real `secretaria up` under load while its processes are killed -9, one kind after another.

The ledger of the clients is the oracle: every acknowledged event is there once, every unanswered one at most once, and
sending all of it again counts nothing twice.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
import redis

from secretaria.embedded.postgres import free_port
from secretaria.embedded.runtime import Runtime, find_running
from secretaria.settings import Settings
from tests.shop import event_json

pytestmark = pytest.mark.timeout(240)

CLIENTS = 3
BATCH_EVENTS = 20
READY_WAIT_S = 90.0
BACK_WITHIN_S = 30.0
ANSWER_WAIT_S = 20.0
LOAD_BETWEEN_KILLS_S = 1.0


class Copy:
    """One `up` process on a folder of its own, and the key that writes into it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port(None)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")} | {
            "SECRETARIA_DATA_DIR": str(folder),
            "PORT": str(self.port),
        }
        self.settings = Settings(secretaria_data_dir=folder, port=self.port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "secretaria", "up"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_until(lambda: self.status("GET", "/readyz") == 200, READY_WAIT_S)

    def command(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "secretaria", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    @property
    def runtime(self) -> Runtime:
        found = find_running(self.settings)
        assert found is not None
        return found

    def status(self, method: str, path: str) -> int | None:
        try:
            return self.request(method, path)[0]
        except (OSError, HTTPException):
            return None

    def request(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WAIT_S)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def wait_until(self, holds: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, "not so in time"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture
def copy() -> Iterator[Copy]:
    with TemporaryDirectory(prefix="secretaria-faults-") as folder:
        Path(folder).chmod(0o711)
        made = Copy(Path(folder) / "var")
        try:
            made.start()
            yield made
        finally:
            made.stop()


class Load:
    """Clients that send without pause, remember every answer, and send again what was not answered."""

    def __init__(self, copy: Copy, key: str) -> None:
        self._copy = copy
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._stopping = threading.Event()
        self.acknowledged: list[dict[str, Any]] = []
        self.bad_answers: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stopping.is_set():
            batch = [event_json(f"c{client}-{number}-{item}", messages=1) for item in range(BATCH_EVENTS)]
            while not self._send(batch) and not self._stopping.is_set():
                time.sleep(0.05)
            number += 1

    def _send(self, batch: list[dict[str, Any]]) -> bool:
        try:
            status, body = self._copy.request("POST", "/api/usage", json.dumps(batch), self._headers)
        except (OSError, HTTPException):
            return False
        if status == 200 and not json.loads(body)["rejected"]:
            self.acknowledged.extend(batch)
            return True
        if status != 503:
            self.bad_answers.append(f"{status} {body[:200]!r}")
        return False


def processes(parent: int) -> dict[str, int]:
    """The supervisor's children by what they are: web, worker, postgres, valkey."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
        except OSError:
            continue
        if int(status[1]) == parent and status[0] != "Z":
            for name in ("web", "worker"):
                if f"secretaria {name}" in command:
                    found[name] = int(folder.name)
            for name in ("postgres", "valkey"):
                if name in command.split(" ")[0]:
                    found[name] = int(folder.name)
    return found


def counted(copy: Copy) -> tuple[int, int, int]:
    with psycopg.connect(copy.runtime.admin_url or "") as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM usage_events), (SELECT count(DISTINCT event_id) FROM usage_events), "
            "(SELECT coalesce(sum(messages), 0)::bigint FROM usage_daily)"
        ).fetchone()
    assert row is not None
    return row


def assert_ledger_holds(copy: Copy, load: Load, key: str) -> None:
    assert load.bad_answers == []
    events, distinct, messages = counted(copy)
    assert events == distinct == messages
    assert events >= len(load.acknowledged)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for begin in range(0, len(load.acknowledged), 1_000):
        batch = load.acknowledged[begin : begin + 1_000]
        status, body = copy.request("POST", "/api/usage", json.dumps(batch), headers)
        assert status == 200
        assert json.loads(body) == {"accepted": 0, "duplicates": len(batch), "rejected": []}
    assert counted(copy) == (events, distinct, messages)
    with psycopg.connect(copy.runtime.admin_url or "") as connection:
        difference = connection.execute(
            "SELECT count(*) FROM (SELECT company_id, day, hour, series_id, sum(messages) FROM usage_events "
            "GROUP BY 1, 2, 3, 4 EXCEPT SELECT company_id, day, hour, series_id, messages FROM usage_hourly) AS d"
        ).fetchone()
    assert difference == (0,)


def make_key(copy: Copy) -> str:
    company = copy.command("company", "create", "Clínica Sorriso")
    return copy.command("api-key", "create", "--company", company)


def test_killing_each_process_in_turn_loses_and_doubles_nothing_and_all_come_back(copy: Copy) -> None:
    key = make_key(copy)
    assert copy.process is not None
    with Load(copy, key) as load:
        for name in ("postgres", "web", "valkey", "worker", "postgres"):
            copy.wait_until(lambda: set(processes(copy.process.pid)) == {"web", "worker", "postgres", "valkey"}, BACK_WITHIN_S)
            before = len(load.acknowledged)
            copy.wait_until(lambda before=before: len(load.acknowledged) > before, BACK_WITHIN_S)
            time.sleep(LOAD_BETWEEN_KILLS_S)
            victim = processes(copy.process.pid)[name]
            os.kill(victim, signal.SIGKILL)
            at_kill = len(load.acknowledged)
            copy.wait_until(
                lambda name=name, victim=victim: processes(copy.process.pid).get(name, victim) != victim, BACK_WITHIN_S
            )
            copy.wait_until(lambda at_kill=at_kill: len(load.acknowledged) > at_kill, BACK_WITHIN_S)
    copy.wait_until(lambda: copy.status("GET", "/readyz") == 200, BACK_WITHIN_S)
    assert len(load.acknowledged) > 500
    assert_ledger_holds(copy, load, key)


def test_killing_the_supervisor_leaves_no_orphan_and_the_next_start_has_everything(copy: Copy) -> None:
    key = make_key(copy)
    assert copy.process is not None
    with Load(copy, key) as load:
        copy.wait_until(lambda: len(load.acknowledged) > 200, BACK_WITHIN_S)
        children = processes(copy.process.pid)
        copy.process.kill()
        copy.process.wait()
        copy.wait_until(lambda: not any(is_alive(pid) for pid in children.values()), BACK_WITHIN_S)
        copy.start()
        at_start = len(load.acknowledged)
        copy.wait_until(lambda: len(load.acknowledged) > at_start, BACK_WITHIN_S)
    assert_ledger_holds(copy, load, key)


def test_valkey_flushed_under_load_changes_no_total(copy: Copy) -> None:
    key = make_key(copy)
    with Load(copy, key) as load:
        for _ in range(3):
            before = len(load.acknowledged)
            copy.wait_until(lambda before=before: len(load.acknowledged) > before + 100, BACK_WITHIN_S)
            with redis.Redis.from_url(copy.runtime.redis_url) as client:
                client.flushall()
    assert_ledger_holds(copy, load, key)


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
