"""Callers that measure: as many at a time as may wait, or so many a second whatever the answers take."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import quantiles

import grpc

Call = Callable[[], Awaitable[object]]


@dataclass
class Measured:
    """What some seconds of load brought."""

    seconds: float = 0.0
    lags_s: list[float] = field(default_factory=list)  # of the calls that were answered OK
    refused: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)  # what other load was refused meanwhile

    @property
    def per_s(self) -> float:
        """Calls a second that were answered OK."""
        return len(self.lags_s) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """So many of a hundred calls took at most this long."""
        return quantiles(self.lags_s, n=100, method="inclusive")[percent - 1] * 1000


async def closed(call: Call, *, callers: int, seconds: float) -> Measured:
    """Each caller asks again as soon as it is answered: how much goes through."""
    measured = Measured()
    started = time.perf_counter()

    async def lane() -> None:
        while time.perf_counter() < started + seconds:
            await _timed(call, measured, time.perf_counter())

    await asyncio.gather(*(lane() for _ in range(callers)))
    measured.seconds = time.perf_counter() - started
    return measured


async def paced(call: Call, *, per_s: float, seconds: float) -> Measured:
    """So many calls a second, each timed from when it was meant to start: waiting shows."""
    measured = Measured()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        for number in range(int(per_s * seconds)):
            due = started + number / per_s
            await asyncio.sleep(due - time.perf_counter())
            calls.create_task(_timed(call, measured, due))
    measured.seconds = time.perf_counter() - started
    return measured


async def _timed(call: Call, measured: Measured, since: float) -> None:
    try:
        await call()
        measured.lags_s.append(time.perf_counter() - since)
    except grpc.aio.AioRpcError as error:
        measured.refused[error.code().name] += 1
