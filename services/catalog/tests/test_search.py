"""Finding products, through the door, among the seed data: some paths look products through, some ask the index."""

import random
from collections import Counter, defaultdict

import pytest
from grpc import StatusCode

from abacus.catalog.v1 import catalog_pb2
from catalog import seed
from catalog.tests.conftest import product
from deploy import seed as seed_data
from kit.db import Database
from kit.testing import refused

GOODS = {item["sku"]: item for item in seed_data.products()}
RELEVANCE, CHEAPEST, DEAREST, NEWEST, DISCOUNT = (
    catalog_pb2.PRODUCT_SORT_RELEVANCE,
    catalog_pb2.PRODUCT_SORT_PRICE_ASC,
    catalog_pb2.PRODUCT_SORT_PRICE_DESC,
    catalog_pb2.PRODUCT_SORT_NEWEST,
    catalog_pb2.PRODUCT_SORT_DISCOUNT,
)


@pytest.fixture
async def shop(catalog, db: Database):
    """A catalog with the seed data."""
    await seed.load(db, list(GOODS.values()))
    return catalog


async def pages(catalog, **asked):
    """All pages of a list."""
    request = catalog_pb2.ListProductsRequest(**asked)
    while True:
        answer = await catalog.ListProducts(request)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def found(catalog, query="", **asked):
    """The skus of all pages."""
    size = asked.pop("page_size", 100)
    return [one.id async for page in pages(catalog, query=query, page_size=size, **asked) for one in page.products]


def attribute(sku, name, language="ru"):
    return next(one[f"value_{language}"] for one in GOODS[sku]["attributes"] if one["name"] == name)


def charged(sku):
    item = GOODS[sku]
    return item["price"] - item["price"] * item["discount"] // 100


BIKES = [sku for sku, item in GOODS.items() if " велосипед " in item["name_ru"]]


FORMS = ["велосипед", "велосипеды", "велосипедов", "ВЕЛОСИПЕДАМИ", "bicycle", "Bicycles", "bicyc", "bikes", "bike"]


async def test_words_are_found_in_any_form(shop):
    """In both languages, in names and attributes, in any case and number, and the last word as far as it is typed."""
    for query in FORMS:
        assert BIKES == await found(shop, query), query


async def test_yo_is_ye(shop):
    """Both spellings find what has either."""
    for spellings, word in ((("черный", "чёрный", "ЧЁРНЫЙ"), "Чёрный"), (("шуруповерт", "шуруповёрт"), "шуруповёрт")):
        wanted = {sku for sku, item in GOODS.items() if word in item["name_ru"]}
        for query in spellings:
            assert wanted <= set(await found(shop, query)), query


async def test_as_it_is_typed(shop):
    """With each letter more what was meant is still found, from the first one on."""
    for typed in range(1, len("стальной чайник кедрин") + 1):
        query = "стальной чайник кедрин"[:typed]
        wanted = {sku for sku, item in GOODS.items() if item["name_ru"].startswith("Стальной чайник Кедрин")}
        assert wanted <= set(await found(shop, query)), query


async def test_all_words_must_be_found(shop):
    """In whatever order, and wherever each of them is."""
    wanted = [sku for sku in BIKES if attribute(sku, "brand") == "Кедрин" and attribute(sku, "color") == "красный"]
    assert wanted
    assert wanted == await found(shop, "кедрин красный велосипед")
    assert wanted == await found(shop, "bicycle, red; KEDRIN!")
    assert [] == await found(shop, "велосипед чайник")


async def test_models_and_ids_are_found(shop):
    """A model as it is written, in one word too, and the product's id."""
    for query in ("AV-1001", "av 1001", "1001", "«AV-1001»", "av1001", "AV1001"):
        assert [1001] == await found(shop, query), query
    assert await found(shop, "веб-камеры") == await found(shop, "вебкамеры") != []


async def test_what_is_unseen_in_words_is_nothing(catalog):
    """Soft hyphens, accents and joiners, on either side."""
    await catalog.UpsertProduct(product(1, "Вело\u00adси\u200bпед", "Bi\ufeffcy\u2060cle"))
    await catalog.UpsertProduct(product(2, "Велосипед", "Bicycle"))
    for query in ("велосипеды", "вело\u00adсипед", "велосипе\u0301д", "b\u200dicycles", "bicycle\u200e"):
        assert [1, 2] == await found(catalog, query), query


