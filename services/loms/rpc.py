"""The wire: check the request, make the call, translate the answer. No SQL here."""

from collections.abc import Iterable
from functools import partial

from abacus.loms.v1 import loms_pb2
from kit import paging, requests
from kit.access import Owned
from kit.calls import Call
from kit.db import Connection, Database
from loms import changes, history, orders, placing, stock
from loms.batches import Batcher, Batching
from loms.errors import TOO_MANY_POSITIONS, TOO_MANY_UNITS, no_order
from loms.history import Line

# They wait for a batch: the keys of `full`, for those who ask before there is a servicer.
BOUNDED = ("CreateOrder", "OrderPayed", "CancelOrder", "ListOrder", "Stocks")
UNITS_MAX = 65535  # of one sku in an order, however many lines name it


class Loms:
    """LomsService."""

    def __init__(self, db: Database, *, pay_within_s: float, positions_max: int, batching: Batching):
        self.db = db
        self.positions_max = positions_max
        place = partial(placing.create_many, db, pay_within_s=pay_within_s)
        self.creating: Batcher[placing.Wanted, loms_pb2.CreateOrderResponse] = Batcher(place, batching)
        self.paying: Batcher[changes.Asked, None] = Batcher(partial(changes.pay_many, db), batching)
        self.cancelling: Batcher[changes.Asked, None] = Batcher(partial(changes.cancel_many, db), batching)
        self.reading: Batcher[int, orders.Order] = Batcher(partial(orders.get_many, db), batching)
        self.stocks: Batcher[int, list[tuple[int, int]]] = Batcher(partial(stock.free_of, db), batching)
        owners: Batcher[int, int | None] = Batcher(partial(orders.owners, db), batching)
        self.owned = {"order_id": Owned(owners.ask, no_order)}
        self.full = {
            "CreateOrder": self.creating.is_full,
            "OrderPayed": self.paying.is_full,
            "CancelOrder": self.cancelling.is_full,
            "ListOrder": self.reading.is_full,
            "Stocks": self.stocks.is_full,
        }

    async def CreateOrder(self, request: loms_pb2.CreateOrderRequest, call: Call) -> loms_pb2.CreateOrderResponse:
        return await self.creating.ask(
            placing.Wanted(
                caller=call.caller,
                request_id=call.request_id,
                body_hash=requests.body_hash(request),
                user=request.user,
                currency=request.currency or "RUB",
                lines=_lines(request.items, self.positions_max),
            )
        )

    async def ListOrder(self, request: loms_pb2.ListOrderRequest, call: Call) -> loms_pb2.ListOrderResponse:
        return _shown(await self.reading.ask(request.order_id))

    async def OrderPayed(self, request: loms_pb2.OrderPayedRequest, call: Call) -> loms_pb2.OrderPayedResponse:
        await self.paying.ask(_asked(request, call))
        return loms_pb2.OrderPayedResponse()

    async def CancelOrder(self, request: loms_pb2.CancelOrderRequest, call: Call) -> loms_pb2.CancelOrderResponse:
        await self.cancelling.ask(_asked(request, call)._replace(reason=request.reason))
        return loms_pb2.CancelOrderResponse()

    async def Stocks(self, request: loms_pb2.StocksRequest, call: Call) -> loms_pb2.StocksResponse:
        free = await self.stocks.ask(request.sku)
        return loms_pb2.StocksResponse(
            stocks=[loms_pb2.Stock(warehouse_id=warehouse_id, count=units) for warehouse_id, units in free]
        )

    async def ListOrders(self, request: loms_pb2.ListOrdersRequest, call: Call) -> loms_pb2.ListOrdersResponse:
        page = paging.Page(request)
        found = await orders.of_user(
            self.db,
            request.user,
            status=history.from_enum(request.status),
            before=page.last_id,
            limit=page.limit,
        )
        shown, token = page.cut(found, key=lambda order: order.id)
        return loms_pb2.ListOrdersResponse(orders=[_shown(order) for order in shown], next_page_token=token)

    async def GetOrderHistory(
        self, request: loms_pb2.GetOrderHistoryRequest, call: Call
    ) -> loms_pb2.GetOrderHistoryResponse:
        rows = await history.of_order(self.db, request.order_id)
        if not rows:
            raise no_order(request.order_id)
        return loms_pb2.GetOrderHistoryResponse(
            changes=[
                loms_pb2.OrderChange(
                    version=row["version"],
                    previous_status=history.to_enum(row["previous_status"]),
                    status=history.to_enum(row["status"]),
                    reason=row["reason"],
                    actor=row["actor"],
                    at=row["at"],
                )
                for row in rows
            ]
        )

    async def ReceiveStock(self, request: loms_pb2.ReceiveStockRequest, call: Call) -> loms_pb2.ReceiveStockResponse:
        async def effect(conn: Connection) -> loms_pb2.ReceiveStockResponse:
            receipt = stock.Receipt(request.warehouse_id, request.sku, request.count)
            shelf = await stock.receive(conn, receipt, actor=call.caller)
            return loms_pb2.ReceiveStockResponse(on_hand=shelf.on_hand, reserved=shelf.reserved)

        return await requests.once(self.db, call, request, effect, keep_s=None)

    async def AdjustStock(self, request: loms_pb2.AdjustStockRequest, call: Call) -> loms_pb2.AdjustStockResponse:
        async def effect(conn: Connection) -> loms_pb2.AdjustStockResponse:
            shelf = await stock.adjust(
                conn,
                sku=request.sku,
                warehouse_id=request.warehouse_id,
                delta=request.delta,
                reason=request.reason,
                actor=call.caller,
            )
            return loms_pb2.AdjustStockResponse(on_hand=shelf.on_hand, reserved=shelf.reserved)

        return await requests.once(self.db, call, request, effect, keep_s=None)

    async def PlaceOrder(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ReserveOrder(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ConfirmOrder(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetOrder(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ListMyOrders(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ListStocks(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def CreateReservation(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetReservation(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ConfirmReservation(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def ReleaseReservation(self, request, call):  # TODO: stub
        raise NotImplementedError


def _lines(items: Iterable[loms_pb2.OrderItem], positions_max: int) -> list[Line]:
    """Lines in order of sku; one named twice is added up. What a field alone may be, the contract has checked."""
    lines: dict[int, Line] = {}
    for item in items:
        earlier = lines.get(item.sku)
        count = item.count + (earlier.units if earlier else 0)
        if count > UNITS_MAX:
            raise TOO_MANY_UNITS(f"sku {item.sku}: {count} units, at most {UNITS_MAX} in an order", field="items")
        lines[item.sku] = Line(item.sku, count, item.name, item.price)
    if len(lines) > positions_max:
        raise TOO_MANY_POSITIONS(f"{len(lines)} positions, at most {positions_max} in an order", field="items")
    return [lines[sku] for sku in sorted(lines)]


def _asked(request: loms_pb2.OrderPayedRequest | loms_pb2.CancelOrderRequest, call: Call) -> changes.Asked:
    return changes.Asked(
        order_id=request.order_id,
        version=request.version if request.HasField("version") else None,
        actor=call.caller,
        request_id=call.request_id if call.has_request_id else "",
        body_hash=requests.body_hash(request),
    )


def _shown(order: orders.Order) -> loms_pb2.ListOrderResponse:
    return loms_pb2.ListOrderResponse(
        status=history.to_enum(order.status),
        user=order.user,
        items=[
            loms_pb2.OrderItem(sku=line.sku, count=line.units, name=line.name, price=line.price) for line in order.lines
        ],
        order_id=order.id,
        version=order.version,
        created_at=history.to_timestamp(order.created_at),
        updated_at=history.to_timestamp(order.updated_at),
        pay_by=history.to_timestamp(order.pay_by),
        total_price=order.total_price,
        currency=order.currency,
        reason=order.reason,
        shortages=orders.to_shortages(order.shortages),
    )
