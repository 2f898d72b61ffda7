"""Carts through the door."""

import asyncio
from dataclasses import replace

import pytest
from grpc import StatusCode

from abacus.checkout.v1 import checkout_pb2
from checkout import cart
from kit import requests
from kit.testing import refused


async def test_a_cart_is_shown_with_names_and_prices_of_now(shop):
    """Lines as put in, names in the language asked for, the total of all; a new price shows at once."""
    kettle = await shop.goods(5, name_ru="Чайник", name_en="Kettle", price=1999_00)
    cup = await shop.goods(9, name_ru="Чашка", name_en="Cup", price=250_00)
    await shop.add(cup, 4)
    await shop.add(kettle)
    expected = checkout_pb2.ListCartResponse(
        items=[
            checkout_pb2.CartItem(sku=cup, count=4, name="Чашка", price=250_00),
            checkout_pb2.CartItem(sku=kettle, count=1, name="Чайник", price=1999_00),
        ],
        total_price=2999_00,
        currency="RUB",
    )
    assert expected == await shop.show()
    await shop.product(cup, name_en="Mug", price=300_00)
    shown = await shop.show(language="en")
    assert (["Mug", "Kettle"], 3199_00) == ([item.name for item in shown.items], shown.total_price)


async def test_what_a_cart_would_hold_must_be_in_stock(shop):
    """The units already in the cart count; a refusal changes nothing."""
    sku = await shop.goods(5)
    await shop.add(sku, 3)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK") as error:
        await shop.add(sku, 3)
    assert {"sku": str(sku), "wanted": "6", "available": "5"} == error.metadata
    assert {sku: 3} == await shop.cart()
    await shop.add(sku, 2)
    assert {sku: 5} == await shop.cart()


async def test_adds_at_once_do_not_pass_the_stock(shop):
    """Ten of one unit each, five in stock: five are in the cart."""
    sku = await shop.goods(5)
    answers = await asyncio.gather(*(shop.add(sku) for _ in range(10)), return_exceptions=True)
    assert 5 == answers.count(None)
    assert {sku: 5} == await shop.cart()


