"""The CNPJ, the number of a Brazilian company: read as people write it, checked by its two last digits; pure.

Twelve digits or capital letters and two check digits, modulo 11 (letters since July 2026: IN RFB 2.229/2024, where a
character counts as its ASCII code minus 48, so that older numbers keep their check digits).
"""

import re
from typing import Final

from secretaria.core.errors import InvalidInput

CNPJ_CHARS: Final = 14
_WRITTEN: Final = re.compile(r"[0-9A-Za-z./\- ]{1,40}", re.ASCII)
_CNPJ: Final = re.compile(r"[0-9A-Z]{12}[0-9]{2}", re.ASCII)
_WEIGHTS: Final = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def check_cnpj(text: str) -> str:
    """Return a CNPJ's 14 characters, 11222333000181 of 11.222.333/0001-81; raises InvalidInput (invalid_tax_id)."""
    plain = re.sub(r"[./\- ]", "", text).upper()
    is_cnpj = _WRITTEN.fullmatch(text) and _CNPJ.fullmatch(plain) and len(set(plain)) > 1
    if not is_cnpj or plain[12:] != _check_digits(plain[:12]):
        raise InvalidInput("not a CNPJ: its check digits do not fit", code="invalid_tax_id", pointer="tax_id")
    return plain


def shown_cnpj(plain: str) -> str:
    """Return a CNPJ as people write it: 11.222.333/0001-81."""
    return f"{plain[:2]}.{plain[2:5]}.{plain[5:8]}/{plain[8:12]}-{plain[12:]}"


def _check_digits(base: str) -> str:
    digits = base
    for _ in range(CNPJ_CHARS - len(base)):
        weights = _WEIGHTS[-len(digits) :]
        rest = sum(weight * (ord(char) - 48) for weight, char in zip(weights, digits, strict=True)) % 11
        digits += str(0 if rest < 2 else 11 - rest)
    return digits[len(base) :]
