"""`python -m identity [all|api|workers|migrate|seed FILE|status]`: the only place where identity is wired up."""

import asyncio
import sys
from functools import partial

from abacus.identity.v1 import identity_pb2
from identity import codes, jwks, limits, rpc, seed, sessions, users
from identity.accounts import Accounts
from identity.codes import Codes
from identity.keys import Keys, VaultError
from identity.limits import Limits
from identity.passwords import Hasher
from identity.sessions import Sessions
from identity.settings import MIGRATIONS, Settings
from identity.vault import Seal, hash_key
from kit import outbox, service, settings
from kit.db import Database

SERVICE = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]

PRUNE_EVERY_S = 60.0


def servicer(db: Database, keys: Keys, given: Settings) -> rpc.Identity:
    """What serves the contract."""
    opened = Sessions(db, keys, given)
    hasher = Hasher(threads=given.hash_threads, queue=given.hash_queue)
    limited = Limits(db, given, hash_key(given.vault_key_file, "limits"))
    seal = Seal(given.seal_key_file)
    sending = Codes(db, opened, hasher, limited, seal, given, hash_key(given.vault_key_file, "codes"))
    return rpc.Identity(db, Accounts(db, opened, hasher, limited), sending, opened)


async def serve(given: Settings, command: str) -> None:
    """Run the doors, the workers, or both, until told to stop."""
    async with service.running(given, "identity", MIGRATIONS) as process:
        db = process.db
        try:
            keys = Keys(db, settings.secret(given.vault_key_file) or "", given)
            await keys.start()
            served = servicer(db, keys, given)
        except (VaultError, ValueError) as error:
            sys.exit(f"a key of identity is not good: {error}")
        if command in ("all", "workers"):
            process.work(outbox.Relay(db, given.kafka).run)
            process.every("rotate signing keys", keys.rotate_once, keys.look_every_s)
            process.every("prune sessions", partial(sessions.prune, db), PRUNE_EVERY_S)
            process.every("prune codes", partial(codes.prune, db), PRUNE_EVERY_S)
            process.every("prune limits", partial(limits.prune, db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            process.work(keys.run)
            ready = asyncio.Event()
            process.work(partial(jwks.run, keys, given.jwks_listen, ready=ready))
            await ready.wait()  # the door asks there for keys, as those of other services do
            await process.serve((SERVICE, served))


async def status(db: Database) -> dict[str, float]:
    """The outbox's lag, and how many people there are."""
    async with db.pool.acquire() as conn:
        return await outbox.status(db) | await users.figures(conn)


if __name__ == "__main__":
    service.main(Settings, MIGRATIONS, serve=serve, status=status, seed=seed.load)
