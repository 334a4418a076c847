"""A report made by hand, with everything a report can hold."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from secretaria.core.period import Period
from secretaria.reports.report import (
    AlertLine,
    Day,
    Imprint,
    LimitUse,
    Owner,
    Plan,
    PriceLine,
    RateLine,
    Share,
    Sums,
    UsageReport,
    merged,
)

FIRST = date(2026, 11, 1)
AS_OF = datetime(2026, 11, 20, 17, 32, 5, tzinfo=UTC)
IMPRINT = Imprint("ABCDEFGHIJKLMNOPQRST", AS_OF, "https://painel.example.com/verify/ABCDEFGHIJKLMNOPQRST")


def day_sums(number: int, *, gaps: bool = False) -> Sums:
    wave = [12, 14, 15, 13, 11, 4, 3][number % 7]
    sent, received = wave * 31 + number, wave * 37 + 2 * number
    cost = Decimal(sent) * Decimal("0.475") / 10 + Decimal(received * 7) / 1000
    lacking = 3 if gaps and number == 4 else 0
    return Sums(received, sent, sent * 321, sent * 205, sent * (800 + wave * 12), sent, cost, lacking, lacking * 400)


def report(days: int = 20, *, first: date = FIRST, end: date = date(2026, 12, 1), gaps: bool = True) -> UsageReport:
    """A month of a company; its days up to today, the last of them unfinished."""
    made = [
        Day(first + timedelta(days=number), day_sums(number, gaps=gaps), unfinished=first + timedelta(days=number + 1) < end and number == days - 1)
        for number in range(days)
    ]
    total = merged(day.sums for day in made)
    assert total.cost is not None
    return UsageReport(
        Owner(1, "Clínica Sorriso", "Clínica Sorriso Odontologia Ltda.", "12.345.678/0001-95", "America/Sao_Paulo", "BRL"),
        Period(first, end),
        total,
        tuple(made),
        {
            "category": (_share("MARKETING", total, 50), _share("UTILITY", total, 30), _share("SERVICE", total, 12), _share(None, total, 8)),
            "account": (_share("3", total, 70, "Recepção"), _share("4", total, 30, "Agenda & confirmações")),
            "model": (_share("gpt-4o-mini", total, 60), _share("claude-haiku", total, 40)),
            "direction": (_share("outbound", total, 90), _share("inbound", total, 10)),
            "cost_center": (_share(None, total, 100),),
        },
        (
            PriceLine("messages", "MARKETING", "BR", None, "outbound", 3_412, Decimal("0.095"), 1, "USD", "product document", date(2025, 7, 1), Decimal("5.0108"), total.cost - Decimal("12.345")),
            PriceLine("tokens", None, None, "gpt-4o-mini", "outbound", 1_234_567, Decimal("0.01"), 1000, "BRL", "settings", None, None, Decimal("12.345")),
        ),
        (RateLine("USD", "BRL", Decimal("5.0108"), date(2026, 11, 1), "Banco Central PTAX", stale=False),),
        Plan(
            "Profissional",
            (
                LimitUse("messages", Decimal(20_000), Decimal(total.messages), Decimal("86.43"), "warning"),
                LimitUse("tokens", Decimal(9_000_000), Decimal(total.tokens), Decimal("31.90"), "normal"),
                LimitUse("cost", Decimal(300), total.cost, Decimal("104.20"), "critical"),
            ),
        ),
        (
            AlertLine(datetime(2026, 11, 18, 13, 5, tzinfo=UTC), "limit", "messages", 80, "warning", Decimal(16_001), Decimal(20_000), Decimal("80.00"), None),
            AlertLine(datetime(2026, 11, 19, 20, 41, tzinfo=UTC), "limit", "cost", 100, "critical", Decimal("300.12"), Decimal(300), Decimal("100.04"), datetime(2026, 11, 20, 12, tzinfo=UTC)),
            AlertLine(datetime(2026, 11, 5, 9, 12, tzinfo=UTC), "not_priced", "messages", 0, "warning", Decimal(3), None, None, None),
        ),
    )  # fmt: skip


def _share(key: str | None, total: Sums, percent: int, label: str | None = None) -> Share:
    def part(count: int) -> int:
        return count * percent // 100

    assert total.cost is not None
    return Share(
        key,
        label,
        Sums(
            part(total.messages_inbound), part(total.messages_outbound), part(total.tokens_input),
            part(total.tokens_output), part(total.response_ms), part(total.response_count),
            total.cost * percent / 100, 0, 0,
        ),
    )  # fmt: skip


def finished(**changes: object) -> UsageReport:
    """A month that has ended and has all prices."""
    made = report(30, gaps=False)
    return replace(made, days=tuple(replace(day, unfinished=False) for day in made.days), **changes)  # type: ignore[arg-type]
