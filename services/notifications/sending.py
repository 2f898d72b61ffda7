"""The worker of a channel: settle what waits, claim what is due, send it, note what became of it.

No transaction is open while something is sent. Each message is marked as soon as it is taken, so that a process that is
killed repeats at most the messages that were just on their way.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog
import tenacity

from kit import json, worker
from kit.db import Database, is_unavailable
from notifications import messages
from notifications.channels import Outgoing, Port, Session
from notifications.failures import failure
from notifications.messages import Channel, Claimed
from notifications.seals import Seal, SealError
from notifications.settings import Settings
from notifications.texts import KINDS, Texts

log = structlog.get_logger()

POLL_S = 0.5  # behind the wake-up: what other processes record, and what is to be tried again
BATCH = 200
LANES = 4  # connections; messages of one order, or of one user about none, share one, so that they arrive in order
# A batch ends so long before its lease that its last message is sent and marked; what it has not tried is given back.
# After a kill the lease is what its messages wait.
BATCH_S = 5.0
MARK_S = 5.0
PAUSE_MAX_S = 600.0
ERROR_CHARACTERS = 500

_KEYS = uuid.UUID("6f1f3a0e-5b57-4b0b-9d55-9a8e0d6c3d11")


class Sender:
    """Sends the messages of one channel; safe in any number of processes."""

    def __init__(self, db: Database, channel: Channel, port: Port, texts: Texts, seal: Seal, *, settings: Settings):
        self.db = db
        self.channel = channel
        self.port = port
        self.texts = texts
        self.seal = seal
        self.max_attempts = settings.max_attempts
        self.contact_wait_s = settings.contact_wait_s
        self.lease_s = BATCH_S + settings.send_timeout_s + MARK_S

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stop is set."""
        await worker.run_every(
            f"send-{self.channel}",
            partial(self.run_once, stop),
            interval_s=POLL_S,
            stop=stop,
            wake=self.db.committed,  # the consumer recorded something
        )

    async def run_once(self, stop: asyncio.Event) -> int:
        """Do one batch, less where stop is set meanwhile; return how many messages it looked at."""
        settled = await messages.settle(self.db, self.channel, contact_wait_s=self.contact_wait_s)
        expired = await messages.expire(self.db)
        batch = await messages.claim(self.db, self.channel, lease_s=self.lease_s, batch=BATCH)
        lanes: dict[int, list[Claimed]] = {}
        for claimed in batch:
            lanes.setdefault(claimed.lane % LANES, []).append(claimed)
        begins_at = asyncio.get_running_loop().time()
        # A lane that fails must not cut off another in the middle of a message.
        results = await asyncio.gather(
            *(self._send_lane(lane, stop, begins_at) for lane in lanes.values()), return_exceptions=True
        )
        for result in results:
            if result is not None:
                raise result
        return settled + expired + len(batch)

    async def _send_lane(self, lane: Sequence[Claimed], stop: asyncio.Event, begins_at: float) -> None:
        loop = asyncio.get_running_loop()
        async with self.port.open() as session:
            for done, claimed in enumerate(lane):
                elapsed_s = loop.time() - begins_at
                if stop.is_set() or elapsed_s > BATCH_S:
                    await messages.give_back(self.db, lane[done:])
                    return
                if claimed.expires_in_s is not None and elapsed_s >= claimed.expires_in_s:
                    await messages.give_back(self.db, [claimed])  # the next batch finds it expired
                    continue
                await self._send(session, claimed)

    async def _send(self, session: Session, claimed: Claimed) -> None:
        problem: Exception | None = None
        try:
            if claimed.sealed is not None:
                claimed, channel = self._opened(claimed, claimed.sealed)
                if channel is not self.channel:
                    await messages.hand_over(self.db, claimed, channel)
                    return
            subject, text = self.texts.render(self.channel, claimed)
            await session.send(
                Outgoing(
                    str(uuid.uuid5(_KEYS, f"{claimed.event_id}/{self.channel}")),
                    claimed.address,
                    subject,
                    text,
                    claimed.created_at,
                )
            )
        except Exception as error:  # whatever it is, those behind must not wait for it
            problem = error
        if problem:
            # Not within `except`: where the database fails now, that is logged, and this must not be its context.
            await self._failed(claimed, problem)
            return
        # It is out: a database that is away for a moment must not make it go out again.
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_unavailable),
            stop=tenacity.stop_after_delay(MARK_S),
            wait=tenacity.wait_exponential(0.1, max=2),
            reraise=True,
        ):
            with attempt:
                await messages.sent(self.db, claimed, subject=subject, text=text)

    def _opened(self, claimed: Claimed, sealed: str) -> tuple[Claimed, Channel]:
        secret = self.seal.open(sealed)
        channel = Channel(secret.channel)
        if channel not in KINDS[claimed.kind].channels:
            raise SealError(f"{claimed.kind} does not go by {channel}")
        event, names = json.dumps(secret), {"first_name": secret.first_name, "language": secret.language}
        return replace(claimed, event=event, address=secret.address, **names), channel

    async def _failed(self, claimed: Claimed, error: Exception) -> None:
        told = failure(error)
        last = claimed.attempts >= self.max_attempts or told.for_good
        # Others' words may quote the message: they never go into the log, and of a secret one not into the table.
        words = told.what if claimed.sealed is not None else str(told)
        # A relay's words may hold what PostgreSQL's text cannot.
        text = words.replace("\x00", "").encode(errors="replace").decode()[:ERROR_CHARACTERS]
        pause_s = min(2.0 ** min(claimed.attempts - 1, 30), PAUSE_MAX_S)
        await messages.failed(self.db, claimed, error=text, retry_after_s=None if last else pause_s)
        log.warning(
            "message failed" if last else "message to be tried again",
            message_id=claimed.message_id,
            channel=self.channel,
            attempts=claimed.attempts,
            error=told.what,
        )
