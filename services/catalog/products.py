"""Products and their prices. Owns the table products."""

from collections.abc import Collection, Sequence

from abacus.catalog.v1 import catalog_pb2
from kit.db import Connection

DEFAULT_CURRENCY = "RUB"


async def get_many(conn: Connection, skus: Collection[int], language: str) -> dict[int, catalog_pb2.GetProductResponse]:
    """Read those of the products that are on sale, by sku; prices in minor units."""
    rows = await conn.fetch(
        """
        SELECT sku, CASE $2 WHEN 'en' THEN name_en ELSE name_ru END AS name, price, currency
          FROM products
         WHERE sku = ANY($1::bigint[])
           AND is_active
        """,
        list(skus),
        language,
    )
    return {row["sku"]: catalog_pb2.GetProductResponse(**row) for row in rows}


async def list_skus(conn: Connection, *, start_after_sku: int, count: int) -> list[int]:
    """List the next skus on sale, in rising order."""
    rows = await conn.fetch(
        """
        SELECT sku
          FROM products
         WHERE sku > $1
           AND is_active
         ORDER BY sku
         LIMIT $2
        """,
        start_after_sku,
        count,
    )
    return [row["sku"] for row in rows]


async def upsert_many(conn: Connection, wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> int:
    """Make these products, or change them as a whole; return how many were not yet so.

    Of one sku the last one counts. Rows are locked in order of sku.
    """
    rows = await conn.fetch(
        """
        INSERT INTO products (sku, name_ru, name_en, price, currency, is_active)
        SELECT sku, name_ru, name_en, price, currency, is_active
          FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[])
               AS wanted (sku, name_ru, name_en, price, currency, is_active)
         ORDER BY sku
            ON CONFLICT (sku) DO UPDATE
           SET name_ru = excluded.name_ru,
               name_en = excluded.name_en,
               price = excluded.price,
               currency = excluded.currency,
               is_active = excluded.is_active,
               version = products.version + 1,
               updated_at = clock_timestamp()
         WHERE (products.name_ru, products.name_en, products.price, products.currency, products.is_active)
               IS DISTINCT FROM
               (excluded.name_ru, excluded.name_en, excluded.price, excluded.currency, excluded.is_active)
        RETURNING sku
        """,
        *_columns(wanted),
    )
    return len(rows)


async def add_new(conn: Connection, wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> int:
    """Make those of these products that there are not yet, touch no other; return how many."""
    rows = await conn.fetch(
        """
        INSERT INTO products (sku, name_ru, name_en, price, currency, is_active)
        SELECT sku, name_ru, name_en, price, currency, is_active
          FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[])
               AS wanted (sku, name_ru, name_en, price, currency, is_active)
         ORDER BY sku
            ON CONFLICT (sku) DO NOTHING
        RETURNING sku
        """,
        *_columns(wanted),
    )
    return len(rows)


async def count(conn: Connection) -> dict[str, float]:
    """Count the products, and those of them on sale."""
    row = await conn.fetchrow("SELECT count(*) AS products, count(*) FILTER (WHERE is_active) AS on_sale FROM products")
    return dict(row or {})


def _columns(wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> tuple[list[object], ...]:
    """The arguments of the INSERTs: one list a column, one row a sku."""
    last = {product.sku: product for product in wanted}.values()
    return (
        [product.sku for product in last],
        [product.name_ru for product in last],
        [product.name_en for product in last],
        [product.price for product in last],
        [product.currency or DEFAULT_CURRENCY for product in last],
        [product.is_active or not product.HasField("is_active") for product in last],
    )
