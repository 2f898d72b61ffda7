"""A service's process: it ends when it is told to, whatever its workers wait for."""

import asyncio
import os
import signal
import time

import pytest

from kit import service
from kit.settings import ServiceSettings
from kit.testing import SERVICES


@pytest.fixture
def settings(db, tmp_path):
    keys = tmp_path / "service-keys.json"
    keys.write_text("{}")
    return ServiceSettings(
        listen="127.0.0.1:0", database_url=db.url, jwks_url="http://127.0.0.1:1/", service_keys_file=keys
    )


async def run(settings, *workers, then):
    async with service.running(settings, "test", SERVICES / "loms" / "migrations") as process:
        for worker in workers:
            process.work(worker)
        then()


def told():
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)


async def test_sigterm_ends_workers_that_listen_and_those_that_do_not(settings, monkeypatch):
    """The first ends by itself, the second is cut off after its grace."""
    monkeypatch.setattr(service, "WORKER_GRACE_S", 0.3)
    ended = []

    async def listens(stop):
        await stop.wait()
        ended.append("listens")

    async def hangs(stop):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("hangs")
            raise

    started = time.monotonic()
    await run(settings, listens, hangs, then=told)
    assert ["listens", "hangs"] == ended
    assert time.monotonic() - started < 5


async def test_a_worker_that_fails_ends_the_process(settings):
    """Whoever started it sees it die, instead of a process that does half of its work."""

    async def fails(stop):
        raise TimeoutError

    with pytest.raises(ExceptionGroup):
        await run(settings, fails, then=lambda: None)


async def test_it_waits_until_the_database_is_migrated(settings, db):
    """A database older than the code: no door, no worker, until `migrate` has run."""
    version = await db.pool.fetchval("DELETE FROM schema_migrations WHERE version LIKE '%100' RETURNING version")
    started = asyncio.Event()

    async def worker(stop):
        started.set()

    running = asyncio.create_task(run(settings, worker, then=told))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(started.wait(), 0.5)
    await db.pool.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)
    await asyncio.wait_for(running, 10)
    assert started.is_set()
