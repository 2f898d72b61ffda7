"""A real Envoy in front of real gRPC servers, which answer what a test tells them."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from joserfc import jwt
from joserfc.jwk import ECKey
from yarl import URL

from deploy import contracts
from deploy.gateway import command, config, envoy
from deploy.gateway.settings import Settings
from deploy.native.health import connectable
from deploy.native.home import scratch_home
from deploy.native.stack import free_ports
from kit import errors
from kit.testing import until

SERVICES = ("loms", "checkout", "catalog", "notifications", "identity")
JWKS_CACHE_S = 6  # the least: identity's keys are fetched each second


@dataclass
class Backend:
    """A gRPC server with the RPCs of some services. An RPC answers by `answers[name]`, else an empty message."""

    port: int
    server: grpc.aio.Server | None = None
    answers: dict[str, Callable[[Any], Awaitable[Message] | Message]] = field(default_factory=dict)
    seen: list[tuple[str, Message, dict[str, str]]] = field(default_factory=list)  # RPC, request, metadata

    time_left_s: float | None = None  # of the last call's deadline

    async def start(self, services: Iterable[ServiceDescriptor]) -> None:
        self.server = grpc.aio.server()
        for service in services:
            handlers = {rpc.name: grpc.unary_unary_rpc_method_handler(self._handler(rpc)) for rpc in service.methods}
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        serving = health.aio.HealthServicer()
        await serving.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(serving, self.server)
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def stop(self) -> None:
        assert self.server
        await self.server.stop(None)

    @property
    def metadata(self) -> dict[str, str]:
        """Of the last call."""
        return self.seen[-1][2]

    @property
    def request(self) -> Any:
        """Of the last call."""
        return self.seen[-1][1]

    def _handler(self, rpc: MethodDescriptor) -> Callable[[bytes, Any], Awaitable[bytes]]:
        request_type = message_factory.GetMessageClass(rpc.input_type)
        answer_type = message_factory.GetMessageClass(rpc.output_type)

        async def handle(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            request = request_type.FromString(body)
            self.time_left_s = context.time_remaining()
            self.seen.append((rpc.name, request, {key: str(value) for key, value in context.invocation_metadata()}))
            try:
                answer = self.answers[rpc.name](request) if rpc.name in self.answers else answer_type()
                return (await answer if isinstance(answer, Awaitable) else answer).SerializeToString()
            except errors.Error as error:
                status = errors.to_status(error).SerializeToString()
                context.set_trailing_metadata((("grpc-status-details-bin", status),))
                code = next(code for code in grpc.StatusCode if code.value[0] == error.code)
                await context.abort(code, error.message)
                raise

        return handle


@dataclass
class Issuer:
    """Keys of identity and of `local`, tokens by them, and the JWKS that identity publishes."""

    published: list[ECKey]
    local: ECKey
    port: int = 0
    fetched: int = 0
    broken: bool = False

    async def serve(self, request: web.Request) -> web.Response:
        self.fetched += 1
        if self.broken:
            raise web.HTTPInternalServerError
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.published]})

    @property
    def service_keys(self) -> dict[str, Any]:
        """As the stack's file has them."""
        return {"local": {"keys": [self.local.as_dict(private=False)]}}

    def person(self, key: ECKey | None = None, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """An access token, or one that differs from it in what is given."""
        key = key or self.published[0]
        now = int(time.time())
        body = {
            "iss": "abacus-identity", "aud": "abacus", "sub": "17", "sid": "s", "roles": ["customer"],
            "iat": now, "exp": now + 300, "jti": "j",
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **(header or {})}, body | claims, key)

    def service(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token of the developer's own."""
        now = int(time.time())
        body = {"iss": "local", "sub": "local", "aud": list(SERVICES), "iat": now, "exp": now + 60}
        head = {"alg": "ES256", "typ": "svc+jwt", "kid": self.local.kid, **(header or {})}
        return jwt.encode(head, body | claims, self.local)


@dataclass
class Gateway:
    """An Envoy that runs, and a client of it."""

    address: str
    admin: str
    pid: int
    ready_after_s: float
    http: aiohttp.ClientSession
    channel: grpc.aio.Channel

    async def call(
        self, verb: str, path: str, *, token: str = "", headers: Mapping[str, str] | None = None, **body: Any
    ) -> "Answer":
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        url = URL(f"http://{self.address}{path}", encoded=True)  # as it is: its escapes may be wrong
        async with self.http.request(verb, url, headers={**bearer, **(headers or {})}, **body) as answer:
            return Answer(
                answer.status, {key.lower(): value for key, value in answer.headers.items()}, await answer.read()
            )

    async def web(self, rpc: str, request: Message, *, token: str = "") -> "Answer":
        """Call by gRPC-Web: `rpc` is its whole name with a slash."""
        body = request.SerializeToString()
        return await self.call(
            "POST",
            f"/{rpc}",
            token=token,
            headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
            data=b"\0" + len(body).to_bytes(4, "big") + body,
        )


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        assert "application/json" == self.headers["content-type"], self.raw
        return json.loads(self.raw)

    def is_error(self, status: int, code: int, reason: str) -> dict[str, Any]:
        """Assert that it is this error, in the form that all errors have; give its details by their types."""
        body = self.body
        assert (status, code, reason) == (self.status, body["code"], body["details"][0]["reason"]), body
        assert {"code", "message", "details"} == set(body)
        assert body["message"]
        assert "abacus" == body["details"][0]["domain"]
        assert not [name for name in self.headers if name.startswith("grpc-")]
        told = self.raw.decode() + str(self.headers)
        for inner in ("127.0.0.1", "upstream", "envoy", "cluster", "RBAC", "grpc-accept", "'server'"):
            assert inner not in told, f"tells what stands behind: {told}"
        return {detail["@type"].rpartition(".")[2]: detail for detail in body["details"]}


@contextlib.asynccontextmanager
async def _running(
    services: list[ServiceDescriptor],
    behind: Mapping[str, int],
    issuer: Issuer,
    change: Callable[[str], str],
    settings: Mapping[str, Any],
) -> AsyncIterator[Gateway]:
    ports = {**free_ports(("listen", "admin")), **behind, "jwks": issuer.port}
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    with scratch_home() as folder:
        config.write(folder, addresses, services, issuer.service_keys, Settings(**settings))
        written = folder / "envoy.json"
        written.write_text(change(written.read_text()))
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", str(envoy()), *command(folder)
        )
        try:
            await until(lambda: _is_open(addresses["listen"]), True)
            ready_after_s = time.monotonic() - began
            async with (
                aiohttp.ClientSession() as http,
                grpc.aio.insecure_channel(addresses["listen"]) as channel,
            ):
                yield Gateway(addresses["listen"], addresses["admin"], process.pid, ready_after_s, http, channel)
        finally:
            process.terminate()
            await process.wait()


