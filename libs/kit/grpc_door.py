"""The gRPC door of a service: one builder makes every server."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from kit import errors
from kit.calls import Dispatcher, Method, methods_of

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_CONCURRENT_CALLS = 2000
GRACE_S = 5.0

# The stable name of the service has the messages of the older one, so one servicer answers to both.
REFLECTION = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Symbols:
    """The descriptor pool that also finds a method's file: protobuf's own knows none, and people describe methods."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Find the file of a message, a service, or a method."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file


class Door:
    """A grpc.aio server with health, reflection and graceful stop; what it serves goes through the dispatcher.

    Args:
        shared: other processes of this service listen on the same port.
    """

    def __init__(
        self, dispatcher: Dispatcher, services: list[tuple[ServiceDescriptor, object]], *, shared: bool = False
    ):
        self.dispatcher = dispatcher
        self.health = health.aio.HealthServicer()
        self.names = [descriptor.full_name for descriptor, _ in services]
        self.server = grpc.aio.server(
            maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", int(shared)),  # else a second process on the same port is a mistake
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
            ],
        )
        for descriptor, servicer in services:
            handlers = {
                method.full_name.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(self._handler(method))
                for method in methods_of(descriptor, servicer)
            }
            self.server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(descriptor.full_name, handlers),)
            )
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        described = reflection.aio.ReflectionServicer([*self.names, health.SERVICE_NAME, *REFLECTION], Symbols())
        handler = grpc.stream_stream_rpc_method_handler(
            described.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self.server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}) for name in REFLECTION)
        )

    async def start(self, listen: str) -> int:
        """Listen on host:port and say SERVING; return the port, which port 0 leaves to the system.

        Raises:
            RuntimeError: the address is taken.
        """
        port = self.server.add_insecure_port(listen)
        await self.server.start()
        for name in ("", *self.names):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("listening", address=f"{listen.rpartition(':')[0]}:{port}")
        return port

    async def stop(self) -> None:
        """Say NOT_SERVING, refuse new calls, let the running ones end."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(GRACE_S)

    def _handler(self, method: Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handle(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            try:
                peer = _ip(context.peer())
                answer = await self.dispatcher.serve(method, body, metadata, context.time_remaining(), peer)
                return answer.SerializeToString()
            except errors.Error as error:
                status = errors.to_status(error).SerializeToString()
                context.set_trailing_metadata((("grpc-status-details-bin", status),))
                await context.abort(_CODES[error.code], error.message)
                raise AssertionError("abort raises") from error

        return handle


def _ip(peer: str) -> str:
    """`127.0.0.1` of `ipv4:127.0.0.1:50000`; empty where the peer has no address, as on a Unix socket."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return unquote(rest).rpartition(":")[0].strip("[]")
