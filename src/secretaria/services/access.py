"""Users, sessions and API keys: who may come in, and how they are let go.

Login throttling, and what it means for owners under attack: services/login_throttle.py.
What ends a session or a key is written in the transaction that decides it, with its line in the audit log.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from secretaria.core.access import DEFAULT_SCOPES, OPERATOR_COMPANY_ID, OPERATOR_ONLY_SCOPES, Caller, Scope
from secretaria.core.account import (
    Role,
    check_email,
    check_locale,
    check_new_password,
    check_password,
    network_of,
    normalise_email,
)
from secretaria.core.audit_chain import changed
from secretaria.core.errors import DuplicateKey, InvalidInput, NotAllowed, NotAuthenticated, NotFound, Unavailable
from secretaria.services.authentication import Authenticator
from secretaria.services.credential import CredentialKind, create, parse
from secretaria.services.login_throttle import KNOWN_NETWORK_DAYS, Attempt, LoginThrottle
from secretaria.services.passwords import Passwords
from secretaria.services.scope import company_transaction, operator_transaction
from secretaria.store import api_keys, audit, companies, directory, sessions, users
from secretaria.store.api_keys import ApiKey
from secretaria.store.database import Connection, Database, transaction
from secretaria.store.directory import Entry, Kind
from secretaria.store.users import User, UserSecret

LOGIN_TTL = timedelta(days=14)
PANEL_TOKEN_TTL = timedelta(days=30)
PANEL_TOKEN_TTL_MAX = timedelta(days=366)
LINE_WAIT_S = 10.0
KEYS_ACTIVE_MAX = 100
KEY_NAME_CHARS_MAX = 200


class Login(NamedTuple):
    """What a login gives. The token is shown here and nowhere again."""

    token: str
    expires_at: datetime
    caller: Caller
    user: User


class NewKey(NamedTuple):
    """A key just made. Its text is shown here and nowhere again."""

    text: str
    key: ApiKey


class AccessService:
    """The only way to users, sessions and keys. `clock` gives an aware UTC now."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._passwords = Passwords()
        self._throttle = LoginThrottle()
        self._authenticator = Authenticator(database)
        self._logins: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # Credentials

    async def authenticate(self, token: str, now: datetime) -> Caller:
        """Return who a panel token or an API key stands for; raises NotAuthenticated."""
        return await self._authenticator.authenticate(token, now)

    async def login(self, email: str, password: str, address: str | None, now: datetime) -> Login:
        """Open a session. Raises NotAuthenticated (wrong_credentials), TooManyAttempts, InvalidInput.

        An unknown user, a disabled one and a wrong password get the same answer after the same work.
        """
        account, encoded = _account_of(check_email(email)), check_password(password)
        attempt = Attempt(account, network_of(address), now)
        async with self._line(attempt.network):
            found = await self._reserve(attempt)
            if not await self._passwords.verify(encoded, found.password_hash if found else None) or found is None:
                raise _wrong_credentials()
            return await self._open_session(found, attempt)

    @asynccontextmanager
    async def _line(self, network: str) -> AsyncIterator[None]:
        """One login at a time per network: attempts in flight count as failures until they are known not to be."""
        lock = self._logins.setdefault(network, asyncio.Lock())
        try:
            async with asyncio.timeout(LINE_WAIT_S):
                await lock.acquire()
        except TimeoutError:
            raise Unavailable("too many logins from there at once; try again") from None
        try:
            yield
        finally:
            lock.release()

    async def panel_token(self, caller: Caller, email: str, ttl: timedelta = PANEL_TOKEN_TTL) -> Login:
        """Open a session for someone without their password; for the operator at the command line."""
        if not timedelta() < ttl <= PANEL_TOKEN_TTL_MAX:
            raise InvalidInput(f"a token lives for up to {PANEL_TOKEN_TTL_MAX.days} days", code="invalid_ttl")
        async with operator_transaction(self._database, caller) as connection:
            user = (await self._find_by_email(connection, email)).user
            if user.disabled_at is not None:
                raise NotAllowed("this user is disabled", code="user_disabled")
            return await _insert_session(
                connection, user, now=self._clock(), ttl=ttl, actor=caller.identity, detail={"by": "panel-token"}
            )

    async def logout(self, token: str, now: datetime) -> None:
        """End the session a panel token stands for, at once and everywhere."""
        caller = await self.authenticate(token, now)
        credential = parse(token)
        if credential is None or credential.kind is not CredentialKind.SESSION:
            raise NotAllowed("an API key has no session to end", code="not_a_session")
        async with transaction(self._database.door, company_id=caller.company_id) as connection:
            await sessions.delete(connection, caller.company_id, credential.id)
            await audit.insert(
                connection, caller.company_id, actor=caller.identity, action="session.ended", subject=credential.id
            )

    # Users

    async def create_user(
        self,
        caller: Caller,
        email: str,
        *,
        role: Role | str,
        company_id: int | None,
        password: str,
        locale: str = "pt-BR",
    ) -> User:
        """Add an operator (no company) or a member of a company. Raises DuplicateKey when the address is taken."""
        caller.require_operator()
        role, home = _check_role(role, company_id)
        email, locale, encoded = check_email(email), check_locale(locale), check_new_password(password)
        password_hash = await self._passwords.hash(encoded)
        async with company_transaction(self._database, caller, home) as connection:
            await _require_existing(connection, home)
            user = await users.insert(
                connection, home, email=email, role=role, password_hash=password_hash, locale=locale
            )
            entry = Entry(home, str(user.user_id))
            if not await directory.insert(connection, Kind.EMAIL, _account_of(email), entry):
                raise DuplicateKey("a user with this e-mail address exists", pointer="/email")
            await audit.insert(
                connection, home, actor=caller.identity, action="user.created", subject=user.identity,
                detail={"before": {}, "after": {"role": role.value, "locale": locale}},
            )  # fmt: skip
        return user

    async def list_users(self, caller: Caller, company_id: int | None = None) -> list[User]:
        """Return a company's users; without a company everyone's. Who may make keys of a company sees its users."""
        if company_id is None:
            async with operator_transaction(self._database, caller) as connection:
                return await users.list_all(connection, None)
        caller.require_scope(Scope.KEYS_WRITE)
        async with company_transaction(self._database, caller, company_id) as connection:
            return await users.list_all(connection, company_id)

    async def user_of(self, caller: Caller) -> User | None:
        """Return the person behind a session; None for keys and the process."""
        kind, _, user_id = caller.identity.partition(":")
        if kind != "user":
            return None
        async with transaction(self._database.door, company_id=caller.company_id) as connection:
            found = await users.find(connection, caller.company_id, int(user_id))
        return found.user if found else None

    async def disable_user(self, caller: Caller, email: str) -> User:
        """Shut a user out: every session ends with it."""
        async with operator_transaction(self._database, caller) as connection:
            user = (await self._find_by_email(connection, email)).user
            # The user's row first: a login that is under way waits for it and then finds it changed.
            await users.disable(connection, user.company_id, user.user_id, self._clock())
            disabled = changed({"disabled": user.disabled_at is not None}, {"disabled": True})
            await self._end_sessions(connection, caller, user, action="user.disabled", change=disabled)
        return user

    async def set_password(self, caller: Caller, email: str, password: str) -> User:
        """Give a user another password: every session ends with it."""
        caller.require_operator()
        password_hash = await self._passwords.hash(check_new_password(password))
        async with operator_transaction(self._database, caller) as connection:
            user = (await self._find_by_email(connection, email)).user
            await users.set_password(connection, user.company_id, user.user_id, password_hash)
            await self._end_sessions(connection, caller, user, action="user.password_changed")
        return user

    async def set_locale(self, caller: Caller, locale: str) -> None:
        """Remember the caller's language; keys and the process have none."""
        check_locale(locale)
        user = await self.user_of(caller)
        if user is not None:
            async with transaction(self._database.door, company_id=caller.company_id) as connection:
                await users.set_locale(connection, user.company_id, user.user_id, locale)

    # API keys

    async def create_api_key(
        self,
        caller: Caller,
        company_id: int | None = None,
        scopes: Iterable[Scope | str] = DEFAULT_SCOPES,
        name: str = "",
    ) -> NewKey:
        """Make a key of a company, or (None or 0) of the caller's own scope: the operator's, or its company's.

        The operator gives any scope a company may have; to its own keys, and beyond the default scopes, a key of
        the operator gives only what it has itself. Others give the default scopes. Raises NotAllowed.
        """
        caller.require_scope(Scope.KEYS_WRITE)
        owner = company_id or caller.company_id
        wanted = check_scopes(scopes)
        _require_may_give(caller, owner, wanted)
        if len(name) > KEY_NAME_CHARS_MAX or "\0" in name:
            raise InvalidInput(
                f"a name has at most {KEY_NAME_CHARS_MAX} characters", code="invalid_name", pointer="/name"
            )
        text, credential = create(CredentialKind.API_KEY)
        async with company_transaction(self._database, caller, owner) as connection:
            await _require_existing(connection, owner)
            if await api_keys.count_active(connection, owner) >= KEYS_ACTIVE_MAX:
                raise InvalidInput(f"at most {KEYS_ACTIVE_MAX} keys; revoke one first", code="too_many_keys")
            key = await api_keys.insert(
                connection, owner, key_id=credential.id, name=name, secret_hash=credential.secret_hash, scopes=wanted
            )
            await audit.insert(
                connection, owner, actor=caller.identity, action="api_key.created", subject=key.key_id,
                detail={"before": {}, "after": {"scopes": sorted(wanted), "name": name}},
            )  # fmt: skip
        return NewKey(text, key)

    async def list_api_keys(self, caller: Caller, company_id: int | None = None) -> list[ApiKey]:
        """Return a company's keys (0: the operator's own); without a company, all that the caller may see."""
        caller.require_scope(Scope.KEYS_WRITE)
        if company_id is None and caller.is_operator:
            async with operator_transaction(self._database, caller) as connection:
                return await api_keys.list_all(connection, None)
        owner = caller.company_id if company_id is None else company_id
        async with company_transaction(self._database, caller, owner) as connection:
            await _require_existing(connection, owner)
            return await api_keys.list_all(connection, owner)

    async def revoke_api_key(self, caller: Caller, key_id: str) -> ApiKey:
        """End a key: at once in this process, within a second in others. Again is no error. Raises NotFound."""
        caller.require_scope(Scope.KEYS_WRITE)
        pool = self._database.operator if caller.is_operator else self._database.door
        async with transaction(pool, company_id=caller.company_id) as connection:
            entry = await directory.find(connection, Kind.API_KEY, key_id)
            if entry is None or not (caller.is_operator or entry.company_id == caller.company_id):
                raise NotFound("no such key", code="key_not_found")
            key = await api_keys.find(connection, entry.company_id, key_id)
            if key is None:
                raise NotFound("no such key", code="key_not_found")
            if await api_keys.revoke(connection, entry.company_id, key_id, self._clock()):
                await audit.insert(
                    connection, key.company_id, actor=caller.identity, action="api_key.revoked", subject=key_id,
                    detail={"before": {"scopes": sorted(key.scopes), "name": key.name}, "after": {}},
                )  # fmt: skip
        self._authenticator.forget(key_id)
        return key

    # Steps

    async def _reserve(self, attempt: Attempt) -> UserSecret | None:
        """Count the attempt and return who it is about, if anyone."""
        async with transaction(self._database.door) as connection:
            account = attempt.account
            found = await _find_account(connection, account)

            async def knows_network() -> bool:
                return found is not None and await audit.exists(
                    connection, found.user.company_id, actor=found.user.identity, action="session.opened",
                    detail={"network": attempt.network}, days=KNOWN_NETWORK_DAYS,
                )  # fmt: skip

            await self._throttle.reserve(connection, attempt, knows_network=knows_network)
        return found

    async def _open_session(self, found: UserSecret, attempt: Attempt) -> Login:
        user = found.user
        async with transaction(self._database.door, company_id=user.company_id) as connection:
            current = await users.find(connection, user.company_id, user.user_id, lock=True)
            if current is None or current.password_hash != found.password_hash or current.user.disabled_at:
                raise _wrong_credentials()
            await self._throttle.take_back(connection, attempt)
            return await _insert_session(
                connection, current.user, now=attempt.now, ttl=LOGIN_TTL, actor=user.identity,
                detail={"network": attempt.network},
            )  # fmt: skip

    async def _find_by_email(self, connection: Connection, email: str) -> UserSecret:
        found = await _find_account(connection, _account_of(check_email(email)))
        if found is None:
            raise NotFound("no such user", code="user_not_found")
        return found

    async def _end_sessions(
        self, connection: Connection, caller: Caller, user: User, *, action: str, change: dict[str, Any] | None = None
    ) -> None:
        ended = await sessions.delete_of_user(connection, user.company_id, user.user_id)
        await audit.insert(
            connection, user.company_id, actor=caller.identity, action=action, subject=user.identity,
            detail={**(change or {}), "sessions_ended": ended},
        )  # fmt: skip


