"""Every RPC of the contracts, called as every kind of caller, through both doors: who gets in is whom it names."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from abacus.access.v1 import access_pb2
from abacus.catalog.v1 import catalog_pb2
from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from deploy.native.keys import LOCAL
from deploy.native.parts import SERVICES
from kit.calls import access_of
from kit.client import service_of
from tests.access.people import Caller, person, service
from tests.access.samples import SKU, rpcs, sample
from tests.callers import calling, order, receipt, told

ADMITTED = "admitted"
HIDDEN = "hidden"  # told what is said of an object that does not exist
REFUSALS = {"TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "NOT_ALLOWED", "NOT_YOURSELF"}
HTTP = {"TOKEN_MISSING": 401, "TOKEN_INVALID": 401, "NOT_ALLOWED": 403, "NOT_YOURSELF": 403, HIDDEN: 404}
EACH = pytest.mark.parametrize("rpc", list(rpcs()), ids=lambda rpc: rpc.full_name.removeprefix("abacus."))


def verdict(access: access_pb2.Access, caller: Caller) -> str:
    """What the contract says: ADMITTED, HIDDEN, or the reason of the refusal."""
    if access.public:
        return ADMITTED
    if not caller.token:
        return "TOKEN_MISSING"
    if caller.is_service:
        return ADMITTED if caller.name in access.services else "NOT_ALLOWED"
    if access.user or (access.admin and caller.is_admin) or (access.owner and caller.name == "user"):
        return ADMITTED
    if not access.owner:
        return "NOT_ALLOWED"
    return "NOT_YOURSELF" if access.owner == "user" else HIDDEN


@dataclass(frozen=True)
class Scene:
    """Callers, and what belongs to the one called `user`."""

    shop: stack.Shop
    callers: list[Caller]
    user: int
    order_id: int
    bystander: int  # an account that administrators may change

    def request(self, rpc: MethodDescriptor) -> Any:
        """A valid request about what belongs to `user`."""
        return sample(rpc, user=self.user, order_id=self.order_id, user_id=self.bystander)


@pytest.fixture(scope="session")
async def scene(shop: stack.Shop) -> Scene:
    """A shop with goods, three persons and an order of the first."""
    callers = [
        Caller("anonymous"),
        await person(shop, "user"),
        await person(shop, "other user"),
        await person(shop, "admin", admin=True),
        *(service(shop, name) for name in (*SERVICES, LOCAL)),
    ]
    bystander = await person(shop, "bystander")
    async with calling("catalog", shop.address("catalog")) as catalog, calling("loms", shop.address("loms")) as loms:
        await catalog.call(
            "UpsertProduct", catalog_pb2.UpsertProductRequest(sku=SKU, name_ru="Счёты", name_en="Abacus", price=1)
        )
        await loms.call("ReceiveStock", receipt(SKU, 10_000))
        made = await loms.call("CreateOrder", order(callers[1].user, (SKU, 1)))
    return Scene(shop, callers, callers[1].user, made.order_id, bystander.user)


async def heard(scene: Scene, address: str, rpc: MethodDescriptor, caller: Caller) -> str:
    """What a caller is told: ADMITTED, HIDDEN, or the reason of the refusal."""
    channel = grpc.aio.insecure_channel(address)
    try:
        call = channel.unary_unary(
            f"/{rpc.containing_service.full_name}/{rpc.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda body: body,
        )
        metadata = [("authorization", f"Bearer {caller.token}")] if caller.token else []
        reason, _ = await told(call(scene.request(rpc), metadata=metadata, timeout=10))
    finally:
        await channel.close()
    if access_of(rpc).owner and reason == "ORDER_NOT_FOUND":
        return HIDDEN
    assert "INVALID_FIELD" != reason, "the sample is not valid"
    return reason if reason in REFUSALS else ADMITTED


@EACH
async def test_a_service_admits_whom_the_contract_names(scene: Scene, rpc: MethodDescriptor) -> None:
    """Directly by gRPC: each kind of caller gets in, or is told why not, as the RPC's policy says."""
    access, address = access_of(rpc), scene.shop.address(service_of(rpc.full_name))
    wanted = {caller.name: verdict(access, caller) for caller in scene.callers}
    assert wanted == {caller.name: await heard(scene, address, rpc, caller) for caller in scene.callers}


