"""The wire of catalog: check the request, make the call, translate the answer. No SQL here."""

import hmac

from abacus.catalog.v1 import catalog_pb2
from catalog import products
from catalog.errors import PRODUCT_NOT_FOUND, TOKEN_INVALID
from kit import requests
from kit.calls import Call
from kit.db import Connection, Database


class Catalog:
    """abacus.catalog.v1.CatalogService."""

    def __init__(self, db: Database, *, token: str | None):
        self.db = db
        self.token = token  # None: everybody may call

    async def GetProduct(self, request: catalog_pb2.GetProductRequest, call: Call) -> catalog_pb2.GetProductResponse:
        """Show one product on sale."""
        self._check_token(request.token)
        async with self.db.pool.acquire() as conn:
            found = await products.get_many(conn, [request.sku], call.language)
        if request.sku not in found:
            raise PRODUCT_NOT_FOUND(f"there is no product {request.sku}", sku=request.sku)
        return found[request.sku]

    async def GetProducts(self, request: catalog_pb2.GetProductsRequest, call: Call) -> catalog_pb2.GetProductsResponse:
        """Show many, and name those that are not on sale."""
        self._check_token(request.token)
        skus = list(dict.fromkeys(request.skus))  # each once, in the order asked for
        async with self.db.pool.acquire() as conn:
            found = await products.get_many(conn, skus, call.language)
        return catalog_pb2.GetProductsResponse(
            products=[found[sku] for sku in skus if sku in found],
            missing_skus=[sku for sku in skus if sku not in found],
        )

    async def ListSkus(self, request: catalog_pb2.ListSkusRequest, call: Call) -> catalog_pb2.ListSkusResponse:
        """List what is on sale, a page at a time."""
        self._check_token(request.token)
        async with self.db.pool.acquire() as conn:
            skus = await products.list_skus(conn, start_after_sku=request.start_after_sku, count=request.count)
        return catalog_pb2.ListSkusResponse(skus=skus)

    async def UpsertProduct(
        self, request: catalog_pb2.UpsertProductRequest, call: Call
    ) -> catalog_pb2.UpsertProductResponse:
        """Make a product or change it as a whole: a batch of one."""
        self._check_token(request.token)
        request.ClearField("token")  # a repeat after the token was changed is the same request

        async def effect(conn: Connection) -> catalog_pb2.UpsertProductResponse:
            await products.upsert_many(conn, [request])
            return catalog_pb2.UpsertProductResponse()

        return await requests.once(self.db, call, request, effect)

    def _check_token(self, given: str) -> None:
        """Refuse a caller who does not know the token; in constant time, so that it cannot be found by guessing."""
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            raise TOKEN_INVALID("the token is wrong or missing", field="token")

    async def ListProducts(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetProductDetails(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetProductPrice(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetProductStock(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetProductPicture(self, request, call):  # TODO: stub
        raise NotImplementedError
