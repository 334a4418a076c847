"""`up` as a process: what is killed comes back, what is stopped drains, nothing outlives it, nobody doubles it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from secretaria.embedded.folder import DataFolder
from secretaria.embedded.postgres import free_port
from secretaria.embedded.runtime import Runtime, attach, endpoints, find_running
from secretaria.embedded.servers import EmbeddedServers, Endpoints
from secretaria.settings import Settings

PROGRAM = Path(__file__).with_name("up_with_stand_ins.py")
PATIENCE_S = 30.0
ORPHANS_GONE_S = 10.0
KILLS = 3
KILLED = "postgres ended (signal SIGKILL)"


class Copy:
    """One `up` on a data folder, with what it has said so far."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        behaviour: str = "plain",
        servers: Endpoints | None = None,
    ) -> None:
        self.settings = Settings(secretaria_data_dir=data_dir, port=port or free_port(None))
        self._said = data_dir.parent / f"said-{time.monotonic_ns()}"
        env = {
            **os.environ,
            "SECRETARIA_DATA_DIR": str(data_dir),
            "PORT": str(self.settings.port),
            "CHILD_BEHAVIOUR": behaviour,
        }
        if servers is not None:
            env["DATABASE_URL"], env["DATABASE_OWNER_URL"] = servers.database_url, servers.owner_url
            env["REDIS_URL"] = servers.redis_url
        with self._said.open("wb") as said:
            self.process = subprocess.Popen([sys.executable, PROGRAM], env=env, stdout=said, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_until(self, what: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < deadline, f"still not so after {within_s} s; it said:\n{self.said}"
            time.sleep(0.02)

    def wait_ready(self) -> "Copy":
        self.wait_until(lambda: "ready" in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        return self

    @property
    def runtime(self) -> Runtime:
        found = find_running(self.settings)
        assert found is not None, self.said
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def data_dir(make_booted_data_dir: Callable[[], Path]) -> Path:
    return make_booted_data_dir()


@pytest.fixture
def start() -> Iterator[Callable[..., Copy]]:
    copies: list[Copy] = []

    def begin(data_dir: Path, **options: Any) -> Copy:
        copies.append(Copy(data_dir, **options))
        return copies[-1]

    yield begin
    for copy in copies:
        if copy.process.poll() is None:
            copy.process.terminate()
            copy.process.wait(PATIENCE_S)


def processes_of(data_dir: Path) -> dict[int, str]:
    """Every live process that names the folder or works in it, but for the test itself."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        if int(entry.name) != os.getpid() and arguments and str(data_dir) in f"{arguments} {place}":
            found[int(entry.name)] = arguments
    return found


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])


def valkey_pid(data_dir: Path) -> int:
    return next(pid for pid, arguments in processes_of(data_dir).items() if "valkey-server" in arguments)


def query(url: str, text: str) -> list[tuple[object, ...]] | None:
    """The rows, or None while the server is away."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []
    except psycopg.OperationalError:
        return None


def test_it_drains_children_before_the_servers_when_terminated(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir, behaviour="grateful").wait_ready()
    assert len(processes_of(data_dir)) > 4
    assert copy.end() == 0, copy.said
    assert processes_of(data_dir) == {}
    assert not (data_dir / "runtime.json").exists()
    with endpoints(copy.settings) as found:
        assert query(found.owner_url, "SELECT name FROM farewells ORDER BY 1") == [("web",), ("worker",)]
        with Redis.from_url(found.redis_url) as client:
            assert client.mget("web", "worker") == [b"left", b"left"]
    assert "shut down" in (data_dir / "logs" / "postgres.log").read_text()


def test_it_brings_back_what_was_killed_and_keeps_committed_rows(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir).wait_ready()
    runtime = copy.runtime

    first = postmaster_pid(data_dir)
    query(runtime.owner_url, "INSERT INTO numbers SELECT generate_series(1, 1000)")
    with contextlib.closing(psycopg.connect(runtime.owner_url)) as at_work:
        # A backend in the middle of a query outlives its postmaster, and must not keep the new one away.
        backend = at_work.info.backend_pid
        at_work.execute("INSERT INTO numbers VALUES (0)")
        os.kill(first, signal.SIGKILL)
        copy.wait_until(lambda: query(runtime.owner_url, "SELECT count(*) FROM numbers") == [(1000,)])
    assert postmaster_pid(data_dir) != first
    assert backend not in processes_of(data_dir)

    with Redis.from_url(runtime.redis_url) as client:
        client.set("kept", "yes")
        client.execute_command("WAITAOF", 1, 0, 2000)
    os.kill(valkey_pid(data_dir), signal.SIGKILL)

    def is_back() -> bool:
        try:
            with Redis.from_url(runtime.redis_url) as client:
                return bool(client.get("kept") == b"yes")
        except RedisError:
            return False

    copy.wait_until(is_back)

    web = int(re.findall(r"web (\d+)", copy.said)[0])
    os.kill(web, signal.SIGKILL)
    copy.wait_until(lambda: len(re.findall(r"web (\d+)", copy.said)) == 2)
    assert copy.end() == 0
    assert processes_of(data_dir) == {}


def test_it_keeps_every_acknowledged_row_when_postgres_is_killed_again_and_again(
    start: Callable[..., Copy], data_dir: Path
) -> None:
    copy = start(data_dir).wait_ready()
    url = copy.runtime.owner_url
    acknowledged: set[int] = set()
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
                while not done.is_set():
                    number += 1
                    connection.execute("INSERT INTO numbers VALUES (%s)", [number])
                    acknowledged.add(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for killed in range(1, KILLS + 1):
            so_far = len(acknowledged)
            copy.wait_until(lambda so_far=so_far: len(acknowledged) > so_far + 50)  # type: ignore[misc]
            os.kill(postmaster_pid(data_dir), signal.SIGKILL)
            # An orphaned backend goes on answering until the supervisor ends it.
            copy.wait_until(lambda killed=killed: copy.said.count(KILLED) == killed)  # type: ignore[misc]
        so_far = len(acknowledged)
        copy.wait_until(lambda: len(acknowledged) > so_far + 50)
    finally:
        done.set()
        writer.join()
    copy.wait_until(lambda: query(url, "SELECT 1") == [(1,)])
    kept = {row[0] for row in query(url, "SELECT number FROM numbers") or []}
    assert acknowledged <= kept
    assert copy.said.count(KILLED) == KILLS


def test_it_ends_a_busy_orphan_of_a_killed_postmaster(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir).wait_ready()
    url = copy.runtime.owner_url
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as busy:
        # It never looks up from its loop, so it does not notice that its postmaster is gone.
        loop = "DO $$ BEGIN LOOP END LOOP; END $$"
        busy.pgconn.send_query(loop.encode())
        copy.wait_until(lambda: query(url, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DO%'"))
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        copy.wait_until(lambda: query(url, "SELECT 1") == [(1,)])


def test_it_leaves_no_process_when_the_supervisor_is_killed(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir).wait_ready()
    query(copy.runtime.owner_url, "INSERT INTO numbers VALUES (7)")
    copy.process.kill()
    copy.process.wait()
    copy.wait_until(lambda: not processes_of(data_dir), within_s=ORPHANS_GONE_S)
    assert (data_dir / "runtime.json").exists(), "this test is about a file that nobody could remove"
    assert attach(copy.settings) is None
    assert DataFolder(data_dir).try_lock()


def test_it_starts_again_right_after_a_kill_with_every_committed_row(
    start: Callable[..., Copy], data_dir: Path
) -> None:
    copy = start(data_dir).wait_ready()
    query(copy.runtime.owner_url, "INSERT INTO numbers VALUES (7)")
    copy.process.kill()
    copy.process.wait()
    again = start(data_dir).wait_ready()  # the first one's children may still be ending
    assert query(again.runtime.owner_url, "SELECT number FROM numbers") == [(7,)]
    assert again.end(signal.SIGINT) == 0


def test_it_prints_the_url_of_the_running_copy_when_started_twice(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir)
    copy.wait_until(DataFolder(data_dir).has_owner)  # it still boots
    second = start(data_dir, port=copy.settings.port)
    assert second.process.wait(PATIENCE_S) == 0
    assert f"http://127.0.0.1:{copy.settings.port}\n" in second.said
    assert copy.wait_ready().process.poll() is None
    assert f"process {copy.process.pid}" in second.said


def test_it_is_found_by_commands_on_the_same_folder_only(start: Callable[..., Copy], data_dir: Path) -> None:
    copy = start(data_dir).wait_ready()
    found = attach(copy.settings)
    assert found is not None
    assert (data_dir / "runtime.json").stat().st_mode & 0o777 == 0o600
    with endpoints(copy.settings) as used:
        assert used == found
        assert query(used.database_url, "SELECT 1") == [(1,)]
    assert query(found.database_url, "SELECT 1") == [(1,)], "a command that attached stops nothing"
    elsewhere = copy.settings.model_copy(update={"secretaria_data_dir": data_dir.parent / "other"})
    assert attach(elsewhere) is None
    named = copy.settings.model_copy(update={"database_url": "postgresql://somewhere/else"})
    replaced = attach(named)
    assert replaced is not None
    assert replaced.database_url == replaced.owner_url == "postgresql://somewhere/else"
    assert replaced.redis_url == found.redis_url


def test_it_runs_side_by_side_with_a_copy_on_another_folder(
    start: Callable[..., Copy], make_booted_data_dir: Callable[[], Path]
) -> None:
    copies = [start(make_booted_data_dir()), start(make_booted_data_dir())]
    urls = {copy.wait_ready().runtime.database_url for copy in copies}
    assert len(urls) == 2
    assert copies[0].end() == 0
    assert query(copies[1].runtime.database_url, "SELECT 1") == [(1,)]


def test_it_starts_no_server_when_the_settings_name_them(
    start: Callable[..., Copy], make_data_dir: Callable[[], Path], running: tuple[EmbeddedServers, Endpoints]
) -> None:
    data_dir = make_data_dir()
    copy = start(data_dir, servers=running[1], behaviour="grateful").wait_ready()
    found = attach(copy.settings)
    assert found is not None
    assert (found.database_url, found.redis_url) == (running[1].database_url, running[1].redis_url)
    assert found.admin_url is None
    assert not (data_dir / "postgres").exists()
    assert not (data_dir / "valkey").exists()
    assert copy.end() == 0
    assert ("web",) in (query(running[1].owner_url, "SELECT name FROM farewells") or [])


def test_it_kills_a_child_that_does_not_listen_when_asked_twice(
    start: Callable[..., Copy], make_data_dir: Callable[[], Path], running: tuple[EmbeddedServers, Endpoints]
) -> None:
    data_dir = make_data_dir()
    copy = start(data_dir, servers=running[1], behaviour="deaf").wait_ready()
    copy.process.send_signal(signal.SIGINT)
    copy.wait_until(lambda: "stopping" in copy.said)
    assert copy.end(signal.SIGINT) == 0
    assert processes_of(data_dir) == {}
    assert "worker did not end by itself" in copy.said


def test_it_stops_with_an_error_when_a_child_says_it_is_misconfigured(
    start: Callable[..., Copy], make_data_dir: Callable[[], Path], running: tuple[EmbeddedServers, Endpoints]
) -> None:
    data_dir = make_data_dir()
    copy = start(data_dir, servers=running[1], behaviour="misconfigured")
    assert copy.process.wait(PATIENCE_S) == 1
    assert "cannot run as configured" in copy.said
    assert processes_of(data_dir) == {}


def test_it_names_the_port_when_another_program_holds_it(
    start: Callable[..., Copy], make_data_dir: Callable[[], Path]
) -> None:
    data_dir = make_data_dir()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        copy = start(data_dir, port=holder.getsockname()[1])
        assert copy.process.wait(PATIENCE_S) == 1
    assert "PORT" in copy.said
    assert processes_of(data_dir) == {}


def test_it_stops_at_once_when_terminated_while_it_boots(
    start: Callable[..., Copy], make_data_dir: Callable[[], Path]
) -> None:
    data_dir = make_data_dir()
    copy = start(data_dir)
    copy.wait_until((data_dir / "embedded.json").exists)
    assert copy.end() == 0
    assert processes_of(data_dir) == {}
    with endpoints(copy.settings) as found:
        assert query(found.database_url, "SELECT 1") == [(1,)]
