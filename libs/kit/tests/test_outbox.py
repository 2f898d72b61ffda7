"""Outbox and relay, on a real database and a real broker."""

import asyncio
import contextlib
import json

import pytest
from aiokafka.errors import KafkaError

from abacus.loms.v1 import events_pb2
from kit import outbox
from kit.testing import read_topic, until


async def append(db, topic, *events):
    """Add (order id, version) pairs, each in a transaction of its own."""
    for order_id, version in events:
        async with db.transaction() as conn:
            event = events_pb2.OrderStatusChanged(order_id=order_id, version=version)
            await outbox.append_many(conn, topic, [(str(order_id), event)])


@contextlib.asynccontextmanager
async def relaying(db, kafka, *, relays=1):
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(relays):
            tasks.create_task(outbox.Relay(db, kafka).run(stop))
        try:
            yield
        finally:
            stop.set()


async def told(kafka, topic, count):
    """(order id, version) of the records of a topic, as soon as there are `count`."""
    records = await read_topic(kafka, topic, count=count)
    return [(int(record.key), json.loads(record.value)["version"]) for record in records]


async def test_events_are_published_in_order_per_key(db, native, topic):
    """What waits is published; of one key in the order of appending; then it is marked."""
    wanted = [(order_id, version) for version in (1, 2, 3) for order_id in (5, 6, 7)]
    await append(db, topic, *wanted)
    async with relaying(db, native.kafka):
        published = await told(native.kafka, topic, len(wanted))
    for order_id in (5, 6, 7):
        assert [1, 2, 3] == [version for key, version in published if key == order_id]
    assert {"outbox_waiting": 0, "outbox_lag_s": 0.0} == await outbox.status(db)


async def test_records_carry_id_and_type(db, native, topic):
    """The event id is a UUIDv7, the type the message's full name."""
    await append(db, topic, (5, 1))
    async with relaying(db, native.kafka):
        (record,) = await read_topic(native.kafka, topic, count=1)
    headers = dict(record.headers)
    assert b"abacus.loms.v1.OrderStatusChanged" == headers["type"]
    assert "7" == headers["id"].decode()[14]
    assert headers["id"].decode() == str(await db.pool.fetchval("SELECT event_id FROM outbox"))


async def test_one_of_several_relays_publishes(db, native, topic):
    """Two relays on one database publish each event once."""
    wanted = [(order_id, 1) for order_id in range(50)]
    async with relaying(db, native.kafka, relays=2):
        await append(db, topic, *wanted)
        await until(lambda: outbox.status(db), 0, of=lambda status: status["outbox_waiting"])
    records = await read_topic(native.kafka, topic)
    assert wanted == sorted((int(record.key), json.loads(record.value)["version"]) for record in records)


async def test_a_rolled_back_event_is_not_published(db, native, topic):
    """The event joins the transaction of its cause."""
    with contextlib.suppress(ZeroDivisionError):
        async with db.transaction() as conn:
            await outbox.append_many(conn, topic, [("5", events_pb2.OrderStatusChanged(order_id=5))])
            raise ZeroDivisionError
    await append(db, topic, (6, 1))
    async with relaying(db, native.kafka):
        assert [(6, 1)] == await told(native.kafka, topic, 1)


class HalfDeaf:
    """A producer that fails for one key."""

    def __init__(self, key):
        self.key = key
        self.heard = []

    async def send_and_wait(self, topic, value, *, key, headers):
        if key == self.key:
            raise KafkaError("not now")
        self.heard.append((int(key), json.loads(value)["version"]))


async def test_a_failure_stops_its_key_and_no_other(db, topic):
    """Events behind the failed one of the same key wait with it; the others go on."""
    await append(db, topic, (5, 1), (6, 1), (5, 2), (6, 2))
    producer = HalfDeaf(b"5")
    async with db.pool.acquire() as conn:
        assert 2 == await outbox.publish_once(conn, producer)
        assert [(6, 1), (6, 2)] == producer.heard
        with pytest.raises(KafkaError):  # nothing got through: the relay opens its connections anew
            await outbox.publish_once(conn, producer)
        producer.key = None
        assert 2 == await outbox.publish_once(conn, producer)
    assert [(5, 1), (5, 2)] == producer.heard[2:]


async def test_published_events_are_forgotten_after_their_time(db, topic):
    """Only what is published, and only when it is old enough."""
    await append(db, topic, (5, 1), (6, 1))
    await db.pool.execute("UPDATE outbox SET published_at = now() - interval '1 h' WHERE key = '5'")
    assert 0 == await outbox.prune(db, keep_s=3700)
    assert 1 == await outbox.prune(db, keep_s=3500)
    assert ["6"] == [row["key"] for row in await db.pool.fetch("SELECT key FROM outbox")]
