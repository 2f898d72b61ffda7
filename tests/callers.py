"""Callers of several processes of one service, who measure how long they wait and can ask until they are answered."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from aiokafka import AIOKafkaProducer
from google.protobuf.message import Message
from grpc_status import rpc_status

from abacus.catalog.v1 import catalog_pb2_grpc
from abacus.checkout.v1 import checkout_pb2_grpc
from abacus.identity.v1 import events_pb2, identity_pb2_grpc
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from abacus.notifications.v1 import notifications_pb2_grpc
from deploy.native import keys
from kit import json
from kit.errors import from_status
from kit.testing import Bearer
from tests.stacks import shop_at

T = TypeVar("T")

_STUBS = {
    "catalog": catalog_pb2_grpc.CatalogServiceStub,
    "checkout": checkout_pb2_grpc.CheckoutServiceStub,
    "identity": identity_pb2_grpc.IdentityServiceStub,
    "loms": loms_pb2_grpc.LomsServiceStub,
    "notifications": notifications_pb2_grpc.NotificationsServiceStub,
}
# A killed process is found again as soon as it is back; gRPC itself tries nothing again.
_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 300),
    # Channels to the same address share a connection otherwise, and with it each other's backoff.
    ("grpc.use_local_subchannel_pool", 1),
]
_NOT_ANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
PAUSE_S = 0.1  # between two tries


class Callers:
    """Calls the processes of a service in turn."""

    def __init__(self, service: str, channels: Sequence[grpc.aio.Channel]):
        self.stubs = [_STUBS[service](channel) for channel in channels]
        self.slowest_s = 0.0
        self.tries = 0
        self._turns = itertools.count()

    async def call(self, method: str, request: Message, *, at: int | None = None, timeout_s: float = 10) -> Any:
        """Make one call, to the process number `at` or the next in turn.

        Raises:
            AioRpcError: what the service, or its absence, says.
        """
        stub = self.stubs[(next(self._turns) if at is None else at) % len(self.stubs)]
        started = time.monotonic()
        try:
            return await getattr(stub, method)(request, timeout=timeout_s)
        finally:
            self.tries += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    async def until_answered(self, method: str, request: Message) -> Any:
        """Call again and again, the same request, until a process answers.

        Raises:
            AioRpcError: the service refuses it.
        """
        while True:
            try:
                return await self.call(method, request)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _NOT_ANSWERED:
                    raise
                await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def calling(service: str, *addresses: str, token: str = "") -> AsyncIterator[Callers]:
    """Callers of the processes of a service at these addresses; with the developer's own token where none is given."""
    interceptors = [Bearer(token or keys.local_token(shop_at(addresses[0]).home))]
    channels = [
        grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors) for address in addresses
    ]
    try:
        yield Callers(service, channels)
    finally:
        for channel in channels:
            await channel.close(None)


async def told(call: Awaitable[T]) -> tuple[str, T | None]:
    """("OK", answer), or the reason of a refusal and None; a refusal without one of our reasons by its code."""
    try:
        return "OK", await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error), None


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason of a refusal; its code where it has none of ours."""
    status = rpc_status.from_call(error)
    named = from_status(status) if status else None
    return named.reason if named else error.code().name


def order(user: int, *items: tuple[int, int], request_id: str = "") -> loms_pb2.CreateOrderRequest:
    """The request for an order of (sku, count) pairs."""
    lines = [loms_pb2.OrderItem(sku=sku, count=count) for sku, count in items]
    return loms_pb2.CreateOrderRequest(user=user, items=lines, request_id=request_id)


def receipt(sku: int, count: int, *, warehouse_id: int = 1, request_id: str = "") -> loms_pb2.ReceiveStockRequest:
    """The request that puts units on a shelf; its id is made of the rest where none is given."""
    return loms_pb2.ReceiveStockRequest(
        warehouse_id=warehouse_id,
        sku=sku,
        count=count,
        request_id=request_id or f"receipt {warehouse_id} {sku} {count}",
    )


def email_of(user: int) -> str:
    """The address that publish_contacts gives a user."""
    return f"ann{user}@mail.example"


def phone_of(user: int) -> str:
    """The phone that publish_contacts gives a user; the local mailbox refuses some endings, this one never."""
    return f"+1555{user:07}0"


async def publish_contacts(kafka: str, users: Iterable[int], *, language: str = "en") -> None:
    """Tell the shop how these users are reached: an e-mail address and a phone each."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for user in users:
            contact = events_pb2.Contact(
                user_id=user,
                username=str(user),
                first_name=f"Ann{user}",
                email=email_of(user),
                phone=phone_of(user),
                language=language,
            )
            await producer.send("abacus.identity.contact.v1", json.dumps(contact).encode(), key=str(user).encode())
        await producer.flush()
