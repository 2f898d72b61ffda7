"""REST: bytes that are no text, what is not even HTTP or does not come, and how errors of services are told."""

import asyncio
import json
import re
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from kit import errors
from kit.testing import refused

LOGIN = "/api/v1/auth/login/email"
JSON = {"content-type": "application/json"}
INVALID = 3  # google.rpc.Code


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"password": "secret\xff\xfe"}', "the body is not UTF-8"),
        (b'{"password": "secret\xc3"}', "the body is not UTF-8"),
        (b'{"\xc0\xaf": "secret"}', "the body is not UTF-8"),
        (b'{"password": "secret\\ud800"}', "password: a string has half of a character"),
        (b'{"password": "secret\\ud83e\\u0041"}', "password: a string has half of a character"),
        (b'{"password": "secret\\uDDEE"}', "password: a string has half of a character"),
        (b'{"password":"\\q"}', "password: a string has an unknown escape"),
        (b'{"password":"\\u00e"}', "password: a string has an unknown escape"),
        (b"null", "the body must be a JSON object"),
        (b"  ", "the body must be a JSON object"),
        (b"[]", "the body must be a JSON object"),
    ],
)
async def test_bad_encoding(gateway, shop, body: bytes, message: str) -> None:
    """What is no Unicode or no object is refused plainly, and the part of the body around it does not come back."""
    answer = await gateway.call("POST", LOGIN, data=body, headers=JSON)
    answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert message == answer.body["message"]
    assert b"ecret" not in answer.raw
    assert not shop.seen


@given(st.binary(min_size=1, max_size=4), st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters='"\\'))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_utf8(gateway, shop, some: bytes, character: str) -> None:
    """Any character arrives, as itself and as an escape; any bytes that are no UTF-8 are told so."""
    for text in (character, json.dumps(character)[1:-1]):
        body = f'{{"password": "{text}"}}'.encode()
        assert 200 == (await gateway.call("POST", LOGIN, data=body, headers=JSON)).status
        assert character == shop.request.password
    answer = await gateway.call("POST", LOGIN, data=b'{"password": "' + some + b'"}', headers=JSON)
    try:
        some.decode()
    except UnicodeDecodeError:
        assert "the body is not UTF-8" == answer.body["message"]
    else:
        assert "the body is not UTF-8" != answer.body.get("message")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/v1/users?query=%zz", "query: the value has a % without two hexadecimal digits after it"),
        ("/api/v1/users?page_size=1&query=a%2", "query: the value has a % without two hexadecimal digits after it"),
        ("/api/v1/users?query=a%FF", "query: the value is not UTF-8"),
        ("/api/v1/users?query=%ED%A0%80", "query: the value is not UTF-8"),
        ("/api/v1/users/%zz", "the path has a % without two hexadecimal digits after it"),
        ("/api/v1/users/%c3%28", "the path is not UTF-8"),
    ],
)
async def test_bad_escapes(gateway, shop, issuer, path: str, message: str) -> None:
    """Escapes of the path and the query that are none, or no Unicode, are told plainly and reach no service."""
    answer = await gateway.call("GET", path, token=issuer.person())
    answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert message == answer.body["message"]
    assert not shop.seen


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /api/v1/%00 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
)
async def test_bad_http(gateway, sent: bytes, status: int) -> None:
    """What is not even HTTP, or has too much of it, gets an answer of the same form."""
    host, _, port = gateway.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    head, body = (await reader.read()).split(b"\r\n\r\n", 1)
    writer.close()
    assert f"HTTP/1.1 {status} ".encode() in head
    assert b"application/json" in head
    assert INVALID == json.loads(body)["code"]


