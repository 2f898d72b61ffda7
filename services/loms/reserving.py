"""What createOrder does at once, in two steps: an order is placed and holds nothing, then its stock is held."""

from collections.abc import Sequence
from datetime import timedelta

from abacus.loms.v1 import loms_pb2
from kit.db import Connection, Database, write
from kit.errors import Error
from loms import history, life, orders, stock
from loms.allocation import allocate
from loms.history import Line
from loms.judging import Asked, clock, judge, look, moved, until_first
from loms.orders import Address, Order
from loms.placing import shortages, take


async def place(
    conn: Connection, *, user: int, currency: str, lines: Sequence[Line], address: Address, actor: str
) -> Order:
    """Write an order that holds nothing yet, in the caller's transaction."""
    ((order_id, at),) = await conn.fetch("SELECT nextval('orders_id_seq'), clock_timestamp()")
    order = Order(
        id=order_id,
        user=user,
        status=life.TRANSITIONS[None, life.PLACED],
        version=1,
        reason="",
        total_price=sum(line.price * line.units for line in lines),
        currency=currency,
        created_at=at,
        updated_at=at,
        pay_by=None,
        lines=lines,
    )
    await write(
        conn,
        *orders.insert_parts([order]),
        orders.address_part(order_id, address),
        *history.parts([orders.change(order, None, actor)]),
    )
    return order


async def reserve_many(
    db: Database, batch: Sequence[Asked], *, pay_within_s: float
) -> list[loms_pb2.ReserveOrderResponse | Error]:
    """Hold the stock of new orders, in order of arrival, each whole or not at all: a short one fails.

    What was reserved, or failed so, stays as it is. Other than createOrder's, its shelves are locked before they are
    looked at: these calls are few, and orders must be locked anyway.

    Returns:
        For each its answer, or: ORDER_NOT_FOUND; ORDER_NOT_RESERVABLE; ITEMS_DIFFER; STALE_VERSION; REQUEST_ID_REUSED.
    """

    async def reserve(conn: Connection) -> list[loms_pb2.ReserveOrderResponse | Error]:
        before, known = await look(conn, batch)
        skus = {line.sku for order in before.values() if order.status == life.NEW for line in order.lines}
        left = await stock.free(conn, skus, lock=True) if skus else {}
        at = await clock(conn)
        pay_by = at + timedelta(seconds=pay_within_s)
        holds: list[stock.Hold] = []

        def happen(order: Order, asked: Asked) -> Order:
            items = {line.sku: line.units for line in order.lines}
            parts = allocate(items, left)
            if parts is None:
                return moved(order, life.SHORT, "out of stock", at)._replace(shortages=shortages(items, left))
            holds.extend(take(order.id, parts, left))
            return moved(order, life.HELD, "", at)._replace(pay_by=pay_by)

        judged = judge(
            life.HELD,
            batch,
            before,
            known,
            happen=happen,
            answer_type=loms_pb2.ReserveOrderResponse,
            answer=_reserved,
        )
        changed = [judged.now[order_id] for order_id in judged.actors]
        if changed:
            await write(
                conn,
                *judged.kept,
                *stock.hold_parts(holds),
                orders.reserve_part(changed),
                *history.parts(
                    [orders.change(order, before[order.id].status, judged.actors[order.id]) for order in changed]
                ),
            )
        elif judged.kept:
            await write(conn, *judged.kept)
        return judged.outcomes

    return await until_first(db, reserve)


def _reserved(order: Order) -> loms_pb2.ReserveOrderResponse:
    return loms_pb2.ReserveOrderResponse(
        order_id=order.id,
        status=history.to_enum(order.status),
        shortages=orders.to_shortages(order.shortages),
        pay_by=history.to_timestamp(order.pay_by),
    )
