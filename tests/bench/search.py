"""`python -m tests.bench.search`: how long a list of products takes, over 100,000 of them, beside an idle shop.

Asked one after the other at catalog's gRPC door, 50 products a page, with their stock. About two minutes.
"""

import argparse
import asyncio
import itertools
import random
import string
import time
from collections.abc import Callable, Iterator
from statistics import quantiles

from google.protobuf import json_format

from abacus.catalog.v1 import catalog_pb2
from catalog import products
from catalog.search import fingerprint
from deploy import seed, seed_words
from deploy.native import stack
from tests.callers import calling
from tests.stacks import database, running

PRODUCTS = 100_000
BATCH = 2_000
WARM = 10  # calls of a kind before those that are timed
SORTS = catalog_pb2.ProductSort.values()
RUSSIAN = "абвгдежзийклмнопрстуфхцчшщэюя"

Asked = catalog_pb2.ListProductsRequest


def product(number: int) -> dict[str, object]:
    """One of the seed data's kind; each brand, shelf, adjective and kind comes in turn."""
    rest, brand = divmod(number, len(seed_words.BRANDS))
    rest, shelf = divmod(rest, len(seed_words.SHELVES))
    rest, which = divmod(rest, 4)
    return seed.product_of(number + 1, seed_words.BRANDS[brand], shelf, which, rest % 8)


def after(keys: str, **asked: object) -> dict[str, object]:
    """What asks for the page after a row of these keys."""
    return {**asked, "page_token": f"{keys}.{fingerprint(Asked(**asked))}"}


async def fill(shop: stack.Shop, count: int) -> None:
    """Put so many products on sale, and units of them into two warehouses."""
    async with database(shop, "catalog") as conn:
        index = await conn.fetchval("SELECT pg_get_indexdef('products_search'::regclass)")
        await conn.execute("DROP INDEX products_search")  # made at the end it takes a tenth of the time
        for first in range(0, count, BATCH):
            await products.add_new(
                conn,
                [
                    json_format.ParseDict(product(number), catalog_pb2.UpsertProductRequest())
                    for number in range(first, first + BATCH)
                ],
            )
        await conn.execute(index)
        await conn.execute("VACUUM ANALYZE products")
    async with database(shop, "loms") as conn:
        await conn.execute(
            """
            INSERT INTO stock (sku, warehouse_id, on_hand)
            SELECT sku, warehouse_id, 10
              FROM generate_series(1, $1::int) AS sku,
                   generate_series(1, 2) AS warehouse_id
            """,
            count,
        )
        await conn.execute("VACUUM ANALYZE stock")


