"""Orders as they are kept, each with its lines. Owns the table orders.

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


_COLUMNS = """id, user_id, status, version, reason, total_price, currency, created_at, updated_at, pay_by,
               shortages, lines"""
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps would make one for each


def insert_parts(orders: Sequence[Order]) -> list[Part]:
    """Write new orders, at version 1."""
    # What many share goes as one value: each element of an array takes time, a point in time most.
    alike: dict[tuple[object, ...], list[Order]] = {}
    for order in orders:
        alike.setdefault((order.status, order.reason, order.created_at, order.pay_by), []).append(order)
    return [_insert_part(some, *shared) for shared, some in alike.items()]


def _insert_part(orders: Sequence[Order], *shared: object) -> Part:
    return Part(
        """
        INSERT INTO orders (id, user_id, total_price, currency, lines, shortages,
                            status, reason, created_at, updated_at, pay_by)
        SELECT id, user_id, total_price, currency, lines, shortages, $7, $8, $9, $9, $10
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::jsonb[], $6::jsonb[])
               AS placed (id, user_id, total_price, currency, lines, shortages)
        """,
        (
            [order.id for order in orders],
            [order.user for order in orders],
            [order.total_price for order in orders],
            [order.currency for order in orders],
            [_to_json(order.lines) for order in orders],
            [_to_json(order.shortages) if order.shortages else None for order in orders],
            *shared,
        ),
    )


async def lock(conn: Connection, order_ids: Sequence[int]) -> dict[int, Order]:
    """Lock those of these orders that there are, until the transaction ends; return them by id."""
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
    return _orders(rows)


async def lock_overdue(conn: Connection, limit: int) -> dict[int, Order]:
    """Lock orders that were not paid in time and that nobody else has locked; return them by id."""
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
    return _orders(rows)


def update_part(orders: Sequence[Order]) -> Part:
    """Write the status, version, reason and time of change of locked orders; status and time are the same for all."""
    ((status, at),) = {(order.status, order.updated_at) for order in orders}
    return Part(
        """
        UPDATE orders
           SET status = $4,
               version = changed.version,
               reason = changed.reason,
               updated_at = $5
          FROM unnest($1::bigint[], $2::int[], $3::text[]) AS changed (id, version, reason)
         WHERE orders.id = changed.id
        """,
        (
            [order.id for order in orders],
            [order.version for order in orders],
            [order.reason for order in orders],
            status,
            at,
        ),
    )


async def get_many(db: Database, order_ids: Sequence[int]) -> list[Order | Error]:
    """Each of these orders; ORDER_NOT_FOUND for one that there is not."""
    rows = await db.pool.fetch(
        f"SELECT {_COLUMNS} FROM orders WHERE id = ANY($1::bigint[])",  # noqa: S608  # only constants
        order_ids,
    )
    found = _orders(rows)
    return [found.get(order_id) or no_order(order_id) for order_id in order_ids]


async def owners(db: Database, order_ids: Sequence[int]) -> list[int | None]:
    """Whose each of these orders is; None where there is no such order."""
    rows = await db.pool.fetch("SELECT id, user_id FROM orders WHERE id = ANY($1::bigint[])", order_ids)
    users = {row["id"]: row["user_id"] for row in rows}
    return [users.get(order_id) for order_id in order_ids]


async def of_user(db: Database, user: int, *, status: str | None, before: int | None, limit: int) -> list[Order]:
    """A user's orders with an id below `before`, the newest first."""
    rows = await db.pool.fetch(
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
    return list(_orders(rows).values())


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


def _orders(rows: Sequence[asyncpg.Record]) -> dict[int, Order]:
    """Orders by id, in the order of the rows."""
    orders = {}
    for id_, *columns, shortages, lines in rows:
        short = [Shortage(*one) for one in json.loads(shortages)] if shortages else ()
        orders[id_] = Order._make((id_, *columns, short, [Line(*one) for one in json.loads(lines)]))
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
