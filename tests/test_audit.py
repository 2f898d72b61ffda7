"""The audit itself: it is silent about a sound database and names each rule that is broken."""

import uuid

import pytest

from kit.db import Database
from kit.testing import OpenDatabase
from loms import history, orders, stock
from tests.audit import audit

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
    ("DELETE FROM movements WHERE order_id = 2", "what was posted is what was sold, once"),
    (
        """
        UPDATE order_history SET reason = 'not paid in time' WHERE (order_id, version) = (2, 2);
        UPDATE orders SET reason = 'not paid in time' WHERE id = 2
        """,
        "nothing expires before pay_by",
    ),
    ("DELETE FROM outbox WHERE key = '1'", "each change has exactly one event"),
    (
        "INSERT INTO outbox (topic, key, type, payload) SELECT topic, key, type, payload FROM outbox",
        "each change has exactly one event",
    ),
    ("UPDATE outbox SET key = '5' WHERE key = '1'", "each change has exactly one event"),
    (
        """
        INSERT INTO outbox (topic, key, type, payload)
        SELECT topic, key, type, payload FROM outbox WHERE key = '2' ORDER BY id LIMIT 1;
        DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox WHERE key = '2')
        """,
        "events of an order are in the outbox in order of version",
    ),
    ("UPDATE requests SET answer = NULL", "a request that had an effect has its answer"),
]


@pytest.fixture
async def sound(open_database: OpenDatabase) -> Database:
    """Orders 1 awaiting payment, 2 paid, 3 cancelled, 4 failed; ten units of a sku in each of two warehouses."""
    db = await open_database("loms")
    wanted = [
        orders.Wanted("test", str(uuid.uuid4()), b"", 7, "RUB", [history.Line(1, count)]) for count in (2, 12, 3, 99)
    ]
    async with db.transaction() as conn:
        for warehouse_id in (1, 2):
            await stock.receive(conn, stock.Receipt(warehouse_id, 1, 10), actor="test")
        await orders.create_many(conn, wanted, pay_within_s=600)
    async with db.transaction() as conn:
        await orders.pay(conn, 2, version=None, actor="test")
        await orders.cancel(conn, 3, version=None, reason="", actor="test")
    return db


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
