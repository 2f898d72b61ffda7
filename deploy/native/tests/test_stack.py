"""PostgreSQL and Kafka as tests and chaos runs use them."""

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console

from deploy.native import broker, stack
from deploy.native.errors import StackError
from deploy.native.home import scratch_home
from deploy.native.parts import PARTS, SEEDS, SERVICES, TOPICS, chosen
from deploy.native.topic import print_events

TOPIC, CONTACTS, *_ = TOPICS


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[stack.Shop]:
    with scratch_home() as home:
        async with stack.running(home, parts={"postgres", "kafka"}, env={"LOMS_PAYMENT_TIMEOUT_S": "2"}) as shop:
            yield shop


def test_a_part_brings_what_it_needs() -> None:
    """Choosing a service adds all that it stands on, and nothing else; parts may be left out."""
    assert {"postgres", "kafka", "loms-migrate", "loms-seed", "seed-files", "loms"} == set(chosen(["loms"]))
    assert {"postgres", "kafka", "loms-migrate", "loms"} == set(chosen(["loms"], without=SEEDS))
    assert list(PARTS) == list(chosen(None))


async def test_a_service_opens_its_own_database_only(shop: stack.Shop) -> None:
    """Each service's login owns a database of its name and is kept out of every other, and of wrong passwords."""
    for service in SERVICES:
        conn = await asyncpg.connect(shop.database_url(service))
        await conn.execute("CREATE TABLE mine (id int)")
        await conn.execute("DROP TABLE mine")
        await conn.close()
    for other in ("catalog", "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(f"{shop.database_url('loms').rpartition('/')[0]}/{other}")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(shop.database_url("loms"), password="guessed")


async def test_durability_is_never_switched_off(shop: stack.Shop) -> None:
    """What the tests prove under kill -9 is proved with the settings that the shop runs with."""
    conn = await asyncpg.connect(shop.admin_url)
    on = [await conn.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]
    await conn.close()
    assert ["on", "on", "on"] == on


def test_a_service_is_told_where_the_others_are(shop: stack.Shop) -> None:
    """The environment of a service holds its address, its database, its peers and the caller's settings."""
    loms = shop.env("loms")
    assert f"127.0.0.1:{shop.ports['loms']}" == loms["LOMS_LISTEN"]
    assert f"postgresql://loms@127.0.0.1:{shop.ports['postgres']}/loms" == loms["LOMS_DATABASE_URL"]
    assert shop.kafka == loms["LOMS_KAFKA"]
    assert "2" == loms["LOMS_PAYMENT_TIMEOUT_S"]
    assert shop.address("loms") == shop.env("checkout")["CHECKOUT_LOMS"]
    assert "LOMS_PAYMENT_TIMEOUT_S" not in shop.env("checkout")


def test_the_mailbox_is_told_what_the_caller_set(tmp_path: Path) -> None:
    """Settings of a part that is no service reach it too; where it listens is the stack's to say."""
    given = {"MAILBOX_SLOW_S": "0.5", "MAILBOX_WEB": "nowhere", "LOMS_PAYMENT_TIMEOUT_S": "2"}
    shop = stack.Shop(tmp_path, stack.free_ports(), chosen(["mailbox"]), given)
    environment = shop["mailbox"].env
    assert "0.5" == environment["MAILBOX_SLOW_S"]
    assert shop.address("mailbox") == environment["MAILBOX_WEB"]
    assert "LOMS_PAYMENT_TIMEOUT_S" not in environment


def test_logs_are_the_services_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC's C core is kept from writing its own lines among them, unless somebody asks for those."""
    shop = stack.Shop(tmp_path, stack.free_ports(), {}, {})
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    assert "NONE" == shop.environment({})["GRPC_VERBOSITY"]
    monkeypatch.setenv("GRPC_VERBOSITY", "DEBUG")
    assert "DEBUG" == shop.environment({})["GRPC_VERBOSITY"]


async def test_topics_have_their_partitions_and_others_are_not_made(shop: stack.Shop) -> None:
    """The stack makes the topics; a typing error makes none."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.kafka)
    await admin.start()
    try:
        assert set(TOPICS) == set(await admin.list_topics())
        described = await admin.describe_topics(list(TOPICS))
    finally:
        await admin.close()
    assert TOPICS == {topic["topic"]: len(topic["partitions"]) for topic in described}


async def test_the_time_of_a_message_is_the_brokers(shop: stack.Shop) -> None:
    """A producer whose clock is wrong does not make its messages older or newer than others."""
    before_ms = time.time() * 1000
    async with AIOKafkaProducer(bootstrap_servers=shop.kafka) as producer:
        place = await producer.send_and_wait(CONTACTS, b"old?", partition=2, timestamp_ms=1000)
    consumer = AIOKafkaConsumer(bootstrap_servers=shop.kafka)
    consumer.assign([TopicPartition(CONTACTS, 2)])
    async with consumer:
        consumer.seek(TopicPartition(CONTACTS, 2), place.offset)
        record = await consumer.getone()
    assert 1 == record.timestamp_type
    assert before_ms - 1 <= record.timestamp <= time.time() * 1000 + 1


async def test_progress_is_that_of_the_group(shop: stack.Shop) -> None:
    """What a group has not committed waits, topic by topic; one that never committed has all before it."""
    async with AIOKafkaProducer(bootstrap_servers=shop.kafka) as producer:
        place = await producer.send_and_wait(CONTACTS, b"1")
        await producer.send_and_wait(CONTACTS, b"2", partition=place.partition)
    before = await broker.progress(shop.kafka, "readers", TOPICS)
    consumer = AIOKafkaConsumer(bootstrap_servers=shop.kafka, group_id="readers", enable_auto_commit=False)
    consumer.assign([TopicPartition(CONTACTS, place.partition)])
    async with consumer:
        await consumer.commit({TopicPartition(CONTACTS, place.partition): place.offset + 1})
    after = await broker.progress(shop.kafka, "readers", TOPICS)
    assert 0 == before.committed
    assert place.offset + 1 == after.committed
    assert before.waiting[CONTACTS] - (place.offset + 1) == after.waiting[CONTACTS]
    assert before.waiting[TOPIC] == after.waiting[TOPIC]


async def test_kafka_keeps_what_it_acknowledged_over_kill_9(shop: stack.Shop) -> None:
    """An event that was acknowledged is read after kill -9 and a new start."""
    producer = AIOKafkaProducer(bootstrap_servers=shop.kafka, acks="all")
    await producer.start()
    await producer.send_and_wait(TOPIC, b"kept", key=b"1")
    await producer.stop()
    await shop["kafka"].kill()
    assert not await shop["kafka"].healthy()
    await shop["kafka"].start()
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=shop.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        assert b"kept" == (await consumer.getone()).value
    finally:
        await consumer.stop()


async def test_events_are_printed_for_people(shop: stack.Shop) -> None:
    """`topic` shows key, headers and JSON of each event, says what is not JSON, and ends when it has shown all."""
    producer = AIOKafkaProducer(bootstrap_servers=shop.kafka)
    await producer.start()
    await producer.send_and_wait(CONTACTS, '{"name":"Анна"}'.encode(), key=b"7", headers=[("type", b"Contact")])
    await producer.send_and_wait(CONTACTS, b"{broken")
    await producer.stop()
    page = io.StringIO()
    async with asyncio.timeout(20):
        await print_events(shop.kafka, CONTACTS, follow=False, console=Console(file=page))
    for piece in ("key 7  type=Contact", '  "name": "Анна"', "not JSON: '{broken'"):
        assert piece in page.getvalue()
    with pytest.raises(StackError, match="there is no topic nowhere"):
        await print_events(shop.kafka, "nowhere", follow=False, console=Console(file=page))


async def test_a_home_belongs_to_one_stack(shop: stack.Shop) -> None:
    """A second stack in the same home is refused before it touches anything."""
    with pytest.raises(StackError, match="runs already"):
        async with stack.running(shop.home, parts={"postgres"}):
            pass


def test_a_scratch_home_goes_with_its_maker(tmp_path: Path) -> None:
    """A home in use survives others being made; one whose maker was killed is removed by the next."""
    with scratch_home(tmp_path) as mine:
        program = (
            "import os, pathlib; from deploy.native.home import scratch_home\n"
            f"with scratch_home(pathlib.Path({str(tmp_path)!r})) as home: print(home, flush=True); os._exit(9)"
        )
        killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        left = Path(killed.stdout.strip())
        assert left.is_dir()
        with scratch_home(tmp_path) as another:
            assert mine.is_dir()
            assert another.is_dir()
            assert not left.exists()
    assert ["lock"] == [path.name for path in tmp_path.iterdir()]


async def test_a_step_that_fails_is_told_with_its_last_words() -> None:
    """When a part cannot start, the error holds the end of its log, and what had started is stopped."""
    with scratch_home() as home:
        (home / "seed").write_text("in the way of the folder")
        with pytest.raises(StackError, match=r"(?s)seed-files failed with exit code 1\..*File exists"):
            async with stack.running(home, parts={"seed-files"}):
                pass
