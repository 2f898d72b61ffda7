"""REST: what the contracts' routes take and answer, and how bad input is told."""

import io
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from abacus.access.v1 import access_pb2
from abacus.identity.v1 import identity_pb2
from deploy import contracts
from deploy.gateway import config
from deploy.gateway.settings import Settings
from deploy.native.stack import free_ports
from kit import errors
from kit.calls import NoPolicyError

LOGIN = "/api/v1/auth/login/email"
JSON = {"content-type": "application/json"}
CHANGES = (b"", b'"', b"{", b"]", b",", b"\\", b":", b" ", b"\x80", b"1", b"'", b"null", b"/**/", b"#")
INVALID, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12  # google.rpc.Code


async def test_answer_is_the_field_that_the_contract_names(gateway, shop) -> None:
    """response_body: the field itself is the body; int64 are strings, zeros are printed, names are in camelCase."""
    shop.answers["LoginByEmail"] = lambda request: identity_pb2.LoginByEmailResponse(
        tokens=identity_pb2.Tokens(access_token='a"}', expires_in=300, user_id=17)
    )
    answer = await gateway.call("POST", LOGIN, json={"email": "a@example.com", "password": "p"})
    assert 200 == answer.status
    assert {
        "content-type", "content-length", "date", "x-request-id", "vary", "cache-control", "x-content-type-options"
    } == set(answer.headers)  # fmt: skip
    assert "no-store" == answer.headers["cache-control"]
    assert {
        "accessToken": 'a"}', "tokenType": "", "expiresIn": 300, "refreshToken": "", "refreshExpiresIn": 0,
        "userId": "17", "sessionId": "",
    } == answer.body  # fmt: skip
    assert ("a@example.com", "p") == (shop.request.email, shop.request.password)


async def test_path_and_query(gateway, shop, issuer) -> None:
    """Variables of the path and parameters of the query reach the request, enums by name; lists and enums come back."""
    user = identity_pb2.User(id=5, roles=[identity_pb2.ROLE_ADMIN])
    shop.answers["ListUsers"] = lambda request: identity_pb2.ListUsersResponse(users=[user])
    answer = await gateway.call(
        "GET", "/api/v1/users?query=a%20b&role=ROLE_ADMIN&page_size=7&pageToken=x", token=issuer.person()
    )
    assert "ROLE_ADMIN" == answer.body["users"][0]["roles"][0]
    assert identity_pb2.ListUsersRequest(query="a b", role=2, page_size=7, page_token="x") == shop.request
    await gateway.call("DELETE", "/api/v1/users/me/sessions/a%2Fb", token=issuer.person())
    assert identity_pb2.EndSessionRequest(session_id="a/b") == shop.request


@pytest.mark.parametrize(
    "text", ["", '"', "\\", "\\\"{[:,]}'", "Счёты 算盤 🧮", "\x01\n\t", "x" * 1000, "%00%MESSAGE%", "null"]
)
async def test_any_text_arrives(gateway, shop, issuer, text: str) -> None:
    """A string is what it was, whatever stands in it."""
    for body in (json.dumps({"firstName": text}), json.dumps({"first_name": text}, ensure_ascii=False, indent=2)):
        answer = await gateway.call(
            "PATCH", "/api/v1/users/me", data=body.encode(), headers=JSON, token=issuer.person()
        )
        assert 200 == answer.status, answer.raw
        assert text == shop.request.first_name


