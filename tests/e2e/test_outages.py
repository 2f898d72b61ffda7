"""A part of the shop is down or hangs: callers are told soon and in plain words, and nothing is lost meanwhile."""

import asyncio
import contextlib
import itertools
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator

import grpc
import psutil
import pytest
from google.protobuf.message import Message

from abacus.catalog.v1 import catalog_pb2
from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from deploy.native.process import Process
from kit.testing import refused, until
from tests.audit import audit
from tests.callers import Callers, calling, order, receipt
from tests.stacks import database

TOLD_WITHIN_S = 5.0
SLACK_S = 0.5  # for a busy machine
PLAIN = re.compile(r"[A-Za-z ,]+")  # no address, no path, no class, no number
_numbers = itertools.count(500_000)  # users and skus

DOWN = pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hung"])


@contextlib.asynccontextmanager
async def down(process: Process, *, hangs: bool) -> AsyncIterator[None]:
    """Take a process away for the block: killed, or stopped with all its children so that it answers nothing."""
    if hangs:
        with _stopped(process):
            yield
    else:
        await process.kill()
        try:
            yield
        finally:
            await process.start()


@contextlib.contextmanager
def _stopped(process: Process) -> Iterator[None]:
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    for one in family:
        one.suspend()
    try:
        yield
    finally:
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)


async def told_soon(callers: Callers, method: str, request: Message, *reasons: str) -> None:
    """Expect UNAVAILABLE with one of the reasons, within the bound, in plain words."""
    started = time.monotonic()
    with refused(grpc.StatusCode.UNAVAILABLE) as error:
        await callers.call(method, request, timeout_s=3 * TOLD_WITHIN_S)
    assert error.reason in reasons
    assert TOLD_WITHIN_S + SLACK_S >= time.monotonic() - started
    assert PLAIN.fullmatch(error.message), error.message


@pytest.fixture
async def loms(shop: stack.Shop) -> AsyncIterator[Callers]:
    async with calling("loms", shop.address("loms")) as callers:
        yield callers


@pytest.fixture
async def checkout(shop: stack.Shop) -> AsyncIterator[Callers]:
    async with calling("checkout", shop.address("checkout")) as callers:
        yield callers


@pytest.fixture
async def sku(shop: stack.Shop, loms: Callers) -> int:
    """A product on sale, 100 in stock."""
    sku = next(_numbers)
    async with calling("catalog", shop.address("catalog")) as catalog:
        await catalog.call(
            "UpsertProduct", catalog_pb2.UpsertProductRequest(sku=sku, name_ru="Чай", name_en="Tea", price=100)
        )
    await loms.call("ReceiveStock", receipt(sku, 100))
    return sku


@DOWN
async def test_orders_go_on_without_kafka(shop, loms, sku, hangs):
    """Orders are made and paid as ever; their events wait in the outbox and reach notifications when Kafka is back."""
    user = next(_numbers)
    async with database(shop, "loms") as conn, database(shop, "notifications") as messages:
        async with down(shop["kafka"], hangs=hangs):
            made = await loms.call("CreateOrder", order(user, (sku, 1)))
            await loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=made.order_id))
            assert 1 >= loms.slowest_s
            assert 2 == await conn.fetchval("SELECT count(*) FROM outbox WHERE key = $1", str(made.order_id))
            assert await shop["loms"].healthy()
        noted = "SELECT count(*) FROM messages WHERE order_id = $1"
        await until(lambda: messages.fetchval(noted, made.order_id), 3, within_s=40)
        await audit(conn)


@DOWN
@pytest.mark.parametrize("peer", ["loms", "catalog"])
async def test_checkout_without_a_peer(shop, checkout, sku, peer, hangs):
    """Without loms or catalog a cart cannot be filled or bought: UNAVAILABLE; afterwards it is bought once."""
    user = next(_numbers)
    add = checkout_pb2.AddToCartRequest(user=user, sku=sku, count=1)
    purchase = checkout_pb2.PurchaseRequest(user=user, request_id=f"purchase {user}")
    await checkout.call("AddToCart", add)
    async with down(shop[peer], hangs=hangs):
        await asyncio.gather(
            told_soon(checkout, "AddToCart", add, "PEER_UNAVAILABLE"),
            told_soon(checkout, "Purchase", purchase, "PEER_UNAVAILABLE"),
        )
    await checkout.until_answered("Purchase", purchase)
    async with database(shop, "loms") as conn:
        assert 1 == await conn.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", user)


@DOWN
async def test_no_database(shop, loms, checkout, sku, hangs):
    """Without PostgreSQL every call is UNAVAILABLE; when it is back the same request is answered, once done."""
    user = next(_numbers)
    request = order(user, (sku, 1), request_id=f"order {user}")
    add = checkout_pb2.AddToCartRequest(user=user, sku=sku, count=1)
    reasons = ("DATABASE_UNAVAILABLE", "TIMEOUT", "PEER_UNAVAILABLE")
    async with down(shop["postgres"], hangs=hangs):
        await asyncio.gather(
            *(told_soon(loms, "CreateOrder", request, *reasons) for _ in range(30)),  # more than connections
            told_soon(loms, "Stocks", loms_pb2.StocksRequest(sku=sku), *reasons),
            told_soon(checkout, "AddToCart", add, *reasons),
        )
        assert await shop["loms"].healthy()
    made = await loms.until_answered("CreateOrder", request)
    async with database(shop, "loms") as conn:
        rows = await conn.fetch("SELECT id FROM orders WHERE user_id = $1", user)
        assert [made.order_id] == [row["id"] for row in rows]
        await audit(conn)
