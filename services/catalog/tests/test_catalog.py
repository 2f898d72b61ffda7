"""Catalog through its door."""

import asyncio

import pytest
from grpc import StatusCode

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from catalog import products, rpc, seed
from catalog.settings import Settings
from kit import requests
from kit.db import Database
from kit.settings import read
from kit.testing import OpenDoor, refused

SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"]


@pytest.fixture
async def catalog(db: Database, open_door: OpenDoor) -> catalog_pb2_grpc.CatalogServiceStub:
    return catalog_pb2_grpc.CatalogServiceStub(await open_door(SERVICE, rpc.Catalog(db, token=None)))


def product(sku=1001, name_ru="Чайник", name_en="Kettle", price=199_000, **more):
    return catalog_pb2.UpsertProductRequest(sku=sku, name_ru=name_ru, name_en=name_en, price=price, **more)


def get(sku=1001, **more):
    return catalog_pb2.GetProductRequest(sku=sku, **more)


async def rows(db: Database):
    return [dict(row) for row in await db.pool.fetch("SELECT * FROM products ORDER BY sku")]


async def test_a_product_is_shown_in_the_language_asked_for(catalog):
    """The request's language decides, else the call's, else Russian."""
    await catalog.UpsertProduct(product())
    expected = catalog_pb2.GetProductResponse(name="Чайник", price=199_000, sku=1001, currency="RUB")
    assert expected == await catalog.GetProduct(get())
    assert "Kettle" == (await catalog.GetProduct(get(language="en"))).name
    english = (("accept-language", "en-GB,en;q=0.9"),)
    assert "Kettle" == (await catalog.GetProduct(get(), metadata=english)).name
    assert "Чайник" == (await catalog.GetProduct(get(language="ru"), metadata=english)).name