async def test_every_route_leads_to_its_rpc(gateway, shop, issuer) -> None:
    """Each REST binding of the contracts, called with nothing but its path, reaches the RPC that has it."""
    for service in contracts.services(["loms", "checkout", "catalog", "notifications", "identity"]):
        for binding in contracts.bindings(service):
            path = re.sub("{[^}]+}", "17", binding.template)
            body = {"json": {}} if binding.body else {}
            answer = await gateway.call(binding.verb, path, token=issuer.person(), **body)
            assert 200 == answer.status, answer.raw
            assert binding.rpc.name == shop.seen[-1][0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"email": "a", "pass": "secret"}', "pass"),
        ('{"email": {"secret": 1}}', "email"),
        ('{"email": ["secret"]}', "email"),
        ('{"password": 1234567890}', "password"),
        ('{"password": true}', "password"),
        ('{"email": "a", "password": "secret" x}', "password"),
        ('{"email": "a" "password": "secret"}', "email"),
        ('{"password": "secret', "password"),
        ('{"password": "sec\nret"}', "password"),
        ('{"password": secret}', "password"),
        ('{password: "secret"}', ""),
        ("{'password': 'secret'}", ""),
        ('{"password": "secret",}', ""),
        ('{"password": "secret"} {}', ""),
        ('"secret"', ""),
        ("secret", ""),
        ("[]", ""),
        ("{", ""),
        ("\x00", ""),
        ('{"em\\u0061il": "a"}', "emu0061il"),
        ('{"MESSAGE": "secret"}', "MESSAGE"),
        ('{"FIELD%1": "secret"}', "FIELD1"),
    ],
)
async def test_bad_body(gateway, shop, body: str, field: str) -> None:
    """Unknown fields, wrong types and what is not JSON are refused, the field is named, and no value comes back."""
    answer = await gateway.call("POST", LOGIN, data=body.encode(), headers=JSON)
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert field == details["BadRequest"]["fieldViolations"][0]["field"]
    assert _is_said_of(field, answer.body["message"])
    assert b"ecret" not in answer.raw
    assert b"1234567890" not in answer.raw
    assert not shop.seen


@pytest.mark.parametrize(
    ("verb", "path", "body", "named"),
    [
        ("POST", "/api/v1/users/17/roles", '{"roles": "ROLE_ADMIN"}', "roles"),
        ("POST", "/api/v1/users/17/roles", '{"roles": [[1]]}', "roles[0]"),
        ("POST", "/api/v1/users/17/roles", '{"roles": ["ROLE_ADMIN", {}]}', "roles[1]"),
        ("POST", "/api/v1/users/17/roles", '{"roles": ["ROLE_ADMIN", "secret"]}', "roles[1]"),
        ("POST", "/api/v1/users/17/roles", '{"userId": "18"}', "userId"),
        ("POST", "/api/v1/users/17/roles", '{"user_id": "17"}', "user_id"),
        ("POST", "/api/v1/users/17/roles?roles=ROLE_ADMIN", "{}", "roles"),
        ("POST", "/api/v1/users/17/roles?user_id=18", "{}", "user_id"),
        ("POST", "/api/v1/users/secret/disable", "{}", "userId"),
        ("PATCH", "/api/v1/users/me", '{"id": "99999999999999999999"}', "id"),
        ("PATCH", "/api/v1/users/me", '{"id": "secret"}', "id"),
        ("PATCH", "/api/v1/users/me", '{"id": "se\\\\\\"cret: x"}', "id"),
        ("PATCH", "/api/v1/users/me", '{"id": 01}', "id"),
        ("PATCH", "/api/v1/users/me", '{"id": 1.5}', "id"),
        ("GET", "/api/v1/users?page_size=secret", "", "pageSize"),
        ("GET", "/api/v1/users?pageSize=secret%22%0A", "", "pageSize"),
        ("GET", "/api/v1/users?role=secret", "", "role"),
        ("GET", "/api/v1/users?disabled=secret", "", "disabled"),
        ("GET", "/api/v1/users?unknown=1", "", "unknown"),
        ("GET", "/api/v1/users?page_size.x=1", "", "page_size.x"),
        ("GET", "/api/v1/users/17?user_id=18", "", "user_id"),
        ("GET", "/api/v1/users/secret", "", "userId"),
        ("GET", "/api/v1/users", '{"nonsense": "secret"}', ""),
        ("GET", "/api/v1/users", '{"query": "secret"}', ""),
        ("GET", "/api/v1/users", "secret", ""),
        ("DELETE", "/api/v1/users/me/sessions/abc", '{"sessionId": "secret"}', ""),
        ("GET", "/api/v1/users/99999999999999999999", "", "userId"),
    ],
)
async def test_bad_field(gateway, shop, issuer, verb: str, path: str, body: str, named: str) -> None:
    """Wrong values, and what the RPC does not take, are refused by name wherever they stand; no value comes back."""
    answer = await gateway.call(verb, path, data=body or None, headers=JSON if body else {}, token=issuer.person())
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert named == details["BadRequest"]["fieldViolations"][0]["field"]
    assert _is_said_of(named, answer.body["message"])
    assert not re.search("secret|999|1.5|ret: x", answer.raw.decode())
    assert not shop.seen


