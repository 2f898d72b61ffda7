"""The life of a service's process: arguments, settings, log, database, workers, door, graceful stop."""

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import json
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import structlog
import uvloop
from google.protobuf.descriptor import ServiceDescriptor

from kit import child, db, doors, logging, migrate, worker
from kit.access import ByContract
from kit.calls import Dispatcher
from kit.db import Database
from kit.grpc_door import Door
from kit.settings import ServiceSettings, read
from kit.tokens import RemoteKeys, Verifier, service_keys

log = structlog.get_logger()
S = TypeVar("S", bound=ServiceSettings)

WORKER_GRACE_S = 3.0
GARBAGE = 20_000  # objects more than before, at which young ones are looked through; Python's own is 700

# The door's processes, where they are not this one: they run as long as it does.
_beside: ContextVar[doors.Doors | None] = ContextVar("beside", default=None)


class Process:
    """A service's process while it runs: its database, and what it was told to do."""

    def __init__(self, name: str, settings: ServiceSettings, database: Database, tasks: asyncio.TaskGroup):
        self.name = name
        self.settings = settings
        self.db = database
        self.stop = asyncio.Event()
        self._tasks = tasks
        self._limits: set[asyncio.Timeout] = set()

    @property
    def door(self) -> str:
        """Which door calls come by: "pyvoy" or "grpcio"."""
        return child.link.told.door if child.link else "grpcio"

    def work(self, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        """Run a worker until the process is told to stop; then it has WORKER_GRACE_S to end by itself."""

        async def bounded() -> None:
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    self._limits.add(limit)
                    try:
                        await run(self.stop)
                    finally:
                        self._limits.remove(limit)
            except TimeoutError:
                if not limit.expired():
                    raise
                log.warning("worker cut off at the stop")

        self._tasks.create_task(bounded())

    def every(self, name: str, run_once: Callable[[], Awaitable[int]], interval_s: float) -> None:
        """Run a worker that does one batch at a time: see kit.worker."""
        self.work(lambda stop: worker.run_every(name, run_once, interval_s=interval_s, stop=stop))

    def end(self) -> None:
        """Tell everything to stop. A worker that waits for a broker which is away is cut off: each survives a kill."""
        self.stop.set()
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time() + WORKER_GRACE_S)

    async def serve(self, *services: tuple[ServiceDescriptor, object]) -> None:
        """Open the door to whom the contracts admit; it closes first when the process is told to stop."""
        persons = RemoteKeys(self.settings.jwks_url)
        verifier = Verifier(self.name, persons, service_keys(self.settings.service_keys_file))
        dispatcher = Dispatcher(
            call_timeout_s=self.settings.call_timeout_s,
            policy=ByContract(services, verifier),
            trusted_proxies=[ipaddress.ip_network(one) for one in self.settings.trusted_proxies.split(",")],
        )
        self.work(persons.run)
        _spare_collections()
        try:
            if child.link:
                door = await child.link.open(dispatcher, list(services), self.settings.listen)
            else:
                door = Door(dispatcher, list(services))
                await door.start(self.settings.listen)
        except RuntimeError:
            _exit_not_listening(self.settings.listen)

        async def close() -> None:
            await self.stop.wait()
            await door.stop()

        self._tasks.create_task(close())


@contextlib.asynccontextmanager
async def running(settings: ServiceSettings, name: str, migrations: Path) -> AsyncIterator[Process]:
    """A process that ends with SIGINT or SIGTERM: the block starts things, leaving it waits for the signal.

    A door's process ends when its parent says so; see kit.child.
    """
    async with db.connect(settings, migrations, name) as database, asyncio.TaskGroup() as tasks:
        process = Process(name, settings, database, tasks)
        if child.link:
            database.committed = child.Committed(child.link)
            child.link.on_end(process.end)
        else:
            _on_signal(process.end)
        if beside := _beside.get():
            tasks.create_task(beside.run(process.stop, database.committed.set))
        yield process
        await process.stop.wait()
    log.info("stopped")


def main(
    kind: type[S],
    migrations: Path,
    *,
    serve: Callable[[S, str], Coroutine[Any, Any, None]],
    status: Callable[[Database], Awaitable[dict[str, float]]],
    seed: Callable[[Database, list[Any]], Awaitable[dict[str, float]]] | None = None,
    replay: Callable[[S, Database], Awaitable[dict[str, float]]] | None = None,
    bounded: Sequence[str] = (),
) -> None:
    """`python -m <service> COMMAND`: the commands that every service has, and those it gives.

    Args:
        bounded: RPCs that can be full, as "package.Service/Method": a door of Envoy turns callers away by itself.
    """
    name = migrations.parent.name
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("all", help="the door and the workers (default)")
    commands.add_parser("api", help="the door alone")
    commands.add_parser("workers", help="the workers alone")
    commands.add_parser("migrate", help="bring the database up to date")
    commands.add_parser("status", help="print the service's own figures as JSON")
    if seed:
        commands.add_parser("seed", help="load seed data from JSON lines, once").add_argument("file", type=Path)
    if replay:
        commands.add_parser("replay", help="handle again what could not be handled")
    arguments = parser.parse_args()
    command = arguments.command or "all"
    settings = read(kind)
    logging.configure(name, settings.log_level)

    async def once(work: Callable[[Database], Awaitable[object]]) -> None:
        async with db.connect(settings, migrations, f"{name} {command}") as database:
            print(json.dumps(await work(database)), flush=True)  # noqa: T201  # the command's answer

    if command == "migrate":
        uvloop.run(_migrate(settings, migrations))
    elif command == "status":
        uvloop.run(once(status))
    elif command == "seed" and seed:
        with arguments.file.open() as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        uvloop.run(once(lambda database: seed(database, rows)))
    elif command == "replay" and replay:
        uvloop.run(once(lambda database: replay(settings, database)))
    elif command == "workers" or ((door := doors.kind(settings)) == "grpcio" and settings.processes == 1):
        uvloop.run(serve(settings, command))
    else:
        if not shutil.which("setpriv"):
            sys.exit("cannot serve in processes of their own: setpriv is missing, of the package util-linux")
        try:
            held = doors.hold(settings.listen)
        except OSError:
            _exit_not_listening(settings.listen)
        beside = doors.Doors(name, settings, door, held, serve, bounded)
        try:
            if command == "api":
                uvloop.run(_doors_alone(beside))
            else:
                _beside.set(beside)
                uvloop.run(serve(settings, "workers"))
        except* doors.EndedError:
            sys.exit(1)  # the log says which, and why
        finally:
            held.close()


def _spare_collections() -> None:
    """Leave what was loaded out of the collector's rounds, and make them rarer: calls leave few cycles behind."""
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 50)


def _exit_not_listening(listen: str) -> NoReturn:
    try:
        doors.resolve(listen)
    except socket.gaierror as error:
        sys.exit(f"cannot listen on {listen}: its name does not resolve ({error.strerror})")
    sys.exit(f"cannot listen on {listen}: another program does, or the address is not ours")


def _on_signal(end: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)


async def _doors_alone(beside: doors.Doors) -> None:
    stop = asyncio.Event()
    _on_signal(stop.set)
    await beside.run(stop)
    log.info("stopped")


async def _migrate(settings: ServiceSettings, migrations: Path) -> None:
    try:
        await migrate.apply(settings.database_url, migrations, password=settings.database_password)
    except RuntimeError as error:
        sys.exit(f"migrations failed: {error}")
    log.info("migrated")
