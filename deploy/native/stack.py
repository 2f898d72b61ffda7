"""A running stack: the parts of parts.py as processes, with their own ports and data folder.

Used like this:

    async with stack.running(home, parts={"postgres", "kafka"}) as shop:
        shop.kafka                        # bootstrap address
        shop.admin_url                    # PostgreSQL's superuser
        shop.database_url("loms")
        shop.env("loms")                  # the settings of one more process of loms
        await shop["kafka"].kill()        # and .start(), .stop(), .healthy(), .pid
        await shop.start_replica("loms", name="loms-2", args=["workers"])
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy import gateway
from deploy.native import health, jars, kafka, keys, postgres
from deploy.native.errors import StackError
from deploy.native.home import claimed, state_file
from deploy.native.parts import COMMON, PORTS, REPO, SERVICES, TOPICS, WIRING, Part, chosen, setting
from deploy.native.process import PROBE_PAUSE_S, Probe, Process, nothing

HOST = "127.0.0.1"
# Below the range from which the system takes the ports of outgoing connections, so that none is in the way later.
FREE_PORTS = range(20_000, 32_000)
REMNANTS_WITHIN_S = 5.0
SETTING_PREFIXES = tuple(f"{name.upper()}_" for name in (*SERVICES, "mailbox", "gateway"))

OnReady = Callable[[Process], None]


def free_ports(names: Iterable[str] = PORTS) -> dict[str, int]:
    """Return a port for each name that nobody listens on now."""
    free = (port for port in random.sample(FREE_PORTS, len(FREE_PORTS)) if _is_free(port))
    return {name: next(free) for name in names}


def service_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that are settings of services (LOMS_…, CHECKOUT_…)."""
    return {name: value for name, value in environment.items() if name.startswith(SETTING_PREFIXES)}


@contextlib.asynccontextmanager
async def running(
    home: Path,
    *,
    parts: Iterable[str] | None = None,
    without: Collection[str] = (),
    ports: Mapping[str, int] | None = None,
    env: Mapping[str, str] | None = None,
    on_download: jars.Progress = jars.no_progress,
    on_ready: OnReady = lambda process: None,
) -> AsyncIterator["Shop"]:
    """Run a stack for as long as the block lasts.

    Args:
        home: folder for data, logs and secrets; kept.
        parts: names in PARTS; what they need is added. None: all.
        without: parts to leave out, such as SEEDS.
        ports: default: free ones.
        env: settings for the services, beside those that the stack makes.
        on_download: told of Kafka's jars while they are downloaded.
        on_ready: told of each process that is healthy, or step that is done.
    """
    with claimed(home):
        what = chosen(parts, without)
        if "kafka" in what:
            given_up = threading.Event()
            try:
                await asyncio.to_thread(jars.class_path, on_download, given_up)
            finally:
                given_up.set()
        shop = Shop(home, ports or free_ports(), what, env or {})
        try:
            await shop.start(on_ready)
            yield shop
        finally:
            await shop.stop()
            state_file(home).unlink(missing_ok=True)


