"""The door itself: gRPC and gRPC-Web, pages of other origins, headers, deadlines, limits, health, settings."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from deploy import contracts
from deploy.gateway import command, config, docs, envoy
from deploy.gateway.settings import Settings
from deploy.native.parts import REPO, SERVICES
from deploy.native.stack import free_ports
from kit import errors
from kit.calls import access_of
from kit.testing import refused, until

LOGIN = "/api/v1/auth/login/email"
ORIGIN = "http://localhost:3000"
RPC = "abacus.loms.v1.LomsService/Stocks"


async def test_grpc(gateway, shop) -> None:
    """A call by gRPC reaches its service and comes back, an error with its details."""
    stub = loms_pb2_grpc.LomsServiceStub(gateway.channel)
    answer = loms_pb2.StocksResponse(stocks=[loms_pb2.Stock(warehouse_id=1, count=5)])
    shop.answers["Stocks"] = lambda request: answer
    assert answer == await stub.Stocks(loms_pb2.StocksRequest(sku=1001))
    assert loms_pb2.StocksRequest(sku=1001) == shop.request

    def refuse(request: Any) -> None:
        raise errors.INVALID_FIELD("sku: no", field="sku")

    shop.answers["Stocks"] = refuse
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="sku"):
        await stub.Stocks(loms_pb2.StocksRequest())


async def test_every_rpc(gateway, shop, issuer) -> None:
    """Each RPC of the contracts is reached by its name, those that are not public with a token only."""
    for service in contracts.services(SERVICES):
        for rpc in service.methods:
            call = gateway.channel.unary_unary(f"/{service.full_name}/{rpc.name}")
            await call(b"", metadata=(("authorization", f"Bearer {issuer.person()}"),))
            assert rpc.name == shop.seen[-1][0]
            if access_of(rpc).public:
                await call(b"")
            else:
                with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"):
                    await call(b"")


async def test_unknown_method(gateway, shop) -> None:
    """A method that no contract has is unimplemented, in gRPC's own words."""
    call = gateway.channel.unary_unary("/abacus.loms.v1.LomsService/Nothing")
    with refused(grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND"):
        await call(b"")


async def test_unknown_stream(gateway, shop) -> None:
    """A stream that no contract has, as that of reflection, is told so at once, while the caller may still send."""
    call = gateway.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
    async with asyncio.timeout(3):
        with refused(grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND"):
            await call.read()


async def test_grpc_too_large(gateway, shop) -> None:
    """A message over 1 MiB is refused; the largest that services take arrives."""
    stub = identity_pb2_grpc.IdentityServiceStub(gateway.channel)
    largest = identity_pb2.LogoutRequest(refresh_token="x" * (1024 * 1024 - 4))
    assert 1024 * 1024 == largest.ByteSize()
    await stub.Logout(largest)
    assert 1 == len(shop.seen)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        await stub.Logout(identity_pb2.LogoutRequest(refresh_token="x" * (1024 * 1024 + 4)))
    assert 1 == len(shop.seen)


async def test_grpc_web(gateway, shop) -> None:
    """gRPC-Web: the answer and then its trailers in one body; a refusal by headers alone."""
    shop.answers["Stocks"] = lambda request: loms_pb2.StocksResponse(stocks=[loms_pb2.Stock(count=5)])
    answer = await gateway.web(RPC, loms_pb2.StocksRequest(sku=1))
    assert (200, "application/grpc-web+proto") == (answer.status, answer.headers["content-type"])
    size = int.from_bytes(answer.raw[1:5], "big")
    assert 5 == loms_pb2.StocksResponse.FromString(answer.raw[5 : 5 + size]).stocks[0].count
    assert 0x80 == answer.raw[5 + size]
    assert b"grpc-status:0" in answer.raw[5 + size :]
    answer = await gateway.web("abacus.loms.v1.LomsService/Nothing", loms_pb2.StocksRequest())
    assert (200, "12") == (answer.status, answer.headers["grpc-status"])
    assert "grpc-status-details-bin" in answer.headers


async def test_preflight(gateway, shop) -> None:
    """A browser's question is answered without a token, for origins that are allowed; nothing is forwarded."""
    asks = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization"}
    for path in ("/api/v1/users/me", f"/{RPC}"):
        answer = await gateway.call("OPTIONS", path, headers={"origin": ORIGIN, **asks})
        assert (200, ORIGIN) == (answer.status, answer.headers["access-control-allow-origin"])
        assert "origin" == answer.headers["vary"]
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        assert {"authorization", "content-type", "idempotency-key", "x-grpc-web"} <= set(
            answer.headers["access-control-allow-headers"].split(", ")
        )
        assert 0 < int(answer.headers["access-control-max-age"])
    for origin in ("http://evil.example", "http://localhost.evil.example", "http://localhost:3000.evil.example"):
        answer = await gateway.call("OPTIONS", "/api/v1/users/me", headers={"origin": origin, **asks})
        assert "access-control-allow-origin" not in answer.headers
    assert not shop.seen


async def test_page_reads_answers(gateway, shop) -> None:
    """A page may read answers, refusals too, and the headers that tell it what to do."""
    for call in (
        gateway.call("POST", LOGIN, json={}, headers={"origin": ORIGIN}),
        gateway.call("GET", "/api/v1/users/me", headers={"origin": ORIGIN}),
        gateway.call("POST", LOGIN, json={"no": 1}, headers={"origin": ORIGIN}),
    ):
        answer = await call
        assert ORIGIN == answer.headers["access-control-allow-origin"]
        assert "origin" == answer.headers["vary"]
        assert {"x-request-id", "retry-after", "grpc-status-details-bin"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )
    answer = await gateway.call("GET", "/nothing", headers={"origin": ORIGIN})
    assert "*" == answer.headers["access-control-allow-origin"]


async def test_origins_are_a_setting(open_gateway, shop) -> None:
    """Only the pages that are named may call."""
    async with open_gateway(origins="https://shop.example, https://admin.example:*") as gateway:
        for origin, allowed in (
            ("https://shop.example", True),
            ("https://admin.example:8443", True),
            ("https://shop.example:8443", False),
            (ORIGIN, False),
        ):
            answer = await gateway.call("POST", LOGIN, json={}, headers={"origin": origin})
            assert allowed == (answer.headers.get("access-control-allow-origin") == origin)


async def test_request_id(gateway, shop) -> None:
    """A client's id is kept, where it is one; else there is a new one; the service and the client see the same."""
    good = ("order-1.2_3", "01890a5d-ac96-774b-bcce-b302099a8057", "x" * 64)
    for given in (*good, "x" * 65, "a b", 'a"b', None):
        answer = await gateway.call("POST", LOGIN, json={}, headers={"x-request-id": given} if given else {})
        made = answer.headers["x-request-id"]
        assert made == shop.metadata["x-request-id"]
        assert (given in good) == (made == given)
        assert given in good or len(made) == 36


async def test_headers_that_pass(gateway, shop) -> None:
    """What the services read comes through; what could deceive or steer them does not."""
    passed = {"idempotency-key": "k-1", "accept-language": "en", "user-agent": "shop/1"}
    lies = {
        "x-forwarded-for": "1.2.3.4", "x-real-ip": "1.2.3.4", "forwarded": "for=1.2.3.4", "x-forwarded-host": "evil",
        "x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-original-path": "/evil",
        "x-envoy-external-address": "1.2.3.4", "x-envoy-internal": "true",
    }  # fmt: skip
    answer = await gateway.call("POST", LOGIN, json={}, headers={**passed, **lies})
    assert 200 == answer.status
    assert passed == {name: shop.metadata[name] for name in passed}
    assert "127.0.0.1" == shop.metadata["x-forwarded-for"]
    assert not {name for name in shop.metadata if name in lies and name != "x-forwarded-for"}
    assert "1.2.3.4" not in str(shop.metadata)


@pytest.mark.parametrize("call", ["/health", "/health/live", "/nothing", "/api/v1/users/me"])
async def test_no_fingerprint(gateway, shop, call: str) -> None:
    """No answer says what program made it."""
    answer = await gateway.call("GET", call)
    assert not [name for name in answer.headers if name == "server" or "envoy" in name]


@pytest.mark.parametrize(
    ("timeout_s", "at_least", "at_most"), [(None, 5.0, 5.3), (1, 0.5, 1.1), (60, 5.0, 5.3), (4.5, 4, 4.6)]
)
async def test_deadline(gateway, shop, timeout_s: float | None, at_least: float, at_most: float) -> None:
    """A client's own deadline passes to the service, a longer one and none become the longest that a call may take."""
    await identity_pb2_grpc.IdentityServiceStub(gateway.channel).Logout(identity_pb2.LogoutRequest(), timeout=timeout_s)
    assert at_least < shop.time_left_s <= at_most
    if timeout_s is None:
        await gateway.call("POST", LOGIN, json={})
        assert at_least < shop.time_left_s <= at_most


@pytest.mark.parametrize("value", ["100000000S", "5S, 1H", "nonsense", "-1m", "99999999H", "5001m"])
async def test_deadline_that_is_none(gateway, shop, value: str) -> None:
    """A deadline header that is wrong or beyond the longest is replaced."""
    assert 200 == (await gateway.call("POST", LOGIN, json={}, headers={"grpc-timeout": value})).status
    assert 5.0 < shop.time_left_s <= 5.3


async def test_deadline_passes(gateway, shop) -> None:
    """A call whose deadline passes in the service ends with the reason, although gRPC itself ended it without one."""

    async def long(request: Any) -> identity_pb2.LoginByEmailResponse:
        await asyncio.sleep(5)
        raise AssertionError("was not cancelled")

    shop.answers["LoginByEmail"] = long
    answer = await gateway.call("POST", LOGIN, json={}, headers={"grpc-timeout": "50m"})
    answer.is_error(504, 4, "DEADLINE_EXCEEDED")


async def test_signin_limit(open_gateway, shop, issuer) -> None:
    """Identity's public RPCs have a limit for each address, all of them together; other calls do not count."""
    async with open_gateway(signin_per_s=1, signin_burst=3) as gateway:
        statuses = [
            (await gateway.call("POST", f"/api/v1/auth/{name}", json={})).status
            for name in ("login/email", "login/phone", "refresh")
        ]
        assert [200] * 3 == statuses
        answer = await gateway.call("POST", "/api/v1/auth/logout", json={})
        details = answer.is_error(429, 8, "TOO_MANY_REQUESTS")
        assert ("1", "1s") == (answer.headers["retry-after"], details["RetryInfo"]["retryDelay"])
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS") as told:
            await identity_pb2_grpc.IdentityServiceStub(gateway.channel).Refresh(identity_pb2.RefreshRequest())
        assert 1 == told.retry_after_s
        for _ in range(10):
            assert 200 == (await gateway.call("GET", "/api/v1/users/me", token=issuer.person())).status
            await loms_pb2_grpc.LomsServiceStub(gateway.channel).Stocks(loms_pb2.StocksRequest())

        async def again() -> int:
            return (await gateway.call("POST", LOGIN, json={})).status

        await until(again, 200, within_s=3)


async def test_signin_limit_is_of_each_address(open_gateway, shop) -> None:
    """One client's flood does not shut out another, and nobody becomes another by a header."""
    async with open_gateway(signin_per_s=1, signin_burst=2) as gateway:

        async def calls(source: str) -> list[int]:
            # curl can choose the address that it comes from; all of 127.0.0.0/8 is this machine.
            process = await asyncio.create_subprocess_exec(
                "curl", "--silent", "--interface", source, "--output", os.devnull, "--write-out", "%{http_code} ",
                "--json", "{}", "--header", "x-forwarded-for: 10.0.0.[1-3]", f"http://{gateway.address}{LOGIN}?[1-3]",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            return [int(word) for word in out.split()]

        # 400: a query is not allowed there; what counts is who came so far.
        assert [400, 400, 429] == await calls("127.0.0.2")
        assert [400, 400, 429] == await calls("127.0.0.3")


async def test_door_limit(open_gateway, shop) -> None:
    """All callers together have a limit, too."""
    async with open_gateway(calls_per_s=5) as gateway:
        answers = await asyncio.gather(*(gateway.call("GET", "/nothing") for _ in range(20)))
        assert {404, 429} == {answer.status for answer in answers}
        assert 5 <= sum(answer.status == 404 for answer in answers) <= 8


@pytest.mark.parametrize(
    ("name", "said"),
    [("listener_filters_timeout", b""), ("idle_timeout", b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")],
)
async def test_silent_connections_end(open_gateway, shop, name: str, said: bytes) -> None:
    """Who connects and says nothing, or nothing more, is put out after a time: others want the place."""

    def shortened(configuration: str) -> str:
        found = re.search(f'"{name}": "([0-9]+)s"', configuration)
        assert found
        assert int(found[1]) <= 30
        return configuration.replace(found[0], f'"{name}": "0.5s"')

    async with open_gateway(change=shortened) as gateway:
        host, _, port = gateway.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        async with asyncio.timeout(4):
            assert bool(said) == (b"SERVING" in await reader.read())
        writer.close()


@contextlib.asynccontextmanager
async def _hanging() -> AsyncIterator[int]:
    """A server that takes connections and never says a word."""
    port = free_ports(("hanging",))["hanging"]

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", port):
        yield port


@contextlib.asynccontextmanager
async def _away() -> AsyncIterator[int]:
    """A port that nobody listens on, and that nobody is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_service_away(open_gateway, shop, issuer) -> None:
    """A service that is down or hangs is told so, with when to come again; the others serve; health says it."""
    async with _hanging() as hanging, _away() as away, open_gateway({"loms": away, "catalog": hanging}) as gateway:
        answer = await gateway.call("GET", "/health")
        answer.is_error(503, 14, "PEER_UNAVAILABLE")
        assert 200 == (await gateway.call("GET", "/health/live")).status
        assert 200 == (await gateway.call("GET", "/api/v1/users/me", token=issuer.person())).status
        with refused(grpc.StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE") as told:
            await loms_pb2_grpc.LomsServiceStub(gateway.channel).Stocks(loms_pb2.StocksRequest())
        assert 1 == told.retry_after_s
        rpc = gateway.channel.unary_unary("/abacus.catalog.v1.CatalogService/GetProduct")
        with refused(grpc.StatusCode.UNAVAILABLE, "TIMEOUT"):
            await rpc(b"", timeout=20)
    async with _away() as away, open_gateway({"identity": away}) as gateway:
        answer = await gateway.call("POST", LOGIN, json={})
        details = answer.is_error(503, 14, "PEER_UNAVAILABLE")
        assert ("1", "1s") == (answer.headers["retry-after"], details["RetryInfo"]["retryDelay"])


async def test_service_comes_back(open_gateway, shop) -> None:
    """A service that is started after the gateway, and again after its end, is served without anybody's help."""
    backend = type(shop)(free_ports(("loms",))["loms"])
    async with open_gateway({"loms": backend.port}) as gateway:
        stub = loms_pb2_grpc.LomsServiceStub(gateway.channel)

        async def health() -> int:
            return (await gateway.call("GET", "/health")).status

        for _ in range(2):
            await until(health, 503, within_s=8)
            await backend.start(contracts.services(["loms"]))
            await stub.Stocks(loms_pb2.StocksRequest())
            await until(health, 200, within_s=4)
            await backend.stop()


async def test_health(gateway) -> None:
    """Where all services serve, it says so."""
    for path in ("/health", "/health/live"):
        answer = await gateway.call("GET", path)
        assert (200, {"status": "SERVING"}) == (answer.status, answer.body)


async def test_log_has_failures_only(open_gateway, shop, tmp_path: Path) -> None:
    """Of all calls, those that failed are in the log, whether by JSON, gRPC or gRPC-Web; not probes and refusals."""
    log = tmp_path / "log"
    stub = "abacus.loms.v1.LomsService/Stocks"

    def to_file(configuration: str) -> str:
        assert configuration.count("stream.v3.StdoutAccessLog") == 1
        configuration = configuration.replace("stream.v3.StdoutAccessLog", "file.v3.FileAccessLog")
        return configuration.replace('"log_format":', f'"path": "{log}", "log_format":')

    async with open_gateway(change=to_file) as gateway:
        by_grpc = gateway.channel.unary_unary(f"/{stub}")

        async def calls(status: int) -> None:
            assert status == (await gateway.call("POST", LOGIN, json={})).status
            assert 200 == (await gateway.web(stub, loms_pb2.StocksRequest())).status

        await calls(200)
        await by_grpc(b"")
        await until(lambda: _status(gateway, "/health"), 200)
        asks = {"origin": ORIGIN, "access-control-request-method": "POST"}
        assert 200 == (await gateway.call("OPTIONS", LOGIN, headers=asks)).status
        assert 404 == await _status(gateway, "/nothing")
        assert 401 == await _status(gateway, "/api/v1/users/me")
        with refused(grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND"):
            await gateway.channel.unary_unary("/abacus.loms.v1.LomsService/Nothing")(b"")

        def fail(request: Any) -> None:
            raise errors.INTERNAL("failed")

        shop.answers |= {"LoginByEmail": fail, "Stocks": fail}
        await calls(500)
        with refused(grpc.StatusCode.INTERNAL, "INTERNAL"):
            await by_grpc(b"")
    lines = [json.loads(line) for line in log.read_text().splitlines()]  # all there once Envoy has ended
    told = [(line["path"], line["code"]) for line in lines]
    told = [each for each in told if each != ("/health", 503)]  # asked before the gateway had seen all services
    login = "/abacus.identity.v1.IdentityService/LoginByEmail"
    assert [(login, 500), (f"/{stub}", 200), (f"/{stub}", 200)] == told


async def _status(gateway, path: str) -> int:
    return int((await gateway.call("GET", path)).status)


async def test_admin_is_only_to_look(gateway) -> None:
    """The admin port shows figures; nobody ends or changes Envoy by it."""
    async with gateway.http.get(f"http://{gateway.admin}/stats?filter=server.live") as answer:
        assert (200, "server.live: 1") == (answer.status, (await answer.text()).strip())
    for page in ("quitquitquit", "logging?level=trace", "runtime_modify?a=b"):
        async with gateway.http.post(f"http://{gateway.admin}/{page}") as answer:
            assert 403 == answer.status


async def test_write(tmp_path: Path, issuer) -> None:
    """The command writes what the environment and its options say; Envoy takes it; nothing else is left there."""
    keys = tmp_path / "service-keys.json"
    keys.write_text(json.dumps(issuer.service_keys))
    addresses = {name: f"{name}:5000" for name in SERVICES} | {  # names of hosts, as in containers
        "jwks": "identity:8082", "listen": "0.0.0.0:8080", "admin": "127.0.0.1:9901",
    }  # fmt: skip

    async def write(**environment: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.gateway", "write", str(tmp_path / "made"),
            *(f"--{name}={address}" for name, address in addresses.items()),
            f"--service-keys={keys}",
            cwd=REPO, env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        return process.returncode, said.decode()

    assert (2, True) == (lambda code, said: (code, "GATEWAY_CALLS_PER_S" in said))(
        *await write(GATEWAY_CALLS_PER_S="many")
    )
    code, said = await write(GATEWAY_CALLS_PER_S="123", GATEWAY_SIGNIN_BURST="1")
    assert (0, "") == (code, said)
    assert {"envoy.json", "descriptors.binpb", *docs.files()} == {path.name for path in (tmp_path / "made").iterdir()}
    made = json.loads((tmp_path / "made" / "envoy.json").read_text())
    wanted = config.make(
        addresses,
        contracts.services(SERVICES),
        issuer.service_keys,
        tmp_path / "made" / "descriptors.binpb",
        Settings(calls_per_s=123, signin_burst=1),
    )
    assert json.loads(json.dumps(wanted)) == made
    validate = await asyncio.create_subprocess_exec(
        str(envoy()), "--mode", "validate", *command(tmp_path / "made"),
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said_by_envoy = await validate.communicate()
    assert (0, b"") == (validate.returncode, said_by_envoy), "a warning: a field is deprecated"
    assert b"OK" in out
