"""`python -m catalog [all|api|workers|migrate|seed FILE|status|replay]`: the only place where catalog is wired up."""

from functools import partial
from pathlib import Path

from abacus.catalog.v1 import catalog_pb2, events_pb2
from abacus.loms.v1 import loms_pb2_grpc
from catalog import feed, products, rpc, search, seed
from catalog.settings import Settings
from catalog.stock import Stock
from kit import client, inbox, requests, service, settings
from kit.db import Database
from kit.tokens import ServiceKey

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"]

PRUNE_EVERY_S = 60.0


def consumer(db: Database, kafka: str, group: str = "catalog") -> inbox.Consumer:
    """What is listened to."""
    told = inbox.Subscription(feed.TOPIC, events_pb2.ProductMessage, feed.take, is_foreign=True)
    return inbox.Consumer(db, kafka, group, [told])


async def serve(of: Settings, command: str) -> None:
    """Run the door, the workers, or both, until told to stop."""
    key = ServiceKey("catalog", of.service_key_file.read_text())
    async with (
        client.connect(of.loms, key) as to_loms,
        search.connect(of.database_url, of.database_password) as found,
        service.running(of, "catalog", MIGRATIONS) as process,
    ):
        db = process.db
        if command in ("all", "workers"):
            process.work(consumer(db, of.kafka).run)
            process.every("prune requests", partial(requests.prune, db), PRUNE_EVERY_S)
            process.every("prune inbox", partial(inbox.prune, db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            stock = Stock(loms_pb2_grpc.LomsServiceStub(to_loms), timeout_s=of.stock_timeout_s)
            await process.serve((SERVICE, rpc.Catalog(db, found, stock, token=settings.secret(of.token_file))))


async def status(db: Database) -> dict[str, float]:
    """What an operator looks at."""
    async with db.pool.acquire() as conn:
        return await products.count(conn) | await inbox.status(db)


async def replay(of: Settings, db: Database) -> dict[str, float]:
    """Handle again what the product feed said and could not be handled."""
    return await consumer(db, of.kafka).replay()


if __name__ == "__main__":
    service.main(Settings, MIGRATIONS, serve=serve, status=status, seed=seed.load, replay=replay)
