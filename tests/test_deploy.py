"""The files of deploy/ are under test: what they name exists, and what they promise is in them. They are not run here."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from secretaria.cli import app
from secretaria.embedded.children import EXIT_CONFIGURATION
from secretaria.jobs import SHUTDOWN_WAIT_S
from secretaria.settings import Settings
from secretaria.web.server import SHUTDOWN_GRACE_S
from secretaria.web.webhooks import WEBHOOK_BODY_BYTES_MAX

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
SETTINGS = {name.upper() for name in Settings.model_fields}
# Read by others than our Settings, and by whom.
OTHERS = {
    "PROMETHEUS_MULTIPROC_DIR": "the metrics' library",
    "PATH": "the shell",
    "PYTHONUNBUFFERED": "Python",
    "POSTGRES_PASSWORD": "the image of PostgreSQL",
    "SECRETARIA_OWNER_PASSWORD": "deploy/postgres-init.sh",
    "SECRETARIA_LOGIN_PASSWORD": "deploy/postgres-init.sh",
}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def text(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


@pytest.fixture
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text("compose.yaml"))
    return found


def last_stage() -> str:
    return text("Dockerfile").rpartition("\nFROM ")[2]


def of_unit(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def test_every_setting_that_is_named_exists(compose: dict[str, Any]) -> None:
    named = set(re.findall(r"^([A-Z][A-Z_]+)=", text("secretaria.env.example") + text("postgres.env.example"), re.MULTILINE))
    for service in compose["services"].values():
        named |= set(service.get("environment", {}))
    for unit in UNITS:
        named |= {word.partition("=")[0] for line in of_unit(unit, "Environment") for word in shlex.split(line)}
    named |= set(re.findall(r"^\s*(?:ENV )?([A-Z_]+)=\S+(?: \\)?$", last_stage(), re.MULTILINE))
    named |= set(re.findall(r"^#   ([A-Z_]+)=", text("nginx.conf"), re.MULTILINE))
    assert {"DATABASE_URL", "REDIS_URL", "TRUSTED_PROXIES", "WEB_CONCURRENCY", "HOST", "PORT"} <= named
    assert named - SETTINGS - OTHERS.keys() == set()


def test_every_command_that_is_run_exists(compose: dict[str, Any]) -> None:
    commands = [service.get("command", [""]) for service in compose["services"].values()]
    run = [command for command in commands if command[0] == "secretaria"]
    run += [shlex.split(line)[-2:] for unit in UNITS for key in ("ExecStart", "ExecStartPre") for line in of_unit(unit, key)]
    run += [re.findall(r'"([^"]+)"', line) for line in re.findall(r"^CMD (.*)$", last_stage(), re.MULTILINE)]
    words = [command[1] for command in run]
    assert {"web", "worker", "migrate"} <= set(words)
    assert set(words) - COMMANDS == set()


def test_the_image_has_hashes_no_root_no_tools_and_a_health_check() -> None:
    whole, last = text("Dockerfile"), last_stage()
    assert "--require-hashes -r requirements.txt" in whole
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["10001"]
    assert "/readyz" in last
    assert not re.search(r"apt-get|build-essential|gcc|pip install", last)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", whole, re.MULTILINE)
    assert [name for names in copied for name in names.split() if not (DEPLOY.parent / name).exists()] == []


def test_services_start_in_order_restart_and_prove_their_health(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "web", "worker"}
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("web", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for name in ("postgres", "valkey", "web", "worker"):
        assert services[name]["restart"] == "unless-stopped"
    for name in ("postgres", "valkey"):
        assert services[name]["healthcheck"]["test"]
    assert int(services["postgres"]["image"].partition(":")[2][:2]) >= 16
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"], "reached through the proxy only"


def test_secrets_come_from_files_that_are_not_in_the_repository(compose: dict[str, Any]) -> None:
    assert {service.get("env_file") for service in compose["services"].values()} == {"postgres.env", "secretaria.env", None}
    for name in ("postgres.env", "secretaria.env"):
        assert (DEPLOY / f"{name}.example").exists()
        assert f"deploy/{name}" in (DEPLOY.parent / ".gitignore").read_text("utf-8").splitlines()
    assert not re.search(r"(?:PASSWORD|SECRET|KEY)=\S", text("secretaria.env.example") + text("postgres.env.example"))
    for service in compose["services"].values():
        files = [mount.partition(":")[0] for mount in service.get("volumes", []) if mount.startswith(".")]
        assert [file for file in files if not (DEPLOY / file).exists()] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_run_without_rights_and_wait_for_what_is_under_way(unit: Path) -> None:
    assert of_unit(unit, "User") == ["secretaria"]
    assert of_unit(unit, "RestartPreventExitStatus") == [str(EXIT_CONFIGURATION)]
    assert of_unit(unit, "NoNewPrivileges") == of_unit(unit, "ProtectHome") == ["yes"]
    assert of_unit(unit, "ProtectSystem") == ["strict"]
    wait_s = SHUTDOWN_WAIT_S if "worker" in unit.name else SHUTDOWN_GRACE_S
    assert int(of_unit(unit, "TimeoutStopSec")[0]) > wait_s


def test_the_proxy_holds_no_stream_back_believes_no_visitor_and_takes_every_body() -> None:
    proxy = text("nginx.conf")
    stream = proxy.partition("location = /_/eventos {")[2].partition("}")[0]
    assert "proxy_buffering off;" in stream
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy
    assert re.search(r"location = /metrics \{\s+return 404;", proxy)
    megabytes = int(re.findall(r"client_max_body_size (\d+)m;", proxy)[0])
    assert megabytes * 1024 * 1024 > WEBHOOK_BODY_BYTES_MAX
