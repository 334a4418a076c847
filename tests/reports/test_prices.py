"""Prices as a report names them: one line a price, adding up to what they came to."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from secretaria.reports.labels import Labels
from secretaria.reports.prices import by_price, price_name
from tests.reports import sample

SENT = sample.report().prices[0]
TOKENS = sample.report().prices[1]


def test_uses_of_one_price_are_one_line_that_names_only_what_they_share() -> None:
    lines = [
        replace(TOKENS, model="gpt-4o", quantity=2_000, amount=Decimal("0.02")),
        replace(TOKENS, model="claude", quantity=5_000, amount=Decimal("0.05"), direction="inbound"),
        replace(SENT, market="BR", quantity=3, amount=Decimal(2)),
        replace(SENT, market="AR", quantity=4, amount=Decimal(1)),
    ]
    first, second = by_price(lines)
    assert (price_name(Labels("pt-BR"), first), first.quantity, first.amount) == ("Mensagens · Enviadas · Marketing", 7, Decimal(3))
    assert (price_name(Labels("en"), second), second.quantity, second.amount) == ("Tokens", 7_000, Decimal("0.07"))


def test_what_is_free_is_one_line_whatever_its_category() -> None:
    free = replace(SENT, unit_price=Decimal(0), amount=Decimal(0), rate=None, direction="inbound")
    (line,) = by_price([free, replace(free, category="UTILITY"), replace(free, category=None)])
    assert price_name(Labels("pt-BR"), line) == "Mensagens · Recebidas · BR"


def test_another_price_rate_day_or_category_is_another_line() -> None:
    others = [
        replace(SENT, unit_price=Decimal("0.096")),
        replace(SENT, rate=Decimal("5.02")),
        replace(SENT, effective_from=date(2026, 11, 2)),
        replace(SENT, source="Meta"),
        replace(SENT, category="UTILITY"),
        replace(SENT, metric="tokens"),
    ]
    assert len(by_price([SENT, *others])) == 7
