"""Catalog through its door."""

import asyncio

import pytest
from grpc import StatusCode

from abacus.catalog.v1 import catalog_pb2
from catalog import products, seed
from catalog.settings import Settings
from catalog.tests.conftest import product
from kit import requests
from kit.db import Database
from kit.settings import read
from kit.testing import refused


def get(sku=1001, **more):
    return catalog_pb2.GetProductRequest(sku=sku, **more)


def details(sku=1001, **more):
    return catalog_pb2.GetProductDetailsRequest(product_id=sku, **more)


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


async def test_a_product_is_written_with_all_it_has(catalog):
    """What was written is shown, in either language; what the next upsert leaves out is empty."""
    await catalog.UpsertProduct(
        product(
            description_ru="Кипятит",
            description_en="Boils",
            attributes={"color": ("чёрный", "black"), "brand": ("Кедрин", "Kedrin")},
            measures=catalog_pb2.Measures(weight_g=900, height_mm=250, width_mm=180, length_mm=200),
            pictures=["https://pictures.example/1.png", "/2.png"],
            discount=10,
        )
    )
    shown = (await catalog.GetProductDetails(details(language="en"))).product
    assert ("Kettle", "Boils", {"color": "black", "brand": "Kedrin"}) == (
        shown.name,
        shown.description,
        dict(shown.attributes),
    )
    assert (179_100, 199_000, 10) == (shown.price, shown.old_price, shown.discount)
    assert catalog_pb2.Measures(weight_g=900, height_mm=250, width_mm=180, length_mm=200) == shown.measures
    assert ["https://pictures.example/1.png", "/2.png"] == list(shown.pictures)
    assert {"color": "чёрный", "brand": "Кедрин"} == dict(
        (await catalog.GetProductDetails(details())).product.attributes
    )
    await catalog.UpsertProduct(product())
    shown = (await catalog.GetProductDetails(details())).product
    assert ("", {}, 199_000, False, 0, 2) == (
        shown.description,
        dict(shown.attributes),
        shown.price,
        shown.HasField("old_price"),
        shown.measures.weight_g,
        shown.version,
    )
    assert ["/api/v1/products/1001/picture"] == list(shown.pictures)


@pytest.mark.parametrize(
    ("price", "discount", "charged"),
    [(100, 99, 1), (199, 50, 100), (1, 99, 1), (10**12, 99, 10**10), (0, 5, 0), (999, 33, 670)],
)
async def test_a_discount_is_rounded_in_the_shops_favour(catalog, price, discount, charged):
    """Everywhere the price is the one charged, whole minor units; a higher list price is told beside it."""
    await catalog.UpsertProduct(product(price=price, discount=discount))
    assert charged == (await catalog.GetProduct(get())).price
    many = await catalog.GetProducts(catalog_pb2.GetProductsRequest(skus=[1001]))
    assert [charged] == [one.price for one in many.products]
    told = await catalog.GetProductPrice(catalog_pb2.GetProductPriceRequest(product_id=1001))
    assert (charged, discount, "RUB") == (told.price, told.discount, told.currency)
    assert (price if price > charged else None) == (told.old_price if told.HasField("old_price") else None)


async def test_a_price_without_discount_has_no_old_one(catalog):
    """`old_price` is not set rather than the same."""
    await catalog.UpsertProduct(product())
    told = await catalog.GetProductPrice(catalog_pb2.GetProductPriceRequest(product_id=1001))
    assert (199_000, False) == (told.price, told.HasField("old_price"))


async def test_a_stale_change_is_refused(catalog, db: Database):
    """Whoever names the version that he saw changes that one and no other."""
    await catalog.UpsertProduct(product(price=1))
    await catalog.UpsertProduct(product(price=2, version=1))
    for stale in (product(price=3, version=1), product(1002, version=1)):
        with refused(StatusCode.ABORTED, "STALE_VERSION"):
            await catalog.UpsertProduct(stale)
    assert [(1001, 2, 2)] == [(row["sku"], row["price"], row["version"]) for row in await rows(db)]


async def test_of_those_who_saw_the_same_version_one_changes_it(catalog, db: Database):
    """Five changes at once of version 1: one is made."""
    await catalog.UpsertProduct(product(price=1))
    told = await asyncio.gather(
        *(catalog.UpsertProduct(product(price=price, version=1)) for price in range(2, 7)), return_exceptions=True
    )
    assert 4 == sum(isinstance(one, Exception) for one in told)
    assert [2] == [row["version"] for row in await rows(db)]


async def test_attributes_have_each_name_once(catalog):
    """Twice the same name is refused, because a map shows one of them."""
    twice = product()
    for value in ("red", "black"):
        twice.attributes.add(name="color", value_ru=value, value_en=value)
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="attributes"):
        await catalog.UpsertProduct(twice)


async def test_what_is_off_sale_is_still_shown_in_detail(catalog):
    """Details say that it is not active; its price and stock are not told, as those of an unknown product."""
    await catalog.UpsertProduct(product(is_active=False))
    assert not (await catalog.GetProductDetails(details())).product.is_active
    for call in (
        catalog.GetProductPrice(catalog_pb2.GetProductPriceRequest(product_id=1001)),
        catalog.GetProductStock(catalog_pb2.GetProductStockRequest(product_id=1001)),
        catalog.GetProductDetails(details(1002)),
        catalog.GetProductPicture(catalog_pb2.GetProductPictureRequest(product_id=1002)),
    ):
        with refused(StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"):
            await call


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
async def test_a_wrong_token_is_refused_by_every_call(db: Database, open_catalog, nobody, token):
    """Where a token is configured, nobody gets in without it, and its value is not told."""
    stub = await open_catalog(nobody, token="right")
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
        (product(description_ru="a\0"), "description_ru"),
        (product(discount=100), "discount"),
        (product(pictures=["javascript:alert(1)"]), "pictures[0]"),
        (product(attributes={"Color": ("чёрный", "black")}), "attributes[0].name"),
        (catalog_pb2.ListProductsRequest(query="a\0"), "query"),
        (catalog_pb2.ListProductsRequest(attributes=["black"]), "attributes[0]"),
        (catalog_pb2.ListProductsRequest(page_size=101), "page_size"),
        (catalog_pb2.ListProductsRequest(page_token="1"), "page_token"),
        (catalog_pb2.ListProductsRequest(min_price=-1), "min_price"),
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


async def test_the_code_before_still_runs(db: Database, catalog):
    """It writes and reads the columns that it knows; what it makes is found."""
    await db.pool.execute(
        """
        INSERT INTO products (sku, name_ru, name_en, price, currency, is_active)
        VALUES (7, 'Самовар', 'Samovar', 100, 'RUB', true)
            ON CONFLICT (sku) DO UPDATE SET name_ru = excluded.name_ru, version = products.version + 1
        """
    )
    assert [7] == [
        one.id for one in (await catalog.ListProducts(catalog_pb2.ListProductsRequest(query="самовары"))).products
    ]


async def test_the_figures_count_products(catalog, db: Database):
    """`status` shows how many there are, and how many on sale."""
    await catalog.UpsertProduct(product(1))
    await catalog.UpsertProduct(product(2, is_active=False))
    async with db.pool.acquire() as conn:
        assert {"products": 2, "on_sale": 1} == await products.count(conn)
