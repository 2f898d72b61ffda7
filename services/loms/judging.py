"""What becomes of a batch of calls that each want something of an order: in order of arrival, by one table."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import asyncpg
from google.protobuf.message import Message

from kit import requests
from kit.db import Connection, Database, Part
from kit.errors import Error, Reason
from loms import life, orders
from loms.errors import (
    ITEMS_DIFFER,
    ORDER_NOT_CANCELLABLE,
    ORDER_NOT_CONFIRMABLE,
    ORDER_NOT_PAYABLE,
    ORDER_NOT_RESERVABLE,
    no_order,
    stale,
)
from loms.orders import Order

M = TypeVar("M", bound=Message)

TRIES_MAX = 3

_REFUSED: dict[str, Reason] = {
    life.HELD: ORDER_NOT_RESERVABLE,
    life.PAY: ORDER_NOT_PAYABLE,
    life.CONFIRM: ORDER_NOT_CONFIRMABLE,
    life.CANCEL: ORDER_NOT_CANCELLABLE,
}


class Asked(NamedTuple):
    """What a caller wants to happen to an order."""

    method: str  # the RPC: with the actor the scope of the request's id
    order_id: int
    version: int | None  # that the caller saw
    actor: str
    request_id: str  # empty: the order's own status is the guard
    body_hash: bytes
    reason: str = ""
    items: Mapping[int, int] | None = None  # sku -> units that the caller takes the order to have

    @property
    def key(self) -> requests.Key:
        """The request's id in its scope, beside the method."""
        return self.actor, self.request_id


Known = Mapping[tuple[str, requests.Key], requests.Known]  # by method and key


class Judged(NamedTuple, Generic[M]):
    """What becomes of a batch."""

    outcomes: list[M | Error]  # for each an answer, or why not
    now: dict[int, Order]  # by id, as the orders are after it
    actors: dict[int, str]  # by id of each order that changed: who did it
    kept: list[Part]  # the requests to remember


async def until_first(db: Database, change: Callable[[Connection], Awaitable[list[M | Error]]]) -> list[M | Error]:
    """Run a change of orders in a transaction; again where the same request came beside it: now it came before."""
    for number in range(TRIES_MAX):
        try:
            async with db.transaction() as conn:
                return await change(conn)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != requests.CONSTRAINT or number == TRIES_MAX - 1:
                raise
    raise AssertionError("the last try returns or raises")


async def look(conn: Connection, batch: Sequence[Asked]) -> tuple[dict[int, Order], Known]:
    """Lock the orders that a batch names; give them by id, and those of its requests that came before."""
    before = await orders.lock(conn, [asked.order_id for asked in batch])
    keys = defaultdict[str, set[requests.Key]](set)
    for asked in batch:
        if asked.request_id:
            keys[asked.method].add(asked.key)
    known = {
        (method, key): then
        for method, some in keys.items()
        for key, then in (await requests.known_many(conn, method, some)).items()
    }
    return before, known


async def clock(conn: Connection) -> datetime:
    """The database's time; asked after the locks were got, so that time spent waiting for them counts."""
    at: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return at


def moved(order: Order, event: str, reason: str, at: datetime) -> Order:
    """The order after an event that its status allows."""
    status = life.TRANSITIONS[order.status, event]
    return order._replace(status=status, version=order.version + 1, reason=reason, updated_at=at)


def judge(
    event: str,
    batch: Sequence[Asked],
    before: Mapping[int, Order],
    known: Known,
    *,
    happen: Callable[[Order, Asked], Order | Error],
    answer_type: type[M],
    answer: Callable[[Order], M],
) -> Judged[M]:
    """Let an event happen to orders, in order of arrival; one that is refused does not keep the others.

    Args:
        event: what is wanted. Where it has happened already nothing does, and the answer is OK.
        batch: by whom.
        before: the locked orders, by id.
        known: the requests that came before: they get their first answers.
        happen: what the event makes of an order whose status allows it, or why it may not be.
        answer_type: what is told of an order to which it happened.
        answer: makes it.
    """
    now, actors = dict(before), dict[int, str]()
    done = defaultdict[str, dict[requests.Key, tuple[bytes, M]]](dict)

    def outcome(asked: Asked) -> M | Error:
        if then := known.get((asked.method, asked.key)):
            told = then.told(asked.request_id, asked.body_hash)
            return told if isinstance(told, Error) else answer_type.FromString(told)
        if earlier := done[asked.method].get(asked.key):
            return earlier[1] if earlier[0] == asked.body_hash else requests.reused(asked.request_id)
        order = now.get(asked.order_id)
        if order is None:
            return no_order(asked.order_id)
        if asked.items is not None and asked.items != {line.sku: line.units for line in order.lines}:
            return ITEMS_DIFFER(f"these are not the items of order {order.id}", field="items", order_id=order.id)
        if order.status not in life.DONE[event]:
            after = _refusal(order, asked, event) or happen(order, asked)
            if isinstance(after, Error):
                return after  # and not remembered
            now[order.id], actors[order.id] = after, asked.actor
        told_now = answer(now[order.id])
        if asked.request_id:
            done[asked.method][asked.key] = asked.body_hash, told_now
        return told_now

    outcomes = [outcome(asked) for asked in batch]
    kept = [
        requests.part(
            method,
            {key: body_hash for key, (body_hash, _) in answered.items()},
            {key: told for key, (_, told) in answered.items()},
        )
        for method, answered in done.items()
        if answered
    ]
    return Judged(outcomes, now, actors, kept)


def _refusal(order: Order, asked: Asked, event: str) -> Error | None:
    if asked.version not in (None, order.version):
        return stale(order.id, order.version, asked.version)
    if life.after(order.status, event) is None:
        words = order.status.replace("_", " ")
        return _REFUSED[event](f"order {order.id} is {words}", order_id=order.id, status=order.status)
    return None
