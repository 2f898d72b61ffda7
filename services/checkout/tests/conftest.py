"""A checkout with a door, on its own database, between the real catalog and the real LOMS as processes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from abacus.checkout.v1 import checkout_pb2, checkout_pb2_grpc
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from checkout import rpc
from checkout.peers import Peers
from checkout.purchases import Purchases
from deploy.native import keys, stack
from deploy.native.process import Process
from kit import client, migrate
from kit.db import Database
from kit.errors import Error
from kit.testing import OpenDoor, service_key, until
from kit.tokens import ServiceKey

SERVICE = checkout_pb2.DESCRIPTOR.services_by_name["CheckoutService"]
SERVICES = Path(__file__).parents[2]
ADDRESS = {"country": "Россия", "region": "Москва", "city": "Москва", "street": "ул. Ленина, 1, кв. 2"}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
async def addresses(native: stack.Shop) -> dict[str, str]:
    """Where loms and catalog listen, started once; tests keep apart by skus and users of their own."""
    for name in ("loms", "catalog"):
        await migrate.apply(native.database_url(name), SERVICES / name / "migrations")
        await native.start_replica(name, name=f"{name}-of-checkout", args=["api"])
    return {name: native.address(f"{name}-of-checkout") for name in ("loms", "catalog")}


@asynccontextmanager
async def speaking(key: ServiceKey, addresses: dict[str, str]) -> AsyncIterator[Peers]:
    async with client.connect(addresses["catalog"], key) as catalog, client.connect(addresses["loms"], key) as loms:
        yield Peers(catalog_pb2_grpc.CatalogServiceStub(catalog), loms_pb2_grpc.LomsServiceStub(loms))


@pytest.fixture(scope="session")
async def peers(native: stack.Shop, addresses: dict[str, str]) -> AsyncIterator[Peers]:
    """What checkout may ask of its peers, and no more."""
    async with speaking(keys.service_key(native.home, "checkout"), addresses) as peers:
        yield peers


@pytest.fixture(scope="session")
async def tools(native: stack.Shop, addresses: dict[str, str]) -> AsyncIterator[Peers]:
    """With the developer's own key: for goods, stock, and looking at orders."""
    async with speaking(keys.service_key(native.home, "local"), addresses) as peers:
        yield peers


@pytest.fixture
async def away(native: stack.Shop) -> AsyncIterator[Peers]:
    """Peers at an address where nobody listens."""
    (port,) = stack.free_ports(["nobody"]).values()
    address = f"127.0.0.1:{port}"
    async with speaking(service_key("checkout"), {"catalog": address, "loms": address}) as peers:
        yield peers


@dataclass
class Shop:
    """What a test speaks with: one user, who buys through one checkout."""

    db: Database
    tools: Peers
    buying: Purchases
    stub: checkout_pb2_grpc.CheckoutServiceStub
    user: int = field(default_factory=lambda: next(_numbers))

    async def goods(self, count: int, **more: object) -> int:
        """Put a new product on sale, with so many units in stock; return its sku."""
        sku = next(_numbers)
        await self.product(sku, **more)
        if count:
            await self.tools.loms.ReceiveStock(
                loms_pb2.ReceiveStockRequest(warehouse_id=1, sku=sku, count=count, request_id=f"checkout-{sku}")
            )
        return sku

    async def product(self, sku: int, **more: object) -> None:
        about = {"name_ru": f"Товар {sku}", "name_en": f"Product {sku}", "price": 100} | more
        await self.tools.catalog.UpsertProduct(catalog_pb2.UpsertProductRequest(sku=sku, **about))

    async def adjust(self, sku: int, delta: int) -> None:
        """Change what is in stock."""
        request = loms_pb2.AdjustStockRequest(
            warehouse_id=1, sku=sku, delta=delta, request_id=f"checkout-{next(_numbers)}"
        )
        await self.tools.loms.AdjustStock(request)

    async def add(self, sku: int, count: int = 1, **more: object) -> None:
        await self.stub.AddToCart(
            checkout_pb2.AddToCartRequest(**{"user": self.user, "sku": sku, "count": count} | more)
        )

    async def delete(self, sku: int, count: int = 1, **more: object) -> None:
        await self.stub.DeleteFromCart(checkout_pb2.DeleteFromCartRequest(user=self.user, sku=sku, count=count, **more))

    async def show(self, **more: object) -> checkout_pb2.ListCartResponse:
        return await self.stub.ListCart(checkout_pb2.ListCartRequest(user=self.user, **more))

    async def purchase(self, **more: object) -> checkout_pb2.PurchaseResponse:
        return await self.stub.Purchase(checkout_pb2.PurchaseRequest(**{"user": self.user} | more))

    async def place(self, *items: tuple[int, int], **more: object) -> checkout_pb2.PlaceOrderResponse:
        """Place an order of these (product, quantity), to an address."""
        wanted = [checkout_pb2.WantedProduct(product_id=sku, quantity=count) for sku, count in items]
        request = checkout_pb2.PlaceOrderRequest(**{"user": self.user, "items": wanted} | ADDRESS | more)
        return await self.stub.PlaceOrder(request)

    async def order(self, order_id: int) -> loms_pb2.Order:
        """An order with its address, as LOMS shows it."""
        return (await self.tools.loms.GetOrder(loms_pb2.GetOrderRequest(order_id=order_id))).order

    async def cart(self) -> dict[int, int]:
        """Units in the cart by sku."""
        return {item.sku: item.count for item in (await self.show()).items}

    async def orders(self) -> list[loms_pb2.ListOrderResponse]:
        """The user's orders at LOMS, the oldest first."""
        answer = await self.tools.loms.ListOrders(loms_pb2.ListOrdersRequest(user=self.user))
        return list(reversed(answer.orders))

    async def states(self) -> list[str]:
        """States of the purchases, the oldest first."""
        return [row["state"] for row in await self.db.pool.fetch("SELECT state FROM purchases ORDER BY created_at")]


