"""Every route of seed 001, through the gateway: what it takes and answers, as the table of the contracts says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import pytest
from google.protobuf.descriptor import MethodDescriptor

from abacus.catalog.v1 import catalog_pb2
from abacus.identity.v1 import identity_pb2
from abacus.loms.v1 import loms_pb2
from deploy import contracts
from deploy.native import stack
from deploy.native.parts import REPO, SERVICES
from kit.client import service_of
from kit.testing import until
from tests.audit import mailbox
from tests.callers import calling, receipt

SKU = 640_001
PASSWORD = "seven blue canaries"
NEW_PASSWORD = "eight green parrots"
EMAIL, PHONE = "route@mail.example", "+15550640001"
ADDRESS = {"country": "Россия", "region": "Пермский край", "city": "Пермь", "street": "Ленина, 1"}


class Route(NamedTuple):
    """A line of the table."""

    name: str  # "POST /api/v1/orders/{orderId}/reserve"
    takes: list[str]  # fields of the body; `?` at their end: may be missing
    answers: list[str]
    rpc: str  # "loms.ReserveOrder"; "–": there is none yet

    def must(self, fields: list[str]) -> set[str]:
        """Names of those of these fields that may not be missing."""
        return {re.sub(r"\[.*", "", one) for one in fields if not one.endswith("?")}


def table() -> list[Route]:
    """The routes of seed 001, as docs/contracts.md has them."""
    text = (REPO / "docs" / "contracts.md").read_text().split("\n## Routes of seed 001\n", 1)[1]
    lines = re.findall(r"^\| `(\w+ [^`]+)` \| (.*?) \| (.*?) \| (.*?) \|$", text.split("\n## ", 1)[0], re.MULTILINE)
    return [Route(name, _fields(takes), _fields(answers), rpc) for name, takes, answers, rpc in lines]


def _fields(cell: str) -> list[str]:
    return re.findall(r"\w+(?:\[[^\]]*\])?\??", cell)


ROUTES = table()


@dataclass
class Told:
    """What a route was asked and answered."""

    status: int
    body: Mapping[str, Any]
    answer: dict[str, Any]


@dataclass
class Front:
    """A shop's front: calls routes, and keeps what came of each."""

    http: aiohttp.ClientSession
    base: str
    token: str = ""
    told: dict[str, Told] = field(default_factory=dict)  # by the route's name

    async def call(self, route: str, body: Mapping[str, Any] | None = None, *, token: str = "", **path: Any) -> Any:
        """Call a route of the table; path are the values of its variables."""
        verb, template = route.split(" ")
        bearer = token or self.token
        async with self.http.request(
            verb,
            self.base + template.format(**path),
            json=None if verb == "GET" else body or {},
            headers={"authorization": f"Bearer {bearer}"} if bearer else {},
        ) as answer:
            told = Told(answer.status, body or {}, json.loads(await answer.text()))
        self.told.setdefault(route, told)
        return told.answer


@pytest.fixture(scope="session")
async def told(shop: stack.Shop) -> dict[str, Told]:
    """What each route answered in the course of one story."""
    async with aiohttp.ClientSession() as http:
        front = Front(http, f"http://{shop.address('gateway')}")
        await _account(front, shop)
        await _goods(front, shop)
        admin = await _admin(shop, front)
        await _orders(front, shop, admin)
        await _reservations(front, shop, admin)
        await _notifications(front, admin)
        for route in ROUTES:
            if route.rpc == "–":
                await front.call(route.name, orderId=1, paymentId=1, refundId=1)
    return front.told


async def _account(front: Front, shop: stack.Shop) -> None:
    """Register both ways, prove both addresses, forget the password, sign in."""
    name = {"firstName": "Анна", "lastName": "Иванова"}
    mine = await front.call("POST /api/v1/auth/register/email", {**name, "email": EMAIL, "password": PASSWORD})
    await front.call("POST /api/v1/auth/register/phone", {**name, "phone": PHONE, "password": PASSWORD})
    await front.call("POST /api/v1/auth/verify/email/send", {"email": EMAIL})
    code = await _code(shop, EMAIL, r"\b\d{6}\b")
    await front.call("POST /api/v1/auth/verify/email/confirm", {"email": EMAIL, "code": code})
    await front.call("POST /api/v1/auth/verify/phone/send", {"phone": PHONE})
    code = await _code(shop, PHONE, r"\b\d{6}\b")
    await front.call("POST /api/v1/auth/verify/phone/confirm", {"phone": PHONE, "code": code})
    await front.call("POST /api/v1/auth/login/phone", {"phone": PHONE, "password": PASSWORD})
    mine = await front.call("POST /api/v1/auth/refresh", {"refreshToken": mine["refreshToken"]})
    change = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    await front.call("POST /api/v1/auth/password/change", change, token=mine["accessToken"])
    await front.call("POST /api/v1/auth/logout", {"refreshToken": mine["refreshToken"]})
    await front.call("POST /api/v1/auth/password/reset/request", {"email": EMAIL})
    reset = await _code(shop, EMAIL, r"(?m)^\S{40,}$")
    await front.call("POST /api/v1/auth/password/reset/confirm", {"resetToken": reset, "newPassword": PASSWORD})
    mine = await front.call("POST /api/v1/auth/login/email", {"email": EMAIL, "password": PASSWORD})
    front.token = mine["accessToken"]
    await front.call("GET /api/v1/users/me")
    await front.call("PATCH /api/v1/users/me", {"id": mine["userId"], **name})


