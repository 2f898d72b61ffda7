"""Orders of a list, past the cart, through the door: what PlaceOrder makes, refuses and repeats."""

import asyncio
from dataclasses import replace

import pytest
from grpc import StatusCode

from abacus.checkout.v1 import checkout_pb2, checkout_pb2_grpc
from abacus.loms.v1 import loms_pb2
from checkout import rpc
from checkout.tests.conftest import ADDRESS, SERVICE
from kit.testing import person_token, refused

UNKNOWN = 4_000_000_000  # no product has this id


async def test_a_list_makes_a_new_order(shop):
    """Of what is named, added up, at the catalogue's names and prices of now; whether there is any is not looked at."""
    kettle = await shop.goods(0, name_en="Kettle", price=1999_00)
    cup = await shop.goods(9, name_en="Cup", price=250_00)
    placed = await shop.place((cup, 1), (kettle, 1), (cup, 3), language="en")
    (order,) = await shop.orders()
    expected = checkout_pb2.PlaceOrderResponse(
        order_id=order.order_id,
        status=loms_pb2.ORDER_STATUS_NEW,
        total_amount=2999_00,
        currency="RUB",
        items=[
            loms_pb2.OrderedProduct(product_id=cup, name="Cup", quantity=4, price=250_00, amount=1000_00),
            loms_pb2.OrderedProduct(product_id=kettle, name="Kettle", quantity=1, price=1999_00, amount=1999_00),
        ],
        created_at=order.created_at,
    )
    assert expected == placed
    assert (shop.user, loms_pb2.ORDER_STATUS_NEW, 2999_00, "RUB") == (
        order.user,
        order.status,
        order.total_price,
        order.currency,
    )
    assert {("Kettle", 1, 1999_00), ("Cup", 4, 250_00)} == {(item.name, item.count, item.price) for item in order.items}
    assert 9 == await shop.tools.available(cup)


async def test_one_unit_of_one_product_is_ordered_by_its_id(shop):
    """As seed 001 writes it: `productId` instead of items."""
    sku = await shop.goods(5)
    placed = await shop.place(product_id=sku)
    assert [(sku, 1, 100)] == [(item.product_id, item.quantity, item.amount) for item in placed.items]


@pytest.mark.parametrize("means", [{}, {"card": "card_9f2c"}, {"phone": "+79990000001"}])
async def test_the_order_is_told_where_to_and_how_it_is_paid(shop, means):
    """Whatever was filled in stands in the order at LOMS, and no more."""
    placed = await shop.place((await shop.goods(1), 1), **means)
    order = await shop.order(placed.order_id)
    shown = {name: getattr(order, name) for name in rpc.FORM}
    assert {"card": "", "phone": ""} | ADDRESS | means == shown


async def test_names_are_in_the_callers_language(shop):
    """The field, else the header, else Russian."""
    sku = await shop.goods(5, name_ru="Чайник", name_en="Kettle")
    request = checkout_pb2.PlaceOrderRequest(user=shop.user, product_id=sku, **ADDRESS)
    by_header = await shop.stub.PlaceOrder(request, metadata=(("accept-language", "en-GB,en;q=0.9"),))
    by_field = await shop.place((sku, 1), language="en")
    by_default = await shop.place((sku, 1))
    answers = (by_header, by_field, by_default)
    assert ["Kettle", "Kettle", "Чайник"] == [answer.items[0].name for answer in answers]


async def test_a_person_orders_for_himself(shop, db, peers, open_door):
    """Naming himself, or nobody, is one request; naming another is refused. A service has to name somebody."""
    sku = await shop.goods(5)
    token = person_token(shop.user)
    door = await open_door(SERVICE, rpc.Checkout(db, peers, shop.buying, positions_max=20), token=token)
    person = replace(shop, stub=checkout_pb2_grpc.CheckoutServiceStub(door))
    placed = await person.place((sku, 1), user=0, request_id="mine")
    assert placed == await person.place((sku, 1), request_id="mine")
    assert [placed.order_id] == [order.order_id for order in await shop.orders()]
    with refused(StatusCode.PERMISSION_DENIED, "NOT_YOURSELF", field="user"):
        await person.place((sku, 1), user=shop.user + 1)
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="user"):
        await shop.place((sku, 1), user=0)


