"""Words in all their forms, through the door: Russian nouns in each case and number that they have."""

import pytest

from abacus.catalog.v1 import catalog_pb2
from catalog import seed
from catalog.tests.conftest import product
from deploy import seed as seed_data
from kit.db import Database

HARD = "_ а у ом е ы ов ам ами ах"
VELAR = "_ а у ом е и ов ам ами ах"
FEMININE = "а ы е у ой ам ами ах"
FEMININE_VELAR = "а и е у ой ам ами ах"
NEUTER = "о а у ом е ам ами ах"
SOFT = "ь и ью ей ям ями ях"

# Beginning, endings ("_": none), and the forms that begin otherwise; of all nouns of the seed data that are declined.
SEEDED = (
    ("наушник", VELAR, ""),
    ("колонк", FEMININE_VELAR, "колонок"),
    ("клавиатур", FEMININE, "клавиатур"),
    ("мыш", "ь и ью ей ам ами ах", ""),
    ("микрофон", HARD, ""),
    ("веб-камер", FEMININE, "веб-камер"),
    ("принтер", HARD, ""),
    ("чайник", VELAR, ""),
    ("кастрюл", "я и е ю ей ь ям ями ях", ""),
    ("сковород", FEMININE, "сковород"),
    ("термос", HARD, ""),
    ("кружк", FEMININE_VELAR, "кружек"),
    ("блюд", NEUTER, "блюд"),
    ("щипц", "ы ов ам ами ах", ""),
    ("вес", "ы ов ам ами ах", ""),
    ("плед", HARD, ""),
    ("подушк", FEMININE_VELAR, "подушек"),
    ("одеял", NEUTER, "одеял"),
    ("полотенц", "е а у ем ам ами ах", "полотенец"),
    ("коврик", VELAR, ""),
    ("халат", HARD, ""),
    ("покрывал", NEUTER, "покрывал"),
    ("тапочк", FEMININE_VELAR, "тапочек"),
    ("куртк", FEMININE_VELAR, "курток"),
    ("свитер", HARD, ""),
    ("брюк", "и _ ам ами ах", ""),
    ("шапк", FEMININE_VELAR, "шапок"),
    ("перчатк", FEMININE_VELAR, "перчаток"),
    ("плать", "е я ю ем ев ям ями ях", ""),
    ("кроссовк", FEMININE_VELAR, "кроссовок"),
    ("стол", HARD, ""),
    ("стул", "_ а у ом е ья ьев ьям ьями ьях", ""),
    ("кресл", NEUTER, "кресел"),
    ("полк", FEMININE_VELAR, "полок"),
    ("кроват", SOFT, ""),
    ("вешалк", FEMININE_VELAR, "вешалок"),
    ("табурет", HARD, ""),
    ("зеркал", NEUTER, "зеркал"),
    ("дрел", SOFT, ""),
    ("шуруповёрт", HARD, "шуруповерты"),
    ("пил", FEMININE, "пил"),
    ("лобзик", VELAR, ""),
    ("ножниц", "ы _ ам ами ах", ""),
    ("кусторез", HARD, ""),
    ("пылесос", HARD, ""),
    ("точил", "о а у ом ам ами ах", "точил"),  # "точиле" would be as "стиле"
    ("палатк", FEMININE_VELAR, "палаток"),
    ("рюкзак", VELAR, ""),
    ("мяч", "_ а у ом е и ей ам ами ах", ""),
    ("лыж", "и _ ам ами ах а е у ей", ""),
    ("коньк", "и ов ам ами ах а у ом е", "конёк конек"),
    ("весл", NEUTER, "вёсел весел"),
    ("велосипед", HARD, ""),
    ("каск", FEMININE_VELAR, "касок"),
    ("кукл", FEMININE, "кукол"),
    ("конструктор", HARD, ""),
    ("пазл", HARD, ""),
    ("кубик", VELAR, ""),
    ("лошадк", FEMININE_VELAR, "лошадок"),
    ("поезд", HARD, ""),
)
OTHERS = (
    ("ботинк", "и ов ам ами ах а у ом е", "ботинок"),
    ("чехл", "ы ов ам ами ах а у ом е", "чехол"),
    ("ёлк", FEMININE_VELAR, "ёлок елок елка"),
    ("пальц", "ы ев ам ами ах а у ем е", "палец"),
    ("чулк", "и ам ами ах", "чулок"),
    ("котл", "ы ов ам ами ах а у ом е", "котёл котел"),
    ("печат", SOFT, ""),
    ("материал", HARD, ""),
    ("сапог", "_ и ам ами ах а у ом е", ""),
)


def forms(beginning, endings, others):
    return [beginning + ending.replace("_", "") for ending in endings.split()] + others.split()


async def found(catalog, query):
    answer = await catalog.ListProducts(catalog_pb2.ListProductsRequest(query=query, page_size=100))
    return [one.id for one in answer.products]


async def test_each_form_finds_the_same(catalog, db: Database):
    """All forms of a noun find the products that have it in their name, before any others."""
    goods = seed_data.products()
    await seed.load(db, goods)
    nouns = {kind[0] for _, kinds in seed_data.words.SHELVES for kind in kinds}
    for noun in SEEDED:
        (named,) = nouns & set(forms(*noun))
        wanted = [item["sku"] for item in goods if f" {named} " in item["name_ru"]]
        assert wanted
        for form in forms(*noun):
            assert wanted == (await found(catalog, form))[: len(wanted)], form


@pytest.mark.parametrize("number", range(len(OTHERS)))
async def test_each_form_is_found_by_each(catalog, number):
    """Whatever form the product has and whatever is asked for."""
    every = forms(*OTHERS[number])
    for sku, form in enumerate(every, start=1):
        await catalog.UpsertProduct(product(sku, f"Вот {form}", "One", description_ru=f"Вот {form}"))
    for form in every:
        assert list(range(1, len(every) + 1)) == sorted(await found(catalog, form)), form


async def test_short_words_keep_their_vowels(catalog):
    """A word of one syllable is not another one."""
    for sku, name in enumerate(("Стол", "Бел", "Боль", "Сок", "Мел", "Мол"), start=1):
        await catalog.UpsertProduct(product(sku, name, "One"))
    assert [1] == await found(catalog, "столы")
    assert [2] == await found(catalog, "белый")
    assert [4] == await found(catalog, "соки")
    assert [5] == await found(catalog, "мелом")
