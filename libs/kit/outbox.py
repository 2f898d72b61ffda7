"""Transactional outbox: append inside the caller's transaction, relay later. Owns the table outbox: what waits."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from operator import itemgetter

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import BrokerResponseError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner
from google.protobuf.message import Message

from kit import json, worker
from kit.db import Connection, Database, Part, write

log = structlog.get_logger()

POLL_S = 0.2  # behind the wake-up: events of other processes of this service wait so long
PAUSE_S = 0.025  # after a look that found events: few large looks cost less than many small ones
RETRY_S = 5.0  # keys whose event the broker refused wait so long for the next try
DELIVERY_TIMEOUT_S = 10.0
LOOK_MAX = 2000  # events
BATCH_BYTES_MAX = 512 * 1024  # the broker takes 1 MB

Lane = tuple[str, str]  # topic and key: what has an order of its own
_partition_of = DefaultPartitioner()

WAITING = """
    SELECT id, topic, key, type, event_id::text, convert_to(payload, 'UTF8') AS payload
      FROM outbox
     WHERE (topic, key) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))
     ORDER BY id
     LIMIT $3
"""


def part(topic: str, events: Sequence[tuple[str, Message]]) -> Part:
    """Add (key, event) pairs; they are published, at least once and in order per key, after the commit.

    The caller holds a lock on what the key names, so that ids of one key rise in commit order.
    """
    return Part(
        """
        INSERT INTO outbox (topic, key, type, payload)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
        """,
        (
            topic,
            [key for key, _ in events],
            [event.DESCRIPTOR.full_name for _, event in events],
            [json.dumps(event) for _, event in events],
        ),
    )


async def append_many(conn: Connection, topic: str, events: Sequence[tuple[str, Message]]) -> None:
    """Add (key, event) pairs in the caller's transaction; see `part`."""
    await write(conn, part(topic, events))


class Relay:
    """Publishes what waits in the outbox. One at a time per database: a second would overtake the first."""

    def __init__(self, db: Database, kafka: str):
        self.db = db
        self.kafka = kafka
        self._failures = 0  # since it last published, or found nothing to publish
        self._stopped: dict[Lane, float] = {}  # until when, by the loop's clock

    async def run(self, stop: asyncio.Event) -> None:
        """Lead or stand by until stop is set; whatever breaks is opened anew, with growing pauses."""
        while not stop.is_set():
            try:
                async with self._leading(stop) as conn:
                    while not stop.is_set():
                        async with _producer(self.kafka) as producer:
                            refused = await self._publish(conn, producer, stop)
                        if refused:
                            async with _producer(self.kafka, is_idempotent=False) as producer:
                                stopped = await publish_alone(conn, producer, refused)
                            retry_at = asyncio.get_running_loop().time() + RETRY_S
                            self._stopped |= dict.fromkeys(stopped, retry_at)
            except Exception as error:
                log.warning("relay stopped, events wait in the outbox", error=repr(error))
                await worker.pause(min(0.2 * 2 ** min(self._failures, 6), 5.0), stop)
                self._failures += 1

    @contextlib.asynccontextmanager
    async def _leading(self, stop: asyncio.Event) -> AsyncIterator[asyncpg.Connection]:
        # A connection of its own: the lock is the session's, and a pool would reset it.
        conn = await self.db.connect_alone()
        try:
            await prepare(conn)
            while not await conn.fetchval("SELECT pg_try_advisory_lock(hashtext('outbox'))"):
                await worker.pause(1.0, stop)
                if stop.is_set():
                    break
            else:
                await _forget_marked(conn)
            yield conn
        finally:
            await conn.close(timeout=1)

    async def _publish(
        self, conn: asyncpg.Connection, producer: AIOKafkaProducer, stop: asyncio.Event
    ) -> list[asyncpg.Record]:
        """Publish what comes, but of no stopped key, until stop is set or a batch is refused; return what was in it."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._stopped = {lane: until for lane, until in self._stopped.items() if loop.time() < until}
            published, refused = await publish_once(conn, producer, self._stopped)
            if refused:
                return refused
            self._failures = 0
            if published == 0:
                await worker.pause(POLL_S, stop, self.db.committed)
            elif published < LOOK_MAX:
                await asyncio.sleep(PAUSE_S)
        return []


@contextlib.asynccontextmanager
async def _producer(kafka: str, *, is_idempotent: bool = True) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        enable_idempotence=is_idempotent,
        acks="all",
        max_batch_size=BATCH_BYTES_MAX,
        request_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000),
    )
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            await producer.start()
        yield producer
    finally:
        # Nothing is lost where it does not flush in time: what is not removed is published again.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await producer.stop()


async def prepare(conn: asyncpg.Connection) -> None:
    """Set up the relay's own session."""
    # A removal that a crash forgets is an event published again, which consumers expect: no need to wait for it.
    await conn.execute("SET synchronous_commit = off")


