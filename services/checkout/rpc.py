"""The wire of checkout: check the request, make the call, translate the answer. No SQL here."""

import asyncio

from abacus.checkout.v1 import checkout_pb2
from checkout import cart, prices
from checkout.errors import PRODUCT_NOT_FOUND
from checkout.peers import Peers, Product
from checkout.purchases import Purchases, Wanted
from kit import requests
from kit.calls import Call
from kit.db import Connection, Database


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
        done = await self.purchases.buy(
            Wanted(
                user=request.user,
                caller=call.caller,
                request_id=call.request_id if call.has_request_id else None,
                body_hash=requests.body_hash(request),
                expected_total=request.expected_total if request.HasField("expected_total") else None,
                language=call.language,
            )
        )
        return checkout_pb2.PurchaseResponse(
            order_id=done.order_id, total_price=done.total_price, currency=done.currency
        )

    async def PlaceOrder(self, request, call):  # TODO: stub
        raise NotImplementedError


def _item(sku: int, count: int, product: Product | None) -> checkout_pb2.CartItem:
    if product is None:
        return checkout_pb2.CartItem(sku=sku, count=count, is_gone=True)
    return checkout_pb2.CartItem(sku=sku, count=count, name=product.name, price=product.price)
