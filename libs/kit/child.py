"""What runs in a process that serves a door for its parent (`kit.doors`): the service's own wiring, told to be `api`.

With grpcio it is `python -m kit.child`; with pyvoy it is Envoy, whose embedded Python serves `app`.
"""

import asyncio
import json
import os
import pkgutil
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

import structlog
import uvloop
from google.protobuf.descriptor import ServiceDescriptor

from kit import asgi_door, grpc_door, logging
from kit.calls import Dispatcher
from kit.settings import host_and_port, read
from kit.wire import Receive

log = structlog.get_logger()

VARIABLE = "ABACUS_DOOR"

# What parent and child say to each other, in single bytes. A parent that is gone ends its child too.
READY, COMMITTED, END = b"R", b"C", b"E"


@dataclass(frozen=True)
class Told:
    """What a child is told by its environment."""

    name: str  # of the service
    door: str  # "grpcio" or "pyvoy"
    serve: str  # "loms.__main__:serve"
    settings: str  # "loms.settings:Settings"
    fd: int  # its end of the socket between parent and child

    def text(self) -> str:
        """Write it for the environment."""
        return json.dumps(asdict(self))


class Link:
    """The child's way to its parent."""

    def __init__(self, told: Told):
        self.told = told
        self.opened = asyncio.Event()
        self.door: asgi_door.Door | None = None
        self.address = ""  # where it listens
        self._end: Callable[[], None] | None = None
        self._socket = socket.socket(fileno=told.fd)
        self._socket.setblocking(False)

    def on_end(self, end: Callable[[], None]) -> None:
        """Call `end` when the parent says so, or is no more."""
        self._end = end
        asyncio.get_running_loop().add_reader(self._socket, self.end)

    def end(self) -> None:
        """Let the process end."""
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._end:
            self._end()

    def say(self, word: bytes) -> None:
        """Tell the parent. Where it has not yet read what was said before, it will look soon anyway."""
        try:
            self._socket.send(word)
        except (BlockingIOError, BrokenPipeError):
            return

    async def open(
        self, dispatcher: Dispatcher, services: list[tuple[ServiceDescriptor, object]], listen: str
    ) -> asgi_door.Door | grpc_door.Door:
        """Open the door that this process is for.

        Raises:
            RuntimeError: the address is taken.
        """
        if self.told.door == "pyvoy":
            self.door, self.address = asgi_door.Door(dispatcher, services), listen
            await self.door.start()
            self.opened.set()  # now Envoy listens
            return self.door
        door = grpc_door.Door(dispatcher, services, shared=True)
        await door.start(listen)
        self.say(READY)
        return door


class Committed(asyncio.Event):
    """In place of a database's event that wakes the relay, which runs in the parent."""

    def __init__(self, link: Link):
        super().__init__()
        self._link = link

    def set(self) -> None:
        """Wake it there."""
        self._link.say(COMMITTED)


class App:
    """The ASGI application that pyvoy serves: its lifespan is the service's, its calls go to the door."""

    _asgi_single_callable = True  # for pyvoy, because this is no coroutine function

    def __init__(self) -> None:
        self._door: asgi_door.Door | None = None

    def __call__(self, scope: dict[str, Any], receive: Receive, send: asgi_door.Send) -> Coroutine[Any, Any, None]:
        """Serve a call, or the lifespan, which comes before all calls."""
        return self._door(scope, receive, send) if self._door else self._live(receive, send)

    async def _live(self, receive: Receive, send: asgi_door.Send) -> None:
        await receive()
        opened = _link()
        running = asyncio.create_task(_run_and_exit(opened.told))
        await opened.opened.wait()
        self._door = opened.door
        await send({"type": "lifespan.startup.complete"})
        await _connectable(opened.address)
        opened.say(READY)
        await receive()  # Envoy is told to end, and not by the parent
        opened.end()
        await running


async def _connectable(address: str) -> None:
    """Wait until Envoy listens, which it does not tell; where it cannot, it ends."""
    while True:
        try:
            _, writer = await asyncio.open_connection(*host_and_port(address))
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return


async def _run_and_exit(told: Told) -> None:
    """Run the service and end the process with its exit code: Envoy, asked to end, would ignore it and lose calls."""
    code: object = 1
    try:
        await _run(told)
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        log.exception("the door failed")
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201  # as sys.exit does
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


async def _run(told: Told) -> None:
    settings = read(pkgutil.resolve_name(told.settings))
    logging.configure(told.name, settings.log_level)
    await pkgutil.resolve_name(told.serve)(settings, "api")


def _link() -> Link:
    global link
    link = Link(Told(**json.loads(os.environ[VARIABLE])))
    return link


async def main() -> None:
    """Serve with grpcio."""
    await _run(_link().told)


link: Link | None = None  # in a process that serves a door for its parent
app = App()

if __name__ == "__main__":
    from kit import child  # as `kit.service` knows it: another module than this `__main__`

    uvloop.run(child.main())
