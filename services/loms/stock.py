"""Stock on hand, and the part of it that orders hold. Owns the tables stock, holds and movements.

Every writer locks shelves in the order of (sku, warehouse_id), so that no two of them wait for each other.
"""

from collections.abc import Iterable, Sequence
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


async def free(db: Database, sku: int) -> list[tuple[int, int]]:
    """(warehouse_id, units that nobody holds) of a sku; empty where it was never received."""
    rows = await db.pool.fetch(
        """
        SELECT warehouse_id, on_hand - reserved
          FROM stock
         WHERE sku = $1
         ORDER BY warehouse_id
        """,
        sku,
    )
    return [(warehouse_id, units) for warehouse_id, units in rows]


async def lock_free(conn: Connection, skus: Iterable[int]) -> dict[int, dict[int, int]]:
    """Lock the shelves of these skus until the transaction ends; return sku -> warehouse_id -> units free."""
    rows = await conn.fetch(
        """
        SELECT sku, warehouse_id, on_hand - reserved AS free
          FROM stock
         WHERE sku = ANY($1::bigint[])
         ORDER BY sku, warehouse_id
           FOR NO KEY UPDATE  -- FOR UPDATE would also block the foreign keys of holds
        """,
        sorted(skus),
    )
    shelves: dict[int, dict[int, int]] = {}
    for sku, warehouse_id, units in rows:
        shelves.setdefault(sku, {})[warehouse_id] = units
    return shelves


async def hold(conn: Connection, holds: Sequence[Hold]) -> None:
    """Write holds and raise `reserved` of each shelf once. The shelves must be locked by lock_free()."""
    if not holds:
        return
    order_ids, skus, warehouse_ids, units = zip(*holds, strict=True)
    await conn.execute(
        """
        INSERT INTO holds (order_id, sku, warehouse_id, count)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[])
        """,
        order_ids,
        skus,
        warehouse_ids,
        units,
    )
    await conn.execute(
        """
        UPDATE stock
           SET reserved = reserved + part.count
          FROM (SELECT sku, warehouse_id, sum(count) AS count
                  FROM unnest($1::bigint[], $2::bigint[], $3::int[]) AS hold (sku, warehouse_id, count)
                 GROUP BY sku, warehouse_id) AS part
         WHERE (stock.sku, stock.warehouse_id) = (part.sku, part.warehouse_id)
        """,
        skus,
        warehouse_ids,
        units,
    )


async def post(conn: Connection, order_ids: Sequence[int], *, actor: str) -> None:
    """Write off what these orders hold: sold. The orders must be locked."""
    held = await _resolve(conn, order_ids, "posted")
    await conn.execute(
        """
        INSERT INTO movements (sku, warehouse_id, delta, kind, order_id, actor)
        SELECT sku, warehouse_id, -count, 'sold', order_id, $5
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[]) AS hold (order_id, sku, warehouse_id, count)
        """,
        *_columns(held),
        actor,
    )


async def release(conn: Connection, order_ids: Sequence[int], *, state: str) -> None:
    """Give back what these orders hold; state says why: `voided` or `expired`. The orders must be locked."""
    await _resolve(conn, order_ids, state)


async def _resolve(conn: Connection, order_ids: Sequence[int], state: str) -> list[Hold]:
    """Resolve the open holds of locked orders and lower their shelves' counters, each shelf once."""
    rows = await conn.fetch(
        """
        SELECT order_id, sku, warehouse_id, count
          FROM holds
         WHERE order_id = ANY($1::bigint[])
           AND state = 'held'
        """,
        order_ids,
    )
    held = [Hold(*row) for row in rows]
    _, skus, warehouse_ids, counts = _columns(held)
    await conn.execute(
        """
        SELECT
          FROM stock
         WHERE (sku, warehouse_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
         ORDER BY sku, warehouse_id
           FOR NO KEY UPDATE
        """,
        skus,
        warehouse_ids,
    )
    await conn.execute(
        """
        UPDATE holds
           SET state = $2
         WHERE order_id = ANY($1::bigint[])
           AND state = 'held'
        """,
        order_ids,
        state,
    )
    await conn.execute(
        """
        UPDATE stock
           SET reserved = reserved - part.count,
               on_hand = on_hand - CASE WHEN $4 THEN part.count ELSE 0 END
          FROM (SELECT sku, warehouse_id, sum(count) AS count
                  FROM unnest($1::bigint[], $2::bigint[], $3::int[]) AS hold (sku, warehouse_id, count)
                 GROUP BY sku, warehouse_id) AS part
         WHERE (stock.sku, stock.warehouse_id) = (part.sku, part.warehouse_id)
        """,
        skus,
        warehouse_ids,
        counts,
        state == "posted",
    )
    return held


def _columns(holds: Sequence[Hold]) -> tuple[list[int], list[int], list[int], list[int]]:
    return (
        [hold.order_id for hold in holds],
        [hold.sku for hold in holds],
        [hold.warehouse_id for hold in holds],
        [hold.units for hold in holds],
    )


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
