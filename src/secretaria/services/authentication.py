"""From a token to a Caller. Sessions are read each time (logout counts at once); keys are remembered for a second."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from secretaria.core.access import Caller
from secretaria.core.errors import NotAuthenticated
from secretaria.services.credential import Credential, CredentialKind, parse
from secretaria.store import api_keys, directory, sessions
from secretaria.store.api_keys import ApiKey
from secretaria.store.database import Database, transaction
from secretaria.store.directory import Kind

KEY_MEMORY = timedelta(seconds=1)
KEYS_REMEMBERED_MAX = 10_000


def refused() -> NotAuthenticated:
    """The one answer to every credential that does not count, whatever the reason."""
    return NotAuthenticated("a valid API key or panel session is needed")


@dataclass(frozen=True, slots=True)
class _Remembered:
    key: ApiKey
    caller: Caller
    read_at: datetime


class Authenticator:
    """Reads credentials through the door role, as someone who knows nothing but the token."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, _Remembered] = {}
        self._reading: dict[str, asyncio.Task[_Remembered | None]] = {}

    async def authenticate(self, token: str, now: datetime) -> Caller:
        """Return who the token stands for; raises NotAuthenticated, and Unavailable when the database is down."""
        credential = parse(token)
        if credential is None:
            raise refused()
        if credential.kind is CredentialKind.API_KEY:
            return await self._authenticate_key(credential, now)
        return await self._authenticate_session(credential, now)

    def forget(self, key_id: str) -> None:
        """Drop a key that was just revoked; other processes drop it within KEY_MEMORY."""
        self._keys.pop(key_id, None)

    async def _authenticate_key(self, credential: Credential, now: datetime) -> Caller:
        found = self._keys.get(credential.id)
        if found is None or not timedelta() <= now - found.read_at < KEY_MEMORY:
            found = await self._read_key_once(credential.id, now)
        if found is None or found.key.revoked_at is not None or not credential.matches(found.key.secret_hash):
            raise refused()
        return found.caller

    async def _read_key_once(self, key_id: str, now: datetime) -> _Remembered | None:
        """Read a key; requests that ask for it meanwhile wait for the same answer."""
        task = self._reading.get(key_id)
        if task is None:
            task = asyncio.create_task(self._read_key(key_id, now))
            self._reading[key_id] = task
            task.add_done_callback(lambda _: self._reading.pop(key_id, None))
        # A client that hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _read_key(self, key_id: str, now: datetime) -> _Remembered | None:
        async with transaction(self._database.door) as connection:
            entry = await directory.find(connection, Kind.API_KEY, key_id)
            if entry is None:
                return None
            await directory.enter_company(connection, entry.company_id)
            key = await api_keys.find(connection, entry.company_id, key_id)
        if key is None:
            return None
        caller = Caller(company_id=key.company_id, identity=f"key:{key.key_id}", scopes=key.scopes)
        remembered = _Remembered(key, caller, now)
        self._keys.pop(key_id, None)
        while len(self._keys) >= KEYS_REMEMBERED_MAX:
            self._keys.pop(next(iter(self._keys)))
        self._keys[key_id] = remembered
        return remembered

    async def _authenticate_session(self, credential: Credential, now: datetime) -> Caller:
        async with transaction(self._database.door) as connection:
            entry = await directory.find(connection, Kind.SESSION, credential.id)
            if entry is None:
                raise refused()
            await directory.enter_company(connection, entry.company_id)
            session = await sessions.find(connection, entry.company_id, credential.id)
        if session is None or not credential.matches(session.secret_hash):
            raise refused()
        if session.user_disabled or session.expires_at <= now:
            raise refused()
        return Caller(
            company_id=session.company_id, identity=f"user:{session.user_id}", scopes=session.role.scopes
        )
