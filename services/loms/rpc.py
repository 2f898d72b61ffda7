"""The wire: check the request, make the call, translate the answer. No SQL here."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from abacus.loms.v1 import loms_pb2
from kit import paging, requests
from kit.access import Owned
from kit.calls import Call
from kit.db import Connection, Database
from loms import changes, history, orders, placing, reservations, reserving, stock, views
from loms.batches import Batcher, Batching
from loms.errors import TOO_MANY_POSITIONS, TOO_MANY_UNITS, no_order
from loms.history import Line
from loms.judging import Asked

# They wait for a batch: the keys of `full`, for those who ask before there is a servicer.
BOUNDED = (
    "CreateOrder",
    "OrderPayed",
    "CancelOrder",
    "ReserveOrder",
    "CreateReservation",
    "ConfirmOrder",
    "ReleaseReservation",
    "ListOrder",
    "Stocks",
)
CURRENCY = "RUB"  # where none is given
UNITS_MAX = 65535  # of one sku in an order, however many lines name it


class Loms:
    """LomsService."""

    def __init__(self, db: Database, *, pay_within_s: float, positions_max: int, batching: Batching):
        self.db = db
        self.positions_max = positions_max
        place = partial(placing.create_many, db, pay_within_s=pay_within_s)
        self.creating: Batcher[placing.Wanted, loms_pb2.CreateOrderResponse] = Batcher(place, batching)
        reserve = partial(reserving.reserve_many, db, pay_within_s=pay_within_s)
        self.reserving: Batcher[Asked, loms_pb2.ReserveOrderResponse] = Batcher(reserve, batching)
        self.paying: Batcher[Asked, loms_pb2.OrderPayedResponse] = Batcher(partial(changes.pay_many, db), batching)
        confirm = partial(changes.confirm_many, db)
        self.confirming: Batcher[Asked, loms_pb2.ConfirmOrderResponse] = Batcher(confirm, batching)
        cancel = partial(changes.cancel_many, db)
        self.cancelling: Batcher[Asked, loms_pb2.CancelOrderResponse] = Batcher(cancel, batching)
        self.reading: Batcher[int, orders.Order] = Batcher(partial(orders.get_many, db), batching)
        self.stocks: Batcher[int, list[tuple[int, int]]] = Batcher(partial(stock.free_of, db), batching)
        owners: Batcher[int, int | None] = Batcher(partial(orders.owners, db), batching)
        self.owned = {"order_id": Owned(owners.ask, no_order)}
        self.full = {
            "CreateOrder": self.creating.is_full,
            "OrderPayed": self.paying.is_full,
            "CancelOrder": self.cancelling.is_full,
            "ReserveOrder": self.reserving.is_full,
            "CreateReservation": self.reserving.is_full,
            "ConfirmOrder": self.confirming.is_full,
            "ReleaseReservation": self.cancelling.is_full,
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
                currency=request.currency or CURRENCY,
                lines=_lines(request.items, self.positions_max),
            )
        )

    async def ListOrder(self, request: loms_pb2.ListOrderRequest, call: Call) -> loms_pb2.ListOrderResponse:
        return views.shown(await self.reading.ask(request.order_id))

    async def OrderPayed(self, request: loms_pb2.OrderPayedRequest, call: Call) -> loms_pb2.OrderPayedResponse:
        return await self.paying.ask(_asked(request, call, request.order_id))

    async def CancelOrder(self, request: loms_pb2.CancelOrderRequest, call: Call) -> loms_pb2.CancelOrderResponse:
        return await self.cancelling.ask(_asked(request, call, request.order_id)._replace(reason=request.reason))

    async def Stocks(self, request: loms_pb2.StocksRequest, call: Call) -> loms_pb2.StocksResponse:
        return loms_pb2.StocksResponse(stocks=views.stocks(await self.stocks.ask(request.sku)))

    async def ListOrders(self, request: loms_pb2.ListOrdersRequest, call: Call) -> loms_pb2.ListOrdersResponse:
        found, token = await self._orders_of(request.user, request)
        return loms_pb2.ListOrdersResponse(orders=map(views.shown, found), next_page_token=token)

    async def GetOrderHistory(
        self, request: loms_pb2.GetOrderHistoryRequest, call: Call
    ) -> loms_pb2.GetOrderHistoryResponse:
        rows = await history.of_order(self.db, request.order_id)
        if not rows:
            raise no_order(request.order_id)
        return loms_pb2.GetOrderHistoryResponse(changes=map(views.change, rows))

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

    async def PlaceOrder(self, request: loms_pb2.PlaceOrderRequest, call: Call) -> loms_pb2.PlaceOrderResponse:
        lines = _lines(request.items, self.positions_max)

        async def effect(conn: Connection) -> loms_pb2.PlaceOrderResponse:
            order = await reserving.place(
                conn,
                user=request.user,
                currency=request.currency or CURRENCY,
                lines=lines,
                address=orders.Address(**{name: getattr(request, name) for name in orders.Address._fields}),
                actor=call.caller,
            )
            return loms_pb2.PlaceOrderResponse(
                order_id=order.id,
                status=history.to_enum(order.status),
                created_at=history.to_timestamp(order.created_at),
            )

        return await requests.once(self.db, call, request, effect, keep_s=None)

    async def ReserveOrder(self, request: loms_pb2.ReserveOrderRequest, call: Call) -> loms_pb2.ReserveOrderResponse:
        return await self.reserving.ask(_asked(request, call, request.order_id))

    async def ConfirmOrder(self, request: loms_pb2.ConfirmOrderRequest, call: Call) -> loms_pb2.ConfirmOrderResponse:
        return await self.confirming.ask(_asked(request, call, request.order_id))

    async def GetOrder(self, request: loms_pb2.GetOrderRequest, call: Call) -> loms_pb2.GetOrderResponse:
        order, address = await orders.get_with_address(self.db, request.order_id)
        changes_of_it = await history.of_order(self.db, request.order_id)
        return loms_pb2.GetOrderResponse(order=views.whole(order, address, changes_of_it))

    async def ListMyOrders(self, request: loms_pb2.ListMyOrdersRequest, call: Call) -> loms_pb2.ListMyOrdersResponse:
        assert call.principal.user is not None, "the contract admits persons only"
        found, token = await self._orders_of(call.principal.user, request)
        return loms_pb2.ListMyOrdersResponse(orders=map(views.summary, found), next_page_token=token)

    async def ListStocks(self, request: loms_pb2.ListStocksRequest, call: Call) -> loms_pb2.ListStocksResponse:
        if named := list(dict.fromkeys(request.product_ids)):
            free = await stock.free_of(self.db, named)
            return loms_pb2.ListStocksResponse(stocks=map(views.product_stock, named, free))
        page = paging.Page(request)
        found, token = page.cut(await stock.page(self.db, after=page.last_id or 0, limit=page.limit), key=itemgetter(0))
        return loms_pb2.ListStocksResponse(stocks=[views.product_stock(*one) for one in found], next_page_token=token)

    async def CreateReservation(
        self, request: loms_pb2.CreateReservationRequest, call: Call
    ) -> loms_pb2.CreateReservationResponse:
        items = Counter[int]()
        for item in request.items:
            items[item.product_id] += item.quantity
        asked = _asked(request, call, request.order_id)._replace(items=items or None)
        return views.reserved(await self.reserving.ask(asked))

    async def GetReservation(
        self, request: loms_pb2.GetReservationRequest, call: Call
    ) -> loms_pb2.GetReservationResponse:
        found = await reservations.get(self.db, request.reservation_id)
        return loms_pb2.GetReservationResponse(reservation=views.reservation(found))

    async def ConfirmReservation(
        self, request: loms_pb2.ConfirmReservationRequest, call: Call
    ) -> loms_pb2.ConfirmReservationResponse:
        found = await reservations.posted(
            self.db, request.reservation_id, version=request.version if request.HasField("version") else None
        )
        return loms_pb2.ConfirmReservationResponse(
            reservation_id=found.order_id, status=views.reservation_status(found.state)
        )

    async def ReleaseReservation(
        self, request: loms_pb2.ReleaseReservationRequest, call: Call
    ) -> loms_pb2.ReleaseReservationResponse:
        await reservations.get(self.db, request.reservation_id)  # there is one, and from then on there always is
        await self.cancelling.ask(_asked(request, call, request.reservation_id))
        found = await reservations.get(self.db, request.reservation_id)
        return loms_pb2.ReleaseReservationResponse(
            reservation_id=found.order_id, status=views.reservation_status(found.state)
        )

    async def _orders_of(
        self, user: int, request: loms_pb2.ListOrdersRequest | loms_pb2.ListMyOrdersRequest
    ) -> tuple[Sequence[orders.Order], str]:
        """The page that a request asks for, and the token of the next one."""
        page = paging.Page(request)
        found = await orders.of_user(
            self.db,
            user,
            status=history.from_enum(request.status),
            before=page.last_id,
            limit=page.limit,
        )
        return page.cut(found, key=lambda order: order.id)


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


def _asked(request: Any, call: Call, order_id: int) -> Asked:
    """What a change of an order is told of the call; its message has request_id and version."""
    return Asked(
        method=call.method,
        order_id=order_id,
        version=request.version if request.HasField("version") else None,
        actor=call.caller,
        request_id=call.request_id if call.has_request_id else "",
        body_hash=requests.body_hash(request),
    )
