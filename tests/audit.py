"""What must hold of the shop's data, whatever happened to its processes: asked of the database, the topic, the mailbox.

`audit` and `audit_purchases` may be run at any moment, `audit_topic` and `audit_messages` when all is quiet.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg

from kit.testing import read_topic

TOPIC = "abacus.loms.order-status.v1"

_WAITING = """
    SELECT id, key, (payload::jsonb ->> 'orderId')::bigint AS order_id, (payload::jsonb ->> 'version')::int AS version,
           payload::jsonb ->> 'status' AS status
      FROM outbox
"""

# Joined to orders: their lines as rows, numbered as they stand.
_LINES = """
    LATERAL (SELECT (line -> 0)::bigint AS sku, (line -> 1)::int AS units, (line -> 3)::bigint AS price, position
               FROM jsonb_array_elements(lines) WITH ORDINALITY AS element (line, position)) AS line
"""

# Each is a query for what breaks it.
_INVARIANTS = {
    "0 <= reserved <= on_hand": """
        SELECT sku, warehouse_id, on_hand, reserved
          FROM stock
         WHERE NOT (0 <= reserved AND reserved <= on_hand)
    """,
    "reserved = sum of held": """
        SELECT sku, warehouse_id, reserved, sum(count) AS held
          FROM stock
          LEFT JOIN holds USING (sku, warehouse_id)
         GROUP BY sku, warehouse_id
        HAVING reserved <> coalesce(sum(count) FILTER (WHERE state = 'held'), 0)
    """,
    "on_hand = sum of movements": """
        SELECT sku, warehouse_id, on_hand, sum(delta) AS moved
          FROM stock
          LEFT JOIN movements USING (sku, warehouse_id)
         GROUP BY sku, warehouse_id
        HAVING on_hand <> coalesce(sum(delta), 0)
    """,
    "an order is as its last change left it": """
        SELECT orders.id, orders.status, orders.version, history.status, history.version
          FROM orders
          LEFT JOIN LATERAL (
               SELECT status, version, at, reason
                 FROM order_history
                WHERE order_id = orders.id
                ORDER BY version DESC
                LIMIT 1) AS history ON true
         WHERE (orders.status, orders.version, orders.updated_at, orders.reason)
               IS DISTINCT FROM (history.status, history.version, history.at, history.reason)
    """,
    "versions are 1..n without gaps": """
        SELECT order_id, array_agg(version ORDER BY version) AS versions
          FROM order_history
         GROUP BY order_id
        HAVING (min(version), max(version)) <> (1, count(*))
    """,
    "each change starts where the one before it ended": """
        SELECT order_id, version, previous_status, before
          FROM (SELECT *, lag(status) OVER (PARTITION BY order_id ORDER BY version) AS before
                  FROM order_history) AS change
         WHERE previous_status IS DISTINCT FROM before
    """,
    "a hold is held while its order awaits payment, posted once it is paid, given back once it is cancelled": """
        SELECT orders.id, orders.status, holds.state
          FROM holds
          JOIN orders ON orders.id = holds.order_id
         WHERE NOT CASE orders.status
                   WHEN 'awaiting_payment' THEN holds.state = 'held'
                   WHEN 'cancelled' THEN holds.state IN ('voided', 'expired')
                   WHEN 'new' THEN false
                   WHEN 'failed' THEN false
                   ELSE holds.state = 'posted' END
    """,
    "an order holds what its lines say if it ever awaited payment, else nothing": f"""
        SELECT order_id, sku, line.units, held.units AS held
          FROM (SELECT orders.id AS order_id, sku, CASE WHEN awaited THEN units END AS units
                  FROM orders
                 CROSS JOIN LATERAL (
                       SELECT EXISTS (
                              SELECT
                                FROM order_history
                               WHERE order_id = orders.id
                                 AND status = 'awaiting_payment') AS awaited) AS change,
                       {_LINES}) AS line
          FULL JOIN (SELECT order_id, sku, sum(count) AS units
                       FROM holds
                      GROUP BY order_id, sku) AS held USING (order_id, sku)
         WHERE line.units IS DISTINCT FROM held.units
    """,
    "an order has lines, each sku once, in order of sku": f"""
        SELECT id, skus
          FROM (SELECT orders.id, array_agg(sku ORDER BY position) AS skus
                  FROM orders
                  LEFT JOIN {_LINES} ON true
                 GROUP BY orders.id) AS ordered
         WHERE skus IS DISTINCT FROM ARRAY(
               SELECT DISTINCT sku
                 FROM unnest(skus) AS sku
                WHERE sku IS NOT NULL
                ORDER BY sku)
    """,
    "a total is the sum of its lines": f"""
        SELECT orders.id, total_price, sum(units * price)
          FROM orders, {_LINES}
         GROUP BY orders.id
        HAVING total_price <> sum(units * price)
    """,
    "what was posted is what was sold, once": """
        SELECT holds.order_id, sku, warehouse_id, holds.count, sold.delta
          FROM (SELECT * FROM holds WHERE state = 'posted') AS holds
          FULL JOIN (SELECT * FROM movements WHERE kind = 'sold') AS sold USING (order_id, sku, warehouse_id)
         WHERE holds.count IS DISTINCT FROM -sold.delta
    """,
    "nothing expires before pay_by": """
        SELECT orders.id, pay_by, at
          FROM orders
          JOIN order_history ON order_history.order_id = orders.id
         WHERE order_history.reason = 'not paid in time'
           AND at < pay_by
    """,
    "an order has pay_by from when it awaits payment on, and no sooner": """
        SELECT id, status, pay_by
          FROM orders
         WHERE (pay_by IS NOT NULL) <> EXISTS (
               SELECT
                 FROM order_history
                WHERE order_id = orders.id
                  AND status = 'awaiting_payment')
    """,
    "an order that was placed new has its address, another one none": """
        SELECT placed.order_id, address.order_id AS of_address
          FROM (SELECT order_id
                  FROM order_history
                 WHERE version = 1
                   AND status = 'new') AS placed
          FULL JOIN order_addresses AS address USING (order_id)
         WHERE placed.order_id IS NULL
            OR address.order_id IS NULL
    """,
    "what was short is said of failed orders alone": """
        SELECT id, status, shortages
          FROM orders
         WHERE (status = 'failed') <> (shortages IS NOT NULL)
    """,
    "time ends what awaits payment as not paid, and what is new as not reserved": """
        SELECT order_id, version, previous_status, reason
          FROM order_history
         WHERE actor = 'loms'
           AND (previous_status, reason) <> ('awaiting_payment', 'not paid in time')
           AND (previous_status, reason) <> ('new', 'not reserved in time')
    """,
    "every change, hold and movement has its order": """
        SELECT *
          FROM (SELECT 'change' AS what, order_id FROM order_history
                 UNION ALL
                SELECT 'hold', order_id FROM holds
                 UNION ALL
                SELECT 'movement', order_id FROM movements WHERE order_id IS NOT NULL) AS part
         WHERE NOT EXISTS (SELECT FROM orders WHERE id = order_id)
    """,
    "every hold and movement has its shelf": """
        SELECT *
          FROM (SELECT 'hold' AS what, sku, warehouse_id FROM holds
                 UNION ALL
                SELECT 'movement', sku, warehouse_id FROM movements) AS part
         WHERE NOT EXISTS (
               SELECT
                 FROM stock
                WHERE (stock.sku, stock.warehouse_id) = (part.sku, part.warehouse_id))
    """,
    "an event that waits says the same as its change, once": f"""
        SELECT event.order_id, event.version, count(*) AS events
          FROM ({_WAITING}) AS event
          LEFT JOIN order_history AS history USING (order_id, version)
         GROUP BY event.order_id, event.version
        HAVING count(*) <> 1
            OR NOT bool_and(key = event.order_id::text)
            OR bool_and(event.status = 'ORDER_STATUS_' || upper(history.status)) IS DISTINCT FROM true
    """,
    "what waits of an order are its last changes, in order of version": f"""
        SELECT key, array_agg(event.version ORDER BY event.id) AS waiting
          FROM (SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY id DESC) AS from_last
                  FROM ({_WAITING}) AS event) AS event
          LEFT JOIN orders ON orders.id = order_id
         GROUP BY key
        HAVING bool_and(orders.version - event.version = from_last - 1) IS DISTINCT FROM true
    """,
    "a request that had an effect has its answer": "SELECT * FROM requests WHERE answer IS NULL",
}


async def audit(conn: asyncpg.Connection) -> None:
    """Check everything that must always hold of the database of loms, in one snapshot.

    Raises:
        AssertionError: names each rule that is broken, with the first rows that break it.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        found = {rule: await conn.fetch(query) for rule, query in _INVARIANTS.items()}
    broken = {rule: [dict(row) for row in rows[:3]] for rule, rows in found.items() if rows}
    assert not broken, "\n".join(f"{rule}: {rows}" for rule, rows in broken.items())


