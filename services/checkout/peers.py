"""What checkout asks of catalog and LOMS."""

from collections.abc import Collection
from dataclasses import dataclass

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc

Product = catalog_pb2.GetProductResponse


@dataclass(frozen=True)
class Peers:
    """The services that checkout stands on; each call raises PEER_UNAVAILABLE where it is away."""

    catalog: catalog_pb2_grpc.CatalogServiceStub
    loms: loms_pb2_grpc.LomsServiceStub
    catalog_token: str = ""

    async def products(self, skus: Collection[int], language: str) -> dict[int, Product]:
        """Ask for names and prices in one call; a sku that is not sold is not in the answer."""
        request = catalog_pb2.GetProductsRequest(token=self.catalog_token, skus=skus, language=language)
        answer = await self.catalog.GetProducts(request)
        return {product.sku: product for product in answer.products}

    async def available(self, sku: int) -> int:
        """Ask how many units all warehouses together would sell."""
        answer = await self.loms.Stocks(loms_pb2.StocksRequest(sku=sku))
        return sum(stock.count for stock in answer.stocks)
