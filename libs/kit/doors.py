"""Doors in processes of their own: the parent holds the port, starts them, hears of their commits, ends with them.

Each child runs `kit.child`. Nothing of it outlives the parent: the kernel kills it then.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from kit import child, embedded
from kit.grpc_door import GRACE_S
from kit.settings import ServiceSettings, host_and_port

log = structlog.get_logger()

STOP_WITHIN_S = GRACE_S + 3.0  # a child's calls, and then its connections


class EndedError(Exception):
    """A door ended that nobody told to."""


def kind(settings: ServiceSettings) -> str:
    """The door to use: the one that is set, or grpcio, saying why, where pyvoy cannot run."""
    if settings.door == "pyvoy" and (why := embedded.missing()):
        log.warning("pyvoy cannot serve here, grpcio does", reason=why)
        return "grpcio"
    return settings.door


class Doors:
    """The processes that serve a service's door.

    Args:
        door: "grpcio" or "pyvoy".
        held: see `hold`.
        serve: the service's wiring, a function of a module.
        bounded: RPCs that can be full, as "package.Service/Method".
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        door: str,
        held: socket.socket,
        serve: Callable[..., Any],
        bounded: Sequence[str] = (),
    ):
        self.name = name
        self.settings = settings
        self.door = door
        host, port, *_ = held.getsockname()  # by number: Envoy looks up no names
        self.address = f"[{host}]:{port}" if held.family == socket.AF_INET6 else f"{host}:{port}"
        self.serve = f"{_module(serve.__module__)}:{serve.__qualname__}"
        self.bounded = bounded
        self._ready: set[int] = set()

    async def run(self, stop: asyncio.Event, committed: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop; then wait until the children have ended.

        Args:
            committed: called when a child has committed a transaction.

        Raises:
            EndedError: one ended by itself; the others are ended too.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.settings.processes):
                    tasks.create_task(self._child(stop, committed))
        except* EndedError as ended:
            raise ended.exceptions[0] from None

    async def _child(self, stop: asyncio.Event, committed: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            process = await self._start(theirs)
            theirs.close()
            ended = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(stop.wait())
            hearing = asyncio.create_task(self._hear(ours, process.pid, committed))
            try:
                await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not stop.is_set():
                    log.error("a door ended by itself", pid=process.pid, exit_code=process.returncode)
                    raise EndedError(f"{self.door} ended with exit code {process.returncode}")
                if process.pid in self._ready:  # else no call can be running, and nobody hears
                    with contextlib.suppress(BrokenPipeError):
                        ours.send(child.END)
                    await asyncio.wait([ended], timeout=STOP_WITHIN_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                for task in (stopping, hearing):
                    task.cancel()
                await asyncio.gather(ended, stopping, hearing, return_exceptions=True)

    async def _start(self, link: socket.socket) -> asyncio.subprocess.Process:
        kind = type(self.settings)
        told = child.Told(
            name=self.name,
            door=self.door,
            serve=self.serve,
            settings=f"{_module(kind.__module__)}:{kind.__qualname__}",
            fd=link.fileno(),
        )
        prefix = kind.model_config.get("env_prefix", "")
        environment = {**os.environ, child.VARIABLE: told.text(), f"{prefix}LISTEN": self.address}
        if self.door == "pyvoy":
            command = embedded.command("kit.child:app", self.address, self.bounded)
            environment |= embedded.environment()
        else:
            command = [sys.executable, "-m", "kit.child"]
            environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", *command,
            env=environment,
            pass_fds=[link.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's to answer
        )  # fmt: skip

    async def _hear(self, link: socket.socket, pid: int, committed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        while words := await loop.sock_recv(link, 4096):
            if child.COMMITTED in words:
                committed()
            if child.READY in words:
                self._ready.add(pid)
                log.info("listening", address=self.address, door=self.door, pid=pid)


def hold(listen: str) -> socket.socket:
    """Take a port without listening, so that this process's children may share it and no other may have it.

    Raises:
        OSError: it is taken, the address is not ours, or its name does not resolve.
    """
    family, address = resolve(listen)
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Bound alone, but for connections that are just closing; from then on shared with those who ask for that.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        held.close()
        raise
    return held


def resolve(listen: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return the family and the address, by number, of host:port; a host with colons stands in brackets.

    Raises:
        socket.gaierror: its name does not resolve.
    """
    found = socket.getaddrinfo(*host_and_port(listen), type=socket.SOCK_STREAM)
    # localhost is 127.0.0.1 to those who call us, also where the system names ::1 first.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address


def _module(name: str) -> str:
    """The name by which another process imports a module: `loms.__main__` of `__main__`."""
    spec = sys.modules[name].__spec__
    return spec.name if spec else name
