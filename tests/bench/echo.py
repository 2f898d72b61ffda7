"""`python -m tests.bench.echo grpcio|pyvoy PORT`: a bare server that answers each call of loms with the same bytes.

The least that a door costs: no parsing, no policy, no work. Its answer has the size of CreateOrder's. It ends when its
standard input does.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop

from abacus.loms.v1 import loms_pb2
from tests.bench.traffic import METHODS, SERVICE


def answer() -> bytes:
    """An answer of CreateOrder with all that an order held has."""
    made = loms_pb2.CreateOrderResponse(order_id=1_234_567, status=loms_pb2.ORDER_STATUS_AWAITING_PAYMENT)
    made.pay_by.FromMilliseconds(1_800_000_000_123)
    return made.SerializeToString()


_BODY = answer()
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_MESSAGE = {"type": "http.response.body", "body": b"\0" + len(_BODY).to_bytes(4, "big") + _BODY}
_END = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    for event in (_START, _MESSAGE, _END):
        await send(event)


async def _grpcio(port: int) -> None:
    async def echo(request: bytes, context: object) -> bytes:
        return _BODY

    server = grpc.aio.server(maximum_concurrent_rpcs=2000)
    handlers = {name: grpc.unary_unary_rpc_method_handler(echo) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.strip("/"), handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await _until_told()
    await server.stop(0)


async def _pyvoy(port: int) -> None:
    from pyvoy import PyvoyServer  # only where it can run

    async with PyvoyServer("tests.bench.echo:app", address="127.0.0.1", port=port, stderr=None):
        await _until_told()


async def _until_told() -> None:
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.echo", description=__doc__)
    parser.add_argument("door", choices=("grpcio", "pyvoy"))
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    uvloop.run((_grpcio if given.door == "grpcio" else _pyvoy)(given.port))
