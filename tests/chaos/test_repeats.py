"""The same request again: at once, in one batch, with its answer lost, after a kill. One effect, one answer."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message

from abacus.catalog.v1 import catalog_pb2
from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from kit import db as kit_db
from kit import requests
from kit.settings import DatabaseSettings
from loms import history, placing
from loms.__main__ import MIGRATIONS
from tests.audit import audit, audit_purchases
from tests.callers import Callers, calling, order, receipt
from tests.sizes import SIZES
from tests.stacks import database

AT_ONCE = 5
STOCK = 1_000_000
ADDRESS = {"country": "RU", "region": "Tver", "city": "Tver", "street": "1"}

_numbers = itertools.count(5_000)  # users, skus and request ids of this file


@dataclass
class Pair:
    """Two processes of loms and two of checkout, on the same databases."""

    shop: stack.Shop
    loms: Callers
    checkout: Callers
    conn: asyncpg.Connection
    purchases: asyncpg.Connection
    sku: int


@pytest.fixture(scope="module")
async def pair(shop: stack.Shop) -> AsyncIterator[Pair]:
    await shop.start_replica("loms", name="loms-2")
    both = f"{shop.address('loms')},{shop.address('loms-2')}"
    await shop.start_replica("checkout", name="checkout-2", env={"CHECKOUT_LOMS": both})
    sku = next(_numbers)
    async with (
        calling("loms", shop.address("loms"), shop.address("loms-2")) as loms,
        calling("checkout", shop.address("checkout"), shop.address("checkout-2")) as checkout,
        database(shop, "loms") as conn,
        database(shop, "checkout") as purchases,
    ):
        await loms.call("ReceiveStock", receipt(sku, STOCK))
        async with calling("catalog", shop.address("catalog")) as catalog:
            product = catalog_pb2.UpsertProductRequest(sku=sku, name_ru="Чайник", name_en="Kettle", price=14_900)
            await catalog.call("UpsertProduct", product)
        yield Pair(shop, loms, checkout, conn, purchases, sku)


@dataclass(frozen=True)
class Repeatable:
    """A request that may come again, who takes it, and a look at how often it had its effect."""

    callers: Callers
    method: str
    request: Message
    effects: Callable[[], Awaitable[int]]


async def _create(pair: Pair) -> Repeatable:
    user = next(_numbers)

    async def effects() -> int:
        return await pair.conn.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", user)

    request = order(user, (pair.sku, 2), request_id=f"create {user}")
    return Repeatable(pair.loms, "CreateOrder", request, effects)


async def _pay(pair: Pair) -> Repeatable:
    made = await pair.loms.call("CreateOrder", order(next(_numbers), (pair.sku, 2)))

    async def effects() -> int:
        return await pair.conn.fetchval("SELECT count(*) FROM movements WHERE order_id = $1", made.order_id)

    request = loms_pb2.OrderPayedRequest(order_id=made.order_id, request_id=f"pay {made.order_id}")
    return Repeatable(pair.loms, "OrderPayed", request, effects)


async def _cancel(pair: Pair) -> Repeatable:
    made = await pair.loms.call("CreateOrder", order(next(_numbers), (pair.sku, 2)))

    async def effects() -> int:
        return await pair.conn.fetchval(
            "SELECT count(*) FROM order_history WHERE order_id = $1 AND status = 'cancelled'", made.order_id
        )

    request = loms_pb2.CancelOrderRequest(order_id=made.order_id, request_id=f"cancel {made.order_id}")
    return Repeatable(pair.loms, "CancelOrder", request, effects)


async def _receive(pair: Pair) -> Repeatable:
    sku = next(_numbers)

    async def effects() -> int:
        return await pair.conn.fetchval("SELECT count(*) FROM movements WHERE sku = $1", sku)

    return Repeatable(pair.loms, "ReceiveStock", receipt(sku, 7), effects)


async def _purchase(pair: Pair) -> Repeatable:
    user = next(_numbers)
    await pair.checkout.call("AddToCart", checkout_pb2.AddToCartRequest(user=user, sku=pair.sku, count=2))

    async def effects() -> int:
        return await pair.conn.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", user)

    request = checkout_pb2.PurchaseRequest(user=user, request_id=f"purchase {user}")
    return Repeatable(pair.checkout, "Purchase", request, effects)


async def _place(pair: Pair) -> Repeatable:
    user = next(_numbers)

    async def effects() -> int:
        return await pair.conn.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", user)

    items = [checkout_pb2.WantedProduct(product_id=pair.sku, quantity=2)]
    request = checkout_pb2.PlaceOrderRequest(user=user, items=items, request_id=f"place {user}", **ADDRESS)
    return Repeatable(pair.checkout, "PlaceOrder", request, effects)


async def _reserve(pair: Pair) -> Repeatable:
    items = [loms_pb2.OrderItem(sku=pair.sku, count=2)]
    placed = await pair.loms.call("PlaceOrder", loms_pb2.PlaceOrderRequest(user=next(_numbers), items=items, **ADDRESS))

    async def effects() -> int:
        return await pair.conn.fetchval(
            "SELECT count(*) FROM order_history WHERE order_id = $1 AND status = 'awaiting_payment'", placed.order_id
        )

    request = loms_pb2.ReserveOrderRequest(order_id=placed.order_id, request_id=f"reserve {placed.order_id}")
    return Repeatable(pair.loms, "ReserveOrder", request, effects)


OF_CHECKOUT = [_purchase, _place]
KINDS = pytest.mark.parametrize("make", [_create, _pay, _cancel, _receive, _reserve, *OF_CHECKOUT])


async def _audit(pair: Pair) -> None:
    await audit(pair.conn)
    await audit_purchases(pair.conn, pair.purchases)


async def _settles(pair: Pair, wanted: Repeatable, *earlier: Message) -> None:
    """Asked again of both processes, it has its one effect and always the same answer, those heard earlier too."""
    answers = [await wanted.callers.until_answered(wanted.method, wanted.request) for _ in range(2)]
    assert 1 == len({answer.SerializeToString(deterministic=True) for answer in (*answers, *earlier)})
    assert 1 == await wanted.effects()


@KINDS
async def test_five_at_once(pair, make):
    """Five at the same moment through two processes: one effect, five times the same bytes."""
    for _ in range(SIZES.repeats):
        wanted = await make(pair)
        answers = await asyncio.gather(*(wanted.callers.call(wanted.method, wanted.request) for _ in range(AT_ONCE)))
        assert AT_ONCE == len(answers)
        await _settles(pair, wanted, *answers)
    await _audit(pair)


@KINDS
async def test_the_answer_was_lost(pair, make, figure):
    """The caller hangs up at any moment after sending, then asks again: the answer is that of the first."""
    chance = random.Random(20261121)
    most_s = 0.04 if make in OF_CHECKOUT else 0.008  # about what an answer takes
    lost, had_effect = 0, 0
    for _ in range(SIZES.repeats):
        wanted = await make(pair)
        try:
            await wanted.callers.call(wanted.method, wanted.request, timeout_s=chance.uniform(0.001, most_s))
        except grpc.aio.AioRpcError:
            lost += 1
            had_effect += await wanted.effects()
        await _settles(pair, wanted)
    await _audit(pair)
    figure(f"{lost} of {SIZES.repeats} answers lost, {had_effect} of them after the effect; each had one in the end")


@KINDS
async def test_the_process_was_killed(pair, make, figure):
    """kill -9 of the process while it serves many: asked again, each has one effect and one answer."""
    killed = "checkout-2" if make in OF_CHECKOUT else "loms-2"
    chance = random.Random(20261121)
    wanted = [await make(pair) for _ in range(SIZES.repeats)]
    calls = [asyncio.ensure_future(one.callers.call(one.method, one.request, at=1)) for one in wanted]
    for answered in itertools.islice(asyncio.as_completed(calls), chance.randint(1, len(calls) // 2)):
        await answered
    await pair.shop[killed].kill()
    heard = await asyncio.gather(*calls, return_exceptions=True)
    cut_off = [answer for answer in heard if isinstance(answer, grpc.aio.AioRpcError)]
    assert {grpc.StatusCode.UNAVAILABLE} >= {error.code() for error in cut_off}
    unheard = sum([await one.effects() for one in wanted]) - (len(wanted) - len(cut_off))
    await pair.shop[killed].start()
    for one, answer in zip(wanted, heard, strict=True):
        await _settles(pair, one, *([] if isinstance(answer, BaseException) else [answer]))
    await _audit(pair)
    figure(
        f"{len(cut_off)} of {len(wanted)} requests cut off by the kill, {unheard} of them after the effect; "
        "each had one in the end"
    )


@pytest.mark.parametrize("make", OF_CHECKOUT)
async def test_loms_was_killed_under_a_purchase(pair, make):
    """kill -9 of a loms while carts and lists become orders: each is one order, and what was bought left the cart."""
    wanted = [await make(pair) for _ in range(SIZES.repeats)]
    calls = [asyncio.ensure_future(one.callers.call(one.method, one.request, at=1)) for one in wanted]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await pair.shop["loms-2"].kill()
    heard = await asyncio.gather(*calls, return_exceptions=True)
    await pair.shop["loms-2"].start()
    for one, answer in zip(wanted, heard, strict=True):
        await _settles(pair, one, *([] if isinstance(answer, BaseException) else [answer]))
    users = [one.request.user for one in wanted]
    assert 0 == await pair.purchases.fetchval("SELECT count(*) FROM cart_lines WHERE user_id = ANY($1)", users)
    await _audit(pair)


async def test_five_in_one_batch(pair):
    """Five of the same request among others in one batch of create_many: one order, one answer; then again."""
    settings = DatabaseSettings(database_url=pair.shop.database_url("loms"))
    request = order(next(_numbers), (pair.sku, 1), request_id=f"batch {next(_numbers)}")
    other = order(next(_numbers), (pair.sku, 1), request_id=f"batch {next(_numbers)}")

    def wanted(of: loms_pb2.CreateOrderRequest) -> placing.Wanted:
        lines = [history.Line(pair.sku, 1)]
        return placing.Wanted("local", of.request_id, requests.body_hash(of), of.user, "RUB", lines)

    batch = [wanted(request), wanted(other), *(wanted(request) for _ in range(AT_ONCE - 1))]
    async with kit_db.connect(settings, MIGRATIONS, "test") as db:
        answers = []
        for _ in range(2):
            answers += await placing.create_many(db, batch, pay_within_s=600)
    same = [answer for number, answer in enumerate(answers) if number % len(batch) != 1]
    assert 2 * AT_ONCE == len(same)
    assert 1 == len({answer.SerializeToString() for answer in same})
    assert 1 == await pair.conn.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", request.user)
    # The door gives the answer of the batch, too.
    assert same[0] == await pair.loms.call("CreateOrder", request)
    await _audit(pair)
