"""Users, keys and the login throttle, as services see them: what holds under contention and over time."""

import asyncio
from datetime import datetime, timedelta

import psycopg
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import OPERATOR_COMPANY_ID, PROCESS, Caller, Scope
from secretaria.core.account import Role
from secretaria.core.errors import (
    DuplicateKey,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    SecretariaError,
    TooManyAttempts,
    Unavailable,
)
from secretaria.services import passwords
from secretaria.services.access import AccessService
from secretaria.services.credential import CredentialKind, create, parse
from secretaria.services.passwords import Passwords
from secretaria.store.sessions import SESSIONS_PER_USER_MAX

pytestmark = pytest.mark.anyio

EMAIL, PASSWORD = "ana@example.com", "correct horse"
HOME, AWAY = "203.0.113.9", "198.51.100.7"


@pytest.fixture
async def access(application: Application) -> AccessService:
    await application.access.create_user(
        PROCESS, EMAIL, role=Role.OPERATOR, company_id=None, password=PASSWORD
    )
    return application.access


@pytest.fixture
async def company_id(application: Application) -> int:
    company = await application.companies.create(PROCESS, "Clínica", now=application.clock())
    return company.company_id


async def attempt(access: AccessService, now: datetime, *, address: str = AWAY, password: str = "wrong") -> str:
    try:
        await access.login(EMAIL, password, address, now)
    except SecretariaError as error:
        return error.code
    return "in"


async def test_a_hundred_guesses_sent_at_once_are_still_five(
    access: AccessService, application: Application
) -> None:
    now = application.clock()
    # Services of their own, as so many processes: what they share is PostgreSQL.
    services = [AccessService(application.database, clock=application.clock) for _ in range(8)]
    codes = await asyncio.gather(*(attempt(services[number % 8], now) for number in range(100)))
    assert codes.count("wrong_credentials") == 5
    assert codes.count("too_many_attempts") == 95


async def test_logins_that_succeed_are_no_failures_however_many_come_at_once(
    access: AccessService, application: Application
) -> None:
    now = application.clock()
    codes = await asyncio.gather(*(attempt(access, now, password=PASSWORD) for _ in range(25)))
    assert codes == ["in"] * 25


async def test_a_network_gets_twenty_failures_over_all_accounts_and_a_ipv6_64_is_one_network(
    access: AccessService, application: Application
) -> None:
    now = application.clock()
    codes = []
    for number in range(25):
        try:
            await access.login(f"user{number}@example.com", "wrong", f"2001:db8:1:2::{number + 1}", now)
        except SecretariaError as error:
            codes.append(error.code)
    assert codes == ["wrong_credentials"] * 20 + ["too_many_attempts"] * 5
    assert await attempt(access, now, address="2001:db8:1:3::1", password=PASSWORD) == "in"


async def test_the_wait_is_told_and_ends(access: AccessService, application: Application) -> None:
    now = application.clock()
    for _ in range(5):
        await attempt(access, now)
    with pytest.raises(TooManyAttempts) as caught:
        await access.login(EMAIL, PASSWORD, AWAY, now)
    later = now + timedelta(seconds=caught.value.retry_after_s)
    assert await attempt(access, later - timedelta(seconds=1), password=PASSWORD) == "too_many_attempts"
    assert await attempt(access, later, password=PASSWORD) == "in"


async def test_one_guesser_gets_thirty_an_hour(access: AccessService, application: Application) -> None:
    start = application.clock()
    tried = 0
    for minute in range(59):
        for _ in range(5):
            tried += await attempt(access, start + timedelta(minutes=minute)) == "wrong_credentials"
    assert tried == 30


