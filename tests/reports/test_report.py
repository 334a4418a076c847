"""A report's code: the same figures have one code, any other figure has another, and the figures come back."""

from dataclasses import replace
from decimal import Decimal

from secretaria.reports.report import canonical, code_of, exact, grouped, merged, restored
from tests.reports import sample


def test_the_same_figures_have_one_code_however_they_were_made() -> None:
    report, again = sample.report(), sample.report()
    again = replace(again, breakdowns=dict(reversed(list(again.breakdowns.items()))))
    assert code_of(canonical(report)) == code_of(canonical(again))


def test_any_other_figure_has_another_code() -> None:
    report = sample.report()
    others = [
        replace(report, total=replace(report.total, messages_inbound=report.total.messages_inbound + 1)),
        replace(report, total=replace(report.total, cost=Decimal("0.01"))),
        replace(report, owner=replace(report.owner, company_id=2)),
        replace(report, owner=replace(report.owner, name="Clínica Sorrizo")),
        replace(report, days=report.days[:-1]),
        replace(report, days=(*report.days[:-1], replace(report.days[-1], unfinished=False))),
        replace(report, rates=()),
        replace(report, alerts=report.alerts[1:]),
        replace(report, plan=None),
    ]
    codes = {code_of(canonical(of)) for of in [report, *others]}
    assert len(codes) == len(others) + 1


def test_figures_come_back_as_they_were() -> None:
    report = sample.report()
    assert restored(canonical(report)) == report
    assert canonical(restored(canonical(report))) == canonical(report)


def test_a_code_is_twenty_letters_and_digits_in_groups_of_five() -> None:
    code = code_of(canonical(sample.report()))
    assert len(code) == 20
    assert set(code) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert grouped("ABCDEFGHIJKLMNOPQRST") == "ABCDE-FGHIJ-KLMNO-PQRST"


def test_equal_amounts_are_written_one_way() -> None:
    assert str(exact(Decimal("1.500"))) == str(exact(Decimal("1.5"))) == "1.50"


def test_a_sum_of_parts_has_no_cost_where_no_part_has_one() -> None:
    sums = sample.day_sums(1)
    assert merged([replace(sums, cost=None), replace(sums, cost=None)]).cost is None
    assert merged([replace(sums, cost=None), sums]).cost == sums.cost
    assert merged([]).cost == 0
