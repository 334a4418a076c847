"""How long reading takes, beside a SELECT 1 through the same stack: `make bench`, `make bench-full`.

Two databases of one embedded PostgreSQL with its real settings: the same company with two years of history and
30 accounts, once with 100 thousand events and once with many more, each served by a `secretaria web` of its own.
Every request is measured in turn with its floor and with its like in the other database, so that a moment in which
the machine is busy elsewhere falls on all of them. Prints a table, writes bench-results/.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from floor import API_PATH, PAGE_PATH
from history import DAYS, fill
from ingest import wait_until_ready

from secretaria.bootstrap import application
from secretaria.core.access import PROCESS, Scope
from secretaria.core.plan import PlanTerms
from secretaria.embedded.postgres import free_port
from secretaria.embedded.servers import EmbeddedServers, Endpoints
from secretaria.settings import Settings
from secretaria.store import migrations
from secretaria.store.database import transaction
from secretaria.store.recompute import recompute

SMALL_EVENTS: Final = 100_000
OTHER_COMPANIES: Final = 249  # with ours, 250 companies of 400 days are 100 thousand lines
EXPORT_DAYS: Final = 400
GROWTH_MAX: Final = 1.3
PAGE_RATIO_MAX: Final = 10.0
API_RATIO_MAX: Final = 5.0
RECOMPUTE_RATIO_MAX: Final = 10.0
PDF_MAX_S: Final = 0.5
CSV_MAX_S: Final = 1.0
MEMORY_MAX_MB: Final = 200
SLOW_REQUESTS: Final = 7
RECEIVE_BYTES: Final = 256 * 1024
ANSWER_WAIT_S: Final = 120.0
HEAD: Final = f"{'figure':<36}{'median ms':>10}{'p99 ms':>9}{'floor':>8}{'ratio':>7}{'growth':>8}{'KB':>7}  goal"
PRICES: Final = {"BILLING_COST_PER_MESSAGE": "0.05", "BILLING_COST_PER_THOUSAND_TOKENS": "0.02"}


@dataclass(frozen=True)
class Asked:
    """What is measured: an address of `{company}` and `{account}`, its credential, its floor and its goal."""

    name: str
    path: str
    credential: str = "member"
    floor: str | None = PAGE_PATH
    ratio_max: float | None = PAGE_RATIO_MAX
    seconds_max: float | None = None
    is_slow: bool = False


@dataclass(frozen=True)
class Measured:
    """Milliseconds of one address in the large database; growth is to its own time in the small one."""

    name: str
    median_ms: float
    p99_ms: float
    floor_ms: float | None
    ratio: float | None
    small_ms: float | None
    growth: float | None
    bytes: int
    goal: str
    met: bool | None


@dataclass(frozen=True)
class Site:
    """A database with its history, and the web process that serves it."""

    endpoints: Endpoints
    company_id: int
    account_id: int
    credentials: dict[str, str]
    events: int

    def path_of(self, asked: Asked) -> str:
        return asked.path.format(company=self.company_id, account=self.account_id)


class Wire:
    """One kept-alive connection; answers are read to their end and thrown away."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str, credential: str) -> tuple[float, int]:
        """Return the seconds from the request to the answer's last byte, and how many bytes it had."""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}\r\n\r\n".encode()
        started = time.perf_counter()
        self._socket.sendall(request)
        size = self._read(path)
        return time.perf_counter() - started, size

    def _read(self, path: str) -> int:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:80]!r} {received[-300:]!r}")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size, tail = len(body), body[-5:]
        if lengths:
            while size < int(lengths[0].partition(b":")[2]):
                size += len(self._more())
            return size
        while tail != b"0\r\n\r\n":
            piece = self._more()
            size, tail = size + len(piece), (tail + piece)[-5:]
        return size

    def _more(self) -> bytes:
        piece = self._socket.recv(RECEIVE_BYTES)
        if not piece:
            raise RuntimeError("the connection was closed")
        return piece


