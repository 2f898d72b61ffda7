"""Sessions: who is signed in, and the refresh tokens that prove it. Owns the tables sessions and refresh_tokens.

A refresh token is good once: the answer holds the next one. So of a stolen one, thief and owner cannot both go on:
whoever comes second comes with a used token, and that ends the session. Callers that lost a race (two tabs, a retry)
come with a used one too, within seconds: they are refused, and the session lives. Whoever does not get the answer that
holds the next token signs in again: to give it twice would be to give it to the thief.

A session lives as long as it is used at least every refresh_token_s; there is no other end to it than logout, a new
password, a disabled account, or theft. Lock order: users, then a session, then its tokens.
"""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import structlog

from abacus.identity.v1 import identity_pb2
from identity.errors import REFRESH_TOKEN_INVALID, SESSION_ENDED
from identity.keys import Keys
from identity.settings import Settings
from kit.db import Connection, Database
from kit.errors import Error
from kit.tokens import Principal

log = structlog.get_logger()

PREFIX = "rt_"  # so that scanners for leaked secrets find ours
SECRET_BYTES = 32
LISTED_MAX = 100
PRUNE_BATCH = 5000


class Sessions:
    """The use cases around signing in; passwords and codes are elsewhere.

    Args:
        db: identity's.
        keys: sign access tokens.
        settings: lives of tokens.
    """

    def __init__(self, db: Database, keys: Keys, settings: Settings):
        self.db = db
        self.keys = keys
        self.access_token_s = settings.access_token_s
        self.refresh_token_s = settings.refresh_token_s
        self.refresh_race_s = settings.refresh_race_s

    async def open(
        self, conn: Connection, user_id: int, roles: Sequence[str], *, address: str, user_agent: str
    ) -> identity_pb2.Tokens:
        """Begin a session of a person who has proved who they are; the caller holds the user's row."""
        (session,) = await conn.fetch(
            """
            INSERT INTO sessions (user_id, address, user_agent, expires_at)
            VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
            RETURNING id, user_id, expires_at
            """,
            user_id,
            address,
            user_agent,
            self.refresh_token_s,
        )
        return await self._issue(conn, session, roles)

    async def refresh(self, refresh_token: str) -> identity_pb2.Tokens:
        """Give new tokens for a refresh token that was not used yet, and prolong its session.

        Raises:
            Error: REFRESH_TOKEN_INVALID, whatever is wrong with it.
        """
        async with self.db.transaction() as conn:
            if tokens := await self._refresh(conn, _hash(refresh_token)):
                return tokens
        raise _invalid()  # after the commit: it may have ended the session

    async def _refresh(self, conn: Connection, token_hash: bytes) -> identity_pb2.Tokens | None:
        # The lock first, by a statement of its own: the next one sees what others did while we waited for it.
        session_id = await conn.fetchval(
            """
            SELECT id
              FROM sessions
             WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = $1)
               FOR NO KEY UPDATE
            """,
            token_hash,
        )
        row = await conn.fetchrow(
            """
            SELECT sessions.user_id,
                   users.roles,
                   refresh_tokens.used_at IS NOT NULL AS is_used,
                   refresh_tokens.used_at > clock_timestamp() - make_interval(secs => $3) AS lost_a_race
              FROM refresh_tokens
              JOIN sessions ON sessions.id = refresh_tokens.session_id
              JOIN users ON users.id = sessions.user_id
             WHERE hash = $1
               AND sessions.id = $2
               AND ended_at IS NULL
               AND sessions.expires_at > clock_timestamp()
               AND disabled_at IS NULL
            """,
            token_hash,
            session_id,
            self.refresh_race_s,
        )
        if row is None:
            return None
        if row["is_used"]:
            if not row["lost_a_race"]:
                await conn.execute("UPDATE sessions SET ended_at = clock_timestamp() WHERE id = $1", session_id)
                log.warning(
                    "a used refresh token came again, its session is ended",
                    session=str(session_id),
                    user=row["user_id"],
                )
            return None
        await conn.execute("UPDATE refresh_tokens SET used_at = clock_timestamp() WHERE hash = $1", token_hash)
        (session,) = await conn.fetch(
            """
            UPDATE sessions
               SET used_at = clock_timestamp(),
                   expires_at = clock_timestamp() + make_interval(secs => $2)
             WHERE id = $1
            RETURNING id, user_id, expires_at
            """,
            session_id,
            self.refresh_token_s,
        )
        return await self._issue(conn, session, row["roles"])

    async def end_by_token(self, refresh_token: str) -> None:
        """End the session of a refresh token, used or not; a token that is none ends nothing."""
        async with self.db.transaction() as conn:
            await conn.execute(
                """
                UPDATE sessions
                   SET ended_at = clock_timestamp()
                 WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = $1)
                   AND ended_at IS NULL
                """,
                _hash(refresh_token),
            )

    async def require_open(self, conn: Connection, principal: Principal) -> Sequence[str]:
        """Refuse the access token of a session that is over: elsewhere it is good until it expires.

        Returns the person's roles as they are now: the token tells those of when it was made.

        Raises:
            Error: SESSION_ENDED.
        """
        roles: Sequence[str] | None = await conn.fetchval(
            """
            SELECT roles
              FROM sessions
              JOIN users ON users.id = sessions.user_id
             WHERE sessions.id = $1
               AND user_id = $2
               AND ended_at IS NULL
               AND expires_at > clock_timestamp()
               AND disabled_at IS NULL
            """,
            _uuid(principal.session),
            principal.user,
        )
        if roles is None:
            raise SESSION_ENDED("this session has ended, sign in again")
        return roles

    async def of_user(self, conn: Connection, user_id: int, current: str) -> list[identity_pb2.Session]:
        """The open sessions of a person, the last used first, at most 100; `current` is the one that asks."""
        rows = await conn.fetch(
            """
            SELECT id, created_at, used_at, expires_at, user_agent, address
              FROM sessions
             WHERE user_id = $1
               AND ended_at IS NULL
               AND expires_at > clock_timestamp()
             ORDER BY used_at DESC, id DESC
             LIMIT $2
            """,
            user_id,
            LISTED_MAX,
        )
        return [
            identity_pb2.Session(
                session_id=str(row["id"]),
                is_current=str(row["id"]) == current,
                created_at=row["created_at"],
                used_at=row["used_at"],
                expires_at=row["expires_at"],
                user_agent=row["user_agent"],
                address=row["address"],
            )
            for row in rows
        ]

    async def end(self, conn: Connection, user_id: int, session_id: str) -> bool:
        """End one of a person's sessions; whether it was open."""
        ended = await conn.fetchval(
            """
            UPDATE sessions
               SET ended_at = clock_timestamp()
             WHERE id = $2
               AND user_id = $1
               AND ended_at IS NULL
               AND expires_at > clock_timestamp()
            RETURNING true
            """,
            user_id,
            _uuid(session_id),
        )
        return bool(ended)

    async def end_all(self, conn: Connection, user_id: int, *, but: str = "") -> int:
        """End all of a person's sessions but one, in the transaction of the reason; how many were open.

        The caller holds the user's row, as who opens a session does: so none is opened beside it.
        """
        rows = await conn.fetch(
            """
            WITH open AS (
                SELECT id
                  FROM sessions
                 WHERE user_id = $1
                   AND id IS DISTINCT FROM $2
                   AND ended_at IS NULL
                   AND expires_at > clock_timestamp()
                 ORDER BY id
                   FOR NO KEY UPDATE
            )
            UPDATE sessions
               SET ended_at = clock_timestamp()
              FROM open
             WHERE sessions.id = open.id
            RETURNING 1
            """,
            user_id,
            _uuid(but),
        )
        return len(rows)

    async def _issue(self, conn: Connection, session: asyncpg.Record, roles: Sequence[str]) -> identity_pb2.Tokens:
        refresh_token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        await conn.execute(
            "INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES ($1, $2, $3)",
            _hash(refresh_token),
            session["id"],
            session["expires_at"],
        )
        session_id = str(session["id"])
        return identity_pb2.Tokens(
            access_token=await self.keys.sign(session["user_id"], session_id, roles),
            token_type="Bearer",  # noqa: S106  # a kind, no secret
            expires_in=self.access_token_s,
            refresh_token=refresh_token,
            refresh_expires_in=self.refresh_token_s,
            user_id=session["user_id"],
            session_id=session_id,
        )


