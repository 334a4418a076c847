"""WhatsApp of the made-up companies: accounts, templates, a few days of messages, and Meta's webhooks of them; pure.

services/demo_whatsapp.py sends these through the webhook's door; the fake Graph API tells the same figures as Meta.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from secretaria.core.event import Direction
from secretaria.core.period import ZoneSchedule, day_start, local_day
from secretaria.core.whatsapp import Status
from secretaria.outbound.fake_graph import HALF_HOUR_S, Number, World, point
from secretaria.services.demo_history import COMPANIES, DemoCompany

WHATSAPP_DAYS: Final = 3
CONTACTS: Final = 150
READ_SHARE: Final = 0.7
FAILED_SHARE: Final = 0.02
FREE_SERVICE_SHARE: Final = 0.3
REGULAR: Final = "regular"
FREE_SERVICE: Final = "free_customer_service"
UNDELIVERABLE: Final = {"code": 131026, "title": "Message undeliverable"}

TEMPLATES: Final = {
    "UTILITY": "lembrete_de_horario",
    "MARKETING": "oferta_da_semana",
    "AUTHENTICATION": "codigo_de_acesso",
    "SERVICE": "atendimento",
}
# What Meta charges in this made-up world, in USD: a little below the product's own card at 5 BRL a dollar.
META_PRICES: Final = {
    "UTILITY": Decimal("0.0206"),
    "MARKETING": Decimal("0.0932"),
    "AUTHENTICATION": Decimal("0.0137"),
    "SERVICE": Decimal("0.0206"),
}


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """A WhatsApp account of a made-up company. messages_per_hour is its busiest hour; weights go by TEMPLATES.

    phone_prefix begins its customers' numbers, in a range that nobody is called at.
    """

    company: DemoCompany
    phone_number_id: str
    waba_id: str
    name: str
    display_phone_number: str
    messages_per_hour: int
    weights: tuple[int, int, int, int]
    phone_prefix: str = "551190000"
    quality_rating: str = "GREEN"


_CLINIC, _PARTS, _SCHOOL, _GROCER, _TEA = COMPANIES
ACCOUNTS: Final = (
    DemoAccount(_CLINIC, "999000000000101", "999000000000001", "Recepção", "+55 11 90000-0101", 14, (30, 5, 5, 60)),
    DemoAccount(
        _CLINIC, "999000000000102", "999000000000001", "Lembretes", "+55 11 90000-0102", 10, (70, 25, 5, 0),
        quality_rating="YELLOW",
    ),
    DemoAccount(_PARTS, "999000000000201", "999000000000002", "Balcão", "+55 51 90000-0201", 10, (25, 35, 0, 40)),
    DemoAccount(_SCHOOL, "999000000000301", "999000000000003", "Secretaria", "+55 92 90000-0301", 8, (60, 5, 20, 15)),
    DemoAccount(
        _GROCER, "999000000000401", "999000000000004", "Encomendas", "+351 900 000 401", 5, (40, 30, 0, 30),
        phone_prefix="35190000",
    ),
    DemoAccount(
        _TEA, "999000000000501", "999000000000005", "Orders", "+91 90000 00501", 7, (40, 30, 10, 20),
        phone_prefix="91900000",
    ),
)  # fmt: skip
CONNECTED: Final = _CLINIC
"""The company that is connected to the fake Graph API."""


@dataclass(frozen=True, slots=True)
class DemoMessage:
    """One message. outcome is its last status: read, delivered or failed; received for one of a customer."""

    account: DemoAccount
    wamid: str
    direction: Direction
    at: datetime
    contact: str
    outcome: Status
    category: str = ""
    pricing_type: str = REGULAR


Report = tuple[DemoAccount, str, dict[str, Any]]
"""What Meta says of one message: of which account, under which key of `value`, and what."""


def whatsapp_since(company: DemoCompany, now: datetime) -> date:
    """Return the first local day of a company's WhatsApp, in a demo that is made now."""
    return local_day(ZoneSchedule.single(company.timezone), now) - timedelta(days=WHATSAPP_DAYS)


def accounts_of(company: DemoCompany) -> list[DemoAccount]:
    """Return the accounts of a made-up company."""
    return [account for account in ACCOUNTS if account.company is company]


def messages_of(account: DemoAccount, day: date, until: datetime) -> Iterator[DemoMessage]:
    """Yield an account's messages of one local day that lie before `until`: the same whenever it is asked for.

    A question whose answer would lie behind it is left out: it would wait for an answer for hours.
    """
    company = account.company
    dice = random.Random(f"{account.phone_number_id} {day}")  # noqa: S311 - made-up figures
    start = day_start(ZoneSchedule.single(company.timezone), day)
    for hour, share in enumerate(company.hours):
        expected = account.messages_per_hour * share * company.weekdays[day.weekday()]
        for number in range(round(expected * dice.uniform(0.7, 1.3))):
            at = start + timedelta(hours=hour, seconds=dice.randrange(3_600))
            turn = turn_of(account, f"{day}-{hour}-{number}", at, dice)
            if turn[-1].at < until:
                yield from turn


