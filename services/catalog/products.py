"""Products and their prices. Owns the table products, as feed.py does.

`price` is the list price, `price_charged` what a product costs: the table computes it.
"""

import json
from collections.abc import Collection, Sequence

import asyncpg

from abacus.catalog.v1 import catalog_pb2
from catalog.errors import STALE_VERSION
from kit.db import Connection

DEFAULT_CURRENCY = "RUB"

# What `shown` needs.
COLUMNS = """
    sku, name_ru, name_en, description_ru, description_en, price, price_charged, discount, currency,
    attribute_names, attribute_values_ru, attribute_values_en, weight_g, height_mm, width_mm, length_mm,
    pictures, is_active, version, created_at, updated_at
"""

_WANTED = """
    jsonb_to_recordset($1::jsonb) AS wanted (
        sku bigint, name_ru text, name_en text, description_ru text, description_en text,
        price bigint, discount smallint, currency text, is_active boolean,
        attribute_names text[], attribute_values_ru text[], attribute_values_en text[],
        weight_g bigint, height_mm bigint, width_mm bigint, length_mm bigint, pictures text[]
    )
"""
_WRITTEN = """
    sku, name_ru, name_en, description_ru, description_en, price, discount, currency, is_active,
    attribute_names, attribute_values_ru, attribute_values_en,
    weight_g, height_mm, width_mm, length_mm, pictures
"""


async def get_many(conn: Connection, skus: Collection[int], language: str) -> dict[int, catalog_pb2.GetProductResponse]:
    """Read those of the products that are on sale, by sku; the price charged, in minor units."""
    rows = await conn.fetch(
        """
        SELECT sku, CASE $2 WHEN 'en' THEN name_en ELSE name_ru END AS name, price_charged AS price, currency
          FROM products
         WHERE sku = ANY($1::bigint[])
           AND is_active
        """,
        list(skus),
        language,
    )
    return {row["sku"]: catalog_pb2.GetProductResponse(**row) for row in rows}


async def get(conn: Connection, sku: int) -> asyncpg.Record | None:
    """Read a product with all its COLUMNS, on sale or not."""
    return await conn.fetchrow(f"SELECT {COLUMNS} FROM products WHERE sku = $1", sku)  # noqa: S608


def shown(row: asyncpg.Record, language: str) -> catalog_pb2.Product:
    """Turn a row of COLUMNS into what people see, without stock."""
    values = row[f"attribute_values_{language}"]
    return catalog_pb2.Product(
        id=row["sku"],
        name=row[f"name_{language}"],
        description=row[f"description_{language}"],
        price=row["price_charged"],
        currency=row["currency"],
        attributes=dict(zip(row["attribute_names"], values, strict=True)),
        is_active=row["is_active"],
        old_price=row["price"] if row["price"] > row["price_charged"] else None,
        discount=row["discount"],
        measures=catalog_pb2.Measures(
            weight_g=row["weight_g"],
            height_mm=row["height_mm"],
            width_mm=row["width_mm"],
            length_mm=row["length_mm"],
        ),
        pictures=row["pictures"] or [f"/api/v1/products/{row['sku']}/picture"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


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


async def check_version(conn: Connection, sku: int, version: int) -> None:
    """Lock a product that is still as the caller saw it.

    Raises:
        Error: STALE_VERSION, also where there is no such product.
    """
    now = await conn.fetchval("SELECT version FROM products WHERE sku = $1 FOR NO KEY UPDATE", sku)
    if now != version:
        raise STALE_VERSION(f"product {sku} is at version {now or 0}, not {version}", sku=sku, version=now or 0)


async def upsert_many(conn: Connection, wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> int:
    """Make these products, or change them as a whole; return how many were not yet so.

    Of one sku the last one counts. Rows are locked in order of sku.
    """
    rows = await conn.fetch(
        f"""
        INSERT INTO products ({_WRITTEN})
        SELECT {_WRITTEN}
          FROM {_WANTED}
         ORDER BY sku
            ON CONFLICT (sku) DO UPDATE
           SET name_ru = excluded.name_ru,
               name_en = excluded.name_en,
               description_ru = excluded.description_ru,
               description_en = excluded.description_en,
               price = excluded.price,
               discount = excluded.discount,
               currency = excluded.currency,
               is_active = excluded.is_active,
               attribute_names = excluded.attribute_names,
               attribute_values_ru = excluded.attribute_values_ru,
               attribute_values_en = excluded.attribute_values_en,
               weight_g = excluded.weight_g,
               height_mm = excluded.height_mm,
               width_mm = excluded.width_mm,
               length_mm = excluded.length_mm,
               pictures = excluded.pictures,
               version = products.version + 1,
               updated_at = clock_timestamp()
         WHERE ({_of("products")})
               IS DISTINCT FROM
               ({_of("excluded")})
        RETURNING sku
        """,  # noqa: S608
        _rows(wanted),
    )
    return len(rows)


async def add_new(conn: Connection, wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> int:
    """Make those of these products that there are not yet, touch no other; return how many."""
    rows = await conn.fetch(
        f"""
        INSERT INTO products ({_WRITTEN})
        SELECT {_WRITTEN}
          FROM {_WANTED}
         ORDER BY sku
            ON CONFLICT (sku) DO NOTHING
        RETURNING sku
        """,  # noqa: S608
        _rows(wanted),
    )
    return len(rows)


async def count(conn: Connection) -> dict[str, float]:
    """Count the products, and those of them on sale."""
    row = await conn.fetchrow("SELECT count(*) AS products, count(*) FILTER (WHERE is_active) AS on_sale FROM products")
    return dict(row or {})


def _of(table: str) -> str:
    """The columns that are written, as those of a table."""
    return ", ".join(f"{table}.{column.strip()}" for column in _WRITTEN.split(","))


def _rows(wanted: Sequence[catalog_pb2.UpsertProductRequest]) -> str:
    """The rows of _WANTED as JSON, one a sku."""
    last = {product.sku: product for product in wanted}.values()
    return json.dumps(
        [
            {
                "sku": product.sku,
                "name_ru": product.name_ru,
                "name_en": product.name_en,
                "description_ru": product.description_ru,
                "description_en": product.description_en,
                "price": product.price,
                "discount": product.discount,
                "currency": product.currency or DEFAULT_CURRENCY,
                "is_active": product.is_active or not product.HasField("is_active"),
                "attribute_names": [attribute.name for attribute in product.attributes],
                "attribute_values_ru": [attribute.value_ru for attribute in product.attributes],
                "attribute_values_en": [attribute.value_en for attribute in product.attributes],
                "weight_g": product.measures.weight_g,
                "height_mm": product.measures.height_mm,
                "width_mm": product.measures.width_mm,
                "length_mm": product.measures.length_mm,
                "pictures": list(product.pictures),
            }
            for product in last
        ]
    )
