"""Outbox and relay, on a real database and a real broker."""

import asyncio
import contextlib
import json

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

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
    """What waits is published; of one key in the order of appending; then it is removed."""
    wanted = [(order_id, version) for version in (1, 2, 3) for order_id in (5, 6, 7)]
    await append(db, topic, *wanted)
    async with relaying(db, native.kafka):
        published = await told(native.kafka, topic, len(wanted))
    for order_id in (5, 6, 7):
        assert [1, 2, 3] == [version for key, version in published if key == order_id]
        await until(lambda: outbox.status(db), {"outbox_waiting": 0, "outbox_lag_s": 0.0})
    assert 0 == await db.pool.fetchval("SELECT count(*) FROM outbox")


async def test_records_carry_id_and_type(db, native, topic):
    """The event id is a UUIDv7, the type the message's full name."""
    await append(db, topic, (5, 1))
    event_id = await db.pool.fetchval("SELECT event_id FROM outbox")
    async with relaying(db, native.kafka):
        (record,) = await read_topic(native.kafka, topic, count=1)
    headers = dict(record.headers)
    assert b"abacus.loms.v1.OrderStatusChanged" == headers["type"]
    assert "7" == headers["id"].decode()[14]
    assert headers["id"].decode() == str(event_id)


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


@pytest.fixture
async def narrow(native, topic) -> str:
    """A topic whose broker refuses what is longer than 2,000 bytes, with one partition: all keys share its batches."""
    name = f"{topic}-narrow"
    admin = AIOKafkaAdminClient(bootstrap_servers=native.kafka)
    await admin.start()
    await admin.create_topics(
        [NewTopic(name, num_partitions=1, replication_factor=1, topic_configs={"max.message.bytes": "2000"})]
    )
    await admin.close()
    return name


TOO_LONG = "x" * 3000


async def test_a_failure_stops_its_key_and_no_other(db, native, narrow, monkeypatch):
    """Events behind a refused one wait with it; other keys go on, in order; when it may pass, its key goes on too."""
    monkeypatch.setattr(outbox, "RETRY_S", 0.1)
    await append(db, narrow, (5, 1), (6, 1))
    async with db.transaction() as conn:
        event = events_pb2.OrderStatusChanged(order_id=5, version=2, reason=TOO_LONG)
        await outbox.append_many(conn, narrow, [("5", event)])
    await append(db, narrow, (5, 3), (6, 2))
    async with relaying(db, native.kafka):
        await until(lambda: outbox.status(db), 2, of=lambda status: status["outbox_waiting"])
        await append(db, narrow, (6, 3), (5, 4), (7, 1))
        await until(lambda: outbox.status(db), 3, of=lambda status: status["outbox_waiting"])
        assert [1] == [version for key, version in await told(native.kafka, narrow, 5) if key == 5]
        await db.pool.execute("UPDATE outbox SET payload = replace(payload, $1, '')", TOO_LONG)
        records = await told(native.kafka, narrow, 8)
        await until(lambda: outbox.status(db), 0, of=lambda status: status["outbox_waiting"])
    for order_id, last in ((5, 4), (6, 3), (7, 1)):
        assert list(range(1, last + 1)) == [version for key, version in records if key == order_id]


async def test_keys_that_are_stopped_leave_room(db, native, narrow):
    """However many events wait behind a refused one, those of other keys are found."""
    await append(db, narrow, *((5, version) for version in range(1, 6)), (6, 1))
    async with db.pool.acquire() as conn, outbox._producer(native.kafka) as producer:
        assert (1, []) == await outbox.publish_once(conn, producer, {(narrow, "5")}, limit=3)
    assert [(6, 1)] == await told(native.kafka, narrow, 1)


async def test_a_key_goes_to_the_partition_it_had(db, native, topic):
    """As aiokafka and every other client choose it by the key."""
    keys = [str(number) for number in range(40)]
    async with AIOKafkaProducer(bootstrap_servers=native.kafka) as producer:
        chosen = {key: (await producer.send_and_wait(topic, b"{}", key=key.encode())).partition for key in keys}
    await append(db, topic, *((int(key), 1) for key in keys))
    async with relaying(db, native.kafka):
        records = await read_topic(native.kafka, topic, count=2 * len(keys))
    assert chosen == {record.key.decode(): record.partition for record in records if record.value != b"{}"}


async def test_what_does_not_fit_one_batch_goes_in_several(db, native, topic, monkeypatch):
    """In order, and an event that is larger than a batch in one of its own."""
    monkeypatch.setattr(outbox, "BATCH_BYTES_MAX", 2000)
    async with db.transaction() as conn:
        events = [
            (
                "5",
                events_pb2.OrderStatusChanged(order_id=5, version=version, reason="x" * (3000 if version == 7 else 0)),
            )
            for version in range(1, 101)
        ]
        await outbox.append_many(conn, topic, events)
    async with relaying(db, native.kafka):
        assert [(5, version) for version in range(1, 101)] == await told(native.kafka, topic, 100)


async def test_a_topic_that_is_not_there_stops_no_other(db, native, topic, monkeypatch):
    """Its events wait."""
    monkeypatch.setattr(outbox, "DELIVERY_TIMEOUT_S", 0.5)
    await append(db, "test-nowhere", (5, 1))
    await append(db, topic, (5, 1))
    async with relaying(db, native.kafka):
        assert [(5, 1)] == await told(native.kafka, topic, 1)
        await until(lambda: outbox.status(db), 1, of=lambda status: status["outbox_waiting"])
        await append(db, topic, (5, 2))
        assert [(5, 1), (5, 2)] == await told(native.kafka, topic, 2)
    assert ["test-nowhere"] == [row["topic"] for row in await db.pool.fetch("SELECT topic FROM outbox")]


async def test_what_the_release_before_published_is_not_published_again(db, native, topic):
    """It marks events and leaves them: the next relay removes them unread."""
    await append(db, topic, (5, 1), (5, 2))
    await db.pool.execute("UPDATE outbox SET published_at = now() WHERE payload LIKE '%\"version\":1%'")
    async with relaying(db, native.kafka):
        assert [(5, 2)] == await told(native.kafka, topic, 1)
        await until(lambda: db.pool.fetchval("SELECT count(*) FROM outbox"), 0)


async def test_the_relay_reads_no_more_than_it_publishes(db):
    """By the primary key, in order of id: no work that grows with the table, whatever the planner last saw of it."""
    async with db.pool.acquire() as conn:
        await outbox.prepare(conn)
        await conn.execute("VACUUM ANALYZE outbox")  # of an empty table
        plan = await conn.fetch(
            f"EXPLAIN {outbox.WAITING}".replace("$1", "'{}'").replace("$2", "'{}'").replace("$3", "9")
        )
    text = "\n".join(row[0] for row in plan)
    assert "Index Scan using outbox_pkey" in text
    assert "Sort" not in text
