"""The system user that the servers run as: ourselves, or an ordinary one when we are root."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from secretaria.core.errors import ConfigurationError
from secretaria.embedded.terminal import say

SERVICE_USER = "secretaria"
SERVICE_HOME = Path("/var/lib/secretaria")
_SBIN = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"  # often missing from PATH, also root's


@dataclass(frozen=True)
class Account:
    """A system user by number."""

    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        """Whether this process already runs as it."""
        return self.uid == os.geteuid()

    def own(self, path: Path) -> None:
        """Give it a file or folder that we made."""
        if not self.is_us:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        """Whether it may pass through the folder and all its parents, by their permission bits."""
        return all(self._may_search(parent) for parent in (folder, *folder.parents))

    def _may_search(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError:
            return False
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def service_account(data: Path) -> Account:
    """Who runs the servers over this data: its owner where it exists; a new folder of root's, `secretaria`."""
    if os.geteuid() != 0:
        _require_a_name(os.geteuid())
        return Account(os.geteuid(), os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        owner = data.stat()
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        _make_service_user()
        entry = pwd.getpwnam(SERVICE_USER)
    if entry.pw_uid == 0:
        raise ConfigurationError(f"the user {SERVICE_USER!r} is root, and PostgreSQL refuses to run as root")
    return Account(entry.pw_uid, entry.pw_gid)


def _require_a_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user number {uid} has no entry in /etc/passwd, and PostgreSQL needs one: run as a named user, "
            "or set DATABASE_URL and REDIS_URL"
        ) from None


def _make_service_user() -> None:
    useradd, adduser = (shutil.which(name, path=_SBIN) for name in ("useradd", "adduser"))
    home, shell = str(SERVICE_HOME), "/usr/sbin/nologin"
    if useradd:
        command = [useradd, "--system", "--user-group", "--no-create-home"]
        command += ["--home-dir", home, "--shell", shell, SERVICE_USER]
    elif adduser:
        command = [adduser, "--system", "--group", "--no-create-home"]
        command += ["--home", home, "--shell", shell, SERVICE_USER]
    else:
        raise ConfigurationError(
            f"running as root, and there is neither a user {SERVICE_USER!r} nor useradd to make it: "
            "make it, or run as an ordinary user"
        )
    say(f"making the system user {SERVICE_USER!r}: servers do not run as root")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        pwd.getpwnam(SERVICE_USER)  # another start may have made it in between: that counts too
    except KeyError:
        raise ConfigurationError(f"{command[0]} could not make the user: {done.stderr.strip()}") from None