def everything(today: date) -> list[Asked]:
    """Return what is measured; the first two are the floors."""
    page, api = "/empresas/{company}", "/api/analytics"
    long = f"?de={today - timedelta(days=399)}&ate={today}"
    month = f"?de={today.replace(day=1)}&ate={today}"
    longest = f"from={today - timedelta(days=EXPORT_DAYS - 1)}&to={today}"
    key = {"credential": "key", "floor": API_PATH, "ratio_max": API_RATIO_MAX}
    file = {"credential": "key", "floor": None, "ratio_max": None, "is_slow": True}
    return [
        Asked("floor: page, SELECT 1", PAGE_PATH, floor=None, ratio_max=None),
        Asked("floor: API, SELECT 1", API_PATH, "key", floor=None, ratio_max=None),
        Asked("GET summary", api + "/summary?company_id={company}", **key),
        Asked("GET history, week", api + "/history?company_id={company}&period=week", **key),
        Asked("GET history, month", api + "/history?company_id={company}&period=month", **key),
        Asked("GET account details", "/api/whatsapp-accounts/{account}/details", **key),
        Asked("page Resumo", page),
        Asked("page Analytics, this month", page + "/analytics"),
        Asked("page Analytics, 30 days", page + "/analytics?periodo=30d"),
        Asked("page Analytics, 30 days by account", page + "/analytics?periodo=30d&dim=conta"),
        Asked("page Analytics, today by hour", page + "/analytics?periodo=hoje"),
        Asked("page Analytics, 400 days", page + "/analytics" + long),
        Asked("page Contas, 30 accounts", page + "/contas"),
        Asked("page Explicar, this month", page + "/explicar" + month),
        Asked("page Empresas (operator)", "/empresas", "operator"),
        Asked("CSV of a month", api + "/export?company_id={company}&format=csv", **{**file, "is_slow": False}),
        Asked("CSV, 100 thousand lines", f"{api}/export?format=csv&{longest}", **{**file, "credential": "operator_key"},
              seconds_max=CSV_MAX_S),
        Asked("XLSX of a month", api + "/export?company_id={company}&format=xlsx", **file),
        Asked("PDF of a month", api + "/export?company_id={company}&format=pdf", **file, seconds_max=PDF_MAX_S),
    ]  # fmt: skip


async def prepare(settings: Settings, endpoints: Endpoints, events: int, rate_every: str) -> Site:
    """Make companies, people, keys and a plan, and fill the history."""
    async with application(settings, endpoints) as running:
        now = running.clock()
        born = now - timedelta(days=DAYS + 1)
        ids = [
            (await running.companies.create(PROCESS, f"Company {number}", now=born)).company_id
            for number in range(OTHER_COMPANIES + 1)
        ]
        company_id, others = ids[0], ids[1:]
        terms = PlanTerms(messages=events, tokens=events * 200)
        plan = await running.plans.create(PROCESS, "Bench", terms, now=now)
        await running.plans.assign(PROCESS, company_id, plan.plan_id, now=now)
        made = await asyncio.to_thread(
            fill, endpoints, company_id, others, events=events, now=now, rate_every=rate_every
        )
        account = (await running.accounts.list(PROCESS, company_id, limit=1))[0]
    found = await credentials(settings, endpoints, company_id)
    return Site(endpoints, company_id, account.account_id, found, made.events)


async def credentials(settings: Settings, endpoints: Endpoints, company_id: int) -> dict[str, str]:
    """Make a member, an operator and a key of each; return the header lines that stand for them."""
    async with application(settings, endpoints) as running:
        access, found = running.access, {}
        mark = os.urandom(4).hex()
        for role, home in (("member", company_id), ("operator", None)):
            email = f"{role}-{mark}@example.com"
            await access.create_user(PROCESS, email, role=role, company_id=home, password=os.urandom(12).hex())
            found[role] = f"Cookie: panel_token={(await access.panel_token(PROCESS, email)).token}"
        for name, home in (("key", company_id), ("operator_key", None)):
            key = await access.create_api_key(PROCESS, home, [Scope.ANALYTICS_READ], "bench")
            found[name] = f"Authorization: Bearer {key.text}"
    return found


