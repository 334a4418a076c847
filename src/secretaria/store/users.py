"""Rows of people who may log in. Company 0 holds the operator's own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secretaria.core.account import Role
from secretaria.core.errors import DuplicateKey
from secretaria.store.database import Connection

USERS_LISTED_MAX = 10_000

_COLUMNS = "company_id, user_id, email, role, locale, created_at, disabled_at, password_hash"


@dataclass(frozen=True, slots=True)
class User:
    """One person; the password's hash stays out of every representation."""

    company_id: int
    user_id: int
    email: str
    role: Role
    locale: str
    created_at: datetime
    disabled_at: datetime | None

    @property
    def identity(self) -> str:
        """The name of this user in the audit log and in Caller.identity."""
        return f"user:{self.user_id}"


@dataclass(frozen=True, slots=True)
class UserSecret:
    """A user with the hash of their password, for the one place that verifies it."""

    user: User
    password_hash: str

    def __repr__(self) -> str:
        """Show the user only: a hash in a traceback is a hash in a log."""
        return f"UserSecret(user={self.user!r})"


async def insert(
    connection: Connection, company_id: int, *, email: str, role: Role, password_hash: str, locale: str
) -> User:
    """Add a user and return them; raises DuplicateKey when the company has one of this address."""
    cursor = await connection.execute(
        "INSERT INTO users (company_id, email, role, password_hash, locale) VALUES (%s, %s, %s, %s, %s) "  # noqa: S608 - constants
        f"ON CONFLICT (company_id, email) DO NOTHING RETURNING {_COLUMNS}",
        (company_id, email, role.value, password_hash, locale),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DuplicateKey("a user with this e-mail address exists", pointer="/email")
    return _read(row).user


async def find(connection: Connection, company_id: int, user_id: int, *, lock: bool = False) -> UserSecret | None:
    """Return a user; with `lock`, a change of password or a removal waits until this transaction has ended."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM users WHERE company_id = %s AND user_id = %s"  # noqa: S608
        + (" FOR SHARE" if lock else ""),
        (company_id, user_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _read(row)


async def list_all(connection: Connection, company_id: int | None) -> list[User]:
    """Return the users of a company, or (None) everyone the role may see, by company and address."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM users WHERE %(id)s::bigint IS NULL OR company_id = %(id)s "  # noqa: S608
        "ORDER BY company_id, lower(email), user_id LIMIT %(max)s",
        {"id": company_id, "max": USERS_LISTED_MAX},
    )
    return [_read(row).user for row in await cursor.fetchall()]


async def set_password(connection: Connection, company_id: int, user_id: int, password_hash: str) -> None:
    """Replace the password's hash."""
    await connection.execute(
        "UPDATE users SET password_hash = %s WHERE company_id = %s AND user_id = %s",
        (password_hash, company_id, user_id),
    )


async def set_locale(connection: Connection, company_id: int, user_id: int, locale: str) -> None:
    """Replace the language."""
    await connection.execute(
        "UPDATE users SET locale = %s WHERE company_id = %s AND user_id = %s", (locale, company_id, user_id)
    )


async def disable(connection: Connection, company_id: int, user_id: int, now: datetime) -> None:
    """Mark a user as gone; the first time stays."""
    await connection.execute(
        "UPDATE users SET disabled_at = coalesce(disabled_at, %s) WHERE company_id = %s AND user_id = %s",
        (now, company_id, user_id),
    )


def _read(row: tuple[Any, ...]) -> UserSecret:
    company_id, user_id, email, role, locale, created_at, disabled_at, password_hash = row
    user = User(company_id, user_id, email, Role(role), locale, created_at, disabled_at)
    return UserSecret(user, password_hash)