@pytest.mark.parametrize("is_active", [None, False])
async def test_an_unknown_product_is_not_put_in(shop, is_active):
    """Unknown to the catalogue, or taken off sale; that there is none in stock either is not the answer."""
    sku = 4_000_000_000 if is_active is None else await shop.goods(0, is_active=is_active)
    with refused(StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"):
        await shop.add(sku)
    assert {} == await shop.cart()


async def test_a_sku_has_at_most_65535_units(shop):
    """One more is refused, however much there is."""
    sku = await shop.goods(100_000)
    await shop.add(sku, 65_535)
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_UNITS"):
        await shop.add(sku)
    assert {sku: 65_535} == await shop.cart()


async def test_what_restocking_would_not_heal_is_told_first(open_shop):
    """More than a cart may hold and than there is: the cart's limit; within it, that there are not so many."""
    shop = await open_shop(positions_max=2)
    sku, other, none = await shop.goods(60_000), await shop.goods(1), await shop.goods(0)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK"):
        await shop.add(sku, 65_535)
    await shop.add(sku, 60_000)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK"):
        await shop.add(sku, 5_535)
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_UNITS"):
        await shop.add(sku, 5_536)
    await shop.add(other)
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_POSITIONS"):
        await shop.add(none)


async def test_a_cart_has_a_limit_of_positions(open_shop):
    """One sku more is refused, more units of those inside are not."""
    shop = await open_shop(positions_max=2)
    skus = [await shop.goods(5) for _ in range(3)]
    await shop.add(skus[0])
    await shop.add(skus[1])
    with refused(StatusCode.FAILED_PRECONDITION, "TOO_MANY_POSITIONS"):
        await shop.add(skus[2])
    await shop.add(skus[1])
    assert {skus[0]: 1, skus[1]: 2} == await shop.cart()


async def test_a_repeated_add_adds_nothing_and_needs_nobody(shop, open_shop, away):
    """The same request is answered as at first, also when stock and peers are gone; another body is refused."""
    sku = await shop.goods(5)
    await asyncio.gather(*(shop.add(sku, 2, request_id="a-1") for _ in range(5)))
    await shop.adjust(sku, -5)
    alone = await open_shop(away, like=shop)
    await alone.add(sku, 2, request_id="a-1")
    assert {sku: 2} == await shop.cart()
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await alone.add(sku, 1, request_id="a-1")


async def test_a_refused_add_may_be_tried_again(shop):
    """What was refused is not stored: the same id works once there is enough."""
    sku = await shop.goods(1)
    with refused(StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK"):
        await shop.add(sku, 2, request_id="a-2")
    await shop.adjust(sku, 1)
    await shop.add(sku, 2, request_id="a-2")
    assert {sku: 2} == await shop.cart()


async def test_units_are_taken_out_up_to_what_is_there(shop):
    """Some, then more than there are; then the line is gone."""
    sku, other = await shop.goods(5), await shop.goods(5)
    await shop.add(sku, 5)
    await shop.add(other)
    await shop.delete(sku, 2)
    assert {sku: 3, other: 1} == await shop.cart()
    await shop.delete(sku, 9)
    assert {other: 1} == await shop.cart()
    with refused(StatusCode.NOT_FOUND, "NOT_IN_CART"):
        await shop.delete(sku)


async def test_a_repeated_delete_takes_nothing(shop):
    """One effect, also of five at once; another body is refused."""
    sku = await shop.goods(5)
    await shop.add(sku, 5)
    await asyncio.gather(*(shop.delete(sku, 2, request_id="d-1") for _ in range(5)))
    assert {sku: 3} == await shop.cart()
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await shop.delete(sku, 3, request_id="d-1")


async def test_carts_are_apart(shop, open_shop):
    """What one user does, another does not see."""
    other = await open_shop()
    sku = await shop.goods(5)
    await shop.add(sku, 2)
    await other.add(sku, 3)
    assert ({sku: 2}, {sku: 3}) == (await shop.cart(), await other.cart())
    with refused(StatusCode.NOT_FOUND, "NOT_IN_CART"):
        await (await open_shop()).delete(sku)


async def test_a_product_that_is_gone_does_not_break_the_cart(shop):
    """It is flagged, has no name and no price, and is not in the total."""
    sku, gone = await shop.goods(5), await shop.goods(5)
    await shop.add(gone, 2)
    await shop.add(sku, 3)
    await shop.product(gone, is_active=False)
    shown = await shop.show()
    assert checkout_pb2.CartItem(sku=gone, count=2, is_gone=True) == shown.items[0]
    assert (False, 300, "RUB") == (shown.items[1].is_gone, shown.total_price, shown.currency)
    await shop.product(sku, is_active=False)
    assert (0, "") == ((await shop.show()).total_price, (await shop.show()).currency)


async def test_an_empty_cart_asks_nobody(open_shop, away):
    """It is an empty list, whoever is down."""
    assert checkout_pb2.ListCartResponse() == await (await open_shop(away)).show()


async def test_a_cart_is_priced_in_one_call(open_shop, peers, instead):
    """However many lines it has."""
    calls = []

    async def get_products(request):
        calls.append(sorted(request.skus))
        return await peers.catalog.GetProducts(request)

    shop = await open_shop(replace(peers, catalog=instead(peers.catalog, GetProducts=get_products)))
    skus = [await shop.goods(5) for _ in range(3)]
    for sku in skus:
        await shop.add(sku)
    calls.clear()
    await shop.show()
    assert [skus] == calls


async def test_sums_in_two_currencies_have_no_total(shop):
    """Lines are shown; the purchase of them together is refused."""
    roubles, euros = await shop.goods(5), await shop.goods(5, currency="EUR", price=7)
    await shop.add(roubles)
    await shop.add(euros)
    shown = await shop.show()
    assert ([100, 7], 0, "") == ([item.price for item in shown.items], shown.total_price, shown.currency)
    with refused(StatusCode.FAILED_PRECONDITION, "CURRENCIES_MIXED"):
        await shop.purchase()


async def test_peers_that_are_down_are_told_in_time(shop, open_shop, away):
    """UNAVAILABLE within the call's limit, without the peer's address or inner text; the cart is as it was."""
    sku = await shop.goods(5)
    await shop.add(sku)
    alone = await open_shop(away, like=shop)
    for call in (alone.add(sku), alone.show(), alone.purchase()):
        async with asyncio.timeout(6):
            with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE") as error:
                await call
        assert "127.0.0.1" not in error.message
    assert {sku: 1} == await shop.cart()
    await alone.delete(sku)


@pytest.mark.parametrize("method", ["AddToCart", "DeleteFromCart"])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user": 0}, "user"),
        ({"user": -1}, "user"),
        ({"sku": 0}, "sku"),
        ({"count": 0}, "count"),
        ({"count": 65_536}, "count"),
        ({"request_id": "r" * 65}, "request_id"),
        ({"request_id": "\t"}, "request_id"),
    ],
)
async def test_bad_input_names_the_field(shop, method, wrong, field):
    """INVALID_ARGUMENT with a BadRequest of that field."""
    request = getattr(checkout_pb2, f"{method}Request")(**{"user": 1, "sku": 1, "count": 1} | wrong)
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field):
        await getattr(shop.stub, method)(request)


async def test_units_of_many_skus_are_taken_at_once(shop):
    """Of each up to what is there; a sku that is not there is no error."""
    one, two = await shop.goods(9), await shop.goods(9)
    await shop.add(one, 3)
    await shop.add(two, 3)
    async with shop.db.transaction() as conn:
        await cart.lock(conn, shop.user)
        assert 2 == await cart.take_many(conn, shop.user, {one: 1, two: 9, 4_000_000_000: 1})
    assert {one: 2} == await shop.cart()


async def test_ids_of_carts_are_forgotten_in_time(shop):
    """Those of AddToCart and DeleteFromCart after a week; a purchase keeps its own."""
    sku = await shop.goods(9)
    await shop.add(sku, 2, request_id="a-3")
    await shop.delete(sku, 1, request_id="d-3")
    bought = await shop.purchase(request_id=f"p-{sku}")
    await shop.db.pool.execute("UPDATE requests SET expires_at = expires_at - interval '8 days'")
    assert 2 == await requests.prune(shop.db)
    assert bought == await shop.purchase(request_id=f"p-{sku}")
