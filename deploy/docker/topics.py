"""`python -m deploy.docker.topics HOST:PORT` makes the stack's topics with their partitions. Repeats change nothing."""

import asyncio
import logging
import sys

import tenacity
from aiokafka.errors import KafkaError

from deploy.native.broker import make_topics
from deploy.native.parts import TOPICS

READY_WITHIN_S = 60


def main() -> None:
    """Make them, once the broker answers: its port opens a moment before."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what fails in the end comes as an exception
    patiently = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((KafkaError, OSError)),
        wait=tenacity.wait_fixed(1),
        stop=tenacity.stop_after_delay(READY_WITHIN_S),
        reraise=True,
    )
    asyncio.run(patiently(make_topics, sys.argv[1], TOPICS))
    print(f"topics: {', '.join(TOPICS)}")


if __name__ == "__main__":
    main()
