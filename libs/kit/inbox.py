"""Consumer with an inbox: each event has its effect once, in order per key. Owns the tables inbox and dead_letters.

The event's id is written in the transaction of its effect, the offset is committed after it. A message that can
never be handled goes to dead_letters with its reason, and those behind it go on. A database that is away is no
such message: the consumer waits.
"""

import asyncio
import contextlib
import itertools
import json as stdlib_json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import protovalidate
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from google.protobuf.message import Message

from kit import json, worker
from kit.calls import field_path
from kit.db import Connection, Database, is_unavailable

log = structlog.get_logger()

KEEP_S = 14 * 24 * 3600.0  # longer than the broker keeps a message, so that no repeat comes after it
_LATEST_MS = 253_402_300_799_000  # the end of the year 9999, where datetime ends


@dataclass(frozen=True)
class Event:
    """A message of a topic, read and checked."""

    event_id: str
    key: str
    message: Any
    at: datetime  # when the broker got it (log.message.timestamp.type=LogAppendTime)


@dataclass(frozen=True)
class Subscription:
    """What a service does with the messages of a topic, in the transaction that it is given.

    Raising anything but the database's absence makes the message a dead letter.
    """

    topic: str
    kind: type[Message]
    handle: Callable[[Connection, Event], Awaitable[None]]
    is_foreign: bool = False  # its producers know nothing of our headers: what they write there is theirs


