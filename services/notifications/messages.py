"""Messages to customers and what became of each. Owns the table messages.

A message *waits* until its user has an address for its channel; then it is *queued*; a worker claims it for the time of
a lease and sends it. A lease that ends without a result, because its worker died, makes it due again. A queued
message whose user has no address any more waits again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg

from abacus.loms.v1 import loms_pb2
from kit import json
from kit.db import Connection, Database
from kit.inbox import Event

TOPIC = "abacus.loms.order-status.v1"
RECHECK_S = 30.0  # a message that waits is woken by its contact; this is for one that both missed each other by
REPLAY_S = 24 * 3600.0  # older news is not sent again: "please pay" of last month helps nobody
OVERDUE_S = 60.0  # due for so long, a message has no worker: a lease is half of it at most
OVERDUE_ATTEMPTS = 9  # four minutes of tries


class Channel(StrEnum):
    """A way to a customer."""

    EMAIL = "email"
    SMS = "sms"


# Which change of an order is told, and how; the others are not.
CHANNELS: dict[int, tuple[Channel, ...]] = {
    loms_pb2.ORDER_STATUS_AWAITING_PAYMENT: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_PAID: (Channel.EMAIL, Channel.SMS),
    loms_pb2.ORDER_STATUS_CANCELLED: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_FAILED: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_RECEIVED: (Channel.EMAIL,),
}


@dataclass(frozen=True)
class Claimed:
    """A message that this worker may send while its lease lasts."""

    message_id: int
    event_id: str
    order_id: int
    order_status: str
    event: str  # an abacus.loms.v1.OrderStatusChanged as JSON
    attempts: int  # this one included
    address: str
    first_name: str
    language: str
    created_at: datetime


def status_name(kind: Any, status: int) -> str:
    """`sent` of MessageStatus and MESSAGE_STATUS_SENT: as templates and rows name what a contract's enum holds."""
    return str(kind.Name(status).removeprefix(kind.Name(0).removesuffix("UNSPECIFIED")).lower())


async def record(conn: Connection, event: Event) -> None:
    """Note the messages that an abacus.loms.v1.OrderStatusChanged asks for."""
    change = event.message
    channels = CHANNELS.get(change.status, ())
    if not channels:
        return
    await conn.execute(
        """
        INSERT INTO messages (event_id, user_id, order_id, order_version, order_status, channel, event)
        SELECT $1, $2, $3, $4, $5, channel, $7::jsonb
          FROM unnest($6::text[]) AS channel
        ON CONFLICT ON CONSTRAINT messages_once DO NOTHING
        """,
        event.event_id,
        change.user,
        change.order_id,
        change.version,
        status_name(loms_pb2.OrderStatus, change.status),
        list(channels),
        json.dumps(change),
    )


async def look_again(conn: Connection, user_id: int) -> None:
    """Make the user's waiting messages due: a contact came."""
    await conn.execute(
        "UPDATE messages SET next_attempt_at = clock_timestamp() WHERE user_id = $1 AND status = 'waiting'", user_id
    )


async def settle(db: Database, channel: Channel, *, contact_wait_s: float, batch: int = 500) -> int:
    """Queue waiting messages that have an address now, give up those that waited too long; return how many were due."""
    rows = await db.pool.fetch(
        """
        WITH due AS (
            SELECT message_id, user_id
              FROM messages
             WHERE channel = $1
               AND status = 'waiting'
               AND next_attempt_at <= clock_timestamp()
             ORDER BY next_attempt_at
             LIMIT $4
               FOR UPDATE SKIP LOCKED
        ), found AS (
            SELECT due.message_id,
                   contacts.user_id IS NOT NULL AS known,
                   coalesce(CASE $1 WHEN 'email' THEN contacts.email ELSE contacts.phone END, '') AS address
              FROM due
              LEFT JOIN contacts USING (user_id)
        )
        UPDATE messages
           SET address = found.address,
               status = CASE WHEN found.address <> '' THEN 'queued'
                             WHEN created_at + make_interval(secs => $2) <= statement_timestamp() THEN 'undeliverable'
                             ELSE 'waiting' END,
               next_attempt_at =
                        CASE WHEN found.address <> '' THEN clock_timestamp()
                             WHEN created_at + make_interval(secs => $2) <= statement_timestamp() THEN NULL
                             ELSE least(created_at + make_interval(secs => $2),
                                        clock_timestamp() + make_interval(secs => $3)) END,
               error =  CASE WHEN found.address <> '' THEN ''
                             WHEN NOT found.known THEN 'no contact of the user is known'
                             WHEN $1 = 'email' THEN 'the contact has no e-mail address'
                             ELSE 'the contact has no phone' END
          FROM found
         WHERE messages.message_id = found.message_id
        RETURNING 1
        """,
        channel,
        contact_wait_s,
        RECHECK_S,
        batch,
    )
    return len(rows)


