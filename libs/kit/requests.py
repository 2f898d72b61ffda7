"""Requests that may be repeated: the first answer is stored with its effect and given again.

Owns the table requests. Scope of an id: caller and method. Refused input is not stored, because its transaction
rolls back. See architecture, "Request ids".
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

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
    would add, as long as the effect.

    Raises:
        Error: REQUEST_ID_REUSED.
    """
    async with db.transaction() as conn:
        if not call.has_request_id:
            return await effect(conn)
        key = (call.caller, call.request_id)
        known = await claim_many(conn, call.method, {key: body_hash(request)}, keep_s=keep_s)
        if key in known:
            answer = known[key]
            if isinstance(answer, Error):
                raise answer
            kind: type[M] = call.answer_type
            return kind.FromString(answer)
        made = await effect(conn)
        await answer_many(conn, call.method, {key: made})
        return made


async def stored(conn: Connection, call: Call, request: Message) -> Any | None:
    """Give the stored answer of a request that came before, else None.

    For a call that asks others before its transaction: its repeat needs nobody.

    Raises:
        Error: REQUEST_ID_REUSED.
    """
    if not call.has_request_id:
        return None
    row = await conn.fetchrow(
        """
        SELECT body_hash, answer
          FROM requests
         WHERE method = $1
           AND (caller, request_id) = ($2, $3)
        """,
        call.method,
        call.caller,
        call.request_id,
    )
    if row is None:
        return None
    if row["body_hash"] != body_hash(request):
        raise REQUEST_ID_REUSED(f"request id {call.request_id} came before with another request")
    return call.answer_type.FromString(row["answer"])


async def claim_many(
    conn: Connection,
    method: str,
    wanted: Mapping[Key, bytes],
    answers: Mapping[Key, Message] = MappingProxyType({}),
    *,
    keep_s: float | None,
) -> dict[Key, bytes | Error]:
    """Claim each key for this transaction; return what the keys that came before were answered.

    Args:
        wanted: the hash of each request.
        answers: of those that are known by now; the others are given to `answer_many`.
        keep_s: how long they are kept; None: as long as the effect.

    Waits for a transaction that holds the same key. Keys are taken in sorted order, so that two batches with the
    same keys do not cross. A key that came with another body is answered with the error REQUEST_ID_REUSED.
    """
    if not wanted:
        return {}
    keys = sorted(wanted)
    callers, ids = [caller for caller, _ in keys], [request_id for _, request_id in keys]
    claimed = await conn.fetch(
        """
        INSERT INTO requests (caller, method, request_id, body_hash, answer, expires_at)
        SELECT caller, $1, request_id, body_hash, answer, clock_timestamp() + make_interval(secs => $6)
          FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
               AS wanted (caller, request_id, body_hash, answer)
         ORDER BY caller, request_id
        ON CONFLICT DO NOTHING
        RETURNING caller, request_id
        """,
        method,
        callers,
        ids,
        [wanted[key] for key in keys],
        [answers[key].SerializeToString() if key in answers else None for key in keys],
        keep_s,
    )
    if len(claimed) == len(keys):
        return {}
    fresh = {(row["caller"], row["request_id"]) for row in claimed}
    return await known_many(conn, method, {key: body for key, body in wanted.items() if key not in fresh})


async def known_many(conn: Connection, method: str, wanted: Mapping[Key, bytes]) -> dict[Key, bytes | Error]:
    """What those of these keys that came before were answered; REQUEST_ID_REUSED where it was with another body.

    Args:
        wanted: the hash of each request.
    """
    rows = await conn.fetch(
        """
        SELECT caller, request_id, body_hash, answer
          FROM requests
         WHERE method = $1
           AND (caller, request_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        method,
        [caller for caller, _ in wanted],
        [request_id for _, request_id in wanted],
    )
    return {
        (caller, request_id): answer
        if hash_then == wanted[caller, request_id]
        else REQUEST_ID_REUSED(f"request id {request_id} came before with another request")
        for caller, request_id, hash_then, answer in rows
    }


def part(method: str, wanted: Mapping[Key, bytes], answers: Mapping[Key, Message]) -> Part:
    """Keep these requests with their answers for as long as their effects.

    Raises, when written:
        asyncpg.UniqueViolationError: of CONSTRAINT; one of them came before. Who makes it now is waited for.
    """
    keys = sorted(wanted)  # so that two batches with the same keys do not cross
    return Part(
        """
        INSERT INTO requests (caller, method, request_id, body_hash, answer)
        SELECT caller, $1, request_id, body_hash, answer
          FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
               AS wanted (caller, request_id, body_hash, answer)
        """,
        (
            method,
            [caller for caller, _ in keys],
            [request_id for _, request_id in keys],
            [wanted[key] for key in keys],
            [answers[key].SerializeToString() for key in keys],
        ),
    )


async def answer_many(conn: Connection, method: str, answers: Mapping[Key, Message]) -> None:
    """Store the answers of keys that this transaction claimed."""
    await conn.execute(
        """
        UPDATE requests
           SET answer = made.answer
          FROM unnest($2::text[], $3::text[], $4::bytea[]) AS made (caller, request_id, answer)
         WHERE requests.method = $1
           AND (requests.caller, requests.request_id) = (made.caller, made.request_id)
        """,
        method,
        [caller for caller, _ in answers],
        [request_id for _, request_id in answers],
        [answer.SerializeToString() for answer in answers.values()],
    )


async def unclaim_many(conn: Connection, method: str, keys: Collection[Key]) -> None:
    """Let go of keys that this transaction claimed: what they asked for was refused, and their neighbours go on."""
    if not keys:
        return
    await conn.execute(
        """
        DELETE FROM requests
         WHERE method = $1
           AND (caller, request_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        method,
        [caller for caller, _ in keys],
        [request_id for _, request_id in keys],
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
