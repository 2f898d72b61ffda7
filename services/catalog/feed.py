"""The product feed of the neighbours' warehouse system: seed 000. Writes the table products, as products.py does.

A message says the version of its product; of one product the highest counts, in whatever order, on whatever partition
and how often they come. The feed knows one name and one description: what was translated here stays translated.
"""

from abacus.catalog.v1 import events_pb2
from catalog.products import DEFAULT_CURRENCY
from kit.db import Connection
from kit.inbox import Event

TOPIC = "abacus.catalog.product-feed.v1"


async def take(conn: Connection, event: Event) -> None:
    """Make the product of a message, or change it; an older or repeated version changes nothing.

    What the feed does not know stays: discount, attributes, pictures, whether it is on sale. Costs are in the shop's
    currency.
    """
    product: events_pb2.ProductMessage = event.message
    # Two batches of many products each, in other orders, would lock each other out; the feed is not in a hurry.
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", TOPIC)
    await conn.execute(
        """
        INSERT INTO products (sku, name_ru, name_en, description_ru, description_en, price, currency, is_active,
                              weight_g, height_mm, width_mm, length_mm, tax, feed_version)
        VALUES ($1, $2, $2, $3, $3, $4, $5, true, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (sku) DO UPDATE
           SET name_ru = excluded.name_ru,
               name_en = CASE products.name_en WHEN products.name_ru THEN excluded.name_en ELSE products.name_en END,
               description_ru = excluded.description_ru,
               description_en = CASE products.description_en WHEN products.description_ru THEN excluded.description_en
                                     ELSE products.description_en END,
               price = excluded.price,
               currency = excluded.currency,
               weight_g = excluded.weight_g,
               height_mm = excluded.height_mm,
               width_mm = excluded.width_mm,
               length_mm = excluded.length_mm,
               tax = excluded.tax,
               feed_version = excluded.feed_version,
               version = products.version + 1,
               updated_at = clock_timestamp()
         WHERE products.feed_version IS NULL
            OR products.feed_version < excluded.feed_version
        """,
        product.id,
        product.name,
        product.description,
        product.cost,
        DEFAULT_CURRENCY,
        product.measurments.weight,
        product.measurments.height,
        product.measurments.width,
        product.measurments.lenght,
        product.tax,
        product.version,
    )
