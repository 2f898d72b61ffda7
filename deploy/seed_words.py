"""The words that seed data is made of, Russian and English. Data only; seed.py puts them together."""

from dataclasses import dataclass

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


WIRELESS = Adjective("беспроводн", _STRESSED, "wireless")
COMPACT = Adjective("компактн", _HARD, "compact")
BLACK = Adjective("чёрн", _HARD, "black")
WHITE = Adjective("бел", _HARD, "white")
BLUE = Adjective("син", _SOFT, "blue")
RED = Adjective("красн", _HARD, "red")
GREY = Adjective("сер", _HARD, "grey")
GREEN = Adjective("зелён", _HARD, "green")
STEEL = Adjective("стальн", _STRESSED, "steel")
SOFT_TOUCH = Adjective("мягк", _VELAR, "soft")
WARM = Adjective("тёпл", _HARD, "warm")
LIGHT = Adjective("лёгк", _VELAR, "light")
STURDY = Adjective("прочн", _HARD, "sturdy")
WOODEN = Adjective("деревянн", _HARD, "wooden")
FOLDING = Adjective("складн", _STRESSED, "folding")
CORDLESS = Adjective("аккумуляторн", _HARD, "cordless")
POWERFUL = Adjective("мощн", _HARD, "powerful")
PROFESSIONAL = Adjective("профессиональн", _HARD, "professional")
BIG = Adjective("больш", _SIBILANT, "big")
SMALL = Adjective("маленьк", _VELAR, "small")
BRIGHT = Adjective("ярк", _VELAR, "bright")

# Four adjectives, and what they can be said of: Russian, its gender, English, cheapest and dearest in rubles.
SHELVES: tuple[tuple[tuple[Adjective, ...], tuple[tuple[str, str, str, int, int], ...]], ...] = (
    (
        (WIRELESS, COMPACT, BLACK, WHITE),
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
        (STEEL, BLACK, BLUE, GREEN),
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
        (SOFT_TOUCH, WARM, GREY, WHITE),
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
        (WARM, LIGHT, BLACK, RED),
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
        (WOODEN, FOLDING, WHITE, GREY),
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
        (CORDLESS, POWERFUL, LIGHT, PROFESSIONAL),
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
        (LIGHT, STURDY, BLUE, RED),
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
        (WOODEN, BIG, SMALL, BRIGHT),
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
Pair = tuple[str, str]
ABOUT: tuple[tuple[Pair, tuple[Pair, ...], tuple[Pair, ...], int, int, tuple[Pair, ...]], ...] = (
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
COLORS = (BLACK, WHITE, BLUE, RED, GREY, GREEN)
MATERIALS = {STEEL.en: ("сталь", "steel"), WOODEN.en: ("дерево", "wood")}
SHORT = {"bicycle": "bike", "trainers": "sneakers"}  # what people look for, and no name has
WARRANTIES = (("6 месяцев", "6 months"), ("12 месяцев", "12 months"), ("24 месяца", "24 months"))

# Made-up brands: Russian, English, and what their models begin with.
BRANDS = (
    ("Авелон", "Avelon", "AV"),
    ("Кедрин", "Kedrin", "KD"),
    ("Меридан", "Meridan", "MR"),
    ("Солвия", "Solvia", "SV"),
    ("Тарвик", "Tarvik", "TK"),
)

# Given name, family name, language; their numbers are their places.
CUSTOMERS = (
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
