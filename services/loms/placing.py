"""createOrder: an order is placed and its stock held, both or neither."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from abacus.loms.v1 import loms_pb2
from kit import requests
from kit.db import Connection, Database
from kit.errors import REQUEST_ID_REUSED, Error
from loms import history, life, orders, stock
from loms.allocation import Parts, allocate
from loms.history import Line
from loms.orders import Order, Shortage

METHOD = "abacus.loms.v1.LomsService/CreateOrder"
TRIES_MAX = 4  # the second and later ones lock shelves before they look, so that only a deadlock can beat them


class Wanted(NamedTuple):
    """What a caller asks for; each sku once."""

    caller: str
    request_id: str
    body_hash: bytes
    user: int
    currency: str
    lines: Sequence[Line]

    @property
    def key(self) -> requests.Key:
        """The request's id in its scope."""
        return self.caller, self.request_id


class _Placed(NamedTuple):
    """An order and what it holds, as they will be written."""

    order: Order
    holds: Sequence[stock.Hold]
    actor: str
    answer: loms_pb2.CreateOrderResponse


class _BeatenError(Exception):
    """Somebody else took the units between the look and the hold."""


async def create_many(
    db: Database, batch: Sequence[Wanted], *, pay_within_s: float
) -> list[loms_pb2.CreateOrderResponse | Error]:
    """Create these orders in one transaction and hold their stock; return an answer for each.

    In order of arrival, each is held whole or kept as failed. A request that made an order before, or earlier in
    the batch, gets the same answer; the answer is the error REQUEST_ID_REUSED where its body is another.

    Shelves are looked at without locks first, and the hold takes only what is still there: of nine shelves that could
    serve an order, three are written and none is locked in vain. Where another process was quicker all is rolled back
    and done again with locks.
    """
    for number in range(TRIES_MAX):
        try:
            async with db.transaction() as conn:
                return await _create_many(conn, batch, pay_within_s, lock=number > 0)
        except (_BeatenError, asyncpg.DeadlockDetectedError):
            if number == TRIES_MAX - 1:
                raise
    raise AssertionError("the last try returns or raises")


async def _create_many(
    conn: Connection, batch: Sequence[Wanted], pay_within_s: float, *, lock: bool
) -> list[loms_pb2.CreateOrderResponse | Error]:
    first: dict[requests.Key, Wanted] = {}
    for wanted in batch:
        first.setdefault(wanted.key, wanted)
    fresh = list(first.values())
    free = await stock.free(conn, {line.sku for wanted in fresh for line in wanted.lines}, lock=lock)
    at, ids = await orders.next_ids(conn, len(fresh))
    pay_by = at + timedelta(seconds=pay_within_s)
    placed = _place(fresh, ids, free, at, pay_by)
    known = await requests.claim_many(
        conn,
        METHOD,
        {key: wanted.body_hash for key, wanted in first.items()},
        {key: one.answer for key, one in zip(first, placed, strict=True)},
        keep_s=None,  # as long as the order
    )
    if known:  # they take nothing, which changes what is left for those behind them
        fresh = [wanted for key, wanted in first.items() if key not in known]
        placed = _place(fresh, ids[: len(fresh)], free, at, pay_by)
    made = {wanted.key: one.answer for wanted, one in zip(fresh, placed, strict=True)}
    if known and made:
        await requests.answer_many(conn, METHOD, made)
    if placed:
        if not await stock.hold(conn, [hold for one in placed for hold in one.holds]):
            raise _BeatenError
        await orders.insert(conn, [one.order for one in placed])
        await history.record(conn, [orders.change(one.order, None, one.actor) for one in placed])
    return [
        _answer(wanted, made, known)
        if wanted.body_hash == first[wanted.key].body_hash
        else REQUEST_ID_REUSED(f"request id {wanted.request_id} came before with another request")
        for wanted in batch
    ]


def _place(
    fresh: Sequence[Wanted], ids: Sequence[int], free: Mapping[int, Mapping[int, int]], at: datetime, pay_by: datetime
) -> list[_Placed]:
    """Give each in order of arrival all that it wants, or nothing; `free` is not changed."""
    left = {sku: dict(shelf) for sku, shelf in free.items()}
    placed = []
    for id_, wanted in zip(ids, fresh, strict=True):
        items = {line.sku: line.units for line in wanted.lines}
        parts = allocate(items, left)
        order = Order(
            id=id_,
            user=wanted.user,
            status=life.FAILED if parts is None else life.AWAITING_PAYMENT,
            version=1,
            reason="out of stock" if parts is None else "",
            total_price=sum(line.price * line.units for line in wanted.lines),
            currency=wanted.currency,
            created_at=at,
            updated_at=at,
            pay_by=None if parts is None else pay_by,
            shortages=_shortages(items, left) if parts is None else (),
            lines=wanted.lines,
        )
        placed.append(_Placed(order, _take(id_, parts or {}, left), wanted.caller, _created(order)))
    return placed


def _take(order_id: int, parts: Parts, left: dict[int, dict[int, int]]) -> list[stock.Hold]:
    for (sku, warehouse_id), units in parts.items():
        left[sku][warehouse_id] -= units
    return [stock.Hold(order_id, sku, warehouse_id, units) for (sku, warehouse_id), units in parts.items()]


def _shortages(items: Mapping[int, int], left: Mapping[int, Mapping[int, int]]) -> list[Shortage]:
    available = {sku: sum(left.get(sku, {}).values()) for sku in items}
    return [Shortage(sku, units, available[sku]) for sku, units in items.items() if available[sku] < units]


def _created(order: Order) -> loms_pb2.CreateOrderResponse:
    return loms_pb2.CreateOrderResponse(
        order_id=order.id,
        status=history.to_enum(order.status),
        shortages=orders.to_shortages(order.shortages),
        pay_by=history.to_timestamp(order.pay_by),
    )


def _answer(
    wanted: Wanted,
    made: Mapping[requests.Key, loms_pb2.CreateOrderResponse],
    known: Mapping[requests.Key, bytes | Error],
) -> loms_pb2.CreateOrderResponse | Error:
    if wanted.key in made:
        return made[wanted.key]
    answer = known[wanted.key]
    return answer if isinstance(answer, Error) else loms_pb2.CreateOrderResponse.FromString(answer)