async def _forget_marked(conn: asyncpg.Connection) -> None:
    """Remove what a relay of the release before published: it marked events instead of removing them."""
    while await conn.fetch(
        """
        DELETE FROM outbox
         WHERE id IN (SELECT id FROM outbox WHERE published_at IS NOT NULL LIMIT 5000)
        RETURNING 1
        """
    ):
        pass


async def publish_once(
    conn: asyncpg.Connection, producer: AIOKafkaProducer, stopped: Iterable[Lane] = (), *, limit: int = LOOK_MAX
) -> tuple[int, list[asyncpg.Record]]:
    """Publish the oldest waiting events in batches, remove what the broker has; no transaction is open meanwhile.

    Returns how many, and the events that were refused with their batch: they go to publish_alone, and the producer is
    of no use afterwards, because aiokafka has given the batch's sequence numbers away and the broker misses them.
    """
    rows = await conn.fetch(
        WAITING,
        [topic for topic, _ in stopped],
        [key for _, key in stopped],
        limit,
    )
    by_topic: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        by_topic[row["topic"]].append(row)
    sent = await asyncio.gather(*(_send_topic(producer, topic, waiting) for topic, waiting in by_topic.items()))
    refused = [row for rest in sent for row in rest]
    kept = {row["id"] for row in refused}
    await _remove(conn, [row for row in rows if row["id"] not in kept] if kept else rows)
    return len(rows) - len(refused), refused


async def _send_topic(producer: AIOKafkaProducer, topic: str, rows: list[asyncpg.Record]) -> list[asyncpg.Record]:
    """Send the events of a topic, each partition's in order; return those that the broker has not."""
    try:
        partitions = sorted(await producer.partitions_for(topic))
    except KafkaError as error:
        log.warning("a topic is not there", topic=topic, error=repr(error))
        return rows
    by_partition: dict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        by_partition[_partition_of(row["key"].encode(), partitions, partitions)].append(row)
    sent = await asyncio.gather(
        *(_send_partition(producer, topic, partition, waiting) for partition, waiting in by_partition.items())
    )
    return [row for rest in sent for row in rest]


async def _send_partition(
    producer: AIOKafkaProducer, topic: str, partition: int, rows: list[asyncpg.Record]
) -> list[asyncpg.Record]:
    """Send the events of a partition in as few batches as hold them; return those that the broker has not."""
    start = 0
    while start < len(rows):
        batch, end = producer.create_batch(), start
        while end < len(rows) and batch.append(
            timestamp=None,
            key=rows[end]["key"].encode(),
            value=rows[end]["payload"],
            headers=_headers(rows[end]),
        ):  # a batch takes its first event whatever its size
            end += 1
        try:
            await (await producer.send_batch(batch, topic, partition=partition))
        except KafkaError as error:
            log.warning("a batch of events was refused", topic=topic, events=end - start, error=repr(error))
            return rows[start:]
        start = end
    return []


async def publish_alone(
    conn: asyncpg.Connection, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]
) -> set[Lane]:
    """Publish events one by one, remove what the broker has; return the topics and keys that a refusal stops.

    A refused event stops its key, a missing topic its own keys, and no other. One at a time, because aiokafka puts what
    is sent at once into one batch. The producer must not be idempotent: such a one does not forgive the first refusal.

    Raises:
        KafkaError: it is not this event that cannot be taken.
    """
    stopped: set[Lane] = set()
    missing: set[str] = set()
    published: list[asyncpg.Record] = []
    try:
        for row in sorted(rows, key=itemgetter("id")):
            lane = row["topic"], row["key"]
            if lane in stopped or row["topic"] in missing:
                stopped.add(lane)
                continue
            try:
                await producer.send_and_wait(
                    row["topic"], row["payload"], key=row["key"].encode(), headers=_headers(row)
                )
                published.append(row)
            except UnknownTopicOrPartitionError:
                missing.add(row["topic"])
                stopped.add(lane)
            except BrokerResponseError as error:
                if error.retriable:
                    raise
                log.error("an event waits, and its key with it", topic=row["topic"], id=row["id"], error=repr(error))
                stopped.add(lane)
    finally:
        await _remove(conn, published)
    return stopped


def _headers(row: asyncpg.Record) -> list[tuple[str, bytes]]:
    return [("id", row["event_id"].encode()), ("type", row["type"].encode())]


async def _remove(conn: asyncpg.Connection, published: Sequence[asyncpg.Record]) -> None:
    if published:
        await conn.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in published])


async def status(db: Database) -> dict[str, float]:
    """How many events wait, and since when the oldest does."""
    (row,) = await db.pool.fetch(
        """
        SELECT count(*) AS waiting,
               coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS lag_s
          FROM outbox
         WHERE published_at IS NULL  -- the release before marks what it published
        """
    )
    return {"outbox_waiting": row["waiting"], "outbox_lag_s": round(row["lag_s"], 3)}