async def test_a_query_without_words_is_none(shop):
    """It lists all that there is."""
    for query in ("!", "   ", "& | ! : * ' \\ ( ) < -", "%_", "\u200b", "—«»"):
        assert list(GOODS) == await found(shop, query), query


async def test_no_query_breaks_the_search(shop):
    """Operators, quotes and whatever else people type part words and mean nothing."""
    for query in (
        "велосипед'",
        "велосипед & !",
        "велосипед:*",
        "(велосипед",
        "велосипед\\",
        '"велосипед"',
        "<->велосипед|",
    ):
        assert BIKES == await found(shop, query), query
    chance = random.Random(6)
    letters = "aяё1 &|!:*'\"\\()<>-_%$\u0301İß½Ⅷ中\U0001f6b2"
    for _ in range(100):
        query = "".join(chance.choices(letters, k=chance.randint(1, 40)))
        asked = {"sort": chance.randint(0, 5), "facets": True}
        await shop.ListProducts(catalog_pb2.ListProductsRequest(query=f"{query}\t\n", **asked))
        await shop.ListProducts(catalog_pb2.ListProductsRequest(attributes=[f"color:{query}"], **asked))


# One character of these becomes four, or eighteen.
LONG = ("a" + "㍿" * 199, "㍿" * 200, "ﷺ" * 200, "\U0001f130" * 200)


@pytest.mark.parametrize("long", LONG)
async def test_words_longer_than_any_index_takes_are_cut(catalog, db: Database, long):
    """On both sides alike: what has them is found by them, as words and as filters."""
    for sku in (1, 2):
        values = {f"a{number}": (long, long) for number in range(48)}
        texts = {"description_ru": "㍿" * 10_000, "description_en": long * 50}
        await catalog.UpsertProduct(product(sku, long, long * 2, attributes={"color": (long, long), **values}, **texts))
    await catalog.UpsertProduct(product(3))
    for asked in (
        {"query": long},
        {"query": long, "sort": CHEAPEST},
        {"attributes": [f"color:{long}"]},
        {"attributes": [f"a{number}:{long}" for number in range(20)], "query": long},
    ):
        assert [1, 2] == sorted(await found(catalog, **asked)), asked
    longest = "SELECT max(octet_length(word)) FROM products, unnest(tsvector_to_array(found_by)) AS word"
    assert await db.pool.fetchval(longest) < 2046


async def test_of_many_words_the_first_are_looked_for(shop):
    """Twelve of them; a query is not too long."""
    assert BIKES == await found(shop, "велосипед " + "bike " * 11 + "чайник")
    assert [] == await found(shop, "велосипед " + "bike " * 10 + "чайник")


async def test_names_weigh_more_than_attributes_and_these_more_than_descriptions(catalog):
    """Also where their ids say otherwise; a word in full before the beginning of a longer one."""
    await catalog.UpsertProduct(product(1, "Полка", "Shelf", description_ru="Встанет на любой стол"))
    await catalog.UpsertProduct(product(2, "Лампа", "Lamp", attributes={"place": ("стол", "table")}))
    await catalog.UpsertProduct(product(3, "Столик", "Small one"))
    await catalog.UpsertProduct(product(4, "Большие столы", "Large ones"))
    await catalog.UpsertProduct(product(5, "Стул", "Chair"))
    assert [4, 3, 2, 1] == await found(catalog, "стол")
    assert [4, 3, 2, 1] == await found(catalog, "стол", sort=RELEVANCE, page_size=1)
    assert [1, 2, 3, 4] == sorted(await found(catalog, "стол", sort=CHEAPEST))


async def test_words_without_meaning_do_not_narrow(shop):
    """ "для" stands in texts that the index does not keep it of; alone it is a beginning like any other."""
    assert BIKES == await found(shop, "велосипед для")
    assert BIKES == await found(shop, "и велосипед")
    assert [] == await found(shop, "для")


