"""Killed at named points of the transaction that counts and decides: one alert a line and period, and its delivery."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.servers import Endpoints
from tests.services.test_crossings import make_plan
from tests.shop import make_company, rows

PROGRAM = Path(__file__).with_name("alert_writer.py")
COMPANIES = 20
EVENTS = 6
LIMIT = 6  # the last event crosses: what was lost there, no later usage would repair
LINES = 2
RUNS_MAX = 30
POINTS = (
    "alert.enqueued",
    pytest.param("crossing.decided", marks=pytest.mark.long),
    pytest.param("alert.inserted", marks=pytest.mark.long),
    pytest.param("group.counted", marks=pytest.mark.long),
    pytest.param("group.committed", marks=pytest.mark.long),
)


def write(endpoints: Endpoints, companies: list[int], failpoint: str = "") -> int:
    env = os.environ | {"SECRETARIA_FAILPOINT": failpoint, "SECRETARIA_TEST": "1"}
    command = [sys.executable, PROGRAM, endpoints.database_url, endpoints.redis_url, ",".join(map(str, companies)), str(EVENTS)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, env=env | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}, cwd=root, check=False, timeout=60).returncode


@pytest.mark.parametrize("point", POINTS)
def test_a_writer_killed_while_it_decides_leaves_exactly_one_alert_and_one_delivery_a_line(
    endpoints: Endpoints, point: str
) -> None:
    companies = [make_company(endpoints.admin_url, f"Empresa {number}") for number in range(COMPANIES)]
    for company in companies:
        make_plan(endpoints.admin_url, company, messages=LIMIT)
    with psycopg.connect(endpoints.admin_url) as connection:
        connection.execute(
            "INSERT INTO delivery_endpoints (company_id, channel, address, events, created_at) VALUES "
            "(0, 'webhook', 'https://alerts.example.com/', '{usage.limit.warning,usage.limit.critical}', now())"
        )
    codes = [write(endpoints, companies, f"{point}:1:kill")]
    # Each run comes a step further, so that each decision is killed once, the last one too. Groups of repeats pass the
    # group points as well.
    while codes[-1] and len(codes) < RUNS_MAX:
        nth = 2 * len(codes) if point.startswith("group") else 2
        codes.append(write(endpoints, companies, f"{point}:{nth}:kill"))
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert len(codes) > LINES
    alerts = "SELECT threshold, count(*)::int, count(DISTINCT company_id)::int FROM alerts GROUP BY 1 ORDER BY 1"
    assert rows(endpoints.admin_url, alerts) == [
        (80, COMPANIES, COMPANIES), (100, COMPANIES, COMPANIES),
    ]  # fmt: skip
    deliveries = "SELECT count(*)::int, count(DISTINCT (about_company_id, alert_id))::int FROM deliveries"
    assert rows(endpoints.admin_url, deliveries) == [(2 * COMPANIES, 2 * COMPANIES)]
    assert rows(endpoints.admin_url, "SELECT DISTINCT messages_outbound::int FROM period_counters") == [(EVENTS,)]


@pytest.mark.parametrize(
    ("text", "in_tests"), [("group.counted:1:kill", ""), ("group.counted:0:kill", "1"), ("group.counted:1:jump", "1")]
)
def test_a_failpoint_is_refused_outside_tests_or_when_it_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, text: str, in_tests: str
) -> None:
    from secretaria import failpoint

    monkeypatch.setenv("SECRETARIA_FAILPOINT", text)
    monkeypatch.setenv("SECRETARIA_TEST", in_tests)
    with pytest.raises(ConfigurationError, match="SECRETARIA_FAILPOINT"):
        failpoint._armed()
