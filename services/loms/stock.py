"""Stock on hand, and the part of it that orders hold. Owns the tables stock, holds and movements.

Every writer locks shelves in the order of (sku, warehouse_id), so that no two of them wait for each other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from kit.db import Connection, Database
from loms.errors import STOCK_BELOW_RESERVED, STOCK_NOT_FOUND


class Hold(NamedTuple):
    """Units of one shelf that one order holds."""

    order_id: int
    sku: int
    warehouse_id: int
    units: int


@dataclass(frozen=True)
class Shelf:
    """What a warehouse has of a sku."""

    on_hand: int
    reserved: int


class Receipt(NamedTuple):
    """Units that came to a warehouse."""

    warehouse_id: int
    sku: int
    units: int


async def free_of(db: Database, skus: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Of each sku: (warehouse_id, units that nobody holds); empty where it was never received."""
    async with db.pool.acquire() as conn:
        shelves = await free(conn, set(skus))
    return [sorted(shelves.get(sku, {}).items()) for sku in skus]


async def free(conn: Connection, skus: Iterable[int], *, lock: bool = False) -> dict[int, dict[int, int]]:
    """Sku -> warehouse_id -> units that nobody holds; with `lock` they stay so until the transaction ends."""
    rows = await conn.fetch(
        f"""
        SELECT sku, warehouse_id, on_hand - reserved AS free
          FROM stock
         WHERE sku = ANY($1::bigint[])
         {"ORDER BY sku, warehouse_id FOR NO KEY UPDATE" if lock else ""}
        """,  # noqa: S608  # only constants
        sorted(skus),
    )
    shelves: dict[int, dict[int, int]] = {}
    for sku, warehouse_id, units in rows:
        shelves.setdefault(sku, {})[warehouse_id] = units
    return shelves


async def hold(conn: Connection, holds: Sequence[Hold]) -> bool:
    """Write holds and raise `reserved` of each shelf once; False where a shelf has less by now than they take.

    After False the transaction must be rolled back.
    """
    if not holds:
        return True
    order_ids, skus, warehouse_ids, units = zip(*holds, strict=True)
    shelves = _by_shelf(holds)
    raised = await conn.fetchval(
        """
        WITH held AS (
            INSERT INTO holds (order_id, sku, warehouse_id, count)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[])
        ), raised AS (
            UPDATE stock
               SET reserved = stock.reserved + part.units
              FROM unnest($5::bigint[], $6::bigint[], $7::bigint[]) AS part (sku, warehouse_id, units)
             WHERE stock.sku = part.sku
               AND stock.warehouse_id = part.warehouse_id
               AND stock.on_hand - stock.reserved >= part.units  -- looked at again once the row is locked
            RETURNING 1
        )
        SELECT count(*) FROM raised
        """,
        order_ids,
        skus,
        warehouse_ids,
        units,
        *shelves,
    )
    return bool(raised == len(shelves[0]))


async def resolve(conn: Connection, state: str, actors: Mapping[int, str]) -> None:
    """Resolve the open holds of locked orders, each shelf once: `posted` writes off, `voided` and `expired` give back.

    Args:
        state: what becomes of the holds.
        actors: order id -> who did it.
    """
    rows = await conn.fetch(
        """
        SELECT order_id, sku, warehouse_id, count
          FROM holds
         WHERE order_id = ANY($1::bigint[])
           AND state = 'held'
        """,
        list(actors),
    )
    held = [Hold(*row) for row in rows]
    if not held:
        return
    order_ids, skus, warehouse_ids, units = zip(*held, strict=True)
    await conn.execute(
        """
        WITH resolved AS (
            UPDATE holds
               SET state = $5
             WHERE order_id = ANY($1::bigint[])
               AND state = 'held'
        ), sold AS (
            INSERT INTO movements (sku, warehouse_id, delta, kind, order_id, actor)
            SELECT sku, warehouse_id, -units, 'sold', order_id, actor
              FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $6::text[])
                   AS hold (order_id, sku, warehouse_id, units, actor)
             WHERE $5 = 'posted'
        )
        UPDATE stock
           SET reserved = stock.reserved - part.units,
               on_hand = stock.on_hand - CASE $5 WHEN 'posted' THEN part.units ELSE 0 END
          FROM unnest($7::bigint[], $8::bigint[], $9::bigint[]) AS part (sku, warehouse_id, units)
         WHERE stock.sku = part.sku
           AND stock.warehouse_id = part.warehouse_id
        """,
        order_ids,
        skus,
        warehouse_ids,
        units,
        state,
        [actors[order_id] for order_id in order_ids],
        *_by_shelf(held),
    )


