"""How each service's door looks from outside."""

from collections.abc import AsyncIterator

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deploy.native.errors import StackError
from kit import embedded

SERVICES = {
    "loms": "abacus.loms.v1.LomsService",
    "checkout": "abacus.checkout.v1.CheckoutService",
    "catalog": "abacus.catalog.v1.CatalogService",
    "notifications": "abacus.notifications.v1.NotificationsService",
    "identity": "abacus.identity.v1.IdentityService",
}
EACH = pytest.mark.parametrize(("service", "name"), SERVICES.items())


@EACH
async def test_health_says_serving(shop, service, name):
    """The standard health service answers for the process and for its service."""
    async with grpc.aio.insecure_channel(shop.address(service)) as channel:
        for asked in ("", name):
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=asked))
            assert health_pb2.HealthCheckResponse.SERVING == answer.status


@EACH
async def test_reflection_lists_and_describes(shop, service, name):
    """A tool that knows nothing of the contract finds the service and the file that describes it."""

    async def questions() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)

    async with grpc.aio.insecure_channel(shop.address(service)) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, described = [answer async for answer in stub.ServerReflectionInfo(questions())]
    assert {name, "grpc.health.v1.Health"} <= {one.name for one in listed.list_services_response.service}
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_second_process_on_the_same_port_is_refused(shop):
    """It ends and says so, instead of taking half of the calls."""
    with pytest.raises(StackError, match="exit code"):
        await shop.start_replica("loms", name="twin", args=["api"], env={"LOMS_LISTEN": shop.address("loms")})
    assert await shop["loms"].healthy()


async def test_loms_has_the_faster_door(shop):
    """Envoy serves it where it can run; the others serve themselves."""
    doors = {name: [child.name() for child in psutil.Process(shop[name].pid).children()] for name in SERVICES}
    assert {name: [] for name in SERVICES} | {"loms": [] if embedded.missing() else ["envoy"]} == doors
