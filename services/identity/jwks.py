"""The server of public keys: GET /.well-known/jwks.json (RFC 7517) for gateway and services, GET /health."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from identity.keys import Keys
from kit.settings import host_and_port

log = structlog.get_logger()

PATH = "/.well-known/jwks.json"
CONNECTIONS_MAX = 500  # more are closed at once
BODY_BYTES_MAX = 1024  # nobody has to send one
GRACE_S = 2.0


async def run(keys: Keys, listen: str, stop: asyncio.Event, *, ready: asyncio.Event | None = None) -> None:
    """Serve until stop is set; a worker of the process. Sets ready once it listens."""
    try:
        async with listening(keys, listen):
            if ready:
                ready.set()
            await stop.wait()
    except OSError as error:
        if error.errno is None:
            raise
        sys.exit(f"cannot listen on {listen}: another program does, or the address is not ours")


@contextlib.asynccontextmanager
async def listening(keys: Keys, listen: str) -> AsyncIterator[int]:
    """Serve as long as the block lasts; gives the port, which port 0 leaves to the system.

    Raises:
        OSError: the address is taken.
    """
    host, port = host_and_port(listen)
    runner = web.AppRunner(_app(keys), access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    serving = runner.server
    assert serving is not None, "set up above"

    def connected() -> asyncio.BaseProtocol:
        return serving() if len(serving.connections) < CONNECTIONS_MAX else _Full()

    try:
        server = await asyncio.get_running_loop().create_server(connected, host, port)
        try:
            bound: int = server.sockets[0].getsockname()[1]
            log.info("listening", keys=f"{host}:{bound}")
            yield bound
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _app(keys: Keys) -> web.Application:
    # Half of the time that a key is published ahead: the other half is for us, who read the table now and then.
    headers = {"Cache-Control": f"public, max-age={int(keys.key_ahead_s / 2)}", "X-Content-Type-Options": "nosniff"}

    async def public(request: web.Request) -> web.Response:
        return web.json_response(keys.public(), headers=headers)

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.add_routes([web.get(PATH, public), web.get("/health", health)])
    return app


class _Full(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        assert isinstance(transport, asyncio.Transport), "of TCP"
        transport.abort()
