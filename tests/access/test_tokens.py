"""What is no token of ours opens no door: neither the gateway nor a service takes it; and what is one, always does."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from cryptography.fernet import Fernet
from joserfc import jwt
from joserfc.jwk import ECKey

from abacus.catalog.v1 import catalog_pb2
from abacus.checkout.v1 import checkout_pb2
from abacus.identity.v1 import identity_pb2
from abacus.loms.v1 import loms_pb2
from abacus.notifications.v1 import notifications_pb2
from deploy.native import keys, stack
from kit.testing import until
from tests.access.people import person, register
from tests.callers import calling, told
from tests.sizes import SIZES
from tests.stacks import database, running

# One RPC of each service that asks for a token; what a person is answered who has one.
ASKED = {
    "loms": ("ListOrders", lambda user: loms_pb2.ListOrdersRequest(user=user), "OK"),
    "checkout": ("ListCart", lambda user: checkout_pb2.ListCartRequest(user=user), "OK"),
    "catalog": (
        "UpsertProduct",
        lambda user: catalog_pb2.UpsertProductRequest(sku=1, name_ru="Счёты", name_en="Abacus"),
        "NOT_ALLOWED",
    ),
    "notifications": ("ListMessages", lambda user: notifications_pb2.ListMessagesRequest(user=user), "OK"),
    "identity": ("GetMe", lambda user: identity_pb2.GetMeRequest(), "OK"),
}
EACH = pytest.mark.parametrize("service", ASKED)


@dataclass(frozen=True)
class Forge:
    """Identity's own key, as nobody outside has it: what is wrong with a token is only what a test does to it."""

    key: ECKey
    header: dict[str, Any]
    claims: dict[str, Any]
    refresh_token: str

    def token(self, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token like identity's, but for what is given; None takes a claim away."""
        wanted = {name: value for name, value in {**self.claims, **claims}.items() if value is not None}
        return jwt.encode({**self.header, **(header or {})}, wanted, key or self.key)

    def unsigned(self, algorithm: str) -> str:
        """A token that names no algorithm, or takes the public key for a shared secret."""
        parts = [_base64(json.dumps(one).encode()) for one in ({**self.header, "alg": algorithm}, self.claims)]
        signature = b""
        if algorithm == "HS256":
            signature = hmac.digest(self.key.as_pem(private=False), ".".join(parts).encode(), hashlib.sha256)
        return ".".join([*parts, _base64(signature)])

    def refused(self) -> dict[str, str]:
        """By what is wrong with it, each token that must not do."""
        good = self.token()
        stranger = ECKey.generate_key("P-256")
        now = int(time.time())
        return {
            "alg none": self.unsigned("none"),
            "HS256 by the public key": self.unsigned("HS256"),
            "another's key": self.token(key=stranger),
            "another issuer": self.token(iss="abacus"),
            "no issuer": self.token(iss=None),
            "another audience": self.token(aud="loms"),
            "no audience": self.token(aud=None),
            "another type": self.token(header={"typ": "JWT"}),
            "a service's type": self.token(header={"typ": "svc+jwt"}),
            "expired": self.token(iat=now - 600, exp=now - 300),
            "expired a moment ago": self.token(iat=now - 300, exp=now - 1),
            "never expires": self.token(exp=None),
            "unknown kid": self.token(header={"kid": "none"}),
            "kid is a path": self.token(header={"kid": "../../../etc/passwd"}),
            "kid is a statement": self.token(header={"kid": "' OR 1=1; --"}),
            "kid is long": self.token(header={"kid": "x" * 2000}),
            "claims changed": ".".join([*good.split(".")[:1], _base64(b'{"sub":"1"}'), good.split(".")[2]]),
            "no signature": good.rpartition(".")[0] + ".",
            "cut": good[:-10],
            "refresh as access": self.refresh_token,
            "no token at all": "x",
        }


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _part(token: str, number: int) -> dict[str, Any]:
    part = token.split(".")[number]
    return dict(json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@pytest.fixture(scope="session")
async def forge(shop: stack.Shop) -> Forge:
    """A person's real token, and the key that signed it, out of identity's vault."""
    tokens = await register(shop)
    header, claims = _part(tokens.access_token, 0), _part(tokens.access_token, 1)
    async with database(shop, "identity") as conn:
        sealed = await conn.fetchval("SELECT sealed_private FROM signing_keys WHERE kid = $1", header["kid"])
    vault = Fernet((keys.folder(shop.home) / "identity-vault.key").read_text())
    return Forge(ECKey.import_key(vault.decrypt(sealed)), header, claims, tokens.refresh_token)


@EACH
async def test_a_service_refuses_what_is_no_token(shop: stack.Shop, forge: Forge, service: str) -> None:
    """Each of them UNAUTHENTICATED by a stable reason; the token that they were made of is good."""
    method, request, wanted = ASKED[service]
    user = int(forge.claims["sub"])
    told_of = {}
    for what, token in {**forge.refused(), "nothing wrong": forge.token()}.items():
        async with calling(service, shop.address(service), token=token) as callers:
            told_of[what], _ = await told(callers.call(method, request(user)))
    refused = dict.fromkeys(forge.refused(), "TOKEN_INVALID")
    expired = {"expired": "TOKEN_EXPIRED", "expired a moment ago": "TOKEN_EXPIRED"}
    assert {**refused, **expired, "nothing wrong": wanted} == told_of


async def test_the_gateway_refuses_what_is_no_token(shop: stack.Shop, forge: Forge) -> None:
    """Each of them 401 with a reason, before any service hears of it; the token that they were made of is good."""
    told_of = {}
    async with aiohttp.ClientSession() as http:
        for what, token in {**forge.refused(), "nothing wrong": forge.token()}.items():
            url = f"http://{shop.address('gateway')}/api/v1/users/me"
            async with http.get(url, headers={"authorization": f"Bearer {token}"}) as answer:
                body = await answer.json()
                reason = body["details"][0]["reason"] if "details" in body else ""
                told_of[what] = answer.status, reason.replace("TOKEN_EXPIRED", "TOKEN_INVALID")
    wanted = dict.fromkeys(forge.refused(), (401, "TOKEN_INVALID"))
    assert {**wanted, "nothing wrong": (200, "")} == told_of


async def test_services_tokens_are_for_one_service(shop: stack.Shop) -> None:
    """What checkout says to loms is nothing to catalog, and nobody else's key speaks for checkout."""
    right = keys.service_key(shop.home, "checkout").sign(["loms"], 60)
    forged = keys.service_key(shop.home, "notifications")
    forged.name = "checkout"
    order = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem(sku=999_999, count=1)])
    product = catalog_pb2.UpsertProductRequest(sku=1, name_ru="Счёты", name_en="Abacus")
    async with calling("loms", shop.address("loms"), token=right) as loms:
        assert "OK" == (await told(loms.call("CreateOrder", order)))[0]
    async with calling("catalog", shop.address("catalog"), token=right) as catalog:
        assert ("TOKEN_INVALID", None) == await told(catalog.call("UpsertProduct", product))
    async with calling("loms", shop.address("loms"), token=forged.sign(["loms"], 60)) as loms:
        assert ("TOKEN_INVALID", None) == await told(loms.call("CreateOrder", order))


