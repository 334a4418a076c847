"""A server that would acknowledge what is not on disk is refused, wherever the setting hides."""

import psycopg
import pytest

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.servers import Endpoints
from secretaria.store.database import Database, check_server, transaction

pytestmark = pytest.mark.anyio


async def check(endpoints: Endpoints) -> None:
    database = Database.create(endpoints.database_url)
    await database.open()
    try:
        async with transaction(database.operator) as connection:
            await check_server(connection)
    finally:
        await database.close()


async def test_a_durable_server_is_taken(endpoints: Endpoints) -> None:
    await check(endpoints)


@pytest.mark.parametrize(
    ("statement", "undo", "where"),
    [
        ("ALTER ROLE secretaria SET synchronous_commit = off", "ALTER ROLE secretaria RESET ALL", "for role secretaria"),
        ("ALTER ROLE secretaria_owner SET synchronous_commit = 0", "ALTER ROLE secretaria_owner RESET ALL", "secretaria_owner"),
        ("ALTER DATABASE {database} SET synchronous_commit = off", "", "in database"),
        ("ALTER ROLE secretaria IN DATABASE {database} SET synchronous_commit = off", "", "for role secretaria in database"),
    ],
)  # fmt: skip
async def test_synchronous_commit_off_is_refused_and_the_place_named(
    endpoints: Endpoints, statement: str, undo: str, where: str
) -> None:
    database = endpoints.database_url.rsplit("/", 1)[1]
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(statement.format(database=database).encode())
    try:
        with pytest.raises(ConfigurationError, match=f"synchronous_commit is off .*{where}"):
            await check(endpoints)
    finally:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            if undo:
                connection.execute(undo.encode())


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_a_server_that_runs_with_it_off_is_refused(endpoints: Endpoints, name: str) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
        try:
            while connection.execute(f"SHOW {name}".encode()).fetchone() != ("off",):
                pass
            with pytest.raises(ConfigurationError, match=f"{name} is off on this server"):
                await check(endpoints)
        finally:
            connection.execute(f"ALTER SYSTEM RESET {name}".encode())
            connection.execute("SELECT pg_reload_conf()")
