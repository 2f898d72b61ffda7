"""Purchases that something cut off: finished by whoever comes next, once."""

import asyncio
from dataclasses import replace
from functools import partial

import grpc
import pytest
from grpc import StatusCode

from abacus.loms.v1 import loms_pb2_grpc
from checkout import purchases
from checkout.errors import OUT_OF_STOCK
from checkout.orders import Decision
from checkout.purchases import Wanted
from checkout.tests.conftest import due, insist
from kit import client
from kit.testing import refused, service_key


def wanted(shop, request_id=None):
    return Wanted(
        user=shop.user,
        caller="local",
        request_id=request_id,
        body_hash=b"",
        expected_total=None,
        language="ru",
    )


async def test_the_worker_finishes_a_purchase_that_was_only_begun(shop):
    """Died before LOMS was asked: the worker orders it, at the prices of then, and a second round changes nothing."""
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    await shop.buying.begin(wanted(shop))
    await shop.product(sku, price=999)
    await due(shop)
    assert [1, 0] == [await shop.buying.resume_once(), await shop.buying.resume_once()]
    (order,) = await shop.orders()
    assert (200, {}, ["done"]) == (order.total_price, await shop.cart(), await shop.states())


async def test_the_worker_finds_the_order_that_was_made(shop):
    """Died between LOMS's answer and its mark: the same order, not another one."""
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    begun = await shop.buying.begin(wanted(shop))
    decision = await shop.buying.order(begun)
    await due(shop)
    await shop.buying.resume_once()
    assert [decision.order_id] == [order.order_id for order in await shop.orders()]
    assert ({}, 3) == (await shop.cart(), await shop.tools.available(sku))


async def test_the_worker_leaves_alone_what_is_not_due(shop):
    """A purchase that its caller is busy with is not taken from under it."""
    shop.buying.resume_after_s = 60
    await shop.add(await shop.goods(5))
    await shop.buying.begin(wanted(shop))
    assert (0, ["open"]) == (await shop.buying.resume_once(), await shop.states())


async def test_a_purchase_closed_twice_takes_the_units_once(shop):
    """The second closer is given what the first one wrote, even where it would have written something else."""
    sku = await shop.goods(9)
    await shop.add(sku, 2)
    begun = await shop.buying.begin(wanted(shop))
    decision = await shop.buying.order(begun)
    await shop.add(sku, 2)
    first = await shop.buying.close(begun, decision)
    assert first == await shop.buying.close(begun, decision)
    other = await shop.buying.close(begun, Decision(refusal=OUT_OF_STOCK("none")))
    assert ("done", decision.order_id) == (other.state, other.order_id)
    assert {sku: 2} == await shop.cart()


async def test_with_loms_down_the_purchase_stays_open(shop, open_shop, peers, away):
    """UNAVAILABLE to the caller; the same id, or a call without one, gets its order when LOMS is back."""
    cut = await open_shop(replace(peers, loms=away.loms), like=shop)
    for request_id, later in ((f"p-{shop.user}", f"p-{shop.user}"), (f"q-{shop.user}", ""), ("", "")):
        await shop.add(await shop.goods(5))
        with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
            await cut.purchase(request_id=request_id)
        assert "open" == (await shop.states())[-1]
        bought = await shop.purchase(request_id=later)
        assert (bought.order_id, {}) == ((await shop.orders())[-1].order_id, await shop.cart())
        if request_id:
            assert bought == await shop.purchase(request_id=request_id)
    assert ["done"] * 3 == await shop.states()


async def test_another_request_finishes_the_open_one_first(shop):
    """Then it buys what is left; each id keeps its own order."""
    sku = await shop.goods(9)
    await shop.add(sku, 2)
    begun = await shop.buying.begin(wanted(shop, "A"))
    await shop.add(sku, 3)
    second = await shop.purchase(request_id=f"B-{sku}")
    assert [2, 3] == [order.items[0].count for order in await shop.orders()]
    assert (300, {}) == (second.total_price, await shop.cart())
    finished = await shop.buying.finish(begun)
    assert (await shop.orders())[0].order_id == (await shop.buying.close(finished, Decision())).order_id


async def test_another_request_does_not_pass_an_open_one_that_cannot_end(shop, open_shop, peers, away):
    """With LOMS down it is UNAVAILABLE too, and nothing is begun."""
    await shop.add(await shop.goods(9))
    await shop.buying.begin(wanted(shop, "A"))
    cut = await open_shop(replace(peers, loms=away.loms), like=shop)
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await cut.purchase(request_id="B")
    assert ["open"] == await shop.states()