async def seconds_of_sums(settings: Settings, site: Site) -> tuple[float, float]:
    """Return how long adding everything up again takes, and its floor: one sum over the events."""
    async with application(settings, site.endpoints) as running:
        took = []
        for is_floor in (True, False):
            async with transaction(running.database.operator, snapshot=True) as connection:
                await connection.execute("SET LOCAL statement_timeout = 0")
                started = time.perf_counter()
                if is_floor:
                    await connection.execute(
                        "SELECT count(*), sum(messages), sum(tokens_input), sum(tokens_output), sum(response_ms), "
                        "sum(response_count) FROM usage_events"
                    )
                elif found := await recompute(connection, None):
                    raise RuntimeError(f"the sums differ from the events: {found[:2]}")
                took.append(time.perf_counter() - started)
    return took[1], took[0]


@contextmanager
def web_process(endpoints: Endpoints, data_dir: Path) -> Iterator[tuple[int, int]]:
    """Run `secretaria web` with the floors; yields its port and its process id."""
    port = free_port(None)
    environment = os.environ | {
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "REDIS_URL": endpoints.redis_url,
        "SECRETARIA_DATA_DIR": str(data_dir),
        "PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("floor.py"))], env=environment)
    try:
        wait_until_ready(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def measure(asked: Asked, sites: Sequence[Site], ports: Sequence[int], *, requests: int) -> Measured:
    """Ask in turn: the floor and the address, in the small and in the large database."""
    count = min(requests, SLOW_REQUESTS) if asked.is_slow else requests
    wires = [Wire(port) for port in ports]
    floors: list[list[float]] = [[] for _ in sites]
    times: list[list[float]] = [[] for _ in sites]
    size = 0
    for turn in range(-2, count):
        for place, (site, wire) in enumerate(zip(sites, wires, strict=True)):
            credential = site.credentials[asked.credential]
            if asked.floor:
                floor_s, _ = wire.get(asked.floor, credential)
            took_s, size = wire.get(site.path_of(asked), credential)
            if turn >= 0:
                times[place].append(took_s * 1000)
                if asked.floor:
                    floors[place].append(floor_s * 1000)
    return _measured(asked, times, floors, size)


def _measured(asked: Asked, times: list[list[float]], floors: list[list[float]], size: int) -> Measured:
    last = sorted(times[-1])
    own = median(last)
    floor = median(floors[-1]) if asked.floor else None
    ratio = own / floor if floor else None
    small = median(times[0]) if len(times) > 1 else None
    growth = own / small if small else None
    goals, met = [], []
    if asked.ratio_max is not None and ratio is not None:
        goals.append(f"{asked.ratio_max:.0f}x")
        met.append(ratio <= asked.ratio_max)
    if asked.seconds_max is not None:
        goals.append(f"{asked.seconds_max} s")
        met.append(own <= asked.seconds_max * 1000)
    if growth is not None and goals:
        met.append(growth <= GROWTH_MAX)
    p99 = last[max(int(len(last) * 0.99) - 1, 0)]
    return Measured(
        asked.name, own, p99, floor, ratio, small, growth, size, " ".join(goals), all(met) if met else None
    )


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def told(one: Measured) -> Measured:
    """Print a line of the table as soon as it is known."""
    floor = "" if one.floor_ms is None else f"{one.floor_ms:.1f}"
    ratio = "" if one.ratio is None else f"{one.ratio:.1f}"
    growth = "" if one.growth is None else f"{one.growth:.2f}"
    verdict = "" if one.met is None else ("met" if one.met else "MISSED")
    print(
        f"{one.name:<36}{one.median_ms:>10.1f}{one.p99_ms:>9.1f}{floor:>8}{ratio:>7}{growth:>8}"
        f"{one.bytes / 1024:>7.0f}  {one.goal} {verdict}",
        flush=True,
    )
    return one


def write_json(report: dict[str, Any]) -> Path:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    path = Path("bench-results") / f"pages-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    about = {"commit": commit, "at": datetime.now(UTC).isoformat(), "machine": machine, "load": os.getloadavg()}
    path.write_text(json.dumps(about | report, indent=2) + "\n")
    return path


def database(endpoints: Endpoints, name: str, *, is_new: bool) -> Endpoints:
    """Return a migrated database of the server by name; a new one replaces what is left of an earlier try."""

    def within(url: str | None) -> str:
        return urlunsplit(urlsplit(url or "")._replace(path=f"/{name}"))

    with psycopg.connect(endpoints.admin_url or "", autocommit=True) as connection:
        if is_new:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name} OWNER secretaria_owner")
    found = replace(
        endpoints,
        database_url=within(endpoints.database_url),
        owner_url=within(endpoints.owner_url),
        admin_url=within(endpoints.admin_url),
    )
    migrations.migrate(found.owner_url, serving_user="secretaria")
    return found


def site_of(endpoints: Endpoints, name: str, events: int, rate_every: str, *, folder: Path) -> Site:
    """Return a filled database, filling it where it is new."""
    settings, note = Settings.load(), folder / f"{name}.json"
    is_new = not note.exists()
    found = database(endpoints, name, is_new=is_new)
    started = time.perf_counter()
    if is_new:
        site = asyncio.run(prepare(settings, found, events, rate_every))
        note.write_text(json.dumps([site.company_id, site.account_id, site.events]))
        print(f"{name}: {site.events:,} events of the company in {time.perf_counter() - started:.0f} s", flush=True)
        return site
    company_id, account_id, count = json.loads(note.read_text())
    return Site(found, company_id, account_id, asyncio.run(credentials(settings, found, company_id)), count)


def run(servers: EmbeddedServers, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Fill, serve and measure; return what is written down."""
    endpoints = servers.start()
    sites = [
        site_of(endpoints, name, events, chosen.rate_every, folder=folder)
        for name, events in (("bench_small", SMALL_EVENTS), ("bench_large", chosen.events))
    ]
    today = datetime.now(UTC).astimezone().date()
    with ExitStack() as stack:
        running = [stack.enter_context(web_process(site.endpoints, folder / "web")) for site in sites]
        ports = [port for port, _ in running]
        wanted = [asked for asked in everything(today) if chosen.only in asked.name]
        print(HEAD)
        found = [told(measure(asked, sites, ports, requests=chosen.requests)) for asked in wanted]
        memory = [memory_mb(pid) for _, pid in running]
    if not chosen.only:
        sums = asyncio.run(seconds_of_sums(Settings.load(), sites[-1]))
        found.append(told(_recomputed(*sums)))
    print(f"memory of the web processes: {', '.join(f'{mb:.0f} MB' for mb in memory)} (goal {MEMORY_MAX_MB} MB)")
    return {
        "seed": "none: the same number of events on the same day is the same history",
        "events": [site.events for site in sites],
        "other_companies": OTHER_COMPANIES,
        "rate_every": chosen.rate_every,
        "requests": chosen.requests,
        "memory_mb": memory,
        "figures": [asdict(one) for one in found],
    }


def _recomputed(took_s: float, floor_s: float) -> Measured:
    ratio = took_s / floor_s
    goal, met = f"{RECOMPUTE_RATIO_MAX:.0f}x", ratio <= RECOMPUTE_RATIO_MAX
    return Measured(
        "recomputation of all sums", took_s * 1000, took_s * 1000, floor_s * 1000, ratio, None, None, 0, goal, met
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1_000_000, help="of the company in the large database")
    arguments.add_argument("--requests", type=int, default=40, help="of each address")
    arguments.add_argument("--rate-every", default="1 month", help="how far apart exchange rates are published")
    arguments.add_argument("--only", default="", help="measure only what has this in its name")
    arguments.add_argument("--data", type=Path, help="keep the databases here, and use them again")
    chosen = arguments.parse_args()
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    os.environ |= PRICES
    folder = chosen.data or Path(tempfile.mkdtemp(prefix="secretaria-bench-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    os.environ["SECRETARIA_DATA_DIR"] = str(folder / "web")
    servers = EmbeddedServers(folder / "servers")
    try:
        report = run(servers, folder, chosen)
    finally:
        servers.stop()
        if chosen.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {write_json(report)}")
    missed = [one["name"] for one in report["figures"] if one["met"] is False]
    print(f"goals: {'all met' if not missed else 'missed by ' + ', '.join(missed)}")


if __name__ == "__main__":
    main()
