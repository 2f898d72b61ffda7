"""The product feed: of each product the highest version counts, whatever the wire does."""

import asyncio
import itertools
import json
import random
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abacus.catalog.v1 import catalog_pb2, events_pb2
from catalog import __main__ as program
from catalog import feed
from catalog.tests.conftest import product
from deploy.native import broker
from deploy.native.parts import CONSUMERS
from kit import inbox
from kit.db import Database
from kit.inbox import Letter, Subscription
from kit.testing import until

AT = datetime(2026, 11, 21, tzinfo=UTC)
_offsets = itertools.count()


def message(id=1, version=1, name="велосипед_10", cost=50_000, **more):  # noqa: A002  # as the feed calls it
    """The JSON of seed 000, with its spelling; a field that is `...` is left out."""
    told = {
        "id": id,
        "name": name,
        "measurments": {"weight": 14_000, "height": 1_100, "width": 600, "lenght": 1_800},
        "description": "Горный",
        "cost": cost,
        "tax": 20,
        "version": version,
    } | more
    return {name: value for name, value in told.items() if value is not ...}


async def told(db: Database, *messages):
    """Give messages to the consumer as Kafka would: JSON, without headers."""
    letters = [
        Letter(feed.TOPIC, 0, next(_offsets), AT, b"", {}, one if isinstance(one, bytes) else json.dumps(one).encode())
        for one in messages
    ]
    await program.consumer(db, "127.0.0.1:1").apply(letters)


async def row(db: Database, sku=1):
    return dict(await db.pool.fetchrow("SELECT * FROM products WHERE sku = $1", sku))


async def test_a_new_product_comes_on_sale(db: Database, catalog):
    """With the feed's name and description in both languages, its price and measures; it is found."""
    await told(db, message())
    (shown,) = (await catalog.ListProducts(catalog_pb2.ListProductsRequest(query="велосипеды", language="en"))).products
    assert (1, "велосипед_10", "Горный", 50_000, "RUB", True, 1) == (
        shown.id,
        shown.name,
        shown.description,
        shown.price,
        shown.currency,
        shown.is_active,
        shown.version,
    )
    assert catalog_pb2.Measures(weight_g=14_000, height_mm=1_100, width_mm=600, length_mm=1_800) == shown.measures
    kept = await row(db)
    assert (1, 20, "велосипед_10") == (kept["feed_version"], kept["tax"], kept["name_ru"])


async def test_what_the_feed_does_not_know_stays(db: Database, catalog):
    """The translation, discount, attributes, pictures, and that it is off sale."""
    await catalog.UpsertProduct(
        product(
            1,
            "Чайник",
            "Kettle",
            description_ru="Кипятит",
            description_en="Boils",
            discount=10,
            attributes={"color": ("чёрный", "black")},
            pictures=["/1.png"],
            is_active=False,
        )
    )
    before = await row(db)
    await told(db, message(version=0))
    changed = {name for name, value in (await row(db)).items() if before[name] != value}
    assert {
        "name_ru", "description_ru", "price", "price_charged", "weight_g", "height_mm", "width_mm", "length_mm", "tax",
        "feed_version", "version", "updated_at", "found_by",
    } == changed  # fmt: skip


async def test_a_cost_is_in_the_shop_s_currency(db: Database, catalog):
    """Also of a product that had its price in another one."""
    await catalog.UpsertProduct(product(1, price=1, currency="EUR"))
    await told(db, message())
    kept = await row(db)
    assert (50_000, "RUB") == (kept["price"], kept["currency"])


async def test_headers_of_the_neighbours_mean_nothing(db: Database):
    """An `id` that comes again, one that is none of ours, and a `type` of their own: each message is handled."""
    headers = ({"id": "7", "type": "Product"}, {"id": "7"}, {"id": "", "type": "", "traceparent": "x"})
    letters = [
        Letter(feed.TOPIC, 0, next(_offsets), AT, b"", of, json.dumps(message(sku)).encode())
        for sku, of in enumerate(headers, start=1)
    ]
    await program.consumer(db, "127.0.0.1:1").apply(letters)
    assert [1, 2, 3] == [one["sku"] for one in await db.pool.fetch("SELECT sku FROM products ORDER BY sku")]
    assert 0 == (await program.status(db))["dead_letters"]


@pytest.mark.parametrize("description", [None, ...])
async def test_no_description_empties_it(db: Database, description):
    """Null and left out are the same; a translated one stays."""
    await told(db, message(1), message(2))
    await db.pool.execute("UPDATE products SET description_en = 'Mountain', name_en = 'Bicycle' WHERE sku = 2")
    for sku in (1, 2):
        await told(db, message(sku, 2, "Самовар", description=description))
    kept = [
        [one[name] for name in ("name_ru", "name_en", "description_ru", "description_en")]
        for one in (await row(db, 1), await row(db, 2))
    ]
    assert [["Самовар", "Самовар", "", ""], ["Самовар", "Bicycle", "", "Mountain"]] == kept


async def test_an_older_or_repeated_version_changes_nothing(db: Database):
    """Also with another body, and under another event's id."""
    await told(db, message(version=5))
    before = await row(db)
    await told(db, message(version=5, name="Другой"), message(version=4, cost=1), message(version=0))
    assert before == await row(db)


