"""Purchases: a cart on its way to an order, whatever dies in between. Owns the table purchases.

Three steps, each safe to repeat, no lock held while others are asked:
1. `begin` writes the purchase with its lines as bought (state open);
2. `order` asks LOMS for the order, under a request id made of the purchase's own: once asked, always the same order;
3. `close` writes what came of it (state done or refused) and takes what was bought out of the cart.
Whoever finds an open purchase goes on with 2: its caller, a repeat, the user's next purchase, the worker.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog
from google.rpc import code_pb2, status_pb2

from abacus.loms.v1 import loms_pb2
from checkout import cart, prices
from checkout.errors import CART_EMPTY, OUT_OF_STOCK, PRICE_CHANGED, TOO_MANY_POSITIONS, TOO_MANY_UNITS
from checkout.peers import Peers
from kit import errors
from kit.db import Connection, Database
from kit.errors import Error

log = structlog.get_logger()

OVERDUE_AFTER_S = 60
WORKER_BATCH = 20
WORKER_PAUSE_S_MAX = 60.0

# LOMS has decided, and will not decide otherwise. All else (away, too slow, its own fault) is tried again.
_FINAL = {
    code_pb2.INVALID_ARGUMENT,
    code_pb2.NOT_FOUND,
    code_pb2.ALREADY_EXISTS,
    code_pb2.FAILED_PRECONDITION,
    code_pb2.OUT_OF_RANGE,
}
# What LOMS calls a wrong argument is a wrong cart to our caller.
_OF_THE_CART = {reason.name: reason for reason in (TOO_MANY_POSITIONS, TOO_MANY_UNITS)}


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for."""

    user: int
    caller: str
    request_id: str | None  # None: the caller gave none
    body_hash: bytes
    expected_total: int | None  # minor units
    language: str
    arrived_s: float = field(default_factory=time.monotonic)  # by the process's clock


@dataclass(frozen=True)
class Purchase:
    """A row of the table."""

    id: UUID
    user: int
    body_hash: bytes
    lines: list[prices.Line]
    total_price: int
    currency: str
    state: str
    order_id: int | None
    refusal: Error | None


_COLUMNS = "purchases.id, user_id, body_hash, lines, total_price, currency, state, order_id, refusal"


