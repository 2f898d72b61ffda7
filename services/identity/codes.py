"""What is sent to prove an address: codes to type in, tokens for a new password. Owns the table codes.

One row of a purpose and an address, whether or not an account has it: a new code takes the place of the one before, and
each wrong guess is counted in it, in a commit of its own. So answers, statements and times are the same for an address
that nobody has; only that nothing is sent to it.

A code has six digits. Whoever steals the table would find it among a million plain hashes in a second, among a million
argon2 ones in a day; a keyed hash (HMAC-SHA-256) tells nothing without the key, which is not in the database.
"""

import hmac
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime

from abacus.identity.v1 import events_pb2
from identity import credentials, limits, passwords, users
from identity.errors import CODE_INVALID, RESET_TOKEN_INVALID
from identity.limits import Limits
from identity.passwords import Hasher
from identity.sessions import Sessions
from identity.settings import Settings
from identity.users import Channel, Target, User
from identity.vault import Seal
from kit import outbox
from kit.calls import Call
from kit.db import Connection, Database
from kit.errors import Error

SECRET_TOPIC = "abacus.identity.secret.v1"  # noqa: S105  # a topic's name

VERIFY, RESET = "verify", "reset"
DIGITS = 6
TOKEN_BYTES = 32
_TOKEN = re.compile(r"(?P<id>[0-9a-f]{32})\.(?P<secret>[A-Za-z0-9_-]{43})")
PRUNE_BATCH = 5000

_KINDS = {
    (VERIFY, Channel.EMAIL): "verify_email",
    (VERIFY, Channel.SMS): "verify_phone",
    (RESET, Channel.EMAIL): "reset_password",
    (RESET, Channel.SMS): "reset_password",
}


@dataclass(frozen=True)
class _Row:
    """A row that somebody guesses at."""

    id: uuid.UUID
    user_id: int | None  # None: it was sent to nobody
    channel: Channel
    code_hash: bytes
    tries: int
    left_s: float  # of its life


