"""`python -m catalog seed FILE.jsonl`: the products of a new shop."""

from typing import Any

import protovalidate
from google.protobuf import json_format

from abacus.catalog.v1 import catalog_pb2
from catalog import products
from kit.db import Database


async def load(db: Database, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Add the products that the shop does not have yet, all in one transaction; say how many were added.

    A product that is there is never touched. So a second load changes nothing, whatever happened between: a price
    changed since, or a product taken off sale, stays so; and a shop that was filled before products had descriptions,
    attributes and discounts stays without them until `make reset`. (Remembering a hash of the loaded file would do
    that only until somebody edits one line of the file: then all the other prices would go back.)

    Args:
        rows: UpsertProduct as JSON, {"sku", "name_ru", "name_en", "price" in minor units, …}, under its rules.

    Raises:
        ValueError: a row breaks those rules; says which, and nothing is added.
    """
    wanted = [_product(number, row) for number, row in enumerate(rows, start=1)]
    async with db.transaction() as conn:
        return {"products_added": await products.add_new(conn, wanted)}


def _product(number: int, row: dict[str, Any]) -> catalog_pb2.UpsertProductRequest:
    try:
        product = json_format.ParseDict(row, catalog_pb2.UpsertProductRequest())
        protovalidate.validate(product)
    except (json_format.ParseError, protovalidate.ValidationError) as error:
        raise ValueError(f"product {number}: {error}") from error
    return product
