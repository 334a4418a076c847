"""From the crossing to the first POST of its webhook, while usage comes in: `python bench/alerts.py`.

A real `secretaria up`; a receiver on this machine; background clients that send at half the rate this machine took
when asked for all. One company after another crosses a line by one event. Measured from the moment before that event
is sent to the arrival of the signed POST, so the ingest itself is part of it. Prints a table, writes bench-results/.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from ingest import bodies, prepare, wait_until_ready

from secretaria.bootstrap import application
from secretaria.core.access import PROCESS
from secretaria.core.plan import PlanTerms
from secretaria.embedded.postgres import free_port
from secretaria.embedded.runtime import find_running
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings

GOAL_P99_S = 1.0
LOAD_CONNECTIONS = 2
FULL_RATE_S = 3.0
BETWEEN_CROSSINGS_S = 0.05
ARRIVALS_WAIT_S = 30.0


class Receiver(ThreadingHTTPServer):
    """Takes every webhook and notes when the first of each company came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.arrivals: dict[int, float] = {}
        self.ids: list[str] = []


class _Hook(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.arrivals.setdefault(body["data"]["company_id"], time.perf_counter())
        self.server.ids.append(self.headers["webhook-id"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


class Load:
    """Sends batches on LOAD_CONNECTIONS connections, at a share of what goes through."""

    def __init__(self, port: int, key: str, companies: list[int]) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._companies = companies
        self._stopping = threading.Event()
        self.sent = 0

    def run(self, *, pause_share: float) -> list[threading.Thread]:
        self._stopping.clear()
        threads = [threading.Thread(target=self._run, args=(pause_share,)) for _ in range(LOAD_CONNECTIONS)]
        for thread in threads:
            thread.start()
        return threads

    def stop(self, threads: list[threading.Thread]) -> None:
        self._stopping.set()
        for thread in threads:
            thread.join()

    def _run(self, pause_share: float) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            while not self._stopping.is_set():
                (body,) = bodies(1_000, self._companies, uuid.uuid4().hex)
                started = time.perf_counter()
                connection.request("POST", "/api/usage", body, self._headers)
                connection.getresponse().read()
                self.sent += 1_000
                time.sleep((time.perf_counter() - started) * pause_share)


async def make_crossers(settings: Settings, endpoints: Endpoints, count: int) -> list[int]:
    """Make companies that the next message brings to 80 % of their plan."""
    async with application(settings, endpoints) as running:
        now = running.clock()
        plan = await running.plans.create(PROCESS, f"bench {uuid.uuid4().hex[:8]}", PlanTerms(messages=10), now=now)
        made = [
            (await running.companies.create(PROCESS, f"Crosser {number}", now=now)).company_id
            for number in range(count)
        ]
        for company_id in made:
            await running.plans.assign(PROCESS, company_id, plan.plan_id, now=now)
        return made


def post(port: int, key: str, company_id: int, event_id: str, messages: int) -> None:
    event = {
        "specversion": "1.0", "id": event_id, "source": "bench", "type": "usage.recorded", "subject": str(company_id),
        "data": {"direction": "outbound", "messages": messages},
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/api/usage", json.dumps(event).encode(), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {answer.read()[:200]!r}")
        answer.read()


def measure(settings: Settings, receiver: Receiver, count: int) -> dict[str, Any]:
    """Return the seconds from crossing to arrival, by company, and what load there was."""
    running = find_running(settings)
    if running is None:
        raise RuntimeError("the copy is not running")
    load_companies, key = asyncio.run(prepare(settings, running.endpoints, 50))
    crossers = asyncio.run(make_crossers(settings, running.endpoints, count))
    for company_id in crossers:
        post(settings.port, key, company_id, "first", 7)
    load = Load(settings.port, key, load_companies)
    started = time.perf_counter()
    threads = load.run(pause_share=0)
    time.sleep(FULL_RATE_S)
    load.stop(threads)
    full_rate = load.sent / (time.perf_counter() - started)
    load.sent, started = 0, time.perf_counter()
    threads = load.run(pause_share=1)
    crossed_at = {}
    for company_id in crossers:
        crossed_at[company_id] = time.perf_counter()
        post(settings.port, key, company_id, "second", 1)
        time.sleep(BETWEEN_CROSSINGS_S)
    half_rate = load.sent / (time.perf_counter() - started)
    load.stop(threads)
    deadline = time.monotonic() + ARRIVALS_WAIT_S
    while len(receiver.arrivals) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    waits = sorted(receiver.arrivals[of] - crossed_at[of] for of in crossers if of in receiver.arrivals)
    return {
        "alerts": count,
        "arrived": len(waits),
        "ids": len(set(receiver.ids)),
        "posts": len(receiver.ids),
        "p50_ms": round(median(waits) * 1000),
        "p99_ms": round(waits[int(len(waits) * 0.99) - 1] * 1000),
        "max_ms": round(waits[-1] * 1000),
        "load_events_per_s": round(half_rate),
        "full_events_per_s": round(full_rate),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--alerts", type=int, default=200)
    chosen = arguments.parse_args()
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="secretaria-bench-") as folder:
        Path(folder).chmod(0o711)
        os.environ |= {
            "SECRETARIA_DATA_DIR": str(Path(folder) / "var"),
            "PORT": str(free_port(None)),
            "BILLING_ALERT_WEBHOOK_URL": f"http://127.0.0.1:{receiver.server_port}/",
            "BILLING_ALERT_WEBHOOK_PRIVATE": "true",
        }
        settings = Settings.load()
        process = subprocess.Popen(
            [sys.executable, "-m", "secretaria", "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until_ready(settings.port, process)
            found = measure(settings, receiver, chosen.alerts)
        finally:
            process.terminate()
            process.wait(60)
    for name, value in found.items():
        print(f"{name:<22}{value:>10,}")
    path = Path("bench-results") / f"alerts-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    missed = found["p99_ms"] / 1000 - GOAL_P99_S
    once = found["arrived"] == found["ids"] == found["posts"] == found["alerts"]
    verdict = "met" if missed <= 0 and once else "missed"
    print(f"goal: every alert once, p99 from crossing to POST within {GOAL_P99_S:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
