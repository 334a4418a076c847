"""The PDF as it is read: text, accents, pages, and the same bytes for the same figures on any machine."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pypdfium2
import pytest

from secretaria.reports.font import showable
from secretaria.reports.pdf import render_pdf
from secretaria.reports.report import Share, UsageReport
from tests.reports import sample

ROOT = Path(__file__).parent.parent.parent


def pages(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    return [document[page].get_textpage().get_text_bounded() for page in range(len(document))]


def text_of(report: UsageReport, locale: str = "pt-BR") -> str:
    text = " ".join(pages(render_pdf(report, sample.IMPRINT, locale)))
    return re.sub(r"[\s\u00a0]+", " ", text)


def test_it_says_whose_it_is_of_when_and_what_it_came_to() -> None:
    text = text_of(sample.report())
    for sentence in (
        "Relatório mensal · novembro de 2026", "Clínica Sorriso Odontologia Ltda. · CNPJ 12.345.678/0001-95",
        "01/11/2026 a 30/11/2026 · Dias no fuso America/Sao_Paulo · Números de 20/11/2026 14:32", "Parcial",
        "3 mensagens e 1.200 tokens sem preço", "≥ R$ 380,49", "15.054", "Uso do plano Profissional", "15.054 de 20.000 · 86,4% · Aviso",
        "Dia a dia", "Por conta", "Agenda & confirmações", "Alertas", "Preços usados", "US$ 0,0950", "1 USD → BRL",
        "Banco Central PTAX", "ABCDE-FGHIJ-KLMNO-PQRST", "https://painel.example.com/verify/ABCDEFGHIJKLMNOPQRST", "Página 1 de 3",
    ):  # fmt: skip
        assert sentence in text, sentence


def test_a_price_that_always_held_names_no_day() -> None:
    report = sample.report()
    text = text_of(replace(report, prices=(replace(report.prices[0], effective_from=date.min),)), "en")
    assert "the start" in text
    assert "Jan 0001" not in text


def test_english_is_english_throughout() -> None:
    text = text_of(sample.report(), "en")
    for sentence in ("Monthly report · November 2026", "Partial", "Mean response time", "≥ R$380.49", "Day by day", "Page 1 of 3"):
        assert sentence in text, sentence
    assert not re.search(r"Mensagens|Página|Recebidas|Custo|Alertas", text)


def test_each_page_has_its_number_and_the_code() -> None:
    found = pages(render_pdf(sample.report(), sample.IMPRINT, "pt-BR"))
    for number, text in enumerate(found, 1):
        assert f"Página {number} de {len(found)}" in text
        assert "ABCDE-FGHIJ-KLMNO-PQRST" in text


def test_a_finished_month_with_all_prices_is_not_partial() -> None:
    text = text_of(sample.finished())
    assert "Parcial" not in text
    assert "Sem preço" not in text
    assert "*" not in text


def test_the_days_shown_add_up_to_the_total_shown() -> None:
    found = re.findall(r"(?:dom|seg|ter|qua|qui|sex|sáb)\., \d\d/\d\d.*?R\$ ([\d.,]+)", text_of(sample.finished()))
    assert len(found) == 30
    cents = sum(int(cost.replace(".", "").replace(",", "")) for cost in found)
    total = sample.finished().total.cost
    assert total is not None
    assert cents == int(total * 100 + sample.Decimal("0.5"))


@pytest.mark.parametrize(
    "name",
    [
        '#evil[x] *b* _i_ $x^2$ `raw` <label> @ref = h', '#import "/etc/passwd": *', "\\u{41} // comment", '"); #panic("x")',
        '<img src="file:///etc/passwd">', "-- --- ...", "R$ 12,30 & Cia. 100%", "#let data = none", "~ nbsp",
    ],
)  # fmt: skip
def test_a_name_is_printed_as_it_is_and_is_never_markup(name: str) -> None:
    report = sample.report()
    hostile = replace(
        report,
        owner=replace(report.owner, name=name, legal_name=name),
        breakdowns={"account": (Share("1", name, report.total),), "model": (Share(name, None, report.total),)},
    )
    assert text_of(hostile).count(" ".join(name.split())) >= 3


@pytest.mark.parametrize("name", ["株式会社", "😀 Festa", "مرحبا", "a\u0301\u0302\u0303", "\u200bz", "Ω Ж ß", "x" * 200])
def test_no_name_keeps_a_report_from_being_made(name: str) -> None:
    report = sample.report(3)
    assert render_pdf(replace(report, owner=replace(report.owner, name=name)), sample.IMPRINT, "pt-BR").startswith(b"%PDF")


def test_what_the_font_lacks_is_a_question_mark_and_accents_are_kept() -> None:
    assert showable("Ação & çedilha — ≥ → Ωж") == "Ação & çedilha — ≥ → Ωж"
    assert showable("株 😀 x\u200b") == "? ? x?"
    assert showable("Ac\u0327a\u0303o") == "Ação"


def test_it_is_an_accessible_archive_document_with_its_own_fonts() -> None:
    content = render_pdf(sample.report(), sample.IMPRINT, "en")
    assert b"<pdfaid:part>2</pdfaid:part>" in content
    assert b"<pdfaid:conformance>A</pdfaid:conformance>" in content
    assert b"<pdfuaid:part>1</pdfuaid:part>" in content
    assert b"Inter" in content
    document = pypdfium2.PdfDocument(content)
    assert document.get_metadata_value("Title") == "Monthly report · Clínica Sorriso · November 2026"
    assert document.is_tagged()


def test_the_same_figures_are_the_same_bytes_in_another_process_and_zone() -> None:
    script = (
        "import hashlib; from tests.reports import sample; from secretaria.reports.pdf import render_pdf; "
        "print(hashlib.sha256(render_pdf(sample.report(), sample.IMPRINT, 'pt-BR')).hexdigest())"
    )
    here = hashlib.sha256(render_pdf(sample.report(), sample.IMPRINT, "pt-BR")).hexdigest()
    for seed, zone in (("1", "Asia/Tokyo"), ("2", "America/New_York")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "HOME": "/nonexistent", "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here


def test_a_long_period_is_told_by_week_and_month() -> None:
    text = text_of(sample.report(400, first=date(2025, 10, 1), end=date(2026, 11, 5), gaps=False))
    assert "Custo por semana" in text
    assert "Mês a mês" in text
    assert "outubro de 2025" in text
    assert "Há dias demais para uma tabela" in text


def test_a_long_breakdown_ends_with_the_rest_and_still_adds_up() -> None:
    report = sample.finished()
    share = report.days[0].sums
    many = tuple(Share(f"modelo-{number:03}", None, share) for number in range(60))
    text = text_of(replace(report, breakdowns={"model": many}))
    assert "modelo-038" in text
    assert "modelo-039" not in text
    assert "Outros (21)" in text
    assert "Só os 39 maiores estão aqui" in text


@pytest.mark.parametrize("days", [1, 2, 31, 62, 63])
@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_every_length_of_period_can_be_made(days: int, locale: str) -> None:
    report = sample.report(days, first=date(2026, 1, 1), end=date(2026, 12, 31))
    bare = replace(report, breakdowns={}, prices=(), rates=(), alerts=(), plan=None)
    for made in (report, bare):
        assert render_pdf(made, sample.IMPRINT, locale).startswith(b"%PDF")