async def test_a_crowd_of_strangers_gets_300_guesses_a_day_and_does_not_lock_the_owner_out_at_home(
    access: AccessService, application: Application, endpoints: object, owner_url: str
) -> None:
    now = application.clock()
    assert await attempt(access, now - timedelta(days=20), address=HOME, password=PASSWORD) == "in"
    account = access_subject(owner_url, f"network:{HOME}")
    with psycopg.connect(owner_url) as connection:
        # 300 failures from as many networks, an hour ago.
        connection.execute(
            "INSERT INTO login_failures (subject, window_start, failures) VALUES (%s, %s, 300)",
            (account, now - timedelta(hours=1)),
        )
    assert await attempt(access, now, address=AWAY) == "too_many_attempts"
    assert await attempt(access, now, address=AWAY, password=PASSWORD) == "too_many_attempts"
    assert await attempt(access, now, address=HOME, password=PASSWORD) == "in"
    assert await attempt(access, now + timedelta(days=1), address=AWAY, password=PASSWORD) == "in"


def access_subject(owner_url: str, network: str) -> str:
    """The account's part of a row that counts it at a network."""
    with psycopg.connect(owner_url) as connection:
        row = connection.execute(
            "SELECT subject FROM login_failures WHERE subject LIKE %s", (f"account:%{network}",)
        ).fetchone()
    assert row is not None
    return str(row[0]).partition(" ")[0]


async def test_old_failures_are_removed(access: AccessService, application: Application, owner_url: str) -> None:
    now = application.clock()
    await attempt(access, now - timedelta(days=3))
    await attempt(access, now)
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT count(DISTINCT window_start) FROM login_failures").fetchone() == (1,)


