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

FIRST_SKU = 1001
WAREHOUSES = (1, 2, 3)

# Endings of a Russian adjective in the nominative: of a masculine, feminine, neuter and plural noun.
_HARD = {"m": "ый", "f": "ая", "n": "ое", "p": "ые"}
_STRESSED = {"m": "ой", "f": "ая", "n": "ое", "p": "ые"}
_VELAR = {"m": "ий", "f": "ая", "n": "ое", "p": "ие"}
_SIBILANT = {"m": "ой", "f": "ая", "n": "ое", "p": "ие"}
_SOFT = {"m": "ий", "f": "яя", "n": "ее", "p": "ие"}


@dataclass(frozen=True)
class Adjective:
    """A word that agrees with its noun in Russian: stem and endings."""

    stem: str
    endings: dict[str, str]
    en: str

    def ru(self, gender: str) -> str:
        """The form that goes with a noun of this gender."""
        return self.stem + self.endings[gender]


_WIRELESS = Adjective("беспроводн", _STRESSED, "wireless")
_COMPACT = Adjective("компактн", _HARD, "compact")
_BLACK = Adjective("чёрн", _HARD, "black")
_WHITE = Adjective("бел", _HARD, "white")
_BLUE = Adjective("син", _SOFT, "blue")
_RED = Adjective("красн", _HARD, "red")
_GREY = Adjective("сер", _HARD, "grey")
_GREEN = Adjective("зелён", _HARD, "green")
_STEEL = Adjective("стальн", _STRESSED, "steel")
_SOFT_TOUCH = Adjective("мягк", _VELAR, "soft")
_WARM = Adjective("тёпл", _HARD, "warm")
_LIGHT = Adjective("лёгк", _VELAR, "light")
_STURDY = Adjective("прочн", _HARD, "sturdy")
_WOODEN = Adjective("деревянн", _HARD, "wooden")
_FOLDING = Adjective("складн", _STRESSED, "folding")
_CORDLESS = Adjective("аккумуляторн", _HARD, "cordless")
_POWERFUL = Adjective("мощн", _HARD, "powerful")
_PROFESSIONAL = Adjective("профессиональн", _HARD, "professional")
_BIG = Adjective("больш", _SIBILANT, "big")
_SMALL = Adjective("маленьк", _VELAR, "small")
_BRIGHT = Adjective("ярк", _VELAR, "bright")