async def claim(db: Database, channel: Channel, *, lease_s: float, batch: int) -> list[Claimed]:
    """Take the messages that are due, the longest due first; nobody else gets them until the lease ends.

    Each carries the newest contact of its user: a customer who corrects a wrong address gets what is still tried. A
    message whose user withdrew the address goes back to those that wait.
    """
    rows = await db.pool.fetch(
        """
        WITH due AS (
            SELECT message_id, user_id
              FROM messages
             WHERE channel = $1
               AND status = 'queued'
               AND next_attempt_at <= clock_timestamp()
             ORDER BY next_attempt_at, message_id
             LIMIT $3
               FOR UPDATE SKIP LOCKED
        ), found AS (
            SELECT due.message_id,
                   coalesce(CASE $1 WHEN 'email' THEN contacts.email ELSE contacts.phone END, '') AS address,
                   first_name,
                   language
              FROM due
              LEFT JOIN contacts USING (user_id)
        )
        UPDATE messages
           SET address = found.address,
               status = CASE WHEN found.address <> '' THEN 'queued' ELSE 'waiting' END,
               attempts = attempts + CASE WHEN found.address <> '' THEN 1 ELSE 0 END,
               next_attempt_at = clock_timestamp()
                        + CASE WHEN found.address <> '' THEN make_interval(secs => $2) ELSE interval '0' END
          FROM found
         WHERE messages.message_id = found.message_id
        RETURNING messages.message_id, event_id, order_id, order_status, event, attempts, messages.address, first_name,
                  language, created_at
        """,
        channel,
        lease_s,
        batch,
    )
    return [Claimed(**row) for row in sorted(rows, key=lambda row: row["message_id"]) if row["address"]]


async def sent(db: Database, claimed: Claimed, *, subject: str, text: str) -> None:
    """Mark a message as taken by the relay or gateway, even where the lease has ended meanwhile."""
    await db.pool.execute(
        """
        UPDATE messages
           SET status = 'sent', sent_at = clock_timestamp(), next_attempt_at = NULL,
               address = $2, subject = $3, text = $4, error = ''
         WHERE message_id = $1
           AND status <> 'sent'
        """,
        claimed.message_id,
        claimed.address,
        subject,
        text,
    )


async def failed(db: Database, claimed: Claimed, *, error: str, retry_after_s: float | None) -> None:
    """Note why a try failed; without retry_after_s it was the last. Nothing where the lease has ended meanwhile."""
    await db.pool.execute(
        """
        UPDATE messages
           SET error = $3,
               status = CASE WHEN $4::float8 IS NULL THEN 'failed' ELSE 'queued' END,
               next_attempt_at = clock_timestamp() + make_interval(secs => $4::float8)
         WHERE message_id = $1
           AND attempts = $2
           AND status = 'queued'
        """,
        claimed.message_id,
        claimed.attempts,
        error,
        retry_after_s,
    )


