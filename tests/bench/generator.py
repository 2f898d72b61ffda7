"""The other end of `callers.py`: load from a process of its own, so that nobody shares its interpreter."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from deploy.native.parts import REPO
from tests.bench.callers import Load
from tests.bench.traffic import Traffic

CONNECTIONS = 4
# For more answers to come before they are read; of timed calls also for more to be due, as exact as it is cheap.
TICK_S, FINE_TICK_S = 0.0004, 0.0003
FLOOD_PER_S, FLOOD_TICK_S = 6000, 0.002  # from so many on, what the callers cost themselves would be missing elsewhere
LINE_BYTES_MAX = 16 * 1024 * 1024
CALLERS = 64
FEW_CALLERS = 8  # up to here each answer is waited for


class Generator:
    """A process of callers."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def closed(self, seconds: float, *, callers: int = CALLERS, **more: int) -> Load:
        """So many callers, each asks again as soon as it is answered; with `calls_max` no more than so many calls."""
        tick_s = TICK_S if callers > FEW_CALLERS else 0.0
        return await self._told({"callers": callers, "seconds": seconds, "tick_s": tick_s, **more})

    async def paced(self, seconds: float, *, per_s: float) -> Load:
        """So many calls a second, whatever the answers take."""
        tick_s = FINE_TICK_S if per_s < FLOOD_PER_S else FLOOD_TICK_S
        return await self._told({"per_s": per_s, "seconds": seconds, "tick_s": tick_s})

    async def _told(self, order: dict[str, object]) -> Load:
        return Load(**await self.tell(order))

    async def tell(self, order: dict[str, object]) -> dict[str, Any]:
        """Give it one line, and return the line that it answers."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the callers ended with code {await self._process.wait()}; they say why above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.asynccontextmanager
async def calling(
    address: str, token: str, traffic: Traffic, *, connections: int = CONNECTIONS
) -> AsyncIterator[Generator]:
    """Callers of the gRPC server at host:port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.callers",
        cwd=REPO, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX,
    )  # fmt: skip
    generator = Generator(process)
    try:
        await generator.tell(
            {
                "address": address,
                "authorization": f"Bearer {token}",
                "traffic": asdict(traffic),
                "connections": connections,
            }
        )
        yield generator
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
