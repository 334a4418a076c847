"""What a page shows: every figure once by its id, unknown never as zero, charts that start at zero."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.rating import NotPriced
from secretaria.web.panel import chart, figures
from secretaria.web.panel.figures import PeriodUsage
from secretaria.web.panel.format import Format
from secretaria.web.panel.i18n import texts

PT, EN = Format("pt-BR"), Format("en")
SENTENCES = texts("pt-BR")
MONDAY = date(2026, 11, 16)
NOTHING_MISSING = NotPriced(0, 0)
USAGE = PeriodUsage(
    start=MONDAY,
    end=MONDAY + timedelta(days=1),
    received=14_105,
    sent=17_286,
    tokens_input=12_612_345,
    tokens_output=1_970_000,
    avg_response_ms=Fraction(102_000),
    cost=Decimal("1570.0150"),
    currency="BRL",
    not_priced=NOTHING_MISSING,
    lower_bound=False,
)


def week_of(costs: list[str], **changes: object) -> list[PeriodUsage]:
    return [
        replace(USAGE, start=MONDAY + timedelta(days=number), cost=Decimal(cost), **changes)  # type: ignore[arg-type]
        for number, cost in enumerate(costs)
    ]


def test_a_card_shows_each_figure_and_keeps_the_full_one_in_its_title() -> None:
    view = figures.cards({"hoje": USAGE, "semana": USAGE, "mes": USAGE}, PT, SENTENCES)
    assert view.texts["hoje-custo"] == "R$\u00a01.570,02"
    assert view.texts["semana-recebidas"] == "14.105"
    assert view.texts["mes-tokens-entrada"] == "12,6\u00a0mi"
    assert view.marks["mes-tokens-entrada"] == {"title": "12.612.345"}
    assert view.texts["hoje-resposta"] == "1\u00a0min\u00a042\u00a0s"
    assert view.texts["hoje-sem-preco"] == ""


def test_what_has_no_price_shows_its_chip_the_bound_and_where_to_set_it() -> None:
    usage = replace(USAGE, not_priced=NotPriced(312, 1_200), lower_bound=True)
    view = figures.cards({"hoje": usage, "semana": usage, "mes": usage}, PT, SENTENCES)
    assert view.texts["hoje-custo"] == "≥\u00a0R$\u00a01.570,02"
    assert view.texts["hoje-sem-preco"] == "?\u00a0312 sem preço"
    unset = ("BILLING_COST_PER_MESSAGE", "BILLING_COST_PER_THOUSAND_TOKENS")
    sentence = figures.not_priced_sentence(usage, PT, SENTENCES, unset=unset)
    assert sentence == (
        "Sem preço neste mês: 312 mensagens e 1.200 tokens. O total é parcial. "
        "Defina BILLING_COST_PER_MESSAGE e BILLING_COST_PER_THOUSAND_TOKENS e reinicie o serviço."
    )
    assert figures.not_priced_sentence(usage, PT, SENTENCES).endswith("O total é parcial.")


def test_a_single_message_and_bare_tokens_read_as_such() -> None:
    one = replace(USAGE, not_priced=NotPriced(1, 0), lower_bound=True)
    assert "1 mensagem." in figures.not_priced_sentence(one, PT, SENTENCES)
    assert figures.not_priced_chip(NotPriced(0, 9), EN, texts("en")) == "?\u00a0tokens not priced"


def test_days_without_a_price_draw_nothing_and_say_so() -> None:
    week = week_of(["0"] * 7, lower_bound=True, not_priced=NotPriced(5, 0))
    view = figures.days(week, PT, SENTENCES)
    assert view.marks["custo-3"] == {"y": "100.00%", "height": "0.00%"}
    assert (view.texts["custo-3-valor"], view.texts["d3-custo"]) == ("—", "—")
    assert view.texts["custo-frase"] == "Sem preço nos últimos 7 dias."
    assert [view.texts[f"custo-marca{number}"] for number in range(5)] == ["R$\u00a00", "", "", "", ""]


def test_columns_stand_on_zero_and_the_table_behind_them_says_the_same() -> None:
    week = week_of(["84.97", "12.01", "230.525", "219.21", "176.07", "200.27", "122.77"])
    view = figures.days(week, PT, SENTENCES)
    ticks = [view.texts[f"custo-marca{number}"].replace("\u00a0", " ") for number in range(5)]
    assert ticks == ["R$ 0", "R$ 60", "R$ 120", "R$ 180", "R$ 240"]
    assert view.marks["custo-0"] == {"y": "64.60%", "height": "35.40%"}
    assert (view.texts["custo-2-valor"], view.texts["d2-custo"]) == ("230,53", "R$\u00a0230,53")
    assert view.texts["custo-frase"] == "Maior dia: 18/11, com R$\u00a0230,53."
    assert view.texts["mensagens-frase"] == "219.737 em 7 dias; maior dia: 16/11."
    assert view.texts["mensagens-6-dia"] == "22/11"


def test_late_figures_say_up_to_when_they_are_complete() -> None:
    complete = datetime(2026, 11, 20, 17, 32, tzinfo=UTC)
    fresh = figures.watermark(complete, complete + timedelta(minutes=5), PT, SENTENCES)
    late = figures.watermark(complete, complete + timedelta(minutes=5, seconds=1), PT, SENTENCES)
    assert (fresh.texts["dados-ate"], fresh.late) == ("Dados completos até 14:32", False)
    assert (late.texts["dados-ate"], late.late) == ("Dados atrasados: completos até 14:32", True)


@pytest.mark.parametrize(
    ("largest", "whole", "step"),
    [
        ("0", True, "1"),
        ("3", True, "1"),
        ("5", True, "2"),
        ("9", True, "3"),
        ("9", False, "2.5"),
        ("0.03", False, "0.008"),
        ("100", True, "25"),
        ("101", True, "30"),
        ("1234", False, "400"),
        ("40001", True, "15000"),
    ],
)
def test_a_step_is_round_and_four_of_them_reach_the_top(largest: str, whole: bool, step: str) -> None:
    assert chart.tick_step(Decimal(largest), whole=whole) == Decimal(step)


@given(st.decimals(min_value="0.0001", max_value="1e15", places=4), st.booleans())
def test_no_column_leaves_the_plot_nor_hides_in_its_lower_half(largest: Decimal, whole: bool) -> None:
    largest = Decimal(int(largest) + 1) if whole else largest
    top = chart.tick_step(largest, whole=whole) * chart.INTERVALS
    assert largest <= top
    assert top <= max(largest * 2, Decimal(4))
    assert chart.heights([largest, Decimal(0), Decimal(-5)], top)[1:] == [{"y": "100.00%", "height": "0.00%"}] * 2
