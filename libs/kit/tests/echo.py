"""`python -m kit.tests.echo`: a service of loms's contract that does what the asked order's number says.

The tests of doors start it as a real service is started. Its database is loms's, because kit has none.
"""

import asyncio
import json
import os
from pathlib import Path

import structlog
from pydantic_settings import SettingsConfigDict

from abacus.loms.v1 import loms_pb2
from kit import service
from kit.access import Owned
from kit.db import Database
from kit.errors import Reason
from kit.settings import ServiceSettings

log = structlog.get_logger()

SERVICE = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]
MIGRATIONS = Path(__file__).parents[3] / "services" / "loms" / "migrations"
REFUSED = Reason(9, "REFUSED", "a test says so")
SLOW_S = 1.0
BIG_BYTES = 3_000_000

ECHO, LAST, FAIL, BREAK, HANG, SLOW, COMMIT, DIE, BIG = range(1, 10)


class Settings(ServiceSettings):
    """The variables ECHO_*."""

    model_config = SettingsConfigDict(env_prefix="ECHO_")


class Echo:
    """Says how it was called; counts the calls that were cancelled. One method is full at all times."""

    def __init__(self, db: Database):
        self.db = db
        self.owned = {"order_id": Owned(owner_of=None, missing=None)}  # services ask, not persons
        self.full = {"OrderPayed": self.is_full}
        self.refused = 0
        self.last: dict[str, object] = {}
        self.calls = 0
        self.cancelled = 0

    def is_full(self):
        """Always; counts those who ask."""
        self.refused += 1
        return True

    def __getattr__(self, name):
        if name not in SERVICE.methods_by_name:
            raise AttributeError(name)

        async def handle(request, call):
            if getattr(request, "order_id", 0) != LAST:
                self.calls += 1
                self.last = {
                    "calls": self.calls,
                    "request_id": call.request_id, "given": call.has_request_id, "caller": call.caller,
                    "address": call.address, "agent": call.user_agent, "language": call.language,
                    "time_left_s": call.time_left_s(), "pid": os.getpid(), "refused": self.refused,
                }  # fmt: skip
            if name != "ListOrder":
                return call.answer_type()
            return await self.do(request.order_id)

        return handle

    async def do(self, what: int) -> loms_pb2.ListOrderResponse:
        """Do what the number says."""
        if what == FAIL:
            raise REFUSED("not so: 100 % «нет»\n", field="order_id", retry_after_s=2, left=3)
        if what == BREAK:
            raise RuntimeError("password of db.internal")
        if what == HANG:
            log.info("hanging")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if what == SLOW:
            log.info("working")
            await asyncio.sleep(SLOW_S)
        if what == COMMIT:
            async with self.db.transaction():
                pass
        if what == DIE:
            os._exit(7)
        big = "x" * BIG_BYTES if what == BIG else ""
        return loms_pb2.ListOrderResponse(reason=json.dumps(self.last), version=self.cancelled, currency=big)


async def serve(settings: Settings, command: str) -> None:
    """Serve, or say in the log when somebody commits."""
    async with service.running(settings, "loms", MIGRATIONS) as process:

        async def tell(stop: asyncio.Event) -> None:
            committed = asyncio.create_task(process.db.committed.wait())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([committed, stopped], return_when=asyncio.FIRST_COMPLETED)
            if committed.done():
                log.info("woken", pid=os.getpid())
            committed.cancel()
            stopped.cancel()

        if command in ("all", "workers"):
            process.work(tell)
        if command in ("all", "api"):
            await process.serve((SERVICE, Echo(process.db)))


async def status(db: Database) -> dict[str, float]:
    """Nothing."""
    return {}


if __name__ == "__main__":
    bounded = [f"{SERVICE.full_name}/OrderPayed"]
    service.main(Settings, MIGRATIONS, serve=serve, status=status, bounded=bounded)
