"""What LOMS says of the stock of products."""

import time
from collections.abc import Iterable, Sequence

import structlog

from abacus.catalog.v1 import catalog_pb2
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit.errors import Error

log = structlog.get_logger()

SAY_EVERY_S = 30.0


class Stock:
    """Asks LOMS: one call, for however many products."""

    def __init__(self, loms: loms_pb2_grpc.LomsServiceStub, *, timeout_s: float):
        self.loms = loms
        self.timeout_s = timeout_s  # that a list waits for it
        self._said_at = float("-inf")

    async def of(self, sku: int) -> loms_pb2.ProductStock:
        """Ask for the stock of one product.

        Raises:
            Error: PEER_UNAVAILABLE.
        """
        answer = await self.loms.ListStocks(loms_pb2.ListStocksRequest(product_ids=[sku]))
        return answer.stocks[0] if answer.stocks else loms_pb2.ProductStock(product_id=sku)

    async def add_to(self, products: Sequence[catalog_pb2.Product]) -> None:
        """Write into products what LOMS says of them; nothing where it does not say it in time."""
        if not products:
            return
        request = loms_pb2.ListStocksRequest(product_ids=[product.id for product in products])
        try:
            answer = await self.loms.ListStocks(request, timeout=self.timeout_s)
        except (Error, RuntimeError) as error:  # a product is worth showing without
            if time.monotonic() - self._said_at >= SAY_EVERY_S:
                self._said_at = time.monotonic()
                log.warning("products are shown without stock", error=repr(error))
            return
        told = {stock.product_id: stock for stock in answer.stocks}
        for product in products:
            stock = told.get(product.id, loms_pb2.ProductStock())
            product.stock = stock.available
            product.stocks.extend(by_warehouse(stock.warehouses))


def by_warehouse(stocks: Iterable[loms_pb2.Stock]) -> list[catalog_pb2.WarehouseStock]:
    """Stock as products show it: the warehouses that have any."""
    return [
        catalog_pb2.WarehouseStock(warehouse_id=stock.warehouse_id, count=stock.count)
        for stock in stocks
        if stock.count
    ]
