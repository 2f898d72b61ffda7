"""What must hold of the shop's data, whatever happened to its processes: asked of the database, the topic, the mailbox.

`audit` may be run at any moment, `audit_topic` and `audit_messages` when all is quiet.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from kit.testing import read_topic

TOPIC = "abacus.loms.order-status.v1"

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
                   WHEN 'paid' THEN holds.state = 'posted'
                   WHEN 'cancelled' THEN holds.state IN ('voided', 'expired')
                   ELSE false END
    """,
    "an order holds what its lines say, a failed one nothing": """
        SELECT order_items.order_id, sku, order_items.count, sum(holds.count) AS held
          FROM order_items
          JOIN orders ON orders.id = order_items.order_id
          LEFT JOIN holds USING (order_id, sku)
         GROUP BY orders.id, order_items.order_id, sku, order_items.count
        HAVING coalesce(sum(holds.count), 0) <> CASE orders.status WHEN 'failed' THEN 0 ELSE order_items.count END
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
    "each change has exactly one event, which says the same": """
        SELECT history.order_id, history.version, events
          FROM order_history AS history
          FULL JOIN (SELECT (payload::jsonb ->> 'orderId')::bigint AS order_id,
                            (payload::jsonb ->> 'version')::int AS version,
                            min(payload::jsonb ->> 'status') AS status,
                            bool_and(key = payload::jsonb ->> 'orderId') AS is_keyed,
                            count(*) AS events
                       FROM outbox
                      GROUP BY 1, 2) AS event USING (order_id, version)
         WHERE (events, is_keyed, event.status)
               IS DISTINCT FROM (1, true, 'ORDER_STATUS_' || upper(history.status))
    """,
    "events of an order are in the outbox in order of version": """
        SELECT key
          FROM (SELECT key, (payload::jsonb ->> 'version')::int AS version,
                       row_number() OVER (PARTITION BY key ORDER BY id) AS place
                  FROM outbox) AS event
         WHERE version <> place
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


@dataclass(frozen=True)
class Wire:
    """What the topic holds."""

    changes: int
    repeats: int


async def audit_topic(conn: asyncpg.Connection, kafka: str) -> Wire:
    """Check that every change of every order is in the topic as the outbox has it, first occurrences in order."""
    outbox = {
        str(row["event_id"]): (row["key"], row["payload"])
        for row in await conn.fetch("SELECT event_id, key, payload FROM outbox")
    }
    records = await read_topic(kafka, TOPIC)
    seen: set[str] = set()
    versions: dict[bytes, list[int]] = defaultdict(list)
    for record in records:
        event_id = dict(record.headers)["id"].decode()
        assert outbox[event_id] == (record.key.decode(), record.value.decode())
        if event_id not in seen:
            seen.add(event_id)
            versions[record.key].append(json.loads(record.value)["version"])
    assert set(outbox) == seen
    in_disorder = {key: order for key, order in versions.items() if order != list(range(1, len(order) + 1))}
    assert {} == in_disorder
    changes = await conn.fetchval("SELECT count(*) FROM order_history")
    assert changes == len(seen)
    return Wire(changes, len(records) - len(seen))


async def mailbox(address: str) -> list[dict[str, Any]]:
    """All messages that reached somebody; `repeats` counts how often each came again."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/api/messages") as answer:
        messages: list[dict[str, Any]] = (await answer.json())["messages"]
    return messages


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
        for channel in {"paid": ("email", "sms")}.get(status, ("email",)):
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
