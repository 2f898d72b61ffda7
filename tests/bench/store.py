"""`python -m tests.bench.store --callers 64 --seconds 5`: the store of orders without a door, called by coroutines.

Reads the settings of loms (LOMS_DATABASE_URL and so on) and prints what was made as JSON.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import time
from functools import partial

import uvloop

from abacus.loms.v1 import loms_pb2
from kit import db
from kit.settings import read
from loms import placing
from loms.__main__ import MIGRATIONS
from loms.batches import Batcher, Batching
from loms.history import Line
from loms.settings import Settings
from tests.bench.goods import LINES, SKUS


async def measure(callers: int, seconds: float, warm_s: float) -> dict[str, float]:
    """Orders a second, and the CPU of this process for each."""
    settings = read(Settings)
    numbers = itertools.count()
    chance = random.Random(1)
    async with db.connect(settings, MIGRATIONS, "bench") as database:
        create_many = partial(placing.create_many, database, pay_within_s=settings.payment_timeout_s)
        batcher: Batcher[placing.Wanted, loms_pb2.CreateOrderResponse] = Batcher(
            create_many, Batching(batch_max=settings.batch_max, queue_max=settings.queue_max)
        )
        made = 0
        ends_at = 0.0

        async def lane() -> None:
            nonlocal made
            while time.perf_counter() < ends_at:
                number = next(numbers)
                lines = [Line(sku, 1) for sku in sorted(chance.sample(range(1, SKUS + 1), LINES))]
                body = hashlib.sha256(b"%d" % number).digest()
                await batcher.ask(placing.Wanted("bench", f"store-{number:012}", body, 1 + number, "RUB", lines))
                made += 1

        async def load(spell_s: float) -> float:
            nonlocal ends_at
            started = time.perf_counter()
            ends_at = started + spell_s
            await asyncio.gather(*(lane() for _ in range(callers)))
            return time.perf_counter() - started

        await load(warm_s)
        before, cpu = made, time.process_time()
        took_s = await load(seconds)
        orders = made - before
        return {
            "per_s": orders / took_s,
            "cpu_us": (time.process_time() - cpu) / orders * 1e6,
            "made": made,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-s", type=float, default=1)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(measure(given.callers, given.seconds, given.warm_s))))