async def prune(db: Database) -> int:
    """Delete tokens and sessions that have expired, one batch; return how many."""
    tokens = await db.pool.fetch(
        """
        DELETE FROM refresh_tokens
         WHERE hash IN (
               SELECT hash
                 FROM refresh_tokens
                WHERE expires_at < clock_timestamp()
                ORDER BY expires_at
                LIMIT $1)
        RETURNING 1
        """,
        PRUNE_BATCH,
    )
    # None of its tokens is left, or few: they expire no later than it. Who prolongs it holds its row.
    sessions = await db.pool.fetch(
        """
        DELETE FROM sessions
         WHERE id IN (
               SELECT id
                 FROM sessions
                WHERE expires_at < clock_timestamp()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        RETURNING 1
        """,
        PRUNE_BATCH,
    )
    return len(tokens) + len(sessions)


def _hash(refresh_token: str) -> bytes:
    """What is stored of a token. A plain hash is enough: 256 random bits cannot be guessed, so need no salt and no key.

    Nor does it matter how long the look-up of a hash takes: nobody can choose the hash of a guess.
    """
    return hashlib.sha256(refresh_token.encode()).digest()


def _invalid() -> Error:
    return REFRESH_TOKEN_INVALID("this refresh token is not good, sign in again")


def _uuid(text: str) -> UUID | None:
    """None where it is none: of no session."""
    try:
        return UUID(text)
    except ValueError:
        return None
