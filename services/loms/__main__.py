"""python -m loms [all|api|workers|migrate|seed|status]: the only place where loms is wired up."""

from functools import partial
from pathlib import Path

from abacus.loms.v1 import loms_pb2
from kit import outbox, requests, service
from kit.db import Database
from kit.settings import read
from loms import changes, orders, rpc, stock
from loms.batches import Batching
from loms.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]

EXPIRE_EVERY_S = 0.2
PRUNE_EVERY_S = 60.0
PAUSE_S = 0.005  # after a batch of several: grpc.aio brings calls so slowly that the next one would be of two or three


async def serve(of: Settings, command: str) -> None:
    """Run the door, the workers, or both, until told to stop."""
    async with service.running(of, "loms", MIGRATIONS) as process:
        db = process.db
        if command in ("all", "workers"):
            process.work(outbox.Relay(db, of.kafka).run)
            process.every("expire", partial(changes.expire_once, db), EXPIRE_EVERY_S)
            process.every("expire new", partial(changes.expire_new_once, db, new_ttl_s=of.new_ttl_s), EXPIRE_EVERY_S)
            process.every("prune requests", partial(requests.prune, db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            pause_s = PAUSE_S if process.door == "grpcio" else 0.0
            batching = Batching(batch_max=of.batch_max, queue_max=of.queue_max, pause_s=pause_s)
            loms = rpc.Loms(db, pay_within_s=of.payment_timeout_s, positions_max=of.max_positions, batching=batching)
            await process.serve((SERVICE, loms))


async def status(db: Database) -> dict[str, float]:
    """What an operator looks at."""
    forgotten = await orders.forgotten(db, new_ttl_s=read(Settings).new_ttl_s)  # no constant: it may be a year
    return {**await outbox.status(db), "overdue_orders": await orders.overdue(db), "overdue_new_orders": forgotten}


async def seed(db: Database, rows: list[dict[str, int]]) -> dict[str, float]:
    """Fill shelves that do not exist yet from rows of {"warehouse_id", "sku", "count"}."""
    receipts = [stock.Receipt(row["warehouse_id"], row["sku"], row["count"]) for row in rows]
    async with db.transaction() as conn:
        filled = await stock.fill_empty(conn, receipts, actor="seed")
    return {"shelves_filled": filled}


if __name__ == "__main__":
    service.main(
        Settings,
        MIGRATIONS,
        serve=serve,
        status=status,
        seed=seed,
        bounded=[f"{SERVICE.full_name}/{name}" for name in rpc.BOUNDED],
    )
