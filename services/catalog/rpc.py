"""The wire of catalog: check the request, make the call, translate the answer. No SQL here."""

import hmac

import asyncpg
from google.api import httpbody_pb2

from abacus.catalog.v1 import catalog_pb2
from catalog import pictures, products, stock
from catalog.errors import PRODUCT_NOT_FOUND, TOKEN_INVALID
from catalog.search import Search
from catalog.stock import Stock
from kit import requests
from kit.calls import Call
from kit.db import Connection, Database
from kit.errors import Error


class Catalog:
    """abacus.catalog.v1.CatalogService."""

    def __init__(self, db: Database, search: Search, stock: Stock, *, token: str | None):
        self.db = db
        self.search = search
        self.stock = stock
        self.token = token  # None: everybody may call

    async def GetProduct(self, request: catalog_pb2.GetProductRequest, call: Call) -> catalog_pb2.GetProductResponse:
        """Show one product on sale."""
        self._check_token(request.token)
        async with self.db.pool.acquire() as conn:
            found = await products.get_many(conn, [request.sku], call.language)
        if request.sku not in found:
            raise _not_found(request.sku)
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
            if request.HasField("version"):
                await products.check_version(conn, request.sku, request.version)
            await products.upsert_many(conn, [request])
            return catalog_pb2.UpsertProductResponse()

        return await requests.once(self.db, call, request, effect)

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, call: Call
    ) -> catalog_pb2.ListProductsResponse:
        """Find products on sale, a page at a time."""
        found, next_page_token, facets = await self.search.page(request, call.language)
        await self.stock.add_to(found)
        return catalog_pb2.ListProductsResponse(
            products=found,
            next_page_token=next_page_token,
            facets=facets.facets,
            facets_of=facets.of,
        )

    async def GetProductDetails(
        self, request: catalog_pb2.GetProductDetailsRequest, call: Call
    ) -> catalog_pb2.GetProductDetailsResponse:
        """Show one product, on sale or not."""
        product = products.shown(await self._row(request.product_id, on_sale=False), call.language)
        await self.stock.add_to([product])
        return catalog_pb2.GetProductDetailsResponse(product=product)

    async def GetProductPrice(
        self, request: catalog_pb2.GetProductPriceRequest, call: Call
    ) -> catalog_pb2.GetProductPriceResponse:
        """Show what a product on sale costs."""
        product = products.shown(await self._row(request.product_id, on_sale=True), call.language)
        return catalog_pb2.GetProductPriceResponse(
            product_id=product.id,
            price=product.price,
            currency=product.currency,
            old_price=product.old_price if product.HasField("old_price") else None,
            discount=product.discount,
        )

    async def GetProductStock(
        self, request: catalog_pb2.GetProductStockRequest, call: Call
    ) -> catalog_pb2.GetProductStockResponse:
        """Show what LOMS has of a product on sale."""
        await self._row(request.product_id, on_sale=True)
        told = await self.stock.of(request.product_id)
        return catalog_pb2.GetProductStockResponse(
            product_id=request.product_id,
            available=told.available,
            stocks=stock.by_warehouse(told.warehouses),
        )

    async def GetProductPicture(
        self, request: catalog_pb2.GetProductPictureRequest, call: Call
    ) -> httpbody_pb2.HttpBody:
        """Draw a product, on sale or not."""
        return pictures.draw(await self._row(request.product_id, on_sale=False), call.language)

    async def _row(self, sku: int, *, on_sale: bool) -> asyncpg.Record:
        async with self.db.pool.acquire() as conn:
            row = await products.get(conn, sku)
        if row is None or (on_sale and not row["is_active"]):
            raise _not_found(sku)
        return row

    def _check_token(self, given: str) -> None:
        """Refuse a caller who does not know the token; in constant time, so that it cannot be found by guessing."""
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            raise TOKEN_INVALID("the token is wrong or missing", field="token")


def _not_found(sku: int) -> Error:
    return PRODUCT_NOT_FOUND(f"there is no product {sku}", sku=sku)