async def test_word_before_variable(gateway, shop, issuer) -> None:
    """/orders/me is a route of its own, not the order whose id is `me`."""
    for path, rpc in (("/api/v1/orders/me", "ListMyOrders"), ("/api/v1/orders/17", "GetOrder")):
        assert 200 == (await gateway.call("GET", path, token=issuer.person())).status
        assert rpc == shop.seen[-1][0]


async def test_picture(gateway, shop) -> None:
    """An answer that is no JSON passes as it is, with its own media type; its errors are JSON as all are."""
    picture = '<svg xmlns="http://www.w3.org/2000/svg">ё</svg>'.encode()
    shop.answers["GetProductPicture"] = lambda request: httpbody_pb2.HttpBody(
        content_type="image/svg+xml", data=picture
    )
    answer = await gateway.call("GET", "/api/v1/products/17/picture")
    assert (200, "image/svg+xml", picture) == (answer.status, answer.headers["content-type"], answer.raw)
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]

    def refuse(request: Any) -> None:
        raise errors.Reason(NOT_FOUND, "PRODUCT_NOT_FOUND", "a test says so")("there is no product 17")

    shop.answers["GetProductPicture"] = refuse
    (await gateway.call("GET", "/api/v1/products/17/picture")).is_error(404, NOT_FOUND, "PRODUCT_NOT_FOUND")
    answer = await gateway.call("GET", "/api/v1/products/x/picture")
    answer.is_error(400, INVALID, "MALFORMED_REQUEST")


async def test_personal_answers_are_not_kept(gateway, shop, issuer) -> None:
    """No cache keeps what belongs to one person; what is the same for everybody may be kept."""
    for path, kept in (
        ("/api/v1/orders/me", False),
        ("/api/v1/cart", False),
        ("/api/v1/users/me", False),
        ("/api/v1/products", True),
        ("/api/v1/products/17/picture", True),
    ):
        answer = await gateway.call("GET", path, token=issuer.person())
        assert kept == (answer.headers.get("cache-control") != "no-store"), path
    assert "no-store" == (await gateway.call("POST", LOGIN, json={})).headers["cache-control"]


NOT_YET = [
    ("POST", "/api/v1/orders/17/pay"),
    ("POST", "/api/v1/orders/17/payment-status"),
    ("POST", "/api/v1/payments"),
    ("GET", "/api/v1/payments/5"),
    ("POST", "/api/v1/payments/5/notify"),
    ("POST", "/api/v1/refunds"),
    ("GET", "/api/v1/refunds/a-b"),
]


@pytest.mark.parametrize(("verb", "path"), NOT_YET)
async def test_not_yet(gateway, shop, verb: str, path: str) -> None:
    """A route of the seeds that is not made yet says so, to everybody; its other methods are refused as ever."""
    for body in ({}, {"json": {"amount": 1}}):
        (await gateway.call(verb, path, **body)).is_error(501, UNIMPLEMENTED, "NOT_IMPLEMENTED")
    answer = await gateway.call("DELETE", path)
    answer.is_error(405, UNIMPLEMENTED, "METHOD_NOT_ALLOWED")
    assert verb == answer.headers["allow"]
    assert not shop.seen


def _is_said_of(field: str, message: str) -> bool:
    """A sentence after the field's name; without one a sentence alone."""
    return re.fullmatch((re.escape(field) + ": " if field else "") + "[a-z][^:]+", message) is not None


async def test_no_body(gateway, shop, issuer) -> None:
    """A call that takes no body may say that it has none, in either way, and in what form it would be."""

    async def chunks() -> AsyncIterator[bytes]:
        for none in ():
            yield none

    path, token = "/api/v1/users/me/sessions/abc", issuer.person()
    for headers in ({}, JSON, {"content-length": "0"}):
        assert 200 == (await gateway.call("DELETE", path, headers=headers, token=token)).status
    assert 200 == (await gateway.call("DELETE", path, headers=JSON, token=token, data=chunks())).status
    assert [identity_pb2.EndSessionRequest(session_id="abc")] * 4 == [request for _, request, _ in shop.seen]


