"""Stock of products: LOMS tells it, or it is left out."""

import time

import asyncpg
import pytest
from grpc import StatusCode

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from catalog.tests.conftest import SERVICES, product
from deploy.native import keys
from kit import client, migrate
from kit.db import Database
from kit.testing import refused


def listing(**more):
    return catalog_pb2.ListProductsRequest(**more)


@pytest.fixture
def statements(monkeypatch):
    """What asyncpg sends while the test runs."""
    sent = []
    execute = asyncpg.Connection._execute

    async def counted(self, query, *args, **more):
        sent.append(query)
        return await execute(self, query, *args, **more)

    monkeypatch.setattr(asyncpg.Connection, "_execute", counted)
    return sent


async def test_products_are_shown_with_their_stock(stocked, warehouse):
    """By warehouse and in all; one never received has none, which is not the same as not known."""
    sku = await warehouse.received(7, places=(1, 3))
    for one in (sku, 899_999):
        await stocked.UpsertProduct(product(one))
    without, having = (await stocked.ListProducts(listing())).products
    assert (14, [(1, 7), (3, 7)]) == (having.stock, [(one.warehouse_id, one.count) for one in having.stocks])
    assert (True, 0, []) == (without.HasField("stock"), without.stock, list(without.stocks))
    detail = (await stocked.GetProductDetails(catalog_pb2.GetProductDetailsRequest(product_id=sku))).product
    assert having == detail
    told = await stocked.GetProductStock(catalog_pb2.GetProductStockRequest(product_id=sku))
    assert (sku, 14, [(1, 7), (3, 7)]) == (
        told.product_id,
        told.available,
        [(one.warehouse_id, one.count) for one in told.stocks],
    )


def at_level(sku):
    """A product that has "стол" in its name, at the beginning of it, in an attribute, or in its description."""
    attributes = {"color": ("чёрный", "black"), "place": ("стол", "table") if sku % 4 == 2 else ("пол", "floor")}
    name = {0: "Стол", 1: "Столик"}.get(sku % 4, "Лампа")
    return product(sku, name, "One", description_ru="На стол", discount=sku % 3, attributes=attributes)


@pytest.mark.parametrize("size", [1, 50, 100])
async def test_a_page_costs_two_statements_and_one_call(stocked, warehouse, statements, size):
    """Whatever is asked and however many are shown: products, facets where asked for, and one call of LOMS."""
    for sku in range(1, 121):
        await stocked.UpsertProduct(at_level(sku))
    for sort in catalog_pb2.ProductSort.values():
        for more in ({}, {"attributes": ["color:black"]}, {"min_price": 1, "max_price": 10**9}):
            for query in ("", "стол"):
                for facets in (False, True):
                    asked = listing(page_size=size, sort=sort, query=query, facets=facets, **more)
                    for _ in range(2):  # the first page, and the next one
                        statements.clear()
                        warehouse.calls.clear()
                        page = await stocked.ListProducts(asked)
                        shown = len(page.products)
                        assert (1 + facets, [shown]) == (len(statements), list(map(len, warehouse.calls))), asked
                        assert size == shown or not page.next_page_token
                        asked.page_token = page.next_page_token


async def test_a_page_over_all_levels_of_relevance(stocked, statements):
    """Each product once, level by level, in one statement; the pages after it go on where it ends."""
    for sku in range(1, 41):
        await stocked.UpsertProduct(at_level(sku))
    wanted = [sku for rest in range(4) for sku in range(1, 41) if sku % 4 == rest]
    for size in (1, 7, 15, 25, 39, 40, 100):
        shown, token = [], ""
        while True:
            statements.clear()
            page = await stocked.ListProducts(listing(query="стол", page_size=size, page_token=token))
            assert 1 == len(statements)
            shown += [one.id for one in page.products]
            if not (token := page.next_page_token):
                break
        assert wanted == shown, size


async def test_nothing_found_asks_nobody(stocked, warehouse):
    """An empty page has no stock to ask for."""
    assert [] == list((await stocked.ListProducts(listing(query="нигде"))).products)
    assert [] == warehouse.calls


async def test_without_loms_products_are_shown_without_stock(open_catalog, nobody):
    """The list, the details and the price answer; the stock alone is UNAVAILABLE. It is not told as 0."""
    catalog = await open_catalog(nobody)
    await catalog.UpsertProduct(product())
    began = time.monotonic()
    (shown,) = (await catalog.ListProducts(listing())).products
    assert time.monotonic() - began < 1
    assert (False, []) == (shown.HasField("stock"), list(shown.stocks))
    detail = (await catalog.GetProductDetails(catalog_pb2.GetProductDetailsRequest(product_id=1001))).product
    assert not detail.HasField("stock")
    await catalog.GetProductPrice(catalog_pb2.GetProductPriceRequest(product_id=1001))
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await catalog.GetProductStock(catalog_pb2.GetProductStockRequest(product_id=1001))


async def test_a_process_starts_and_serves_without_loms(native, nobody):
    """And without Kafka: it does not wait for those that it asks."""
    await migrate.apply(native.database_url("catalog"), SERVICES / "catalog" / "migrations")
    away = {"CATALOG_LOMS": nobody, "CATALOG_KAFKA": nobody}
    process = await native.start_replica("catalog", name="catalog-alone", args=["all"], env=away)
    try:
        async with client.connect(native.address("catalog-alone"), keys.service_key(native.home, "local")) as channel:
            stub = catalog_pb2_grpc.CatalogServiceStub(channel)
            await stub.UpsertProduct(product(899_001, "Самовар", "Samovar"))
            answer = await stub.ListProducts(listing(query="самовары", facets=True))
        assert [899_001] == [one.id for one in answer.products]
    finally:
        await process.stop()


async def test_a_slow_loms_is_not_waited_for(stocked, warehouse, native):
    """A list waits 0.2 s for stock; who asks for the stock itself waits as long as it takes."""
    sku = await warehouse.received(5)
    await stocked.UpsertProduct(product(sku))
    await stocked.ListProducts(listing())  # connected
    conn = await asyncpg.connect(native.database_url("loms"), ssl=False)
    try:
        async with conn.transaction():
            await conn.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            (shown,) = (await stocked.ListProducts(listing())).products
            assert 0.15 <= time.monotonic() - began < 1
            assert not shown.HasField("stock")
    finally:
        await conn.close()
    told = await stocked.GetProductStock(catalog_pb2.GetProductStockRequest(product_id=sku))
    assert 5 == told.available


async def test_what_is_missing_is_logged_once_in_a_while(catalog, db: Database, capsys):
    """However many lists are shown, not each is told."""
    await catalog.UpsertProduct(product())
    capsys.readouterr()
    for _ in range(3):
        await catalog.ListProducts(listing())
    assert 1 == capsys.readouterr().out.count("products are shown without stock")
