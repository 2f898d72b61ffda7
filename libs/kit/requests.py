"""Requests that may be repeated: the first answer is stored with its effect and given again.

Owns the table requests. Scope of an id: caller and method. Refused input is not stored, because its transaction
rolls back. See architecture, "Request ids".
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from kit.calls import Call
from kit.db import Connection, Database, Part
from kit.errors import REQUEST_ID_REUSED, Error

M = TypeVar("M", bound=Message)
Key = tuple[str, str]  # caller, request id

KEEP_S = 7 * 24 * 3600.0
CONSTRAINT = "requests_pkey"


def body_hash(request: Message) -> bytes:
    """SHA-256 of what was asked, without the id: it may stand in the message or in the metadata."""
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return hashlib.sha256(body.SerializeToString(deterministic=True)).digest()


class Known(NamedTuple):
    """A request that came before."""

    body_hash: bytes
    answer: bytes  # serialized

    def told(self, request_id: str, hash_now: bytes) -> bytes | Error:
        """What a request under the same id is told: the first answer, or that it is another request."""
        return self.answer if hash_now == self.body_hash else reused(request_id)


def reused(request_id: str) -> Error:
    """What a request is told whose id came with another body."""
    return REQUEST_ID_REUSED(f"request id {request_id} came before with another request")


async def once(
    db: Database,
    call: Call,
    request: Message,
    effect: Callable[[Connection], Awaitable[M]],
    *,
    keep_s: float | None = KEEP_S,
) -> M:
    """Run effect in a transaction, or give its stored answer where this request had it before.

    A call that came without an id has none to repeat: it just runs. The id is kept for keep_s; None, where a repeat
    would add, as long as the effect. Waits for a transaction that holds the same id.

    Raises:
        Error: REQUEST_ID_REUSED.
    """
    async with db.transaction() as conn:
        if not call.has_request_id:
            return await effect(conn)
        is_first = await conn.fetchval(
            """
            INSERT INTO requests (caller, method, request_id, body_hash, expires_at)
            VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
            ON CONFLICT DO NOTHING
            RETURNING true
            """,
            call.caller,
            call.method,
            call.request_id,
            body_hash(request),
            keep_s,
        )
        if not is_first:
            repeated: M = await stored(conn, call, request)
            return repeated
        made = await effect(conn)
        await conn.execute(
            """
            UPDATE requests
               SET answer = $4
             WHERE (caller, method, request_id) = ($1, $2, $3)
            """,
            call.caller,
            call.method,
            call.request_id,
            made.SerializeToString(),
        )
        return made


async def stored(conn: Connection, call: Call, request: Message) -> Any:
    """Give the stored answer of a request that came before, else None.

    For a call that asks others before its transaction: its repeat needs nobody.

    Raises:
        Error: REQUEST_ID_REUSED.
    """
    if not call.has_request_id:
        return None
    key = (call.caller, call.request_id)
    then = (await known_many(conn, call.method, [key])).get(key)
    if then is None:
        return None
    told = then.told(call.request_id, body_hash(request))
    if isinstance(told, Error):
        raise told
    return call.answer_type.FromString(told)


async def known_many(conn: Connection, method: str, keys: Collection[Key]) -> dict[Key, Known]:
    """Those of these requests that came before."""
    rows = await conn.fetch(
        """
        SELECT caller, request_id, body_hash, answer
          FROM requests
         WHERE method = $1
           AND (caller, request_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        method,
        [caller for caller, _ in keys],
        [request_id for _, request_id in keys],
    )
    return {(caller, request_id): Known(*known) for caller, request_id, *known in rows}


def part(
    method: str, wanted: Mapping[Key, bytes], answers: Mapping[Key, Message], *, keep_s: float | None = KEEP_S
) -> Part:
    """Keep requests with their answers, in the statement of their effect.

    Args:
        wanted: the hash of each.
        answers: to each of them.
        keep_s: how long; None: as long as the effect.

    Raises, when written:
        asyncpg.UniqueViolationError: of CONSTRAINT; one of them came before, or was written meanwhile.
    """
    keys = sorted(wanted)  # so that two batches with the same keys do not cross
    return Part(
        """
        INSERT INTO requests (caller, method, request_id, body_hash, answer, expires_at)
        SELECT caller, $1, request_id, body_hash, answer, clock_timestamp() + make_interval(secs => $6)
          FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
               AS wanted (caller, request_id, body_hash, answer)
        """,
        (
            method,
            [caller for caller, _ in keys],
            [request_id for _, request_id in keys],
            [wanted[key] for key in keys],
            [answers[key].SerializeToString() for key in keys],
            keep_s,
        ),
    )


async def prune(db: Database, *, batch: int = 1000) -> int:
    """Forget requests whose time is over; return how many."""
    done = await db.pool.fetch(
        """
        DELETE FROM requests
         WHERE (caller, method, request_id) IN (
               SELECT caller, method, request_id
                 FROM requests
                WHERE expires_at < now()
                ORDER BY expires_at
                LIMIT $1)
        RETURNING 1
        """,
        batch,
    )
    return len(done)
