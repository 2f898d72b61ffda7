"""Purchases: a cart, or a list past it, on its way to an order, whatever dies in between. Owns the table purchases.

Three steps, each safe to repeat, no lock held while others are asked:
1. `begin` writes the purchase with its lines as bought (state open; of a list: placing);
2. `order` asks LOMS for the order, under a request id made of the purchase's own: once asked, always the same order;
3. `close` writes what came of it (state done or refused), takes what was bought out of the cart, and keeps nothing of
   what the customer of a list filled in.
Whoever finds an unfinished purchase goes on with 2: its caller, a repeat, the user's next purchase of the cart (a user
has one open at most; of lists any number may be placing), the worker.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog
from google.rpc import status_pb2

from abacus.loms.v1 import loms_pb2
from checkout import cart, orders, prices
from checkout.errors import CART_EMPTY, PRICE_CHANGED, PRODUCT_GONE, PRODUCT_NOT_FOUND
from checkout.peers import Peers
from kit import errors
from kit.db import Connection, Database
from kit.errors import Error

log = structlog.get_logger()

OVERDUE_AFTER_S = 60
WORKER_BATCH = 20
WORKER_PAUSE_S_MAX = 60.0


@dataclass(frozen=True)
class Listed:
    """What is bought past the cart."""

    units: Mapping[int, int]  # by sku
    form: Mapping[str, str] = field(repr=False)  # address and means of payment, as PlaceOrder of LOMS names them


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for."""

    user: int
    caller: str
    request_id: str | None  # None: the caller gave none
    body_hash: bytes
    expected_total: int | None  # minor units
    language: str
    listed: Listed | None = None  # None: what is in the cart
    arrived_s: float = field(default_factory=time.monotonic)  # by the process's clock

    @property
    def method(self) -> str:
        """The RPC: the scope of the request id, with the caller."""
        return "PlaceOrder" if self.listed else "Purchase"


@dataclass(frozen=True)
class Purchase:
    """A row of the table."""

    id: UUID
    user: int
    body_hash: bytes
    lines: list[prices.Line]
    total_price: int
    currency: str
    method: str
    state: str
    order_id: int | None
    ordered_at: datetime | None  # of a list that is done
    refusal: Error | None
    form: dict[str, str] | None = field(repr=False)  # of a list that is placing


_COLUMNS = (
    "purchases.id, user_id, body_hash, lines, total_price, currency, method, state, order_id, ordered_at, refusal, form"
)
_UNFINISHED = ("open", "placing")


