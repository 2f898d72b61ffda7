"""`python -m checkout [all|api|workers|migrate|status]`: the only place where checkout is wired up."""

from functools import partial
from pathlib import Path

from abacus.catalog.v1 import catalog_pb2_grpc
from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2_grpc
from checkout import purchases, rpc
from checkout.peers import Peers
from checkout.settings import Settings
from kit import client, requests, service, settings
from kit.tokens import ServiceKey

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE = checkout_pb2.DESCRIPTOR.services_by_name["CheckoutService"]

RESUME_EVERY_S = 1.0
PRUNE_EVERY_S = 60.0


async def serve(of: Settings, command: str) -> None:
    """Run the door, the workers, or both, until told to stop."""
    key = ServiceKey("checkout", of.service_key_file.read_text())
    async with (
        client.connect(of.catalog, key) as to_catalog,
        client.connect(of.loms, key) as to_loms,
        service.running(of, "checkout", MIGRATIONS) as process,
    ):
        db = process.db
        peers = Peers(
            catalog_pb2_grpc.CatalogServiceStub(to_catalog),
            loms_pb2_grpc.LomsServiceStub(to_loms),
            catalog_token=settings.secret(of.catalog_token_file) or "",
        )
        buying = purchases.Purchases(db, peers, resume_after_s=of.resume_after_s)
        if command in ("all", "workers"):
            process.every("resume purchases", buying.resume_once, RESUME_EVERY_S)
            process.every("prune requests", partial(requests.prune, db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            await process.serve((SERVICE, rpc.Checkout(db, peers, buying, positions_max=of.max_positions)))


if __name__ == "__main__":
    service.main(Settings, MIGRATIONS, serve=serve, status=purchases.status)
