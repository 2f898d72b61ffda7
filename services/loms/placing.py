"""createOrder: an order is placed and its stock held, both or neither."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from abacus.loms.v1 import loms_pb2
from kit import requests
from kit.db import Connection, Database, write
from kit.errors import Error
from loms import history, life, orders, stock
from loms.allocation import Parts, allocate
from loms.history import Line
from loms.orders import Order, Shortage

METHOD = "abacus.loms.v1.LomsService/CreateOrder"
TRIES_MAX = 4  # from the second on shelves are locked before they are looked at; a request that repeats may still come


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


class Placed(NamedTuple):
    """An order and what it holds, as they will be written."""

    order: Order
    holds: Sequence[stock.Hold]
    answer: loms_pb2.CreateOrderResponse


class Look(NamedTuple):
    """What an order is decided by: the database's time, ids, and sku -> warehouse_id -> units that nobody holds."""

    at: datetime
    ids: list[int]
    free: dict[int, dict[int, int]]


async def create_many(
    db: Database, batch: Sequence[Wanted], *, pay_within_s: float
) -> list[loms_pb2.CreateOrderResponse | Error]:
    """Create these orders in one transaction and hold their stock; return an answer for each.

    In order of arrival, each is held whole or kept as failed. A request that made an order before, or earlier in
    the batch, gets the same answer; the answer is the error REQUEST_ID_REUSED where its body is another.

    Two round trips: a look, without locks, and one statement that writes all of it. Of nine shelves that could serve an
    order three are written, and none is locked in vain. The tables refuse what is not so any more (units that somebody
    else took, a request that came before); then nothing of it stands, and it is done again with locks.
    """
    first: dict[requests.Key, Wanted] = {}
    for wanted in batch:
        first.setdefault(wanted.key, wanted)
    fresh, known = list(first.values()), dict[requests.Key, requests.Known]()
    for number in range(TRIES_MAX):
        try:
            if number == 0:
                async with db.pool.acquire() as alone:  # one statement is a transaction of its own
                    made = await _create(alone, fresh, pay_within_s, lock=False)
                db.committed.set()
            else:
                async with db.transaction() as conn:
                    known = await requests.known_many(conn, METHOD, first)
                    fresh = [wanted for key, wanted in first.items() if key not in known]
                    made = await _create(conn, fresh, pay_within_s, lock=True)
            break
        except (asyncpg.UniqueViolationError, asyncpg.CheckViolationError) as error:
            if not _is_beaten(error) or number == TRIES_MAX - 1:
                raise

    def answer(wanted: Wanted) -> loms_pb2.CreateOrderResponse | Error:
        if then := known.get(wanted.key):
            told = then.told(wanted.request_id, wanted.body_hash)
            return told if isinstance(told, Error) else loms_pb2.CreateOrderResponse.FromString(told)
        if wanted.body_hash != first[wanted.key].body_hash:
            return requests.reused(wanted.request_id)
        return made[wanted.key]

    return [answer(wanted) for wanted in batch]


def _is_beaten(error: asyncpg.IntegrityConstraintViolationError) -> bool:
    """Whether somebody else was quicker; every other refusal of the tables is a fault of ours."""
    return error.constraint_name in (requests.CONSTRAINT, stock.WITHIN_ON_HAND)


async def _create(
    conn: Connection, fresh: Sequence[Wanted], pay_within_s: float, *, lock: bool
) -> dict[requests.Key, loms_pb2.CreateOrderResponse]:
    if not fresh:
        return {}
    look = await _look(conn, fresh, lock=lock)
    placed = place(fresh, look, look.at + timedelta(seconds=pay_within_s))
    made = {wanted.key: one.answer for wanted, one in zip(fresh, placed, strict=True)}
    await write(
        conn,
        requests.part(METHOD, {wanted.key: wanted.body_hash for wanted in fresh}, made, keep_s=None),
        *stock.hold_parts([hold for one in placed for hold in one.holds]),
        *orders.insert_parts([one.order for one in placed]),
        *history.parts(
            [orders.change(one.order, None, wanted.caller) for wanted, one in zip(fresh, placed, strict=True)]
        ),
    )
    return made


async def _look(conn: Connection, fresh: Sequence[Wanted], *, lock: bool) -> Look:
    # Drawing ids is logged, and a look of its own would wait for the disk until that is kept. It need not: the commit
    # of the orders that bear them stands later in the same log.
    commit = "NULL" if lock else "set_config('synchronous_commit', 'off', true)"
    ((_, at, ids, *shelves),) = await conn.fetch(
        f"""
        SELECT {commit},
               clock_timestamp(),
               ARRAY(SELECT nextval('orders_id_seq') FROM generate_series(1, $2)),
               array_agg(sku), array_agg(warehouse_id), array_agg(free)
          FROM (SELECT sku, warehouse_id, on_hand - reserved AS free
                  FROM stock
                 WHERE sku = ANY($1::bigint[])
                 {stock.LOCKED if lock else ""}) AS shelf
        """,  # noqa: S608  # only constants
        sorted({line.sku for wanted in fresh for line in wanted.lines}),
        len(fresh),
    )
    return Look(at, ids, stock.by_sku(zip(*(column or () for column in shelves), strict=True)))


def place(fresh: Sequence[Wanted], look: Look, pay_by: datetime) -> list[Placed]:
    """Give each in order of arrival all that it wants, or nothing."""
    left = look.free
    told_pay_by = history.to_timestamp(pay_by)
    placed = []
    for id_, wanted in zip(look.ids, fresh, strict=True):
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
            created_at=look.at,
            updated_at=look.at,
            pay_by=None if parts is None else pay_by,
            shortages=shortages(items, left) if parts is None else (),
            lines=wanted.lines,
        )
        placed.append(Placed(order, take(id_, parts or {}, left), _created(order, told_pay_by)))
    return placed


def take(order_id: int, parts: Parts, left: dict[int, dict[int, int]]) -> list[stock.Hold]:
    """What an order holds of its parts, which are no longer left."""
    for (sku, warehouse_id), units in parts.items():
        left[sku][warehouse_id] -= units
    return [stock.Hold(order_id, sku, warehouse_id, units) for (sku, warehouse_id), units in parts.items()]


def shortages(items: Mapping[int, int], left: Mapping[int, Mapping[int, int]]) -> list[Shortage]:
    """What is short of an order's items."""
    available = {sku: sum(left.get(sku, {}).values()) for sku in items}
    return [Shortage(sku, units, available[sku]) for sku, units in items.items() if available[sku] < units]


def _created(order: Order, pay_by: Timestamp | None) -> loms_pb2.CreateOrderResponse:
    return loms_pb2.CreateOrderResponse(
        order_id=order.id,
        status=history.to_enum(order.status),
        shortages=orders.to_shortages(order.shortages),
        pay_by=pay_by if order.pay_by else None,
    )
