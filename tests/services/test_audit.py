"""The audit log's chain: every tampering is found and named, and the serving roles cannot tamper."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from tests.shop import OPERATOR, make_company, rows

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS, Caller, Scope
from secretaria.core.audit_chain import GENESIS, Break, changed, line_hash
from secretaria.core.errors import NotAllowed, NotFound
from secretaria.embedded.servers import Endpoints
from secretaria.services.audit import PAGE_LINES_PROVEN
from secretaria.services.companies import CompanyService
from secretaria.store import audit
from secretaria.store.database import transaction

pytestmark = pytest.mark.anyio

LINES = 5


async def write(application: Application, company_id: int, count: int, *, door: bool = False) -> None:
    pool = application.database.door if door else application.database.operator
    for number in range(count):
        async with transaction(pool, company_id=company_id) as connection:
            detail = {"number": number, "name": "Clínica \u2028 ☎", "amount": "0.10", "none": None, "many": [1, True]}
            await audit.insert(connection, company_id, actor="user:1", action="x.changed", subject="x", detail=detail)


@pytest.fixture
async def company_id(application: Application, endpoints: Endpoints) -> int:
    made = make_company(endpoints.admin_url)
    await write(application, made, LINES)
    return made


def as_owner(endpoints: Endpoints, *statements: str) -> None:
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount == 1, statement


async def test_a_chain_written_by_both_roles_is_whole(application: Application, company_id: int) -> None:
    await write(application, company_id, 2, door=True)
    found = await application.audit.verify(PROCESS, company_id)
    assert (found.broken, found.lines, found.before) == (None, LINES + 2, 0)


def test_the_hash_is_what_the_decision_says() -> None:
    at = datetime(2026, 11, 20, 9, 30, tzinfo=datetime.strptime("-0300", "%z").tzinfo)
    text = (
        b'\x01[1,2,"2026-11-20T12:30:00.000000+00:00","user:1","a.b","c:3",{"a":"\xc3\xa7","b":null},"'
        + b"0" * 64 + b'"]'
    )  # fmt: skip
    import hashlib

    found = line_hash(
        company_id=1, sequence=2, at=at, actor="user:1", action="a.b", subject="c:3",
        detail={"b": None, "a": "ç"}, previous=GENESIS,
    )  # fmt: skip
    assert found == hashlib.sha256(text).digest()


FIELDS = (
    "actor = 'user:2'", "action = 'x.done'", "subject = 'y'", "at = at + interval '1 microsecond'",
    "detail = jsonb_set(detail, '{number}', '9')", "detail = detail - 'none'", "hash = sha256('x')",
)  # fmt: skip


@pytest.mark.parametrize("change", FIELDS)
async def test_one_changed_field_is_found_at_its_line(
    application: Application, endpoints: Endpoints, company_id: int, change: str
) -> None:
    as_owner(endpoints, f"UPDATE audit_log SET {change} WHERE company_id = {company_id} AND sequence = 3")
    broken = (await application.audit.verify(PROCESS, company_id)).broken
    assert broken is not None
    assert (broken.sequence, broken.what) == (3, Break.CONTENT)
    assert "line 3" in broken.sentence


STRAY = """
INSERT INTO audit_log (company_id, actor, action, subject{}) SELECT max(company_id), 'u', 'a', 's'{} FROM audit_log
"""


@pytest.mark.parametrize(
    ("statements", "line", "what"),
    [
        (["DELETE FROM audit_log WHERE sequence = 3"], 3, Break.MISSING),
        (["DELETE FROM audit_log WHERE sequence = 1"], 1, Break.MISSING),
        (["DELETE FROM audit_log WHERE sequence = 5"], 5, Break.MISSING),
        (
            [
                "UPDATE audit_log SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit_log SET sequence = 2 WHERE sequence = 4",
                "UPDATE audit_log SET sequence = 4 WHERE sequence = 99",
            ],
            2,
            Break.CONTENT,
        ),
        (["UPDATE audit_heads SET hash = sha256('x')"], 5, Break.HEAD),
        (["UPDATE audit_heads SET sequence = 4"], 5, Break.HEAD),
        (["UPDATE audit_heads SET sequence = 7"], 6, Break.MISSING),
        (["DELETE FROM audit_heads"], 5, Break.HEAD),
        (["UPDATE audit_log SET sequence = NULL, hash = NULL WHERE sequence = 3"], 3, Break.MISSING),
        (
            [STRAY.format("", "")],
            1,
            Break.UNNUMBERED,
        ),
        (
            [STRAY.format(", sequence", ", 0")],
            5,
            Break.COUNT,
        ),
        (
            ["UPDATE audit_log SET company_id = company_id + 1 WHERE sequence = 5"],
            5,
            Break.MISSING,
        ),
    ],
)  # fmt: skip
async def test_what_the_owner_does_to_the_chain_is_found_and_the_line_named(
    application: Application, endpoints: Endpoints, company_id: int, statements: list[str], line: int, what: Break
) -> None:
    as_owner(endpoints, *statements)
    broken = (await application.audit.verify(PROCESS, company_id)).broken
    assert broken is not None
    assert (broken.sequence, broken.what) == (line, what)
    assert f"line {line}" in broken.sentence


async def test_lines_from_before_the_chain_are_counted_and_prove_nothing(
    application: Application, endpoints: Endpoints
) -> None:
    made = make_company(endpoints.admin_url)
    as_owner(
        endpoints, f"INSERT INTO audit_log (company_id, actor, action, subject) VALUES ({made}, 'user:1', 'a.b', 'c')"
    )
    await write(application, made, 2)
    found = await application.audit.verify(PROCESS, made)
    assert (found.broken, found.lines, found.before) == (None, 2, 1)


async def test_two_writers_at_once_keep_one_chain(application: Application, company_id: int) -> None:
    await asyncio.gather(
        *(write(application, company_id, 10, door=door) for door in (True, False, True, False))
    )
    found = await application.audit.verify(PROCESS, company_id)
    assert (found.broken, found.lines) == (None, LINES + 40)


async def test_a_rolled_back_change_leaves_no_gap(application: Application, company_id: int) -> None:
    async def undone() -> None:
        async with transaction(application.database.operator) as connection:
            await audit.insert(connection, company_id, actor="a", action="b", subject="c")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await undone()
    await write(application, company_id, 1)
    assert (await application.audit.verify(PROCESS, company_id)).broken is None


async def test_verification_goes_over_more_than_one_page(application: Application, endpoints: Endpoints) -> None:
    made, heard = make_company(endpoints.admin_url), []
    async with transaction(application.database.operator) as connection:
        for _ in range(PAGE_LINES_PROVEN + 1):
            await audit.insert(connection, made, actor="a", action="b", subject="c")
    found = await application.audit.verify(PROCESS, made, heard.append)
    assert (found.broken, found.lines, heard) == (None, PAGE_LINES_PROVEN + 1, [PAGE_LINES_PROVEN, 1])


@pytest.mark.parametrize("role", ["secretaria_door", "secretaria_operator", "secretaria_ingest"])
async def test_no_serving_role_can_change_or_delete_a_line(
    endpoints: Endpoints, company_id: int, role: str
) -> None:
    for table, right in (("log", "UPDATE"), ("log", "DELETE"), ("log", "TRUNCATE"), ("heads", "DELETE")):
        granted = rows(endpoints.admin_url, "SELECT has_table_privilege(%s, %s, %s)", role, f"audit_{table}", right)
        assert granted == [(False,)], (table, right)
    column = "SELECT has_any_column_privilege(%s, 'audit_log', 'UPDATE')"
    assert rows(endpoints.admin_url, column, role) == [(False,)]
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with psycopg.connect(endpoints.database_url, options=f"-c role={role}") as connection:
            connection.execute("SELECT set_config('app.company_id', %s, true)", (str(company_id),))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_a_member_reads_its_own_lines_newest_first_and_a_reading_key_none(
    application: Application, endpoints: Endpoints, company_id: int
) -> None:
    other = make_company(endpoints.admin_url, "Alheia")
    await write(application, other, 1)
    member = Caller(company_id, "user:1", frozenset({Scope.ANALYTICS_READ, Scope.KEYS_WRITE}))
    found = await application.audit.page(member)
    assert [line.sequence for line in found] == [5, 4, 3, 2, 1]
    below = await application.audit.page(member, after=found[1].audit_id, limit=2)
    assert [line.sequence for line in below] == [3, 2]
    with pytest.raises(NotFound):
        await application.audit.page(member, other)
    with pytest.raises(NotAllowed):
        await application.audit.page(Caller(company_id, "key:1", frozenset({Scope.ANALYTICS_READ})))
    with pytest.raises(NotAllowed):
        await application.audit.verify(member, company_id)
    assert len(await application.audit.page(OPERATOR)) == LINES + 1
    assert await application.audit.page(OPERATOR, company_id, action="y") == []
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await application.audit.page(OPERATOR, company_id, since=tomorrow) == []


async def test_a_number_with_a_fraction_is_refused_before_it_is_written(
    application: Application, company_id: int
) -> None:
    async def attempt(value: object) -> None:
        async with transaction(application.database.operator) as connection:
            detail = {"amount": value}
            await audit.insert(connection, company_id, actor="a", action="b", subject="c", detail=detail)

    for value in (0.5, float("nan"), Decimal("0.5")):
        with pytest.raises(TypeError):
            await attempt(value)
    assert (await application.audit.verify(PROCESS, company_id)).lines == LINES


def test_a_change_names_the_fields_that_differ_and_their_two_values() -> None:
    before, after = {"a": 1, "b": 2, "c": None}, {"a": 1, "b": 3, "d": 4}
    assert changed(before, after) == {"before": {"b": 2, "d": None}, "after": {"b": 3, "d": 4}}
    assert json.dumps(changed({}, {})) == '{"before": {}, "after": {}}'


async def test_prices_cards_keys_and_users_tell_from_what_to_what(application: Application) -> None:
    now = application.clock()
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=now)).company_id
    dearer = application.settings.model_copy(update={"billing_cost_per_message": Decimal("0.07")})
    await CompanyService(application.database, dearer).sync_prices(now)
    for card in ("meta-brl", "product"):
        await application.rate_cards.activate(OPERATOR, company_id, card=card, now=now)
    key = (await application.access.create_api_key(OPERATOR, company_id, name="robô")).key
    await application.access.revoke_api_key(OPERATOR, key.key_id)
    email = "ana@example.com"
    await application.access.create_user(
        OPERATOR, email, role="member", company_id=company_id, password="correct horse"
    )
    await application.access.disable_user(OPERATOR, email)
    lines = {line.action: line.detail for line in reversed(await application.audit.page(OPERATOR, company_id))}
    priced = lines["prices.set"]
    assert [text.split(" from ")[0] for text in priced["before"]["prices"]] == ["messages 0.05 BRL per 1"]
    assert [text.split(" from ")[0] for text in priced["after"]["prices"]] == ["messages 0.07 BRL per 1"]
    chosen = lines["rate_card.activated"]
    assert (chosen["before"]["card"], chosen["after"]["card"]) == ("meta-brl", "product")
    assert lines["api_key.revoked"]["before"] == {"scopes": ["analytics:read", "usage:write"], "name": "robô"}
    assert lines["user.created"]["after"] == {"role": "member", "locale": "pt-BR"}
    assert lines["user.disabled"] == {"before": {"disabled": False}, "after": {"disabled": True}, "sessions_ended": 0}
    assert (await application.audit.verify(PROCESS, company_id)).broken is None
