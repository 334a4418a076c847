"""Plausible usage of five made-up companies, the same on every machine: pure, seeded by company and local day.

services/demo.py sends it through the real ingest path; the live traffic is drawn from the same companies.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec

from secretaria.core.event import RECORDED, Direction, UsageData, UsageEvent
from secretaria.core.period import ZoneSchedule, day_end, day_start

SOURCE = "demo"
HISTORY_DAYS = 60
NAME_MARK = " (demo)"

# Share of the busiest hour, by local hour of the day.
_OFFICE = (0, 0, 0, 0, 0, 0, 0.05, 0.3, 0.8, 1, 0.95, 0.8, 0.55, 0.7, 0.9, 0.9, 0.8, 0.6, 0.35, 0.2, 0.1, 0.06, 0.03, 0)
_SCHOOL = (0, 0, 0, 0, 0, 0.05, 0.5, 1, 0.7, 0.4, 0.35, 0.6, 0.8, 0.5, 0.3, 0.3, 0.45, 0.8, 0.9, 0.7, 0.4, 0.2, 0.05, 0)
_SHOP = (0, 0, 0, 0, 0, 0, 0.1, 0.35, 0.6, 0.7, 0.8, 0.9, 0.75, 0.6, 0.55, 0.6, 0.75, 1, 0.95, 0.6, 0.3, 0.1, 0.02, 0)


@dataclass(frozen=True, slots=True)
class DemoCompany:
    """One made-up company. messages_per_hour is its busiest hour, both directions; weekdays run from Monday."""

    name: str
    timezone: str
    currency: str
    messages_per_hour: int
    slots_per_hour: int
    hours: tuple[float, ...]
    weekdays: tuple[float, ...]
    model: str
    cost_centers: tuple[str, ...]


COMPANIES = (
    DemoCompany(
        "Clínica Sorriso" + NAME_MARK, "America/Sao_Paulo", "BRL", 420, 4, _OFFICE,
        (1, 0.95, 0.9, 0.92, 0.85, 0.4, 0.06), "gpt-4o", ("agendamento", "convenios", "lembretes"),
    ),
    DemoCompany(
        "Auto Peças Sul" + NAME_MARK, "America/Sao_Paulo", "BRL", 230, 2, _OFFICE,
        (1, 0.9, 0.9, 0.95, 1, 0.6, 0.02), "gpt-4o-mini", ("vendas", "garantia"),
    ),
    DemoCompany(
        "Escola Alfa" + NAME_MARK, "America/Manaus", "BRL", 150, 2, _SCHOOL,
        (1, 0.95, 0.95, 0.9, 0.8, 0.15, 0.05), "gpt-4o-mini", ("secretaria", "matriculas"),
    ),
    DemoCompany(
        "Mercearia Lisboa" + NAME_MARK, "Europe/Lisbon", "USD", 80, 2, _SHOP,
        (0.8, 0.75, 0.8, 0.85, 1, 1, 0.4), "gpt-4o-mini", ("encomendas",),
    ),
    DemoCompany(
        "Chennai Tea Co" + NAME_MARK, "Asia/Kolkata", "USD", 120, 2, _OFFICE,
        (0.95, 1, 1, 0.95, 0.9, 0.7, 0.1), "gpt-4o", ("orders", "export"),
    ),
)  # fmt: skip


def history(company: DemoCompany, company_id: int, day: date, until: datetime) -> Iterator[UsageEvent]:
    """Yield a company's events of one local day that lie before `until`, in order of time.

    Each event sums a slot of the day. The same day yields the same events, ids included, whenever it is asked for:
    making a history twice is making it once.
    """
    dice = random.Random(f"{company.name} {day}")  # noqa: S311 - made-up figures
    start, end = _bounds(company, day)
    slot = timedelta(hours=1) / company.slots_per_hour
    trend = company.weekdays[day.weekday()] * (1 + 0.12 * math.sin(day.toordinal() / 9)) * dice.uniform(0.88, 1.12)
    for number in range(24 * company.slots_per_hour):
        begin = start + slot * number
        share = company.hours[number // company.slots_per_hour] * trend / company.slots_per_hour
        for direction, part in ((Direction.INBOUND, 0.46), (Direction.OUTBOUND, 0.54)):
            messages = round(company.messages_per_hour * share * part * dice.uniform(0.75, 1.25))
            time = begin + slot * dice.random()
            data = _usage(company, direction, messages, dice)
            if messages and time < min(end, until):
                yield _event(company_id, f"{day}-{number:02}-{direction}", time, data)


def live(company: DemoCompany, company_id: int, number: str, now: datetime, dice: random.Random) -> UsageEvent:
    """Return one event of the live traffic: a message in, or a message out with its tokens."""
    direction = dice.choice((Direction.INBOUND, Direction.OUTBOUND))
    return _event(company_id, f"live-{number}", now, _usage(company, direction, 1, dice))


def live_answer(
    company: DemoCompany,
    company_id: int,
    now: datetime,
    dice: random.Random,
    *,
    wamid: str,
    account_id: int,
    template_id: int | None,
) -> UsageEvent:
    """Return what a bot says of a WhatsApp message that it wrote: the message, its tokens and their response time."""
    data = msgspec.structs.replace(
        _usage(company, Direction.OUTBOUND, 1, dice), wamid=wamid, account_id=account_id, template_id=template_id
    )
    return _event(company_id, f"live-{wamid}", now, data)


def activity(company: DemoCompany, local_hour: int) -> float:
    """Return the company's weight in the live traffic at an hour of its day; never nothing, so that it is seen."""
    return company.messages_per_hour * max(company.hours[local_hour % 24], 0.1)


def _bounds(company: DemoCompany, day: date) -> tuple[datetime, datetime]:
    schedule = ZoneSchedule.single(company.timezone)
    return day_start(schedule, day), day_end(schedule, day)


def _usage(company: DemoCompany, direction: Direction, messages: int, dice: random.Random) -> UsageData:
    cost_center = dice.choice(company.cost_centers)
    tokens_input, tokens_output = dice.randint(180, 620), dice.randint(60, 240)
    response_ms = dice.randint(500, 2_400)
    if direction is Direction.INBOUND:
        return UsageData(direction=direction, messages=messages, cost_center=cost_center)
    return UsageData(
        direction=direction,
        messages=messages,
        tokens_input=tokens_input * messages,
        tokens_output=tokens_output * messages,
        response_ms=response_ms,
        model=company.model,
        cost_center=cost_center,
    )


def _event(company_id: int, event_id: str, time: datetime, data: UsageData) -> UsageEvent:
    return UsageEvent(
        specversion="1.0",
        id=event_id,
        source=SOURCE,
        type=RECORDED,
        data=data,
        time=time.replace(microsecond=0),
        subject=str(company_id),
    )