@pytest.fixture
async def open_shop(db: Database, open_door: OpenDoor, peers: Peers, tools: Peers) -> Callable:
    """Make a shop of the test's database; several are replicas of one checkout."""

    async def make(with_peers: Peers = peers, *, positions_max: int = 20, like: Shop | None = None) -> Shop:
        buying = Purchases(db, with_peers, resume_after_s=0.05)
        door = await open_door(SERVICE, rpc.Checkout(db, with_peers, buying, positions_max=positions_max))
        shop = Shop(db, tools, buying, checkout_pb2_grpc.CheckoutServiceStub(door))
        if like:
            shop.user = like.user
        return shop

    return make


@pytest.fixture
async def shop(open_shop: Callable) -> Shop:
    return await open_shop()


@pytest.fixture
def instead() -> Callable:
    """Make a stub whose calls are these functions; those not given go to the real one."""

    def make(real: object, **calls: Callable) -> SimpleNamespace:
        names = [name for name in vars(real) if name[0].isupper()]
        return SimpleNamespace(**{name: getattr(real, name) for name in names} | calls)

    return make


@dataclass
class Mortal:
    """A checkout as a process, to be killed; with a door and its database."""

    process: Process
    stub: checkout_pb2_grpc.CheckoutServiceStub
    database: asyncpg.Pool

    async def killed_while(self, state: str, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """Make the calls in three waves, kill -9 the process in each once a purchase is in this state; the answers."""
        answers: list[asyncio.Future] = []
        third = -(-len(calls) // 3)
        for first in range(0, len(calls), third):
            now = [asyncio.ensure_future(call()) for call in calls[first : first + third]]
            # Often: a purchase is in a state for some milliseconds.
            await until(partial(self._caught, state, now), True, every_s=0.001)
            await self.process.kill()
            await self.process.start()
            answers += now
        return await asyncio.gather(*answers)

    async def _caught(self, state: str, calls: Iterable[asyncio.Future]) -> bool:
        assert not all(call.done() for call in calls), "answered before anything could be killed"
        return await self.database.fetchval("SELECT EXISTS (SELECT FROM purchases WHERE state = $1)", state)


@pytest.fixture
async def mortal(native: stack.Shop, addresses: dict[str, str]) -> AsyncIterator[Mortal]:
    await migrate.apply(native.database_url("checkout"), SERVICES / "checkout" / "migrations")
    name = f"checkout-killed-{next(_numbers)}"
    process = await native.start_replica(
        "checkout",
        name=name,
        env={
            "CHECKOUT_LOMS": addresses["loms"],
            "CHECKOUT_CATALOG": addresses["catalog"],
            "CHECKOUT_RESUME_AFTER_S": "0.1",
        },
    )
    async with (
        client.connect(native.address(name), keys.service_key(native.home, "local")) as channel,
        asyncpg.create_pool(native.database_url("checkout"), min_size=1, max_size=1) as database,
    ):
        yield Mortal(process, checkout_pb2_grpc.CheckoutServiceStub(channel), database)
    await process.stop()


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Try until there is an answer, as a customer would."""
    while True:
        with suppress(Error):
            return await call()
        await asyncio.sleep(0.02)


async def due(shop: Shop) -> None:
    """Make every unfinished purchase due for the worker."""
    await shop.db.pool.execute("UPDATE purchases SET try_at = clock_timestamp() WHERE finished_at IS NULL")
