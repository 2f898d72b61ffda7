"""Purchases through the door: what they make, refuse and repeat."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from grpc import StatusCode
from grpc_status import rpc_status

from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2
from checkout.tests.conftest import speaking
from kit.errors import Reason, from_status
from kit.testing import refused, service_key


async def test_a_purchase_makes_an_order_of_the_cart(shop):
    """LOMS holds the stock, keeps names and prices of now in the language asked for; the cart is empty after."""
    kettle = await shop.goods(5, name_en="Kettle", price=1999_00)
    cup = await shop.goods(9, name_en="Cup", price=250_00)
    await shop.add(kettle)
    await shop.add(cup, 4)
    bought = await shop.purchase(language="en", expected_total=2999_00)
    (order,) = await shop.orders()
    assert checkout_pb2.PurchaseResponse(order_id=order.order_id, total_price=2999_00, currency="RUB") == bought
    assert loms_pb2.ORDER_STATUS_AWAITING_PAYMENT == order.status
    assert [
        loms_pb2.OrderItem(sku=kettle, count=1, name="Kettle", price=1999_00),
        loms_pb2.OrderItem(sku=cup, count=4, name="Cup", price=250_00),
    ] == list(order.items)
    assert (shop.user, 2999_00, "RUB") == (order.user, order.total_price, order.currency)
    assert (4, 5) == (await shop.tools.available(kettle), await shop.tools.available(cup))
    assert {} == await shop.cart()
    assert ["done"] == await shop.states()


async def test_an_empty_cart_is_not_bought(shop):
    """FAILED_PRECONDITION, also after everything was bought."""
    with refused(StatusCode.FAILED_PRECONDITION, "CART_EMPTY"):
        await shop.purchase()
    await shop.add(await shop.goods(1))
    await shop.purchase()
    with refused(StatusCode.FAILED_PRECONDITION, "CART_EMPTY"):
        await shop.purchase()
    assert 1 == len(await shop.orders())


async def test_short_stock_refuses_the_purchase_and_keeps_the_cart(shop):
    """The skus that were short are named; with enough in stock a new purchase goes through."""
    short, there = await shop.goods(5), await shop.goods(5)
    await shop.add(short, 5)
    await shop.add(there, 2)
    await shop.adjust(short, -2)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK") as error:
        await shop.purchase()
    (order,) = await shop.orders()
    assert loms_pb2.ORDER_STATUS_FAILED == order.status
    assert {
        "skus": str(short),
        "wanted": "5",
        "available": "3",
        "order_id": str(order.order_id),
    } == error.metadata
    assert {short: 5, there: 2} == await shop.cart()
    await shop.adjust(short, 2)
    await shop.purchase()
    assert {} == await shop.cart()
    assert ["refused", "done"] == await shop.states()


async def test_a_refused_purchase_may_be_tried_again(shop):
    """What was refused is not remembered: the same id is told what is short now, and buys once there is enough."""
    sku = await shop.goods(5)
    await shop.add(sku, 5)
    await shop.adjust(sku, -2)
    for available in ("3", "4"):
        with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK") as error:
            await shop.purchase(request_id=f"p-{sku}")
        assert (available, {sku: 5}) == (error.metadata["available"], await shop.cart())
        await shop.adjust(sku, 1)
    bought = await shop.purchase(request_id=f"p-{sku}")
    assert bought == await shop.purchase(request_id=f"p-{sku}")
    assert (["refused", "refused", "done"], {}) == (await shop.states(), await shop.cart())
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.purchase(request_id=f"p-{sku}", expected_total=500)


async def test_five_repeats_at_once_share_one_refusal_and_one_order(shop, open_shop):
    """Over two replicas, while stock is short and after: each time one try, and one answer for all."""
    replica = await open_shop(like=shop)
    sku = await shop.goods(5)
    await shop.add(sku, 5)
    await shop.adjust(sku, -1)

    async def at_once() -> list[object]:
        answers = (each.purchase(request_id=f"p-{sku}") for each in (shop, replica, shop, replica, shop))
        return await asyncio.gather(*answers, return_exceptions=True)

    for tries in (1, 2):
        told = [from_status(rpc_status.from_call(error)) for error in await at_once()]
        failed = await shop.orders()
        assert [("OUT_OF_STOCK", str(failed[-1].order_id))] * 5 == [
            (error.reason, error.metadata["order_id"]) for error in told
        ]
        assert [loms_pb2.ORDER_STATUS_FAILED] * tries == [order.status for order in failed]
    await shop.adjust(sku, 1)
    answers = await at_once()
    (*_, order) = await shop.orders()
    assert [order.order_id] * 5 == [answer.order_id for answer in answers]
    assert ["refused", "refused", "done"] == await shop.states()
    assert ({}, 0) == (await shop.cart(), await shop.tools.available(sku))


async def test_a_product_that_is_gone_refuses_the_purchase(shop):
    """Every such sku is named; nothing is written, so that the same id works when the cart is fit again."""
    sku, *gone = [await shop.goods(5) for _ in range(3)]
    for each in (sku, *gone):
        await shop.add(each)
    for each in gone:
        await shop.product(each, is_active=False)
    with refused(StatusCode.FAILED_PRECONDITION, "PRODUCT_GONE") as error:
        await shop.purchase(request_id=f"p-{sku}")
    assert {"skus": f"{gone[0]},{gone[1]}"} == error.metadata
    assert [] == await shop.states()
    for each in gone:
        await shop.delete(each)
    assert 100 == (await shop.purchase(request_id=f"p-{sku}")).total_price


async def test_another_total_than_expected_refuses_the_purchase(shop):
    """The total of now is told; with that one the same id goes on only as another request."""
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    await shop.product(sku, price=150)
    with refused(StatusCode.FAILED_PRECONDITION, "PRICE_CHANGED") as error:
        await shop.purchase(expected_total=200, request_id=f"p-{sku}")
    assert {"total_price": "300", "currency": "RUB"} == error.metadata
    assert ([], {sku: 2}) == (await shop.states(), await shop.cart())
    await shop.purchase(expected_total=300, request_id=f"p-{sku}")
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.purchase(expected_total=200, request_id=f"p-{sku}")


async def test_free_goods_can_be_bought(shop):
    """A total of zero is a total; not even naming it is refused."""
    await shop.add(await shop.goods(1, price=0))
    assert 0 == (await shop.purchase(expected_total=0)).total_price


async def test_the_same_request_gives_the_same_order(shop, open_shop, away):
    """Also with a cart filled since, also with every peer down; for another user it is another request."""
    sku = await shop.goods(5)
    await shop.add(sku)
    first = await shop.purchase(request_id=f"p-{sku}")
    await shop.add(sku, 2)
    alone = await open_shop(away, like=shop)
    assert first == await alone.purchase(request_id=f"p-{sku}")
    assert first == await shop.purchase(request_id=f"p-{sku}")
    assert ({sku: 2}, 1) == (await shop.cart(), len(await shop.orders()))
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.purchase(request_id=f"p-{sku}", user=shop.user + 1_000_000)


async def test_the_header_is_a_request_id_too(shop):
    """`idempotency-key` and the field are one; both, and different, is refused."""
    sku = await shop.goods(5)
    await shop.add(sku)
    header = (("idempotency-key", f"p-{sku}"),)
    first = await shop.stub.Purchase(checkout_pb2.PurchaseRequest(user=shop.user), metadata=header)
    assert first == await shop.purchase(request_id=f"p-{sku}")
    with refused(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_CONFLICT", field="request_id"):
        await shop.stub.Purchase(checkout_pb2.PurchaseRequest(user=shop.user, request_id="other"), metadata=header)


@pytest.mark.parametrize("ids", ["same", "none", "own"])
async def test_five_purchases_at_once_make_one_order(shop, open_shop, ids):
    """Over two replicas. With one id all get the order; else those that come too late find the cart empty."""
    replica = await open_shop(like=shop)
    sku = await shop.goods(9)
    await shop.add(sku, 3)
    request_id = {"same": lambda _: f"p-{sku}", "none": lambda _: "", "own": lambda n: f"p-{sku}-{n}"}[ids]
    answers = await asyncio.gather(
        *((shop, replica)[n % 2].purchase(request_id=request_id(n)) for n in range(5)), return_exceptions=True
    )
    bought = [answer for answer in answers if isinstance(answer, checkout_pb2.PurchaseResponse)]
    late = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    (order,) = await shop.orders()
    assert {order.order_id} == {answer.order_id for answer in bought}
    assert {"the cart is empty"} >= {error.details() for error in late}
    assert (5 if ids == "same" else 1) <= len(bought)
    assert ({}, 6) == (await shop.cart(), await shop.tools.available(sku))


async def test_many_buyers_at_once_do_not_disturb_each_other(open_shop, shop):
    """Twelve users, each with one cart, each bought twice at once: twelve orders."""
    sku = await shop.goods(12)
    shops = [replace(shop, user=10_000_000 + sku * 100 + number) for number in range(12)]
    await asyncio.gather(*(each.add(sku) for each in shops))
    await asyncio.gather(*(each.purchase() for each in (*shops, *shops)), return_exceptions=True)
    assert [1] * 12 == [len(await each.orders()) for each in shops]
    assert 0 == await shop.tools.available(sku)


async def test_a_cart_changed_while_prices_are_asked_is_asked_again(open_shop, peers, instead):
    """The order is of the cart as it was at one moment, at the prices of all its lines."""
    added = []

    async def get_products(request):
        if added == []:
            added.append(other)
            await plain.add(other, 2)
        return await peers.catalog.GetProducts(request)

    plain = await open_shop()
    shop = await open_shop(replace(peers, catalog=instead(peers.catalog, GetProducts=get_products)), like=plain)
    sku, other = await shop.goods(5), await shop.goods(5)
    await plain.add(sku)
    assert 300 == (await shop.purchase()).total_price
    (order,) = await shop.orders()
    assert {sku: 1, other: 2} == {item.sku: item.count for item in order.items}


async def test_nothing_is_locked_while_loms_is_asked(open_shop, peers, instead):
    """The cart can be changed meanwhile: what was put in stays, what was taken out is not missed."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def create_order(request):
        asked.set()
        await answer.wait()
        return await peers.loms.CreateOrder(request)

    shop = await open_shop(replace(peers, loms=instead(peers.loms, CreateOrder=create_order)))
    more, less, new = [await shop.goods(9) for _ in range(3)]
    await shop.add(more, 2)
    await shop.add(less, 3)
    buying = asyncio.ensure_future(shop.purchase())
    await asked.wait()
    await shop.add(more, 4)
    await shop.delete(less, 1)
    await shop.add(new)
    answer.set()
    assert 500 == (await buying).total_price
    assert {more: 4, new: 1} == await shop.cart()


