"""Messages to customers and what became of each. Owns the table messages.

A message *waits* until its user has an address for its channel; then it is *queued*; a worker claims it for the time of
a lease and sends it. A lease that ends without a result, because its worker died, makes it due again. A queued
message whose user has no address any more waits again.

A message that came with an address of its own is queued at once. A *secret* one is sealed, address and all, until it is
on its way; sent or given up, its row keeps neither seal nor text, and after a week the row is gone too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from kit.db import Connection, Database

RECHECK_S = 30.0  # a message that waits is woken by its contact; this is for one that both missed each other by
REPLAY_S = 24 * 3600.0  # older news is not sent again: "please pay" of last month helps nobody
KEEP_SECRETS_S = 7 * 24 * 3600.0


class Channel(StrEnum):
    """A way to a customer."""

    EMAIL = "email"
    SMS = "sms"


@dataclass(frozen=True)
class Claimed:
    """A message that this worker may send while its lease lasts."""

    message_id: int
    lane: int  # messages of one lane go out in order
    event_id: str
    kind: str
    event: str | None  # what it tells, as JSON; None where it is sealed
    sealed: str | None
    attempts: int  # this one included
    address: str  # empty where it is sealed
    first_name: str
    language: str
    created_at: datetime
    expires_in_s: float | None  # from the moment of the claim


def status_name(kind: Any, status: int) -> str:
    """`sent` of MessageStatus and MESSAGE_STATUS_SENT: as templates and rows name what a contract's enum holds."""
    return str(kind.Name(status).removeprefix(kind.Name(0).removesuffix("UNSPECIFIED")).lower())


async def note_change(
    conn: Connection,
    *,
    event_id: str,
    user_id: int,
    order_id: int,
    version: int,
    status: str,
    channels: Sequence[Channel],
    event: str,
) -> None:
    """Note that a change of an order is to be told to its user's contact: once, by each channel."""
    await conn.execute(
        """
        INSERT INTO messages (event_id, user_id, order_id, order_version, order_status, channel, event)
        SELECT $1, $2, $3, $4, $5, channel, $7::jsonb
          FROM unnest($6::text[]) AS channel
        ON CONFLICT ON CONSTRAINT messages_once DO NOTHING
        """,
        event_id,
        user_id,
        order_id,
        version,
        status,
        list(channels),
        event,
    )


async def note(
    conn: Connection,
    *,
    event_id: str,
    kind: str,
    about: str,
    user_id: int | None,
    channel: Channel,
    address: str = "",
    event: str | None = None,
    sealed: str | None = None,
    expires_at: datetime | None = None,
    pause_s: float = 0,
    language: str | None = None,
    sent_by: str | None = None,
) -> int | None:
    """Note a message that has its own address: once, whatever else comes of this kind about the same.

    It has either an event and an address, or both are sealed, and it expires. It is due after pause_s. One that
    somebody sent by hand has a language.

    Returns:
        its id; None where there was one already.
    """
    message_id: int | None = await conn.fetchval(
        """
        INSERT INTO messages (event_id, kind, about, user_id, channel, address, event, sealed, expires_at,
                              in_language, sent_by, by_contact, status, next_attempt_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9,
                $11, $12, false, 'queued', clock_timestamp() + make_interval(secs => $10))
        ON CONFLICT (kind, about) WHERE about IS NOT NULL DO NOTHING
        RETURNING message_id
        """,
        event_id,
        kind,
        about,
        user_id,
        channel,
        address,
        event,
        sealed,
        expires_at,
        pause_s,
        language,
        sent_by,
    )
    return message_id


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


async def expire(db: Database, *, batch: int = 500) -> int:
    """Give up messages that are due and have expired; return how many. One that is on its way is not due."""
    rows = await db.pool.fetch(
        """
        UPDATE messages
           SET status = 'undeliverable', error = 'expired', sealed = NULL, next_attempt_at = NULL
         WHERE message_id IN (
               SELECT message_id
                 FROM messages
                WHERE sealed IS NOT NULL
                  AND expires_at <= clock_timestamp()
                  AND next_attempt_at <= clock_timestamp()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        RETURNING 1
        """,
        batch,
    )
    return len(rows)