async def test_a_resumed_purchase_is_no_answer_to_another_total(shop):
    """A call without an id that names the total of the fuller cart: the open one is finished, the rest is told."""
    sku = await shop.goods(9)
    await shop.add(sku, 2)
    await shop.buying.begin(wanted(shop))
    await shop.add(sku, 1)
    with refused(StatusCode.FAILED_PRECONDITION, "PRICE_CHANGED") as error:
        await shop.purchase(expected_total=300)
    assert "100" == error.metadata["total_price"]
    assert [200] == [order.total_price for order in await shop.orders()]


async def test_an_open_purchase_of_short_stock_is_refused_for_its_caller(shop):
    """The next call without an id gets the refusal; one with an id of its own tries for itself."""
    sku = await shop.goods(3)
    await shop.add(sku, 3)
    await shop.buying.begin(wanted(shop))
    await shop.adjust(sku, -1)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK"):
        await shop.purchase()
    await shop.buying.begin(wanted(shop))
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK"):
        await shop.purchase(request_id=f"p-{sku}")
    assert (["refused"] * 3, {sku: 3}) == (await shop.states(), await shop.cart())


async def test_a_purchase_that_cannot_end_pauses_longer_each_time(shop, open_shop, peers, away):
    """The worker tries, leaves it open, and comes back later and later; it ends when LOMS is back."""
    await shop.add(await shop.goods(5))
    await shop.buying.begin(wanted(shop))
    cut = await open_shop(replace(peers, loms=away.loms), like=shop)
    cut.buying.resume_after_s = 1
    pauses = []
    for _ in range(3):
        await due(shop)
        asked_at = await shop.db.pool.fetchval("SELECT clock_timestamp()")
        assert 1 == await cut.buying.resume_once()
        pauses.append((await shop.db.pool.fetchval("SELECT try_at FROM purchases") - asked_at).total_seconds())
    assert [1, 2, 4] == [round(pause) for pause in pauses]
    await due(shop)
    await shop.buying.resume_once()
    assert ["done"] == await shop.states()


async def test_one_that_fails_does_not_stop_the_others(open_shop, shop, peers, instead):
    """A batch with a purchase that LOMS fails on: the others are finished."""
    shops = [replace(shop, user=20_000_000 + shop.user * 100 + number) for number in range(4)]
    sku = await shop.goods(9)
    for each in shops:
        await each.add(sku)
        await each.buying.begin(wanted(each))

    async def create_order(request):
        if request.user == shops[1].user:
            raise RuntimeError("boom")
        return await peers.loms.CreateOrder(request)

    cut = await open_shop(replace(peers, loms=instead(peers.loms, CreateOrder=create_order)))
    await due(shop)
    assert 4 == await cut.buying.resume_once()
    assert ["done", "open", "done", "done"] == await shop.states()


async def test_replicas_of_the_worker_share_the_work(shop, monkeypatch):
    """Batches are bounded, and what another replica is taking is passed by without waiting."""
    monkeypatch.setattr(purchases, "WORKER_BATCH", 3)
    shop.buying.resume_after_s = 60
    shops = [replace(shop, user=30_000_000 + shop.user * 100 + number) for number in range(6)]
    sku = await shop.goods(9)
    for each in shops:
        await each.add(sku)
        await each.buying.begin(wanted(each))
    await due(shop)
    async with shop.db.transaction() as taking:
        await taking.execute("SELECT FROM purchases ORDER BY try_at, created_at LIMIT 2 FOR NO KEY UPDATE")
        assert [3, 1, 0] == [await shop.buying.resume_once() for _ in range(3)]
    assert ["done"] * 4 + ["open"] * 2 == sorted(await shop.states())
    assert [2, 0] == [await shop.buying.resume_once() for _ in range(2)]
    assert [1] * 6 == [len(await each.orders()) for each in shops]


