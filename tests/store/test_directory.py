"""The wall behind the door: an entry only for who names its key, rows only of the company that was entered."""

import psycopg
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.store import api_keys, directory
from secretaria.store.database import Connection, Role, create_pool, transaction
from secretaria.store.directory import Entry, Kind

pytestmark = pytest.mark.anyio


async def count(connection: Connection, table: str) -> int:
    cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
async def two_companies(application: Application) -> tuple[int, int]:
    now = application.clock()
    ours, theirs = [await application.companies.create(PROCESS, name, now=now) for name in ("Nossa", "Alheia")]
    return ours.company_id, theirs.company_id


async def test_a_door_sees_only_the_entry_whose_key_it_names(
    application: Application, two_companies: tuple[int, int]
) -> None:
    made = [await application.access.create_api_key(PROCESS, company_id) for company_id in two_companies]
    async with transaction(application.database.door) as connection:
        assert await count(connection, "directory") == 0
        found = await directory.find(connection, Kind.API_KEY, made[0].key.key_id)
        assert found == Entry(two_companies[0], made[0].key.key_id)
        assert await count(connection, "directory") == 1
        assert await directory.find(connection, Kind.SESSION, made[0].key.key_id) is None
        assert await api_keys.find(connection, two_companies[0], made[0].key.key_id) is None
        await directory.enter_company(connection, two_companies[0])
        assert await api_keys.find(connection, two_companies[0], made[0].key.key_id) is not None
        assert await api_keys.find(connection, two_companies[1], made[1].key.key_id) is None


async def test_a_door_adds_no_entry_for_another_company(
    application: Application, two_companies: tuple[int, int]
) -> None:
    ours, theirs = two_companies
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with transaction(application.database.door, company_id=ours) as connection:
            await directory.insert(connection, Kind.API_KEY, "0123456789abcdef", Entry(theirs, "x"))


async def test_an_entry_is_given_once(application: Application, two_companies: tuple[int, int]) -> None:
    async with transaction(application.database.door, company_id=two_companies[0]) as connection:
        entry = Entry(two_companies[0], "1")
        assert await directory.insert(connection, Kind.EMAIL, "a", entry)
        assert not await directory.insert(connection, Kind.EMAIL, "a", entry)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_connection_forgets_its_company_whether_the_transaction_ended_well_or_not(
    application: Application, two_companies: tuple[int, int], database_url: str, fails: bool
) -> None:
    pool = create_pool(database_url, Role.DOOR, size_max=1)
    await pool.open()
    try:
        for company_id in two_companies * 3:
            try:
                async with transaction(pool, company_id=company_id) as connection:
                    assert await count(connection, "companies") == 1
                    if fails:
                        await connection.execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                assert fails
            async with transaction(pool) as connection:
                assert await count(connection, "companies") == 0
    finally:
        await pool.close()
