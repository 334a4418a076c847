"""The secrets an endpoint's webhooks are signed with: sealed as one list; an old one signs on for a day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from secretaria.core.standard_webhook import SECRETS_MAX
from secretaria.services.secret_box import FORMAT, Place, SecretBox
from secretaria.settings import Settings
from secretaria.store import delivery_endpoints as store
from secretaria.store.delivery_endpoints import Endpoint

OVERLAP: Final = timedelta(hours=24)
"""How long a rotated secret still signs beside the new one."""

_COLUMN: Final = "secrets"


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """A secret and the moment it stops signing, None for the newest."""

    secret: str = field(repr=False)
    until: datetime | None = None


class Signing:
    """Seals and opens the list. The box is made at first use: it may have to keep a key on disk."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: SecretBox | None = None

    @property
    def _box(self) -> SecretBox:
        if self._made is None:
            self._made = SecretBox.of(self._settings)
        return self._made

    @property
    def current(self) -> bytes:
        """What everything sealed with the current key begins with."""
        return FORMAT + self._box.current_id

    def seal(self, company_id: int, endpoint_id: int, secrets: Sequence[SigningSecret]) -> bytes:
        """Return the list as it is kept."""
        return self._box.seal(msgspec.json.encode(list(secrets)).decode(), _place(company_id, endpoint_id))

    def open(self, endpoint: Endpoint) -> list[SigningSecret]:
        """Return the list, newest first, empty where none was ever set. Raises SecretUnreadable."""
        if endpoint.secrets is None:
            return []
        text = self._box.open(endpoint.secrets, _place(endpoint.company_id, endpoint.endpoint_id))
        return msgspec.json.decode(text, type=list[SigningSecret])

    def in_use(self, endpoint: Endpoint, now: datetime) -> list[str]:
        """Return the secrets to sign with, newest first."""
        return [of.secret for of in self.open(endpoint) if of.until is None or of.until > now]

    def rotated(self, endpoint: Endpoint, secret: str, now: datetime) -> bytes:
        """Return the sealed list with a new secret in front; those before sign on for OVERLAP at most."""
        ending = now + OVERLAP
        before = [
            SigningSecret(of.secret, min(of.until or ending, ending))
            for of in self.open(endpoint)
            if of.until is None or of.until > now
        ]
        kept = [SigningSecret(secret), *before][:SECRETS_MAX]
        return self.seal(endpoint.company_id, endpoint.endpoint_id, kept)


def _place(company_id: int, endpoint_id: int) -> Place:
    return Place(store.TABLE, company_id, str(endpoint_id), _COLUMN)