def check_scopes(scopes: Iterable[Scope | str]) -> frozenset[Scope]:
    """Return the scopes, or raise InvalidInput (unknown_scope, no_scopes)."""
    found = set()
    for index, scope in enumerate(scopes):
        try:
            found.add(Scope(scope))
        except ValueError:
            known = ", ".join(sorted(Scope))
            raise InvalidInput(
                f"a scope is one of {known}", code="unknown_scope", pointer=f"/scopes/{index}"
            ) from None
    if not found:
        raise InvalidInput("a key needs a scope", code="no_scopes", pointer="/scopes")
    return frozenset(found)


def _require_may_give(caller: Caller, owner: int, wanted: frozenset[Scope]) -> None:
    caller.require_company(owner)
    if owner != OPERATOR_COMPANY_ID and wanted & OPERATOR_ONLY_SCOPES:
        raise InvalidInput("a company's key cannot have this scope", code="operator_only_scope", pointer="/scopes")
    if not caller.is_operator:
        allowed = DEFAULT_SCOPES
    elif owner == OPERATOR_COMPANY_ID:
        allowed = caller.scopes
    else:
        allowed = caller.scopes | DEFAULT_SCOPES
    if not wanted <= allowed:
        raise NotAllowed(f"you cannot give {', '.join(sorted(wanted - allowed))}", code="scope_not_yours")


