"""Carries deliveries to e-mail addresses: reads what the body tells, words it for the reader, hands it in by SMTP.

A second attempt is the same mail: its Message-ID and date are the delivery's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from secretaria.core.access import OPERATOR_COMPANY_ID
from secretaria.core.delivery import EventType, Outcome
from secretaria.core.errors import InvalidInput, NotFound
from secretaria.outbound.mail import NOT_SET_UP, Attachment, MailSender, OutgoingMail
from secretaria.reports.format import HOME_TIMEZONE
from secretaria.reports.mail import Reader, render
from secretaria.store import companies
from secretaria.store.database import Database, transaction
from secretaria.store.deliveries import Delivery
from secretaria.store.delivery_endpoints import Endpoint

NOT_SET_UP_WAIT_S: Final = 3_600
"""Without SMTP_URL an address is left alone for an hour at a time; a test that succeeds sends all that waits."""

ATTACHMENTS_BYTES_MAX: Final = 15_000_000
_WITH_DOCUMENT: Final = frozenset({EventType.WEEKLY_REPORT, EventType.MONTHLY_REPORT})

ReadAttachments = Callable[[int, Mapping[str, Any], str, datetime], Awaitable[Sequence[Attachment]]]
"""Given a company's id, a report event's data and a locale, its files. Raises InvalidInput or NotFound without any."""


class _Body(msgspec.Struct):
    """A delivery's body as far as a mail needs it."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MailCourier:
    """One attempt to send a delivery by mail. Without read_attachments mails that carry a document are refused."""

    database: Database
    sender: MailSender
    public_url: str
    read_attachments: ReadAttachments | None = None

    async def send(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> Outcome:
        """Try once. What no mail can be made of is permanent, and so is what the server finally refuses."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        if not self.sender.is_set_up:
            text = "mail is not set up: SMTP_URL and MAIL_FROM are missing"
            return Outcome(False, None, NOT_SET_UP, 0, text, NOT_SET_UP_WAIT_S)
        try:
            mail = await self._write(endpoint, delivery, now)
        except (InvalidInput, NotFound, msgspec.DecodeError) as error:
            return Outcome(False, None, "no_such_mail", 0, str(error), permanent=True)
        answer = await self.sender.send(mail)
        return Outcome(
            answer.error is None,
            answer.status_code,
            answer.error,
            round((loop.time() - started_s) * 1000),
            answer.text,
            permanent=answer.permanent,
        )

    async def _write(self, endpoint: Endpoint, delivery: Delivery, now: datetime) -> OutgoingMail:
        data = msgspec.json.decode(delivery.body, type=_Body).data
        rendered = render(delivery.event_type, data, await self._reader(endpoint, delivery.about_company_id))
        return OutgoingMail(
            endpoint.address,
            rendered.subject,
            rendered.text,
            rendered.html,
            delivery.message_id,
            delivery.created_at,  # not now: a second attempt is the same mail
            await self._attachments(delivery, data, endpoint.locale, now),
        )

    async def _reader(self, endpoint: Endpoint, about_company_id: int) -> Reader:
        """Say whom the mail is for. News about no single company bear the home zone's times."""
        if about_company_id == OPERATOR_COMPANY_ID:
            return Reader(endpoint.locale, HOME_TIMEZONE, None, self.public_url)
        async with transaction(self.database.operator) as connection:
            company = await companies.read(connection, about_company_id)
        if company is None:
            raise InvalidInput("the company that this is about is gone")
        url = f"{self.public_url}/empresas/{about_company_id}"
        return Reader(endpoint.locale, company.timezone, company.name, url)

    async def _attachments(
        self, delivery: Delivery, data: Mapping[str, Any], locale: str, now: datetime
    ) -> tuple[Attachment, ...]:
        if delivery.event_type not in _WITH_DOCUMENT:
            return ()
        if self.read_attachments is None:
            raise InvalidInput("documents cannot be sent by mail: nothing keeps them")
        found = tuple(await self.read_attachments(delivery.about_company_id, data, locale, now))
        if not found or sum(len(attachment.content) for attachment in found) > ATTACHMENTS_BYTES_MAX:
            raise InvalidInput(f"the document is missing, or larger than {ATTACHMENTS_BYTES_MAX} bytes")
        return found