class Shop:
    """Processes of one stack by name.

    Args:
        home: folder for data, logs and secrets.
        ports: all of PORTS.
        parts: what it consists of.
        env: settings for the services (LOMS_…); those for listening and for the database are the stack's own.
    """

    def __init__(self, home: Path, ports: Mapping[str, int], parts: Mapping[str, Part], env: Mapping[str, str]):
        self.home = home.resolve()
        self.ports = dict(ports)
        self.parts = dict(parts)
        self._settings = dict(env)
        self.processes = {name: self._process(part) for name, part in self.parts.items()}
        # What must outlive each of them, to the root.
        self._needs = {name: set(chosen([name])) - {name} for name in self.parts}

    def __getitem__(self, name: str) -> Process:
        """Return the process of a part or of a replica."""
        return self.processes[name]

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap address."""
        return self.address("kafka")

    @property
    def admin_url(self) -> str:
        """Address of the database `postgres` for the superuser, who may create databases."""
        return postgres.url(self.home, self.ports["postgres"], "postgres", "postgres")

    def database_url(self, service: str) -> str:
        """Return the address of a service's database for its own login, with the password."""
        return postgres.url(self.home, self.ports["postgres"], service, service)

    def address(self, name: str) -> str:
        """Return host:port of a name in PORTS or of a replica."""
        return f"{HOST}:{self.ports[name]}"

    def env(self, service: str) -> dict[str, str]:
        """Return the settings of a service: where the others are, the caller's, where it listens, its database."""
        prefix = service.upper()
        return {
            **{f"{prefix}_{name}": self._filled(value) for name, value in COMMON.items()},
            **{name: self._filled(value) for name, value in WIRING[service].items()},
            **self._given(service),
            f"{prefix}_LISTEN": self.address(service),
            f"{prefix}_DATABASE_URL": f"postgresql://{service}@{self.address('postgres')}/{service}",
            f"{prefix}_DATABASE_PASSWORD_FILE": str(postgres.password_file(self.home, service)),
        }

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return a whole environment for a process of a service: ours without stray settings, and these."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(SETTING_PREFIXES)}
        # gRPC's C core would write lines of its own among the JSON of the logs; what fails comes as an exception too.
        return {"GRPC_VERBOSITY": "NONE", **ours, "PYTHONUNBUFFERED": "1", **settings}

    def _given(self, name: str) -> dict[str, str]:
        """The caller's settings for a service or another part."""
        return {key: value for key, value in self._settings.items() if key.startswith(f"{name.upper()}_")}

    async def start(self, on_ready: OnReady = lambda process: None) -> None:
        """Start all parts, each as soon as what it needs is healthy or done.

        Raises:
            StackError: a port is taken, or a part failed; what was started is left to `stop`.
        """
        await self._refuse_taken_ports()
        keys.make(self.home)
        ready = {name: asyncio.Event() for name in self.parts}

        async def bring_up(part: Part) -> None:
            for name in part.after:
                if name in ready:
                    await ready[name].wait()
            process = self.processes[part.name]
            await (process.run() if part.once else process.start())
            on_ready(process)
            ready[part.name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for part in self.parts.values():
                    group.create_task(bring_up(part))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """Stop all, each after those that need it; what does not end within its bound is killed."""
        stopped = {name: asyncio.Event() for name in self.processes}

        async def bring_down(name: str) -> None:
            for other, needs in self._needs.items():
                if name in needs:
                    await stopped[other].wait()
            await self.processes[name].stop()
            stopped[name].set()

        async with asyncio.TaskGroup() as group:
            for name in self.processes:
                group.create_task(bring_down(name))

    async def start_replica(
        self, service: str, *, name: str, args: Sequence[str] = ("all",), env: Mapping[str, str] | None = None
    ) -> Process:
        """Start one more process of a service, with a port of its own (`shop.ports[name]`); return when it is healthy.

        Args:
            name: of the process, its log and its port.
            args: after `python -m <service>`. "workers" listens nowhere and counts as healthy while it runs.
            env: settings that differ from the service's.
        """
        self.ports |= free_ports([name])
        settings = {**self.env(service), f"{service.upper()}_LISTEN": self.address(name), **(env or {})}
        probe = nothing if "workers" in args else health.grpc_serving(self.address(name))
        process = self._python(name, ["-m", service, *args], settings, probe)
        self.processes[name] = process
        self._needs[name] = set(chosen([service])) - {service}
        await process.start()
        return process

    def _process(self, part: Part) -> Process:
        if part.name == "postgres":
            return postgres.process(self.home, self.ports["postgres"], SERVICES)
        if part.name == "gateway":
            return self._gateway()
        if part.name == "kafka":
            return kafka.process(self.home, self.ports["kafka"], self.ports["kafka-controller"], TOPICS)
        settings = self.env(part.service) if part.service else self._given(part.name.removesuffix("-config"))
        settings |= {name: self._filled(value) for name, value in part.env.items()}
        probe: Probe = nothing
        if part.health == "grpc":
            probe = health.grpc_serving(self.address(part.ports[0]))
        elif part.health == "http":
            probe = health.http_ok(self.address(part.ports[0]))
        return self._python(part.name, [self._filled(arg) for arg in part.argv], settings, probe)

    def _gateway(self) -> Process:
        return Process(
            "gateway",
            [str(gateway.envoy()), *gateway.command(self._gateway_folder)],
            env=self.environment({}),
            cwd=REPO,
            log=self.home / "logs" / "gateway.log",
            probe=health.http_ok(self.address("gateway"), "/health"),
        )

    @property
    def _gateway_folder(self) -> Path:
        return self.home / "gateway"

    def _python(self, name: str, argv: Sequence[str], settings: Mapping[str, str], probe: Probe) -> Process:
        return Process(
            name,
            [sys.executable, *argv],
            env=self.environment(settings),
            cwd=REPO,
            log=self.home / "logs" / f"{name}.log",
            probe=probe,
        )

    def _filled(self, template: str) -> str:
        addresses = {name: self.address(name) for name in self.ports}
        secrets = keys.folder(self.home)
        return template.format(
            seed=self.home / "seed", secrets=secrets, **{"gateway-folder": self._gateway_folder}, **addresses
        )

    async def _refuse_taken_ports(self) -> None:
        names = [name for part in self.parts.values() for name in part.ports]
        # Where a killed run left its state, its PostgreSQL may need a moment to end.
        patience_ends = time.monotonic() + (REMNANTS_WITHIN_S if state_file(self.home).exists() else 0)
        while taken := [name for name in names if not _is_free(self.ports[name])]:
            if time.monotonic() > patience_ends:
                port = self.ports[taken[0]]
                raise StackError(
                    f"port {port} ({taken[0]}) is in use{_by_whom(port)}; "
                    f"end that program, or choose another port by {setting(taken[0])}."
                )
            await asyncio.sleep(PROBE_PAUSE_S)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that just ended is not in the way
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _by_whom(port: int) -> str:
    """Name the program that listens on a port, where the system lets us see it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            here = connection.laddr
            if connection.status == psutil.CONN_LISTEN and here and here.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()}, pid {connection.pid}"
    return ""