class Purchases:
    """The use case; `begin`, `order` and `close` are its steps."""

    def __init__(self, db: Database, peers: Peers, *, resume_after_s: float):
        self.db = db
        self.peers = peers
        self.resume_after_s = resume_after_s

    async def buy(self, wanted: Wanted) -> Purchase:
        """Order what is in the cart, or listed; give the purchase, done.

        A request id that came before gives its own purchase again, unless that was refused: then it tries anew. Before
        a cart is bought, an open purchase of the user is finished: it is the answer of a call without an id, unless
        that call names another total than the purchase has.

        Raises:
            Error: CART_EMPTY, PRODUCT_GONE, PRICE_CHANGED, OUT_OF_STOCK of a cart; PRODUCT_NOT_FOUND of a list; of both
                CURRENCIES_MIXED, TOO_MANY_POSITIONS, TOO_MANY_UNITS, REQUEST_ID_REUSED; PEER_UNAVAILABLE, after which
                the purchase may be unfinished.
        """
        while True:  # somebody else's step sends us round again; the call's deadline is the limit
            if mine := await _of_request(self.db.pool, wanted):
                return _answer(await self.finish(mine))
            if not wanted.listed and (earlier := await self._open_of(wanted.user)):
                finished = await self.finish(earlier)
                if wanted.request_id is None and wanted.expected_total in (None, finished.total_price):
                    return _answer(finished)
                continue
            try:
                begun = await self.begin(wanted)
            except Error:
                # The same request beside us may have made the cart as we saw it, empty, or begun while a product was
                # still sold: then its order is our answer.
                if await _of_request(self.db.pool, wanted):
                    continue
                raise
            if begun:
                return _answer(await self.finish(begun))

    async def finish(self, purchase: Purchase) -> Purchase:
        """Go on with a purchase until it is closed.

        Raises:
            Error, RuntimeError: LOMS did not decide; the purchase stays unfinished.
        """
        if purchase.state not in _UNFINISHED:
            return purchase
        return await self.close(purchase, await self.order(purchase))

    async def begin(self, wanted: Wanted) -> Purchase | None:
        """Write the purchase of what is in the cart now, or listed, at the prices of now.

        None where somebody was quicker: changed the cart, or has a purchase of the same user or the same request.
        """
        listed = wanted.listed
        units = listed.units if listed else await self._in_cart(wanted.user)
        lines, total, currency = prices.to_buy(
            units,
            await self.peers.products(list(units), wanted.language),
            unsold=PRODUCT_NOT_FOUND if listed else PRODUCT_GONE,
        )
        if wanted.expected_total not in (None, total):
            raise PRICE_CHANGED(
                f"the total is {total} now, not {wanted.expected_total}", total_price=total, currency=currency
            )
        async with self.db.transaction() as conn:
            if not listed:
                await cart.lock(conn, wanted.user)
                if await cart.lines(conn, wanted.user) != units:
                    return None
            if await _of_request(conn, wanted):
                return None
            row = await conn.fetchrow(
                f"""
                INSERT INTO purchases
                       (user_id, caller, method, request_id, body_hash, lines, total_price, currency, form, state,
                        try_at)
                VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9::jsonb, $10,
                        clock_timestamp() + make_interval(secs => $11))
                    ON CONFLICT DO NOTHING
                RETURNING {_COLUMNS}
                """,  # noqa: S608  # only constants
                wanted.user,
                wanted.caller,
                wanted.method,
                wanted.request_id,
                wanted.body_hash,
                json.dumps(lines, ensure_ascii=False),
                total,
                currency,
                json.dumps(dict(listed.form), ensure_ascii=False) if listed else None,
                "placing" if listed else "open",
                self.resume_after_s,
            )
        return _purchase(row) if row else None

    async def order(self, purchase: Purchase) -> orders.Decision:
        """Ask LOMS for the purchase's order.

        Raises:
            Error, RuntimeError: LOMS did not decide.
        """
        items = [loms_pb2.OrderItem(**line) for line in purchase.lines]
        request_id = f"purchase-{purchase.id}"
        if purchase.form is None:
            return await orders.create(
                self.peers.loms,
                loms_pb2.CreateOrderRequest(
                    user=purchase.user, items=items, currency=purchase.currency, request_id=request_id
                ),
            )
        return await orders.place(
            self.peers.loms,
            loms_pb2.PlaceOrderRequest(
                user=purchase.user, items=items, currency=purchase.currency, request_id=request_id, **purchase.form
            ),
        )

    async def close(self, purchase: Purchase, decision: orders.Decision) -> Purchase:
        """Write what came of a purchase; what was bought leaves the cart, what was put in meanwhile stays.

        Whoever closes second changes nothing, and is given what the first one wrote.
        """
        refusal = decision.refusal
        of_cart = purchase.method == "Purchase"
        async with self.db.transaction() as conn:
            if of_cart:
                await cart.lock(conn, purchase.user)
            row = await conn.fetchrow(
                f"""
                UPDATE purchases
                   SET state = CASE WHEN $4::bytea IS NULL THEN 'done' ELSE 'refused' END,
                       order_id = $2,
                       ordered_at = $3,
                       refusal = $4,
                       form = NULL,
                       finished_at = clock_timestamp()
                 WHERE id = $1
                   AND state IN ('open', 'placing')
                RETURNING {_COLUMNS}
                """,  # noqa: S608  # only constants
                purchase.id,
                decision.order_id,
                decision.ordered_at,
                errors.to_status(refusal).SerializeToString() if refusal else None,
            )
            if row and of_cart and not refusal:
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
                 WHERE state IN ('open', 'placing')
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
            log.warning("purchase stays unfinished", purchase=str(purchase.id), error=repr(error))

    async def _in_cart(self, user: int) -> dict[int, int]:
        async with self.db.pool.acquire() as conn:
            units = await cart.lines(conn, user)
        if not units:
            raise CART_EMPTY("the cart is empty")
        return units

    async def _open_of(self, user: int) -> Purchase | None:
        row = await self.db.pool.fetchrow(
            f"SELECT {_COLUMNS} FROM purchases WHERE user_id = $1 AND state = 'open'",  # noqa: S608  # only constants
            user,
        )
        return _purchase(row) if row else None


async def status(db: Database) -> dict[str, float]:
    """Count the purchases that have been unfinished for too long."""
    overdue = await db.pool.fetchval(
        """
        SELECT count(*)
          FROM purchases
         WHERE state IN ('open', 'placing')
           AND created_at < clock_timestamp() - make_interval(secs => $1)
        """,
        OVERDUE_AFTER_S,
    )
    return {"overdue_purchases": overdue}


async def _of_request(conn: Connection | asyncpg.Pool, wanted: Wanted) -> Purchase | None:
    """The purchase of this request: unfinished, done, or refused since the call came.

    What was refused before is not remembered: the call tries anew. But of calls that came at once, none makes another.
    """
    if wanted.request_id is None:
        return None
    row = await conn.fetchrow(
        f"""
        SELECT {_COLUMNS}
          FROM purchases
         WHERE (caller, method, request_id) = ($1, $2, $3)
           AND (state <> 'refused'
                OR (body_hash = $4 AND finished_at > clock_timestamp() - make_interval(secs => $5)))
         ORDER BY id DESC
         LIMIT 1
        """,  # noqa: S608  # only constants
        wanted.caller,
        wanted.method,
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


def _purchase(row: asyncpg.Record) -> Purchase:
    refusal = row["refusal"] and errors.from_status(status_pb2.Status.FromString(row["refusal"]))
    return Purchase(
        id=row["id"],
        user=row["user_id"],
        body_hash=row["body_hash"],
        lines=json.loads(row["lines"]),
        total_price=row["total_price"],
        currency=row["currency"],
        method=row["method"],
        state=row["state"],
        order_id=row["order_id"],
        ordered_at=row["ordered_at"],
        refusal=refusal,
        form=row["form"] and json.loads(row["form"]),
    )
