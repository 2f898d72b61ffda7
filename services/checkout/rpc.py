"""The wire of checkout: check the request, make the call, translate the answer. No SQL here."""

import asyncio
from collections import Counter

from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2
from checkout import cart, prices
from checkout.errors import PRODUCT_NOT_FOUND, TOO_MANY_POSITIONS, TOO_MANY_UNITS
from checkout.peers import Peers, Product
from checkout.purchases import Listed, Purchases, Wanted
from kit import requests
from kit.calls import Call
from kit.db import Connection, Database

FORM = ("country", "region", "city", "street", "card", "phone")


class Checkout:
    """abacus.checkout.v1.CheckoutService."""

    def __init__(self, db: Database, peers: Peers, purchases: Purchases, *, positions_max: int):
        self.db = db
        self.peers = peers
        self.purchases = purchases
        self.positions_max = positions_max

    async def AddToCart(self, request: checkout_pb2.AddToCartRequest, call: Call) -> checkout_pb2.AddToCartResponse:
        """Put units into the cart, if there are so many."""
        async with self.db.pool.acquire() as reading:
            answer = await requests.stored(reading, call, request)
        if answer is not None:
            return answer
        products, available = await asyncio.gather(
            self.peers.products([request.sku], call.language), self.peers.available(request.sku)
        )
        if request.sku not in products:
            raise PRODUCT_NOT_FOUND(f"there is no product {request.sku}", sku=request.sku)

        async def effect(conn: Connection) -> checkout_pb2.AddToCartResponse:
            await cart.add(
                conn,
                request.user,
                request.sku,
                request.count,
                available=available,
                positions_max=self.positions_max,
            )
            return checkout_pb2.AddToCartResponse()

        return await requests.once(self.db, call, request, effect)

    async def DeleteFromCart(
        self, request: checkout_pb2.DeleteFromCartRequest, call: Call
    ) -> checkout_pb2.DeleteFromCartResponse:
        """Take units out of the cart."""

        async def effect(conn: Connection) -> checkout_pb2.DeleteFromCartResponse:
            await cart.remove(conn, request.user, request.sku, request.count)
            return checkout_pb2.DeleteFromCartResponse()

        return await requests.once(self.db, call, request, effect)

    async def ListCart(self, request: checkout_pb2.ListCartRequest, call: Call) -> checkout_pb2.ListCartResponse:
        """Show the cart with the names and prices of now."""
        async with self.db.pool.acquire() as conn:
            units = await cart.lines(conn, request.user)
        products = await self.peers.products(list(units), call.language) if units else {}
        totals = prices.totals(units, products)
        # Sums in several currencies have no total: it is left out, and Purchase says why it cannot be.
        currency, total = next(iter(totals.items())) if len(totals) == 1 else ("", 0)
        return checkout_pb2.ListCartResponse(
            items=[_item(sku, count, products.get(sku)) for sku, count in units.items()],
            total_price=total,
            currency=currency,
        )

    async def Purchase(self, request: checkout_pb2.PurchaseRequest, call: Call) -> checkout_pb2.PurchaseResponse:
        """Order what is in the cart."""
        expected = request.expected_total if request.HasField("expected_total") else None
        done = await self.purchases.buy(_wanted(request, call, expected_total=expected))
        return checkout_pb2.PurchaseResponse(
            order_id=done.order_id, total_price=done.total_price, currency=done.currency
        )

    async def PlaceOrder(self, request: checkout_pb2.PlaceOrderRequest, call: Call) -> checkout_pb2.PlaceOrderResponse:
        """Place an order of what is listed, past the cart."""
        done = await self.purchases.buy(_wanted(request, call, listed=_listed(request, self.positions_max)))
        return checkout_pb2.PlaceOrderResponse(
            order_id=done.order_id,
            status=loms_pb2.ORDER_STATUS_NEW,  # the first answer, whatever became of the order since
            total_amount=done.total_price,
            currency=done.currency,
            items=[_ordered(line) for line in done.lines],
            created_at=done.ordered_at,
        )


def _item(sku: int, count: int, product: Product | None) -> checkout_pb2.CartItem:
    if product is None:
        return checkout_pb2.CartItem(sku=sku, count=count, is_gone=True)
    return checkout_pb2.CartItem(sku=sku, count=count, name=product.name, price=product.price)


def _wanted(
    request: checkout_pb2.PurchaseRequest | checkout_pb2.PlaceOrderRequest,
    call: Call,
    *,
    expected_total: int | None = None,
    listed: Listed | None = None,
) -> Wanted:
    return Wanted(
        user=request.user,
        caller=call.caller,
        request_id=call.request_id if call.has_request_id else None,
        body_hash=requests.body_hash(request),
        expected_total=expected_total,
        language=call.language,
        listed=listed,
    )


def _listed(request: checkout_pb2.PlaceOrderRequest, positions_max: int) -> Listed:
    """What a request lists, added up by product.

    Raises:
        Error: TOO_MANY_UNITS, TOO_MANY_POSITIONS.
    """
    units: Counter[int] = Counter({request.product_id: 1} if request.product_id else {})
    for item in request.items:
        units[item.product_id] += item.quantity
    if len(units) > positions_max:
        raise TOO_MANY_POSITIONS(f"at most {positions_max} products in an order", limit=positions_max)
    for sku, count in units.items():
        if count > cart.UNITS_MAX:
            raise TOO_MANY_UNITS(
                f"product {sku}: {count} units, at most {cart.UNITS_MAX} in an order", sku=sku, wanted=count
            )
    return Listed(units, {name: value for name in FORM if (value := getattr(request, name))})


def _ordered(line: prices.Line) -> loms_pb2.OrderedProduct:
    return loms_pb2.OrderedProduct(
        product_id=line["sku"],
        name=line["name"],
        quantity=line["count"],
        price=line["price"],
        amount=line["count"] * line["price"],
    )
