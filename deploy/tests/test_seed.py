"""The seed data: enough of it, well formed, the same at every call."""

import hashlib
import json
from collections import Counter, defaultdict
from itertools import chain

import pytest

from abacus.identity.v1 import events_pb2
from deploy import seed, seed_words


def test_same_at_every_call() -> None:
    """The data does not depend on clock, chance or the process."""
    # A changed hash means that shops seeded before differ from those seeded after.
    known = {
        "products": "e7ca0799483d3585",
        "stock": "fd2b06e8a21867a6",
        "customers": "cc65a803aa7a850d",
    }
    made = {"products": seed.products(), "stock": seed.stock(), "customers": seed.customers()}
    hashes = {name: hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] for name, rows in made.items()}
    assert known == hashes


def test_names_and_prices_stay() -> None:
    """What a product is called and costs is what it was before products had more to them: examples show it."""
    kept = [
        {name: item[name] for name in ("sku", "name_ru", "name_en", "price", "currency")} for item in seed.products()
    ]
    assert "8c2e240cf6c144ee" == hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]
    assert {0} == {item["discount"] for item in seed.products()[:100]}


def test_products_are_worth_browsing() -> None:
    """All have a description in both languages, measures and the same attributes, with few values; some a discount."""
    products = seed.products()
    values = defaultdict(set)
    for item in products:
        assert item["description_ru"]
        assert item["description_en"]
        assert all(item["measures"].values())
        for attribute in item["attributes"]:
            values[attribute["name"]].add((attribute["value_ru"], attribute["value_en"]))
    assert {"category", "type", "brand", "color", "material", "warranty"} == set(values)
    assert all(len(item["attributes"]) == len(values) for item in products)
    assert (8, 64, 5, 3) == tuple(len(values[name]) for name in ("category", "type", "brand", "warranty"))
    for pairs in values.values():  # each language has one word for it
        assert len(pairs) == len({ru for ru, _ in pairs}) == len({en for _, en in pairs})
    discounts = Counter(item["discount"] for item in products)
    assert 100 <= len(products) - discounts[0] <= 300
    assert max(discounts) <= 50


def test_products_are_plausible() -> None:
    """At least 1,000 products; skus rise by one from 1001; names are unique; prices are sums of rubles and kopecks."""
    products = seed.products()
    assert len(products) >= 1000
    assert list(range(1001, 1001 + len(products))) == [item["sku"] for item in products]
    for name in ("name_ru", "name_en"):
        assert len(products) == len({item[name] for item in products})
    assert {"RUB"} == {item["currency"] for item in products}
    assert all(10_000 <= item["price"] <= 10_000_000 and item["price"] % 10 == 0 for item in products)


@pytest.mark.parametrize(
    ("gender", "forms"),
    [
        ("m", "беспроводной чёрный синий лёгкий большой"),
        ("f", "беспроводная чёрная синяя лёгкая большая"),
        ("n", "беспроводное чёрное синее лёгкое большое"),
        ("p", "беспроводные чёрные синие лёгкие большие"),
    ],
)
def test_adjectives_agree(gender: str, forms: str) -> None:
    """Each kind of Russian adjective has the ending that its noun's gender asks for."""
    adjectives = (seed_words.WIRELESS, seed_words.BLACK, seed_words.BLUE, seed_words.LIGHT, seed_words.BIG)
    assert forms == " ".join(word.ru(gender) for word in adjectives)


def test_nouns_have_their_gender() -> None:
    """A noun's ending goes with the gender that the table gives it, but for the known exceptions."""
    exceptions = {"мышь": "f", "пальто": "n", "реле": "n", "кровать": "f", "дрель": "f"}
    by_ending = {"а": "f", "я": "f", "о": "n", "е": "n", "и": "p", "ы": "p"}
    for noun, gender, *_ in chain.from_iterable(kinds for _, kinds in seed_words.SHELVES):
        assert exceptions.get(noun, by_ending.get(noun[-1], "m")) == gender, noun


def test_stock_has_all_cases() -> None:
    """Three warehouses; some products are in one only, a few are down to the last units, a few are sold out."""
    places: dict[int, dict[int, int]] = defaultdict(dict)
    for row in seed.stock():
        assert row["warehouse_id"] not in places[row["sku"]]
        places[row["sku"]][row["warehouse_id"]] = row["count"]
    assert {1, 2, 3} == set(chain.from_iterable(places.values()))
    assert all(1 <= count <= 65535 for units in places.values() for count in units.values())
    skus = {item["sku"] for item in seed.products()}
    assert set(places) <= skus
    sold_out = skus - set(places)
    spread = Counter(len(units) for units in places.values())
    last = [sku for sku, units in places.items() if sum(units.values()) <= 10]
    assert 10 <= len(sold_out) <= 50
    assert spread[1] >= 100
    assert 20 <= len(last) <= 120
    assert sum(places[1001].values()) > 100, "the README's examples buy it"


def test_customers_are_contacts() -> None:
    """Ten customers, ids 1…10, of both languages, at addresses that belong to nobody; each is a contact."""
    contacts = [events_pb2.Contact(**customer) for customer in seed.customers()]
    assert list(range(1, 11)) == [contact.user_id for contact in contacts]
    assert {"ru", "en"} == {contact.language for contact in contacts}
    assert all(contact.email.endswith("@example.com") for contact in contacts)
    assert all(contact.phone.startswith("+7900000") and len(contact.phone) == 12 for contact in contacts)
    assert len(contacts) == len({contact.phone for contact in contacts})
