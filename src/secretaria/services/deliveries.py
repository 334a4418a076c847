"""The outbox: news put before endpoints in the transaction that made them. dispatcher.py delivers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from secretaria.store import deliveries as store
from secretaria.store.database import Connection
from secretaria.store.deliveries import NewDelivery


@dataclass(frozen=True, slots=True)
class News:
    """Something endpoints are told. key is unique among the news about a company; data is JSON, amounts Decimal."""

    about_company_id: int
    alert_id: int | None
    event_type: str
    key: str
    data: dict[str, Any]


async def enqueue(connection: Connection, news: Sequence[News], *, now: datetime) -> int:
    """Put news before the endpoints of the company and of the operator that want it; return how many deliveries.

    One statement, however many news: it runs in the ingest transaction. The same news again changes nothing.
    """
    if not news:
        return 0
    new = [
        NewDelivery(of.about_company_id, of.alert_id, of.event_type, of.key, body_of(of.event_type, of.data, now))
        for of in news
    ]
    made = await store.insert(connection, new, now=now)
    if made:
        await store.notify(connection)
    return made


def body_of(event_type: str, data: dict[str, Any], at: datetime) -> str:
    """Return what is sent, byte for byte: {"type", "timestamp", "data"}, amounts as text."""
    return msgspec.json.encode({"type": event_type, "timestamp": at, "data": data}).decode()


def shown_address(address: str) -> str:
    """Return an address as logs and people see it: of a URL's query, which may be a key, only that there is one."""
    return urlsplit(address)._replace(query="…").geturl() if "?" in address else address
