"""A company's days as CSV: UTF-8, RFC 4180, a dot as decimal mark, quantities and amounts unrounded."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

COLUMNS = (
    "date", "messages_in", "messages_out", "tokens_in", "tokens_out", "avg_response_ms", "cost", "currency",
    "not_priced", "exchange_rates",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DailyRow:
    """One local day. cost is None when nothing of what was used has a price; not_priced is (messages, tokens)."""

    day: date
    messages_inbound: int
    messages_outbound: int
    tokens_input: int
    tokens_output: int
    avg_response_ms: int | float | None
    cost: str | None
    currency: str
    not_priced: tuple[int, int]
    exchange_rates: tuple[str, ...] = ()


def write_daily_csv(rows: Iterable[DailyRow]) -> bytes:
    """Return the file, one line a day under a line of names.

    not_priced is empty where all has a price, and then the cost is exact; otherwise it says what the cost lacks,
    as in "12 messages, 3400 tokens". exchange_rates names what converted a part of the cost.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow((
            row.day, row.messages_inbound, row.messages_outbound, row.tokens_input, row.tokens_output,
            row.avg_response_ms, row.cost, row.currency, _lacking(*row.not_priced),
            "; ".join(row.exchange_rates),
        ))  # fmt: skip
    return text.getvalue().encode()


def _lacking(messages: int, tokens: int) -> str:
    parts = ((messages, "message" if messages == 1 else "messages"), (tokens, "token" if tokens == 1 else "tokens"))
    return ", ".join(f"{count} {name}" for count, name in parts if count)
