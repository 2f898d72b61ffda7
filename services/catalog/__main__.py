"""`python -m catalog [all|api|workers|migrate|seed FILE|status]`: the only place where catalog is wired up."""

from functools import partial
from pathlib import Path

from abacus.catalog.v1 import catalog_pb2
from catalog import products, rpc, seed
from catalog.settings import Settings
from kit import requests, service, settings
from kit.db import Database

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"]

PRUNE_EVERY_S = 60.0


async def serve(of: Settings, command: str) -> None:
    """Run the door, the workers, or both, until told to stop."""
    async with service.running(of, "catalog", MIGRATIONS) as process:
        db = process.db
        if command in ("all", "workers"):
            process.every("prune requests", partial(requests.prune, db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            await process.serve((SERVICE, rpc.Catalog(db, token=settings.secret(of.token_file))))


async def status(db: Database) -> dict[str, float]:
    """What an operator looks at."""
    async with db.pool.acquire() as conn:
        return await products.count(conn)


if __name__ == "__main__":
    service.main(Settings, MIGRATIONS, serve=serve, status=status, seed=seed.load)
