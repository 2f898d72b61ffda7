"""A database with kit's tables: that of loms, which has them as every service has. And services with a door to call."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import grpc
import psutil
import pytest

from abacus.loms.v1 import loms_pb2_grpc
from deploy.native import stack
from deploy.native.keys import LOCAL
from kit import migrate
from kit.db import Database
from kit.testing import Bearer, OpenDatabase, service_key, service_token, until
from kit.tests import echo

DOORS = ["grpcio", "pyvoy"]


@pytest.fixture
async def db(open_database: OpenDatabase) -> Database:
    return await open_database("loms")


class Started:
    """A process of the echo service, and what it wrote."""

    def __init__(self, process, address):
        self.process = process
        self.address = address
        self.lines = []
        self.children = []
        self.heard = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.process.stdout:
            self.lines.append(line.decode())
            self.heard.set()

    async def said(self, event, times=1, within_s=20):
        """Wait until a line of the log says this; give the last of them."""
        async with asyncio.timeout(within_s):
            while True:
                found = [line for line in self.lines if f'"event": "{event}"' in line]
                if len(found) >= times:
                    return json.loads(found[-1])
                self.heard.clear()
                await self.heard.wait()

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    async def alive(self):
        """Those of its children that run; who has ended may wait for the system to take note."""
        return [child for child in self.children if _runs(child)]

    async def ended(self, within_s=15):
        await asyncio.wait_for(self.process.wait(), within_s)
        await self.reading
        return self.process.returncode

    @contextlib.asynccontextmanager
    async def calling(self, token=None, **options) -> AsyncIterator[grpc.aio.Channel]:
        bearer = [Bearer(service_token(LOCAL, "loms") if token is None else token)]
        options = {"grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1, **options}
        async with grpc.aio.insecure_channel(
            self.address, interceptors=bearer, options=list(options.items())
        ) as channel:
            yield channel


def _runs(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
async def running(native, tmp_path_factory):
    """Start a process of the echo service, as in production; nothing of it is left after its block.

    All of them have one database: nothing is written.
    """
    keys = tmp_path_factory.mktemp("doors") / "service-keys.json"
    keys.write_text(json.dumps({LOCAL: {"keys": [service_key(LOCAL).public().as_dict(private=False)]}}))
    admin = await asyncpg.connect(native.admin_url)
    await admin.execute("CREATE DATABASE doors")
    database = native.admin_url.rpartition("/")[0] + "/doors"
    await migrate.apply(database, echo.MIGRATIONS)

    @contextlib.asynccontextmanager
    async def run(door, *, command="all", processes=1, host="127.0.0.1", port=0, wait=True, **settings):
        port = port or stack.free_ports(["door"])["door"]
        environment = os.environ | {
            "ECHO_DOOR": door, "ECHO_PROCESSES": str(processes), "ECHO_LISTEN": f"{host}:{port}",
            "ECHO_DATABASE_URL": database, "ECHO_JWKS_URL": "http://127.0.0.1:1/",
            "ECHO_SERVICE_KEYS_FILE": str(keys), "ECHO_CALL_TIMEOUT_S": "3", **settings,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kit.tests.echo", command,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        started = Started(process, f"{host}:{port}")
        try:
            if wait:
                await started.said("listening", times=processes)
                started.children = started.family()
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await started.ended()
            await until(started.alive, [], within_s=5)

    yield run
    await admin.execute("DROP DATABASE doors WITH (FORCE)")
    await admin.close()


@pytest.fixture(params=DOORS)
def door(request):
    return request.param


@pytest.fixture(scope="session")
async def all_started(running):
    """A process with each door, for the tests that leave it as it was."""
    async with contextlib.AsyncExitStack() as opened:
        started = await asyncio.gather(*(opened.enter_async_context(running(door)) for door in DOORS))
        yield dict(zip(DOORS, started, strict=True))


@pytest.fixture
def started(all_started, door):
    return all_started[door]


@pytest.fixture
async def loms(started):
    async with started.calling() as channel:
        yield loms_pb2_grpc.LomsServiceStub(channel)
