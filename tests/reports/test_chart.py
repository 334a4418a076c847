"""Charts as SVG text: what stands where."""

import itertools
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from secretaria.reports.chart import Plot, Series, line_chart, stacked_chart, tick_step

SVG = "{http://www.w3.org/2000/svg}"


def plot(count: int, *, unfinished: bool = False) -> Plot:
    return Plot([f"{number:02}/11" for number in range(1, count + 1)], str, 480, 120, unfinished=unfinished)


def columns(svg: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return [rect for rect in root.findall(f"{SVG}rect") if float(rect.get("y", "0")) > 10]


@pytest.mark.parametrize(
    ("largest", "unit", "step"),
    [("0", "1", "1"), ("1", "1", "1"), ("7", "1", "2"), ("10", "1", "3"), ("1071", "1", "300"), ("26.96", "0.01", "8"),
     ("0.98", "0.1", "0.3"), ("0.01", "0.01", "0.01"), ("1000000", "1", "250000")],
)  # fmt: skip
def test_ticks_are_round_reach_the_largest_value_and_can_be_told_apart(largest: str, unit: str, step: str) -> None:
    assert tick_step(Decimal(largest), Decimal(unit)) == Decimal(step)


def test_columns_stand_on_zero_and_grow_with_their_value() -> None:
    low, high = columns(stacked_chart(plot(2), [Series("a", [Decimal(2), Decimal(8)])]))
    assert float(high.get("height", 0)) == pytest.approx(4 * float(low.get("height", 0)), rel=0.01)
    feet = {float(of.get("y", 0)) + float(of.get("height", 0)) for of in (low, high)}
    assert max(feet) - min(feet) < 0.02


def test_what_is_unfinished_is_hatched_and_nothing_else_is() -> None:
    drawn = columns(stacked_chart(plot(3, unfinished=True), [Series("a", [Decimal(1), Decimal(2), Decimal(3)])]))
    assert [str(of.get("fill")).startswith("url(#hatch") for of in drawn] == [False, False, True]


def test_zero_draws_nothing_and_all_zeros_still_have_an_axis() -> None:
    svg = stacked_chart(plot(3), [Series("a", [Decimal(0)] * 3)])
    assert columns(svg) == []
    assert "01/11" in svg


def test_a_line_has_a_gap_where_nothing_was_measured() -> None:
    root = ElementTree.fromstring(line_chart(plot(5), [Decimal(1), Decimal(2), None, Decimal(3), Decimal(1)]))
    assert len(root.findall(f"{SVG}polyline")) == 2
    assert len(root.findall(f"{SVG}circle")) == 4


def test_the_largest_value_is_labelled_and_names_cannot_break_the_drawing() -> None:
    root = ElementTree.fromstring(
        stacked_chart(plot(2), [Series("<b>&", [Decimal(1), Decimal(5)]), Series("x", [Decimal(1), Decimal(1)])])
    )
    texts = [of.text for of in root.findall(f"{SVG}text")]
    assert "6" in texts
    assert "<b>&" in texts


def test_labels_never_overlap_however_many_buckets() -> None:
    root = ElementTree.fromstring(stacked_chart(plot(58), [Series("a", [Decimal(1)] * 58)]))
    places = [float(of.get("x", 0)) for of in root.findall(f"{SVG}text") if str(of.text).endswith("/11")]
    assert all(after - before >= 30 for before, after in itertools.pairwise(places))