def _check_role(role: Role | str, company_id: int | None) -> tuple[Role, int]:
    try:
        role = Role(role)
    except ValueError:
        raise InvalidInput("a role is operator or member", code="unknown_role", pointer="/role") from None
    if (role is Role.OPERATOR) != (not company_id):
        raise InvalidInput(
            "a member belongs to a company, an operator to none", code="role_and_company", pointer="/company_id"
        )
    return role, company_id or OPERATOR_COMPANY_ID


def _account_of(email: str) -> str:
    return hashlib.sha256(normalise_email(email).encode()).hexdigest()


def _wrong_credentials() -> NotAuthenticated:
    return NotAuthenticated("wrong e-mail address or password", code="wrong_credentials")


async def _find_account(connection: Connection, account: str) -> UserSecret | None:
    entry = await directory.find(connection, Kind.EMAIL, account)
    if entry is None:
        return None
    await directory.enter_company(connection, entry.company_id)
    return await users.find(connection, entry.company_id, int(entry.id))


async def _require_existing(connection: Connection, company_id: int) -> None:
    if company_id == OPERATOR_COMPANY_ID:
        return
    if await companies.read(connection, company_id) is None:
        raise NotFound("no such company", code="company_not_found")


async def _insert_session(
    connection: Connection, user: User, *, now: datetime, ttl: timedelta, actor: str, detail: dict[str, str]
) -> Login:
    text, credential = create(CredentialKind.SESSION)
    await sessions.insert(
        connection, user.company_id, session_id=credential.id, user_id=user.user_id,
        secret_hash=credential.secret_hash, now=now, expires_at=now + ttl,
    )  # fmt: skip
    await audit.insert(
        connection, user.company_id, actor=actor, action="session.opened", subject=credential.id, detail=detail
    )
    caller = Caller(company_id=user.company_id, identity=user.identity, scopes=user.role.scopes)
    return Login(text, now + ttl, caller, user)