def _by_shelf(holds: Sequence[Hold]) -> tuple[list[int], list[int], list[int]]:
    """Skus, warehouses and units, each shelf once and in the order in which every writer locks them."""
    units: Counter[tuple[int, int]] = Counter()
    for hold in holds:
        units[hold.sku, hold.warehouse_id] += hold.units
    shelves = sorted(units)
    return [sku for sku, _ in shelves], [place for _, place in shelves], [units[shelf] for shelf in shelves]


async def receive(conn: Connection, receipt: Receipt, *, actor: str) -> Shelf:
    """Add received units to a shelf, which is made where it is new."""
    (row,) = await conn.fetch(
        """
        INSERT INTO stock (sku, warehouse_id, on_hand)
        VALUES ($1, $2, $3)
        ON CONFLICT (sku, warehouse_id) DO UPDATE SET on_hand = stock.on_hand + excluded.on_hand
        RETURNING on_hand, reserved
        """,
        receipt.sku,
        receipt.warehouse_id,
        receipt.units,
    )
    await _record(conn, receipt.sku, receipt.warehouse_id, receipt.units, kind="received", actor=actor)
    return Shelf(*row)


async def adjust(conn: Connection, *, sku: int, warehouse_id: int, delta: int, reason: str, actor: str) -> Shelf:
    """Correct a shelf after a count.

    Raises:
        Error: STOCK_NOT_FOUND; STOCK_BELOW_RESERVED, orders hold more than would be left.
    """
    try:
        row = await conn.fetchrow(
            """
            UPDATE stock
               SET on_hand = on_hand + $3
             WHERE sku = $1
               AND warehouse_id = $2
            RETURNING on_hand, reserved
            """,
            sku,
            warehouse_id,
            delta,
        )
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "stock_reserved_within_on_hand":
            raise
        raise STOCK_BELOW_RESERVED(
            f"orders hold more of sku {sku} in warehouse {warehouse_id} than would be left", sku=sku
        ) from error
    if row is None:
        raise STOCK_NOT_FOUND(f"warehouse {warehouse_id} never received sku {sku}", sku=sku)
    await _record(conn, sku, warehouse_id, delta, kind="adjusted", reason=reason, actor=actor)
    return Shelf(*row)


async def _record(
    conn: Connection, sku: int, warehouse_id: int, delta: int, *, kind: str, actor: str, reason: str = ""
) -> None:
    await conn.execute(
        """
        INSERT INTO movements (sku, warehouse_id, delta, kind, reason, actor)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        sku,
        warehouse_id,
        delta,
        kind,
        reason,
        actor,
    )


async def fill_empty(conn: Connection, receipts: Sequence[Receipt], *, actor: str) -> int:
    """Receive units for the shelves that do not exist yet, leave the others alone; return how many were filled."""
    rows = await conn.fetch(
        """
        WITH filled AS (
            INSERT INTO stock (warehouse_id, sku, on_hand)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS receipt (warehouse_id, sku, count)
             ORDER BY sku, warehouse_id
            ON CONFLICT DO NOTHING
            RETURNING sku, warehouse_id, on_hand
        )
        INSERT INTO movements (sku, warehouse_id, delta, kind, actor)
        SELECT sku, warehouse_id, on_hand, 'received', $4
          FROM filled
        RETURNING 1
        """,
        [receipt.warehouse_id for receipt in receipts],
        [receipt.sku for receipt in receipts],
        [receipt.units for receipt in receipts],
        actor,
    )
    return len(rows)
