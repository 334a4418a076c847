"""What an e-mail address and a password may be, and which addresses are one place."""

import pytest

from secretaria.core.account import check_email, check_new_password, check_password, network_of, normalise_email
from secretaria.core.errors import InvalidInput


@pytest.mark.parametrize(
    "email", ["a@b", "Ana.Silva+faturas@clinica.com.br", "josé@exemplo.com.br", "аdmin@example.com", "o'brien@x.ie"]
)
def test_an_address_is_kept_as_it_was_sent(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\r\nBcc: x@y", "a@b\0", "a\u200b@b", "a\u202e@b", "a" * 250 + "@b.co"],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_email(email)
    assert caught.value.code == "invalid_email"


def test_spellings_of_one_account_are_one() -> None:
    assert normalise_email("JOSÉ@Exemplo.com") == normalise_email("jose\u0301@exemplo.COM")


@pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "a\0b", "\ud800aaaaaaa"])
def test_a_password_that_cannot_be_one_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput):
        check_password(password)


def test_a_new_password_has_eight_characters() -> None:
    assert check_new_password("12345678") == b"12345678"
    with pytest.raises(InvalidInput):
        check_new_password("1234567")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, "unknown"),
        ("a socket", "unknown"),
    ],
)
def test_one_place_is_an_ipv4_address_or_the_64_of_an_ipv6_address(address: str | None, network: str) -> None:
    assert network_of(address) == network
