"""The phone numbers of a company's WABA as Meta shows them, and what of it stands on the accounts themselves."""

from dataclasses import dataclass, field
from datetime import datetime

from secretaria.store.database import Connection


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a profile picture; both None when the number has none."""

    content: bytes | None = field(repr=False)
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """A phone number as Meta shows it; picture_pulled_at: when its picture was last asked for."""

    phone_number_id: str
    display_phone_number: str
    verified_name: str
    quality_rating: str
    pulled_at: datetime
    picture_pulled_at: datetime | None = None


_COLUMNS = "phone_number_id, display_phone_number, verified_name, quality_rating, pulled_at, picture_pulled_at"


async def write(connection: Connection, company_id: int, profile: Profile) -> None:
    """Note a number's profile."""
    await connection.execute(
        f"INSERT INTO meta_profiles (company_id, {_COLUMNS}) "  # noqa: S608  fixed names
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (company_id, phone_number_id) DO UPDATE SET "
        "display_phone_number = excluded.display_phone_number, verified_name = excluded.verified_name, "
        "quality_rating = excluded.quality_rating, pulled_at = excluded.pulled_at, "
        "picture_pulled_at = excluded.picture_pulled_at",
        (
            company_id, profile.phone_number_id, profile.display_phone_number, profile.verified_name,
            profile.quality_rating, profile.pulled_at, profile.picture_pulled_at,
        ),
    )  # fmt: skip


async def write_account(
    connection: Connection, company_id: int, profile: Profile, picture: Picture | None, *, waba_id: str
) -> bool:
    """Show the profile on its account, if there is one; a picture of None leaves the one there is.

    Returns whether something people see has changed.
    """
    cursor = await connection.execute(
        "UPDATE whatsapp_accounts SET display_name = %(name)s, quality_rating = %(quality)s, waba_id = %(waba)s "
        "WHERE company_id = %(company)s AND phone_number_id = %(number)s "
        "AND (display_name, quality_rating, waba_id) "
        "IS DISTINCT FROM (%(name)s::text, %(quality)s::text, %(waba)s::text)",
        {
            "name": profile.verified_name, "quality": profile.quality_rating, "waba": waba_id, "company": company_id,
            "number": profile.phone_number_id,
        },
    )  # fmt: skip
    moved = cursor.rowcount > 0
    if picture is None:
        return moved
    cursor = await connection.execute(
        "UPDATE whatsapp_accounts SET picture = %(picture)s, picture_type = %(type)s "
        "WHERE company_id = %(company)s AND phone_number_id = %(number)s AND picture IS DISTINCT FROM %(picture)s",
        {
            "picture": picture.content, "type": picture.content_type, "company": company_id,
            "number": profile.phone_number_id,
        },
    )  # fmt: skip
    return moved or cursor.rowcount > 0


async def read_all(connection: Connection, company_id: int) -> dict[str, Profile]:
    """Return the profiles by phone number id."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM meta_profiles WHERE company_id = %s",  # noqa: S608  fixed names
        (company_id,),
    )
    return {row[0]: Profile(*row) for row in await cursor.fetchall()}


async def read_account_numbers(connection: Connection, company_id: int) -> set[str]:
    """Return the phone number ids that are accounts."""
    cursor = await connection.execute(
        "SELECT phone_number_id FROM whatsapp_accounts WHERE company_id = %s", (company_id,)
    )
    return {number for (number,) in await cursor.fetchall()}
