"""What happens to orders that stand: they are paid, confirmed, cancelled, or run out of time. Many at once."""

from collections.abc import Mapping, Sequence

from abacus.loms.v1 import loms_pb2
from kit.db import Connection, Database, Part, write
from kit.errors import Error
from loms import history, life, orders, stock
from loms.errors import PAYMENT_TOO_LATE
from loms.judging import Asked, M, clock, judge, look, moved, until_first
from loms.orders import Order

LOMS = "loms"  # who did it, where time did

_HOLDS_BECOME = {life.PAY: "posted", life.CANCEL: "voided", life.EXPIRE: "expired"}


async def pay_many(db: Database, batch: Sequence[Asked]) -> list[loms_pb2.OrderPayedResponse | Error]:
    """Mark orders as paid and write their stock off; what is paid stays as it is.

    Returns:
        For each its answer, or: ORDER_NOT_FOUND; ORDER_NOT_PAYABLE; PAYMENT_TOO_LATE; STALE_VERSION; REQUEST_ID_REUSED.
    """
    return await _change_many(db, life.PAY, batch, loms_pb2.OrderPayedResponse())


async def confirm_many(db: Database, batch: Sequence[Asked]) -> list[loms_pb2.ConfirmOrderResponse | Error]:
    """Let the warehouse begin with paid orders; what is confirmed stays as it is.

    Returns:
        For each its answer, or: ORDER_NOT_FOUND; ORDER_NOT_CONFIRMABLE; STALE_VERSION; REQUEST_ID_REUSED.
    """
    return await _change_many(db, life.CONFIRM, batch, loms_pb2.ConfirmOrderResponse())


async def cancel_many(db: Database, batch: Sequence[Asked]) -> list[loms_pb2.CancelOrderResponse | Error]:
    """Cancel new and unpaid orders and give their stock back; what is cancelled stays as it is.

    Returns:
        For each its answer, or: ORDER_NOT_FOUND; ORDER_NOT_CANCELLABLE; STALE_VERSION; REQUEST_ID_REUSED.
    """
    return await _change_many(db, life.CANCEL, batch, loms_pb2.CancelOrderResponse())


async def expire_once(db: Database, *, batch: int = 1000) -> int:
    """Cancel orders that were not paid in time and give their stock back; return how many. Safe in many replicas."""
    async with db.transaction() as conn:
        return await _expire(conn, await orders.lock_overdue(conn, batch), "not paid in time")


async def expire_new_once(db: Database, *, new_ttl_s: float, batch: int = 1000) -> int:
    """Cancel orders that were not reserved within new_ttl_s; return how many. Safe in many replicas."""
    async with db.transaction() as conn:
        return await _expire(conn, await orders.lock_forgotten(conn, new_ttl_s, batch), "not reserved in time")


async def _expire(conn: Connection, late: Mapping[int, Order], reason: str) -> int:
    if late:
        at = await clock(conn)
        now = {order.id: moved(order, life.EXPIRE, reason, at) for order in late.values()}
        await write(conn, *await _parts(conn, life.EXPIRE, late, now, dict.fromkeys(late, LOMS)))
    return len(late)


async def _change_many(db: Database, event: str, batch: Sequence[Asked], answer: M) -> list[M | Error]:
    async def change(conn: Connection) -> list[M | Error]:
        before, known = await look(conn, batch)
        at = await clock(conn)

        def happen(order: Order, asked: Asked) -> Order | Error:
            if event == life.PAY and order.pay_by and at > order.pay_by:
                return PAYMENT_TOO_LATE(
                    f"order {order.id} had to be paid by {order.pay_by}", order_id=order.id, status=order.status
                )
            return moved(order, event, asked.reason, at)

        judged = judge(
            event, batch, before, known, happen=happen, answer_type=type(answer), answer=lambda order: answer
        )
        if judged.kept or judged.actors:
            await write(conn, *judged.kept, *await _parts(conn, event, before, judged.now, judged.actors))
        return judged.outcomes

    return await until_first(db, change)


async def _parts(
    conn: Connection, event: str, before: Mapping[int, Order], now: Mapping[int, Order], actors: Mapping[int, str]
) -> list[Part]:
    """What an event made of those locked orders that have an actor."""
    if not actors:
        return []
    changed = [now[order_id] for order_id in actors]
    holds = await stock.held(conn, list(actors)) if event in _HOLDS_BECOME else []
    return [
        orders.update_part(changed),
        *(stock.resolve_parts(holds, _HOLDS_BECOME[event], actors) if holds else ()),
        *history.parts([orders.change(order, before[order.id].status, actors[order.id]) for order in changed]),
    ]
