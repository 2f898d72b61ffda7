"""Tokens at the door: who comes in, who does not and why, and keys that change."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from joserfc.jwk import ECKey

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from kit.testing import refused, until
from kit.tokens import ServiceKey

ME = "/api/v1/users/me"
UNAUTHENTICATED = 16


def _part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _alg(issuer, alg: str) -> str:
    """A token whose header names another algorithm: `none` without a signature, HS256 with the public key as secret."""
    _, claims, _ = issuer.person().split(".")
    body = f"{_part({'alg': alg, 'typ': 'at+jwt', 'kid': 'first'})}.{claims}"
    secret = issuer.published[0].as_pem(private=False)
    signature = b"" if alg == "none" else hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{_part(signature)}"


def _stranger(issuer, kid: str = "first") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256", "use": "sig"})


def _tampered(issuer) -> str:
    head, claims, signature = issuer.person().split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"roles": ["admin"]}
    return f"{head}.{_part(changed)}.{signature}"


BAD: dict[str, tuple[Callable[[Any], str], str]] = {
    "missing": (lambda issuer: "", "TOKEN_MISSING"),
    "expired": (lambda issuer: issuer.person(exp=int(time.time()) - 60), "TOKEN_EXPIRED"),
    "service's, expired": (lambda issuer: issuer.service(exp=int(time.time()) - 60), "TOKEN_EXPIRED"),
    "alg none": (lambda issuer: _alg(issuer, "none"), "TOKEN_INVALID"),
    "HS256 with the public key": (lambda issuer: _alg(issuer, "HS256"), "TOKEN_INVALID"),
    "other audience": (lambda issuer: issuer.person(aud="loms"), "TOKEN_INVALID"),
    "other issuer": (lambda issuer: issuer.person(iss="somebody"), "TOKEN_INVALID"),
    "issuer local, key of identity": (lambda issuer: issuer.person(iss="local", aud="loms"), "TOKEN_INVALID"),
    "type JWT": (lambda issuer: issuer.person(header={"typ": "JWT"}), "TOKEN_INVALID"),
    "type of a service's": (lambda issuer: issuer.person(header={"typ": "svc+jwt"}), "TOKEN_INVALID"),
    "no type": (lambda issuer: issuer.person(header={"typ": ""}), "TOKEN_INVALID"),
    "unknown kid": (lambda issuer: issuer.person(header={"kid": "none"}), "TOKEN_INVALID"),
    "stranger's key of this kid": (lambda issuer: issuer.person(_stranger(issuer)), "TOKEN_INVALID"),
    "changed": (_tampered, "TOKEN_INVALID"),
    "good for too long": (lambda issuer: issuer.person(exp=int(time.time()) + 3600), "TOKEN_INVALID"),
    "without an end": (lambda issuer: issuer.person(exp=None), "TOKEN_INVALID"),
    "refresh token": (lambda issuer: "bm90LWEtand0LWJ1dC1yYW5kb20", "TOKEN_INVALID"),
    "other service": (lambda issuer: issuer.service(iss="checkout", sub="checkout"), "TOKEN_INVALID"),
    "local, for nobody here": (lambda issuer: issuer.service(aud="somebody"), "TOKEN_INVALID"),
    "local, type of a person's": (lambda issuer: issuer.service(header={"typ": "at+jwt"}), "TOKEN_INVALID"),
}


@pytest.mark.parametrize("name", BAD)
async def test_refused(gateway, shop, issuer, name: str) -> None:
    """A token that is not one is refused by REST, gRPC and gRPC-Web with the same reason; the service sees nothing."""
    make, reason = BAD[name]
    token = make(issuer)
    answer = await gateway.call("GET", ME, token=token)
    answer.is_error(401, UNAUTHENTICATED, reason)
    assert "Bearer" == answer.headers["www-authenticate"]
    stub = identity_pb2_grpc.IdentityServiceStub(gateway.channel)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with refused(grpc.StatusCode.UNAUTHENTICATED, reason):
        await stub.GetMe(identity_pb2.GetMeRequest(), metadata=metadata)
    answer = await gateway.web("abacus.identity.v1.IdentityService/GetMe", identity_pb2.GetMeRequest(), token=token)
    assert (200, str(UNAUTHENTICATED)) == (answer.status, answer.headers["grpc-status"])
    assert not shop.seen


async def test_let_in(gateway, shop, issuer) -> None:
    """People's tokens and the developer's own pass, and reach the service, which checks them again."""
    local = ServiceKey("local", issuer.local.as_pem(private=True).decode())
    assert [local.public().as_dict()] == issuer.service_keys["local"]["keys"]
    for token in (
        issuer.person(),
        issuer.person(header={"typ": "at+jwt"}, roles=["customer", "admin"]),
        issuer.service(aud="identity"),
        local.sign(["loms", "identity"], 12 * 3600),
    ):
        assert 200 == (await gateway.call("GET", ME, token=token)).status
        assert f"Bearer {token}" == shop.metadata["authorization"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER"])
async def test_scheme_has_any_case(gateway, shop, issuer, scheme: str) -> None:
    """`bearer` is `Bearer`, as HTTP says; a token that is not one is refused as ever."""
    for token, status in ((issuer.person(), 200), (issuer.person(_stranger(issuer)), 401)):
        answer = await gateway.call("GET", ME, headers={"authorization": f"{scheme} {token}"})
        assert status == answer.status
    assert 1 == len(shop.seen)


async def test_public_looks_at_no_token(gateway, shop, issuer) -> None:
    """What is for everybody is so with a bad token, too."""
    for token in ("", "nonsense", issuer.person(exp=1)):
        assert 200 == (await gateway.call("POST", "/api/v1/auth/logout", json={}, token=token)).status


async def test_token_in_the_query(gateway, shop, issuer) -> None:
    """A token in the URL, where logs would keep it, is not taken, and not repeated."""
    answer = await gateway.call("GET", f"{ME}?access_token={issuer.person()}")
    answer.is_error(401, UNAUTHENTICATED, "TOKEN_MISSING")
    assert "eyJ" not in str(answer.headers)


async def test_new_key(gateway, shop, issuer) -> None:
    """A key that identity publishes is known after the cache's time; old keys count until they are withdrawn."""
    old, new = issuer.published[0], _stranger(issuer, "second")

    async def statuses() -> tuple[int, int]:
        """Of tokens that nobody has seen before."""
        by_old, by_new = (issuer.person(key, jti=str(uuid.uuid4())) for key in (old, new))
        return (
            (await gateway.call("GET", ME, token=by_old)).status,
            (await gateway.call("GET", ME, token=by_new)).status,
        )

    assert (200, 401) == await statuses()
    issuer.published.append(new)
    await until(statuses, (200, 200), within_s=7)
    issuer.published.remove(old)
    await until(statuses, (401, 200), within_s=7)
    issuer.published[:] = [old]
    await until(statuses, (200, 401), within_s=7)


