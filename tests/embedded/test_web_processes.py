"""`secretaria web` as two processes on one port and one database: they count once, tell each other, and come back."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from secretaria.embedded.postgres import free_port
from secretaria.embedded.postgres_config import CONNECTIONS_MAX
from secretaria.embedded.servers import Endpoints
from secretaria.settings import WEB_CONCURRENCY_MAX
from secretaria.store.database import Role
from secretaria.web.server import CONNECTIONS_OF_OTHERS, connections_each
from tests.shop import event_json, rows

pytestmark = pytest.mark.long

PATIENCE_S = 60.0
ASKED_MAX = 200
EVENTS = 300
SENDERS = 4
LISTENING = "0A"  # as /proc/net/tcp writes it
PASSWORD = "correct horse battery staple"
SCOPES = ("usage:write", "analytics:read", "companies:write", "keys:write")
SUSPENDED_WITHIN_S = 1.5  # an answer may be a second old; the rest is this machine's


class Web:
    """One `secretaria web` with two processes, and everything needed to talk to each of them."""

    def __init__(self, endpoints: Endpoints, folder: Path) -> None:
        self.port = free_port(None)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")} | {
            "DATABASE_URL": endpoints.database_url,
            "DATABASE_OWNER_URL": endpoints.owner_url,
            "REDIS_URL": endpoints.redis_url,
            "SECRETARIA_DATA_DIR": str(folder / "var"),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
        }
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "secretaria", "web", "--quiet"], env=self.environment, stderr=said
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_until(self, holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def listeners(self) -> int:
        """How many sockets listen on the port."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[3] == LISTENING and int(line[1].partition(":")[2], 16) == self.port for line in lines)

    def command(self, *words: str, given: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "secretaria", *words],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def children(self) -> dict[str, int]:
        """Process ids by the number each was started with."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if parent == self.process.pid and "--process" in words:
                found[words[words.index("--process") + 1]] = int(folder.name)
        return found

    def connection_to(self, number: str) -> HTTPConnection:
        """A connection that one of the two has accepted: the kernel chooses, so ask until it chose that one."""
        pid = self.children()[number]
        for _ in range(ASKED_MAX):
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            # One that has just been killed resets what it had accepted.
            with contextlib.suppress(OSError, HTTPException):
                connection.request("GET", "/healthz")
                assert connection.getresponse().read()
                assert connection.sock is not None
                if _owns(pid, connection.sock):
                    return connection
            connection.close()
        raise AssertionError(f"process {number} never got a connection")


def _owns(pid: int, client: socket.socket) -> bool:
    """Whether a process holds the other end of a connection."""
    port = client.getsockname()[1]
    ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(end[9] for end in ends if int(end[2].partition(":")[2], 16) == port)
    for descriptor in (Path("/proc") / str(pid) / "fd").iterdir():
        try:
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return True
        except OSError:
            continue
    return False


def ask(
    connection: HTTPConnection, method: str, path: str, key: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.fixture
def web(endpoints: Endpoints, tmp_path: Path) -> Iterator[Web]:
    started = Web(endpoints, tmp_path)
    try:
        started.wait_until(lambda: "2 processes serve" in started.said)
        yield started
    finally:
        started.process.terminate()
        assert started.process.wait(PATIENCE_S) == 0, started.said


@pytest.fixture
def operator(web: Web) -> str:
    return web.command("api-key", "create", *(word for scope in SCOPES for word in ("--scope", scope)))


@pytest.fixture
def company(web: Web, operator: str) -> int:
    """A company whose plan has a line at every event that the test of counting sends."""
    with closing(web.connection_to("1")) as connection:
        status, made = ask(connection, "POST", "/api/companies", operator, {"name": "Clínica Sorriso"})
        assert status == 201, made
        company_id = int(made["id"])
        plan = {"name": "Exato", "messages": EVENTS, "hard": True}
        assert ask(connection, "POST", "/api/plans", operator, plan)[0] == 201
        chosen = ask(connection, "PUT", f"/api/companies/{company_id}/plan", operator, {"plan": "Exato"})
        assert chosen[0] == 200, chosen
    return company_id


def test_the_same_events_sent_to_both_at_once_count_once_and_fire_each_alert_once(
    web: Web, operator: str, company: int, owner_url: str, endpoints: Endpoints
) -> None:
    batches = [
        [event_json(f"e-{number}-{place}", subject=company) for place in range(10)] for number in range(EVENTS // 10)
    ]
    connections = [web.connection_to(number) for number in ("1", "2") for _ in range(SENDERS // 2)]
    barrier = threading.Barrier(SENDERS)

    def send(connection: HTTPConnection) -> tuple[int, int]:
        barrier.wait()
        answers = [ask(connection, "POST", "/api/usage", operator, batch) for batch in batches]
        assert {status for status, _ in answers} == {200}
        return sum(body["accepted"] for _, body in answers), sum(body["duplicates"] for _, body in answers)

    with ThreadPoolExecutor(SENDERS) as pool:
        told = list(pool.map(send, connections))
    for connection in connections:
        connection.close()
    assert sum(accepted for accepted, _ in told) == EVENTS
    assert sum(duplicates for _, duplicates in told) == (SENDERS - 1) * EVENTS
    assert sum(1 for accepted, _ in told if accepted) > 1, "only one of them counted: nothing was contended"
    admin_url = endpoints.admin_url or ""
    assert rows(admin_url, "SELECT count(*), sum(messages) FROM usage_events") == [(EVENTS, EVENTS)]
    assert rows(admin_url, "SELECT sum(messages) FROM usage_daily") == [(EVENTS,)]
    alerts = "SELECT threshold, count(*) FROM alerts WHERE kind = 'limit' GROUP BY 1 ORDER BY 1"
    assert rows(admin_url, alerts) == [(80, 1), (100, 1)]


def test_pages_and_checks_of_one_see_what_the_other_did(web: Web, operator: str, company: int) -> None:
    token = panel_token(web)
    with closing(web.connection_to("1")) as writer, closing(web.connection_to("2")) as reader:
        reader.request("GET", f"/_/eventos?escopo=empresa&empresa={company}", headers={"Cookie": f"panel_token={token}"})
        stream = reader.getresponse()
        assert stream.status == 200
        assert comes(stream, "valores")
        assert ask(writer, "POST", "/api/usage", operator, [event_json("e-1", subject=company)])[0] == 200
        assert comes(stream, "valores")
        with closing(web.connection_to("2")) as other:
            check = f"/api/entitlements?company_id={company}"
            assert ask(other, "GET", check, operator)[1]["allowed"] is True
            assert ask(writer, "POST", f"/api/companies/{company}/suspend", operator)[0] == 200
            suspended_at = time.monotonic()
            assert ask(writer, "GET", check, operator)[1]["reason"] == "suspended"
            while ask(other, "GET", check, operator)[1]["allowed"]:
                assert time.monotonic() - suspended_at < SUSPENDED_WITHIN_S


def panel_token(web: Web) -> str:
    web.command("user", "create", "ana@example.com", "--role", "operator", "--password-stdin", given=PASSWORD)
    return web.command("panel-token", "create", "ana@example.com")


def comes(stream: HTTPResponse, name: str) -> bool:
    """Whether an event of this name is still to come, as long as the connection's patience lasts."""
    return any(line.strip() == f"event: {name}".encode() for line in stream)


def test_a_killed_process_comes_back_and_the_other_serves_meanwhile(web: Web) -> None:
    before = web.children()
    assert set(before) == {"1", "2"}
    os.kill(before["1"], signal.SIGKILL)
    with closing(web.connection_to("2")) as connection:
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
    web.wait_until(lambda: web.children().get("1", before["1"]) != before["1"])
    web.wait_until(lambda: web.listeners() == 2)
    web.connection_to("1").close()
    assert web.children()["2"] == before["2"]


@pytest.mark.parametrize("processes", range(1, WEB_CONCURRENCY_MAX + 1))
def test_all_processes_together_leave_the_embedded_server_room(processes: int) -> None:
    together = processes * len(Role) * connections_each(processes)
    assert together + CONNECTIONS_OF_OTHERS <= CONNECTIONS_MAX
    assert connections_each(processes) >= 2
