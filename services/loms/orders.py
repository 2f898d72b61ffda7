"""Orders and their life. Owns the tables orders and order_items.

Locks are taken in one order everywhere: request keys, orders by id, shelves by (sku, warehouse_id).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from abacus.loms.v1 import loms_pb2
from kit import requests
from kit.db import Connection, Database
from kit.errors import REQUEST_ID_REUSED, Error
from loms import history, life, stock
from loms.allocation import Parts, Shelves, allocate_all
from loms.errors import ORDER_NOT_CANCELLABLE, ORDER_NOT_PAYABLE, PAYMENT_TOO_LATE, STALE_VERSION, no_order
from loms.history import Change, Line

Shortage = tuple[int, int, int]  # sku, wanted, available

CREATE = "abacus.loms.v1.LomsService/CreateOrder"
LOMS = "loms"  # who did it, where time did


@dataclass(frozen=True)
class Wanted:
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

    @property
    def items(self) -> dict[int, int]:
        """Sku -> units."""
        return {line.sku: line.count for line in self.lines}


@dataclass(frozen=True)
class Order:
    """An order as it is now."""

    id: int
    user: int
    status: str
    version: int
    reason: str
    total_price: int
    currency: str
    created_at: datetime
    updated_at: datetime
    pay_by: datetime | None
    shortages: Sequence[Shortage] = ()
    lines: Sequence[Line] = ()


_COLUMNS = "id, user_id, status, version, reason, total_price, currency, created_at, updated_at, pay_by, shortages"


async def create_many(
    conn: Connection, batch: Sequence[Wanted], *, pay_within_s: float
) -> list[loms_pb2.CreateOrderResponse | Error]:
    """Create these orders in the caller's transaction and hold their stock; return an answer for each.

    In order of arrival, each is held whole or kept as failed. A request that made an order before, or earlier in
    the batch, gets the same answer; the answer is the error REQUEST_ID_REUSED where its body is another.
    """
    first: dict[requests.Key, Wanted] = {}
    for wanted in batch:
        first.setdefault(wanted.key, wanted)
    hashes = {key: wanted.body_hash for key, wanted in first.items()}
    known = await requests.claim_many(conn, CREATE, hashes, keep_s=None)  # as long as the order
    fresh = [wanted for key, wanted in first.items() if key not in known]
    answers: dict[requests.Key, loms_pb2.CreateOrderResponse | Error] = {
        key: answer if isinstance(answer, Error) else loms_pb2.CreateOrderResponse.FromString(answer)
        for key, answer in known.items()
    }
    if fresh:
        made = await _create_fresh(conn, fresh, pay_within_s)
        await requests.answer_many(conn, CREATE, made)
        answers |= made
    return [
        answers[wanted.key]
        if wanted.body_hash == first[wanted.key].body_hash
        else REQUEST_ID_REUSED(f"request id {wanted.request_id} came before with another request")
        for wanted in batch
    ]


async def _create_fresh(
    conn: Connection, fresh: Sequence[Wanted], pay_within_s: float
) -> dict[requests.Key, loms_pb2.CreateOrderResponse]:
    free = await stock.lock_free(conn, {sku for wanted in fresh for sku in wanted.items})
    allocated = allocate_all([wanted.items for wanted in fresh], free)
    orders = await _insert(conn, fresh, _shortages(fresh, allocated, free), pay_within_s)
    await stock.hold(
        conn,
        [
            stock.Hold(order.id, sku, warehouse_id, units)
            for order, parts in zip(orders, allocated, strict=True)
            for (sku, warehouse_id), units in (parts or {}).items()
        ],
    )
    await history.record(
        conn, [_change(order, None, wanted.caller) for wanted, order in zip(fresh, orders, strict=True)]
    )
    return {wanted.key: _created(order) for wanted, order in zip(fresh, orders, strict=True)}


def _shortages(
    fresh: Sequence[Wanted], allocated: Sequence[Parts | None], free: Shelves
) -> list[list[Shortage] | None]:
    """Of each order that got nothing, the lines that were short when its turn came; None for the others."""
    left = {sku: sum(shelf.values()) for sku, shelf in free.items()}
    answer: list[list[Shortage] | None] = []
    for wanted, parts in zip(fresh, allocated, strict=True):
        if parts is None:
            short = [(sku, units, left.get(sku, 0)) for sku, units in wanted.items.items()]
            answer.append([line for line in short if line[2] < line[1]])
            continue
        for sku, units in wanted.items.items():
            left[sku] -= units
        answer.append(None)
    return answer


async def _insert(
    conn: Connection, fresh: Sequence[Wanted], shortages: Sequence[list[Shortage] | None], pay_within_s: float
) -> list[Order]:
    """Write orders and their lines; return them in the order given."""
    ids = [row["id"] for row in await conn.fetch(
        "SELECT nextval('orders_id_seq') AS id FROM generate_series(1, $1)", len(fresh)
    )]  # fmt: skip
    rows = await conn.fetch(
        f"""
        INSERT INTO orders (id, user_id, status, reason, total_price, currency, shortages,
                            created_at, updated_at, pay_by)
        SELECT id, user_id, status, reason, total_price, currency, shortages::jsonb, at, at,
               CASE WHEN status = '{life.AWAITING_PAYMENT}' THEN at + make_interval(secs => $8) END
          FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
               AS placed (id, user_id, status, reason, total_price, currency, shortages),
               clock_timestamp() AS at
        RETURNING {_COLUMNS}
        """,  # noqa: S608  # only constants
        ids,
        [wanted.user for wanted in fresh],
        [life.FAILED if short else life.AWAITING_PAYMENT for short in shortages],
        ["out of stock" if short else "" for short in shortages],
        [sum(line.price * line.count for line in wanted.lines) for wanted in fresh],
        [wanted.currency for wanted in fresh],
        [json.dumps(short) if short else None for short in shortages],
        pay_within_s,
    )
    lines = [(id_, line) for id_, wanted in zip(ids, fresh, strict=True) for line in wanted.lines]
    await conn.execute(
        """
        INSERT INTO order_items (order_id, sku, count, name, price)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::bigint[])
        """,
        [id_ for id_, _ in lines],
        [line.sku for _, line in lines],
        [line.count for _, line in lines],
        [line.name for _, line in lines],
        [line.price for _, line in lines],
    )
    made = {row["id"]: row for row in rows}
    return [_order(made[id_], wanted.lines) for id_, wanted in zip(ids, fresh, strict=True)]


async def pay(conn: Connection, order_id: int, *, version: int | None, actor: str) -> None:
    """Mark an order as paid and write its stock off. An order that is paid stays as it is.

    Raises:
        Error: ORDER_NOT_FOUND; ORDER_NOT_PAYABLE; PAYMENT_TOO_LATE; STALE_VERSION.
    """
    order = await _lock(conn, order_id)
    if order.status in life.DONE[life.PAY]:
        return
    _check_version(order, version)
    status = life.after(order.status, life.PAY)
    if status is None:
        raise ORDER_NOT_PAYABLE(f"order {order_id} is {_words(order.status)}", order_id=order_id, status=order.status)
    if not await _move(conn, [order], status, actor=actor, in_time=True):
        raise PAYMENT_TOO_LATE(
            f"order {order_id} is {_words(order.status)}, but it had to be paid by {order.pay_by}",
            order_id=order_id,
            status=order.status,
        )
    await stock.post(conn, [order_id], actor=actor)


async def cancel(conn: Connection, order_id: int, *, version: int | None, reason: str, actor: str) -> None:
    """Cancel an unpaid order and give its stock back. An order that is cancelled stays as it is.

    Raises:
        Error: ORDER_NOT_FOUND; ORDER_NOT_CANCELLABLE; STALE_VERSION.
    """
    order = await _lock(conn, order_id)
    if order.status in life.DONE[life.CANCEL]:
        return
    _check_version(order, version)
    status = life.after(order.status, life.CANCEL)
    if status is None:
        raise ORDER_NOT_CANCELLABLE(
            f"order {order_id} is {_words(order.status)}", order_id=order_id, status=order.status
        )
    await _move(conn, [order], status, actor=actor, reason=reason)
    await stock.release(conn, [order_id], state="voided")


async def expire_once(db: Database, *, batch: int = 500) -> int:
    """Cancel orders that were not paid in time and give their stock back; return how many. Safe in many replicas."""
    async with db.transaction() as conn:
        rows = await conn.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM orders
             WHERE status = '{life.AWAITING_PAYMENT}'
               AND pay_by < now()  -- never early; stable, so that the index serves it
             ORDER BY pay_by
             LIMIT $1
               FOR NO KEY UPDATE SKIP LOCKED
            """,  # noqa: S608  # only constants
            batch,
        )
        if not rows:
            return 0
        late = [_order(row) for row in rows]
        status = life.TRANSITIONS[life.AWAITING_PAYMENT, life.EXPIRE]
        await _move(conn, late, status, actor=LOMS, reason="not paid in time")
        await stock.release(conn, [order.id for order in late], state="expired")
    return len(late)


