"""Keys that sign access tokens, ES256. Owns the table signing_keys.

The life of a key, by the database's clock:
1. made and published at once; it does not sign yet, so that whoever keeps identity's keys for a while learns of it;
2. after key_ahead_s it signs, for key_life_s or until the next one does: the newest that may sign, signs;
3. then its private part is forgotten, and it is published until the last token that it signed has expired;
4. then it is deleted.
A process that has not read the table for key_ahead_s signs nothing before it has: it could miss a newer key, and use
one that is no longer published.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.jwk import ECKey

from identity.settings import Settings
from kit import tokens, worker
from kit.db import Connection, Database

log = structlog.get_logger()

CURVE = "P-256"
# What may lie between a key's made_at and its commit: a process that read the table in between does not know it, and
# goes on signing with the key before for so long.
COMMIT_S = 30.0
# Then that one is published for the longest that a token may live, and for what clocks of hosts may differ.
PUBLISHED_AFTER_S = COMMIT_S + tokens.PERSON_TOKEN_S_MAX + tokens.SKEW_S
LOOK_EVERY_S_MAX = 30.0


class VaultError(Exception):
    """A signing key cannot be opened with the vault key that we were given."""


@dataclass(frozen=True)
class _Known:
    """The table as it was read last; times are the process's monotonic clock's."""

    public: list[dict[str, str]]
    signers: list[tuple[float, ECKey]]  # from when it signs, the newest first
    read_at: float

    def signer(self) -> ECKey | None:
        now = time.monotonic()
        return next((key for signs_at, key in self.signers if signs_at <= now), None)


class Keys:
    """Makes keys, signs with them, shows their public parts.

    Args:
        db: identity's.
        vault_key: Fernet's, encrypts private parts in the table. So nobody signs in as somebody else by a backup, a
            replica or a query that leaked. It does not protect from who reads this process's files, or who may write
            to the database: they could make themselves administrators.
        settings: lives of keys and of access tokens.
    """

    def __init__(self, db: Database, vault_key: str, settings: Settings):
        self.db = db
        self.access_token_s = settings.access_token_s
        self.key_life_s = settings.key_life_s
        self.key_ahead_s = settings.key_ahead_s
        # How often workers look whether a key is due, and every process which there are.
        self.look_every_s = min(settings.key_ahead_s / 4, LOOK_EVERY_S_MAX)
        self._vault = _vault(vault_key)
        self._opened: dict[str, ECKey] = {}
        self._known = _Known([], [], -settings.key_ahead_s)
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Look whether the vault key opens all keys, and make the first one where there is none.

        Raises:
            VaultError: it does not; nothing was made.
        """
        await self._read()
        await self.rotate_once()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep what this process knows fresh until stop is set. While the database is away, that stays as it is."""
        while not stop.is_set():
            await worker.pause(self.look_every_s, stop)
            try:
                await self._read()
            except Exception as error:
                log.warning("signing keys cannot be read, those known stay", error=repr(error))

    async def sign(self, user_id: int, session_id: str, roles: Sequence[str]) -> str:
        """An access token: RFC 9068, for the person in this session.

        Raises:
            OSError, asyncpg.PostgresError: the keys had to be read, and could not.
        """
        key = await self._signer()
        now = int(time.time())
        header = {"alg": tokens.ALGORITHM, "typ": tokens.PERSON, "kid": key.kid}
        claims = {
            "iss": tokens.PERSON_ISSUER,
            "aud": tokens.PERSON_AUDIENCE,
            "sub": str(user_id),
            "sid": session_id,
            "roles": list(roles),
            "iat": now,
            "exp": now + self.access_token_s,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(header, claims, key)  # some 50 µs: not worth a thread

    def public(self) -> dict[str, list[dict[str, str]]]:
        """Every key that may have signed a token, or soon will: a JWK set of public parts, the newest first."""
        return {"keys": self._known.public}

    async def rotate_once(self) -> int:
        """Make the next key where it is time, put away old ones; return how many were made or changed.

        Of several processes that do this at once, one does it, and the others find it done.
        """
        async with self.db.transaction() as conn:
            await conn.execute("SELECT pg_advisory_xact_lock(hashtext('signing_keys'))")
            done = await self._make_due(conn) + await _put_away(conn)
        if done:
            await self._read()
        return done

    async def _make_due(self, conn: Connection) -> int:
        """Make the next key where it is time.

        Where none can sign, it does at once, as nobody could sign in meanwhile. At the first start nobody keeps older
        ones; after a lost vault key the gateway does, and refuses what the new key signs for up to its cache's time.
        """
        (row,) = await conn.fetch(
            """
            SELECT count(*) AS signers,
                   max(signs_from) + make_interval(secs => $1) <= clock_timestamp() AS is_due
              FROM signing_keys
             WHERE sealed_private IS NOT NULL
            """,
            self.key_life_s - self.key_ahead_s,
        )
        if row["signers"] and not row["is_due"]:
            return 0
        key = ECKey.generate_key(CURVE)
        kid = key.thumbprint()
        public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": tokens.ALGORITHM}
        await conn.execute(
            """
            INSERT INTO signing_keys (kid, public_jwk, sealed_private, made_at, signs_from)
            SELECT $1, $2::jsonb, $3, made_at, made_at + make_interval(secs => $4)
              FROM clock_timestamp() AS made_at
            """,
            kid,
            json.dumps(public),
            self._vault.encrypt(key.as_pem(private=True)).decode(),
            self.key_ahead_s if row["signers"] else 0.0,
        )
        log.info("signing key made", kid=kid, signs_in_s=self.key_ahead_s if row["signers"] else 0)
        return 1

    async def _signer(self) -> ECKey:
        key = self._known.signer()
        if key is None or self._is_stale():
            await self._read(only_if_stale=key is not None)
            key = self._known.signer()
        if key is None:
            raise RuntimeError("there is no key that signs")
        return key

    def _is_stale(self) -> bool:
        return time.monotonic() >= self._known.read_at + self.key_ahead_s

    async def _read(self, *, only_if_stale: bool = False) -> None:
        """Read the table, on a connection outside the pool: who signs may hold one of the pool, as all others do."""
        async with self._reading:
            if only_if_stale and not self._is_stale():
                return
            read_at = time.monotonic()
            conn = await self.db.connect_alone()
            try:
                rows = await conn.fetch(
                    """
                    SELECT kid,
                           public_jwk,
                           sealed_private,
                           extract(epoch FROM signs_from - clock_timestamp())::float8 AS signs_in_s
                      FROM signing_keys
                     ORDER BY signs_from DESC
                    """
                )
            finally:
                await conn.close(timeout=1)
            now = time.monotonic()  # later than the database's answer: nobody signs too early
            self._opened = {row["kid"]: self._open(row) for row in rows if row["sealed_private"]}
            self._known = _Known(
                public=[json.loads(row["public_jwk"]) for row in rows],
                signers=[(now + row["signs_in_s"], self._opened[row["kid"]]) for row in rows if row["sealed_private"]],
                read_at=read_at,
            )

    def _open(self, row: asyncpg.Record) -> ECKey:
        kid: str = row["kid"]
        if kid in self._opened:
            return self._opened[kid]
        try:
            pem = self._vault.decrypt(row["sealed_private"])
        except InvalidToken:
            raise VaultError(
                f"the vault key does not open signing key {kid}: give the one that this database was made with; "
                "where it is lost, empty the column sealed_private of signing_keys, and a new key is made"
            ) from None
        key = ECKey.import_key(pem)
        if kid != key.thumbprint():
            raise VaultError(f"what is sealed as signing key {kid} is another key")
        return ECKey.import_key({**key.as_dict(private=True), "kid": kid})


def _vault(key: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise VaultError("the vault key is none: 32 bytes in URL-safe base64") from None


async def _put_away(conn: Connection) -> int:
    """Forget private parts that sign no more, delete keys whose last token has expired."""
    rows = await conn.fetch(
        """
        WITH followed AS (
            SELECT kid,
                   sealed_private IS NOT NULL AS is_sealed,
                   clock_timestamp() - lead(signs_from) OVER (ORDER BY signs_from) AS since
              FROM signing_keys
        ), deleted AS (
            DELETE FROM signing_keys
             USING followed
             WHERE signing_keys.kid = followed.kid
               AND since > make_interval(secs => $2)
            RETURNING signing_keys.kid
        ), forgotten AS (
            UPDATE signing_keys
               SET sealed_private = NULL
              FROM followed
             WHERE signing_keys.kid = followed.kid
               AND is_sealed
               AND since > make_interval(secs => $1)
               AND since <= make_interval(secs => $2)
            RETURNING signing_keys.kid
        )
        SELECT kid, 'deleted' AS what FROM deleted
         UNION ALL
        SELECT kid, 'private part forgotten' FROM forgotten
        """,
        COMMIT_S,
        PUBLISHED_AFTER_S,
    )
    for row in rows:
        log.info("signing key put away", kid=row["kid"], what=row["what"])
    return len(rows)
