"""How many wrong passwords are too many, decided in PostgreSQL, so that it holds with Valkey down and on every process.

Three counts, all of failures only, the same for accounts that exist and that do not:
- an account from one network (an IPv4 address or an IPv6 /64): 5 in 5 minutes, 30 an hour, 300 a day;
- one network over all accounts: 20 in 5 minutes;
- an account from all networks together: 300 a day. This is the count a crowd of strangers can fill, so it does not
  bind networks from which the account's owner logged in during the last 90 days: strangers cannot lock the owner
  out of a place the owner is known at. What is left: an owner who is attacked by a crowd and comes from a new place
  on the same day waits, or asks the operator (secretaria panel-token create).

An attempt is counted before its password is looked at and taken back when it was right: a hundred guesses sent at once
are still five.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from secretaria.core.errors import TooManyAttempts
from secretaria.core.throttle import Limit, wait_s
from secretaria.store import login_failures
from secretaria.store.database import Connection

KNOWN_NETWORK_DAYS = 90
CLEAN_EVERY = timedelta(minutes=10)
PER_ACCOUNT_AND_NETWORK = (
    Limit(5, timedelta(minutes=5)),
    Limit(30, timedelta(hours=1)),
    Limit(300, timedelta(days=1)),
)
PER_NETWORK = (Limit(20, timedelta(minutes=5)),)
PER_ACCOUNT = (Limit(300, timedelta(days=1)),)


class Attempt:
    """One login attempt: what it is counted under, and when."""

    def __init__(self, account: str, network: str, now: datetime) -> None:
        self.account = account
        self.network = network
        self.now = now
        self.account_subject = f"account:{account}"
        self.pair_subject = f"account:{account} network:{network}"
        self.network_subject = f"network:{network}"

    @property
    def subjects(self) -> tuple[str, str, str]:
        """The three rows this attempt counts in."""
        return self.account_subject, self.pair_subject, self.network_subject


class LoginThrottle:
    """Counts attempts in the caller's transaction."""

    def __init__(self) -> None:
        self._cleaned_at: datetime | None = None

    async def reserve(
        self, connection: Connection, attempt: Attempt, *, knows_network: Callable[[], Awaitable[bool]]
    ) -> None:
        """Count the attempt as a failure for now, or raise TooManyAttempts and count nothing."""
        await login_failures.lock(connection, attempt.subjects)
        buckets = await login_failures.read(connection, attempt.subjects, attempt.now)
        waits_s = [
            wait_s(buckets[attempt.pair_subject], PER_ACCOUNT_AND_NETWORK, attempt.now),
            wait_s(buckets[attempt.network_subject], PER_NETWORK, attempt.now),
        ]
        crowd_wait_s = wait_s(buckets[attempt.account_subject], PER_ACCOUNT, attempt.now)
        if crowd_wait_s > 0 and not await knows_network():
            waits_s.append(crowd_wait_s)
        if max(waits_s) > 0:
            raise TooManyAttempts("too many failed logins; wait and try again", retry_after_s=max(waits_s))
        await login_failures.add(connection, attempt.subjects, attempt.now)
        await self._clean_now_and_then(connection, attempt.now)

    async def take_back(self, connection: Connection, attempt: Attempt) -> None:
        """The password was right: the attempt was no failure."""
        await login_failures.take_back(connection, attempt.subjects, attempt.now)

    async def _clean_now_and_then(self, connection: Connection, now: datetime) -> None:
        if self._cleaned_at is None or now - self._cleaned_at >= CLEAN_EVERY:
            self._cleaned_at = now
            await login_failures.clean(connection, now)
