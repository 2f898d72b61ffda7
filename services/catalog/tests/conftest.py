"""A catalog with a door, on its own database, beside the real LOMS as a process."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from catalog import rpc, search
from catalog.stock import Stock
from deploy.native import keys, stack
from kit import client, migrate
from kit.db import Database
from kit.testing import OpenDoor, service_key
from kit.tokens import ServiceKey

SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"]
SERVICES = Path(__file__).parents[2]
_skus = itertools.count(900_001)

OpenCatalog = Callable[..., Awaitable[catalog_pb2_grpc.CatalogServiceStub]]


@dataclass
class Warehouse:
    """The real LOMS, and the calls that catalog made of it."""

    stub: loms_pb2_grpc.LomsServiceStub
    calls: list[list[int]] = field(default_factory=list)

    async def received(self, count: int, *, places: tuple[int, ...] = (1,)) -> int:
        """Put units of a new product into each of these warehouses; return its sku."""
        sku = next(_skus)
        for place in places:
            await self.stub.ReceiveStock(
                loms_pb2.ReceiveStockRequest(
                    warehouse_id=place, sku=sku, count=count, request_id=f"catalog-{sku}-{place}"
                )
            )
        return sku

    def counted(self, stub: loms_pb2_grpc.LomsServiceStub) -> "Counted":
        return Counted(stub, self.calls)


@dataclass
class Counted:
    """LOMS's stub, which writes down what it is asked."""

    stub: loms_pb2_grpc.LomsServiceStub
    calls: list[list[int]]

    def ListStocks(self, request: loms_pb2.ListStocksRequest, **more: object) -> object:
        self.calls.append(list(request.product_ids))
        return self.stub.ListStocks(request, **more)


@pytest.fixture(scope="session")
async def loms(native: stack.Shop) -> str:
    """Where LOMS listens, started once; tests keep apart by skus of their own."""
    await migrate.apply(native.database_url("loms"), SERVICES / "loms" / "migrations")
    await native.start_replica("loms", name="loms-of-catalog", args=["api"])
    return native.address("loms-of-catalog")


@pytest.fixture
async def warehouse(native: stack.Shop, loms: str) -> AsyncIterator[Warehouse]:
    """LOMS, spoken to with the developer's own key."""
    async with client.connect(loms, keys.service_key(native.home, "local")) as channel:
        yield Warehouse(loms_pb2_grpc.LomsServiceStub(channel))


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    (port,) = stack.free_ports(["nobody"]).values()
    return f"127.0.0.1:{port}"


@pytest.fixture
async def open_catalog(db: Database, open_door: OpenDoor) -> AsyncIterator[OpenCatalog]:
    """Serve a catalog whose LOMS is at an address; `counted` sees what it asks there."""
    async with AsyncExitStack() as opened:

        async def serve(
            loms: str,
            *,
            key: ServiceKey | None = None,
            token: str | None = None,
            stock_timeout_s: float = 0.2,
            counted: Callable[[loms_pb2_grpc.LomsServiceStub], object] = lambda stub: stub,
        ) -> catalog_pb2_grpc.CatalogServiceStub:
            channel = await opened.enter_async_context(client.connect(loms, key or service_key("catalog")))
            found = await opened.enter_async_context(search.connect(db.url, db.password))
            stock = Stock(counted(loms_pb2_grpc.LomsServiceStub(channel)), timeout_s=stock_timeout_s)
            return catalog_pb2_grpc.CatalogServiceStub(
                await open_door(SERVICE, rpc.Catalog(db, found, stock, token=token))
            )

        yield serve


@pytest.fixture
async def catalog(open_catalog: OpenCatalog, nobody: str) -> catalog_pb2_grpc.CatalogServiceStub:
    """A catalog whose LOMS is away, and is not waited for."""
    return await open_catalog(nobody, stock_timeout_s=0.005)


@pytest.fixture
async def stocked(
    native: stack.Shop, open_catalog: OpenCatalog, loms: str, warehouse: Warehouse
) -> catalog_pb2_grpc.CatalogServiceStub:
    """A catalog beside the real LOMS."""
    return await open_catalog(loms, key=keys.service_key(native.home, "catalog"), counted=warehouse.counted)


def product(sku=1001, name_ru="Чайник", name_en="Kettle", price=199_000, **more):
    """What UpsertProduct is asked for; attributes as {"color": ("чёрный", "black")}."""
    attributes = [
        catalog_pb2.ProductAttribute(name=name, value_ru=ru, value_en=en)
        for name, (ru, en) in more.pop("attributes", {}).items()
    ]
    return catalog_pb2.UpsertProductRequest(
        sku=sku, name_ru=name_ru, name_en=name_en, price=price, attributes=attributes, **more
    )
