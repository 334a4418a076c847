"""Signatures as every Standard Webhooks library reads them; the reference library is the oracle."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from secretaria.core.errors import InvalidInput
from secretaria.core.standard_webhook import SECRETS_MAX, check_secret, create_secret, headers

SPECIFIED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


def test_it_signs_the_specifications_own_example() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    made = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [SPECIFIED])
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.text(max_size=200), st.binary(min_size=24, max_size=64))
def test_the_reference_library_verifies_what_we_sign(text: str, key: bytes) -> None:
    body = json.dumps({"text": text}).encode()
    secret = "whsec_" + base64.b64encode(key).decode()
    made = headers("alert-1-2", datetime.now(UTC), body, [secret])
    assert Webhook(secret).verify(body, made) == {"text": text}


def test_during_a_rotation_the_old_and_the_new_secret_both_verify_and_a_third_does_not() -> None:
    old, new, third = create_secret(), create_secret(), create_secret()
    made = headers("alert-1", datetime.now(UTC), b"{}", [new, old])
    assert len(made["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", made) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(third).verify(b"{}", made)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_a_changed_id_or_time_no_longer_verifies(name: str) -> None:
    secret = create_secret()
    made = headers("alert-1", datetime.now(UTC), b"{}", [secret])
    made[name] = {"webhook-id": "alert-2", "webhook-timestamp": str(int(made["webhook-timestamp"]) + 1)}[name]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", made)


def test_the_instant_counts_and_not_the_zone_it_is_written_in() -> None:
    sao_paulo = NOW.astimezone(timezone(timedelta(hours=-3)))
    assert headers("a", NOW, b"{}", [SPECIFIED]) == headers("a", sao_paulo, b"{}", [SPECIFIED])
    before = datetime(2026, 11, 20, 12, 0, 0, 999_999, tzinfo=UTC)
    assert (
        headers("a", before, b"", [SPECIFIED])["webhook-timestamp"]
        == headers("a", NOW, b"", [SPECIFIED])["webhook-timestamp"]
    )


def test_a_body_that_is_not_text_is_signed_byte_for_byte() -> None:
    one = headers("a", NOW, b"\xff\x00", [SPECIFIED])["webhook-signature"]
    assert one != headers("a", NOW, b"\xff\x01", [SPECIFIED])["webhook-signature"]


def test_a_made_secret_is_taken_and_no_two_are_the_same() -> None:
    made = {create_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        check_secret(secret)


@pytest.mark.parametrize("size", [24, 25, 32, 64])
def test_a_secret_of_24_to_64_bytes_is_taken(size: int) -> None:
    check_secret(secret_of(size))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_AA==",
        secret_of(23),
        secret_of(65),
        secret_of(32).removeprefix("whsec_"),
        secret_of(32) + " ",
        " " + secret_of(32),
        secret_of(32) + "\n",
        secret_of(32).replace("=", ""),
        secret_of(32).replace("whsec_", "WHSEC_"),
        secret_of(32).replace("whsec_", "whsk_"),
        "whsec_" + secret_of(32),
        "whsec_" + "é" * 40,
        "whsec_" + "-_" * 20,
        "whsec_" + "A" * 42 + "B=",  # another way to write bytes that have a first one
        "whsec_" + "A" * 100_000,
    ],
)
def test_any_other_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_secret(secret)
    assert refused.value.code == "invalid_secret"
    assert "24 to 64" in refused.value.message
    assert len(secret) < 8 or secret not in refused.value.message
    with pytest.raises(InvalidInput):
        headers("a", NOW, b"", [secret])


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\r\nx: y", "ação", "a" * 256])
def test_an_id_that_could_be_read_two_ways_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        headers(message_id, NOW, b"", [SPECIFIED])


@pytest.mark.parametrize("count", [0, SECRETS_MAX + 1])
def test_a_message_is_never_unsigned_nor_signed_without_end(count: int) -> None:
    with pytest.raises(ValueError, match="secrets"):
        headers("a", NOW, b"", [SPECIFIED] * count)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        headers("a", NOW.replace(tzinfo=None), b"", [SPECIFIED])


def test_the_documented_code_verifies_what_we_sign_and_nothing_else() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if "def is_ours" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    is_ours, now, body = names["is_ours"], datetime.now(UTC), b'{"type":"test.ping"}'
    new, old, other = create_secret(), create_secret(), create_secret()
    made = headers("alert_1", now, body, [new, old])
    assert is_ours(new, made, body)
    assert is_ours(old, made, body)
    assert not is_ours(other, made, body)
    assert not is_ours(new, made, body + b" ")
    assert not is_ours(new, made | {"webhook-id": "alert_2"}, body)
    assert not is_ours(new, headers("alert_1", now - timedelta(minutes=6), body, [new]), body)