async def test_keys_outlive_identity(gateway, shop, issuer) -> None:
    """While identity does not answer, the keys that it gave last still count, longer than the cache's time.

    A token that has passed does not pass when its time is over.
    """
    before, leeway_s = issuer.fetched, 5
    short = issuer.person(exp=int(time.time()) - leeway_s + 3)
    assert 200 == (await gateway.call("GET", ME, token=short)).status
    issuer.broken = True
    try:

        async def tries() -> bool:
            return issuer.fetched > before + 7  # one a second, of a cache of six

        await until(tries, True)
        assert 200 == (await gateway.call("GET", ME, token=issuer.person(jti="new"))).status
        (await gateway.call("GET", ME, token=short)).is_error(401, UNAUTHENTICATED, "TOKEN_EXPIRED")
    finally:
        issuer.broken = False


async def test_no_keys_at_all(open_gateway, issuer, shop) -> None:
    """Where identity has never been reached, nobody is called a liar: the door says to come again."""
    issuer.broken = True
    try:
        async with open_gateway() as gateway:
            details = (await gateway.call("GET", ME, token=issuer.person())).is_error(503, 14, "PEER_UNAVAILABLE")
            assert "1s" == details["RetryInfo"]["retryDelay"]
            assert 200 == (await gateway.call("GET", ME, token=issuer.service())).status
    finally:
        issuer.broken = False
