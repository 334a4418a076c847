"""Settings: one line that names the variable for what cannot be meant, and secrets that stay secret."""

import stat
from decimal import Decimal
from pathlib import Path

import pytest

from secretaria.core.errors import ConfigurationError
from secretaria.settings import Settings, secret_key

NAMES = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_it_has_a_default_for_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.billing_cost_per_message is None
    assert settings.billing_cost_per_thousand_tokens is None
    assert settings.billing_currency == "BRL"
    assert settings.usd_to_brl == Decimal("5.00")
    assert settings.database_url is settings.database_owner_url is settings.redis_url is None
    assert settings.secretaria_data_dir == tmp_path / "var"
    assert settings.public_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blank", ["", "  "])
def test_it_takes_an_empty_variable_for_unset(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    unset = Settings.load()
    monkeypatch.setenv(name, blank)
    assert Settings.load() == unset


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *[
            (name, bad)
            for name in ("BILLING_COST_PER_MESSAGE", "BILLING_COST_PER_THOUSAND_TOKENS", "USD_TO_BRL")
            for bad in ("-0.01", "NaN", "sNaN", "Infinity", "-inf", "0,05", "1_0", "1E+999999", "٣", "free", "0.1 BRL")
        ],
        ("USD_TO_BRL", "0"),
        ("BILLING_CURRENCY", "EUR"),
        ("BILLING_ALERT_WEBHOOK_URL", "ftp://example.com"),
        ("BILLING_ALERT_WEBHOOK_URL", "https://"),
        ("DATABASE_URL", "mysql://user:topsecret@host/db"),
        ("DATABASE_OWNER_URL", "host=localhost password=topsecret"),
        ("REDIS_URL", "http://:topsecret@host"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PUBLIC_URL", "panel.example.com"),
        ("PUBLIC_URL", "http://host:99999"),
        ("SECRETARIA_SECRET_KEY", "topsecret"),
        ("TRUSTED_PROXIES", "proxy.local"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_it_names_the_variable_in_one_line_when_its_value_cannot_be_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, bad: str
) -> None:
    monkeypatch.setenv(name, bad)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert caught.value.message.startswith(f"{name}: ")
    assert "\n" not in caught.value.message
    assert "topsecret" not in caught.value.message


@pytest.mark.parametrize("good", ["0", "0.05", "0.050000000001", "999999999999"])
def test_it_keeps_an_amount_exactly(monkeypatch: pytest.MonkeyPatch, good: str) -> None:
    monkeypatch.setenv("BILLING_COST_PER_MESSAGE", f" {good} ")
    assert Settings.load().billing_cost_per_message == Decimal(good)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("0.0.0.0", "80", "http://127.0.0.1:80"),
        ("::1", "8000", "http://[::1]:8000"),
        ("panel.local", "8000", "http://panel.local:8000"),
    ],
)
def test_it_derives_a_public_url_that_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str, expected: str
) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", port)
    assert Settings.load().public_url == expected
    monkeypatch.setenv("PUBLIC_URL", "https://panel.example.com/")
    assert Settings.load().public_url == "https://panel.example.com"


def test_it_shows_no_secret_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "DATABASE_URL": "postgresql://user:topsecret@host/db",
        "DATABASE_OWNER_URL": "postgresql://owner:topsecret@host/db",
        "REDIS_URL": "redis://:topsecret@host",
        "BILLING_ALERT_WEBHOOK_URL": "https://hooks.example.com/topsecret",
        "BILLING_ALERT_WEBHOOK_SECRET": "topsecret",
        "SECRETARIA_SECRET_KEY": "topsecret" * 4,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert "topsecret" not in repr(settings) + str(settings)
    assert settings.database_url == secrets["DATABASE_URL"]
    assert secret_key(settings) == secrets["SECRETARIA_SECRET_KEY"]


def test_it_makes_a_secret_key_once_and_keeps_it_private(tmp_path: Path) -> None:
    settings = Settings(secretaria_data_dir=tmp_path / "var")
    made = secret_key(settings)
    assert len(made) >= 32
    assert secret_key(settings) == made
    assert stat.S_IMODE((tmp_path / "var" / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret.key"]
    assert secret_key(Settings(secretaria_data_dir=tmp_path / "other")) != made


def test_it_refuses_a_secret_key_file_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("abc")
    with pytest.raises(ConfigurationError, match="SECRETARIA_SECRET_KEY"):
        secret_key(Settings(secretaria_data_dir=tmp_path))