async def test_keys_change_and_nobody_notices() -> None:
    """Signing keys change every few seconds under load, through both doors: no call with a fresh token fails."""
    settings = {"IDENTITY_KEY_LIFE_S": "9", "IDENTITY_KEY_AHEAD_S": "8", "GATEWAY_JWKS_CACHE_S": "6"}
    async with running("gateway", env=settings) as shop:
        ann = await person(shop, "ann")
        kids: set[str] = set()
        failures: list[object] = []
        calls = 0
        enough = asyncio.Event()
        tokens = await register(shop)

        async def refresh() -> None:
            nonlocal tokens
            async with calling("identity", shop.address("identity")) as identity:
                while not enough.is_set():
                    request = identity_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
                    tokens = (await identity.call("Refresh", request)).tokens
                    kids.add(_part(tokens.access_token, 0)["kid"])
                    await asyncio.sleep(0.02)

        async def through_the_gateway() -> None:
            nonlocal calls
            async with aiohttp.ClientSession() as http:
                while not enough.is_set():
                    headers = {"authorization": f"Bearer {tokens.access_token}"}
                    async with http.get(f"http://{shop.address('gateway')}/api/v1/users/me", headers=headers) as answer:
                        calls += 1
                        if answer.status != 200:
                            failures.append(await answer.text())

        async def directly() -> None:
            nonlocal calls
            while not enough.is_set():
                token = tokens.access_token
                async with calling("loms", shop.address("loms"), token=token) as loms:
                    heard, _ = await told(loms.call("ListOrders", loms_pb2.ListOrdersRequest(user=tokens.user_id)))
                calls += 1
                if heard != "OK":
                    failures.append(heard)

        async with asyncio.TaskGroup() as load:
            for lane in (refresh, through_the_gateway, through_the_gateway, directly, directly):
                load.create_task(lane())
            await until(lambda: _size(kids), True, of=lambda size: size > SIZES.key_changes, within_s=150)
            enough.set()
        assert [] == failures
        assert calls > 100
        # An older token, by a key that signs no more, is good until it expires.
        async with calling("loms", shop.address("loms"), token=ann.token) as loms:
            await loms.call("ListOrders", loms_pb2.ListOrdersRequest(user=ann.user))