async def queue_failed(db: Database, *, batch: int = 10_000) -> int:
    """Queue the newest messages that failed once more, with all their attempts before them; return how many.

    Those made more than REPLAY_S ago stay failed.
    """
    rows = await db.pool.fetch(
        """
        UPDATE messages
           SET status = 'queued', attempts = 0, next_attempt_at = clock_timestamp()
         WHERE message_id IN (
               SELECT message_id
                 FROM messages
                WHERE status = 'failed'
                  AND created_at > clock_timestamp() - make_interval(secs => $1)
                ORDER BY message_id DESC
                LIMIT $2
                  FOR UPDATE SKIP LOCKED)
        RETURNING 1
        """,
        REPLAY_S,
        batch,
    )
    return len(rows)


async def give_back(db: Database, unsent: Sequence[Claimed]) -> None:
    """Undo the claim of messages that were not tried."""
    await db.pool.execute(
        """
        UPDATE messages
           SET attempts = messages.attempts - 1, next_attempt_at = clock_timestamp()
          FROM unnest($1::bigint[], $2::int[]) AS unsent (message_id, attempts)
         WHERE (messages.message_id, messages.attempts) = (unsent.message_id, unsent.attempts)
           AND status = 'queued'
        """,
        [claimed.message_id for claimed in unsent],
        [claimed.attempts for claimed in unsent],
    )


async def newest(
    db: Database, *, user_id: int | None, order_id: int | None, status: str | None, before: int | None, limit: int
) -> list[asyncpg.Record]:
    """List messages, the newest first; None does not filter; `before` is the last message_id of the page before."""
    async with db.pool.acquire() as conn, conn.transaction(readonly=True):
        # Planned with the values in hand, a filter that is null vanishes and the others find their index.
        await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        rows: list[asyncpg.Record] = await conn.fetch(
            """
            SELECT message_id, user_id, order_id, order_status, channel, status, address, subject, text, attempts,
                   error, created_at, next_attempt_at, sent_at
              FROM messages
             WHERE ($1::bigint IS NULL OR user_id = $1)
               AND ($2::bigint IS NULL OR order_id = $2)
               AND ($3::text IS NULL OR status = $3)
               AND ($4::bigint IS NULL OR message_id < $4)
             ORDER BY message_id DESC
             LIMIT $5
            """,
            user_id,
            order_id,
            status,
            before,
            limit,
        )
    return rows


async def figures(db: Database) -> dict[str, Any]:
    """How many messages are not sent, by status, and how old the oldest queued one is, in seconds.

    Overdue are messages that no worker takes, and messages tried for minutes while nothing made after them went out by
    their channel. One that others overtake has a recipient that refuses for now, which is no fault of ours.
    """
    row = await db.pool.fetchrow(
        """
        WITH newest_sent AS (
            SELECT channel,
                   (SELECT message_id
                      FROM messages
                     WHERE status = 'sent'
                       AND messages.channel = channels.channel
                     ORDER BY message_id DESC
                     LIMIT 1) AS message_id
              FROM unnest($1::text[]) AS channels (channel)
        )
        SELECT count(*) FILTER (WHERE status = 'waiting') AS messages_waiting,
               count(*) FILTER (WHERE status = 'queued') AS messages_queued,
               count(*) FILTER (WHERE status = 'failed') AS messages_failed,
               count(*) FILTER (WHERE status = 'undeliverable') AS messages_undeliverable,
               coalesce(extract(epoch FROM clock_timestamp()
                        - min(created_at) FILTER (WHERE status = 'queued')), 0)::float8 AS oldest_queued_s,
               count(*) FILTER (WHERE next_attempt_at < clock_timestamp() - make_interval(secs => $2)
                                   OR status = 'queued'
                                      AND attempts >= $3
                                      AND messages.message_id > coalesce(newest_sent.message_id, 0)) AS overdue_messages
          FROM messages
          JOIN newest_sent USING (channel)
         WHERE status IN ('waiting', 'queued', 'failed', 'undeliverable')
        """,
        list(Channel),
        OVERDUE_S,
        OVERDUE_ATTEMPTS,
    )
    assert row
    return dict(row) | {"oldest_queued_s": round(row["oldest_queued_s"], 3)}
