"""Real PostgreSQL and Valkey for every test: one server a session, one cloned database a test."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from psycopg import sql

from secretaria.bootstrap import Application
from secretaria.bootstrap import application as build_application
from secretaria.embedded.scratch import servers_for_tests
from secretaria.embedded.servers import Endpoints
from secretaria.settings import Settings
from secretaria.store import migrations, partitions

_numbers = itertools.count(1)


def in_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[Endpoints]:
    """The session's servers, with a migrated template database."""
    with servers_for_tests() as endpoints:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE template_migrated OWNER secretaria_owner STRATEGY wal_log")
        owner_url = in_database(endpoints.owner_url, "template_migrated")
        migrations.migrate(owner_url, serving_user="secretaria")
        partitions.ensure_around(owner_url, datetime.now(UTC).date())
        yield endpoints


@pytest.fixture
def endpoints(server: Endpoints) -> Iterator[Endpoints]:
    """A fresh migrated database of the test's own, and an empty Valkey."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template_migrated OWNER secretaria_owner STRATEGY wal_log").format(
                sql.Identifier(name)
            )
        )
    with redis.Redis.from_url(server.redis_url) as client:
        client.flushall()
    yield replace(
        server,
        database_url=in_database(server.database_url, name),
        owner_url=in_database(server.owner_url, name),
        admin_url=in_database(server.admin_url, name),
    )
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(endpoints: Endpoints) -> str:
    return endpoints.database_url


@pytest.fixture
def owner_url(endpoints: Endpoints) -> str:
    return endpoints.owner_url


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a shop that set its two prices, whatever the developer's own environment holds."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("BILLING_COST_PER_MESSAGE", "0.05")
    monkeypatch.setenv("BILLING_COST_PER_THOUSAND_TOKENS", "0.02")
    monkeypatch.setenv("SECRETARIA_DATA_DIR", str(tmp_path / "var"))
    return Settings.load()


@pytest.fixture
async def application(settings: Settings, endpoints: Endpoints) -> AsyncIterator[Application]:
    async with build_application(settings, endpoints) as built:
        yield built
