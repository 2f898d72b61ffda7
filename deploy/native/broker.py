"""What is asked of the broker from outside, whatever runs it: topics are made, groups are looked at."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from deploy.native.errors import StackError


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


async def make_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Make those that are not there (names and partitions); what is there stays as it is.

    Raises:
        StackError: the broker refuses one.
    """
    async with admin(bootstrap) as client:
        answer = await client.create_topics([NewTopic(name, partitions, 1) for name, partitions in topics.items()])
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:
            raise StackError(f"topic {name} cannot be made: {error.__name__} {message}")