def at_the_gateway(access: access_pb2.Access, caller: Caller) -> str:
    """Services never come through the people's door: their tokens are none there."""
    if caller.is_service and caller.name != LOCAL and not access.public:
        return "TOKEN_INVALID"
    return verdict(access, caller)


@EACH
async def test_the_gateway_admits_whom_the_contract_names(scene: Scene, rpc: MethodDescriptor) -> None:
    """The same by gRPC through Envoy."""
    access, address = access_of(rpc), scene.shop.address("gateway")
    wanted = {caller.name: at_the_gateway(access, caller) for caller in scene.callers}
    assert wanted == {caller.name: await heard(scene, address, rpc, caller) for caller in scene.callers}


ROUTED = [rpc for rpc in rpcs() if rpc.GetOptions().HasExtension(annotations_pb2.http)]


@pytest.mark.parametrize("rpc", ROUTED, ids=lambda rpc: rpc.name)
async def test_a_route_admits_whom_the_contract_names(scene: Scene, rpc: MethodDescriptor) -> None:
    """The same by JSON: 401 without a good token, 403 without the role, 404 for another's."""
    wanted = {caller.name: HTTP.get(at_the_gateway(access_of(rpc), caller), ADMITTED) for caller in scene.callers}
    seen = {}
    async with aiohttp.ClientSession(f"http://{scene.shop.address('gateway')}") as http:
        for caller in scene.callers:
            status, body = await ask(http, rpc, scene.request(rpc), caller)
            reason = body.get("details", [{}])[0].get("reason")
            assert "INVALID_FIELD" != reason, "the sample is not valid"
            is_refusal = reason in REFUSALS or (status == HTTP[HIDDEN] and reason == "ORDER_NOT_FOUND")
            seen[caller.name] = status if is_refusal else ADMITTED
            assert (status < 400) == ("code" not in body), body
    assert wanted == seen


async def ask(
    http: aiohttp.ClientSession, rpc: MethodDescriptor, request: Any, caller: Caller
) -> tuple[int, dict[str, Any]]:
    """Make a call by its route; return the status and the JSON of the answer."""
    rule = rpc.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    template = getattr(rule, verb)
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    path = template.format(**fields)
    rest = {name: value for name, value in fields.items() if f"{{{name}}}" not in template}
    given = {"json": rest} if rule.body else {"params": rest}
    headers = {"authorization": f"Bearer {caller.token}"} if caller.token else {}
    async with http.request(verb.upper(), path, headers=headers, **given) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, json.loads(await answer.text() or "{}") if is_json else {}


async def test_anothers_order_is_as_none(scene: Scene) -> None:
    """Word for word what is said of an order that does not exist, but for its number."""
    other = next(caller for caller in scene.callers if caller.name == "other user")
    nobodys = 2**40
    async with calling("loms", scene.shop.address("loms"), token=other.token) as loms:
        for method, kind in (
            ("ListOrder", loms_pb2.ListOrderRequest),
            ("CancelOrder", loms_pb2.CancelOrderRequest),
            ("GetOrderHistory", loms_pb2.GetOrderHistoryRequest),
        ):
            texts = []
            for order_id in (scene.order_id, nobodys):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await loms.call(method, kind(order_id=order_id))
                assert grpc.StatusCode.NOT_FOUND == caught.value.code()
                texts.append(str(caught.value.details()).replace(str(order_id), "…"))
            assert texts[0] == texts[1]


async def test_prices_are_the_servers(scene: Scene) -> None:
    """A person may order, but names, prices and currencies are said by services alone; what is refused is named."""
    user = next(caller for caller in scene.callers if caller.name == "user")
    priced = loms_pb2.CreateOrderRequest(
        user=user.user, items=[loms_pb2.OrderItem(sku=SKU, count=1, name="Gift", price=1)], currency="RUB"
    )
    async with calling("loms", scene.shop.address("loms"), token=user.token) as loms:
        assert ("FOR_SERVICES_ONLY", None) == await told(loms.call("CreateOrder", priced))
    async with calling("loms", scene.shop.address("loms")) as loms:
        assert "OK" == (await told(loms.call("CreateOrder", priced)))[0]