@given(
    versions=st.lists(st.tuples(st.integers(0, 5), st.text("абв", min_size=1, max_size=2)), min_size=1, max_size=8),
    at_once=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_first_of_the_highest_version_counts(db: Database, versions, at_once):
    """Whatever came before and after it, in one transaction or in many."""
    sku = next(_offsets) + 10
    messages = [message(sku, version, name) for version, name in versions]
    if at_once:
        await told(db, *messages)
    else:
        for one in messages:
            await told(db, one)
    highest, name = max(versions, key=lambda one: one[0])  # the first of the same
    kept = await row(db, sku)
    rises = len(set(itertools.accumulate((version for version, _ in versions), max)))
    assert (highest, name, rises) == (kept["feed_version"], kept["name_ru"], kept["version"])


MALFORMED = [
    b"",
    b"not JSON",
    b"[]",
    b"\xff",
    b'{"id": 1}',
    *(json.dumps(message(**{name: ...})).encode() for name in ("id", "name", "measurments", "cost", "tax", "version")),
    *(
        json.dumps(message(**wrong)).encode()
        for wrong in (
            {"id": 0},
            {"id": -1},
            {"id": 2**32},
            {"id": 1.5},
            {"name": ""},
            {"name": None},
            {"name": "a\nb"},
            {"name": 7},
            {"cost": -1},
            {"cost": 1.5},
            {"cost": 10**12 + 1},
            {"cost": 10**400},
            {"cost": True},
            {"tax": -1},
            {"version": -1},
            {"version": 2**63},
            {"description": "\x00"},
            {"description": "я" * 10_001},
            {"measurments": {"weight": 1, "height": 1, "width": 1}},
            {"measurments": {"weight": 1, "height": 1, "width": 1, "lenght": -1}},
            {"measurments": {"weight": 1, "height": 1, "width": 1, "length": 1}},
        )
    ),
    json.dumps(message()).replace("50000", "NaN").encode(),
    json.dumps(message()).replace("50000", "1e999").encode(),
    json.dumps(message()).replace("50000", "9" * 5000).encode(),
]


async def test_what_cannot_be_a_product_is_a_dead_letter(db: Database):
    """Each with its reason, and those around it are handled."""
    await told(db, message(7), *MALFORMED, message(8))
    assert [7, 8] == [one["sku"] for one in await db.pool.fetch("SELECT sku FROM products ORDER BY sku")]
    reasons = [one["reason"] for one in await db.pool.fetch("SELECT reason FROM dead_letters ORDER BY id")]
    assert len(MALFORMED) == len(reasons)
    assert [] == [reason for reason in reasons if not reason or "asyncpg" in reason]  # the contract refuses all of them
    assert len(MALFORMED) == (await program.status(db))["dead_letters"]


async def test_dead_letters_are_handled_again(db: Database):
    """`replay` takes those that can be handled now; an older version still changes nothing."""
    await told(db, b"not JSON", b"not JSON either")
    for name, version in (("Новый", 3), ("Старый", 1)):
        await db.pool.execute(
            """
            UPDATE dead_letters SET payload = $1
             WHERE id = (SELECT max(id) FROM dead_letters WHERE payload LIKE 'not%'::bytea)
            """,
            json.dumps(message(version=version, name=name)).encode(),
        )
    given_ = SimpleNamespace(kafka="127.0.0.1:1")
    assert {"replayed": 2, "dead_letters": 0} == await program.replay(given_, db)
    assert "Новый" == (await row(db))["name_ru"]


async def test_two_consumers_of_a_feed_in_disorder(db: Database, native, topic):
    """5,000 messages, permuted, repeated, on any partition, bad ones among them: the highest version of each wins."""
    chance = random.Random(5)
    skus, newest = range(1, 301), 12
    bodies = [
        message(sku, version, f"Товар {sku}", cost=sku * 1000 + version) for sku in skus for version in range(newest)
    ]
    sent = [json.dumps(one).encode() for one in bodies + chance.choices(bodies, k=1_370)] + [b"broken"] * 30
    assert 5_000 == len(sent)
    chance.shuffle(sent)
    producer = AIOKafkaProducer(bootstrap_servers=native.kafka, linger_ms=5)
    await producer.start()
    for payload in sent:
        await producer.send(topic, payload, partition=chance.randrange(3))
    await producer.stop()
    stop = asyncio.Event()
    subscription = Subscription(topic, events_pb2.ProductMessage, feed.take, is_foreign=True)
    consumers = [inbox.Consumer(db, native.kafka, f"feed of {topic}", [subscription]) for _ in range(2)]
    runs = [asyncio.create_task(consumer.run(stop)) for consumer in consumers]

    async def waiting() -> int:
        return sum((await broker.progress(native.kafka, f"feed of {topic}", {topic: 3})).waiting.values())

    try:
        await until(waiting, 0, within_s=120)
    finally:
        stop.set()
        await asyncio.gather(*runs)
    kept = await db.pool.fetch("SELECT sku, feed_version, price FROM products ORDER BY sku")
    assert [(sku, newest - 1, sku * 1000 + newest - 1) for sku in skus] == [tuple(one) for one in kept]
    assert 30 == (await program.status(db))["dead_letters"]


def test_what_is_read_is_what_the_contract_says(db) -> None:
    """The stack makes these topics, and reports on them as catalog's."""
    assert CONSUMERS["catalog"] == tuple(program.consumer(db, "").subscriptions)
