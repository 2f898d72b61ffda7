"""Seed data: the same products, stock and customers at every call, without clock or chance.

`python -m deploy.seed DIR` makes the files that the services load.
"""

import json
import zlib
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import typer

from deploy import seed_words as words

FIRST_SKU = 1001
WAREHOUSES = (1, 2, 3)


@dataclass(frozen=True)
class Customer:
    """A demo customer, field by field as identity reads it; nobody knows a password."""

    user_id: int
    username: str
    first_name: str
    last_name: str
    email: str
    phone: str  # E.164
    language: str  # "ru" or "en"


def products() -> list[dict[str, Any]]:
    """All products by rising sku: the fields of UpsertProduct; prices in kopecks, without discount."""
    made: list[dict[str, Any]] = []
    for brand, which in product(words.BRANDS, range(4)):
        for shelf in range(len(words.SHELVES)):
            for kind in range(len(words.SHELVES[shelf][1])):
                made.append(product_of(FIRST_SKU + len(made), brand, shelf, which, kind))
    return made


def product_of(sku: int, brand: tuple[str, str, str], shelf: int, which: int, kind: int) -> dict[str, Any]:
    """One product.

    Args:
        brand: Russian, English, what its models begin with.
        shelf: number of the shelf, 0…7.
        which: number of the shelf's adjective, 0…3.
        kind: number of the shelf's kind, 0…7.
    """
    brand_ru, brand_en, prefix = brand
    adjectives, kinds = words.SHELVES[shelf]
    adjective = adjectives[which]
    noun_ru, gender, noun_en, low, high = kinds[kind]
    model = f"{prefix}-{sku}"
    # Steps of ten rubles above the cheapest, so that prices look like prices: 1 490, 1 500, …
    price_rubles = low + 10 * _pick(f"price {sku}", (high - low) // 10)
    category, colors, materials, light_g, heavy_g, praises = words.ABOUT[shelf]
    color = (adjective.ru("m"), adjective.en) if adjective in words.COLORS else _one(f"color {sku}", colors)
    material = words.MATERIALS.get(adjective.en) or _one(f"material {sku}", materials)
    praise = _one(f"praise {sku}", praises)
    attributes = {
        "category": category,
        "type": (noun_ru, words.SHORT.get(noun_en, noun_en)),
        "brand": (brand_ru, brand_en),
        "color": color,
        "material": material,
        "warranty": _one(f"warranty {sku}", words.WARRANTIES),
    }
    return {
        "sku": sku,
        "name_ru": f"{adjective.ru(gender).capitalize()} {noun_ru} {brand_ru} {model}",
        "name_en": f"{brand_en} {adjective.en} {noun_en} {model}",
        "price": price_rubles * 100 - (10 if price_rubles < 1000 else 0),
        "currency": "RUB",
        "description_ru": f"{praise[0]} Материал: {material[0]}. Цвет: {color[0]}.",
        "description_en": f"{praise[1]} Material: {material[1]}. Colour: {color[1]}.",
        "attributes": [{"name": name, "value_ru": ru, "value_en": en} for name, (ru, en) in attributes.items()],
        "measures": {
            "weight_g": light_g + 10 * _pick(f"weight {sku}", (heavy_g - light_g) // 10),
            "height_mm": 50 + 5 * _pick(f"height {sku}", 120),
            "width_mm": 50 + 5 * _pick(f"width {sku}", 120),
            "length_mm": 50 + 5 * _pick(f"length {sku}", 120),
        },
        # The first hundred are at their list price, which the README's examples show.
        "discount": 5 * (1 + _pick(f"discount {sku}", 8)) if sku % 7 == 3 and sku >= FIRST_SKU + 100 else 0,
    }


def stock() -> list[dict[str, int]]:
    """Units by warehouse: warehouse_id, sku, count of at least 1; a product that is sold out has no line."""
    return [
        {"warehouse_id": warehouse_id, "sku": item["sku"], "count": count}
        for item in products()
        for warehouse_id, count in _units(item["sku"]).items()
        if count
    ]


def _units(sku: int) -> dict[int, int]:
    if sku % 50 == 0:
        return {}
    if sku % 25 == 7:  # the last few: ten in all, over all warehouses
        return {1: 3, 2: 4, 3: 3}
    if sku % 25 == 8:
        return {1 + _pick(f"place {sku}", 3): 1}
    if sku % 10 == 3:  # in one warehouse only
        return {1 + _pick(f"place {sku}", 3): 20 + _pick(f"units {sku}", 180)}
    return {warehouse_id: 5 + _pick(f"units {sku} {warehouse_id}", 195) for warehouse_id in WAREHOUSES}


def _pick(what: str, below: int) -> int:
    """A number in 0…below-1 that depends on nothing but the words."""
    return zlib.crc32(what.encode()) % below


def _one(what: str, of: tuple[words.Pair, ...]) -> words.Pair:
    """One of these, always the same."""
    return of[_pick(what, len(of))]


def customers() -> list[dict[str, Any]]:
    """The demo customers, user ids from 1: the fields of Customer."""
    return [
        asdict(
            Customer(
                user_id=user_id,
                username=username,
                first_name=first_name,
                last_name=last_name,
                email=f"{username}@example.com",
                phone=f"+7900000{user_id:04}",
                language=language,
            )
        )
        for user_id, (first_name, last_name, username, language) in enumerate(words.CUSTOMERS, start=1)
    ]


def write(folder: Path) -> None:
    """Write products.jsonl, stock.jsonl and customers.jsonl into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("products", products()), ("stock", stock()), ("customers", customers())):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}.jsonl: {len(rows)} lines")


if __name__ == "__main__":
    typer.run(write)