@pytest.mark.parametrize("sort", [0, RELEVANCE, CHEAPEST, DEAREST, NEWEST, DISCOUNT])
async def test_pages_show_each_product_once_in_order(shop, sort):
    """Whatever is asked, all that is found, by the order's key and then by ids."""
    for query in ("", "авелон", "велосипед", "красный"):
        for attributes in ([], ["category:Спорт и туризм"]):
            wanted = expected(query, attributes, sort)
            assert wanted
            assert wanted == await found(shop, query, attributes=attributes, sort=sort, page_size=67), query


def expected(query, attributes, sort):
    wanted = [
        sku
        for sku in GOODS
        if {
            "": True,
            "авелон": attribute(sku, "brand") == "Авелон",
            "велосипед": sku in BIKES,
            "красный": attribute(sku, "color") == "красный",
        }[query]
        and (not attributes or attribute(sku, "category") == "Спорт и туризм")
    ]
    if sort in (0, RELEVANCE) and query == "красный":
        # Those whose name says it come before those of which it is an attribute alone.
        wanted.sort(key=lambda sku: " red " not in GOODS[sku]["name_en"])
    elif sort == CHEAPEST:
        wanted.sort(key=lambda sku: (charged(sku), sku))
    elif sort == DEAREST:
        wanted.sort(key=lambda sku: (-charged(sku), -sku))
    elif sort == NEWEST:
        wanted.reverse()  # they were added by rising skus
    elif sort == DISCOUNT:
        wanted.sort(key=lambda sku: (-GOODS[sku]["discount"], -sku))
    return wanted


async def test_filters_of_attributes(shop):
    """One of several with a name must hold, and of different names each; in either language, in any case."""
    wanted = [
        sku
        for sku in GOODS
        if attribute(sku, "color") in ("чёрный", "красный") and attribute(sku, "brand", "en") == "Kedrin"
    ]
    for attributes in (
        ["color:чёрный", "color:red", "brand:kedrin"],
        ["brand:КЕДРИН", "color:Красный", "color:BLACK"],
    ):
        assert wanted == await found(shop, attributes=attributes)
    assert [] == await found(shop, attributes=["color:чёрн"])
    assert [] == await found(shop, attributes=["size:чёрный"])
    assert [sku for sku in wanted if sku in BIKES] == await found(
        shop, "велосипеды", attributes=["color:чёрный", "color:red", "brand:kedrin"]
    )


