"""Migrations: once, in order, checked; and the catalogue they leave has both walls."""

from datetime import date
from pathlib import Path

import psycopg
import pytest

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.servers import Endpoints
from secretaria.store import migrations, partitions

ROLES = ("secretaria_door", "secretaria_operator", "secretaria_ingest")


def copy_of_migrations(folder: Path) -> Path:
    for path in migrations.FOLDER.glob("*.sql"):
        (folder / path.name).write_text(path.read_text())
    return folder


def test_a_second_run_applies_nothing(owner_url: str) -> None:
    assert migrations.migrate(owner_url, serving_user="secretaria") == []


def test_a_new_file_is_applied_once_and_in_order(owner_url: str, tmp_path: Path) -> None:
    folder = copy_of_migrations(tmp_path)
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04d}_extra.sql").write_text("CREATE TABLE extra (id int); INSERT INTO extra VALUES (1);")
    assert migrations.migrate(owner_url, folder=folder) == [f"{number:04d}_extra.sql"]
    assert migrations.migrate(owner_url, folder=folder) == []
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM extra").fetchone() == (1,)


def test_a_changed_file_is_a_clear_error(owner_url: str, tmp_path: Path) -> None:
    folder = copy_of_migrations(tmp_path)
    path = folder / "0003_prices.sql"
    path.write_text(path.read_text() + "\n-- changed")
    with pytest.raises(ConfigurationError, match=r"0003_prices\.sql was changed"):
        migrations.migrate(owner_url, folder=folder)


def test_a_history_from_a_newer_version_is_a_clear_error(owner_url: str, tmp_path: Path) -> None:
    folder = copy_of_migrations(tmp_path)
    last = max(folder.glob("*.sql"))
    last.unlink()
    with pytest.raises(ConfigurationError, match="newer version"):
        migrations.migrate(owner_url, folder=folder)


def test_a_hole_in_the_history_is_a_clear_error(owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE name = '0002_companies_and_access.sql'")
    with pytest.raises(ConfigurationError, match="missing from the history"):
        migrations.migrate(owner_url)


def test_a_failing_file_leaves_nothing_behind(owner_url: str, tmp_path: Path) -> None:
    folder = copy_of_migrations(tmp_path)
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04d}_bad.sql").write_text("CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrations.migrate(owner_url, folder=folder)
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_a_running_migration_makes_the_next_one_wait_and_then_say_so(
    owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 200)
    with psycopg.connect(owner_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (migrations.ADVISORY_LOCK,))
        with pytest.raises(ConfigurationError, match="another migration is running"):
            migrations.migrate(owner_url)


def test_a_file_name_out_of_the_pattern_is_refused(tmp_path: Path) -> None:
    folder = copy_of_migrations(tmp_path)
    (folder / "extra.sql").write_text("SELECT 1")
    with pytest.raises(ConfigurationError, match="out of order"):
        migrations.read_folder(folder)


def faults_of_the_catalogue(connection: psycopg.Connection) -> list[str]:
    """Every relation with company_id lacks nothing; nobody but the owner may touch a partition or owns a thing."""
    faults = []
    tables = connection.execute(
        "SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.relkind, "
        "pg_get_userbyid(c.relowner), c.relacl::text FROM pg_class c "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') "
        "AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id')"
    ).fetchall()
    for oid, name, enabled, forced, is_partition, kind, owner, grants in tables:
        if kind in ("v", "m"):
            faults.append(f"{name}: views are not covered by row-level security here")
        if not (enabled and forced):
            faults.append(f"{name}: row-level security is not enabled and forced")
        if owner in ROLES:
            faults.append(f"{name}: owned by {owner}")
        if is_partition and grants is not None and any(role in grants for role in (*ROLES, "{=", ",=")):
            faults.append(f"{name}: a partition with grants")
        policies = connection.execute(
            "SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = %s "
            "AND 'secretaria_door'::regrole = ANY(polroles)",
            (oid,),
        ).fetchall()
        tied = any("app.company_id" in (rule or "") for _, rule in policies)
        if not is_partition and not tied and name != "directory":
            faults.append(f"{name}: no policy ties the door to its company")
    defaults = connection.execute("SELECT count(*) FROM pg_default_acl").fetchone()
    if defaults != (0,):
        faults.append("there are default privileges")
    return faults


def test_every_table_with_company_id_has_its_walls_partitions_made_later_included(endpoints: Endpoints) -> None:
    partitions.ensure_months(endpoints.owner_url, date(2031, 1, 1), date(2031, 2, 1))
    with psycopg.connect(endpoints.admin_url) as connection:
        assert faults_of_the_catalogue(connection) == []


@pytest.mark.parametrize(
    "fault",
    [
        "CREATE TABLE careless (company_id bigint)",
        "ALTER TABLE usage_daily NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE usage_events DISABLE ROW LEVEL SECURITY",
        "DROP POLICY company ON prices",
        "GRANT SELECT ON {partition} TO secretaria_door",
        "ALTER TABLE sessions OWNER TO secretaria_door",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO secretaria_door",
        "CREATE VIEW leak AS SELECT * FROM usage_daily",
    ],
)
def test_the_walk_over_the_catalogue_finds_what_is_broken(endpoints: Endpoints, fault: str) -> None:
    with psycopg.connect(endpoints.admin_url) as connection:
        row = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_events'::regclass LIMIT 1"
        ).fetchone()
        assert row is not None
        connection.execute(fault.format(partition=row[0]).encode())
        assert faults_of_the_catalogue(connection)
        connection.rollback()


def test_without_a_company_a_door_sees_no_rows_and_with_one_only_its_own(endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("INSERT INTO companies (name) VALUES ('a'), ('b')")
        connection.execute("INSERT INTO usage_daily SELECT company_id, '2026-11-20', 1, 1,1,1,1,1,1 FROM companies")
    with psycopg.connect(endpoints.database_url, options="-c role=secretaria_door") as connection:
        assert connection.execute("SELECT count(*) FROM usage_daily").fetchone() == (0,)
        connection.execute("SELECT set_config('app.company_id', '2', true)")
        assert connection.execute("SELECT company_id FROM usage_daily").fetchall() == [(2,)]
        connection.rollback()
        # After SET LOCAL the setting is '' and not NULL: still no rows, and no error.
        assert connection.execute("SELECT count(*) FROM usage_daily").fetchone() == (0,)


def test_a_door_cannot_write_figures_or_read_a_partition(endpoints: Endpoints) -> None:
    for statement in (
        "INSERT INTO usage_daily VALUES (1, '2026-11-20', 1, 1,1,1,1,1,1)",
        "UPDATE prices SET amount = 0",
        "DELETE FROM audit_log",
        "SELECT * FROM {partition}",
    ):
        with psycopg.connect(endpoints.database_url, options="-c role=secretaria_door") as connection:
            connection.execute("SELECT set_config('app.company_id', '1', true)")
            row = connection.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_events'::regclass LIMIT 1"
            ).fetchone()
            assert row is not None
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(partition=row[0]).encode())


def test_the_serving_role_inherits_nothing(endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.database_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM companies")
