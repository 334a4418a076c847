"""An admitted event, ready to be counted: its hashes, its local day and hour, its dimensions and quantities; pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import lru_cache

import msgspec

from secretaria.core.event import Direction, UsageEvent, content_hash_of, identity_of
from secretaria.core.period import DayFinder
from secretaria.core.price import Dimensions, channel_of, normal_category

UNKNOWN_CATEGORY = "OTHER"
FOLDED_COST_CENTER = "other"
SECONDS_CACHED_MAX = 8_192
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - written without its zone, which COPY gets as +00


# Dimensions as they were sent: what the hot path looks series up by.
SentDimensions = tuple[Direction | None, str | None, str | None, str | None, int | None, int | None, str | None]


def dimensions_of(sent: SentDimensions) -> Dimensions:
    """Return the dimensions that sums are kept by: Meta's spellings of a category made one, unknown ones OTHER."""
    direction, category, market, model, account_id, template_id, cost_center = sent
    if category is not None:
        category = normal_category(category) or UNKNOWN_CATEGORY
    return Dimensions(
        channel=channel_of(account_id=account_id, category=category),
        direction=direction or Direction.OUTBOUND,
        category=category,
        market=market,
        model=model,
        account_id=account_id,
        template_id=template_id,
        cost_center=cost_center,
    )


def folded(dimensions: Dimensions) -> Dimensions:
    """Return the dimensions with template and cost centre folded away; what decides a price never folds."""
    return replace(dimensions, template_id=None, cost_center=FOLDED_COST_CENTER)


class PreparedEvent(msgspec.Struct, gc=False):
    """What one event adds, and where.

    series_id is found while it is counted. A correction's place and difference are known only once its original is
    read; `corrects` is that original's identity.
    """

    company_id: int
    identity: str
    content_hash: str
    occurred_at: str
    day: date
    hour: int
    dimensions: SentDimensions
    messages: int
    tokens_input: int
    tokens_output: int
    response_ms: int
    response_count: int
    event: UsageEvent
    series_id: int = 0
    corrects: str | None = None

    @property
    def is_inbound(self) -> bool:
        """Tell whether the message came from the end customer."""
        return self.dimensions[0] == Direction.INBOUND


@lru_cache(maxsize=SECONDS_CACHED_MAX)
def _second_text(seconds: int) -> str:
    # In UTC: PostgreSQL takes no offset past 15:59, RFC 3339 does.
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(" ")


def prepare(
    event: UsageEvent, occurred_us: int | None, *, company_id: int, days: DayFinder, received: tuple[int, str]
) -> PreparedEvent:
    """Return the event ready to be counted for a company.

    occurred_us is epoch_us(event.time), None where it names none: then the moment of receipt counts, given as epoch
    microseconds and as text.
    """
    data = event.data
    if event.time is None or occurred_us is None:
        day, hour = days.find(received[0])
        occurred_at = received[1]
    else:
        day, hour = days.find(occurred_us)
        seconds, micros = divmod(occurred_us, 1_000_000)
        occurred_at = f"{_second_text(seconds)}.{micros:06}+00"
    response_ms = data.response_ms
    return PreparedEvent(
        company_id,
        identity_of(event.source, event.id),
        content_hash_of(event, occurred_us),
        occurred_at,
        day,
        hour,
        (
            data.direction,
            data.category,
            data.country,
            data.model,
            data.account_id,
            data.template_id,
            data.cost_center,
        ),
        data.messages or 0,
        data.tokens_input or 0,
        data.tokens_output or 0,
        response_ms or 0,
        0 if response_ms is None else 1,
        event,
    )


class Delta(msgspec.Struct, gc=False):
    """What a group of events adds to one (company, day, hour, series)."""

    inbound: bool
    messages: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    response_ms: int = 0
    response_count: int = 0


DeltaKey = tuple[int, date, int, int]


def sum_deltas(rows: Iterable[PreparedEvent]) -> dict[DeltaKey, Delta]:
    """Return what events with their series add, by (company_id, day, hour, series_id), in sorted order of the keys."""
    deltas: dict[DeltaKey, Delta] = {}
    for row in rows:
        key = (row.company_id, row.day, row.hour, row.series_id)
        delta = deltas.get(key)
        if delta is None:
            deltas[key] = delta = Delta(row.is_inbound)
        delta.messages += row.messages
        delta.tokens_input += row.tokens_input
        delta.tokens_output += row.tokens_output
        delta.response_ms += row.response_ms
        delta.response_count += row.response_count
    return dict(sorted(deltas.items()))
