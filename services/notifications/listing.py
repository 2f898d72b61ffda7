"""What is shown of messages: lists for people, figures for operators. Writes nothing."""

from typing import Any

import asyncpg

from kit.db import Database
from notifications.messages import Channel

OVERDUE_S = 60.0  # due for so long, a message has no worker: a lease is half of it at most
OVERDUE_ATTEMPTS = 9  # four minutes of tries


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
                   error, created_at, next_attempt_at, sent_at, coalesce(kind, order_status) AS kind
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


async def one(db: Database, message_id: int) -> asyncpg.Record | None:
    """Find a message."""
    return await db.pool.fetchrow(
        """
        SELECT message_id, channel, status, address, error, created_at, sent_at, coalesce(kind, order_status) AS kind
          FROM messages
         WHERE message_id = $1
        """,
        message_id,
    )


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