async def audit_purchases(loms: asyncpg.Connection, checkout: asyncpg.Connection) -> int:
    """Check that every purchase that is done has an order of its own, of the same user and sum; return how many are."""
    done = await checkout.fetch(
        "SELECT order_id, user_id, total_price, currency FROM purchases WHERE state = 'done' ORDER BY order_id"
    )
    orders = await loms.fetch(
        """
        SELECT id, user_id, total_price, currency
          FROM orders
         WHERE id = ANY($1::bigint[])
         ORDER BY id
        """,
        [row["order_id"] for row in done],
    )
    assert [tuple(row) for row in done] == [tuple(row) for row in orders]
    return len(done)


@dataclass(frozen=True)
class Wire:
    """What the topic holds."""

    changes: int
    repeats: int


async def audit_topic(conn: asyncpg.Connection, kafka: str, *, topic: str = TOPIC) -> Wire:
    """Check that nothing waits and that every change of every order is in the topic, once but for repeats.

    A repeat has the event id of the first. The first ones of an order are in order of version, and all of them say what
    the order's history and the order say.
    """
    assert 0 == await conn.fetchval("SELECT count(*) FROM outbox")
    wanted = await _changes(conn)
    records = await read_topic(kafka, topic)
    first: dict[tuple[int, int], str] = {}  # by order and version: the event's id
    last: dict[int, int] = defaultdict(int)  # by order: the version that was told last
    for record in records:
        told, event_id = json.loads(record.value), dict(record.headers)["id"].decode()
        order_id, version = told["orderId"], told["version"]
        assert str(order_id) == record.key.decode()
        assert wanted[order_id, version] == _said(told)
        if (order_id, version) not in first:
            assert last[order_id] + 1 == version, f"order {order_id} in disorder"
            first[order_id, version], last[order_id] = event_id, version
        assert first[order_id, version] == event_id, f"order {order_id}: two events of one change"
    assert set() == set(wanted) - set(first)
    assert len(first) == len(set(first.values()))
    return Wire(len(first), len(records) - len(first))


