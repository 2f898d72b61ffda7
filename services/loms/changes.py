"""What happens to orders that stand: they are paid, cancelled, or run out of time. Many at once, one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from abacus.loms.v1 import loms_pb2
from kit import requests
from kit.db import Connection, Database, Part, write
from kit.errors import Error
from loms import history, life, orders, stock
from loms.errors import ORDER_NOT_CANCELLABLE, ORDER_NOT_PAYABLE, PAYMENT_TOO_LATE, STALE_VERSION, no_order
from loms.orders import Order

TRIES_MAX = 3
LOMS = "loms"  # who did it, where time did

_METHODS = {
    life.PAY: ("abacus.loms.v1.LomsService/OrderPayed", loms_pb2.OrderPayedResponse()),
    life.CANCEL: ("abacus.loms.v1.LomsService/CancelOrder", loms_pb2.CancelOrderResponse()),
}
_HOLDS_BECOME = {life.PAY: "posted", life.CANCEL: "voided", life.EXPIRE: "expired"}
_REFUSED = {life.PAY: ORDER_NOT_PAYABLE, life.CANCEL: ORDER_NOT_CANCELLABLE}


class Asked(NamedTuple):
    """What a caller wants to happen to an order."""

    order_id: int
    version: int | None  # that the caller saw
    actor: str
    request_id: str  # empty: the order's own status is the guard
    body_hash: bytes
    reason: str = ""

    @property
    def key(self) -> requests.Key:
        """The request's id in its scope."""
        return self.actor, self.request_id


async def pay_many(db: Database, batch: Sequence[Asked]) -> list[Error | None]:
    """Mark orders as paid and write their stock off; what is paid stays as it is.

    Returns:
        For each None, or: ORDER_NOT_FOUND; ORDER_NOT_PAYABLE; PAYMENT_TOO_LATE; STALE_VERSION; REQUEST_ID_REUSED.
    """
    return await _change_many(db, life.PAY, batch)


async def cancel_many(db: Database, batch: Sequence[Asked]) -> list[Error | None]:
    """Cancel unpaid orders and give their stock back; what is cancelled stays as it is.

    Returns:
        For each None, or: ORDER_NOT_FOUND; ORDER_NOT_CANCELLABLE; STALE_VERSION; REQUEST_ID_REUSED.
    """
    return await _change_many(db, life.CANCEL, batch)


async def expire_once(db: Database, *, batch: int = 1000) -> int:
    """Cancel orders that were not paid in time and give their stock back; return how many. Safe in many replicas."""
    async with db.transaction() as conn:
        late = await orders.lock_overdue(conn, batch)
        if late:
            status = life.TRANSITIONS[life.AWAITING_PAYMENT, life.EXPIRE]
            at = await _clock(conn)
            now = {order.id: _moved(order, status, "not paid in time", at) for order in late.values()}
            await write(conn, *await _parts(conn, life.EXPIRE, late, now, dict.fromkeys(late, LOMS)))
    return len(late)


async def _change_many(db: Database, event: str, batch: Sequence[Asked]) -> list[Error | None]:
    """Let an event happen to orders, in order of arrival; one that is refused does not keep the others."""
    for number in range(TRIES_MAX):
        try:
            async with db.transaction() as conn:
                return await _change(conn, event, batch)
        except asyncpg.UniqueViolationError as error:  # the same request, beside us: now it came before
            if error.constraint_name != requests.CONSTRAINT or number == TRIES_MAX - 1:
                raise
    raise AssertionError("the last try returns or raises")


async def _change(conn: Connection, event: str, batch: Sequence[Asked]) -> list[Error | None]:
    method, answer = _METHODS[event]
    before = await orders.lock(conn, [asked.order_id for asked in batch])
    known = await requests.known_many(conn, method, {asked.key for asked in batch if asked.request_id})
    at = await _clock(conn)  # after the locks were got: time spent waiting for them counts
    now, actors, done = dict(before), dict[int, str](), dict[requests.Key, bytes]()

    def outcome(asked: Asked) -> Error | None:
        if then := known.get(asked.key):
            told = then.told(asked.request_id, asked.body_hash)
            return told if isinstance(told, Error) else None
        if done.get(asked.key, asked.body_hash) != asked.body_hash:
            return requests.reused(asked.request_id)
        order = now.get(asked.order_id)
        if order is None:
            return no_order(asked.order_id)
        if order.status not in life.DONE[event]:
            if refusal := _refusal(order, asked, event, at):
                return refusal  # and not remembered
            now[order.id] = _moved(order, life.TRANSITIONS[order.status, event], asked.reason, at)
            actors[order.id] = asked.actor
        if asked.request_id:
            done[asked.key] = asked.body_hash
        return None

    outcomes = [outcome(asked) for asked in batch]
    kept = [requests.part(method, done, dict.fromkeys(done, answer))] if done else []
    if kept or actors:
        await write(conn, *kept, *await _parts(conn, event, before, now, actors))
    return outcomes


def _refusal(order: Order, asked: Asked, event: str, at: datetime) -> Error | None:
    if asked.version not in (None, order.version):
        return STALE_VERSION(
            f"order {order.id} is at version {order.version}, not {asked.version}",
            order_id=order.id,
            version=order.version,
        )
    words = order.status.replace("_", " ")
    if life.after(order.status, event) is None:
        return _REFUSED[event](f"order {order.id} is {words}", order_id=order.id, status=order.status)
    if event == life.PAY and order.pay_by and at > order.pay_by:
        return PAYMENT_TOO_LATE(
            f"order {order.id} is {words}, but it had to be paid by {order.pay_by}",
            order_id=order.id,
            status=order.status,
        )
    return None


def _moved(order: Order, status: str, reason: str, at: datetime) -> Order:
    return order._replace(status=status, version=order.version + 1, reason=reason, updated_at=at)


async def _parts(
    conn: Connection, event: str, before: Mapping[int, Order], now: Mapping[int, Order], actors: Mapping[int, str]
) -> list[Part]:
    """What an event made of those locked orders that have an actor."""
    if not actors:
        return []
    moved = [now[order_id] for order_id in actors]
    holds = await stock.held(conn, list(actors))
    return [
        orders.update_part(moved),
        *stock.resolve_parts(holds, _HOLDS_BECOME[event], actors),
        *history.parts([orders.change(order, before[order.id].status, actors[order.id]) for order in moved]),
    ]


async def _clock(conn: Connection) -> datetime:
    at: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return at