def turn_of(account: DemoAccount, key: str, at: datetime, dice: random.Random) -> list[DemoMessage]:
    """Return what belongs together: a template, or a customer's question and its answer some seconds later."""
    contact = f"{account.phone_prefix}{dice.randrange(CONTACTS):04}"
    (category,) = dice.choices(list(TEMPLATES), account.weights)
    fate = dice.random()
    outcome = Status.READ if fate < READ_SHARE else Status.DELIVERED
    if fate >= 1 - FAILED_SHARE:
        outcome = Status.FAILED
    wamid = _wamid(account, key)
    if category != "SERVICE":
        return [DemoMessage(account, wamid, Direction.OUTBOUND, at, contact, outcome, category)]
    question = DemoMessage(account, _wamid(account, f"{key}?"), Direction.INBOUND, at, contact, Status.RECEIVED)
    pricing_type = FREE_SERVICE if dice.random() < FREE_SERVICE_SHARE else REGULAR
    answered_at = at + timedelta(seconds=dice.randint(2, 9))
    # Within the window that a question opens nothing fails, or the next message hours later would be its answer.
    outcome = Status.DELIVERED if outcome is Status.FAILED else outcome
    answer = DemoMessage(account, wamid, Direction.OUTBOUND, answered_at, contact, outcome, category, pricing_type)
    return [question, answer]


def report_of(message: DemoMessage, status: Status, at: datetime) -> Report:
    """Return Meta's report of a status, with pricing from its delivery on; of a customer's message the message."""
    timestamp = str(int(at.timestamp()))
    if message.direction is Direction.INBOUND:
        said = {"from": message.contact, "id": message.wamid, "timestamp": timestamp, "type": "text",
                "text": {"body": "Olá!"}}  # fmt: skip
        return message.account, "messages", said
    found: dict[str, Any] = {
        "id": message.wamid, "status": status.value, "timestamp": timestamp, "recipient_id": message.contact,
    }  # fmt: skip
    if status is Status.FAILED:
        found["errors"] = [UNDELIVERABLE]
    else:
        found["pricing"] = {
            "billable": message.pricing_type == REGULAR, "pricing_model": "PMP", "type": message.pricing_type,
            "category": message.category.lower(),
        }  # fmt: skip
    return message.account, "statuses", found


def webhook_body(reports: Iterable[Report]) -> bytes:
    """Return one webhook as Meta sends it: an entry a WABA, a change a number and kind."""
    entries: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for account, key, said in reports:
        changes = entries.setdefault(account.waba_id, {})
        value = changes.setdefault((account.phone_number_id, key), {
            "messaging_product": "whatsapp",
            "metadata": {
                "display_phone_number": _digits(account.display_phone_number),
                "phone_number_id": account.phone_number_id,
            },
            key: [],
        })  # fmt: skip
        value[key].append(said)
    body = {
        "object": "whatsapp_business_account",
        "entry": [
            {"id": waba_id, "changes": [{"value": value, "field": "messages"} for value in changes.values()]}
            for waba_id, changes in entries.items()
        ],
    }
    return json.dumps(body).encode()


def meta_world(since: date = date.min) -> World:
    """Return what the fake Graph API knows: the connected company's numbers, and what its messages came to.

    It tells of nothing before the local day `since`: what the demo never sent, Meta never charged.
    """
    accounts = accounts_of(CONNECTED)
    return World(
        waba_id=accounts[0].waba_id,
        numbers=[
            Number(row.phone_number_id, row.display_phone_number, f"{CONNECTED.name} {row.name}", row.quality_rating)
            for row in accounts
        ],
        points=lambda start, end: _points(accounts, since, start, end),
    )


def _points(accounts: Sequence[DemoAccount], since: date, start: int, end: int) -> Iterator[dict[str, Any]]:
    """Yield the half hours of [start, end) in unix seconds; failed messages cost nothing and are not listed."""
    until = datetime.fromtimestamp(end, UTC)
    schedule = ZoneSchedule.single(CONNECTED.timezone)
    first = max(since, local_day(schedule, datetime.fromtimestamp(start, UTC)))
    volumes: dict[tuple[int, str, str, str], int] = {}
    for account in accounts:
        for number in range((local_day(schedule, until) - first).days + 1):
            for message in messages_of(account, first + timedelta(days=number), until):
                instant = int(message.at.timestamp())
                if instant < start or message.outcome in (Status.FAILED, Status.RECEIVED):
                    continue
                phone = _digits(account.display_phone_number)
                key = (instant - instant % HALF_HOUR_S, phone, message.category, message.pricing_type.upper())
                volumes[key] = volumes.get(key, 0) + 1
    for (begin, phone, category, pricing_type), volume in sorted(volumes.items()):
        cost = META_PRICES[category] * volume if pricing_type == REGULAR.upper() else Decimal(0)
        yield point(begin, phone, category, volume, cost=cost, pricing_type=pricing_type)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _wamid(account: DemoAccount, key: str) -> str:
    return f"wamid.DEMO{blake2b(f'{account.phone_number_id} {key}'.encode(), digest_size=12).hexdigest().upper()}"