# Four adjectives, and what they can be said of: Russian, its gender, English, cheapest and dearest in rubles.
_SHELVES: tuple[tuple[tuple[Adjective, ...], tuple[tuple[str, str, str, int, int], ...]], ...] = (
    (
        (_WIRELESS, _COMPACT, _BLACK, _WHITE),
        (
            ("наушники", "p", "headphones", 1490, 14990),
            ("колонка", "f", "speaker", 990, 9990),
            ("клавиатура", "f", "keyboard", 890, 7990),
            ("мышь", "f", "mouse", 390, 4990),
            ("микрофон", "m", "microphone", 1290, 11990),
            ("веб-камера", "f", "webcam", 1190, 8990),
            ("принтер", "m", "printer", 6990, 24990),
            ("реле", "n", "smart relay", 590, 2490),
        ),
    ),
    (
        (_STEEL, _BLACK, _BLUE, _GREEN),
        (
            ("чайник", "m", "kettle", 790, 5990),
            ("кастрюля", "f", "saucepan", 890, 6490),
            ("сковорода", "f", "frying pan", 690, 4990),
            ("термос", "m", "thermos flask", 590, 3990),
            ("кружка", "f", "mug", 190, 890),
            ("блюдо", "n", "serving dish", 390, 1990),
            ("щипцы", "p", "kitchen tongs", 190, 790),
            ("весы", "p", "kitchen scales", 690, 2990),
        ),
    ),
    (
        (_SOFT_TOUCH, _WARM, _GREY, _WHITE),
        (
            ("плед", "m", "throw blanket", 890, 4990),
            ("подушка", "f", "pillow", 490, 3490),
            ("одеяло", "n", "duvet", 1490, 8990),
            ("полотенце", "n", "towel", 290, 1490),
            ("коврик", "m", "bath mat", 390, 1990),
            ("халат", "m", "dressing gown", 1290, 5990),
            ("покрывало", "n", "bedspread", 1190, 6990),
            ("тапочки", "p", "slippers", 290, 1490),
        ),
    ),
    (
        (_WARM, _LIGHT, _BLACK, _RED),
        (
            ("куртка", "f", "jacket", 2990, 17990),
            ("свитер", "m", "sweater", 1490, 7990),
            ("пальто", "n", "coat", 4990, 24990),
            ("брюки", "p", "trousers", 1490, 6990),
            ("шапка", "f", "hat", 390, 2490),
            ("перчатки", "p", "gloves", 390, 2990),
            ("платье", "n", "dress", 1690, 9990),
            ("кроссовки", "p", "trainers", 1990, 12990),
        ),
    ),
    (
        (_WOODEN, _FOLDING, _WHITE, _GREY),
        (
            ("стол", "m", "table", 2990, 29990),
            ("стул", "m", "chair", 1290, 9990),
            ("кресло", "n", "armchair", 4990, 39990),
            ("полка", "f", "shelf", 590, 4990),
            ("кровать", "f", "bed", 9990, 59990),
            ("вешалка", "f", "coat rack", 690, 4990),
            ("табурет", "m", "stool", 590, 3990),
            ("зеркало", "n", "mirror", 990, 9990),
        ),
    ),
    (
        (_CORDLESS, _POWERFUL, _LIGHT, _PROFESSIONAL),
        (
            ("дрель", "f", "drill", 2490, 14990),
            ("шуруповёрт", "m", "power screwdriver", 1990, 12990),
            ("пила", "f", "saw", 2990, 19990),
            ("лобзик", "m", "jigsaw", 2490, 11990),
            ("ножницы", "p", "garden shears", 1490, 7990),
            ("кусторез", "m", "hedge trimmer", 2990, 13990),
            ("пылесос", "m", "vacuum cleaner", 3990, 29990),
            ("точило", "n", "bench grinder", 1990, 8990),
        ),
    ),
    (
        (_LIGHT, _STURDY, _BLUE, _RED),
        (
            ("палатка", "f", "tent", 2990, 29990),
            ("рюкзак", "m", "backpack", 1290, 12990),
            ("мяч", "m", "ball", 390, 2990),
            ("лыжи", "p", "skis", 2990, 24990),
            ("коньки", "p", "skates", 1990, 14990),
            ("весло", "n", "paddle", 990, 5990),
            ("велосипед", "m", "bicycle", 9990, 79990),
            ("каска", "f", "helmet", 990, 6990),
        ),
    ),
    (
        (_WOODEN, _BIG, _SMALL, _BRIGHT),
        (
            ("кукла", "f", "doll", 390, 3990),
            ("конструктор", "m", "construction set", 590, 7990),
            ("пазл", "m", "puzzle", 190, 1490),
            ("кубики", "p", "building blocks", 290, 1990),
            ("пианино", "n", "toy piano", 990, 5990),
            ("лошадка", "f", "rocking horse", 1490, 6990),
            ("поезд", "m", "toy train", 690, 5990),
            ("домино", "n", "set of dominoes", 190, 990),
        ),
    ),
)
# What is said of a shelf's products: category, the colours and materials that they come in where the adjective names
# none, lightest and heaviest in grams, and what they are good for; Russian first.
_Pair = tuple[str, str]
_ABOUT: tuple[tuple[_Pair, tuple[_Pair, ...], tuple[_Pair, ...], int, int, tuple[_Pair, ...]], ...] = (
    (
        ("Электроника", "Electronics"),
        (("чёрный", "black"), ("белый", "white"), ("графитовый", "graphite")),
        (("пластик", "plastic"), ("алюминий", "aluminium")),
        80,
        6500,
        (
            ("Подключается за минуту и не требует настройки.", "Connects within a minute, with nothing to set up."),
            ("Для работы из дома и для долгих поездок.", "Made for working at home and for long journeys."),
        ),
    ),
    (
        ("Кухня", "Kitchen"),
        (("серебристый", "silver"), ("бежевый", "beige")),
        (("нержавеющая сталь", "stainless steel"), ("стекло", "glass"), ("керамика", "ceramics")),
        150,
        3200,
        (
            ("Легко моется, можно ставить в посудомоечную машину.", "Easy to wash, and safe in a dishwasher."),
            ("Для большой семьи и для праздничного стола.", "For a large family and for festive dinners."),
        ),
    ),
    (
        ("Текстиль", "Home textiles"),
        (("белый", "white"), ("бежевый", "beige"), ("голубой", "light blue")),
        (("хлопок", "cotton"), ("шерсть", "wool"), ("микрофибра", "microfibre")),
        200,
        2800,
        (
            ("Не линяет и держит форму после стирки.", "Keeps its colour and shape when washed."),
            ("Для уютных вечеров и крепкого сна.", "For cosy evenings and sound sleep."),
        ),
    ),
    (
        ("Одежда и обувь", "Clothes and shoes"),
        (("чёрный", "black"), ("красный", "red"), ("хаки", "khaki")),
        (("хлопок", "cotton"), ("шерсть", "wool"), ("полиэстер", "polyester")),
        100,
        1900,
        (
            ("Не стесняет движений в городе и за городом.", "Leaves room to move, in town and out of it."),
            ("Швы усилены, ткань дышит.", "Reinforced seams and a fabric that breathes."),
        ),
    ),
    (
        ("Мебель", "Furniture"),
        (("орех", "walnut"), ("дуб", "oak"), ("белый", "white")),
        (("дерево", "wood"), ("металл", "metal")),
        1500,
        48000,
        (
            ("Собирается без инструментов за полчаса.", "Assembled within half an hour, without tools."),
            ("Для маленькой квартиры и для загородного дома.", "For a small flat and for a country house."),
        ),
    ),
    (
        ("Инструменты", "Tools"),
        (("оранжевый", "orange"), ("синий", "blue")),
        (("сталь", "steel"), ("ударопрочный пластик", "impact-proof plastic")),
        600,
        9000,
        (
            ("Удобно держать одной рукой, кейс в комплекте.", "Comfortable in one hand; comes with a case."),
            ("Для ремонта в доме и для работы в саду.", "For repairs at home and for work in the garden."),
        ),
    ),
    (
        ("Спорт и туризм", "Sports and outdoors"),
        (("синий", "blue"), ("красный", "red"), ("зелёный", "green")),
        (("нейлон", "nylon"), ("алюминий", "aluminium"), ("карбон", "carbon fibre")),
        300,
        14000,
        (
            ("Выдерживает дождь, ветер и мороз.", "Withstands rain, wind and frost."),
            ("Для новичков и для опытных спортсменов.", "For beginners and for seasoned athletes."),
        ),
    ),
    (
        ("Игрушки", "Toys"),
        (("жёлтый", "yellow"), ("красный", "red"), ("разноцветный", "multicoloured")),
        (("дерево", "wood"), ("пластик", "plastic"), ("картон", "cardboard")),
        120,
        4500,
        (
            ("Безопасно для детей от трёх лет.", "Safe for children of three years and older."),
            ("Развивает внимание и воображение.", "Trains attention and imagination."),
        ),
    ),
)
# What an adjective of a name says of the product: nothing else may be said of it then.
_COLORS = (_BLACK, _WHITE, _BLUE, _RED, _GREY, _GREEN)
_MATERIALS = {_STEEL.en: ("сталь", "steel"), _WOODEN.en: ("дерево", "wood")}
_SHORT = {"bicycle": "bike", "trainers": "sneakers"}  # what people look for, and no name has
_WARRANTIES = (("6 месяцев", "6 months"), ("12 месяцев", "12 months"), ("24 месяца", "24 months"))

