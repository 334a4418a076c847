"""Every setting, read once from the environment at the door. An empty variable counts as unset.

DATABASE_URL and REDIS_URL replace the embedded servers; without them everything lives in SECRETARIA_DATA_DIR.
"""

import os
import re
import secrets
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from secretaria.core.errors import ConfigurationError
from secretaria.core.mail_server import parse_mail_server, parse_sender

AMOUNT_DIGITS_MAX = 12  # on either side of the dot: beyond any price, and far below what numeric holds
MESSAGE_RETENTION_DAYS_MIN = 40  # past the 35 days that reports of a message may lie back
WEB_CONCURRENCY_MAX = 8  # with more, the embedded PostgreSQL has not two connections left for each pool
SECRET_KEY_BYTES = 32
SECRET_KEY_CHARS_MIN = 16
SECRET_KEY_FILE = "secret.key"  # noqa: S105 - a file's name

# Decimal() alone would take "1_000", "١٢", "1E+999999" and "NaN".
_AMOUNT = re.compile(rf"[0-9]{{1,{AMOUNT_DIGITS_MAX}}}(\.[0-9]{{1,{AMOUNT_DIGITS_MAX}}})?", re.ASCII)
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound here


def _amount(value: Any) -> Decimal | None:
    if value is None:
        return None
    text = str(value).strip()
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"must be a number of 0 or more, with a dot, like 0.05 (got {text[:40]!r})")
    return Decimal(text)


def _url(value: Any, schemes: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in schemes:
        # The value stays out of the message: it may carry a password.
        raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
    return text


def _http_url(value: Any) -> str | None:
    text = _url(value, ("http", "https"))
    if text is not None and not urlsplit(text).hostname:
        raise ValueError("must be a URL with a host, like https://example.com")
    return text


def _smtp_url(value: Any) -> str:
    parse_mail_server(str(value))
    return str(value).strip()


def _sender(value: Any) -> str:
    parse_sender(str(value))
    return str(value).strip()


Amount = Annotated[Decimal, BeforeValidator(_amount)]
HttpUrl = Annotated[str, BeforeValidator(_http_url)]
PostgresUrl = Annotated[str, BeforeValidator(lambda value: _url(value, ("postgresql", "postgres")))]
RedisUrl = Annotated[str, BeforeValidator(lambda value: _url(value, ("redis", "rediss", "unix")))]
SmtpUrl = Annotated[str, BeforeValidator(_smtp_url)]
Sender = Annotated[str, BeforeValidator(_sender)]


class Settings(BaseSettings):
    """The variables of the same names in upper case. Build it with `load()`, which explains a bad value."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    billing_cost_per_message: Amount | None = None
    billing_cost_per_thousand_tokens: Amount | None = None
    billing_currency: Literal["BRL", "USD"] = "BRL"
    billing_alert_webhook_url: HttpUrl | None = Field(default=None, repr=False)
    billing_alert_webhook_secret: str | None = Field(default=None, repr=False)
    billing_alert_webhook_private: bool = False
    usd_to_brl: Amount = Decimal("5.00")
    exchange_rate_source: Literal["fixed", "ptax"] = "fixed"
    ptax_url: HttpUrl = "https://olinda.bcb.gov.br/olinda/servico/PTAX/versao/v1/odata"
    database_url: PostgresUrl | None = Field(default=None, repr=False)
    database_owner_url: PostgresUrl | None = Field(default=None, repr=False)
    database_backup_url: PostgresUrl | None = Field(default=None, repr=False)
    redis_url: RedisUrl | None = Field(default=None, repr=False)
    whatsapp_app_secret: str | None = Field(default=None, repr=False)
    whatsapp_verify_token: str | None = Field(default=None, repr=False)
    mail_from: Sender | None = None
    smtp_url: SmtpUrl | None = Field(default=None, repr=False)
    message_retention_days: int = Field(default=400, ge=MESSAGE_RETENTION_DAYS_MIN, le=3660)
    secretaria_data_dir: Path = Path("var")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=1, le=65535)
    web_concurrency: int = Field(default=1, ge=1, le=WEB_CONCURRENCY_MAX)
    metrics_allowed: str = "127.0.0.0/8,::1"
    public_url: str = ""
    trusted_proxies: str = ""
    secretaria_secret_key: str | None = Field(default=None, repr=False, min_length=SECRET_KEY_CHARS_MIN)
    secretaria_retired_secret_keys: str = Field(default="", repr=False)
    meta_graph_url: HttpUrl = "https://graph.facebook.com"
    demo_graph_url: HttpUrl | None = None

    @field_validator("usd_to_brl")
    @classmethod
    def _positive(cls, value: Decimal) -> Decimal:
        if value == 0:
            raise ValueError("must be above 0")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _with_sender(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("mail_from") is None:
            raise ValueError("needs MAIL_FROM beside it, the address mails are sent from")
        return value

    @field_validator("secretaria_data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("public_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return (_http_url(value) or "").rstrip("/") if value else ""

    @field_validator("trusted_proxies", "metrics_allowed")
    @classmethod
    def _networks(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return ",".join(str(ip_network(part)) if "/" in part else str(ip_address(part)) for part in parts)
        except ValueError:
            raise ValueError("must be addresses or networks with commas between, like 127.0.0.1,10.0.0.0/8") from None

    @field_validator("secretaria_retired_secret_keys")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        keys = [key.strip() for key in value.split(",") if key.strip()]
        if any(len(key) < SECRET_KEY_CHARS_MIN for key in keys):
            raise ValueError(f"must be keys of at least {SECRET_KEY_CHARS_MIN} characters with commas between")
        return ",".join(keys)

    @field_validator("host", "billing_currency", "exchange_rate_source", mode="before")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value for key, value in values.items() if not (isinstance(value, str) and not value.strip())
        }

    @model_validator(mode="after")
    def _default_public_url(self) -> Self:
        # Frozen for everyone else; this is still construction.
        object.__setattr__(self, "public_url", self.public_url or self.own_url)
        return self

    @property
    def own_url(self) -> str:
        """Where this machine reaches the copy, whatever stands before it."""
        host = _ANY_ADDRESS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises ConfigurationError with one line that names the variable."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "settings"
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise ConfigurationError(f"{name}: {reason}") from None


def secret_key(settings: Settings) -> str:
    """The key that signs and encrypts: the setting, else one made once and kept 0600 in the data folder."""
    if settings.secretaria_secret_key is not None:
        return settings.secretaria_secret_key
    path = settings.secretaria_data_dir / SECRET_KEY_FILE
    try:
        if not path.exists():
            _make_secret_key(path)
        key = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"SECRETARIA_SECRET_KEY: cannot keep a key in {path}: {error}") from error
    if len(key) < SECRET_KEY_CHARS_MIN:
        raise ConfigurationError(f"SECRETARIA_SECRET_KEY: the key in {path} is too short; restore that file")
    return key


def retired_secret_keys(settings: Settings) -> list[str]:
    """Return the keys that still open what they sealed; nothing new is sealed with them."""
    return [key for key in settings.secretaria_retired_secret_keys.split(",") if key]


def _make_secret_key(path: Path) -> None:
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(SECRET_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link, not a rename: of two processes that start at once the first one's key stays.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
