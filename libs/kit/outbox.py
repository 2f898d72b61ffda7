"""Transactional outbox: append inside the caller's transaction, relay later. Owns the table outbox."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from google.protobuf.message import Message

from kit import json, worker
from kit.db import Connection, Database

log = structlog.get_logger()

POLL_S = 0.2  # behind the wake-up: events of other processes of this service wait so long
DELIVERY_TIMEOUT_S = 10.0
KEEP_S = 7 * 24 * 3600.0


async def append_many(conn: Connection, topic: str, events: Sequence[tuple[str, Message]]) -> None:
    """Add (key, event) pairs; they are published, at least once and in order per key, after the commit.

    The caller holds a lock on what the key names, so that ids of one key rise in commit order.
    """
    await conn.execute(
        """
        INSERT INTO outbox (topic, key, type, payload)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
        """,
        topic,
        [key for key, _ in events],
        [event.DESCRIPTOR.full_name for _, event in events],
        [json.dumps(event) for _, event in events],
    )


class Relay:
    """Publishes what waits in the outbox. One at a time per database: a second would overtake the first."""

    def __init__(self, db: Database, kafka: str):
        self.db = db
        self.kafka = kafka

    async def run(self, stop: asyncio.Event) -> None:
        """Lead or stand by until stop is set; whatever breaks is opened anew, with growing pauses."""
        failures = 0
        while not stop.is_set():
            try:
                async with self._leading(stop) as conn, _producer(self.kafka) as producer:
                    while not stop.is_set():
                        if await publish_once(conn, producer) == 0:
                            await worker.pause(POLL_S, stop, self.db.committed)
                        failures = 0
            except Exception as error:
                log.warning("relay stopped, events wait in the outbox", error=repr(error))
                await worker.pause(min(0.2 * 2 ** min(failures, 6), 5.0), stop)
                failures += 1

    @contextlib.asynccontextmanager
    async def _leading(self, stop: asyncio.Event) -> AsyncIterator[asyncpg.Connection]:
        # A connection of its own: the lock is the session's, and a pool would reset it.
        conn = await self.db.connect_alone()
        try:
            while not await conn.fetchval("SELECT pg_try_advisory_lock(hashtext('outbox'))"):
                if stop.is_set():
                    break
                await worker.pause(1.0, stop)
            yield conn
        finally:
            await conn.close(timeout=1)


@contextlib.asynccontextmanager
async def _producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        enable_idempotence=True,
        acks="all",
        request_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000),
    )
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            await producer.start()
        yield producer
    finally:
        # Nothing is lost where it does not flush in time: what is not marked is published again.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await producer.stop()


async def publish_once(conn: asyncpg.Connection, producer: AIOKafkaProducer, *, batch: int = 500) -> int:
    """Publish the oldest waiting events, mark what the broker has; return how many. No transaction is open meanwhile.

    Of one key an event is sent when the one before it is acknowledged: a failure stops that key, not the others.

    Raises:
        KafkaError: the broker took none of them; they stay.
    """
    rows = await conn.fetch(
        """
        SELECT id, event_id, topic, key, type, payload
          FROM outbox
         WHERE published_at IS NULL
         ORDER BY id
         LIMIT $1
        """,
        batch,
    )
    lanes: dict[tuple[str, str], list[asyncpg.Record]] = {}
    for row in rows:
        lanes.setdefault((row["topic"], row["key"]), []).append(row)
    published: list[int] = []
    failure: BaseException | None = None
    while lanes:
        heads = {lane: waiting.pop(0) for lane, waiting in lanes.items()}
        results = await asyncio.gather(*(_send(producer, row) for row in heads.values()), return_exceptions=True)
        for (lane, row), result in zip(heads.items(), results, strict=True):
            if isinstance(result, BaseException):
                failure = result
                del lanes[lane]
                continue
            published.append(row["id"])
            if not lanes[lane]:
                del lanes[lane]
    if published:
        await conn.execute("UPDATE outbox SET published_at = clock_timestamp() WHERE id = ANY($1::bigint[])", published)
    if failure and not published:
        raise failure
    if failure:
        log.warning("some events wait in the outbox", error=repr(failure))
    return len(published)


async def _send(producer: AIOKafkaProducer, row: asyncpg.Record) -> None:
    await producer.send_and_wait(
        row["topic"],
        row["payload"].encode(),
        key=row["key"].encode(),
        headers=[("id", str(row["event_id"]).encode()), ("type", row["type"].encode())],
    )


async def prune(db: Database, *, keep_s: float = KEEP_S, batch: int = 5000) -> int:
    """Forget events published more than keep_s ago; return how many."""
    done = await db.pool.fetch(
        """
        DELETE FROM outbox
         WHERE id IN (
               SELECT id
                 FROM outbox
                WHERE published_at < now() - make_interval(secs => $1)
                ORDER BY published_at
                LIMIT $2)
        RETURNING 1
        """,
        keep_s,
        batch,
    )
    return len(done)


async def status(db: Database) -> dict[str, float]:
    """How many events wait, and since when the oldest does."""
    (row,) = await db.pool.fetch(
        """
        SELECT count(*) AS waiting,
               coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS lag_s
          FROM outbox
         WHERE published_at IS NULL
        """
    )
    return {"outbox_waiting": row["waiting"], "outbox_lag_s": round(row["lag_s"], 3)}