async def _is_open(address: str) -> bool:
    try:
        await connectable(address)
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    """Identity's keys, published on a real port."""
    first = ECKey.generate_key("P-256", {"kid": "first", "alg": "ES256", "use": "sig"})
    issuer = Issuer([first], ECKey.generate_key("P-256", auto_kid=True))
    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", issuer.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    issuer.port = free_ports(("jwks",))["jwks"]
    await web.TCPSite(runner, "127.0.0.1", issuer.port).start()
    yield issuer
    await runner.cleanup()


@pytest.fixture(scope="session")
async def everything() -> AsyncIterator[Backend]:
    """A server with the RPCs of all services, which several gateways may share."""
    backend = Backend(free_ports(("shop",))["shop"])
    await backend.start(contracts.services(SERVICES))
    yield backend
    await backend.stop()


@pytest.fixture
def shop(everything: Backend) -> Backend:
    """The server behind the gateway, with nothing left of other tests."""
    everything.answers.clear()
    everything.seen.clear()
    return everything


Open = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


@pytest.fixture(scope="session")
async def open_gateway(everything: Backend, issuer: Issuer) -> Open:
    """Start a gateway of the test's own: other settings, ports behind it or contracts, or a changed configuration."""

    def opened(
        behind: Mapping[str, int] | None = None,
        services: list[ServiceDescriptor] | None = None,
        change: Callable[[str], str] = str,
        **settings: Any,
    ) -> contextlib.AbstractAsyncContextManager[Gateway]:
        ports = dict.fromkeys(SERVICES, everything.port) | dict(behind or {})
        return _running(services or contracts.services(SERVICES), ports, issuer, change, settings)

    return opened


@pytest.fixture(scope="session")
async def _gateway(open_gateway: Open) -> AsyncIterator[Gateway]:
    async with open_gateway(jwks_cache_s=JWKS_CACHE_S, signin_per_s=1000, signin_burst=1000) as gateway:
        yield gateway
        # A script that fails lets the answer pass as it is.
        async with gateway.http.get(f"http://{gateway.admin}/stats?filter=lua.errors&format=json") as answer:
            errors_of_lua = (await answer.json())["stats"]
        assert [0] == [one["value"] for one in errors_of_lua]


@pytest.fixture
def gateway(_gateway: Gateway, shop: Backend) -> Gateway:
    """The gateway that most tests share."""
    return _gateway