@dataclass(frozen=True)
class Letter:
    """A message as it came."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes
    headers: dict[str, str]
    payload: bytes

    @property
    def event_id(self) -> str:
        """The producer's id, or the message's place where a foreign producer gives none.

        Raises:
            UnreadableError: the id is none.
        """
        if "id" not in self.headers:
            return f"{self.partition}/{self.offset}@{self.at.isoformat()}"
        try:
            return str(uuid.UUID(self.headers["id"]))
        except ValueError:
            raise json.UnreadableError("the header `id` is no UUID") from None


class Consumer:
    """Reads a service's topics and applies each event once."""

    def __init__(self, db: Database, kafka: str, group: str, subscriptions: Sequence[Subscription]):
        self.db = db
        self.kafka = kafka
        self.group = group
        self.subscriptions = {subscription.topic: subscription for subscription in subscriptions}
        self.validator = protovalidate.Validator()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until stop is set; whatever breaks is opened anew, with growing pauses."""
        failures = 0
        while not stop.is_set():
            try:
                async with self._consumer() as consumer:
                    while not stop.is_set():
                        batches = await consumer.getmany(timeout_ms=500, max_records=200)
                        for partition, records in batches.items():
                            await self._until_applied([_letter(record) for record in records], stop)
                            if stop.is_set():
                                break
                            await consumer.commit({partition: records[-1].offset + 1})
                            failures = 0
            except Exception as error:
                log.warning("consumer stopped", group=self.group, error=repr(error))
                await worker.pause(min(0.2 * 2 ** min(failures, 6), 5.0), stop)
                failures += 1

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            *self.subscriptions,
            bootstrap_servers=self.kafka,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,  # a killed consumer's partitions wait so long
            heartbeat_interval_ms=1000,
        )
        try:
            async with asyncio.timeout(15):
                await consumer.start()
            yield consumer
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await consumer.stop()

    async def _until_applied(self, letters: Sequence[Letter], stop: asyncio.Event) -> None:
        for failures in itertools.count():
            try:
                return await self.apply(letters)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("consumer waits for the database", error=repr(error))
                await worker.pause(min(0.2 * 2 ** min(failures, 5), 5.0), stop)
                if stop.is_set():
                    return None
        return None

    async def apply(self, letters: Sequence[Letter]) -> None:
        """Apply messages in order: all in one transaction, or each in its own where one of them fails."""
        try:
            async with self.db.transaction() as conn:
                for letter in letters:
                    await self._apply_one(conn, letter)
        except Exception as error:
            if is_unavailable(error):
                raise
            for letter in letters:
                await self._apply_alone(letter)

    async def _apply_alone(self, letter: Letter) -> None:
        try:
            async with self.db.transaction() as conn:
                await self._apply_one(conn, letter)
        except Exception as error:
            if is_unavailable(error):
                raise
            # Why it cannot be read stands in dead_letters: it may quote the message, and logs are for everybody.
            is_ours = not isinstance(error, json.UnreadableError)
            place = {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
            log.warning("dead letter", **place, exc_info=is_ours)
            async with self.db.transaction() as conn:
                await _bury(conn, letter, error)

    async def _apply_one(self, conn: Connection, letter: Letter) -> None:
        subscription = self.subscriptions[letter.topic]
        event = self._read(subscription, letter)
        fresh = await conn.fetchval(
            "INSERT INTO inbox (event_id, topic) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
            event.event_id,
            letter.topic,
        )
        if fresh:
            await subscription.handle(conn, event)

    def _read(self, subscription: Subscription, letter: Letter) -> Event:
        if subscription.is_foreign:
            letter = replace(letter, headers={})
        wanted = subscription.kind.DESCRIPTOR.full_name
        if letter.headers.get("type", wanted) != wanted:
            raise json.UnreadableError(f"type {letter.headers['type']}, not {wanted}")
        message = json.loads(subscription.kind, letter.payload)
        if violations := self.validator.collect_violations(message):
            first = violations[0].proto
            raise json.UnreadableError(f"{field_path(first.field)}: {first.message}")
        return Event(letter.event_id, letter.key.decode(errors="replace"), message, letter.at)

    async def replay(self) -> dict[str, float]:
        """Handle dead letters again, the oldest first; return how many went through, and how many are dead still."""
        replayed = dead = last = 0
        while rows := await self.db.pool.fetch(
            """
            SELECT id, topic, partition, "offset", sent_at, key, headers, payload
              FROM dead_letters
             WHERE replayed_at IS NULL
               AND id > $1
             ORDER BY id
             LIMIT 100
            """,
            last,
        ):
            for row in rows:
                last = row["id"]
                if await self._replay_one(row):
                    replayed += 1
                else:
                    dead += 1
        return {"replayed": replayed, "dead_letters": dead}

    async def _replay_one(self, row: asyncpg.Record) -> bool:
        letter = Letter(
            row["topic"],
            row["partition"],
            row["offset"],
            row["sent_at"],
            row["key"],
            stdlib_json.loads(row["headers"]),
            row["payload"],
        )
        try:
            async with self.db.transaction() as conn:
                await self._apply_one(conn, letter)
                await conn.execute("UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE id = $1", row["id"])
        except Exception as error:
            if is_unavailable(error):
                raise
            await self.db.pool.execute("UPDATE dead_letters SET reason = $2 WHERE id = $1", row["id"], _reason(error))
            return False
        return True


async def _bury(conn: Connection, letter: Letter, error: Exception) -> None:
    await conn.execute(
        """
        INSERT INTO dead_letters (topic, partition, "offset", sent_at, key, headers, payload, reason)
        VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8)
        ON CONFLICT DO NOTHING  -- it came again because its offset was not committed
        """,
        letter.topic,
        letter.partition,
        letter.offset,
        letter.at,
        letter.key,
        stdlib_json.dumps(letter.headers),
        letter.payload,
        _reason(error),
    )


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, json.UnreadableError) else repr(error)
    return _printable(text)[:1000]


def _letter(record: ConsumerRecord) -> Letter:
    """A record as a letter; of whatever bytes, because what raises here would stop its partition for good."""
    at_ms = min(max(record.timestamp or 0, 0), _LATEST_MS)
    return Letter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=datetime.fromtimestamp(at_ms / 1000, UTC),
        key=record.key or b"",
        headers={_printable(name): _printable((value or b"").decode("latin-1")) for name, value in record.headers},
        payload=record.value or b"",
    )


def _printable(text: str) -> str:
    """PostgreSQL's text and jsonb hold no NUL and no half of a surrogate pair."""
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()


async def prune(db: Database, *, keep_s: float = KEEP_S, batch: int = 5000) -> int:
    """Forget the ids of events received, and dead letters replayed, more than keep_s ago; return how many ids."""
    await db.pool.execute("DELETE FROM dead_letters WHERE replayed_at < now() - make_interval(secs => $1)", keep_s)
    done = await db.pool.fetch(
        """
        DELETE FROM inbox
         WHERE (topic, event_id) IN (
               SELECT topic, event_id
                 FROM inbox
                WHERE received_at < now() - make_interval(secs => $1)
                ORDER BY received_at
                LIMIT $2)
        RETURNING 1
        """,
        keep_s,
        batch,
    )
    return len(done)


async def status(db: Database) -> dict[str, float]:
    """How many dead letters wait for somebody to look at them."""
    return {"dead_letters": await db.pool.fetchval("SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL")}
