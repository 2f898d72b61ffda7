"""A loms with a door, on its own database."""

import grpc
import pytest

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit.db import Database
from kit.testing import OpenDoor
from loms import rpc
from loms.batches import Batching

BATCHING = Batching(batch_max=64, queue_max=1000)
SERVICE = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]


class Desk:
    """What a test says to loms, in short."""

    def __init__(self, channel: grpc.aio.Channel, db: Database):
        self.channel = channel
        self.stub = loms_pb2_grpc.LomsServiceStub(channel)
        self.db = db

    async def receive(self, sku, count, warehouse_id=1):
        request_id = f"receive {warehouse_id} {sku} {count}"
        await self.stub.ReceiveStock(
            loms_pb2.ReceiveStockRequest(warehouse_id=warehouse_id, sku=sku, count=count, request_id=request_id)
        )

    async def create(self, *items, user=7, **more):
        return await self.stub.CreateOrder(wanted(*items, user=user, **more))

    async def place(self, *items, user=7, **more):
        return await self.stub.PlaceOrder(placing(*items, user=user, **more))

    async def reserve(self, order_id, **more):
        return await self.stub.ReserveOrder(loms_pb2.ReserveOrderRequest(order_id=order_id, **more))

    async def confirm(self, order_id, **more):
        await self.stub.ConfirmOrder(loms_pb2.ConfirmOrderRequest(order_id=order_id, **more))

    async def get(self, order_id):
        return (await self.stub.GetOrder(loms_pb2.GetOrderRequest(order_id=order_id))).order

    async def reservation(self, order_id):
        request = loms_pb2.GetReservationRequest(reservation_id=order_id)
        return (await self.stub.GetReservation(request)).reservation

    async def pay(self, order_id, **more):
        await self.stub.OrderPayed(loms_pb2.OrderPayedRequest(order_id=order_id, **more))

    async def cancel(self, order_id, **more):
        await self.stub.CancelOrder(loms_pb2.CancelOrderRequest(order_id=order_id, **more))

    async def show(self, order_id):
        return await self.stub.ListOrder(loms_pb2.ListOrderRequest(order_id=order_id))

    async def history(self, order_id):
        answer = await self.stub.GetOrderHistory(loms_pb2.GetOrderHistoryRequest(order_id=order_id))
        return list(answer.changes)

    async def free(self, sku):
        answer = await self.stub.Stocks(loms_pb2.StocksRequest(sku=sku))
        return {stock.warehouse_id: stock.count for stock in answer.stocks}

    async def events(self):
        return await self.db.pool.fetch("SELECT key, payload FROM outbox ORDER BY id")


def wanted(*items, user=7, **more):
    return loms_pb2.CreateOrderRequest(
        user=user, items=[loms_pb2.OrderItem(sku=sku, count=count) for sku, count in items], **more
    )


ADDRESS = {"country": "Россия", "region": "Тверская область", "city": "Тверь", "street": "Советская, 1"}


def placing(*items, user=7, **more):
    """Each of (sku, count), or of (sku, count, name, price)."""
    lines = [loms_pb2.OrderItem(**dict(zip(("sku", "count", "name", "price"), item, strict=False))) for item in items]
    return loms_pb2.PlaceOrderRequest(user=user, items=lines, **{**ADDRESS, **more})


@pytest.fixture
def pay_within_s():
    """How long the orders of a test wait for their payment; a test may override it."""
    return 600


@pytest.fixture
async def loms(db: Database, open_door: OpenDoor, pay_within_s) -> Desk:
    channel = await open_door(SERVICE, rpc.Loms(db, pay_within_s=pay_within_s, positions_max=20, batching=BATCHING))
    return Desk(channel, db)
