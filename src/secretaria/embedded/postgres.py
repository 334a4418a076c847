"""The embedded PostgreSQL: made once (scram, checksums), configured at every start, stopped fast."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql

from secretaria.core.errors import ConfigurationError
from secretaria.embedded import processes
from secretaria.embedded.account import Account
from secretaria.embedded.binaries import PostgresBinaries, wheel_postgres_folders
from secretaria.embedded.folder import DataFolder, State, log_tail, private_folder, sync_folder, write_private
from secretaria.embedded.postgres_config import configuration
from secretaria.embedded.terminal import say

ADMIN_ROLE = "secretaria_admin"
OWNER_ROLE = "secretaria_owner"
LOGIN_ROLE = "secretaria"
DATABASE = "secretaria"
PORTS = range(20000, 30000)  # below what kernels hand out for outgoing connections
PORT_TRIES_MAX = 200
BOOT_TIMEOUT_S = 600  # crash recovery of a large WAL takes minutes
PROGRESS_S = 5.0
POLL_S = 0.02
INITDB_TIMEOUT_S = 300
# Fast shutdown writes a checkpoint; immediate shutdown leaves that to recovery at the next start.
STOP_ESCALATION = ((signal.SIGINT, 120.0), (signal.SIGQUIT, 10.0))
HURRIED_ESCALATION = ((signal.SIGQUIT, 10.0),)

_PROVISION = """
CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD {owner_password};
CREATE ROLE {login} LOGIN NOINHERIT PASSWORD {login_password};
CREATE ROLE secretaria_door NOLOGIN;
CREATE ROLE secretaria_operator NOLOGIN;
CREATE ROLE secretaria_ingest NOLOGIN BYPASSRLS;
GRANT secretaria_door, secretaria_operator, secretaria_ingest TO {login} WITH INHERIT FALSE, SET TRUE;
GRANT secretaria_door, secretaria_operator, secretaria_ingest
    TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
