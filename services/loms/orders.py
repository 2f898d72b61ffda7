"""Orders and their lines as they are kept. Owns the tables orders and order_items.

Locks are taken in one order: orders by id; then, by the one statement that writes, request keys and shelves by
(sku, warehouse_id). Where two cross nevertheless, the one that PostgreSQL ends goes again (`batches.py`).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from abacus.loms.v1 import loms_pb2
from kit.db import Connection, Database, Part
from kit.errors import Error
from loms import life
from loms.errors import no_order
from loms.history import Change, Line


class Shortage(NamedTuple):
    """A line that was short when its order's turn came."""

    sku: int
    wanted: int
    available: int


class Order(NamedTuple):
    """An order as it is now."""

    id: int
    user: int
    status: str
    version: int
    reason: str
    total_price: int
    currency: str
    created_at: datetime
    updated_at: datetime
    pay_by: datetime | None
    shortages: Sequence[Shortage] = ()
    lines: Sequence[Line] = ()


_COLUMNS = "id, user_id, status, version, reason, total_price, currency, created_at, updated_at, pay_by, shortages"


def insert_parts(orders: Sequence[Order]) -> list[Part]:
    """Write orders that were made at one moment, with their lines."""
    lines = [(order.id, *line) for order in orders for line in order.lines]
    return [
        Part(
            """
            INSERT INTO orders (id, user_id, status, reason, total_price, currency, shortages,
                                created_at, updated_at, pay_by)
            SELECT id, user_id, status, reason, total_price, currency, shortages::jsonb, $8, $8, pay_by
              FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                          $9::timestamptz[])
                   AS placed (id, user_id, status, reason, total_price, currency, shortages, pay_by)
            """,
            (
                [order.id for order in orders],
                [order.user for order in orders],
                [order.status for order in orders],
                [order.reason for order in orders],
                [order.total_price for order in orders],
                [order.currency for order in orders],
                [json.dumps(order.shortages) if order.shortages else None for order in orders],
                orders[0].created_at,
                [order.pay_by for order in orders],
            ),
        ),
        Part(
            """
            INSERT INTO order_items (order_id, sku, count, name, price)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::bigint[])
            """,
            list(zip(*lines, strict=True)),
        ),
    ]


async def lock(conn: Connection, order_ids: Sequence[int]) -> dict[int, Order]:
    """Lock those of these orders that there are, until the transaction ends; return them by id, with their lines."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM orders
         WHERE id = ANY($1::bigint[])
         ORDER BY id
           FOR NO KEY UPDATE
        """,  # noqa: S608  # only constants
        order_ids,
    )
    return await _with_lines(conn, rows)


async def lock_overdue(conn: Connection, limit: int) -> dict[int, Order]:
    """Lock orders that were not paid in time and that nobody else has locked; return them by id, with their lines."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM orders
         WHERE status = '{life.AWAITING_PAYMENT}'
           AND pay_by < now()  -- never early; stable, so that the index serves it
         ORDER BY pay_by
         LIMIT $1
           FOR NO KEY UPDATE SKIP LOCKED
        """,  # noqa: S608  # only constants
        limit,
    )
    return await _with_lines(conn, rows)


def update_part(orders: Sequence[Order]) -> Part:
    """Write the status, version, reason and time of change of locked orders."""
    return Part(
        """
        UPDATE orders
           SET status = changed.status,
               version = changed.version,
               reason = changed.reason,
               updated_at = changed.at
          FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::timestamptz[])
               AS changed (id, status, version, reason, at)
         WHERE orders.id = changed.id
        """,
        (
            [order.id for order in orders],
            [order.status for order in orders],
            [order.version for order in orders],
            [order.reason for order in orders],
            [order.updated_at for order in orders],
        ),
    )


async def get_many(db: Database, order_ids: Sequence[int]) -> list[Order | Error]:
    """Each of these orders; ORDER_NOT_FOUND for one that there is not."""
    async with db.pool.acquire() as conn:
        rows = await conn.fetch(
            f"SELECT {_COLUMNS} FROM orders WHERE id = ANY($1::bigint[])",  # noqa: S608  # only constants
            order_ids,
        )
        found = await _with_lines(conn, rows)
    return [found.get(order_id) or no_order(order_id) for order_id in order_ids]


async def owners(db: Database, order_ids: Sequence[int]) -> list[int | None]:
    """Whose each of these orders is; None where there is no such order."""
    rows = await db.pool.fetch("SELECT id, user_id FROM orders WHERE id = ANY($1::bigint[])", order_ids)
    users = {row["id"]: row["user_id"] for row in rows}
    return [users.get(order_id) for order_id in order_ids]


async def of_user(db: Database, user: int, *, status: str | None, before: int | None, limit: int) -> list[Order]:
    """A user's orders with an id below `before`, the newest first."""
    async with db.pool.acquire() as conn:
        rows = await conn.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM orders
             WHERE user_id = $1
               AND ($2::text IS NULL OR status = $2)
               AND ($3::bigint IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4
            """,  # noqa: S608  # only constants
            user,
            status,
            before,
            limit,
        )
        return list((await _with_lines(conn, rows)).values())


async def overdue(db: Database) -> int:
    """How many unpaid orders should have been cancelled at least 5 s ago."""
    count: int = await db.pool.fetchval(
        f"""
        SELECT count(*)
          FROM orders
         WHERE status = '{life.AWAITING_PAYMENT}'
           AND pay_by < now() - interval '5 s'
        """  # noqa: S608  # only constants
    )
    return count


async def _with_lines(conn: Connection, rows: Sequence[asyncpg.Record]) -> dict[int, Order]:
    """Orders by id, in the order of the rows."""
    if not rows:
        return {}
    lines: dict[int, list[Line]] = {row["id"]: [] for row in rows}
    for order_id, *line in await conn.fetch(
        """
        SELECT order_id, sku, count, name, price
          FROM order_items
         WHERE order_id = ANY($1::bigint[])
         ORDER BY order_id, sku
        """,
        list(lines),
    ):
        lines[order_id].append(Line(*line))
    orders = {}
    for id_, *columns, shortages in rows:
        short = [Shortage(*one) for one in json.loads(shortages)] if shortages else ()
        orders[id_] = Order._make((id_, *columns, short, lines[id_]))
    return orders


def change(order: Order, previous_status: str | None, actor: str) -> Change:
    """What happened to an order, as its history and its event tell it."""
    return Change(
        order_id=order.id,
        version=order.version,
        previous_status=previous_status,
        status=order.status,
        reason=order.reason,
        actor=actor,
        at=order.updated_at,
        user=order.user,
        pay_by=order.pay_by,
        total_price=order.total_price,
        currency=order.currency,
        lines=order.lines,
    )


def to_shortages(shortages: Sequence[Shortage]) -> list[loms_pb2.Shortage]:
    """The contract's form of what was short."""
    return [loms_pb2.Shortage(sku=sku, wanted=wanted, available=available) for sku, wanted, available in shortages]
