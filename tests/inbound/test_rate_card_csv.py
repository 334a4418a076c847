"""Meta's rate card CSV with every trap it is known for."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from secretaria.core.errors import InvalidInput, TooLarge
from secretaria.inbound import rate_card_csv
from secretaria.inbound.rate_card_csv import parse_published, parse_shipped

GOLDEN = Path(__file__).parent.parent / "golden" / "rate_card_brl.csv"
HEADER = 'Market,Currency,Marketing,Utility,Authentication,"Authentication-\r\nInternational",Service\r\n'


def test_it_reads_the_card_as_meta_publishes_it() -> None:
    content = GOLDEN.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in content
    card = parse_published(content)
    assert (card.currency, card.effective_from) == ("BRL", date(2026, 7, 1))
    prices = {(market, category): amount for market, category, above, amount in card.prices if above == 0}
    assert prices["Brazil", "MARKETING"] == Decimal("0.3217")
    assert prices["Brazil", "UTILITY"] == Decimal("0.0350")
    assert prices["Brazil", "SERVICE"] is None
    assert prices["Argentina", "AUTHENTICATION"] == Decimal("0.1338")
    assert len(prices) == 3 * 4
    assert "Authentication-".lower() in card.skipped[0]
    assert any("Rates are subject" in reason for reason in card.skipped)


def test_us_dollars_are_written_backwards() -> None:
    card = parse_published((HEADER + "Brazil,$US,$0.0625,0.0068,0.0068,n/a,0.0068\r\n").encode())
    assert (card.currency, card.effective_from) == ("USD", None)
    assert card.prices[0] == ("Brazil", "MARKETING", 0, Decimal("0.0625"))


def test_a_file_saved_by_excel_in_portuguese_is_read_too() -> None:
    text = "Market;Currency;Marketing;Utility\r\nRest of Latin America;BRL;0,3217;0,0350\r\n"
    assert parse_published(text.encode("utf-8-sig")).prices == (
        ("Rest of Latin America", "MARKETING", 0, Decimal("0.3217")),
        ("Rest of Latin America", "UTILITY", 0, Decimal("0.0350")),
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04\x14\x00", "not_a_csv"),
        (b"%PDF-1.7", "not_a_csv"),
        (b"<!doctype html>", "not_a_csv"),
        ("Market,Currency".encode("utf-16"), "not_a_csv"),
        (b"Market,Currency\xff", "not_a_csv"),
        (b"Market,Currency\0", "not_a_csv"),
        (b'Market,Currency,"Utility', "not_a_csv"),
        (b'"Rates, Reflecting volume tiers"\r\nMarket,Currency,Utility\r\n', "volume_tiers_not_supported"),
        (b"", "no_rate_table"),
        (b"a,b,c\r\n1,2,3\r\n", "no_rate_table"),
        (HEADER.encode(), "no_rate_table"),
        ((HEADER + "Brazil,BRL,0x10,1,1,1,1").encode(), "invalid_price"),
        ((HEADER + "Brazil,BRL,-1,1,1,1,1").encode(), "invalid_price"),
        ((HEADER + 'Brazil,BRL,"1,5",1,1,1,1').encode(), "invalid_price"),
        ((HEADER + "Brazil,BRL,1,1,1,1,1\r\nIndia,USD,1,1,1,1,1").encode(), "mixed_currencies"),
        ((HEADER + "Brazil,?,1,1,1,1,1").encode(), "unknown_currency"),
        ((HEADER + "Brazil,BRL,1,1,1,1,1\r\nBrazil,BRL,2,1,1,1,1").encode(), "duplicate_market"),
    ],
)
def test_what_is_no_rate_card_is_refused_by_name(content: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_published(content)
    assert refused.value.code == code


def test_a_file_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_card_csv, "FILE_BYTES_MAX", 10)
    with pytest.raises(TooLarge):
        parse_published(HEADER.encode())


def test_a_shipped_file_is_read_whole_or_not_at_all() -> None:
    assert parse_shipped("market,category,above,amount\nBrazil,UTILITY,0,0.035\n") == (("Brazil", "UTILITY", 0, Decimal("0.035")),)
    for text in ("market,category,amount\nBrazil,UTILITY,0.035\n", "market,category,above,amount\nBrazil,UTILITY,0\n"):
        with pytest.raises(ValueError):
            parse_shipped(text)