async def _lock(conn: Connection, order_id: int) -> Order:
    row = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM orders WHERE id = $1 FOR NO KEY UPDATE",  # noqa: S608  # only constants
        order_id,
    )
    if row is None:
        raise no_order(order_id)
    return _order(row)


def _check_version(order: Order, version: int | None) -> None:
    if version is not None and version != order.version:
        raise STALE_VERSION(
            f"order {order.id} is at version {order.version}, not {version}", order_id=order.id, version=order.version
        )


async def _move(
    conn: Connection, orders: Sequence[Order], status: str, *, actor: str, reason: str = "", in_time: bool = False
) -> bool:
    """Take locked orders to a status, with history and event; with in_time only those whose pay_by has not passed.

    The clock is read after the locks were got, so that time spent waiting for them counts.
    """
    rows = await conn.fetch(
        f"""
        UPDATE orders
           SET status = $2, version = version + 1, reason = $3, updated_at = clock_timestamp()
         WHERE id = ANY($1::bigint[])
           AND (NOT $4 OR clock_timestamp() <= pay_by)
        RETURNING {_COLUMNS}
        """,  # noqa: S608  # only constants
        [order.id for order in orders],
        status,
        reason,
        in_time,
    )
    if not rows:
        return False
    lines = await _lines(conn, [row["id"] for row in rows])
    before = {order.id: order.status for order in orders}
    await history.record(conn, [_change(_order(row, lines[row["id"]]), before[row["id"]], actor) for row in rows])
    return True