async def test_the_reply_of_loms_may_get_lost(open_shop, peers, instead):
    """LOMS made the order, its answer never came: the caller is told to try again, and gets that order."""
    lost = []

    async def create_order(request):
        answer = await peers.loms.CreateOrder(request)
        if not lost:
            lost.append(answer.order_id)
            raise purchases.errors.PEER_UNAVAILABLE("no answer")
        return answer

    shop = await open_shop(replace(peers, loms=instead(peers.loms, CreateOrder=create_order)))
    await shop.add(await shop.goods(5))
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await shop.purchase(request_id=f"p-{shop.user}")
    assert lost == [(await shop.purchase(request_id=f"p-{shop.user}")).order_id]
    assert 1 == len(await shop.orders())


async def test_a_request_overtaken_by_its_twin_gets_the_same_order(shop, monkeypatch):
    """The twin emptied the cart after we looked for our id and before we looked into the cart."""
    await shop.add(await shop.goods(5))
    begin = shop.buying.begin

    async def overtaken(asked):
        monkeypatch.setattr(shop.buying, "begin", begin)
        twin.append(await shop.purchase(request_id=f"p-{shop.user}"))
        return await begin(asked)

    twin = []
    monkeypatch.setattr(shop.buying, "begin", overtaken)
    assert await shop.purchase(request_id=f"p-{shop.user}") == twin[0]
    assert 1 == len(await shop.orders())


async def test_a_request_refused_beside_us_is_refused_for_us_too(shop, open_shop, peers, instead):
    """The twin was told of short stock while we asked for prices: so are we, and no second order is kept as failed."""
    sku = await shop.goods(5)
    await shop.add(sku, 5)
    await shop.adjust(sku, -1)
    told = []

    async def get_products(request):
        with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK") as error:
            await shop.purchase(request_id=f"p-{sku}")
        told.append(error.metadata)
        return await peers.catalog.GetProducts(request)

    beside = await open_shop(replace(peers, catalog=instead(peers.catalog, GetProducts=get_products)), like=shop)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK") as error:
        await beside.purchase(request_id=f"p-{sku}")
    assert told == [error.metadata]
    assert (1, ["refused"]) == (len(await shop.orders()), await shop.states())


@pytest.mark.parametrize(
    "code", [StatusCode.RESOURCE_EXHAUSTED, StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.ABORTED]
)
async def test_a_transport_that_gives_up_has_not_decided(shop, open_shop, peers, code):
    """A bare code without a reason of ours, from a proxy or gRPC itself: the purchase stays open, its repeat buys."""

    async def give_up(request, context):
        await context.abort(code, "no")

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(give_up)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("abacus.loms.v1.LomsService", {"CreateOrder": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await shop.add(await shop.goods(5))
    async with client.connect(f"127.0.0.1:{port}", service_key("checkout")) as channel:
        loms = loms_pb2_grpc.LomsServiceStub(channel)
        cut = await open_shop(replace(peers, loms=loms), like=shop)
        with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
            await cut.purchase(request_id=f"p-{shop.user}")
    await server.stop(None)
    assert ["open"] == await shop.states()
    bought = await shop.purchase(request_id=f"p-{shop.user}")
    assert [bought.order_id] == [order.order_id for order in await shop.orders()]


async def test_the_figures_count_what_is_overdue(shop):
    """Open for more than a minute, by the database's clock."""
    await shop.add(await shop.goods(5))
    await shop.buying.begin(wanted(shop))
    assert {"overdue_purchases": 0} == await purchases.status(shop.db)
    await shop.db.pool.execute("UPDATE purchases SET created_at = created_at - interval '61 seconds'")
    assert {"overdue_purchases": 1} == await purchases.status(shop.db)


async def test_kill_9_of_the_process_loses_and_doubles_nothing(mortal, shop):
    """Users buy with ids while the process is killed between steps: each has one order, and an empty cart."""
    sku = await shop.goods(100)
    shops = [replace(shop, stub=mortal.stub, user=40_000_000 + number) for number in range(12)]

    async def buy(each):
        await insist(lambda: each.add(sku, 3, request_id=f"a-{each.user}"))
        return await insist(lambda: each.purchase(request_id=f"p-{each.user}"))

    bought = await mortal.killed_while("open", [partial(buy, each) for each in shops])
    again = await asyncio.gather(*(each.purchase(request_id=f"p-{each.user}") for each in shops))
    assert bought == again
    assert [[answer.order_id] for answer in bought] == [
        [order.order_id for order in await each.orders()] for each in shops
    ]
    assert [{}] * 12 == [await each.cart() for each in shops]
    assert 100 - 12 * 3 == await shop.tools.available(sku)
