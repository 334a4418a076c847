"""WhatsApp accounts: found by the phone number's id, which stays when Meta moves the number to another WABA."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from secretaria.store.database import Connection
from secretaria.store.directory import Kind


@dataclass(frozen=True, slots=True)
class Account:
    """One account. messages_from: Meta's webhook counts its messages from then on; None: usage events do."""

    company_id: int
    account_id: int
    phone_number_id: str
    waba_id: str | None
    integration_id: int | None
    name: str
    display_name: str | None
    quality_rating: str | None
    currency: str
    rate_card: str
    messages_from: datetime | None
    created_at: datetime
    has_picture: bool


@dataclass(frozen=True, slots=True)
class Number:
    """Whose a phone number is, for a webhook that knows no company."""

    company_id: int
    account_id: int
    integration_id: int | None
    waba_id: str | None
    has_webhook: bool


_ACCOUNT = (
    "SELECT company_id, account_id, phone_number_id, waba_id, integration_id, name, display_name, quality_rating, "
    "currency, rate_card, messages_from, created_at, picture IS NOT NULL FROM whatsapp_accounts "
)


async def insert(
    connection: Connection,
    company_id: int,
    *,
    phone_number_id: str,
    name: str,
    waba_id: str | None,
    currency: str,
    rate_card: str,
    now: datetime,
) -> int:
    """Add an account and return its id; the directory holds the number against a second one.

    Where its company's connection to Meta has an app secret of its own, that one's webhooks speak for it.
    """
    cursor = await connection.execute(
        "INSERT INTO whatsapp_accounts (company_id, phone_number_id, waba_id, name, currency, rate_card, created_at, "
        "integration_id) VALUES (%s, %s, %s, %s, %s, %s, %s, "
        "(SELECT integration_id FROM integrations WHERE company_id = %s AND app_secret IS NOT NULL)) "
        "RETURNING account_id",
        (company_id, phone_number_id, waba_id, name, currency, rate_card, now, company_id),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of one inserted row
    return int(row[0])


async def read(connection: Connection, company_id: int, account_id: int) -> Account | None:
    """Return one account, or None."""
    cursor = await connection.execute(_ACCOUNT + "WHERE company_id = %s AND account_id = %s", (company_id, account_id))
    row = await cursor.fetchone()
    return None if row is None else Account(*row)


async def read_some(connection: Connection, company_id: int, account_ids: Sequence[int]) -> list[Account]:
    """Return those of the accounts that are the company's."""
    cursor = await connection.execute(
        _ACCOUNT + "WHERE company_id = %s AND account_id = ANY(%s)", (company_id, list(account_ids))
    )
    return [Account(*row) for row in await cursor.fetchall()]


async def read_page(connection: Connection, company_id: int, *, after: int, limit: int) -> list[Account]:
    """Return up to `limit` accounts of a company with an id above `after`, by id."""
    cursor = await connection.execute(
        _ACCOUNT + "WHERE company_id = %s AND account_id > %s ORDER BY account_id LIMIT %s", (company_id, after, limit)
    )
    return [Account(*row) for row in await cursor.fetchall()]


async def find_numbers(connection: Connection, phone_number_ids: Sequence[str]) -> dict[str, Number]:
    """Return whose these numbers are, in one query; a number nobody has is left out."""
    cursor = await connection.execute(
        "SELECT d.key, a.company_id, a.account_id, a.integration_id, a.waba_id, a.messages_from IS NOT NULL "
        "FROM directory AS d JOIN whatsapp_accounts AS a ON a.company_id = d.company_id "
        "AND a.account_id = d.id::bigint WHERE d.kind = %s AND d.key = ANY(%s)",
        (Kind.PHONE_NUMBER.value, list(phone_number_ids)),
    )
    return {key: Number(*row) for key, *row in await cursor.fetchall()}


async def find_by_waba(connection: Connection, waba_ids: Sequence[str]) -> dict[str, list[Number]]:
    """Return the accounts of each of these WABAs, the oldest first."""
    cursor = await connection.execute(
        "SELECT waba_id, company_id, account_id, integration_id, waba_id, messages_from IS NOT NULL "
        "FROM whatsapp_accounts WHERE waba_id = ANY(%s) ORDER BY company_id, account_id",
        (list(waba_ids),),
    )
    found: dict[str, list[Number]] = {}
    for waba_id, *row in await cursor.fetchall():
        found.setdefault(waba_id, []).append(Number(*row))
    return found


async def begin_webhook(connection: Connection, accounts: Sequence[tuple[int, int]], now: datetime) -> None:
    """From now on Meta's webhook counts the messages of these (company_id, account_id), unless it does already."""
    await connection.execute(
        "UPDATE whatsapp_accounts AS a SET messages_from = %s FROM unnest(%s::bigint[], %s::bigint[]) "
        "AS k (company_id, account_id) WHERE a.company_id = k.company_id AND a.account_id = k.account_id "
        "AND a.messages_from IS NULL",
        (now, [company_id for company_id, _ in accounts], [account_id for _, account_id in accounts]),
    )


async def read_uncounted(connection: Connection, company_id: int, account_id: int, day: date) -> int:
    """Return how many messages usage events told of on a local day that Meta's webhook counts."""
    cursor = await connection.execute(
        "SELECT messages FROM usage_uncounted WHERE company_id = %s AND day = %s AND account_id = %s",
        (company_id, day, account_id),
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def read_picture(connection: Connection, company_id: int, account_id: int) -> tuple[bytes, str] | None:
    """Return the profile picture's bytes and media type, or None."""
    cursor = await connection.execute(
        "SELECT picture, picture_type FROM whatsapp_accounts WHERE company_id = %s AND account_id = %s "
        "AND picture IS NOT NULL AND picture_type IS NOT NULL",
        (company_id, account_id),
    )
    row = await cursor.fetchone()
    return None if row is None else (bytes(row[0]), str(row[1]))