async def get(db: Database, order_id: int) -> Order:
    """One order.

    Raises:
        Error: ORDER_NOT_FOUND.
    """
    async with db.pool.acquire() as conn:
        row = await conn.fetchrow(
            f"SELECT {_COLUMNS} FROM orders WHERE id = $1",  # noqa: S608  # only constants
            order_id,
        )
        if row is None:
            raise no_order(order_id)
        return _order(row, (await _lines(conn, [order_id]))[order_id])


async def owner(db: Database, order_id: int) -> int | None:
    """Whose an order is; None where there is no such order."""
    user: int | None = await db.pool.fetchval("SELECT user_id FROM orders WHERE id = $1", order_id)
    return user


async def of_user(db: Database, user: int, *, status: str | None, before: int | None, limit: int) -> list[Order]:
    """A user's orders with an id below `before`, the newest first."""
    async with db.pool.acquire() as conn:
        rows = await conn.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM orders
             WHERE user_id = $1
               AND ($2::text IS NULL OR status = $2)
               AND ($3::bigint IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4
            """,  # noqa: S608  # only constants
            user,
            status,
            before,
            limit,
        )
        lines = await _lines(conn, [row["id"] for row in rows])
    return [_order(row, lines[row["id"]]) for row in rows]


async def overdue(db: Database) -> int:
    """How many unpaid orders should have been cancelled at least 5 s ago."""
    count: int = await db.pool.fetchval(
        f"""
        SELECT count(*)
          FROM orders
         WHERE status = '{life.AWAITING_PAYMENT}'
           AND pay_by < now() - interval '5 s'
        """  # noqa: S608  # only constants
    )
    return count


async def _lines(conn: Connection, order_ids: Sequence[int]) -> dict[int, list[Line]]:
    rows = await conn.fetch(
        """
        SELECT order_id, sku, count, name, price
          FROM order_items
         WHERE order_id = ANY($1::bigint[])
         ORDER BY order_id, sku
        """,
        order_ids,
    )
    lines: dict[int, list[Line]] = {order_id: [] for order_id in order_ids}
    for order_id, *line in rows:
        lines[order_id].append(Line(*line))
    return lines


def _order(row: asyncpg.Record, lines: Sequence[Line] = ()) -> Order:
    return Order(
        id=row["id"],
        user=row["user_id"],
        status=row["status"],
        version=row["version"],
        reason=row["reason"],
        total_price=row["total_price"],
        currency=row["currency"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        pay_by=row["pay_by"],
        shortages=[tuple(short) for short in json.loads(row["shortages"] or "[]")],
        lines=lines,
    )


def _change(order: Order, previous_status: str | None, actor: str) -> Change:
    return Change(
        order_id=order.id,
        version=order.version,
        previous_status=previous_status,
        status=order.status,
        reason=order.reason,
        actor=actor,
        at=order.updated_at,
        user=order.user,
        pay_by=order.pay_by,
        total_price=order.total_price,
        currency=order.currency,
        lines=order.lines,
    )


def _created(order: Order) -> loms_pb2.CreateOrderResponse:
    return loms_pb2.CreateOrderResponse(
        order_id=order.id,
        status=history.to_enum(order.status),
        shortages=to_shortages(order.shortages),
        pay_by=order.pay_by,
    )


def to_shortages(shortages: Sequence[Shortage]) -> list[loms_pb2.Shortage]:
    """The contract's form of what was short."""
    return [loms_pb2.Shortage(sku=sku, wanted=wanted, available=available) for sku, wanted, available in shortages]


def _words(status: str) -> str:
    return status.replace("_", " ")
