"""Orders as they are kept, each with its lines. Owns the tables orders and order_addresses.

Locks are taken in one order: orders by id; then, by the one statement that writes, request keys and shelves by
(sku, warehouse_id). Where two cross nevertheless, the one that PostgreSQL ends goes again (`batches.py`).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

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


class Address(NamedTuple):
    """Where a placed order goes, and how it is to be paid."""

    country: str = ""
    region: str = ""
    city: str = ""
    street: str = ""
    card: str = ""  # a token, never the number
    phone: str = ""


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


def address_part(order_id: int, address: Address) -> Part:
    """Write the address of a new order."""
    return Part(
        """
        INSERT INTO order_addresses (order_id, country, region, city, street, card, phone)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        (order_id, *address),
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


async def lock_forgotten(conn: Connection, new_ttl_s: float, limit: int) -> dict[int, Order]:
    """Lock orders that nobody reserved within new_ttl_s and that nobody else has locked; return them by id."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM orders
         WHERE status = '{life.NEW}'
           AND created_at < now() - make_interval(secs => $1)  -- as above
         ORDER BY created_at
         LIMIT $2
           FOR NO KEY UPDATE SKIP LOCKED
        """,  # noqa: S608  # only constants
        new_ttl_s,
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


def reserve_part(orders: Sequence[Order]) -> Part:
    """Write what became of locked orders whose stock was asked for, at one moment."""
    ((at,),) = {(order.updated_at,) for order in orders}
    return Part(
        """
        UPDATE orders
           SET status = reserved.status,
               version = reserved.version,
               reason = reserved.reason,
               pay_by = reserved.pay_by,
               shortages = reserved.shortages,
               updated_at = $7
          FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::jsonb[])
               AS reserved (id, status, version, reason, pay_by, shortages)
         WHERE orders.id = reserved.id
        """,
        (
            [order.id for order in orders],
            [order.status for order in orders],
            [order.version for order in orders],
            [order.reason for order in orders],
            [order.pay_by for order in orders],
            [_to_json(order.shortages) if order.shortages else None for order in orders],
            at,
        ),
    )


async def get_with_address(db: Database, order_id: int) -> tuple[Order, Address]:
    """One order; the address is empty where it was made without.

    Raises:
        Error: ORDER_NOT_FOUND.
    """
    row = await db.pool.fetchrow(
        f"""
        SELECT {_COLUMNS}, country, region, city, street, card, phone
          FROM orders
          LEFT JOIN order_addresses ON order_id = id
         WHERE id = $1
        """,  # noqa: S608  # only constants
        order_id,
    )
    if row is None:
        raise no_order(order_id)
    of_address = len(Address._fields)
    (order,) = _orders([tuple(row)[:-of_address]]).values()
    return order, Address(*(text or "" for text in tuple(row)[-of_address:]))


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


async def forgotten(db: Database, *, new_ttl_s: float) -> int:
    """How many new orders should have been cancelled at least 5 s ago."""
    count: int = await db.pool.fetchval(
        f"""
        SELECT count(*)
          FROM orders
         WHERE status = '{life.NEW}'
           AND created_at < now() - make_interval(secs => $1) - interval '5 s'
        """,  # noqa: S608  # only constants
        new_ttl_s,
    )
    return count


def _orders(rows: Sequence[Any]) -> dict[int, Order]:
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