@pytest.mark.parametrize("name", ["request_timeout", "stream_idle_timeout"])
async def test_body_that_does_not_come(open_gateway, shop, name: str) -> None:
    """Who says more than comes is told, after a time, that it did not come: it was not our time that passed."""

    def shortened(configuration: str) -> str:
        found = re.search(f'"{name}": "([0-9]+)s"', configuration)
        assert found
        return configuration.replace(found[0], f'"{name}": "0.5s"')

    async with open_gateway(change=shortened) as gateway:
        host, _, port = gateway.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {LOGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n"
        writer.write(head.encode() + b"{")
        async with asyncio.timeout(5):
            said, body = (await reader.read()).split(b"\r\n\r\n", 1)
        writer.close()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert "REQUEST_TIMEOUT" == json.loads(body)["details"][0]["reason"]
    assert not shop.seen


async def test_error_of_a_service(gateway, shop) -> None:
    """A service's refusal keeps its code, its reason and all details."""

    def refuse(request: Any) -> None:
        raise errors.Reason(8, "TOO_MANY_TRIES", "a test says so")(
            "wait\nlong", field="email", retry_after_s=60, left="0"
        )

    shop.answers["LoginByEmail"] = refuse
    answer = await gateway.call("POST", LOGIN, json={})
    details = answer.is_error(429, 8, "TOO_MANY_TRIES")
    assert "wait\nlong" == answer.body["message"]
    assert {"left": "0"} == details["ErrorInfo"]["metadata"]
    assert "email" == details["BadRequest"]["fieldViolations"][0]["field"]
    assert ("60", "60s") == (answer.headers["retry-after"], details["RetryInfo"]["retryDelay"])
    assert not [name for name in answer.headers if name.startswith("grpc-")]


@pytest.mark.parametrize(("reason", "status"), [(errors.OVERLOADED, 429), (errors.DATABASE_UNAVAILABLE, 503)])
async def test_retry_after_is_whole_seconds(gateway, shop, reason: errors.Reason, status: int) -> None:
    """Who is told to wait for a part of a second waits for all of it; what a message says of waiting does not count."""

    def refuse(request: Any) -> None:
        raise reason('"retryDelay":"77s"', retry_after_s=1.2)

    shop.answers["LoginByEmail"] = refuse
    answer = await gateway.call("POST", LOGIN, json={})
    answer.is_error(status, reason.code, reason.name)
    assert "2" == answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("fields", "message", "told_fields", "told_message"),
    [
        (["first_name"], "first_name: too long", ["firstName"], "firstName: too long"),
        (["items[1].sale_price"], "items[1].sale_price is odd", ["items[1].salePrice"], "items[1].salePrice is odd"),
        (["new_password", "a_1"], "a_1 and b_c", ["newPassword", "a1"], "a1 and b_c"),
        (["sku"], "b_c: no", ["sku"], "b_c: no"),
        (["b_c"], '"field":"b_c","description":"', ["bC"], '"field":"b_c","description":"'),
    ],
)
async def test_fields_have_the_names_of_json(
    gateway, shop, fields: list[str], message: str, told_fields: list[str], told_message: str
) -> None:
    """JSON callers are told of a field by the name that they send; gRPC callers by that of the contract."""

    def refuse(request: Any) -> None:
        raise errors.Error(INVALID, "INVALID_FIELD", message, fields=[(field, message) for field in fields])

    shop.answers["LoginByEmail"] = refuse
    answer = await gateway.call("POST", LOGIN, json={})
    violations = answer.is_error(400, INVALID, "INVALID_FIELD")["BadRequest"]["fieldViolations"]
    assert told_fields == [violation["field"] for violation in violations]
    assert {told_message} == {answer.body["message"], violations[-1]["description"]}
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as told:
        await identity_pb2_grpc.IdentityServiceStub(gateway.channel).LoginByEmail(identity_pb2.LoginByEmailRequest())
    assert (message, [(field, message) for field in fields]) == (told.message, told.fields)


async def test_error_without_a_reason(gateway, shop) -> None:
    """What fails in a service without a reason of ours keeps its text to itself."""

    def fail(request: Any) -> None:
        raise ValueError("SELECT secret FROM users")

    shop.answers["LoginByEmail"] = fail
    answer = await gateway.call("POST", LOGIN, json={})
    answer.is_error(500, 2, "INTERNAL")
    assert b"secret" not in answer.raw
