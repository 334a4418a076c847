"""What the demo keeps in the data folder (0600): its login and secrets, how far its figures go, whether it runs."""

from datetime import datetime
from pathlib import Path

import msgspec

from secretaria.embedded.folder import write_private
from secretaria.services.demo import DemoAccess

FILE = "demo.json"


class DemoState(msgspec.Struct, frozen=True):
    """filled_until: everything up to there has figures; None while the history has not been made.

    app_secret signs the demo's webhooks where WHATSAPP_APP_SECRET is not set; None where it is.
    """

    access: DemoAccess
    filled_until: datetime | None = None
    stopped: bool = False
    app_secret: str | None = None


def read_state(folder: Path) -> DemoState | None:
    """Return what is kept, or None; a file that cannot be read is none."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=DemoState)
    except (OSError, msgspec.DecodeError):
        return None


def write_state(folder: Path, state: DemoState) -> None:
    """Keep it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / FILE, msgspec.json.encode(state))


def remove_state(folder: Path) -> None:
    """Forget the demo."""
    (folder / FILE).unlink(missing_ok=True)