class Purchases:
    """The use case; `begin`, `order` and `close` are its steps."""

    def __init__(self, db: Database, peers: Peers, *, resume_after_s: float):
        self.db = db
        self.peers = peers
        self.resume_after_s = resume_after_s

    async def buy(self, wanted: Wanted) -> Purchase:
        """Order what is in the cart; give the purchase, done.

        A request id that came before gives its own purchase again, unless that was refused: then it tries anew. An open
        purchase of the user is finished first: it is the answer of a call without an id, unless that call names another
        total than the purchase has.

        Raises:
            Error: CART_EMPTY, PRODUCT_GONE, CURRENCIES_MIXED, PRICE_CHANGED, OUT_OF_STOCK, TOO_MANY_POSITIONS,
                TOO_MANY_UNITS, REQUEST_ID_REUSED; PEER_UNAVAILABLE, after which the purchase may be open.
        """
        while True:  # somebody else's step sends us round again; the call's deadline is the limit
            if mine := await _of_request(self.db.pool, wanted):
                return _answer(await self.finish(mine))
            if earlier := await self._open_of(wanted.user):
                finished = await self.finish(earlier)
                if wanted.request_id is None and wanted.expected_total in (None, finished.total_price):
                    return _answer(finished)
                continue
            try:
                begun = await self.begin(wanted)
            except Error:
                # The same request beside us may have made the cart as we saw it, empty: then its order is our answer.
                if await _of_request(self.db.pool, wanted):
                    continue
                raise
            if begun:
                return _answer(await self.finish(begun))

    async def finish(self, purchase: Purchase) -> Purchase:
        """Go on with a purchase until it is closed.

        Raises:
            Error, RuntimeError: LOMS did not decide; the purchase stays open.
        """
        if purchase.state != "open":
            return purchase
        order_id, refusal = await self.order(purchase)
        return await self.close(purchase, order_id, refusal)

    async def begin(self, wanted: Wanted) -> Purchase | None:
        """Write the purchase of what is in the cart now, at the prices of now.

        None where somebody was quicker: changed the cart, or has a purchase of the same user or the same request.
        """
        async with self.db.pool.acquire() as conn:
            units = await cart.lines(conn, wanted.user)
        if not units:
            raise CART_EMPTY("the cart is empty")
        lines, total, currency = prices.to_buy(units, await self.peers.products(list(units), wanted.language))
        if wanted.expected_total not in (None, total):
            raise PRICE_CHANGED(
                f"the total is {total} now, not {wanted.expected_total}", total_price=total, currency=currency
            )
        async with self.db.transaction() as conn:
            await cart.lock(conn, wanted.user)
            if await cart.lines(conn, wanted.user) != units or await _of_request(conn, wanted):
                return None
            row = await conn.fetchrow(
                f"""
                INSERT INTO purchases
                       (user_id, caller, request_id, body_hash, lines, total_price, currency, try_at)
                VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, clock_timestamp() + make_interval(secs => $8))
                    ON CONFLICT DO NOTHING
                RETURNING {_COLUMNS}
                """,  # noqa: S608  # only constants
                wanted.user,
                wanted.caller,
                wanted.request_id,
                wanted.body_hash,
                json.dumps(lines, ensure_ascii=False),
                total,
                currency,
                self.resume_after_s,
            )
        return _purchase(row) if row else None

    async def order(self, purchase: Purchase) -> tuple[int | None, Error | None]:
        """Ask LOMS for the purchase's order; return its id, or why there is none.

        Raises:
            Error, RuntimeError: LOMS did not decide.
        """
        try:
            answer = await self.peers.loms.CreateOrder(
                loms_pb2.CreateOrderRequest(
                    user=purchase.user,
                    items=[loms_pb2.OrderItem(**line) for line in purchase.lines],
                    currency=purchase.currency,
                    request_id=f"purchase-{purchase.id}",
                )
            )
        except Error as error:
            if error.code not in _FINAL:
                raise
            log.error("loms refused a purchase", purchase=str(purchase.id), reason=error.reason, error=error.message)
            return None, _of_the_caller(error)
        if answer.status == loms_pb2.ORDER_STATUS_FAILED:
            return answer.order_id, _out_of_stock(answer)
        return answer.order_id, None

    async def close(self, purchase: Purchase, order_id: int | None, refusal: Error | None) -> Purchase:
        """Write what came of a purchase; what was bought leaves the cart, what was put in meanwhile stays.

        Whoever closes second changes nothing, and is given what the first one wrote.
        """
        async with self.db.transaction() as conn:
            await cart.lock(conn, purchase.user)
            row = await conn.fetchrow(
                f"""
                UPDATE purchases
                   SET state = CASE WHEN $3::bytea IS NULL THEN 'done' ELSE 'refused' END,
                       order_id = $2,
                       refusal = $3,
                       finished_at = clock_timestamp()
                 WHERE id = $1
                   AND state = 'open'
                RETURNING {_COLUMNS}
                """,  # noqa: S608  # only constants
                purchase.id,
                order_id,
                errors.to_status(refusal).SerializeToString() if refusal else None,
            )
            if row and not refusal:
                await cart.take_many(conn, purchase.user, {line["sku"]: line["count"] for line in purchase.lines})
            if row:
                return _purchase(row)
            rows = await conn.fetch(
                f"SELECT {_COLUMNS} FROM purchases WHERE id = $1",  # noqa: S608  # only constants
                purchase.id,
            )
            return _purchase(rows[0])

    async def resume_once(self) -> int:
        """Finish purchases that were cut off, one batch; return how many were tried.

        Each is leased for a pause that doubles with every try, in a transaction of its own: replicas share the work,
        and no lock is held while LOMS is asked.
        """
        rows = await self.db.pool.fetch(
            f"""
            WITH due AS (
                SELECT id
                  FROM purchases
                 WHERE state = 'open'
                   AND try_at <= clock_timestamp()
                 ORDER BY try_at
                 LIMIT $1
                   FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE purchases
               SET tries = tries + 1,
                   try_at = clock_timestamp() + make_interval(secs => least($2 * power(2, least(tries, 10)), $3))
              FROM due
             WHERE purchases.id = due.id
            RETURNING {_COLUMNS}
            """,  # noqa: S608  # only constants
            WORKER_BATCH,
            self.resume_after_s,
            WORKER_PAUSE_S_MAX,
        )
        await asyncio.gather(*(self._resume(_purchase(row)) for row in rows))
        return len(rows)

    async def _resume(self, purchase: Purchase) -> None:
        """Finish one of a batch; its failure must not keep the others from being finished."""
        try:
            finished = await self.finish(purchase)
            log.info("purchase resumed", purchase=str(purchase.id), state=finished.state)
        except Exception as error:
            log.warning("purchase stays open", purchase=str(purchase.id), error=repr(error))

    async def _open_of(self, user: int) -> Purchase | None:
        row = await self.db.pool.fetchrow(
            f"SELECT {_COLUMNS} FROM purchases WHERE user_id = $1 AND state = 'open'",  # noqa: S608  # only constants
            user,
        )
        return _purchase(row) if row else None


