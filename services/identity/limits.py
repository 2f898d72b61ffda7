"""How often something may be tried. Owns the table limits.

Each rate is a leaky bucket (the generic cell rate algorithm): one time says when all of it is free again, a try moves
it ahead by the period over the count, and what would move it further ahead than a period from now is refused. So
`10/300` is ten at once and then one every 30 s. Times are the database's; keys are keyed hashes, so that the table
names nobody.
"""

import hmac
import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from identity.errors import TOO_MANY_TRIES
from identity.settings import Settings
from kit.db import Connection, Database
from kit.errors import Error

SLACK_S = 0.001  # of rounding


@dataclass(frozen=True)
class Charge:
    """One try at one rate."""

    key: bytes
    period_s: float
    step_s: float
    counts: bool = True  # False: only asked whether there is room
    is_cleared: bool = False  # by a success, and not only given this try back


class Limits:
    """What is limited, and how.

    Args:
        key: of the hashes.
    """

    def __init__(self, db: Database, settings: Settings, key: bytes):
        self.db = db
        self.settings = settings
        self._key = key

    def registration(self, address: str) -> list[Charge]:
        """An account made from this address."""
        return self._charges("registration", self.settings.registrations_per_address, network(address))

    def sending(self, target: str, address: str) -> list[Charge]:
        """A code or token asked for."""
        return [
            *self._charges("send to", self.settings.sends_per_target, target),
            *self._charges("send from", self.settings.sends_per_address, network(address)),
        ]

    def sms(self, *, is_sent: bool) -> list[Charge]:
        """A code by SMS, which costs money; one that nobody gets is refused when they are, but costs nothing."""
        return self._charges("sms", self.settings.sms_in_all, counts=is_sent)

    def welcome_sms(self) -> list[Charge]:
        """A welcome by SMS. Money of its own: thousands who register take none from those who need codes."""
        return self._charges("welcome", self.settings.welcome_sms_in_all)

    def login(self, target: str, address: str) -> list[Charge]:
        """A password tried on an e-mail address or a phone."""
        return [*self._failures(f"login {target}", address), *self.guess(address)]

    def change(self, user_id: int, address: str) -> list[Charge]:
        """A password tried on one's own account."""
        return [*self._failures(f"user {user_id}", address), *self.guess(address)]

    def old_failures(self, user_id: int, targets: Sequence[str], address: str) -> list[Charge]:
        """Tries at a password that is replaced: given back, this address may try the new one as if none had been."""
        tried = [f"user {user_id}", *(f"login {target}" for target in targets)]
        return [replace(charge, is_cleared=True) for what in tried for charge in self._failures(what, address)]

    def _failures(self, what: str, address: str) -> list[Charge]:
        where = network(address)
        return [
            *self._charges("failure of", self.settings.failures_per_pair, f"{what} {where}", is_cleared=True),
            *self._charges("failures of", self.settings.failures_per_target, what),
        ]

    def guess(self, address: str) -> list[Charge]:
        """A code or token tried."""
        return self._charges("failures from", self.settings.failures_per_address, network(address))

    def _charges(
        self, kind: str, rates: str, what: str = "", *, is_cleared: bool = False, counts: bool = True
    ) -> list[Charge]:
        made = []
        for rate in rates.split(","):
            count, period_s = map(int, rate.split("/"))
            key = hmac.digest(self._key, f"{kind} {rate} {what}".encode(), "sha256")
            made.append(Charge(key, period_s, period_s / count, counts, is_cleared))
        return made

    async def take(self, charges: Sequence[Charge]) -> None:
        """Count a try, in a transaction of its own: it stays counted, whatever dies.

        Before the try and not after its failure: a thousand at once would all be too early to be counted.

        Raises:
            Error: TOO_MANY_TRIES, and nothing is counted.
        """
        async with self.db.pool.acquire() as conn, conn.transaction():
            await self.take_in(conn, charges)

    async def take_in(self, conn: Connection, charges: Sequence[Charge]) -> None:
        """Count a try in the caller's transaction, which the refusal ends. The last locks that it takes.

        Raises:
            Error: TOO_MANY_TRIES.
        """
        ahead_s = await _move(conn, {charge.key: charge.step_s if charge.counts else 0 for charge in charges})
        wait_s = max(
            ahead_s[charge.key] + (0 if charge.counts else charge.step_s) - charge.period_s for charge in charges
        )
        if wait_s > SLACK_S:
            raise too_many_tries(wait_s)

    async def take_if_free(self, conn: Connection, charges: Sequence[Charge]) -> bool:
        """Count a try in the caller's transaction, which goes on without it where that is too many; whether it counts.

        The last locks that it takes.
        """
        try:
            async with conn.transaction():  # a savepoint: a refusal leaves neither a count nor a lock
                await self.take_in(conn, charges)
        except Error:
            return False
        return True

    async def give_back(self, conn: Connection, charges: Sequence[Charge]) -> None:
        """Take a try back that was no failure. The last locks of the caller's transaction."""
        await _move(
            conn, {charge.key: -(charge.period_s if charge.is_cleared else charge.step_s) for charge in charges}
        )


async def _move(conn: Connection, steps: Mapping[bytes, float]) -> dict[bytes, float]:
    """Move each key's time by its step; return how far ahead of now it then is, in seconds. Locks in order of keys."""
    rows = await conn.fetch(
        """
        INSERT INTO limits (key, free_at)
        SELECT key, statement_timestamp() + make_interval(secs => step_s)
          FROM unnest($1::bytea[], $2::float8[]) AS wanted (key, step_s)
         ORDER BY key
            ON CONFLICT (key) DO UPDATE
           -- The clock after the row is locked; what is added to it is the step.
           SET free_at = greatest(limits.free_at, clock_timestamp()) + (excluded.free_at - statement_timestamp())
        RETURNING key, extract(epoch FROM free_at - clock_timestamp())::float8 AS ahead_s
        """,
        list(steps),
        list(steps.values()),
    )
    return {row["key"]: row["ahead_s"] for row in rows}


async def prune(db: Database, *, batch: int = 5000) -> int:
    """Forget what is free again; return how many."""
    done = await db.pool.fetch(
        """
        DELETE FROM limits
         WHERE key IN (
               SELECT key
                 FROM limits
                WHERE free_at < clock_timestamp()
                ORDER BY free_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        RETURNING 1
        """,
        batch,
    )
    return len(done)


def too_many_tries(wait_s: float) -> Error:
    """The refusal, with a time in whole minutes: the exact one would tell what others did."""
    minutes = max(1, math.ceil(wait_s / 60))
    return TOO_MANY_TRIES("too many tries, wait and try again", retry_after_s=minutes * 60)


def network(address: str) -> str:
    """Who counts as one: an IPv4 address; of IPv6 the /64, of which every customer of a provider has a whole one."""
    if not address:
        return ""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