"""
_GRANTS = """
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {login};
GRANT TEMPORARY ON DATABASE {database} TO {login}, secretaria_ingest, secretaria_door, secretaria_operator;
"""


class PostgresServer:
    """One PostgreSQL over <home>/postgres; its URLs are known once `start` has returned."""

    name = "postgres"
    escalation = STOP_ESCALATION
    hurried = HURRIED_ESCALATION

    def __init__(
        self, folder: DataFolder, state: State, account: Account, binaries: PostgresBinaries, sockets: Path
    ) -> None:
        self._folder, self._state, self._account = folder, state, account
        self._binaries, self._sockets = binaries, sockets
        self._home = folder.home(state)
        self.data = self._home / "postgres"
        self.log = folder.log("postgres")
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, role: str, database: str = DATABASE) -> str:
        """A libpq URL over TCP for one of the login roles."""
        password = quote(self._state.passwords[role], safe="")
        return f"postgresql://{role}:{password}@127.0.0.1:{self._state.port}/{quote(database)}"

    # Starting

    def prepare(self, *, shared_buffers_mb: int | None = None, durable_initdb: bool = True) -> None:
        """Make the data if there is none, check its version, write the configuration. Needs the folder's lock."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        elif self._state.provisioned:
            raise ConfigurationError(
                f"the database that was in {self.data} is gone: bring it back, or remove "
                f"{self._folder.state_path} to begin an empty one"
            )
        else:
            self._make_data(durable=durable_initdb)
        if ADMIN_ROLE not in self._state.passwords:
            raise ConfigurationError(f"the passwords of {self.data} are lost: bring {self._folder.state_path} back")
        self._forget_dead_postmaster()
        self._state.port = free_port(self._state.port)
        self._folder.save_state(self._state)
        settings = configuration(
            self._binaries,
            self.data,
            self._sockets,
            port=self._state.port,
            shared_buffers_mb=shared_buffers_mb,
        )
        write_private(self.data / "secretaria.conf", settings.encode(), self._account)
        rules = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        write_private(self.data / "pg_hba.conf", rules.encode(), self._account)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server process; it is ready when `wait_ready` has returned."""
        with self.log.open("ab") as log:
            self.process = processes.spawn(
                [self._binaries.folder / "postgres", "-D", self.data],
                death_signal=signal.SIGINT,
                account=self._account,
                env=_environment(),
                cwd=self._home,
                log=log,
                inherit=[self._folder.lock_fd],
            )
        return self.process

    def wait_ready(self) -> None:
        """Wait as long as recovery takes; raises ConfigurationError with the log's end if the server dies."""
        started = reported = time.monotonic()
        while not self.is_ready():
            if self.process is None or self.process.poll() is not None:
                raise ConfigurationError(f"PostgreSQL did not start:\n{log_tail(self.log)}")
            now = time.monotonic()
            if now - started > BOOT_TIMEOUT_S:
                raise ConfigurationError(f"PostgreSQL was not ready after {BOOT_TIMEOUT_S} s:\n{log_tail(self.log)}")
            if now - reported > PROGRESS_S:
                reported = now
                last = log_tail(self.log, 1).strip()
                say(f"PostgreSQL is still starting ({now - started:.0f} s): {last}")
            time.sleep(POLL_S)

    def is_ready(self) -> bool:
        """What the server says of itself in postmaster.pid: asking by connection would fill its log."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return self.process is not None and int(lines[0]) == self.process.pid and lines[7].strip() == "ready"
        except (OSError, ValueError, IndexError):
            return False

    def provision(self) -> None:
        """Make the roles and the database at the first start; an interrupted first start is completed."""
        if self._state.provisioned:
            return
        passwords = self._state.passwords
        names = {
            "owner": sql.Identifier(OWNER_ROLE),
            "owner_password": sql.Literal(passwords[OWNER_ROLE]),
            "login": sql.Identifier(LOGIN_ROLE),
            "login_password": sql.Literal(passwords[LOGIN_ROLE]),
            "database": sql.Identifier(DATABASE),
        }
        with psycopg.connect(self.url(ADMIN_ROLE, "postgres"), autocommit=True) as connection:
            if _is_absent(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", OWNER_ROLE):
                with connection.transaction():
                    connection.execute(sql.SQL(_PROVISION).format(**names))
            if _is_absent(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
                connection.execute(sql.SQL("CREATE DATABASE {database} OWNER {owner}").format(**names))
            connection.execute(sql.SQL(_GRANTS).format(**names))
        self._state.provisioned = True
        self._folder.save_state(self._state)

    def stop(self, *, hurry: bool = False) -> None:
        """Stop it and wait. Nothing committed is lost in either way; hurried, the next start recovers."""
        if self.process is not None:
            processes.stop(self.process, HURRIED_ESCALATION if hurry else STOP_ESCALATION)

    # The data folder

    def _check_version(self) -> None:
        major = (self.data / "PG_VERSION").read_text().strip()
        if major == str(self._binaries.major):
            return
        fitting = [folder for folder in wheel_postgres_folders() if _major_of(folder) == major]
        old = f"PG_BIN={fitting[0]}" if fitting else f"PG_BIN=<the bin folder of a PostgreSQL {major}>"
        raise ConfigurationError(
            f"the data in {self.data} was made by PostgreSQL {major}, but the programs in "
            f"{self._binaries.folder} are PostgreSQL {self._binaries.version}. Nothing was changed. To go on with "
            f"the old version: {old}. To move to the new one: start the old one so, dump with its pg_dump, stop, "
            f"move {self.data} and {self._folder.state_path} away, start without PG_BIN, restore with pg_restore."
        )

    def _make_data(self, *, durable: bool) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            raise ConfigurationError(f"{self.data} holds files but no PostgreSQL data: move them away")
        for role in (ADMIN_ROLE, OWNER_ROLE, LOGIN_ROLE):
            self._state.passwords.setdefault(role, secrets.token_urlsafe(24))
        self._state.provisioned = False
        self._folder.save_state(self._state)
        draft = self.data.with_name("postgres.unfinished")  # an interrupted initdb is thrown away, never used
        if self._binaries.major >= 17:
            locales = [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
        else:
            locales = [["--locale=C.UTF-8"], ["--locale=C"]]  # C.UTF-8 is not in every libc
        failures = []
        for locale in locales:
            shutil.rmtree(draft, ignore_errors=True)
            failure = self._initdb(draft, [*locale, *([] if durable else ["--no-sync"])])
            if failure is None:
                break
            failures.append(failure)
        else:
            raise ConfigurationError(f"initdb failed: {failures[-1]}")
        with (draft / "postgresql.conf").open("a") as file:
            file.write("\n# Written anew at every start. ALTER SYSTEM and what follows this line win.\n")
            file.write("include_if_exists = 'secretaria.conf'\n")
        if self.data.exists():
            self.data.rmdir()
        draft.rename(self.data)
        sync_folder(self._home)

    def _initdb(self, draft: Path, options: list[str]) -> str | None:
        private_folder(draft, self._account)
        password = self._home / ".initdb-password"
        write_private(password, self._state.passwords[ADMIN_ROLE].encode(), self._account)
        command: list[str | Path] = [self._binaries.folder / "initdb", "-D", draft, "-U", ADMIN_ROLE]
        command += [f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", *options]
        try:
            with self.log.open("ab") as log:
                start = log.tell()
                process = processes.spawn(
                    command,
                    death_signal=signal.SIGKILL,
                    account=self._account,
                    env=_environment(),
                    cwd=self._home,
                    log=log,
                    inherit=[self._folder.lock_fd],
                )
                code = process.wait(INITDB_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"not done after {INITDB_TIMEOUT_S} s"
        finally:
            password.unlink(missing_ok=True)
        return None if code == 0 else self.log.read_bytes()[start:].decode("utf-8", "replace")

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file of a server that is gone, whose number a zombie or a stranger has now.

        Safe only here: we hold the lock that each process of an earlier server inherited, so none is left.
        """
        path = self.data / "postmaster.pid"
        try:
            pid = int(path.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        status = processes.process_status(pid)
        if status is None or status[0] != "postgres":
            path.unlink(missing_ok=True)


def _is_absent(connection: psycopg.Connection, query: LiteralString, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is None


def free_port(wanted: int | None) -> int:
    """The wanted port of 127.0.0.1 if it is free, else another one."""
    candidates = [wanted] if wanted is not None else []
    candidates += [secrets.choice(PORTS) for _ in range(PORT_TRIES_MAX)]
    for port in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"no free port in {PORTS.start}..{PORTS.stop} on 127.0.0.1 for PostgreSQL")


def _major_of(folder: Path) -> str | None:
    try:
        command = [str(folder / "postgres"), "--version"]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return output.split(") ", 1)[-1].split(".")[0].strip()


def _environment() -> dict[str, str]:
    # Not ours: PG* variables and locales would change what the server or initdb does.
    kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