@pytest.mark.parametrize("query", ["", "авелон"])
async def test_filters_of_prices(shop, query):
    """With both ends, of the price charged; and of what has a discount."""
    wanted = [sku for sku in GOODS if not query or attribute(sku, "brand") == "Авелон"]
    prices = sorted(map(charged, wanted))
    low, high = prices[len(prices) // 3], prices[len(prices) // 2]
    between = [sku for sku in wanted if low <= charged(sku) <= high]
    assert between == await found(shop, query, min_price=low, max_price=high)
    assert [sku for sku in wanted if charged(sku) >= low] == await found(shop, query, min_price=low)
    assert [sku for sku in wanted if charged(sku) <= low] == await found(shop, query, max_price=low)
    assert [sku for sku in between if GOODS[sku]["discount"]] == await found(
        shop, query, min_price=low, max_price=high, discounted=True
    )
    assert [] == await found(shop, query, min_price=2**63 - 1)
    assert [] == await found(shop, query, max_price=0)


FACETED = (
    ({}, lambda sku: True),
    ({"query": "велосипед"}, lambda sku: sku in BIKES),
    (
        {"query": "авелон", "attributes": ["color:red", "color:black"]},
        lambda sku: attribute(sku, "brand") == "Авелон" and attribute(sku, "color") in ("красный", "чёрный"),
    ),
    ({"discounted": True}, lambda sku: GOODS[sku]["discount"] > 0),
    ({"query": "нигде"}, lambda sku: False),
)


@pytest.mark.parametrize("language", ["ru", "en"])
async def test_facets_count_all_that_is_found(shop, language):
    """Not only this page, in the language asked for; the most frequent value first, by name then."""
    for asked, holds in FACETED:
        answer = await shop.ListProducts(
            catalog_pb2.ListProductsRequest(facets=True, language=language, page_size=1, **asked)
        )
        of = [sku for sku in GOODS if holds(sku)]
        assert counted(of, language) == [
            (facet.name, [(one.value, one.count) for one in facet.values]) for facet in answer.facets
        ]
        assert len(of) == answer.facets_of


def counted(of, language):
    """The facets of these products."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sku in of:
        for one in GOODS[sku]["attributes"]:
            counts[one["name"]][one[f"value_{language}"]] += 1
    return [
        (name, sorted(counts[name].items(), key=lambda value: (-value[1], value[0]))[:50]) for name in sorted(counts)
    ]


async def test_products_without_attributes_are_counted(catalog):
    """Though there is nothing to tell of them."""
    for sku in (1, 2):
        await catalog.UpsertProduct(product(sku))
    for query, of in (("", 2), ("чайник", 2), ("нигде", 0)):
        answer = await catalog.ListProducts(catalog_pb2.ListProductsRequest(facets=True, query=query))
        assert ([], of) == (list(answer.facets), answer.facets_of), query


async def test_facets_are_only_counted_when_asked_for(shop):
    """They cost a statement."""
    assert [] == list((await shop.ListProducts(catalog_pb2.ListProductsRequest())).facets)


async def test_what_is_off_sale_is_not_found(catalog):
    """Neither listed nor searched nor counted."""
    await catalog.UpsertProduct(product(1, attributes={"color": ("чёрный", "black")}))
    await catalog.UpsertProduct(product(2, is_active=False, attributes={"color": ("чёрный", "black")}))
    for asked in ({}, {"query": "чайник"}, {"attributes": ["color:black"]}):
        answer = await catalog.ListProducts(catalog_pb2.ListProductsRequest(facets=True, **asked))
        assert [1] == [one.id for one in answer.products]
        assert [1] == [one.count for facet in answer.facets for one in facet.values]


async def test_a_change_is_found_at_once(catalog):
    """By its new words, and not by the old ones."""
    await catalog.UpsertProduct(product(1, "Чайник", "Kettle"))
    await catalog.UpsertProduct(product(1, "Самовар", "Samovar"))
    assert ([1], []) == (await found(catalog, "самовары"), await found(catalog, "чайник"))


async def test_a_strange_page_token_is_refused(catalog):
    """It names the field."""
    for token in ("x", "1", "1.2", "1.2.3.4", "1.2.", "9223372036854775808.1.0", "1.1.0 ", "01.1.0"):
        with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="page_token"):
            await catalog.ListProducts(catalog_pb2.ListProductsRequest(page_token=token))


async def test_a_page_token_is_of_one_list(shop):
    """Another sort, query or filter is refused; size, language and facets may change from page to page."""
    asked = {"query": "авелон", "attributes": ["color:red"], "min_price": 1, "sort": CHEAPEST}
    token = (await shop.ListProducts(catalog_pb2.ListProductsRequest(page_size=1, **asked))).next_page_token
    for other in (
        {"query": "кедрин"},
        {"query": ""},
        {"attributes": []},
        {"attributes": ["color:black"]},
        {"min_price": 0},
        {"max_price": 10**9},
        {"discounted": True},
        {"sort": DEAREST},
        {"sort": RELEVANCE},
    ):
        with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="page_token"):
            await shop.ListProducts(catalog_pb2.ListProductsRequest(page_token=token, **asked | other))
    for same in ({}, {"page_size": 3}, {"language": "en"}, {"facets": True}):
        answer = await shop.ListProducts(catalog_pb2.ListProductsRequest(page_token=token, **asked, **same))
        assert len(answer.products) > 0, same


async def test_a_forged_page_token_breaks_nothing(catalog):
    """Numbers of any size: nothing is promised but an answer."""
    for sku in (1, 2):
        await catalog.UpsertProduct(product(sku))
    for sort in range(6):
        for query in ("", "чайник"):
            asked = {"sort": sort, "query": query, "page_size": 1}
            token = (await catalog.ListProducts(catalog_pb2.ListProductsRequest(**asked))).next_page_token
            of = token.rpartition(".")[2]
            for numbers in (f"{2**63 - 1}.{2**63 - 1}", f"-{2**63 - 1}.0", "0.0", "1.1"):
                await catalog.ListProducts(catalog_pb2.ListProductsRequest(page_token=f"{numbers}.{of}", **asked))
