"""Group commit: what is asked while a batch is in flight forms the next one.

No timer: who comes alone is a batch of one, at once. Under load a batch is what came while the one before it took its
round trips and its commit, so that one commit serves many callers.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import asyncpg
import structlog

from kit.calls import overloaded
from kit.db import is_away
from kit.errors import Error

log = structlog.get_logger()

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
_Waiting = tuple[Asked, asyncio.Future[Answer]]

DEADLOCKS_MAX = 3
ALONE_AT_ONCE = 4


@dataclass(frozen=True)
class Batching:
    """How callers are put together.

    Args:
        batch_max: most in one batch.
        queue_max: most that wait for a batch or its end; who comes then is refused at once.
        pause_s: how long a batch of several is followed by none. Where a call costs the door more than the database,
            batches stay small without it, and each commit serves few.
    """

    batch_max: int
    queue_max: int
    pause_s: float = 0.0


class Batcher(Generic[Asked, Answer]):
    """Runs what concurrent callers ask for in batches, in order of arrival.

    Args:
        run: does a whole batch, whole or not at all; an answer for each, or the error that its caller is told.
    """

    def __init__(self, run: Callable[[list[Asked]], Awaitable[Sequence[Answer | Error]]], batching: Batching):
        self._run = run
        self._batching = batching
        self._queue: deque[_Waiting[Asked, Answer]] = deque()
        self._flying = 0  # calls in the batch that is under way
        self._flight: asyncio.Task[None] | None = None

    def is_full(self) -> bool:
        """Whether a caller would be refused now."""
        return len(self._queue) + self._flying >= self._batching.queue_max

    async def ask(self, asked: Asked) -> Answer:
        """Wait for the answer. Who gives up while queued is dropped; a batch in flight goes on without its callers.

        Raises:
            Error: what the batch answered; OVERLOADED, too many wait.
        """
        if self.is_full():
            raise overloaded()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((asked, answer))
        if self._flight is None:
            # A context of its own: the call that starts it is one of many.
            self._flight = asyncio.create_task(self._fly(), context=contextvars.Context())
        return await answer

    async def _fly(self) -> None:
        try:
            while batch := self._next():
                self._flying = len(batch)
                try:
                    await self._serve(batch)
                finally:
                    self._flying = 0
                if self._batching.pause_s and len(batch) > 1:
                    await asyncio.sleep(self._batching.pause_s)
        finally:
            self._flight = None

    def _next(self) -> list[_Waiting[Asked, Answer]]:
        batch: list[_Waiting[Asked, Answer]] = []
        while self._queue and len(batch) < self._batching.batch_max:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                batch.append(waiting)
        return batch

    async def _serve(self, batch: list[_Waiting[Asked, Answer]]) -> None:
        try:
            answers = await self._until_no_deadlock([asked for asked, _ in batch])
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if isinstance(answer, Error):
                    _fail(waiting, answer)
                elif not waiting.done():
                    waiting.set_result(answer)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
            else:
                log.warning("batch failed, each runs alone", size=len(batch), error=repr(error))
                await self._serve_alone(batch)

    async def _until_no_deadlock(self, asked: list[Asked]) -> Sequence[Answer | Error]:
        """The victim of a deadlock did nothing: it goes again."""
        for _ in range(DEADLOCKS_MAX):
            with contextlib.suppress(asyncpg.DeadlockDetectedError):
                return await self._run(asked)
        return await self._run(asked)

    async def _serve_alone(self, batch: list[_Waiting[Asked, Answer]]) -> None:
        """One of them may be at fault, and a COMMIT that failed may have taken effect: each is asked again, alone."""
        left = deque(batch)

        async def lane() -> None:
            while left:
                waiting = left.popleft()
                if waiting[1].done():
                    continue
                await self._serve([waiting])
                failure = None if waiting[1].cancelled() else waiting[1].exception()
                if failure and is_away(failure):
                    while left:  # they need not find out one by one
                        _fail(left.popleft()[1], ConnectionError(f"the database is away: {failure!r}"))

        # A few at a time: who waits for a lock that somebody keeps does not make all wait.
        await asyncio.gather(*(lane() for _ in range(ALONE_AT_ONCE)))


def _fail(waiting: "asyncio.Future[Answer]", error: BaseException) -> None:
    if not waiting.done():
        waiting.set_exception(error)