class Codes:
    """The use cases of codes and reset tokens.

    Args:
        key: of the hashes.
    """

    def __init__(
        self,
        db: Database,
        sessions: Sessions,
        hasher: Hasher,
        limits: Limits,
        seal: Seal,
        settings: Settings,
        key: bytes,
    ):
        self.db = db
        self.sessions = sessions
        self.hasher = hasher
        self.limits = limits
        self.seal = seal
        self.life_s = settings.code_life_s
        self.tries = settings.code_tries
        self.reset_url = settings.reset_url
        self._key = key

    async def send_code(self, target: Target, call: Call) -> int:
        """Send a code to who has this address, unless they proved it before; return how long it is good for, in s.

        Raises:
            Error: TOO_MANY_TRIES.
        """
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
        return await self._send(VERIFY, target, uuid.uuid4(), code, code, call)

    async def send_reset_token(self, target: Target, call: Call) -> int:
        """Send a token for a new password to who has this address; return how long it is good for, in s.

        Once a person proved an address, only to those that they proved.

        Raises:
            Error: TOO_MANY_TRIES.
        """
        id_, secret = uuid.uuid4(), secrets.token_urlsafe(TOKEN_BYTES)
        return await self._send(RESET, target, id_, secret, f"{id_.hex}.{secret}", call)

    async def _send(self, purpose: str, target: Target, id_: uuid.UUID, code: str, told: str, call: Call) -> int:
        await self.limits.take(self.limits.sending(str(target), call.address))
        async with self.db.transaction() as conn:
            user = await users.lock_by_target(conn, target)
            if user and not _is_to_get(user, purpose, target.channel):
                user = None
            expires_at = await conn.fetchval(
                """
                INSERT INTO codes (purpose, target_hash, id, channel, user_id, code_hash, expires_at)
                VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))
                    ON CONFLICT (purpose, target_hash) DO UPDATE
                   SET id = excluded.id,
                       user_id = excluded.user_id,
                       code_hash = excluded.code_hash,
                       tries = 0,
                       expires_at = excluded.expires_at
                RETURNING expires_at
                """,
                purpose,
                self._target_hash(target),
                id_,
                target.channel,
                user.id if user else None,
                self._code_hash(id_, code),
                self.life_s,
            )
            # Sealed also for nobody: it takes time.
            event = self._message(purpose, target, told, user, expires_at)
            await outbox.append_many(conn, SECRET_TOPIC, [(str(user.id), event)] if user else [])
            if target.channel is Channel.SMS:
                await self.limits.take_in(conn, self.limits.sms(is_sent=user is not None))
        return self.life_s

    def _message(
        self, purpose: str, target: Target, told: str, user: User | None, expires_at: datetime
    ) -> events_pb2.SecretMessage:
        content = events_pb2.Secret(
            channel=target.channel,
            address=target.address,
            code=told,
            link=self.reset_url + told if purpose == RESET and self.reset_url else "",
            first_name=user.first_name if user else "",
            language=user.language if user else "ru",
        )
        return events_pb2.SecretMessage(
            kind=_KINDS[purpose, target.channel],
            user_id=user.id if user else 0,
            sealed=self.seal.close(content),
            expires_at=expires_at,
        )

    async def confirm(self, target: Target, code: str, call: Call) -> None:
        """Note that an address is the person's, who knows its code.

        Raises:
            Error: CODE_INVALID, TOO_MANY_TRIES.
        """
        code = "".join(code.split())
        charges = self.limits.guess(call.address)
        await self.limits.take(charges)
        async with self.db.transaction() as conn:
            user = await users.lock_by_target(conn, target)
            row = await self._locked(conn, "purpose = 'verify' AND target_hash = $1", self._target_hash(target))
            is_right = row is not None and await self._is_right(conn, row, code, user.id if user else None)
            if is_right:
                assert row is not None
                assert user is not None, "of nobody's row no guess is right"
                await _use_up(conn, row.id)
                await users.verify(conn, user, target.channel)
                await self.limits.give_back(conn, charges)
        if not is_right:  # said after the commit that counts it
            raise CODE_INVALID("this code is wrong, used or too old", field="code")

    async def reset_password(self, token: str, new: str, call: Call) -> None:
        """Set the password of who knows the token; all their sessions end, and its address is proved.

        Proved by this for the first time, it stays alone: another that nobody proved may be a stranger's, who made the
        account and would prove it afterwards. Failures at the old password are forgotten, those of the account in all
        and those from this caller's address.

        Raises:
            Error: RESET_TOKEN_INVALID, PASSWORD_TOO_COMMON, TOO_MANY_TRIES, OVERLOADED.
        """
        charges = self.limits.guess(call.address)
        with self.hasher.place() as place:
            await self.limits.take(charges)
            row = await self._guess_token(token)
            assert row.user_id is not None, "of nobody's row no guess is right"
            async with self.db.pool.acquire() as conn:
                user = await users.get(conn, row.user_id)
            passwords.check(new, field="new_password", own=user.known)
            password_hash = await place.hash(new)
        async with self.db.transaction() as conn:
            user = await users.lock(conn, user.id)
            # Of two with the same token one comes second. Meanwhile somebody may have been shut out, or have proved
            # another address than the token's, which may be a stranger's.
            if user.disabled_at or not user.may_reset_by(row.channel) or not await _use_up(conn, row.id):
                raise _token_invalid()
            await credentials.keep(conn, user.id, password_hash)
            await forget_tokens(conn, user.id)
            if not user.is_verified(row.channel):  # then, by what was asked above, neither is the other
                user = await users.keep_only(conn, user, row.channel)
            await users.verify(conn, user, row.channel)
            await self.sessions.end_all(conn, user.id)
            old = self.limits.old_failures(user.id, list(map(str, user.targets)), call.address)
            await self.limits.give_back(conn, [*charges, *old])

    async def _guess_token(self, token: str) -> _Row:
        match = _TOKEN.fullmatch("".join(token.split()))
        if not match:
            raise _token_invalid()
        async with self.db.transaction() as conn:
            row = await self._locked(conn, "purpose = 'reset' AND id = $1", uuid.UUID(match["id"]))
            is_right = row is not None and await self._is_right(conn, row, match["secret"], row.user_id)
        if row is None or not is_right:  # said after the commit that counts it
            raise _token_invalid()
        return row

    async def _locked(self, conn: Connection, where: str, value: bytes | uuid.UUID) -> _Row | None:
        row = await conn.fetchrow(
            f"""
            SELECT id, user_id, channel, code_hash, tries,
                   extract(epoch FROM expires_at - clock_timestamp())::float8 AS left_s
              FROM codes
             WHERE {where}
               FOR UPDATE
            """,  # noqa: S608  # one of the two above
            value,
        )
        return _Row(**{**row, "channel": Channel(row["channel"])}) if row else None

    async def _is_right(self, conn: Connection, row: _Row, code: str, user_id: int | None) -> bool:
        """Whether this is the code of a row, which is locked, and this person's; a wrong guess is counted.

        Raises:
            Error: TOO_MANY_TRIES.
        """
        if row.left_s <= 0:
            return False
        if row.tries >= self.tries:
            raise limits.too_many_tries(row.left_s)
        same = hmac.compare_digest(row.code_hash, self._code_hash(row.id, code))
        if same and user_id is not None and user_id == row.user_id:
            return True
        await conn.execute("UPDATE codes SET tries = tries + 1 WHERE id = $1", row.id)
        return False

    def _target_hash(self, target: Target) -> bytes:
        return hmac.digest(self._key, str(target).encode(), "sha256")

    def _code_hash(self, id_: uuid.UUID, code: str) -> bytes:
        # The id ties it to this row, and so to its purpose and address.
        return hmac.digest(self._key, id_.bytes + code.encode(), "sha256")


def _is_to_get(user: User, purpose: str, channel: Channel) -> bool:
    """Whether a person is sent what was asked for. A proven address needs no code, and an SMS costs money."""
    return user.may_reset_by(channel) if purpose == RESET else not user.is_verified(channel)


async def _use_up(conn: Connection, id_: uuid.UUID) -> bool:
    """Whether a code was there still, and good; now it is not."""
    return bool(
        await conn.fetchval("DELETE FROM codes WHERE id = $1 AND expires_at > clock_timestamp() RETURNING true", id_)
    )


async def forget_tokens(conn: Connection, user_id: int) -> None:
    """Make what was sent to a person for a new password good no more; the person is locked."""
    await conn.execute("DELETE FROM codes WHERE user_id = $1 AND purpose = 'reset'", user_id)


async def prune(db: Database, *, batch: int = PRUNE_BATCH) -> int:
    """Forget codes that are too old; return how many."""
    done = await db.pool.fetch(
        """
        DELETE FROM codes
         WHERE id IN (
               SELECT id
                 FROM codes
                WHERE expires_at < clock_timestamp()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        RETURNING 1
        """,
        batch,
    )
    return len(done)


def _token_invalid() -> Error:
    return RESET_TOKEN_INVALID("this token is wrong, used or too old", field="reset_token")