async def test_a_login_under_way_loses_against_a_new_password(
    access: AccessService, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = Passwords.verify

    async def slow_verify(self: Passwords, password: bytes, password_hash: str | None) -> bool:
        right = await verify(self, password, password_hash)
        await access.set_password(PROCESS, EMAIL, "another password")
        return right

    monkeypatch.setattr(Passwords, "verify", slow_verify)
    assert await attempt(access, application.clock(), password=PASSWORD) == "wrong_credentials"


async def test_an_unknown_account_costs_the_same_work(access: AccessService, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []
    verify = passwords.PasswordHash.verify

    def noted(self: object, password: bytes, password_hash: str) -> bool:
        hashes.append(password_hash)
        return bool(verify(self, password, password_hash))

    monkeypatch.setattr(passwords.PasswordHash, "verify", noted)
    service = Passwords()
    real = await service.hash(b"secret")
    assert await service.verify(b"secret", real)
    assert not await service.verify(b"secret", None)
    assert [encoded.rsplit("$", 2)[0] for encoded in hashes] == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2


async def test_a_line_of_logins_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    service = Passwords()
    found = await asyncio.gather(*(service.verify(b"x", None) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Unavailable) for outcome in found) == 5
    assert await service.verify(b"x", None) is False


async def test_a_user_keeps_a_bounded_number_of_sessions_the_newest(
    access: AccessService, application: Application, owner_url: str
) -> None:
    tokens = [(await access.panel_token(PROCESS, EMAIL)).token for _ in range(SESSIONS_PER_USER_MAX + 3)]
    now = application.clock()
    for token in tokens[:3]:
        with pytest.raises(NotAuthenticated):
            await access.authenticate(token, now)
    for token in tokens[3:]:
        assert (await access.authenticate(token, now)).is_operator


async def test_an_address_belongs_to_one_user(access: AccessService, company_id: int) -> None:
    with pytest.raises(DuplicateKey):
        await access.create_user(
            PROCESS, "ANA@example.com", role=Role.MEMBER, company_id=company_id, password=PASSWORD
        )
    assert [user.email for user in await access.list_users(PROCESS)] == [EMAIL]


@pytest.mark.parametrize(
    ("role", "company", "code"),
    [("member", None, "role_and_company"), ("operator", 1, "role_and_company"), ("owner", 1, "unknown_role")],
)
async def test_a_member_has_a_company_and_an_operator_has_none(
    access: AccessService, role: str, company: int | None, code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await access.create_user(PROCESS, "b@example.com", role=role, company_id=company, password=PASSWORD)
    assert caught.value.code == code


async def test_nobody_belongs_to_a_company_that_is_not_there(access: AccessService) -> None:
    with pytest.raises(NotFound):
        await access.create_user(PROCESS, "b@example.com", role="member", company_id=987, password=PASSWORD)
    with pytest.raises(NotFound):
        await access.create_api_key(PROCESS, 987)


async def test_members_manage_no_users(access: AccessService, company_id: int) -> None:
    member = Caller(company_id, "user:9", frozenset(Scope))
    for step in (
        access.create_user(member, "b@example.com", role="member", company_id=company_id, password=PASSWORD),
        access.list_users(member),
        access.disable_user(member, EMAIL),
        access.set_password(member, EMAIL, PASSWORD),
        access.panel_token(member, EMAIL),
    ):
        with pytest.raises(NotAllowed):
            await step


async def test_members_see_who_else_is_of_their_company_and_keys_that_only_read_do_not(
    access: AccessService, company_id: int
) -> None:
    await access.create_user(PROCESS, "b@example.com", role="member", company_id=company_id, password=PASSWORD)
    member = Caller(company_id, "user:9", frozenset({Scope.KEYS_WRITE}))
    assert [user.email for user in await access.list_users(member, company_id)] == ["b@example.com"]
    with pytest.raises(NotFound):
        await access.list_users(member, company_id + 1)
    with pytest.raises(NotFound):
        await access.list_users(member, 0)
    with pytest.raises(NotAllowed):
        await access.list_users(Caller(company_id, "key:1", frozenset({Scope.ANALYTICS_READ})), company_id)


async def test_a_disabled_user_gets_no_token_by_any_way(access: AccessService, application: Application) -> None:
    token = (await access.panel_token(PROCESS, EMAIL)).token
    await access.disable_user(PROCESS, EMAIL)
    with pytest.raises(NotAllowed):
        await access.panel_token(PROCESS, EMAIL)
    with pytest.raises(NotAuthenticated):
        await access.authenticate(token, application.clock())
    assert await attempt(access, application.clock(), password=PASSWORD) == "wrong_credentials"


async def test_a_key_counts_until_it_is_revoked_here_at_once_elsewhere_within_a_second(
    access: AccessService, application: Application, company_id: int
) -> None:
    made = await access.create_api_key(PROCESS, company_id, name="bot")
    other, now = AccessService(application.database, clock=application.clock), application.clock()
    for service in (access, other):
        caller = await service.authenticate(made.text, now)
        assert (caller.company_id, caller.identity) == (company_id, f"key:{made.key.key_id}")
    await access.revoke_api_key(PROCESS, made.key.key_id)
    await access.revoke_api_key(PROCESS, made.key.key_id)
    with pytest.raises(NotAuthenticated):
        await access.authenticate(made.text, now)
    assert (await other.authenticate(made.text, now + timedelta(milliseconds=999))).company_id == company_id
    with pytest.raises(NotAuthenticated):
        await other.authenticate(made.text, now + timedelta(seconds=1))


async def test_a_clock_that_jumps_back_keeps_no_key_alive(
    access: AccessService, application: Application, company_id: int
) -> None:
    made = await access.create_api_key(PROCESS, company_id)
    other, now = AccessService(application.database, clock=application.clock), application.clock()
    await other.authenticate(made.text, now)
    await access.revoke_api_key(PROCESS, made.key.key_id)
    with pytest.raises(NotAuthenticated):
        await other.authenticate(made.text, now - timedelta(hours=1))


async def test_many_requests_with_one_key_read_it_once(
    access: AccessService, application: Application, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secretaria.services import authentication

    made, reads = await access.create_api_key(PROCESS, company_id), 0
    find = authentication.api_keys.find

    async def counted(*arguments: object) -> object:
        nonlocal reads
        reads += 1
        return await find(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(authentication.api_keys, "find", counted)
    now = application.clock()
    await asyncio.gather(*(access.authenticate(made.text, now) for _ in range(50)))
    await access.authenticate(made.text, now + timedelta(milliseconds=500))
    assert reads == 1


async def test_a_remembered_key_still_needs_its_secret(
    access: AccessService, application: Application, company_id: int
) -> None:
    made, now = await access.create_api_key(PROCESS, company_id), application.clock()
    await access.authenticate(made.text, now)
    forged, _ = create(CredentialKind.API_KEY)
    with pytest.raises(NotAuthenticated):
        await access.authenticate(f"sk_{made.key.key_id}_{forged[20:]}", now)


@pytest.mark.parametrize(
    ("company", "scopes", "caller_scopes", "error"),
    [
        (None, ["companies:write"], list(Scope), None),
        (None, ["companies:write"], ["keys:write"], NotAllowed),
        (0, ["keys:write"], ["keys:write"], None),
        ("ours", ["usage:write", "analytics:read"], ["keys:write"], None),
        ("ours", ["usage:backfill"], ["keys:write"], NotAllowed),
        ("ours", ["usage:backfill"], list(Scope), None),
        ("ours", ["companies:write"], list(Scope), InvalidInput),
        ("ours", ["usage:write"], ["usage:write"], NotAllowed),
    ],
)
async def test_a_key_of_the_operator_gives_on_no_more_than_it_may(
    access: AccessService,
    company_id: int,
    company: int | str | None,
    scopes: list[str],
    caller_scopes: list[str],
    error: type[Exception] | None,
) -> None:
    caller = Caller(OPERATOR_COMPANY_ID, "key:x", frozenset(Scope(scope) for scope in caller_scopes))
    owner = company_id if company == "ours" else company
    assert not isinstance(owner, str)
    if error is None:
        made = await access.create_api_key(caller, owner, scopes)
        assert made.key.scopes == frozenset(scopes)
    else:
        with pytest.raises(error):
            await access.create_api_key(caller, owner, scopes)


async def test_a_company_has_a_bounded_number_of_keys(
    access: AccessService, company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secretaria.services.access.KEYS_ACTIVE_MAX", 2)
    made = [await access.create_api_key(PROCESS, company_id) for _ in range(2)]
    with pytest.raises(InvalidInput, match="revoke one"):
        await access.create_api_key(PROCESS, company_id)
    await access.revoke_api_key(PROCESS, made[0].key.key_id)
    await access.create_api_key(PROCESS, company_id)


async def test_every_change_leaves_a_line_in_the_audit_log_and_no_secret_is_stored(
    access: AccessService, application: Application, company_id: int, endpoints: object
) -> None:
    await access.create_user(PROCESS, "m@example.com", role="member", company_id=company_id, password=PASSWORD)
    login = await access.login("m@example.com", PASSWORD, HOME, application.clock())
    made = await access.create_api_key(login.caller, name="bot")
    await access.revoke_api_key(login.caller, made.key.key_id)
    await access.logout(login.token, application.clock())
    await access.set_password(PROCESS, "m@example.com", "another password")
    await access.disable_user(PROCESS, "m@example.com")
    with psycopg.connect(endpoints.admin_url) as connection:  # type: ignore[attr-defined]
        actions = connection.execute(
            "SELECT action, actor FROM audit_log WHERE company_id = %s ORDER BY audit_id", (company_id,)
        ).fetchall()
        dump = "".join(
            str(connection.execute(f"SELECT string_agg(t::text, '|') FROM {table} t").fetchone())
            for table in ("users", "sessions", "api_keys", "directory", "audit_log", "login_failures")
        )
        left = connection.execute("SELECT count(*) FROM directory WHERE kind = 'session'").fetchone()
    member = login.caller.identity
    assert actions[1:] == [
        ("user.created", "process"),
        ("session.opened", member),
        ("api_key.created", member),
        ("api_key.revoked", member),
        ("session.ended", member),
        ("user.password_changed", "process"),
        ("user.disabled", "process"),
    ]
    assert left == (0,)
    for secret in (login.token, made.text, PASSWORD):
        assert secret.split("_", 2)[-1] not in dump  # a secret may hold a "_" of its own


@pytest.mark.parametrize("text", ["", "sk_", "sk__", "pt_0123456789abcdef_", "xx_0123456789abcdef_" + "a" * 43, "é" * 20])
def test_what_is_no_token_is_none(text: str) -> None:
    assert parse(text) is None


def test_a_token_shows_its_secret_in_no_representation() -> None:
    text, credential = create(CredentialKind.SESSION)
    assert parse(text) == credential
    assert "secret_hash" not in repr(credential)