# Made-up brands: Russian, English, and what their models begin with.
_BRANDS = (
    ("Авелон", "Avelon", "AV"),
    ("Кедрин", "Kedrin", "KD"),
    ("Меридан", "Meridan", "MR"),
    ("Солвия", "Solvia", "SV"),
    ("Тарвик", "Tarvik", "TK"),
)

# Given name, family name, language; their numbers are their places.
_CUSTOMERS = (
    ("Анна", "Иванова", "anna.ivanova", "ru"),
    ("Ben", "Carter", "ben.carter", "en"),
    ("Виктор", "Соколов", "viktor.sokolov", "ru"),
    ("Diana", "Evans", "diana.evans", "en"),
    ("Елена", "Морозова", "elena.morozova", "ru"),
    ("Frank", "Green", "frank.green", "en"),
    ("Галина", "Орлова", "galina.orlova", "ru"),
    ("Helen", "Irving", "helen.irving", "en"),
    ("Илья", "Фёдоров", "ilya.fedorov", "ru"),
    ("Jack", "Knight", "jack.knight", "en"),
)


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
    for brand, which in product(_BRANDS, range(4)):
        for shelf in range(len(_SHELVES)):
            for kind in range(len(_SHELVES[shelf][1])):
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
    adjectives, kinds = _SHELVES[shelf]
    adjective = adjectives[which]
    noun_ru, gender, noun_en, low, high = kinds[kind]
    model = f"{prefix}-{sku}"
    # Steps of ten rubles above the cheapest, so that prices look like prices: 1 490, 1 500, …
    price_rubles = low + 10 * _pick(f"price {sku}", (high - low) // 10)
    category, colors, materials, light_g, heavy_g, praises = _ABOUT[shelf]
    color = (adjective.ru("m"), adjective.en) if adjective in _COLORS else _one(f"color {sku}", colors)
    material = _MATERIALS.get(adjective.en) or _one(f"material {sku}", materials)
    praise = _one(f"praise {sku}", praises)
    attributes = {
        "category": category,
        "type": (noun_ru, _SHORT.get(noun_en, noun_en)),
        "brand": (brand_ru, brand_en),
        "color": color,
        "material": material,
        "warranty": _one(f"warranty {sku}", _WARRANTIES),
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


def _one(what: str, of: tuple[_Pair, ...]) -> _Pair:
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
        for user_id, (first_name, last_name, username, language) in enumerate(_CUSTOMERS, start=1)
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