async def _changes(conn: asyncpg.Connection) -> dict[tuple[int, int], tuple[Any, ...]]:
    """What each change has to say, by order and version: see _said."""
    rows = await conn.fetch(
        """
        SELECT order_id, history.version, history.previous_status, history.status, history.reason, actor, at,
               user_id, total_price, currency, lines
          FROM order_history AS history
          JOIN orders ON orders.id = order_id
        """
    )
    return {
        (row["order_id"], row["version"]): (
            f"ORDER_STATUS_{(row['previous_status'] or 'unspecified').upper()}",
            f"ORDER_STATUS_{row['status'].upper()}",
            row["reason"],
            row["actor"],
            row["at"],
            row["user_id"],
            row["total_price"],
            row["currency"],
            json.loads(row["lines"]),
        )
        for row in rows
    }


def _said(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an event says, in the order of _changes."""
    return (
        *(event[name] for name in ("previousStatus", "status", "reason", "actor")),
        datetime.fromisoformat(event["at"]),
        *(event[name] for name in ("user", "totalPrice", "currency")),
        [[line[name] for name in ("sku", "count", "name", "price")] for line in event["items"]],
    )


async def mailbox(address: str) -> list[dict[str, Any]]:
    """All messages that reached somebody; `repeats` counts how often each came again."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/api/messages") as answer:
        messages: list[dict[str, Any]] = (await answer.json())["messages"]
    return messages


# Which change of an order is told by what; the others are not.
_CHANNELS = {
    "awaiting_payment": ("email",),
    "failed": ("email",),
    "paid": ("email", "sms"),
    "assembling": ("email",),
    "cancelled": ("email",),
    "received": ("email",),
}


@dataclass(frozen=True)
class Post:
    """What customers got."""

    messages: int
    repeats: int
    tried_twice: int


async def audit_messages(loms: asyncpg.Connection, notifications: asyncpg.Connection, mailbox_address: str) -> Post:
    """Check that each customer got each message, and none twice that was not tried twice; nothing is a dead letter.

    Every user must have one order at most, so that address and text tell messages apart.
    """
    due = Counter[tuple[int, int, str]]()
    for order_id, version, status in await loms.fetch("SELECT order_id, version, status FROM order_history"):
        for channel in _CHANNELS.get(status, ()):
            due[order_id, version, channel] += 1
    rows = await notifications.fetch(
        """
        SELECT order_id, order_version, channel, status, address, text, attempts
          FROM messages
         WHERE order_id IS NOT NULL
        """
    )
    assert due == Counter((row["order_id"], row["order_version"], row["channel"]) for row in rows)
    assert {"sent"} >= {row["status"] for row in rows}
    attempts = {(row["channel"], row["address"], row["text"].strip()): row["attempts"] for row in rows}
    assert len(rows) == len(attempts)
    box = await mailbox(mailbox_address)
    got = {(one["channel"], one["to"], one["text"].strip()): one["repeats"] for one in box}
    assert set(attempts) == set(got)
    assert len(box) == len(got)
    unexplained = {message for message, repeats in got.items() if repeats >= attempts[message]}
    assert set() == unexplained
    assert 0 == await notifications.fetchval("SELECT count(*) FROM dead_letters")
    return Post(len(got), sum(got.values()), sum(1 for tries in attempts.values() if tries > 1))