async def test_the_cart_is_not_touched(shop):
    """Not even by an order of the same product."""
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    await shop.place((sku, 1))
    assert {sku: 2} == await shop.cart()
    assert 200 == (await shop.purchase()).total_price


async def test_the_same_request_gives_the_first_answer(shop, open_shop, away):
    """Also when the product has another price, the order is cancelled and every peer is down."""
    sku = await shop.goods(5)
    first = await shop.place((sku, 2), request_id="l-1", phone="+79990000001")
    await shop.product(sku, price=999, name_ru="Другое", is_active=False)
    await shop.tools.loms.CancelOrder(loms_pb2.CancelOrderRequest(order_id=first.order_id))
    alone = await open_shop(away, like=shop)
    for each in (shop, alone):
        assert first == await each.place((sku, 2), request_id="l-1", phone="+79990000001")
    assert 1 == len(await shop.orders())


@pytest.mark.parametrize(
    "other",
    [{"street": "ул. Мира, 5"}, {"phone": "+79990000002"}, {"phone": "", "card": "card_1"}, {"language": "en"}],
)
async def test_another_body_under_the_same_id_is_refused(shop, other):
    """Whatever differs, what is personal too, although that is not kept."""
    sku = await shop.goods(5)
    await shop.place((sku, 1), request_id="l-2", phone="+79990000001")
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.place((sku, 1), **{"request_id": "l-2", "phone": "+79990000001"} | other)
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.place((sku, 2), request_id="l-2", phone="+79990000001")
    assert 1 == len(await shop.orders())


async def test_a_request_id_is_the_methods_own(shop):
    """The purchase of the cart under the same id is another request."""
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    placed = await shop.place((sku, 1), request_id="l-3")
    bought = await shop.purchase(request_id="l-3")
    assert [placed.order_id, bought.order_id] == [order.order_id for order in await shop.orders()]
    assert placed == await shop.place((sku, 1), request_id="l-3")
    assert bought == await shop.purchase(request_id="l-3")


async def test_the_header_is_a_request_id_too(shop):
    """`idempotency-key`, as it comes by REST."""
    sku = await shop.goods(5)
    request = checkout_pb2.PlaceOrderRequest(user=shop.user, product_id=sku, **ADDRESS)
    first = await shop.stub.PlaceOrder(request, metadata=(("idempotency-key", "l-4"),))
    assert first == await shop.place(product_id=sku, request_id="l-4")


async def test_five_at_once_with_one_id_make_one_order(shop, open_shop):
    """Over two replicas; all get the same answer."""
    replica = await open_shop(like=shop)
    sku = await shop.goods(5)
    answers = await asyncio.gather(
        *(each.place((sku, 2), request_id="l-5") for each in (shop, replica, shop, replica, shop))
    )
    (order,) = await shop.orders()
    assert [order.order_id] * 5 == [answer.order_id for answer in answers]
    assert [answers[0]] * 5 == answers
    assert ["done"] == await shop.states()


async def test_five_at_once_without_an_id_make_five_orders(shop):
    """Each call is an order of its own, also for one user at one moment."""
    sku = await shop.goods(5)
    answers = await asyncio.gather(*(shop.place((sku, 1)) for _ in range(5)))
    assert 5 == len({answer.order_id for answer in answers}) == len(await shop.orders())