async def test_what_loms_refuses_is_closed_and_told(open_shop):
    """A cart of more positions than LOMS takes: the cart's fault, no field of the request; the worker lets it be."""
    shop = await open_shop(positions_max=21)
    skus = [await shop.goods(1) for _ in range(21)]
    for sku in skus:
        await shop.add(sku)
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_POSITIONS") as error:
        await shop.purchase(request_id=f"p-{skus[0]}")
    assert ([], {}) == (error.fields, error.metadata)
    assert (["refused"], 21) == (await shop.states(), len(await shop.cart()))
    assert ([], 0) == (await shop.orders(), await shop.buying.resume_once())
    await shop.delete(skus[0])
    await shop.purchase(request_id=f"p-{skus[0]}")


async def test_units_that_loms_finds_too_many_are_the_carts_fault(open_shop, peers, instead):
    """As positions are; and any other argument that LOMS calls wrong is told without its fields."""
    refusals = [
        Reason(StatusCode.INVALID_ARGUMENT.value[0], name, "")("of the order", field="items[0].count")
        for name in ("TOO_MANY_UNITS", "INVALID_FIELD")
    ]

    async def create_order(request):
        raise refusals.pop(0)

    shop = await open_shop(replace(peers, loms=instead(peers.loms, CreateOrder=create_order)))
    await shop.add(await shop.goods(1))
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_UNITS") as units:
        await shop.purchase()
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as other:
        await shop.purchase()
    assert ([], []) == (units.fields, other.fields)
    assert ["refused"] * 2 == await shop.states()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user": 0}, "user"),
        ({"expected_total": -1}, "expected_total"),
        ({"request_id": "r" * 65}, "request_id"),
        ({"language": "de"}, "language"),
    ],
)
async def test_bad_input_names_the_field(shop, wrong, field):
    """INVALID_ARGUMENT with a BadRequest of that field."""
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field):
        await shop.purchase(**wrong)


async def test_a_key_that_loms_does_not_know_is_our_fault(open_shop, addresses):
    """The buyer's token is good, and he can mend nothing: an inner error, told without its text; nothing is lost."""
    async with speaking(service_key("checkout"), addresses) as strangers:
        shop = await open_shop(strangers)
        sku = await shop.goods(5)
        await shop.add(sku, 2)
        with refused(StatusCode.INTERNAL, "INTERNAL") as error:
            await shop.purchase()
        assert "token" not in error.message
        assert ({sku: 2}, ["open"]) == (await shop.cart(), await shop.states())
