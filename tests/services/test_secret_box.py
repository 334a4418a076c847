"""Secrets open only where they were sealed, and only with a key that is still named."""

from dataclasses import replace
from typing import Any

import pytest

from secretaria.services.secret_box import Place, SecretBox, SecretUnreadable, masked
from secretaria.settings import Settings

PLACE = Place("integrations", 1, "7", "access_token")
SECRET = "EAAtest-canary-0123456789"


def test_what_is_sealed_opens_again_and_is_never_sealed_alike() -> None:
    box = SecretBox("a key of some length")
    sealed = [box.seal(SECRET, PLACE) for _ in range(3)]
    assert [box.open(one, PLACE) for one in sealed] == [SECRET] * 3
    assert len(set(sealed)) == 3
    assert all(SECRET.encode() not in one for one in sealed)


@pytest.mark.parametrize(
    "other", [{"table": "api_keys"}, {"company_id": 2}, {"row_id": "8"}, {"column": "app_secret"}]
)
def test_a_value_moved_elsewhere_does_not_open(other: dict[str, Any]) -> None:
    box = SecretBox("a key of some length")
    sealed = box.seal(SECRET, PLACE)
    with pytest.raises(SecretUnreadable) as raised:
        box.open(sealed, replace(PLACE, **other))
    assert SECRET not in str(raised.value)


def test_a_changed_byte_anywhere_is_seen() -> None:
    box = SecretBox("a key of some length")
    sealed = box.seal(SECRET, PLACE)
    for index in range(len(sealed)):
        changed = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        with pytest.raises(SecretUnreadable):
            box.open(changed, PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SecretUnreadable):
            box.open(sealed[:length], PLACE)


def test_a_retired_key_opens_what_it_sealed_and_seals_nothing_more() -> None:
    old, new = SecretBox("the first key there was"), SecretBox("the second key there is", ["the first key there was"])
    sealed = old.seal(SECRET, PLACE)
    assert new.open(sealed, PLACE) == SECRET
    with pytest.raises(SecretUnreadable):
        old.open(new.seal(SECRET, PLACE), PLACE)
    with pytest.raises(SecretUnreadable):
        SecretBox("the second key there is").open(sealed, PLACE)


def test_the_box_of_the_settings_keeps_its_key_in_the_data_folder(settings: Settings) -> None:
    sealed = SecretBox.of(settings).seal(SECRET, PLACE)
    assert SecretBox.of(settings).open(sealed, PLACE) == SECRET
    key = (settings.secretaria_data_dir / "secret.key").read_text().strip()
    assert SecretBox("another key, made later", [key]).open(sealed, PLACE) == SECRET


@pytest.mark.parametrize(
    ("secret", "shown"), [("EAAB1234567890wxyz", "••••wxyz"), ("12345678901", "••••"), ("abcd", "••••")]
)
def test_of_a_long_secret_the_last_four_are_shown_and_of_a_short_one_nothing(secret: str, shown: str) -> None:
    assert masked(secret) == shown