@pytest.mark.parametrize(
    ("verb", "path", "body"), [("PATCH", "/api/v1/users/me", {}), ("GET", "/api/v1/users?role=1", None)]
)
async def test_failing_script_lets_nothing_pass(open_gateway, shop, issuer, verb: str, path: str, body: Any) -> None:
    """Where the check of requests itself fails, the request is refused as our own error."""

    def broken(configuration: str) -> str:
        for sound, bad in (
            ("local DEPTH_MAX = 32", "local DEPTH_MAX"),
            ("local kind = kinds[name]", "local kind = none[name]"),
        ):
            assert sound in configuration
            configuration = configuration.replace(sound, bad)
        return configuration

    async with open_gateway(change=broken) as gateway:
        answer = await gateway.call(verb, path, json=body, token=issuer.person())
        answer.is_error(500, 13, "INTERNAL")
    assert not shop.seen


async def test_mutated_bodies(gateway, shop, issuer) -> None:
    """Of bodies with anything changed, only JSON reaches a service; the rest is told so, and nothing fails."""
    chance = random.Random(4)
    sound = b'{"firstName": "Ann \\u00e9 Lee", "last_name": null, "language" : "en" }'
    seen = Counter[int]()
    for _ in range(400):
        body = bytearray(sound)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body))
            body[at : at + chance.randint(0, 2)] = chance.choice(CHANGES)
        answer = await gateway.call("PATCH", "/api/v1/users/me", data=bytes(body), headers=JSON, token=issuer.person())
        seen[answer.status] += 1
        if answer.status == 200:
            assert {"firstName", "last_name", "language"} >= set(json.loads(body)), body
        else:
            answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert 20 < seen[200] < 380


async def test_too_large(gateway, shop) -> None:
    """A body over 1 MiB is refused; one below it arrives."""
    for size, status in ((1024 * 1024, 413), (1024 * 1024 - 100, 200)):
        body = io.BytesIO(json.dumps({"email": "x" * size}).encode())
        answer = await gateway.call("POST", LOGIN, data=body, headers=JSON)
        assert status == answer.status, answer.raw
        if status == 413:
            answer.is_error(413, INVALID, "REQUEST_TOO_LARGE")
    assert 1 == len(shop.seen)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/api/v1/Users/me"),
        ("GET", "/api/v1/users/me/"),
        ("GET", "/api/v1/users/a/b"),
        ("POST", "/api/v1/auth/login/../x"),
        ("GET", "/grpc.health.v1.Health/Check"),
    ],
)
async def test_no_route(gateway, shop, verb: str, path: str) -> None:
    """A path that no RPC has is not found; paths are told apart by case; a token is not asked for."""
    (await gateway.call(verb, path)).is_error(404, NOT_FOUND, "ROUTE_NOT_FOUND")
    assert not shop.seen


async def test_wrong_method_and_media_type(gateway, shop) -> None:
    """A path's other methods are refused with those that it has; a body that does not say it is JSON, too."""
    for verb in ("DELETE", "TRACE"):
        answer = await gateway.call(verb, "/api/v1/users/me")
        answer.is_error(405, UNIMPLEMENTED, "METHOD_NOT_ALLOWED")
        assert "GET, PATCH" == answer.headers["allow"]
    # Words where another route has a number: that route's methods are not theirs.
    for verb, path, allow in (("GET", "/api/v1/notifications/send", "POST"), ("POST", "/api/v1/orders/me", "GET")):
        answer = await gateway.call(verb, path)
        answer.is_error(405, UNIMPLEMENTED, "METHOD_NOT_ALLOWED")
        assert allow == answer.headers["allow"]
    # A method of which Envoy's reader has never heard is no HTTP to it.
    (await gateway.call("QUERY", "/api/v1/users/me")).is_error(400, INVALID, "MALFORMED_REQUEST")
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        answer = await gateway.call("POST", LOGIN, data=b"{}", headers={"content-type": media_type})
        answer.is_error(415, INVALID, "MEDIA_TYPE_UNSUPPORTED")
    answer = await gateway.call("GET", "/api/v1/users/me", headers={"content-type": "application/grpc"})
    assert (200, str(INVALID)) == (answer.status, answer.headers["grpc-status"])
    rpc = "/abacus.identity.v1.IdentityService/LoginByEmail"
    (await gateway.call("POST", rpc, json={})).is_error(415, INVALID, "MEDIA_TYPE_UNSUPPORTED")
    assert not shop.seen
    answer = await gateway.call("POST", LOGIN, data=b"{}", headers={"content-type": "Application/JSON; charset=utf-8"})
    assert 200 == answer.status


