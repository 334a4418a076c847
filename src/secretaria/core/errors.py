"""What can go wrong, knowing nothing of HTTP (web/errors.py maps each class to a status and a code).

SecretariaError
├── InvalidInput            the caller sent something that cannot be taken (code says what)
│   ├── DuplicateKey        ... because something with that name exists already
│   ├── Malformed           ... because it cannot even be parsed
│   ├── TooLarge            ... because it passes a named limit on size or number
│   └── UnsupportedFormat   ... because its media type or encoding is not one we read
├── NotEntitled             the company's plan, or its suspension, does not let it have what it asks for
├── NotFound                it does not exist, or belongs to someone else: never told apart
├── NotAllowed              known caller, own company, but not this
├── NotAuthenticated        no credential, or one that does not count
├── TooManyAttempts         throttled; retry_after_s says for how long
├── Unavailable             a part is down or busy; retry_after_s; the caller's retry is safe
├── DeliveryError           another service did not do what we asked; permanent: asking again will not help
└── ConfigurationError      the operator must change a setting; the message says which
"""

from collections.abc import Mapping
from decimal import Decimal


class SecretariaError(Exception):
    """Root of every error we raise on purpose. `code` is stable and documented in docs/api.md."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        if code is not None:
            self.code = code


class InvalidInput(SecretariaError):
    """The input cannot be taken. `pointer` is an RFC 6901 JSON pointer or a parameter's name."""

    code = "invalid_input"


class DuplicateKey(InvalidInput):
    """Something with this name or address exists already."""

    code = "already_exists"


class Malformed(InvalidInput):
    """The input cannot even be parsed."""

    code = "malformed"


class TooLarge(InvalidInput):
    """The input passes a named limit on size or number."""

    code = "too_large"


class UnsupportedFormat(InvalidInput):
    """The media type, charset or content encoding is not one we read."""

    code = "unsupported_media_type"


class NotEntitled(SecretariaError):
    """The plan's limits, or the operator's suspension, do not let the company have it; remaining says what is left."""

    code = "limit_reached"

    def __init__(self, message: str, *, remaining: Mapping[str, Decimal | None], code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.remaining = remaining


class NotFound(SecretariaError):
    """It does not exist, or belongs to another company: the two are never told apart."""

    code = "not_found"


class NotAllowed(SecretariaError):
    """A known caller asks for what its role or scopes do not give."""

    code = "forbidden"


class NotAuthenticated(SecretariaError):
    """No credential, or one that does not count (any more)."""

    code = "unauthenticated"


class TooManyAttempts(SecretariaError):
    """Throttled for retry_after_s seconds."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(SecretariaError):
    """A part is down or busy. Nothing is half done for the caller: the same request may be sent again."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class DeliveryError(SecretariaError):
    """Another service did not do what we asked of it; permanent tells that asking again will not help."""

    code = "delivery_failed"

    def __init__(self, message: str, *, permanent: bool, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.permanent = permanent


class ConfigurationError(SecretariaError):
    """The operator must change a setting before this can run."""

    code = "configuration"