def kinds(chance: random.Random) -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
    """What is asked: the kind's name, and what makes one more of it."""
    shelves = [kind for _, kinds in seed_words.SHELVES for kind in kinds]
    adjectives = [one for adjectives, _ in seed_words.SHELVES for one in adjectives]
    pairs = {
        (one["name"], value)
        for number in range(0, PRODUCTS, 7)
        for one in product(number)["attributes"]  # type: ignore[attr-defined]
        for value in (one["value_ru"], one["value_en"])
    }
    values = sorted(pairs)

    def narrow() -> str:
        noun, brand = chance.choice(shelves), chance.choice(seed_words.BRANDS)
        return chance.choice(
            (
                f"{noun[0]} {brand[0]} {chance.choice(adjectives).ru('m')}",
                f"{brand[1]} {noun[2]}",
                noun[0],
                f"{noun[2]}s",
                f"{brand[2]}-{chance.randint(1, PRODUCTS)}",
                str(chance.randint(1, PRODUCTS)),
            )
        )

    def broad() -> str:
        return chance.choice(
            (
                chance.choice(seed_words.BRANDS)[chance.randint(0, 2)],
                chance.choice(adjectives).ru("f"),
                "материал",
                "цвет",
                "material",
                "12 месяцев",
                "months",
                "для дома",
                "чёрный пластик",
                "белый чёрный",
            )
        )

    def filters() -> list[str]:
        return [":".join(chance.choice(values)) for _ in range(chance.randint(1, 3))]

    def deep() -> dict[str, object]:
        sort = chance.choice(SORTS[2:])
        key: int = {
            catalog_pb2.PRODUCT_SORT_NEWEST: int(time.time() * 1e6),
            catalog_pb2.PRODUCT_SORT_DISCOUNT: chance.choice((0, 5, 20)),
            catalog_pb2.PRODUCT_SORT_PRICE_ASC: chance.randint(20_000, 8_000_000),
            catalog_pb2.PRODUCT_SORT_PRICE_DESC: chance.randint(20_000, 8_000_000),
        }[sort]
        return after(f"{key}.{chance.randint(1, PRODUCTS)}", sort=sort, query=broad())

    def deep_by_relevance() -> dict[str, object]:
        return after(f"4.{chance.randint(1, PRODUCTS - 2000)}", query=chance.choice(seed_words.BRANDS)[1])

    def prices() -> dict[str, object]:
        low = chance.randint(20_000, 8_000_000)
        return {"min_price": low, "max_price": low + chance.choice((100, 10_000, 1_000_000))}

    letters = itertools.cycle(string.ascii_lowercase + RUSSIAN + string.digits)
    yield "no words", lambda: {"sort": chance.choice(SORTS)}
    yield "narrow words", lambda: {"query": narrow()}
    yield "broad words", lambda: {"query": broad()}
    yield "one letter", lambda: {"query": next(letters)}
    yield "as it is typed", lambda: {"query": narrow()[: chance.randint(2, 8)]}
    yield "many words", lambda: {"query": " ".join(broad() for _ in range(20))[:200]}
    yield "long words", lambda: {"query": chance.choice(("ﷺ" * 200, "㍿" * 200)), "facets": True}
    yield "nothing there", lambda: {"query": f"{broad()} нигде{chance.randint(1, 99)}"}
    yield "words, another order", lambda: {"query": chance.choice((narrow, broad))(), "sort": chance.randint(2, 5)}
    yield "filters", lambda: {"attributes": filters(), "sort": chance.choice(SORTS)}
    yield "prices", lambda: {**prices(), "sort": chance.choice(SORTS), "discounted": chance.random() < 0.5}
    yield (
        "words, filters, prices",
        lambda: {**prices(), "query": broad(), "attributes": filters(), "sort": chance.choice(SORTS)},
    )
    yield "deep pages", lambda: chance.choice((deep, deep_by_relevance))()
    yield "facets of all", lambda: {"facets": True}
    yield "facets, narrow words", lambda: {"facets": True, "query": narrow()}
    yield "facets, broad words", lambda: {"facets": True, "query": broad(), "sort": chance.choice(SORTS)}
    yield "facets, one letter", lambda: {"facets": True, "query": next(letters)}
    yield "facets, filters", lambda: {"facets": True, "attributes": filters(), "sort": chance.choice(SORTS)}


async def measure(shop: stack.Shop, calls: int) -> dict[str, float]:
    """Print how long each kind takes; return the 99th percentile of each in ms."""
    p99_ms = {}
    print(f"{'':24} {'p50':>6} {'p99':>6} {'most':>6} ms   slowest", flush=True)
    async with calling("catalog", shop.address("catalog")) as catalog:
        for name, make in kinds(random.Random(6)):
            took: list[tuple[float, str]] = []
            for number in range(WARM + calls):
                asked = make()
                request = Asked(**asked)
                began = time.perf_counter()
                answer = await catalog.call("ListProducts", request)
                lag_ms = (time.perf_counter() - began) * 1000
                assert all(one.HasField("stock") for one in answer.products) or lag_ms > 200
                if number >= WARM:
                    took.append((lag_ms, str(asked)))
            lags = [lag_ms for lag_ms, _ in took]
            cuts = quantiles(lags, n=100, method="inclusive")
            p99_ms[name] = cuts[98]
            print(f"{name:24} {cuts[49]:6.1f} {cuts[98]:6.1f} {max(lags):6.1f}      {max(took)[1]}", flush=True)
    return p99_ms


async def run(calls: int, count: int = PRODUCTS) -> dict[str, float]:
    """Fill a shop of its own, and measure."""
    async with running() as shop:
        began = time.perf_counter()
        await fill(shop, count)
        print(f"{count} products in {time.perf_counter() - began:.0f} s", flush=True)
        return await measure(shop, calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="timed calls of each kind")
    asyncio.run(run(parser.parse_args().calls))