async def _code(shop: stack.Shop, address: str, pattern: str) -> str:
    """What a message to an address holds that looks so."""

    async def found() -> str:
        texts = [one["text"] for one in await mailbox(shop.address("mailbox")) if one["to"] == address]
        return next((match[0] for match in (re.search(pattern, text) for text in texts) if match), "")

    await until(found, True, of=bool)
    return await found()


async def _admin(shop: stack.Shop, front: Front) -> str:
    """The token of an administrator."""
    body = {"firstName": "A", "lastName": "B", "email": "route-admin@mail.example", "password": PASSWORD}
    tokens = await front.call("POST /api/v1/auth/register/email", body)
    async with calling("identity", shop.address("identity")) as identity:
        roles = [identity_pb2.ROLE_CUSTOMER, identity_pb2.ROLE_ADMIN]
        await identity.call(
            "SetUserRoles", identity_pb2.SetUserRolesRequest(user_id=int(tokens["userId"]), roles=roles)
        )
    again = await front.call("POST /api/v1/auth/refresh", {"refreshToken": tokens["refreshToken"]})
    return str(again["accessToken"])


async def _goods(front: Front, shop: stack.Shop) -> None:
    """A product on sale, ten of it in stock, and what the routes show of it."""
    async with calling("catalog", shop.address("catalog")) as catalog, calling("loms", shop.address("loms")) as loms:
        product = catalog_pb2.UpsertProductRequest(sku=SKU, name_ru="Чайник", name_en="Kettle", price=149_900)
        await catalog.call("UpsertProduct", product)
        await loms.call("ReceiveStock", receipt(SKU, 10))
    for route in ("", "/{id}", "/{id}/price", "/{id}/stock"):
        await front.call(f"GET /api/v1/products{route}", id=SKU)
    await front.call("GET /api/v1/stocks")


async def _place(front: Front) -> int:
    placed = await front.call("POST /api/v1/orders", {"productId": SKU, **ADDRESS, "phone": PHONE})
    return int(placed["orderId"])


async def _pay(shop: stack.Shop, order_id: int) -> None:
    async with calling("loms", shop.address("loms")) as loms:
        await loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=order_id))


async def _orders(front: Front, shop: stack.Shop, admin: str) -> None:
    """One order is placed, reserved, paid and confirmed, another one is cancelled."""
    order_id = await _place(front)
    await front.call("POST /api/v1/orders/{orderId}/reserve", orderId=order_id)
    await _pay(shop, order_id)
    await front.call("POST /api/v1/orders/{orderId}/confirm", token=admin, orderId=order_id)
    await front.call("GET /api/v1/orders/{orderId}", orderId=order_id)
    await front.call("POST /api/v1/orders/{orderId}/cancel", {"reason": "changed my mind"}, orderId=await _place(front))
    await front.call("GET /api/v1/orders/me")


async def _reservations(front: Front, shop: stack.Shop, admin: str) -> None:
    """One reservation is confirmed, another one released."""
    for end in ("confirm", "release"):
        body = {"orderId": await _place(front), "items": [{"productId": SKU, "quantity": 1}]}
        made = await front.call("POST /api/v1/reservations", body, token=admin)
        number = made["reservationId"]
        await front.call("GET /api/v1/reservations/{reservationId}", token=admin, reservationId=number)
        if end == "confirm":
            await _pay(shop, int(number))
        await front.call(f"POST /api/v1/reservations/{{reservationId}}/{end}", token=admin, reservationId=number)


async def _notifications(front: Front, admin: str) -> None:
    body = {
        "channel": "CHANNEL_EMAIL",
        "to": EMAIL,
        "template": "notice",
        "variables": {"subject": "Hello", "text": "We moved."},
    }
    made = await front.call("POST /api/v1/notifications/send", body, token=admin)
    await front.call("GET /api/v1/notifications/{notificationId}", token=admin, notificationId=made["notificationId"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_route(told: dict[str, Told], route: Route) -> None:
    """It takes the fields that seed 001 names and answers with those that it names; payments answer 501."""
    was = told[route.name]
    if route.rpc == "–":
        assert (501, "NOT_IMPLEMENTED") == (was.status, was.answer["details"][0]["reason"])
        return
    assert 200 == was.status, was.answer
    # What may be missing in turn: an e-mail or a phone.
    assert route.must(route.takes) <= set(was.body)
    shown = was.answer
    if not route.must(route.answers) <= set(shown):  # a list: what it names is in each
        (shown, *_) = next(value for value in shown.values() if isinstance(value, list))
    assert route.must(route.answers) <= set(shown), shown
    for name, inner in re.findall(r"(\w+)\[([^\]]*)\]", ", ".join(route.answers)):
        assert set(_fields(inner)) <= set(shown[name][0])


def test_the_table_is_the_contract() -> None:
    """Each route of the table leads to the RPC that it names, by the contract."""

    def name(rpc: MethodDescriptor) -> str:
        return f"{service_of(rpc.containing_service.full_name)}.{rpc.name}"

    def nameless(route: str) -> str:
        return re.sub(r"{\w+}", "{}", route)

    routed = {
        nameless(f"{one.verb} {one.template}"): name(one.rpc)
        for service in contracts.services(SERVICES)
        for one in contracts.bindings(service)
    }
    assert {nameless(route.name): route.rpc for route in ROUTES if route.rpc != "–"}.items() <= routed.items()


def test_the_table_is_the_seed() -> None:
    """39 routes, 32 of them with an RPC."""
    assert (39, 32) == (len(ROUTES), sum(route.rpc != "–" for route in ROUTES))