async def status(db: Database) -> dict[str, float]:
    """Count the purchases that have been open for too long."""
    overdue = await db.pool.fetchval(
        """
        SELECT count(*)
          FROM purchases
         WHERE state = 'open'
           AND created_at < clock_timestamp() - make_interval(secs => $1)
        """,
        OVERDUE_AFTER_S,
    )
    return {"overdue_purchases": overdue}


async def _of_request(conn: Connection | asyncpg.Pool, wanted: Wanted) -> Purchase | None:
    """The purchase of this request: open, done, or refused since the call came.

    What was refused before is not remembered: the call tries anew. But of calls that came at once, none makes another.
    """
    if wanted.request_id is None:
        return None
    row = await conn.fetchrow(
        f"""
        SELECT {_COLUMNS}
          FROM purchases
         WHERE (caller, request_id) = ($1, $2)
           AND (state <> 'refused'
                OR (body_hash = $3 AND finished_at > clock_timestamp() - make_interval(secs => $4)))
         ORDER BY id DESC
         LIMIT 1
        """,  # noqa: S608  # only constants
        wanted.caller,
        wanted.request_id,
        wanted.body_hash,
        time.monotonic() - wanted.arrived_s,
    )
    if row and row["body_hash"] != wanted.body_hash:
        raise errors.REQUEST_ID_REUSED(f"request id {wanted.request_id} came before with another request")
    return _purchase(row) if row else None


def _answer(purchase: Purchase) -> Purchase:
    if purchase.refusal:
        raise purchase.refusal
    return purchase


def _of_the_caller(error: Error) -> Error:
    """What LOMS refused, as the caller of Purchase is told: the fields that LOMS names are not his."""
    if reason := _OF_THE_CART.get(error.reason):
        return reason(error.message)
    return Error(error.code, error.reason, error.message, metadata=error.metadata)


def _out_of_stock(answer: loms_pb2.CreateOrderResponse) -> Error:
    short = answer.shortages
    skus = ",".join(str(shortage.sku) for shortage in short)
    return OUT_OF_STOCK(
        f"not enough in stock: {skus}",
        skus=skus,
        wanted=",".join(str(shortage.wanted) for shortage in short),
        available=",".join(str(shortage.available) for shortage in short),
        order_id=answer.order_id,
    )


def _purchase(row: asyncpg.Record) -> Purchase:
    refusal = row["refusal"] and errors.from_status(status_pb2.Status.FromString(row["refusal"]))
    return Purchase(
        id=row["id"],
        user=row["user_id"],
        body_hash=row["body_hash"],
        lines=json.loads(row["lines"]),
        total_price=row["total_price"],
        currency=row["currency"],
        state=row["state"],
        order_id=row["order_id"],
        refusal=refusal,
    )
