"""The events of a topic, readable by a person."""

import datetime
import json

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.console import Console

from deploy.native import broker
from deploy.native.errors import StackError


async def print_events(bootstrap: str, topic: str, *, follow: bool, console: Console) -> None:
    """Print all events of a topic, partition by partition in order; with follow, wait for more until interrupted.

    Raises:
        StackError: there is no such topic.
    """
    async with broker.admin(bootstrap) as admin:
        if topic not in await admin.list_topics():
            raise StackError(f"there is no topic {topic}.")
    # It belongs to no group, so it is assigned all partitions and leaves no trace.
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        left = {partition for partition, end in ends.items() if await consumer.position(partition) < end}
        while left or follow:
            for partition, records in (await consumer.getmany(timeout_ms=1000)).items():
                for record in records:
                    _print(record, console)
                if await consumer.position(partition) >= ends[partition]:
                    left.discard(partition)
    finally:
        await consumer.stop()


def _print(record: ConsumerRecord, console: Console) -> None:
    when = datetime.datetime.fromtimestamp(record.timestamp / 1000, tz=datetime.UTC).isoformat(timespec="milliseconds")
    headers = ", ".join(f"{name}={value.decode(errors='replace')}" for name, value in record.headers)
    key = record.key.decode(errors="replace") if record.key is not None else "none"
    console.print(
        f"{record.partition}/{record.offset}  {when}  key {key}  {headers}", style="bold", markup=False, soft_wrap=True
    )
    text = (record.value or b"").decode(errors="replace")
    try:
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        text = f"not JSON: {text!r}"
    console.print(text, markup=False, soft_wrap=True)
