"""Reservations: a view of what one order holds, or held. There is one once its stock was asked for; it has its id."""

from datetime import datetime
from typing import NamedTuple

from kit.db import Database
from loms import life
from loms.errors import ORDER_NOT_PAID, RESERVATION_NOT_FOUND, stale

HELD, POSTED, FAILED = "held", "posted", "failed"  # beside the other states of a hold


class Reservation(NamedTuple):
    """A reservation as it is now."""

    order_id: int
    version: int  # of the order
    state: str  # of the holds; FAILED where stock was short
    items: list[tuple[int, int]]  # sku and units, in all warehouses together
    created_at: datetime  # when stock was asked for
    pay_by: datetime | None


async def get(db: Database, order_id: int) -> Reservation:
    """Give the reservation of an order.

    Raises:
        Error: RESERVATION_NOT_FOUND; nobody asked for its stock yet, or ever, or there is no such order.
    """
    row = await db.pool.fetchrow(
        f"""
        SELECT version, held.state, held.skus, held.units, answered.at, pay_by
          FROM orders
          JOIN LATERAL (
               SELECT at
                 FROM order_history
                WHERE order_id = orders.id
                  AND status IN ('{life.AWAITING_PAYMENT}', '{life.FAILED}')
                ORDER BY version
                LIMIT 1) AS answered ON true
         CROSS JOIN LATERAL (
               SELECT min(state) AS state, array_agg(sku ORDER BY sku) AS skus, array_agg(units ORDER BY sku) AS units
                 FROM (SELECT sku, min(state) AS state, sum(count) AS units
                         FROM holds
                        WHERE order_id = orders.id
                        GROUP BY sku) AS of_sku) AS held
         WHERE orders.id = $1
        """,  # noqa: S608  # only constants
        order_id,
    )
    if row is None:
        raise RESERVATION_NOT_FOUND(f"there is no reservation {order_id}", reservation_id=order_id)
    version, state, skus, units, at, pay_by = row
    return Reservation(order_id, version, state or FAILED, list(zip(skus or (), units or (), strict=True)), at, pay_by)


async def posted(db: Database, order_id: int, *, version: int | None) -> Reservation:
    """Give the reservation of an order whose units have left the warehouse.

    Raises:
        Error: RESERVATION_NOT_FOUND; ORDER_NOT_PAID; STALE_VERSION, they have not, and the order moved on since.
    """
    found = await get(db, order_id)
    if found.state != POSTED:
        if version not in (None, found.version):
            raise stale(order_id, found.version, version)
        raise ORDER_NOT_PAID(f"order {order_id} is not paid: its reservation is {found.state}", order_id=order_id)
    return found
