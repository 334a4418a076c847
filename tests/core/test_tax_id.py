"""The CNPJ: as people write it, with digits or letters, and only when its check digits fit."""

import pytest

from secretaria.core.errors import InvalidInput
from secretaria.core.tax_id import check_cnpj, shown_cnpj


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("11.222.333/0001-81", "11222333000181"), ("11222333000181", "11222333000181"),
        ("00.000.000/0001-91", "00000000000191"), ("33 000 167 0001 01", "33000167000101"),
        # Receita Federal's own example of the alphanumeric number of 2026.
        ("12.ABC.345/01DE-35", "12ABC34501DE35"), ("12abc34501de35", "12ABC34501DE35"),
    ],
)  # fmt: skip
def test_a_cnpj_is_read_as_people_write_it(text: str, plain: str) -> None:
    assert check_cnpj(text) == plain
    assert check_cnpj(shown_cnpj(plain)) == plain


@pytest.mark.parametrize(
    "text",
    [
        "11.222.333/0001-82", "11.222.333/0001-91", "12.ABC.345/01DE-36", "00000000000000", "1122233300018",
        "112223330001811", "", "ABCDEFGHIJKLMN", "11222333000181\n", "１１２２２３３３０００１８１", "52998224725", "A" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_cnpj_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_cnpj(text)
    assert (caught.value.code, caught.value.pointer) == ("invalid_tax_id", "tax_id")