def _new_service() -> ServiceDescriptor:
    """A contract that nobody has seen before, with a route in each form."""
    file = descriptor_pb2.FileDescriptorProto(
        name="abacus/parcels/v1/parcels.proto", package="abacus.parcels.v1", syntax="proto3",
        dependency=["google/api/annotations.proto", "abacus/access/v1/access.proto"],
    )  # fmt: skip
    text = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    one = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    for name in ("Request", "Response"):
        message = file.message_type.add(name=name)
        message.field.add(name="parcel_name", number=1, type=text, label=one)
        message.field.add(name="weight", number=2, type=descriptor_pb2.FieldDescriptorProto.TYPE_INT32, label=one)
        message.field.add(
            name="inside", number=3, type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
            type_name=f".{file.package}.{name}",
            label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
        )  # fmt: skip
    rpc = file.service.add(name="ParcelsService").method.add(
        name="GetParcel", input_type=".abacus.parcels.v1.Request", output_type=".abacus.parcels.v1.Response"
    )
    rpc.options.Extensions[access_pb2.access].public = True
    rule = rpc.options.Extensions[annotations_pb2.http]
    rule.get = "/api/v1/parcels/{parcel_name}"
    rule.additional_bindings.add(post="/api/v1/parcels:find", body="*")
    rule.additional_bindings.add(get="/api/v1/shelves/{parcel_name=of/*}")
    pool = descriptor_pool.DescriptorPool()

    def add(known: FileDescriptor) -> None:
        for needed in known.dependencies:
            add(needed)
        pool.AddSerializedFile(known.serialized_pb)

    add(annotations_pb2.DESCRIPTOR)
    add(access_pb2.DESCRIPTOR)
    return pool.AddSerializedFile(file.SerializeToString()).services_by_name["ParcelsService"]


async def test_new_rpc_appears_by_itself(open_gateway, shop) -> None:
    """A service added to the contracts is served by gRPC and by each of its routes, with nothing else written."""
    service = _new_service()
    backend = type(shop)(free_ports(("parcels",))["parcels"])
    await backend.start([service])
    async with open_gateway({"parcels": backend.port}, [service]) as gateway:
        assert 200 == (await gateway.call("GET", "/api/v1/parcels/box")).status
        assert "box" == backend.request.parcel_name
        assert 200 == (await gateway.call("GET", "/api/v1/shelves/of/wood")).status
        assert "of/wood" == backend.request.parcel_name
        assert 200 == (await gateway.call("POST", "/api/v1/parcels:find", json={"parcelName": "x"})).status
        assert "x" == backend.request.parcel_name
        for inside, field in (({"no": 1}, "inside[1].no"), ({"weight": "secret"}, "inside[1].weight")):
            answer = await gateway.call("POST", "/api/v1/parcels:find", json={"inside": [{}, inside]})
            details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
            assert field == details["BadRequest"]["fieldViolations"][0]["field"]
        answer = await gateway.web("abacus.parcels.v1.ParcelsService/GetParcel", backend.request)
        assert 200 == answer.status
        assert 4 == len(backend.seen)
    await backend.stop()


def test_rpc_without_a_policy_is_refused() -> None:
    """No configuration is made where an RPC does not say who may call it."""
    service = _new_service()
    bare = descriptor_pb2.FileDescriptorProto.FromString(service.file.serialized_pb)
    bare.service[0].method[0].options.ClearExtension(access_pb2.access)
    pool = descriptor_pool.DescriptorPool()
    for known in contracts.descriptor_set([service]).file:
        pool.AddSerializedFile((bare if known.name == bare.name else known).SerializeToString())
    addresses = dict.fromkeys(("listen", "admin", "jwks", "parcels"), "127.0.0.1:1")
    with pytest.raises(NoPolicyError, match="GetParcel"):
        config.make(addresses, [pool.FindServiceByName(service.full_name)], {}, Path("d"), Settings())
