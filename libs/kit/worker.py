"""A worker is a coroutine that does one batch and says how much it did."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def run_every(
    name: str,
    run_once: Callable[[], Awaitable[int]],
    *,
    interval_s: float,
    stop: asyncio.Event,
    wake: asyncio.Event | None = None,
) -> None:
    """Call run_once until stop is set; when there was nothing to do, pause for interval_s or until woken.

    A failure is logged and tried again after a pause that doubles up to 5 s.
    """
    failures = 0
    while not stop.is_set():
        try:
            done = await run_once()
            failures = 0
        except Exception:
            log.exception("worker failed", worker=name, failures=failures)
            done = 0
            failures += 1
        if done == 0:
            await pause(min(interval_s * 2 ** min(failures, 5), max(5.0, interval_s)), stop, wake)


async def pause(seconds: float, stop: asyncio.Event, wake: asyncio.Event | None = None) -> None:
    """Wait so long, or until stop is set or a wake-up comes, whichever is first."""
    signals = [asyncio.ensure_future(event.wait()) for event in (stop, wake) if event]
    try:
        await asyncio.wait(signals, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for signal in signals:
            signal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*signals, return_exceptions=True)
    if wake:
        wake.clear()
