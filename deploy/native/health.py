"""Questions whose answer proves that a process can serve: not an open port, but a real reply."""

import asyncio
import contextlib

from deploy.native.errors import StackError
from deploy.native.process import Probe


async def connectable(address: str) -> None:
    """Raise OSError unless somebody listens there. Asked first: a refusal costs less than a client."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def grpc_serving(address: str) -> Probe:
    """Probe gRPC's standard health service, of the server as a whole."""

    async def probe() -> None:
        await connectable(address)
        # Imported late: PostgreSQL and Kafka alone are started without gRPC's 25 MB.
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        async with grpc.aio.insecure_channel(address) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise StackError(f"{address} is not serving")

    return probe


def http_ok(address: str, path: str = "/") -> Probe:
    """Probe a web page: GET must answer 200."""

    async def probe() -> None:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            status = await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if b" 200 " not in status:
            raise StackError(f"{address} answered {status!r}")

    return probe
