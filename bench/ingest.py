"""Ingest over HTTP against a bare COPY of the same rows: `make bench`.

Floor: psycopg COPY (text), 1,000 rows a commit, into one plain table of the same columns with a primary key on
(company_id, identity). Ours: POST /api/usage, 1,000 events a request, 4 connections, every guarantee on. Both on the
same embedded PostgreSQL with its real settings, in turn, slice by slice: the ratio is the median of the slices', so
that a moment in which the machine is busy elsewhere does not decide. Prints a table, writes bench-results/*.json.
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
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import psycopg

from secretaria.bootstrap import application
from secretaria.core.access import PROCESS, Scope
from secretaria.embedded.servers import EmbeddedServers, Endpoints
from secretaria.inbound.cloudevents import parse
from secretaria.settings import Settings
from secretaria.store import migrations, partitions

BATCH_EVENTS = 1_000
CONNECTIONS = 4
SLICES = 5
WARM_UP_EVENTS = 20_000
READY_WAIT_S = 30.0
GOAL = 0.25

COLUMNS = (
    "company_id, occurred_at, identity, series_id, day, hour, messages, tokens_input, tokens_output, response_ms, "
    "response_count, source, event_id, wamid, template_id, cost_center, corrects"
)


@dataclass(frozen=True)
class Figure:
    """Rows a second of one way to write, and its ratio to the floor of the same run."""

    name: str
    rows_per_s: float
    ratio: float


def event_times(count: int) -> Iterator[datetime]:
    now = datetime.now(UTC)
    return (now - timedelta(seconds=number % 3600, microseconds=number % 1000) for number in range(count))


def bodies(count: int, companies: Sequence[int], prefix: str) -> list[bytes]:
    """Return request bodies of BATCH_EVENTS events each, companies mixed in every batch."""
    events = [
        {
            "specversion": "1.0",
            "id": f"{prefix}-{number:09d}",
            "source": "bot-1",
            "type": "usage.recorded",
            "time": moment.isoformat(),
            "subject": str(companies[number % len(companies)]),
            "data": {
                "direction": "outbound" if number % 2 else "inbound",
                "messages": 1,
                "tokens_input": 120 + number % 7,
                "tokens_output": 80,
                "response_ms": 850,
                "model": "gpt-4o",
            },
        }
        for number, moment in enumerate(event_times(count))
    ]
    return [
        json.dumps(events[begin : begin + BATCH_EVENTS], separators=(",", ":")).encode()
        for begin in range(0, count, BATCH_EVENTS)
    ]


class Floor:
    """COPY into one plain table, which grows from slice to slice as ours does."""

    def __init__(self, url: str, companies: Sequence[int]) -> None:
        self._connection = psycopg.connect(url)
        self._companies = companies
        self._connection.execute("DROP TABLE IF EXISTS bench_floor")
        self._connection.execute(
            "CREATE TABLE bench_floor (LIKE usage_events INCLUDING DEFAULTS, PRIMARY KEY (company_id, identity))"
        )
        self._connection.commit()

    def measure(self, count: int) -> float:
        """Return rows/s of one slice."""
        lines = [
            f"{self._companies[number % len(self._companies)]}\t{moment.isoformat()}\t{uuid.uuid4().hex}\t"
            f"{number % 400}\t{moment.date()}\t{moment.hour}\t1\t{120 + number % 7}\t80\t850\t1\t"
            f"bot-1\tfloor-{number:09d}\t\\N\t\\N\t\\N\t\\N\n"
            for number, moment in enumerate(event_times(count))
        ]
        batches = ["".join(lines[begin : begin + BATCH_EVENTS]) for begin in range(0, count, BATCH_EVENTS)]
        started = time.perf_counter()
        for batch in batches:
            with self._connection.cursor() as cursor, cursor.copy(f"COPY bench_floor ({COLUMNS}) FROM STDIN") as copy:
                copy.write(batch)
            self._connection.commit()
        return count / (time.perf_counter() - started)

    def close(self) -> None:
        self._connection.execute("DROP TABLE bench_floor")
        self._connection.commit()
        self._connection.close()


async def measure_in_process(
    settings: Settings, endpoints: Endpoints, slices: Sequence[Sequence[bytes]]
) -> list[float]:
    """Return rows/s of the same path without HTTP, in this process, by slice; the first slice only warms up."""
    async with application(settings, endpoints) as running:

        async def client(share: Sequence[bytes]) -> None:
            for body in share:
                parsed = parse({"content-type": "application/json"}, body)
                result = await running.ingest.submit(
                    PROCESS, parsed.events, now=running.clock(), rejected=parsed.rejected
                )
                if result.accepted != BATCH_EVENTS:
                    raise RuntimeError(f"{result.accepted} of {BATCH_EVENTS} accepted: {result.rejected[:1]}")

        rates = []
        for sent in slices:
            started = time.perf_counter()
            await asyncio.gather(*(client(sent[turn::CONNECTIONS]) for turn in range(CONNECTIONS)))
            rates.append(len(sent) * BATCH_EVENTS / (time.perf_counter() - started))
        return rates[1:]


def measure_http(port: int, key: str, sent: Sequence[bytes]) -> float:
    """Return rows/s over CONNECTIONS kept-alive connections, each waiting for its answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    failures: list[str] = []

    def client(share: Sequence[bytes]) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for body in share:
            connection.request("POST", "/api/usage", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or json.loads(text)["accepted"] != BATCH_EVENTS:
                failures.append(f"{answer.status} {text[:200]!r}")
                return
        connection.close()

    elapsed_s = in_threads(client, sent)
    if failures:
        raise RuntimeError(failures[0])
    return len(sent) * BATCH_EVENTS / elapsed_s


def in_threads(client: Callable[[Sequence[bytes]], None], sent: Sequence[bytes]) -> float:
    threads = [threading.Thread(target=client, args=(sent[turn::CONNECTIONS],)) for turn in range(CONNECTIONS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


@contextmanager
def web_process(endpoints: Endpoints, data_dir: Path) -> Iterator[int]:
    """Run `secretaria web` as operators do; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "REDIS_URL": endpoints.redis_url,
        "SECRETARIA_DATA_DIR": str(data_dir),
        "PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "secretaria", "web"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the web process did not become ready")


async def prepare(settings: Settings, endpoints: Endpoints, count: int) -> tuple[list[int], str]:
    """Make companies and an operator's key."""
    async with application(settings, endpoints) as running:
        now = running.clock()
        companies = [
            (await running.companies.create(PROCESS, f"Company {number}", now=now)).company_id
            for number in range(count)
        ]
        key = await running.access.create_api_key(PROCESS, None, [Scope.USAGE_WRITE], "bench")
    return companies, key.text


def run_round(endpoints: Endpoints, data_dir: Path, *, events: int, companies: int) -> list[Figure]:
    """Measure floor and ours in turn, slice by slice, after a warm-up of each."""
    settings = Settings.load()
    ids, key = asyncio.run(prepare(settings, endpoints, companies))
    prefix = uuid.uuid4().hex[:8]
    size = max(events // SLICES // BATCH_EVENTS, CONNECTIONS) * BATCH_EVENTS
    floor = Floor(endpoints.owner_url, ids)
    floor.measure(WARM_UP_EVENTS)
    floors, over_http = [], []
    with web_process(endpoints, data_dir) as port:
        measure_http(port, key, bodies(WARM_UP_EVENTS, ids, f"{prefix}-v"))
        for number in range(SLICES):
            sent = bodies(size, ids, f"{prefix}-h{number}")
            floors.append(floor.measure(size))
            over_http.append(measure_http(port, key, sent))
    slices = [bodies(WARM_UP_EVENTS, ids, f"{prefix}-w")]
    slices += [bodies(size, ids, f"{prefix}-p{number}") for number in range(SLICES)]
    in_process = asyncio.run(measure_in_process(settings, endpoints, slices))
    floor.close()
    return [
        Figure(f"floor: COPY into one table, {companies} companies", median(floors), 1.0),
        _figure(f"ingest without HTTP, {companies} companies", in_process, floors),
        _figure(f"ingest over HTTP, {companies} companies", over_http, floors),
    ]


def _figure(name: str, rates: Sequence[float], floors: Sequence[float]) -> Figure:
    ratios = [rate / floor for rate, floor in zip(rates, floors, strict=True)]
    return Figure(name, median(rates), median(ratios))


def print_table(figures: Sequence[Figure]) -> None:
    print(f"{'figure':<46}{'rows/s':>12}{'ratio':>8}")
    for figure in figures:
        print(f"{figure.name:<46}{figure.rows_per_s:>12,.0f}{figure.ratio:>8.2f}")


def write_json(figures: Sequence[Figure], events: int) -> Path:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    found = {
        "commit": commit,
        "at": datetime.now(UTC).isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "events": events,
        "figures": [asdict(figure) for figure in figures],
    }
    path = Path("bench-results") / f"ingest-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    return path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=200_000)
    arguments.add_argument("--companies", type=int, nargs="+", default=[200, 20])
    chosen = arguments.parse_args()
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    folder = Path(tempfile.mkdtemp(prefix="secretaria-bench-"))
    folder.chmod(0o711)
    os.environ["SECRETARIA_DATA_DIR"] = str(folder / "web")
    servers = EmbeddedServers(folder / "servers")
    figures: list[Figure] = []
    try:
        endpoints = servers.start()
        migrations.migrate(endpoints.owner_url, serving_user="secretaria")
        partitions.ensure_around(endpoints.owner_url, datetime.now(UTC).date())
        for companies in chosen.companies:
            figures += run_round(endpoints, folder / "web", events=chosen.events, companies=companies)
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print_table(figures)
    print(f"written to {write_json(figures, chosen.events)}")
    worst = min(figure.ratio for figure in figures if "HTTP" in figure.name and "without" not in figure.name)
    verdict = "met" if worst >= GOAL else f"missed by {GOAL - worst:.2f}"
    print(f"goal: over HTTP at least {GOAL} of the floor: {verdict}")


if __name__ == "__main__":
    main()
