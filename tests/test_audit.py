"""The audit itself: it is silent about a sound database and names each rule that is broken."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit import outbox
from kit.db import Database
from kit.testing import OpenDatabase, OpenDoor, read_topic, until
from loms import rpc
from loms.batches import Batching
from tests.audit import Wire, audit, audit_purchases, audit_topic
from tests.callers import order, receipt

SERVICE = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]

# What somebody may do behind the back of loms, and the rule that it breaks.
DAMAGES = [
    (
        "ALTER TABLE stock DROP CONSTRAINT stock_reserved_within_on_hand; UPDATE stock SET reserved = on_hand + 1",
        "0 <= reserved <= on_hand",
    ),
    ("UPDATE stock SET reserved = reserved - 1 WHERE reserved > 0", "reserved = sum of held"),
    ("UPDATE stock SET on_hand = on_hand + 1", "on_hand = sum of movements"),
    ("UPDATE orders SET status = 'assembling' WHERE id = 2", "an order is as its last change left it"),
    ("DELETE FROM order_history WHERE order_id = 1", "an order is as its last change left it"),
    ("UPDATE order_history SET version = 3 WHERE (order_id, version) = (2, 2)", "versions are 1..n without gaps"),
    (
        "UPDATE order_history SET previous_status = 'new' WHERE (order_id, version) = (2, 2)",
        "each change starts where the one before it ended",
    ),
    ("UPDATE holds SET state = 'held' WHERE order_id = 3", "a hold is held while its order awaits payment"),
    ("UPDATE holds SET state = 'expired' WHERE order_id = 1", "a hold is held while its order awaits payment"),
    ("DELETE FROM holds WHERE order_id = 1", "an order holds what its lines say"),
    ("UPDATE orders SET lines = jsonb_set(lines, '{0,1}', '9') WHERE id = 1", "an order holds what its lines say"),
    ("UPDATE orders SET lines = jsonb_set(lines, '{0,0}', '9') WHERE id = 1", "an order holds what its lines say"),
    (
        "INSERT INTO holds (order_id, sku, warehouse_id, count, state) VALUES (4, 1, 1, 1, 'voided')",
        "an order holds what its lines say",
    ),
    (
        "INSERT INTO holds (order_id, sku, warehouse_id, count) VALUES (5, 1, 1, 1)",
        "a hold is held while its order awaits payment",
    ),
    (
        "INSERT INTO holds (order_id, sku, warehouse_id, count, state) VALUES (6, 1, 1, 1, 'voided')",
        "an order holds what its lines say",
    ),
    ("UPDATE holds SET state = 'held' WHERE order_id = 7", "a hold is held while its order awaits payment"),
    ("DELETE FROM holds WHERE order_id = 7", "an order holds what its lines say"),
    ("UPDATE orders SET pay_by = now() WHERE id = 5", "an order has pay_by from when it awaits payment on"),
    ("UPDATE orders SET pay_by = NULL WHERE id = 7", "an order has pay_by from when it awaits payment on"),
    ("DELETE FROM order_addresses WHERE order_id = 5", "an order that was placed new has its address"),
    (
        "UPDATE order_addresses SET order_id = 1 WHERE order_id = 7",
        "an order that was placed new has its address, another one none",
    ),
    (
        """
        ALTER TABLE order_addresses DROP CONSTRAINT order_addresses_order_id_fkey;
        INSERT INTO order_addresses (order_id, country, region, city, street) VALUES (99, 'a', 'b', 'c', 'd')
        """,
        "an order that was placed new has its address, another one none",
    ),
    ("UPDATE orders SET shortages = NULL WHERE id = 4", "what was short is said of failed orders alone"),
    ("UPDATE orders SET shortages = '[[1, 9, 0]]' WHERE id = 1", "what was short is said of failed orders alone"),
    (
        "UPDATE order_history SET actor = 'loms', reason = 'not paid in time' WHERE (order_id, version) = (6, 2)",
        "time ends what awaits payment as not paid",
    ),
    (
        "UPDATE order_history SET actor = 'loms', reason = 'not reserved in time' WHERE (order_id, version) = (3, 2)",
        "time ends what awaits payment as not paid",
    ),
    ("UPDATE orders SET lines = lines || lines WHERE id = 4", "an order has lines, each sku once, in order of sku"),
    (
        """UPDATE orders SET lines = '[[2, 1, "", 0]]' || lines WHERE id = 4""",
        "an order has lines, each sku once, in order of sku",
    ),
    (
        "ALTER TABLE orders DROP CONSTRAINT orders_lines_are_good; UPDATE orders SET lines = '[]' WHERE id = 4",
        "an order has lines, each sku once, in order of sku",
    ),
    ("UPDATE orders SET lines = jsonb_set(lines, '{0,3}', '9') WHERE id = 1", "a total is the sum of its lines"),
    ("UPDATE orders SET total_price = 9 WHERE id = 1", "a total is the sum of its lines"),
    ("DELETE FROM movements WHERE order_id = 2", "what was posted is what was sold, once"),
    (
        """
        UPDATE order_history SET reason = 'not paid in time' WHERE (order_id, version) = (2, 2);
        UPDATE orders SET reason = 'not paid in time' WHERE id = 2
        """,
        "nothing expires before pay_by",
    ),
    ("DELETE FROM orders WHERE id = 4", "every change, hold and movement has its order"),
    (
        """
        INSERT INTO order_history (order_id, version, status, actor, at) VALUES (99, 1, 'failed', 'x', now())
        """,
        "every change, hold and movement has its order",
    ),
    (
        "INSERT INTO holds (order_id, sku, warehouse_id, count, state) VALUES (99, 1, 1, 1, 'voided')",
        "every change, hold and movement has its order",
    ),
    (
        """
        INSERT INTO movements (sku, warehouse_id, delta, kind, order_id, actor) VALUES (1, 1, -1, 'sold', 99, 'x')
        """,
        "every change, hold and movement has its order",
    ),
    (
        "INSERT INTO holds (order_id, sku, warehouse_id, count, state) VALUES (3, 9, 9, 1, 'voided')",
        "every hold and movement has its shelf",
    ),
    (
        "INSERT INTO movements (sku, warehouse_id, delta, kind, actor) VALUES (9, 9, 1, 'received', 'x')",
        "every hold and movement has its shelf",
    ),
    (
        "INSERT INTO outbox (topic, key, type, payload) SELECT topic, key, type, payload FROM outbox",
        "an event that waits says the same as its change, once",
    ),
    ("UPDATE outbox SET key = '5' WHERE key = '1'", "an event that waits says the same as its change, once"),
    (
        "UPDATE outbox SET payload = replace(payload, 'AWAITING_PAYMENT', 'PAID') WHERE key = '1'",
        "an event that waits says the same as its change, once",
    ),
    (
        """UPDATE outbox SET payload = replace(payload, '"version":1', '"version":2') WHERE key = '1'""",
        "an event that waits says the same as its change, once",
    ),
    (
        """
        INSERT INTO outbox (topic, key, type, payload)
        SELECT topic, key, type, payload FROM outbox WHERE key = '2' ORDER BY id LIMIT 1;
        DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox WHERE key = '2')
        """,
        "what waits of an order are its last changes, in order of version",
    ),
    (
        "DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox WHERE key = '2')",
        "what waits of an order are its last changes, in order of version",
    ),
    ("UPDATE requests SET answer = NULL", "a request that had an effect has its answer"),
]


# What somebody may do to the database behind the back of loms when the topic has it otherwise.
UNTOLD = [
    "UPDATE order_history SET reason = 'x' WHERE (order_id, version) = (2, 2)",
    "UPDATE order_history SET actor = 'x' WHERE (order_id, version) = (2, 2)",
    "UPDATE order_history SET at = at + interval '1 us' WHERE (order_id, version) = (2, 2)",
    "UPDATE order_history SET status = 'assembling' WHERE (order_id, version) = (2, 2)",
    "UPDATE order_history SET previous_status = 'new' WHERE (order_id, version) = (2, 2)",
    "UPDATE orders SET user_id = 8 WHERE id = 1",
    "UPDATE orders SET total_price = 8 WHERE id = 1",
    "UPDATE orders SET currency = 'USD' WHERE id = 1",
    "UPDATE orders SET lines = jsonb_set(lines, '{0,0}', '2') WHERE id = 1",
    "UPDATE orders SET lines = jsonb_set(lines, '{0,1}', '9') WHERE id = 1",
    """UPDATE orders SET lines = jsonb_set(lines, '{0,2}', '"x"') WHERE id = 1""",
    "UPDATE orders SET lines = jsonb_set(lines, '{0,3}', '1') WHERE id = 1",
    """UPDATE orders SET lines = lines || '[[2, 1, "", 0]]' WHERE id = 1""",
    """
    INSERT INTO order_history (order_id, version, previous_status, status, actor, at)
    VALUES (2, 3, 'paid', 'assembling', 'x', now())
    """,
    "INSERT INTO outbox (topic, key, type, payload) VALUES ('x', '1', 'x', '{}')",
]


@pytest.fixture
async def sound(open_database: OpenDatabase, open_door: OpenDoor) -> Database:
    """Orders 1 awaiting payment, 2 paid, 3 cancelled, 4 failed, of CreateOrder.

    Orders 5 new, 6 cancelled while it was new, 7 reserved, paid and confirmed, that were placed first. Ten units of a
    sku in each of two warehouses.
    """
    db = await open_database("loms")
    servicer = rpc.Loms(db, pay_within_s=600, positions_max=20, batching=Batching(batch_max=64, queue_max=1000))
    stub = loms_pb2_grpc.LomsServiceStub(await open_door(SERVICE, servicer))
    for warehouse_id in (1, 2):
        await stub.ReceiveStock(receipt(1, 10, warehouse_id=warehouse_id))
    ids = [(await stub.CreateOrder(order(7, (1, count)))).order_id for count in (2, 12, 3, 99)]
    # Ids come in blocks: the damages call the orders by their place.
    assert [1, 2, 3, 4] == ids
    await stub.OrderPayed(loms_pb2.OrderPayedRequest(order_id=2))
    await stub.CancelOrder(loms_pb2.CancelOrderRequest(order_id=3))
    assert [5, 6, 7] == [(await stub.PlaceOrder(placed(7, (1, 1)))).order_id for _ in range(3)]
    await stub.CancelOrder(loms_pb2.CancelOrderRequest(order_id=6))
    await stub.ReserveOrder(loms_pb2.ReserveOrderRequest(order_id=7))
    await stub.OrderPayed(loms_pb2.OrderPayedRequest(order_id=7))
    await stub.ConfirmOrder(loms_pb2.ConfirmOrderRequest(order_id=7))
    return db


def placed(user: int, *items: tuple[int, int]) -> loms_pb2.PlaceOrderRequest:
    """The request for an order of (sku, count) pairs that holds nothing yet."""
    lines = [loms_pb2.OrderItem(sku=sku, count=count) for sku, count in items]
    return loms_pb2.PlaceOrderRequest(user=user, items=lines, country="RU", region="Tver", city="Tver", street="1")


async def test_a_sound_database_passes(sound):
    """What loms itself wrote breaks no rule."""
    async with sound.pool.acquire() as conn:
        await audit(conn)


async def test_each_broken_rule_is_named(sound):
    """Damage done behind the back of loms is found."""
    async with sound.pool.acquire() as conn:
        for damage, rule in DAMAGES:
            transaction = conn.transaction(isolation="repeatable_read")
            await transaction.start()
            await conn.execute(damage)
            with pytest.raises(AssertionError, match=rule):
                await audit(conn)
            await transaction.rollback()
        await audit(conn)


async def test_a_purchase_without_its_order_is_found(sound, open_database):
    """Every purchase that is done has one of its own, of the same user, total and currency; others need none."""
    checkout = await open_database("checkout")
    async with sound.pool.acquire() as conn, checkout.pool.acquire() as purchases:
        await purchases.execute(
            """
            INSERT INTO purchases (user_id, caller, body_hash, lines, total_price, currency, state, order_id,
                                   try_at, finished_at)
            SELECT 7, 'local', '', '[{}]', 0, 'RUB', 'done', order_id, now(), now()
              FROM generate_series(1, 2) AS order_id;
            INSERT INTO purchases (user_id, caller, body_hash, lines, total_price, currency, state, refusal,
                                   try_at, finished_at)
            VALUES (9, 'local', '', '[{}]', 9, 'EUR', 'refused', '', now(), now())
            """
        )
        assert 2 == await audit_purchases(conn, purchases)
        for damage in ("user_id = 8", "total_price = 1", "currency = 'EUR'", "order_id = 99", "order_id = 2"):
            transaction = purchases.transaction()
            await transaction.start()
            await purchases.execute(f"UPDATE purchases SET {damage} WHERE order_id = 1")
            with pytest.raises(AssertionError):
                await audit_purchases(conn, purchases)
            await transaction.rollback()


@pytest.fixture
async def told(sound: Database, native, topic) -> str:
    """The topic, of this test alone, that has all events of the sound database."""
    await sound.pool.execute("UPDATE outbox SET topic = $1", topic)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.Relay(sound, native.kafka).run(stop))
        await until(lambda: outbox.status(sound), 0, of=lambda status: status["outbox_waiting"])
        stop.set()
    return topic


async def test_a_sound_topic_passes(sound, native, told):
    """Thirteen changes, each told once; a record that comes again is a repeat."""
    async with sound.pool.acquire() as conn:
        assert Wire(13, 0) == await audit_topic(conn, native.kafka, topic=told)
        async with AIOKafkaProducer(bootstrap_servers=native.kafka) as producer:
            (record, *_) = await read_topic(native.kafka, told)
            await producer.send_and_wait(told, record.value, key=record.key, headers=list(record.headers))
        assert Wire(13, 1) == await audit_topic(conn, native.kafka, topic=told)


async def test_a_topic_that_says_otherwise_is_found(sound, native, told):
    """Whatever the history or the order has that the topic has not, or has otherwise."""
    async with sound.pool.acquire() as conn:
        for damage in UNTOLD:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute(damage)
            with pytest.raises(AssertionError):
                await audit_topic(conn, native.kafka, topic=told)
            await transaction.rollback()
        await audit_topic(conn, native.kafka, topic=told)


@pytest.mark.parametrize("damage", ["another id", "another key", "another version"])
async def test_a_record_too_many_is_found(sound, native, told, damage):
    """An event that loms did not write."""
    (record, *_) = [one for one in await read_topic(native.kafka, told) if one.key == b"2"]
    value, key, headers = json.loads(record.value), record.key, list(record.headers)
    if damage == "another id":
        headers = [("id", b"x")]
    elif damage == "another key":
        key = b"1"
    else:
        value["version"] = 3
    async with AIOKafkaProducer(bootstrap_servers=native.kafka) as producer:
        await producer.send_and_wait(told, json.dumps(value).encode(), key=key, headers=headers)
    async with sound.pool.acquire() as conn:
        with pytest.raises((AssertionError, KeyError)):
            await audit_topic(conn, native.kafka, topic=told)


async def test_disorder_is_found(sound, native, topic):
    """All events are there, but those of an order in another order."""
    async with sound.pool.acquire() as conn, AIOKafkaProducer(bootstrap_servers=native.kafka) as producer:
        for row in await conn.fetch("DELETE FROM outbox RETURNING key, payload, event_id::text, id"):
            headers = [("id", row["event_id"].encode())]
            if row["key"] == "2" and '"version":1' in row["payload"]:
                first = row["payload"].encode(), row["key"].encode(), headers
            else:
                await producer.send_and_wait(topic, row["payload"].encode(), row["key"].encode(), headers=headers)
        await producer.send_and_wait(topic, *first[:2], headers=first[2])
        with pytest.raises(AssertionError, match="order 2 in disorder"):
            await audit_topic(conn, native.kafka, topic=topic)