async def _size(kids: set[str]) -> int:
    return len(kids)


async def test_one_of_fifty_refreshes_wins(shop: stack.Shop) -> None:
    """Fifty at once with one token: one success, the others 401, and the winner's session lives on."""
    tokens = await register(shop)
    request = identity_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
    async with calling("identity", shop.address("identity")) as identity:
        heard = await asyncio.gather(*(told(identity.call("Refresh", request)) for _ in range(50)))
        assert {"OK": 1, "REFRESH_TOKEN_INVALID": 49} == {
            reason: sum(reason == one for one, _ in heard) for reason in {one for one, _ in heard}
        }
        (won,) = [answer for reason, answer in heard if reason == "OK"]
        again = identity_pb2.RefreshRequest(refresh_token=won.tokens.refresh_token)
        assert "OK" == (await told(identity.call("Refresh", again)))[0]


async def test_a_disabled_person_is_out(shop: stack.Shop) -> None:
    """No refresh, no login, and identity itself refuses the access token that is still good elsewhere."""
    tokens = await register(shop)
    async with (
        calling("identity", shop.address("identity")) as identity,
        calling("identity", shop.address("identity"), token=tokens.access_token) as mine,
    ):
        assert "OK" == (await told(mine.call("GetMe", identity_pb2.GetMeRequest())))[0]
        await identity.call("DisableUser", identity_pb2.DisableUserRequest(user_id=tokens.user_id, reason="test"))
        request = identity_pb2.RefreshRequest(refresh_token=tokens.refresh_token)
        assert "REFRESH_TOKEN_INVALID" == (await told(identity.call("Refresh", request)))[0]
        assert "SESSION_ENDED" == (await told(mine.call("GetMe", identity_pb2.GetMeRequest())))[0]


async def test_an_administrator_sees_others_orders(shop: stack.Shop) -> None:
    """A customer does not."""
    admin = await person(shop, "admin", admin=True)
    other = await person(shop, "other")
    request = loms_pb2.ListOrdersRequest(user=other.user)
    async with calling("loms", shop.address("loms"), token=admin.token) as loms:
        assert "OK" == (await told(loms.call("ListOrders", request)))[0]
    async with calling("loms", shop.address("loms"), token=other.token) as loms:
        assert "OK" == (await told(loms.call("ListOrders", request)))[0]
        request = loms_pb2.ListOrdersRequest(user=admin.user)
        assert "NOT_YOURSELF" == (await told(loms.call("ListOrders", request)))[0]
