"""Stock on hand, and the part of it that orders hold. Owns the tables stock, holds and movements.

Every writer names shelves in the order of (sku, warehouse_id), and they are locked so: see docs/decisions/0017.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from kit.db import Connection, Database, Part
from loms.errors import STOCK_BELOW_RESERVED, STOCK_NOT_FOUND

WITHIN_ON_HAND = "stock_reserved_within_on_hand"  # 0 <= reserved <= on_hand, says the table
LOCKED = "ORDER BY sku, warehouse_id FOR NO KEY UPDATE"  # ends a query for shelves that it locks


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
    """Sku -> warehouse_id -> units that nobody holds; with a lock on the shelves until the transaction ends."""
    rows = await conn.fetch(
        f"""
        SELECT sku, warehouse_id, on_hand - reserved
          FROM stock
         WHERE sku = ANY($1::bigint[])
         {LOCKED if lock else ""}
        """,  # noqa: S608  # only constants
        list(skus),
    )
    return by_sku(rows)


async def page(db: Database, *, after: int, limit: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """The first skus after this one, in rising order, each with (warehouse_id, units that nobody holds)."""
    rows = await db.pool.fetch(
        """
        SELECT sku, warehouse_id, on_hand - reserved
          FROM stock
         WHERE sku IN (
               SELECT DISTINCT sku
                 FROM stock
                WHERE sku > $1
                ORDER BY sku
                LIMIT $2)
        """,
        after,
        limit,
    )
    return [(sku, sorted(shelves.items())) for sku, shelves in sorted(by_sku(rows).items())]


def by_sku(rows: Iterable[Any]) -> dict[int, dict[int, int]]:
    """Sku -> warehouse_id -> units, of rows of them."""
    shelves: dict[int, dict[int, int]] = {}
    for sku, warehouse_id, units in rows:
        shelves.setdefault(sku, {})[warehouse_id] = units
    return shelves


def hold_parts(holds: Sequence[Hold]) -> list[Part]:
    """Write holds and raise `reserved` of each shelf once.

    Raises, when written:
        asyncpg.CheckViolationError: of WITHIN_ON_HAND; a shelf has less by now than they take.
    """
    if not holds:
        return []
    return [
        Part(
            """
            INSERT INTO holds (order_id, sku, warehouse_id, count)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[])
            """,
            list(zip(*holds, strict=True)),
        ),
        Part(
            """
            UPDATE stock
               SET reserved = stock.reserved + part.units
              FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS part (sku, warehouse_id, units)
             WHERE stock.sku = part.sku
               AND stock.warehouse_id = part.warehouse_id
            """,
            _by_shelf(holds),
        ),
    ]


async def held(conn: Connection, order_ids: Sequence[int]) -> list[Hold]:
    """The open holds of locked orders."""
    rows = await conn.fetch(
        """
        SELECT order_id, sku, warehouse_id, count
          FROM holds
         WHERE order_id = ANY($1::bigint[])
           AND state = 'held'
        """,
        order_ids,
    )
    return [Hold(*row) for row in rows]


def resolve_parts(holds: Sequence[Hold], state: str, actors: Mapping[int, str]) -> list[Part]:
    """Resolve open holds of locked orders, each shelf once: `posted` writes off, `voided` and `expired` give back.

    Args:
        holds: all that these orders hold.
        state: what becomes of the holds.
        actors: order id -> who did it.
    """
    if not holds:
        return []
    parts = [
        Part(
            """
            UPDATE holds
               SET state = $2
             WHERE order_id = ANY($1::bigint[])
               AND state = 'held'
            """,
            (list({hold.order_id for hold in holds}), state),
        ),
        Part(
            """
            UPDATE stock
               SET reserved = stock.reserved - part.units,
                   on_hand = stock.on_hand - CASE $4 WHEN 'posted' THEN part.units ELSE 0 END
              FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS part (sku, warehouse_id, units)
             WHERE stock.sku = part.sku
               AND stock.warehouse_id = part.warehouse_id
            """,
            (*_by_shelf(holds), state),
        ),
    ]
    if state == "posted":
        parts.append(_sold(holds, actors))
    return parts


def _sold(holds: Sequence[Hold], actors: Mapping[int, str]) -> Part:
    return Part(
        """
        INSERT INTO movements (order_id, sku, warehouse_id, delta, kind, actor)
        SELECT order_id, sku, warehouse_id, -units, 'sold', actor
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $5::text[])
               AS hold (order_id, sku, warehouse_id, units, actor)
        """,
        (*zip(*holds, strict=True), [actors[hold.order_id] for hold in holds]),
    )


def _by_shelf(holds: Sequence[Hold]) -> tuple[list[int], list[int], list[int]]:
    """Skus, warehouses and units, each shelf once and in the order in which every writer locks them."""
    units: dict[tuple[int, int], int] = {}
    for _, sku, warehouse_id, taken in holds:
        units[sku, warehouse_id] = units.get((sku, warehouse_id), 0) + taken
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
        if error.constraint_name != WITHIN_ON_HAND:
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