async def test_a_product_that_is_not_sold_is_not_found(catalog):
    """Unknown and taken off sale are the same to a buyer."""
    await catalog.UpsertProduct(product(1002, is_active=False))
    for sku in (1001, 1002):
        with refused(StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND") as error:
            await catalog.GetProduct(get(sku))
        assert {"sku": str(sku)} == error.metadata


async def test_many_products_come_in_the_order_asked_for(catalog):
    """Each once, and those that are not sold are named."""
    for sku in (1001, 1002, 1003):
        await catalog.UpsertProduct(product(sku, is_active=sku != 1002))
    answer = await catalog.GetProducts(catalog_pb2.GetProductsRequest(skus=[1003, 9, 1001, 1003, 1002, 9]))
    assert [1003, 1001] == [shown.sku for shown in answer.products]
    assert [9, 1002] == answer.missing_skus


async def test_skus_are_listed_by_pages(catalog):
    """What is on sale, in rising order, each once over all pages."""
    for sku in (3, 4_294_967_295, 1, 2, 7):
        await catalog.UpsertProduct(product(sku, is_active=sku != 2))
    pages, last = [], 0
    while page := list((await catalog.ListSkus(catalog_pb2.ListSkusRequest(start_after_sku=last, count=2))).skus):
        pages.append(page)
        last = page[-1]
    assert [[1, 3], [7, 4_294_967_295]] == pages


async def test_an_upsert_changes_the_product_as_a_whole(catalog, db: Database):
    """Every change counts one version; an upsert of what is already so is none."""
    await catalog.UpsertProduct(product(currency="EUR", is_active=False))
    await catalog.UpsertProduct(product(price=5))
    await catalog.UpsertProduct(product(price=5))
    (row,) = await rows(db)
    assert (5, "RUB", True, 2) == (row["price"], row["currency"], row["is_active"], row["version"])


async def test_of_a_batch_the_last_of_a_sku_counts(db: Database):
    """A sku named twice in one batch is no error."""
    async with db.transaction() as conn:
        assert 2 == await products.upsert_many(conn, [product(2), product(1, price=1), product(1, price=9)])
    assert [(1, 9), (2, 199_000)] == [(row["sku"], row["price"]) for row in await rows(db)]


async def test_a_repeated_upsert_changes_nothing(catalog, db: Database):
    """The first effect stays, also when somebody else changed the product between; another body is refused."""
    await catalog.UpsertProduct(product(price=1, request_id="u-1"))
    await catalog.UpsertProduct(product(price=2))
    await catalog.UpsertProduct(product(price=1, request_id="u-1", token="another"))
    assert [2] == [row["price"] for row in await rows(db)]
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await catalog.UpsertProduct(product(price=3, request_id="u-1"))


async def test_concurrent_repeats_have_one_effect(catalog, db: Database):
    """The same upsert five times at once makes version 1."""
    await asyncio.gather(*(catalog.UpsertProduct(product(request_id="u-1")) for _ in range(5)))
    assert [1] == [row["version"] for row in await rows(db)]


async def test_old_request_ids_are_forgotten(catalog, db: Database):
    """Pruning takes what is older than a week, and nothing else."""
    await catalog.UpsertProduct(product(request_id="old"))
    await db.pool.execute("UPDATE requests SET expires_at = expires_at - interval '7 days'")
    await catalog.UpsertProduct(product(request_id="new"))
    assert 1 == await requests.prune(db)
    assert ["new"] == [row["request_id"] for row in await db.pool.fetch("SELECT request_id FROM requests")]


@pytest.mark.parametrize("token", ["", "wrong", "секрет"])
async def test_a_wrong_token_is_refused_by_every_call(db: Database, open_door: OpenDoor, token):
    """Where a token is configured, nobody gets in without it, and its value is not told."""
    stub = catalog_pb2_grpc.CatalogServiceStub(await open_door(SERVICE, rpc.Catalog(db, token="right")))
    for call in (
        stub.GetProduct(get(token=token)),
        stub.GetProducts(catalog_pb2.GetProductsRequest(token=token, skus=[1])),
        stub.ListSkus(catalog_pb2.ListSkusRequest(token=token, count=1)),
        stub.UpsertProduct(product(token=token)),
    ):
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", field="token") as error:
            await call
        assert "right" not in error.message
    assert [] == await rows(db)
    await stub.UpsertProduct(product(token="right"))
    assert 199_000 == (await stub.GetProduct(get(token="right"))).price


def test_an_empty_token_file_is_refused_early(tmp_path, monkeypatch, capsys):
    """A token file without a token would let everybody in: the service does not start."""
    empty = tmp_path / "token"
    empty.write_text("\n")
    monkeypatch.setenv("CATALOG_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("CATALOG_DATABASE_URL", "postgresql://catalog@127.0.0.1/catalog")
    monkeypatch.setenv("CATALOG_TOKEN_FILE", str(empty))
    with pytest.raises(SystemExit):
        read(Settings)
    assert "CATALOG_TOKEN_FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (get(0), "sku"),
        (get(language="de"), "language"),
        (catalog_pb2.GetProductsRequest(), "skus"),
        (catalog_pb2.GetProductsRequest(skus=[1, 0]), "skus[1]"),
        (catalog_pb2.ListSkusRequest(), "count"),
        (catalog_pb2.ListSkusRequest(count=10_001), "count"),
        (product(0), "sku"),
        (product(name_ru=""), "name_ru"),
        (product(name_en="a\nb"), "name_en"),
        (product(price=-1), "price"),
        (product(currency="rub"), "currency"),
        (product(request_id="ж"), "request_id"),
        (product(request_id="r" * 65), "request_id"),
    ],
)
async def test_bad_input_names_the_field(catalog, request_, field):
    """INVALID_ARGUMENT with a BadRequest of that field."""
    method = type(request_).__name__.removesuffix("Request")
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field):
        await getattr(catalog, method)(request_)


async def test_a_second_seed_changes_nothing(catalog, db: Database):
    """It does not even undo a price that somebody changed since, nor put back on sale what was taken off."""
    lines = [{"sku": sku, "name_ru": "Стол", "name_en": "Table", "price": 100, "currency": "RUB"} for sku in (1, 2, 3)]
    assert {"products_added": 3} == await seed.load(db, lines)
    await catalog.UpsertProduct(product(1, price=7))
    await catalog.UpsertProduct(product(2, is_active=False))
    before = await rows(db)
    assert {"products_added": 0} == await seed.load(db, lines)
    assert before == await rows(db)


async def test_a_wrong_seed_row_loads_nothing(db: Database):
    """The row is named, and those before it are not loaded either."""
    good = {"sku": 1, "name_ru": "Стол", "name_en": "Table", "price": 100, "currency": "RUB"}
    for wrong in ({**good, "sku": 0}, {**good, "price": 1.5}, {**good, "colour": "red"}):
        with pytest.raises(ValueError, match="product 2"):
            await seed.load(db, [good, wrong])
    assert [] == await rows(db)


async def test_the_figures_count_products(catalog, db: Database):
    """`status` shows how many there are, and how many on sale."""
    await catalog.UpsertProduct(product(1))
    await catalog.UpsertProduct(product(2, is_active=False))
    async with db.pool.acquire() as conn:
        assert {"products": 2, "on_sale": 1} == await products.count(conn)