async def test_a_product_that_is_not_on_sale_refuses_the_list(shop):
    """Unknown or taken off sale: all such are named, nothing is written, and the id is free."""
    sku, inactive = await shop.goods(5), await shop.goods(5, is_active=False)
    with refused(StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND") as error:
        await shop.place((inactive, 1), (sku, 1), (UNKNOWN, 1), request_id="l-6")
    assert {"skus": f"{inactive},{UNKNOWN}"} == error.metadata
    assert ([], []) == (await shop.states(), await shop.orders())
    assert 100 == (await shop.place((sku, 1), request_id="l-6")).total_amount


async def test_several_currencies_refuse_the_list(shop):
    """One order is in one currency."""
    roubles, euros = await shop.goods(5), await shop.goods(5, currency="EUR")
    with refused(StatusCode.FAILED_PRECONDITION, "CURRENCIES_MIXED") as error:
        await shop.place((roubles, 1), (euros, 1))
    assert {"currencies": "EUR,RUB"} == error.metadata
    assert [] == await shop.states()
    assert "EUR" == (await shop.place((euros, 1))).currency


async def test_a_list_has_a_limit_of_units_of_one_product(shop):
    """65535, added up over its lines."""
    sku = await shop.goods(5)
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_UNITS") as error:
        await shop.place((sku, 65_535), (sku, 1))
    assert {"sku": str(sku), "wanted": "65536"} == error.metadata
    assert [] == await shop.states()
    assert 6_553_500 == (await shop.place((sku, 65_534), (sku, 1))).total_amount


async def test_a_list_has_a_limit_of_products(shop):
    """20 different ones, however often each is named."""
    skus = [await shop.goods(1) for _ in range(21)]
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_POSITIONS") as error:
        await shop.place(*((sku, 1) for sku in skus))
    assert {"limit": "20"} == error.metadata
    assert [] == await shop.states()
    assert 20 == len((await shop.place(*((sku, 1) for sku in (*skus[:20], *skus[:20])))).items)


async def test_what_loms_refuses_is_closed_and_told(open_shop):
    """A list of more products than LOMS takes: no field is named; a shorter one goes under the same id."""
    shop = await open_shop(positions_max=21)
    skus = [await shop.goods(1) for _ in range(21)]
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_POSITIONS") as error:
        await shop.place(*((sku, 1) for sku in skus), request_id="l-7")
    assert ([], {}, ["refused"]) == (error.fields, error.metadata, await shop.states())
    assert 0 == await shop.buying.resume_once()
    await shop.place((skus[0], 1), request_id="l-7")
    assert (["refused", "done"], 1) == (await shop.states(), len(await shop.orders()))


async def test_a_peer_that_is_down_is_told_in_time(open_shop, peers, away):
    """Without prices nothing is written."""
    shop = await open_shop(replace(peers, catalog=away.catalog))
    async with asyncio.timeout(6):
        with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
            await shop.place((await shop.goods(5), 1), request_id="l-8")
    assert [] == await shop.states()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user": -1}, "user"),
        ({"country": ""}, "country"),
        ({"region": ""}, "region"),
        ({"city": "М" * 201}, "city"),
        ({"street": "ул. Ленина\n"}, "street"),
        ({"card": "4111111111111111"}, "card"),
        ({"phone": "89990000001"}, "phone"),
        ({"request_id": "r" * 65}, "request_id"),
        ({"language": "de"}, "language"),
        ({"items": [checkout_pb2.WantedProduct(product_id=1)]}, "items[0].quantity"),
        ({"items": [checkout_pb2.WantedProduct(quantity=1)]}, "items[0].product_id"),
        ({"items": [checkout_pb2.WantedProduct(product_id=1, quantity=65_536)]}, "items[0].quantity"),
        ({"items": []}, None),
        ({"product_id": 1}, None),
        ({"card": "card_1", "phone": "+79990000001"}, None),
    ],
)
async def test_bad_input_names_the_field(shop, wrong, field):
    """INVALID_ARGUMENT with a BadRequest of that field; or of none, where two exclude each other. It echoes nothing."""
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field) as error:
        await shop.place((1, 1), **wrong)
    assert not [text for text in ("4111", "8999", "Ленина", "+7") if text in error.message]