async def claim(db: Database, channel: Channel, *, lease_s: float, batch: int) -> list[Claimed]:
    """Take the messages that are due, the longest due first; nobody else gets them until the lease ends.

    Each without an address of its own carries the newest contact of its user: a customer who corrects a wrong address
    gets what is still tried. Such a message whose user withdrew the address goes back to those that wait.
    """
    rows = await db.pool.fetch(
        """
        WITH due AS (
            SELECT message_id, user_id, by_contact, address, in_language
              FROM messages
             WHERE channel = $1
               AND status = 'queued'
               AND next_attempt_at <= clock_timestamp()
               AND (expires_at IS NULL OR expires_at > clock_timestamp())
             ORDER BY next_attempt_at, message_id
             LIMIT $3
               FOR UPDATE SKIP LOCKED
        ), found AS (
            SELECT due.message_id,
                   CASE WHEN NOT by_contact THEN due.address
                        ELSE coalesce(CASE $1 WHEN 'email' THEN contacts.email ELSE contacts.phone END, '') END
                        AS address,
                   coalesce(first_name, '') AS first_name,
                   coalesce(in_language, language, 'ru') AS language
              FROM due
              LEFT JOIN contacts USING (user_id)
        )
        UPDATE messages
           SET address = found.address,
               status = CASE WHEN found.address <> '' OR sealed IS NOT NULL THEN 'queued' ELSE 'waiting' END,
               attempts = attempts + CASE WHEN found.address <> '' OR sealed IS NOT NULL THEN 1 ELSE 0 END,
               next_attempt_at = clock_timestamp()
                        + CASE WHEN found.address <> '' OR sealed IS NOT NULL THEN make_interval(secs => $2)
                               ELSE interval '0' END
          FROM found
         WHERE messages.message_id = found.message_id
        RETURNING messages.message_id, coalesce(order_id, messages.user_id, messages.message_id) AS lane, event_id,
                  coalesce(kind, order_status) AS kind, event, sealed, attempts, messages.address, first_name,
                  language, created_at,
                  extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in_s
        """,
        channel,
        lease_s,
        batch,
    )
    claimed = (Claimed(**row) for row in rows if row["address"] or row["sealed"])
    return sorted(claimed, key=lambda it: it.message_id)


async def hand_over(db: Database, claimed: Claimed, channel: Channel) -> None:
    """Undo the claim of a message that, once its seal was opened, turned out to go by another channel."""
    async with db.transaction() as conn:  # which wakes that channel's worker
        await conn.execute(
            """
            UPDATE messages
               SET channel = $3, attempts = attempts - 1, next_attempt_at = clock_timestamp()
             WHERE message_id = $1
               AND attempts = $2
               AND status = 'queued'
            """,
            claimed.message_id,
            claimed.attempts,
            channel,
        )


async def sent(db: Database, claimed: Claimed, *, subject: str, text: str) -> None:
    """Mark a message as taken by the relay or gateway, even where the lease has ended meanwhile.

    Of a secret one the text is not kept.
    """
    await db.pool.execute(
        """
        UPDATE messages
           SET status = 'sent', sent_at = clock_timestamp(), next_attempt_at = NULL,
               address = $2, subject = $3, text = CASE WHEN event IS NULL THEN '' ELSE $4 END, error = '',
               sealed = NULL
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
               address = CASE WHEN $4::float8 IS NULL THEN $5 ELSE address END,
               sealed = CASE WHEN $4::float8 IS NULL THEN NULL ELSE sealed END,
               -- What expires before its next try is given up at once when it expires.
               next_attempt_at = CASE WHEN $4::float8 IS NOT NULL
                                      THEN least(clock_timestamp() + make_interval(secs => $4::float8), expires_at) END
         WHERE message_id = $1
           AND attempts = $2
           AND status = 'queued'
        """,
        claimed.message_id,
        claimed.attempts,
        error,
        retry_after_s,
        claimed.address,
    )


async def queue_failed(db: Database, *, batch: int = 10_000) -> int:
    """Queue the newest messages that failed once more, with all their attempts before them; return how many.

    Those made more than REPLAY_S ago stay failed, and secret ones, of which nothing is left to send.
    """
    rows = await db.pool.fetch(
        """
        UPDATE messages
           SET status = 'queued', attempts = 0, next_attempt_at = clock_timestamp()
         WHERE message_id IN (
               SELECT message_id
                 FROM messages
                WHERE status = 'failed'
                  AND event IS NOT NULL
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


async def forget_secrets(db: Database, *, keep_s: float = KEEP_SECRETS_S, batch: int = 5000) -> int:
    """Delete the rows of secret messages that expired more than keep_s ago; return how many."""
    rows = await db.pool.fetch(
        """
        DELETE FROM messages
         WHERE message_id IN (
               SELECT message_id
                 FROM messages
                WHERE event IS NULL
                  AND expires_at < clock_timestamp() - make_interval(secs => $1)
                ORDER BY expires_at
                LIMIT $2)
        RETURNING 1
        """,
        keep_s,
        batch,
    )
    return len(rows)
