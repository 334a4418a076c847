"""`secretaria rates`: a preview before anything is written, and a choice that says from when."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run

GOLDEN = Path(__file__).parent.parent / "golden" / "rate_card_brl.csv"


def test_an_import_shows_what_changes_and_writes_nothing_unless_told_to(run: Run) -> None:
    refused = run("rates", "import", str(GOLDEN), "--from", "2027-01-01")
    assert (refused.code, refused.out) == (2, "")
    assert "Brazil UTILITY: 0.0350, 0.0333 past 250000, " in refused.err
    assert "its volume tiers end" in refused.err
    assert "Argentina UTILITY: unknown -> 0.1338" in refused.err
    assert "left out: column authentication-international" in refused.err
    assert "add --yes" in refused.err
    assert len(run("rates", "list", "--json").json) == 4
    done = run("rates", "import", str(GOLDEN), "--from", "2027-01-01", "--yes", "--json")
    assert (done.code, done.json["card"], done.json["effective_from"]) == (0, "meta-brl", "2027-01-01")
    assert {"market": "Brazil", "category": "SERVICE", "before": [{"above": 0, "amount": "0.0350"}], "after": [{"above": 0, "amount": None}]} in done.json["changes"]
    assert run("rates", "import", str(GOLDEN), "--from", "2027-01-01", "--yes").code == 2
    assert len(run("rates", "list", "--json").json) == 5


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"", b"a,b\n"])
def test_what_is_no_rate_card_is_one_line_of_why(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.csv"
    path.write_bytes(content)
    refused = run("rates", "import", str(path), "--yes")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert run("rates", "import", str(tmp_path / "none.csv")).code == 2


def test_a_choice_is_listed_with_its_first_day(run: Run) -> None:
    company = run("company", "create", "Clínica").value
    assert run("rates", "list", "--company", company).out == ""
    day = run("rates", "activate", "meta-brl", "--company", company).value
    listed = run("rates", "list", "--company", company, "--json").json
    assert listed == [{"account_id": None, "card": "meta-brl", "unit_price_rounding": "exact", "effective_from": day}]
    assert day in run("rates", "list", "--company", company).out
    cut = run("rates", "activate", "product", "--company", company, "--unit-price-rounding", "cents_down", "--json")
    assert (cut.json["card"], cut.json["unit_price_rounding"]) == ("product", "cents_down")
    assert run("rates", "activate", "lost", "--company", company).code == 2
    listed = run("rates", "list")
    assert "meta-usd" in listed.out
    assert "tiers are left out: two reports disagree" in listed.err
    assert "One dollar in reais: USD_TO_BRL 5.00" in listed.err
