"""Consumer, inbox and dead letters, on a real database and a real broker."""

import asyncio
import contextlib
import json
import uuid

import pytest
from aiokafka import AIOKafkaProducer

from abacus.identity.v1 import events_pb2
from kit import inbox
from kit.testing import until

TYPE = "abacus.identity.v1.Contact"


class Reader:
    """A consumer whose effect is a row per event, and the broker's other end."""

    def __init__(self, db, kafka, topic):
        self.db = db
        self.topic = topic
        self.consumer = inbox.Consumer(db, kafka, topic, [inbox.Subscription(topic, events_pb2.Contact, self.handle)])
        self.kafka = kafka
        self.broken = False

    async def handle(self, conn, event):
        if self.broken or event.message.username == "poison":
            raise LookupError(event.message.username)
        await conn.execute("INSERT INTO seen (username) VALUES ($1)", event.message.username)

    async def send(self, *payloads, headers=()):
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka)
        await producer.start()
        for payload in payloads:
            value = json.dumps(payload).encode() if isinstance(payload, dict) else payload
            await producer.send_and_wait(self.topic, value, key=b"1", headers=list(headers))
        await producer.stop()

    @contextlib.asynccontextmanager
    async def running(self):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.consumer.run(stop))
            try:
                yield
            finally:
                stop.set()

    async def seen(self):
        return [row["username"] for row in await self.db.pool.fetch("SELECT username FROM seen ORDER BY id")]

    async def dead(self):
        return [row["reason"] for row in await self.db.pool.fetch("SELECT reason FROM dead_letters ORDER BY id")]


@pytest.fixture
async def reader(db, native, topic):
    await db.pool.execute("CREATE TABLE seen (id bigint GENERATED ALWAYS AS IDENTITY, username text)")
    return Reader(db, native.kafka, topic)


def contact(username):
    return {"username": username, "userId": 1}


async def test_each_event_has_its_effect_once(reader):
    """A repeat of an id changes nothing, also when a consumer starts anew."""
    headers = [("id", str(uuid.uuid4()).encode()), ("type", TYPE.encode())]
    await reader.send(contact("a"), contact("a"), headers=headers)
    async with reader.running():
        await until(reader.seen, ["a"])
    await reader.send(contact("a"), headers=headers)
    await reader.send(contact("b"))
    async with reader.running():
        await until(reader.seen, ["a", "b"])


async def test_events_of_one_key_keep_their_order(reader):
    """Three hundred in a row arrive in a row."""
    names = [str(number) for number in range(300)]
    await reader.send(*(contact(name) for name in names))
    async with reader.running():
        await until(reader.seen, names)


@pytest.mark.parametrize(
    ("payload", "headers", "reason"),
    [
        (b"{not json", [], "Expecting property name"),
        (b"", [], "Expecting value"),
        (b"[]", [], "not a JSON object"),
        (b'{"username": 5, "userId": 1}', [], "username"),
        (b'{"username": "a"}', [], "user_id"),
        (b'{"username": "a\\u0000b", "userId": 1}', [], "username"),
        (None, [], "Expecting value"),
        (json.dumps(contact("a")).encode(), [("type", b"abacus.identity.v1.Other")], "abacus.identity.v1.Other"),
        (json.dumps(contact("a")).encode(), [("id", b"not a uuid\x00")], "no UUID"),
        (json.dumps(contact("a")).encode(), [("id", b"x" * 8000)], "no UUID"),
        (b'{"username": "\\ud800", "userId": 1}', [], "Unpaired surrogate"),
        (json.dumps(contact("poison")).encode(), [], "LookupError('poison')"),
    ],
)
async def test_what_can_never_be_handled_is_a_dead_letter(reader, payload, headers, reason):
    """It is kept with its reason, and those behind it go on."""
    await reader.send(contact("before"))
    await reader.send(payload, headers=headers)
    await reader.send(contact("behind"))
    async with reader.running():
        await until(reader.seen, ["before", "behind"])
        (text,) = await reader.dead()
    assert reason in text
    assert {"dead_letters": 1} == await inbox.status(reader.db)


async def test_dead_letters_of_one_id_are_all_kept(reader):
    """A producer that gives every message the same wrong id loses none of them."""
    await reader.send(b"{", b"[]", headers=[("id", b"1")])
    async with reader.running():
        await until(reader.dead, 2, of=len)


async def test_an_id_counts_once_however_it_is_spelled(reader):
    """Upper case and braces are the same UUID; on another topic it would be another event."""
    event_id = str(uuid.uuid4())
    for spelled in (event_id, event_id.upper(), f"{{{event_id}}}"):
        await reader.send(contact("a"), headers=[("id", spelled.encode())])
    await reader.send(contact("b"))
    async with reader.running():
        await until(reader.seen, ["a", "b"])


async def test_a_header_without_a_value_is_no_obstacle(reader):
    """Kafka allows it."""
    await reader.send(contact("a"), headers=[("note", None)])
    async with reader.running():
        await until(reader.seen, ["a"])


async def test_replay_handles_dead_letters_again(reader):
    """After the mend they go through, in order, once; what is still broken stays with its reason."""
    reader.broken = True
    await reader.send(contact("a"), b"{", contact("b"))
    async with reader.running():
        await until(reader.dead, 3, of=len)
    reader.broken = False
    assert {"replayed": 2, "dead_letters": 1} == await reader.consumer.replay()
    assert {"replayed": 0, "dead_letters": 1} == await reader.consumer.replay()
    assert ["a", "b"] == await reader.seen()
